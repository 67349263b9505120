//! The task that looks at the queue, and what becomes of a match.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_api::{BattleReady, ErrorCode, GateMessage, Hex64, MatchFound, Requeued, Text};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument as _;

use crate::board::{LobbyName, SharedTicket};
use crate::config::ModeConfig;
use crate::house::{House, Player, Refused};
use crate::matchmaker::Rules;
use crate::queue::{Member, Part, Ticket};
use crate::shares::Wish;
use crate::sharing::{Meetings, Role, of_mode, settle_shared};

/// How often what is over is looked for and forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The longest time between two meetings with other lobbies, and the shortest.
const MEETING_INTERVAL_MAX: Duration = Duration::from_secs(1);
const MEETING_PAUSE: Duration = Duration::from_millis(20);

/// A match's tickets, by team.
type Teams = Vec<Vec<Ticket>>;

/// Makes matches for as long as the lobby lives.
pub(crate) async fn run(house: Arc<House>) {
    let mut interval = tokio::time::interval(house.config.waits.match_interval.min(MEETING_INTERVAL_MAX));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A mode whose match could not be placed rests for a moment instead of writing row after row.
    let mut resting_until: Vec<Instant> = vec![Instant::now(); house.config.modes.len()];
    let (failed, mut failures) = tokio::sync::mpsc::channel(crate::house::PLACEMENTS_MAX);
    let mut meetings = Meetings::new();
    let mut met = Instant::now();
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = house.wake.notified() => {
                let alone = house.desk().is_alone();
                if !alone {
                    tokio::time::sleep_until(met + MEETING_PAUSE).await;
                }
            }
            _ = sweep.tick() => {
                house.forget_overdue();
                continue;
            }
            Some(mode) = failures.recv() => {
                resting_until[mode] = Instant::now() + house.config.waits.placement_pause;
                continue;
            }
        }
        drop_absent(&house);
        met = Instant::now();
        let Role::Leads(others) = meetings.meet(&house).await else { continue };
        for mode in 0..resting_until.len() {
            let mut made = if resting_until[mode] > Instant::now() || house.is_closing() {
                VecDeque::new()
            } else {
                make_matches(&house, mode, &others)
            };
            while let Some(teams) = made.pop_front() {
                while let Ok(mode) = failures.try_recv() {
                    resting_until[mode] = Instant::now() + house.config.waits.placement_pause;
                }
                // Where one found no node, thousands behind it are not told that they have a match. And while as
                // many are placed as may be, the rest waits for the next round: those need the letters that it brings.
                let permit = Arc::clone(&house.placements).try_acquire_owned().ok();
                let Some(permit) = permit.filter(|_| resting_until[mode] <= Instant::now()) else {
                    made.push_front(teams);
                    break;
                };
                let (house, failed) = (Arc::clone(&house), failed.clone());
                let span = tracing::info_span!("match", mode = %house.config.modes[mode].name);
                let placing = async move {
                    if settle(&house, mode, teams).await.is_err() {
                        // Full only if as many failures wait already, of which one will do.
                        let _ = failed.try_send(mode);
                    }
                    drop(permit);
                };
                tokio::spawn(placing.instrument(span));
            }
            made.iter().flatten().flatten().filter_map(Part::own).for_each(|ticket| house.give_back(ticket));
        }
    }
}

/// Places one match and tells its players.
async fn settle(house: &Arc<House>, mode: usize, teams: Vec<Vec<Part>>) -> Result<(), Refused> {
    let own: Vec<Vec<Ticket>> =
        teams.iter().map(|team| team.iter().filter_map(Part::own).cloned().collect()).collect();
    let mut held = Held { house, tickets: own.iter().flatten().cloned().collect() };
    let settled = if teams.iter().flatten().all(|part| part.own().is_some()) {
        settle_match(house, mode, own).await
    } else {
        house.counters.matches_shared.one();
        settle_shared(house, mode, &teams, &held.tickets).await
    };
    held.tickets.clear();
    settled
}

fn drop_absent(house: &House) {
    let absence_ms = u64::try_from(house.config.waits.absence_max.as_millis()).unwrap_or(u64::MAX);
    if let Some(before_ms) = house.now_ms().checked_sub(absence_ms) {
        let dropped = house.queue().drop_absent(before_ms);
        house.counters.tickets_absent.add(dropped as u64);
    }
}

fn make_matches(
    house: &House,
    mode: usize,
    others: &[(LobbyName, SharedTicket)],
) -> VecDeque<Vec<Vec<Part>>> {
    let config = &house.config.modes[mode];
    let rules = Rules {
        teams: config.teams,
        seats_per_team: config.seats_per_team,
        bots_after_ms: config.bots_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    };
    let others = of_mode(house, mode, others);
    let made = house.queue().make_matches(mode, &rules, &others, house.now_ms());
    house.counters.matches.add(made.len() as u64);
    made.into()
}

/// Tickets in the hands of a task that places them; those that it lets fall wait again.
struct Held<'a> {
    house: &'a House,
    tickets: Vec<Ticket>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for ticket in &self.tickets {
            self.house.give_back(ticket);
        }
    }
}

/// The ticket that keeps a player from queueing while a fresh battle is placed; it goes with its placing.
struct Issued<'a> {
    house: &'a House,
    ticket: u64,
}

impl Drop for Issued<'_> {
    fn drop(&mut self) {
        self.house.queue().remove(self.ticket);
    }
}

/// Places one match, all of it or nothing; on failure every ticket goes back with its age.
async fn settle_match(house: &House, mode: usize, teams: Teams) -> Result<(), Refused> {
    let config = &house.config.modes[mode];
    let name: Text<{ tiltyard_api::limits::MODE_BYTES_MAX }> = Text::cut(&config.name);
    let members: Vec<Vec<Member>> =
        teams.iter().map(|team| team.iter().flat_map(|ticket| ticket.members.clone()).collect()).collect();
    let humans = u16::try_from(members.iter().map(Vec::len).sum::<usize>()).unwrap_or(u16::MAX);
    let seats = u16::try_from(config.seats()).unwrap_or(u16::MAX);
    for member in members.iter().flatten() {
        let bots = seats.saturating_sub(humans);
        let found = MatchFound { mode: name.clone(), players: humans, bots };
        house.tell(member.player, GateMessage::MatchFound(found));
    }
    match house.place(config, &members).await {
        Ok(ready) => {
            let mut queue = house.queue();
            for ticket in teams.iter().flatten() {
                queue.remove(ticket.id);
            }
            drop(queue);
            for (player, ready) in ready {
                house.tell(player, GateMessage::BattleReady(Box::new(ready)));
            }
            Ok(())
        }
        Err(refused) => {
            house.counters.matches_returned.one();
            tracing::warn!(code = refused.code.as_str(), "match not placed, its tickets wait again");
            for ticket in teams.iter().flatten() {
                give_back(house, ticket, &name, refused.code);
            }
            Err(refused)
        }
    }
}

pub(crate) fn give_back(
    house: &House,
    ticket: &Ticket,
    mode: &Text<{ tiltyard_api::limits::MODE_BYTES_MAX }>,
    reason: ErrorCode,
) {
    let now_ms = house.now_ms();
    house.give_back(ticket);
    for member in &ticket.members {
        let requeued = Requeued {
            mode: mode.clone(),
            ticket: Hex64(ticket.id),
            waited_ms: now_ms.saturating_sub(ticket.queued_ms),
            reason,
        };
        house.tell(member.player, GateMessage::Requeued(requeued));
    }
}

impl House {
    /// Places a fresh battle for one player, all other seats for bots.
    pub(crate) async fn issue(
        &self,
        player: &Player,
        mode: &str,
        loadout: u32,
    ) -> Result<BattleReady, Refused> {
        if self.is_closing() {
            return Err(ErrorCode::Closing.into());
        }
        let (index, config) = self.mode(mode)?;
        if self.battle_of(player.number).await?.is_some() {
            return Err(ErrorCode::InBattle.into());
        }
        self.charge(player.origin, Wish::FreshBattle)?;
        let member = Member { player: player.number, name: player.name.clone(), loadout };
        // The ticket keeps the player from queueing meanwhile; nobody else sees it waiting.
        let ticket = self.queue().add_matched(index, vec![member.clone()], self.now_ms());
        let ticket = ticket.map_err(|error| self.queue_refused(error))?;
        let _issued = Issued { house: self, ticket };
        let placed = self.place_fresh(player, config, member).await?;
        let (_, ready) = placed.into_iter().next().ok_or(ErrorCode::Internal)?;
        Ok(ready)
    }

    async fn place_fresh(
        &self,
        player: &Player,
        mode: &ModeConfig,
        member: Member,
    ) -> Result<Vec<(u64, BattleReady)>, Refused> {
        self.begin_fresh(player).await?;
        let Ok(_permit) = self.placements.acquire().await else { return Err(ErrorCode::Closing.into()) };
        self.place(mode, &[vec![member]]).await
    }

    /// Notes that a player with a ticket gets a fresh battle, if his address may have one more.
    async fn begin_fresh(&self, player: &Player) -> Result<(), Refused> {
        let limits = &self.limits();
        let known = self.shares().fresh(player.origin);
        let mut ended = Vec::new();
        for other in known {
            // Who is being placed has a ticket; whose battle has ended has neither.
            let has_ticket = self.queue().has(other);
            if other == player.number || !(has_ticket || self.battle_of(other).await?.is_some()) {
                ended.push(other);
            }
        }
        let mut shares = self.shares();
        shares.end_fresh(player.origin, &ended);
        if shares.begin_fresh(limits, player.origin, player.number, Instant::now()) {
            return Ok(());
        }
        self.counters.fresh_battles_refused_full.one();
        Err(Refused { code: ErrorCode::Full, retry_after_ms: 5_000 })
    }
}
