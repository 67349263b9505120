//! What a lobby does together with others: the meetings at their board, and the letters that come from there.
//!
//! A lobby that leads makes the matches of all; the others offer their tickets. While the board is away each makes
//! its own. Who takes part in a match is decided by nobody but the ticket's own lobby, and whether a battle takes
//! place by the store: so it does not matter what the board forgets or who believes to lead.

mod leader;
mod owner;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_api::Text;
use tiltyard_cluster::BattleId;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::leader::settle_shared;

use self::owner::Held;
use crate::board::{LETTERS_MAX, Letter, LobbyName, Met, Offer, SharedTicket};
use crate::house::House;
use crate::queue::OtherTicket;
use crate::shares::{Origin, Wish};

/// A board that did not answer is left alone for so long, and twice as long each time until the longest pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// How long a ticket of another lobby that was asked for is not asked for again.
const ASKED: Duration = Duration::from_secs(4);
/// Kinds of addresses and wishes told in one meeting; what is above is not told.
const WISHES_TOLD_MAX: usize = 1_024;

/// What waits between two meetings.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    letters: Vec<(LobbyName, Letter)>,
    /// The lobbies that were there at the last meeting.
    lobbies: BTreeSet<LobbyName>,
    /// Tickets of others that a match was made of.
    asked: HashMap<(LobbyName, u64), Instant>,
    /// Where answers about a battle are awaited.
    replies: HashMap<u64, mpsc::Sender<Letter>>,
    wishes: BTreeMap<(IpAddr, Wish), u32>,
}

impl Desk {
    /// Whether nobody else was at the last meeting.
    pub(crate) fn is_alone(&self) -> bool {
        self.lobbies.is_empty()
    }

    /// Leaves a letter for the next meeting; above the bound it is lost.
    pub(crate) fn send(&mut self, to: &LobbyName, letter: Letter) {
        if self.letters.len() < LETTERS_MAX {
            self.letters.push((to.clone(), letter));
        }
    }

    /// Leaves a letter for every other lobby.
    pub(crate) fn send_all(&mut self, letter: &Letter) {
        for to in self.lobbies.clone() {
            self.send(&to, letter.clone());
        }
    }

    /// Notes that an address asked for something, to be told to others.
    pub(crate) fn note_wish(&mut self, origin: Origin, wish: Wish) {
        if self.is_alone() {
            return;
        }
        if self.wishes.len() < WISHES_TOLD_MAX || self.wishes.contains_key(&(origin.address(), wish)) {
            *self.wishes.entry((origin.address(), wish)).or_default() += 1;
        }
    }

    fn letters(&mut self) -> Vec<(LobbyName, Letter)> {
        for ((origin, wish), count) in std::mem::take(&mut self.wishes) {
            self.send_all(&Letter::Asked { origin, wish: wish.number(), count });
        }
        std::mem::take(&mut self.letters)
    }
}

/// Whose matches this lobby makes for now.
#[derive(Debug)]
pub(crate) enum Role {
    /// Its own, and those of others whose tickets are these.
    Leads(Vec<(LobbyName, SharedTicket)>),
    /// Nobody's.
    Follows,
}

/// The meetings of one lobby, one after the other.
pub(crate) struct Meetings {
    held: BTreeMap<BattleId, Held>,
    pause: Duration,
    away_until: Instant,
}

impl Meetings {
    pub(crate) fn new() -> Self {
        Self { held: BTreeMap::new(), pause: PAUSE_MIN, away_until: Instant::now() }
    }

    /// Goes to the board, does what letters say, and answers whose matches are to be made.
    pub(crate) async fn meet(&mut self, house: &Arc<House>) -> Role {
        self.decide_overdue(house);
        let alone = Role::Leads(Vec::new());
        if self.away_until > Instant::now() {
            return alone;
        }
        let letters = house.desk().letters();
        let can_lead = !house.is_closing();
        let tickets = if can_lead { offered(house) } else { Vec::new() };
        let offer = Offer { lobby: house.name.clone(), tickets, letters, can_lead };
        let Ok(Met { leads, letters, others }) = house.config.board.meet(offer).await else {
            house.counters.board_away.one();
            tracing::warn!(pause_ms = self.pause.as_millis(), "the board does not answer: matching alone");
            self.away_until = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            return alone;
        };
        self.pause = PAUSE_MIN;
        house.desk().lobbies = others.iter().map(|(name, _)| name.clone()).collect();
        for letter in letters {
            house.counters.letters_in.one();
            self.letter(house, letter);
        }
        let mut desk = house.desk();
        if !desk.letters.is_empty() {
            // Somebody waits for an answer.
            house.wake.notify_one();
        }
        if !leads {
            return Role::Follows;
        }
        let now = Instant::now();
        desk.asked.retain(|_, until| *until > now);
        let free = |(lobby, ticket): &(LobbyName, SharedTicket)| {
            !desk.asked.contains_key(&(lobby.clone(), ticket.id))
        };
        let each = others
            .into_iter()
            .flat_map(|(lobby, tickets)| tickets.into_iter().map(move |ticket| (lobby.clone(), ticket)));
        Role::Leads(each.filter(free).collect())
    }

    fn letter(&mut self, house: &Arc<House>, letter: Letter) {
        match letter {
            Letter::Take { battle, from, mode, tickets, humans, bots } => {
                let held = house.hold(&mode, tickets.as_slice(), humans, bots);
                let answer = match &held {
                    Some(held) => Letter::Taken { battle, from: house.name.clone(), tickets: held.told() },
                    None => Letter::NotTaken { battle, from: house.name.clone() },
                };
                if let Some(held) = held {
                    self.held.insert(BattleId(battle.0), held);
                }
                house.desk().send(&from, answer);
            }
            Letter::Taken { battle, ref from, .. } => {
                let asked = house.desk().replies.get(&battle.0).cloned();
                let heard = asked.is_some_and(|asked| asked.try_send(letter.clone()).is_ok());
                if !heard {
                    // Too late: nobody waits for it any more.
                    let reason = tiltyard_api::ErrorCode::TryLater;
                    house.desk().send(from, Letter::Returned { battle, reason });
                }
            }
            Letter::NotTaken { battle, .. } => {
                if let Some(asked) = house.desk().replies.get(&battle.0) {
                    // Nobody waits for it any more, or as many answers wait as were asked for.
                    let _ = asked.try_send(letter);
                }
            }
            Letter::Placed { battle } => {
                if let Some(held) = self.held.remove(&BattleId(battle.0)) {
                    tokio::spawn(owner::decide(Arc::clone(house), BattleId(battle.0), held));
                }
            }
            Letter::Returned { battle, reason } => {
                if let Some(held) = self.held.remove(&BattleId(battle.0)) {
                    house.return_held(&held, reason);
                }
            }
            Letter::Entered { player, unix_ms } => house.entered_elsewhere(player, unix_ms),
            Letter::Asked { origin, wish, count } => {
                if let Some(wish) = Wish::of_number(wish) {
                    house.charge_elsewhere(Origin::of(origin), wish, count);
                }
            }
            Letter::Over { over, players } => {
                house.end_battle(BattleId(over.battle.0));
                for player in players.as_slice() {
                    house.tell(*player, tiltyard_api::GateMessage::BattleOver(over.clone()));
                }
            }
        }
    }

    /// Matches of which nothing was heard are decided by the store.
    fn decide_overdue(&mut self, house: &Arc<House>) {
        let now = Instant::now();
        let overdue: Vec<_> =
            self.held.iter().filter(|(_, held)| held.until <= now).map(|(battle, _)| *battle).collect();
        for battle in overdue {
            if let Some(held) = self.held.remove(&battle) {
                house.counters.matches_unheard.one();
                tokio::spawn(owner::decide(Arc::clone(house), battle, held));
            }
        }
    }
}

/// The tickets of this lobby that wait, as others see them.
fn offered(house: &House) -> Vec<SharedTicket> {
    let (now_ms, now_unix_ms) = (house.now_ms(), house.clock.unix_ms());
    let shared = |ticket: &crate::queue::Ticket| {
        let players: Vec<_> = ticket.members.iter().map(|member| member.player).collect();
        Some(SharedTicket {
            id: ticket.id,
            mode: Text::cut(&house.config.modes.get(ticket.mode)?.name),
            players: players.try_into().ok()?,
            rating: ticket.rating,
            queued_unix_ms: now_unix_ms.saturating_sub(now_ms.saturating_sub(ticket.queued_ms)),
        })
    };
    house.queue().offered().filter_map(shared).collect()
}

/// The tickets of others for one mode, their age by this lobby's clock.
pub(crate) fn of_mode(house: &House, mode: usize, others: &[(LobbyName, SharedTicket)]) -> Vec<OtherTicket> {
    let name: Text<{ tiltyard_cluster::control::MODE_BYTES_MAX }> = Text::cut(&house.config.modes[mode].name);
    let (now_ms, now_unix_ms) = (house.now_ms(), house.clock.unix_ms());
    let wanted = others.iter().filter(|(_, ticket)| ticket.mode == name);
    wanted
        .map(|(lobby, ticket)| OtherTicket {
            lobby: lobby.clone(),
            id: ticket.id,
            players: ticket.players.as_slice().to_vec(),
            rating: ticket.rating,
            queued_ms: now_ms.saturating_sub(now_unix_ms.saturating_sub(ticket.queued_unix_ms)),
        })
        .collect()
}
