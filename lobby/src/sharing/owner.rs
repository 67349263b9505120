//! The side of a lobby whose tickets another one matches: it holds them, and lets go of them by what the store says.
//!
//! ```text
//! waits ──take──▶ held ──placed──▶ the battle is there: told, gone
//!   ▲              ├──returned──▶ waits again, as old as it is
//!   └── fell ◀── nothing heard: the store decides ── stands ──▶ told, gone
//! ```
//! A battle that nobody hears of is made to fall in the store before its tickets are matched again: its row is
//! dissolved, or written as dissolved before the leader can write it. Whoever comes second finds it so.

use std::sync::Arc;
use std::time::Duration;

use tiltyard_api::{ErrorCode, GateMessage, List, MatchFound, Text};
use tiltyard_cluster::control::{MODE_BYTES_MAX, SEATS_MAX};
use tiltyard_cluster::{BattleId, Epoch};
use tokio::time::{Instant, sleep};

use crate::board::{TakenMember, TakenTicket};
use crate::house::House;
use crate::matching::give_back;
use crate::queue::Ticket;
use crate::store::{BattleRow, BattleState, StoreError};

/// How long tickets are held without a word. Three nodes that do not answer are asked within that.
const HOLD: Duration = Duration::from_secs(10);
/// Pauses between two questions to a store that does not answer.
const ASK_PAUSE_MIN: Duration = Duration::from_millis(200);
const ASK_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tickets held for a match of another lobby.
#[derive(Debug)]
pub(super) struct Held {
    mode: Text<MODE_BYTES_MAX>,
    tickets: Vec<Ticket>,
    pub(super) until: Instant,
}

impl Held {
    /// The tickets as the leader needs them.
    pub(super) fn told(&self) -> List<TakenTicket, SEATS_MAX> {
        let ticket = |ticket: &Ticket| {
            let members = ticket.members.iter().map(|member| TakenMember {
                player: member.player,
                name: Text::cut(&member.name),
                loadout: member.loadout,
            });
            let members = members.collect::<Vec<_>>().try_into().expect("a party fits a battle");
            TakenTicket { id: ticket.id, members }
        };
        let tickets: Vec<_> = self.tickets.iter().map(ticket).collect();
        tickets.try_into().expect("no more were asked for")
    }
}

impl House {
    /// Holds tickets for a match, all or none.
    pub(super) fn hold(
        &self,
        mode: &Text<MODE_BYTES_MAX>,
        ids: &[u64],
        humans: u16,
        bots: u16,
    ) -> Option<Held> {
        let (index, _) = self.mode(mode.as_str()).ok().filter(|_| !self.is_closing())?;
        let tickets = self.queue().hold(index, ids)?;
        self.counters.tickets_held.add(tickets.len() as u64);
        for member in tickets.iter().flat_map(|ticket| &ticket.members) {
            let found = MatchFound { mode: mode.clone(), players: humans, bots };
            self.tell(member.player, GateMessage::MatchFound(found));
        }
        Some(Held { mode: mode.clone(), tickets, until: Instant::now() + HOLD })
    }

    /// The match fell through: its tickets wait again, as old as they are.
    pub(super) fn return_held(&self, held: &Held, reason: ErrorCode) {
        for ticket in &held.tickets {
            give_back(self, ticket, &held.mode, reason);
        }
        self.wake.notify_one();
    }
}

/// Lets go of tickets once the store says what becomes of their battle.
pub(super) async fn decide(house: Arc<House>, battle: BattleId, held: Held) {
    let mut pause = ASK_PAUSE_MIN;
    loop {
        match fate(&house, battle).await {
            Ok(Some(Fate::Stands)) if hand_over(&house, battle, &held).await => return,
            Ok(Some(Fate::Fell)) => return house.return_held(&held, ErrorCode::TryLater),
            // The row changed between two looks.
            Ok(None) => continue,
            Ok(Some(Fate::Stands)) => {}
            Err(error) => {
                house.store_failed(error);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(ASK_PAUSE_MAX);
    }
}

enum Fate {
    /// It was placed; its players belong to it.
    Stands,
    /// It does not take place, and never will.
    Fell,
}

async fn fate(house: &House, battle: BattleId) -> Result<Option<Fate>, StoreError> {
    let Some(row) = house.store.battle(battle).await? else {
        let written = house.store.create_battle(&fallen(house, battle)).await?;
        return Ok(written.then_some(Fate::Fell));
    };
    Ok(match row.state {
        BattleState::Running | BattleState::Settled => Some(Fate::Stands),
        BattleState::Dissolved => Some(Fate::Fell),
        BattleState::Placing => house.store.dissolve(battle, row.epoch).await?.then_some(Fate::Fell),
    })
}

/// The row of a battle that shall not be: it takes the number, so that nobody creates it later.
fn fallen(house: &House, battle: BattleId) -> BattleRow {
    BattleRow {
        battle,
        epoch: Epoch::FIRST,
        state: BattleState::Dissolved,
        mode: String::new(),
        protocol_hash: [0; 16],
        seed: 0,
        rate_hz: 1,
        ticks_max: 0,
        seats: Vec::new(),
        created_unix_ms: house.clock.unix_ms(),
        kid: 0,
        node: None,
        addresses: Vec::new(),
        result: None,
    }
}

/// Gives players their places in a battle that stands; answers whether the store let it.
async fn hand_over(house: &House, battle: BattleId, held: &Held) -> bool {
    let mut ready = Vec::new();
    for member in held.tickets.iter().flat_map(|ticket| &ticket.members) {
        match house.battle_of(member.player).await {
            Ok(found) => ready.extend(found.map(|found| (member.player, found))),
            Err(_) => return false,
        }
    }
    let mut queue = house.queue();
    for ticket in &held.tickets {
        queue.remove(ticket.id);
    }
    drop(queue);
    for (player, ready) in ready.into_iter().filter(|(_, ready)| ready.battle.0 == battle.0) {
        house.tell(player, GateMessage::BattleReady(Box::new(ready)));
    }
    true
}
