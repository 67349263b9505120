//! The side of a lobby that makes a match with tickets of others: it asks for them, places, and says what came of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tiltyard_api::{BattleReady, ErrorCode, GateMessage, Hex64, MatchFound, Text};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::ASKED;
use crate::board::{Letter, LobbyName, TakenTicket};
use crate::config::ModeConfig;
use crate::house::{House, Refused};
use crate::matching::give_back;
use crate::queue::{Member, Part, Ticket};

/// How long lobbies are waited for that were asked for tickets.
const ANSWERS_WAIT: Duration = Duration::from_secs(2);

/// The tickets that each other lobby is asked for.
type Wanted = BTreeMap<LobbyName, Vec<u64>>;
/// The players on the tickets of others.
type Taken = HashMap<(LobbyName, u64), Vec<Member>>;

/// Makes one match with tickets of other lobbies, all of it or nothing; on failure every ticket goes back with its
/// age, here and there.
pub(crate) async fn settle_shared(
    house: &House,
    mode: usize,
    teams: &[Vec<Part>],
    own: &[Ticket],
) -> Result<(), Refused> {
    let mut wanted = Wanted::new();
    for part in teams.iter().flatten() {
        if let Part::Other(other) = part {
            wanted.entry(other.lobby.clone()).or_default().push(other.id);
        }
    }
    match place_shared(house, mode, teams, &wanted).await {
        Ok(ready) => {
            let mut queue = house.queue();
            own.iter().for_each(|ticket| queue.remove(ticket.id));
            drop(queue);
            for (player, ready) in ready {
                house.tell(player, GateMessage::BattleReady(Box::new(ready)));
            }
            Ok(())
        }
        Err(unplaced) => {
            house.counters.matches_returned.one();
            let (Unplaced::NotTaken(refused) | Unplaced::Refused(refused)) = unplaced;
            tracing::warn!(code = refused.code.as_str(), "shared match not placed, its tickets wait again");
            let name = Text::cut(&house.config.modes[mode].name);
            own.iter().for_each(|ticket| give_back(house, ticket, &name, refused.code));
            // That a ticket was gone says nothing about the next match.
            if matches!(unplaced, Unplaced::NotTaken(_)) { Ok(()) } else { Err(refused) }
        }
    }
}

/// Why a match was not placed.
#[derive(Clone, Copy)]
enum Unplaced {
    /// A lobby did not hold its tickets, or said nothing.
    NotTaken(Refused),
    /// The battle found no place.
    Refused(Refused),
}

/// Places the battle and tells the other lobbies; answers what this one's players need.
async fn place_shared(
    house: &House,
    mode: usize,
    teams: &[Vec<Part>],
    wanted: &Wanted,
) -> Result<Vec<(u64, BattleReady)>, Unplaced> {
    let config = &house.config.modes[mode];
    house.look_for_a_node(config).map_err(Unplaced::Refused)?;
    let numbered = house.numbers.battle().await;
    let (battle, seed) = numbered.map_err(|error| Unplaced::Refused(house.store_failed(error)))?;
    let outcome = async {
        let taken = ask(house, mode, battle, teams, wanted).await.map_err(Unplaced::NotTaken)?;
        let members = |part: &Part| match part {
            Part::Own(ticket) => Some(ticket.members.clone()),
            // Whoever was offered is who comes.
            Part::Other(other) => taken
                .get(&(other.lobby.clone(), other.id))
                .filter(|members| members.iter().map(|member| &member.player).eq(&other.players))
                .cloned(),
        };
        let members: Option<Vec<Vec<Member>>> = teams
            .iter()
            .map(|team| team.iter().map(members).collect::<Option<Vec<_>>>().map(|each| each.concat()))
            .collect();
        let members = members.ok_or(Unplaced::NotTaken(ErrorCode::TryLater.into()))?;
        tell_found(house, mode, teams);
        house.place_as(config, &members, battle, seed).await.map_err(Unplaced::Refused)
    };
    let outcome = outcome.await;
    let letter = match &outcome {
        Ok(_) => Letter::Placed { battle: Hex64(battle) },
        Err(Unplaced::NotTaken(refused) | Unplaced::Refused(refused)) => {
            Letter::Returned { battle: Hex64(battle), reason: refused.code }
        }
    };
    let mut desk = house.desk();
    for (lobby, ids) in wanted {
        if outcome.is_err() {
            ids.iter().for_each(|id| _ = desk.asked.remove(&(lobby.clone(), *id)));
        }
        desk.send(lobby, letter.clone());
    }
    drop(desk);
    house.wake.notify_one();
    let ready = outcome?;
    // Others give their players their own tokens.
    let mine = |player: &u64| {
        teams
            .iter()
            .flatten()
            .filter_map(Part::own)
            .any(|ticket| ticket.members.iter().any(|member| member.player == *player))
    };
    let (mine, others): (Vec<_>, Vec<_>) = ready.into_iter().partition(|(player, _)| mine(player));
    let mut current = house.current();
    others.iter().for_each(|(player, _)| _ = current.remove(player));
    drop(current);
    Ok(mine)
}

/// Tells this lobby's players that they have a match; others are told by their own.
fn tell_found(house: &House, mode: usize, teams: &[Vec<Part>]) {
    let config = &house.config.modes[mode];
    let (players, bots) = people(config, teams);
    for member in teams.iter().flatten().filter_map(Part::own).flat_map(|ticket| &ticket.members) {
        let found = MatchFound { mode: Text::cut(&config.name), players, bots };
        house.tell(member.player, GateMessage::MatchFound(found));
    }
}

/// How many people and bots a match has.
fn people(config: &ModeConfig, teams: &[Vec<Part>]) -> (u16, u16) {
    let on_ticket = |part: &Part| match part {
        Part::Own(ticket) => ticket.members.len(),
        Part::Other(other) => other.players.len(),
    };
    let humans = teams.iter().flatten().map(on_ticket).sum::<usize>();
    let bots = config.seats().saturating_sub(humans);
    (u16::try_from(humans).unwrap_or(u16::MAX), u16::try_from(bots).unwrap_or(u16::MAX))
}

/// Takes the expectation of answers back, however the asking ends.
struct Expecting<'a> {
    house: &'a House,
    battle: u64,
}

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        self.house.desk().replies.remove(&self.battle);
    }
}

/// Asks each lobby for its tickets; answers their players once all are held.
async fn ask(
    house: &House,
    mode: usize,
    battle: u64,
    teams: &[Vec<Part>],
    wanted: &Wanted,
) -> Result<Taken, Refused> {
    let (answers, mut heard) = mpsc::channel(wanted.len().max(1));
    house.desk().replies.insert(battle, answers);
    let _expecting = Expecting { house, battle };
    write_letters(house, mode, battle, teams, wanted)?;
    let deadline = Instant::now() + ANSWERS_WAIT;
    let mut taken = Taken::new();
    let mut open = wanted.clone();
    while !open.is_empty() {
        let Ok(Some(answer)) = timeout_at(deadline, heard.recv()).await else {
            return Err(ErrorCode::TryLater.into());
        };
        let Letter::Taken { from, tickets, .. } = answer else { return Err(ErrorCode::TryLater.into()) };
        let ids = open.remove(&from).ok_or(ErrorCode::TryLater)?;
        for ticket in tickets.into_vec() {
            taken.insert((from.clone(), ticket.id), members_of(ticket));
        }
        if !ids.iter().all(|id| taken.contains_key(&(from.clone(), *id))) {
            return Err(ErrorCode::TryLater.into());
        }
    }
    Ok(taken)
}

/// Leaves the letters that ask for tickets.
fn write_letters(
    house: &House,
    mode: usize,
    battle: u64,
    teams: &[Vec<Part>],
    wanted: &Wanted,
) -> Result<(), Refused> {
    let config = &house.config.modes[mode];
    let (humans, bots) = people(config, teams);
    let until = Instant::now() + ASKED;
    let mut desk = house.desk();
    for (lobby, ids) in wanted {
        desk.asked.extend(ids.iter().map(|id| ((lobby.clone(), *id), until)));
        let take = Letter::Take {
            battle: Hex64(battle),
            from: house.name.clone(),
            mode: Text::cut(&config.name),
            tickets: ids.clone().try_into().map_err(|_| ErrorCode::Internal)?,
            humans,
            bots,
        };
        desk.send(lobby, take);
    }
    drop(desk);
    house.wake.notify_one();
    Ok(())
}

fn members_of(ticket: TakenTicket) -> Vec<Member> {
    let member = |member: crate::board::TakenMember| Member {
        player: member.player,
        name: member.name.into_string(),
        loadout: member.loadout,
    };
    ticket.members.into_vec().into_iter().map(member).collect()
}
