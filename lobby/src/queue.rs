//! The tickets that wait or are being placed. One a player.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::board::LobbyName;
use crate::matchmaker;
use crate::rating;

/// Set in the matchmaker's numbers for tickets of other lobbies.
const OTHER: u64 = 1 << 63;

/// A player on a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) player: u64,
    pub(crate) name: String,
    pub(crate) loadout: u32,
}

/// One ticket: a player alone, or a party.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) mode: usize,
    pub(crate) members: Vec<Member>,
    /// Mean rating of its players.
    pub(crate) rating: i32,
    /// Since when it waits; kept when a match falls through.
    pub(crate) queued_ms: u64,
    state: State,
}

/// A ticket of another lobby that waits, as it is offered to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherTicket {
    pub(crate) lobby: LobbyName,
    /// Its number at its lobby.
    pub(crate) id: u64,
    pub(crate) players: Vec<u64>,
    pub(crate) rating: i32,
    pub(crate) queued_ms: u64,
}

/// A ticket of a match.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Of this lobby, and marked.
    Own(Ticket),
    /// Of another, which has to be asked.
    Other(OtherTicket),
}

impl Part {
    pub(crate) fn own(&self) -> Option<&Ticket> {
        match self {
            Self::Own(ticket) => Some(ticket),
            Self::Other(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Not offered to the matchmaker, dropped if it lasts.
    Absent {
        since_ms: u64,
    },
    /// Being placed; taken out or given back by whoever places it.
    Matched,
}

/// Why a queue did not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueueError {
    #[error("the player has a ticket already")]
    AlreadyQueued,
    #[error("the queue is full")]
    Full,
    #[error("the player has no ticket")]
    NotQueued,
    #[error("the ticket is being matched")]
    AlreadyMatched,
}

/// All tickets.
#[derive(Debug)]
pub(crate) struct Queue {
    tickets: BTreeMap<u64, Ticket>,
    by_player: HashMap<u64, u64>,
    next_id: u64,
    tickets_max: usize,
}

impl Queue {
    pub(crate) fn new(tickets_max: usize) -> Self {
        Self { tickets: BTreeMap::new(), by_player: HashMap::new(), next_id: 1, tickets_max }
    }

    pub(crate) fn add(
        &mut self,
        mode: usize,
        members: Vec<Member>,
        rating: i32,
        now_ms: u64,
    ) -> Result<u64, QueueError> {
        if members.iter().any(|member| self.by_player.contains_key(&member.player)) {
            return Err(QueueError::AlreadyQueued);
        }
        if self.tickets.len() >= self.tickets_max {
            return Err(QueueError::Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.by_player.extend(members.iter().map(|member| (member.player, id)));
        self.tickets
            .insert(id, Ticket { id, mode, members, rating, queued_ms: now_ms, state: State::Waiting });
        Ok(id)
    }

    /// A ticket that is being placed from the start.
    pub(crate) fn add_matched(
        &mut self,
        mode: usize,
        members: Vec<Member>,
        now_ms: u64,
    ) -> Result<u64, QueueError> {
        let id = self.add(mode, members, rating::NEWCOMER, now_ms)?;
        if let Some(ticket) = self.tickets.get_mut(&id) {
            ticket.state = State::Matched;
        }
        Ok(id)
    }

    pub(crate) fn cancel(&mut self, player: u64) -> Result<u64, QueueError> {
        let id = *self.by_player.get(&player).ok_or(QueueError::NotQueued)?;
        if self.tickets.get(&id).is_some_and(|ticket| ticket.state == State::Matched) {
            return Err(QueueError::AlreadyMatched);
        }
        self.remove(id);
        Ok(id)
    }

    /// The player has disconnected: the ticket waits for a while without being matched.
    pub(crate) fn leave(&mut self, player: u64, now_ms: u64) {
        self.change(player, |ticket| {
            if ticket.state == State::Waiting {
                ticket.state = State::Absent { since_ms: now_ms };
            }
        });
    }

    /// The player is there again.
    pub(crate) fn come_back(&mut self, player: u64) {
        self.change(player, |ticket| {
            if matches!(ticket.state, State::Absent { .. }) {
                ticket.state = State::Waiting;
            }
        });
    }

    /// Drops tickets whose player has been away since before `since_ms`; answers how many.
    pub(crate) fn drop_absent(&mut self, before_ms: u64) -> usize {
        let gone: Vec<u64> = self
            .tickets
            .values()
            .filter(|ticket| matches!(ticket.state, State::Absent { since_ms } if since_ms <= before_ms))
            .map(|ticket| ticket.id)
            .collect();
        for id in &gone {
            self.remove(*id);
        }
        gone.len()
    }

    /// Makes the matches of a mode out of its tickets and those of other lobbies. Its own are marked, all of a match
    /// or none.
    pub(crate) fn make_matches(
        &mut self,
        mode: usize,
        rules: &matchmaker::Rules,
        others: &[OtherTicket],
        now_ms: u64,
    ) -> Vec<Vec<Vec<Part>>> {
        let own =
            self.tickets.values().filter(|ticket| ticket.mode == mode && ticket.state == State::Waiting);
        let mut waiting: Vec<matchmaker::Ticket> = own
            .map(|ticket| matchmaker::Ticket {
                id: ticket.id,
                players: ticket.members.iter().map(|member| member.player).collect(),
                rating: ticket.rating,
                queued_ms: ticket.queued_ms,
            })
            .collect();
        // Who comes back at another lobby may still be on a ticket at the first.
        let mut seen: HashSet<u64> = self.by_player.keys().copied().collect();
        for (other, index) in others.iter().zip(0_u64..) {
            if !other.players.is_empty() && other.players.iter().all(|player| seen.insert(*player)) {
                waiting.push(matchmaker::Ticket {
                    id: OTHER | index,
                    players: other.players.clone(),
                    rating: other.rating,
                    queued_ms: other.queued_ms,
                });
            }
        }
        let mut take = |id: u64| {
            if let Some(other) = (id & OTHER != 0).then(|| others.get((id & !OTHER) as usize)).flatten() {
                return Part::Other(other.clone());
            }
            let ticket = self.tickets.get_mut(&id).expect("the matchmaker answers the tickets it was given");
            ticket.state = State::Matched;
            Part::Own(ticket.clone())
        };
        matchmaker::make_matches(&waiting, rules, now_ms)
            .into_iter()
            .map(|made| {
                made.teams.into_iter().map(|team| team.into_iter().map(&mut take).collect()).collect()
            })
            .collect()
    }

    /// The tickets that wait for a match.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.values().filter(|ticket| ticket.state == State::Waiting)
    }

    /// Holds tickets for a match that another lobby makes, if all of them wait in this mode; otherwise none.
    pub(crate) fn hold(&mut self, mode: usize, ids: &[u64]) -> Option<Vec<Ticket>> {
        let waits = |id: &u64| {
            self.tickets.get(id).is_some_and(|ticket| ticket.mode == mode && ticket.state == State::Waiting)
        };
        if ids.is_empty() || !ids.iter().all(waits) {
            return None;
        }
        let mut held = Vec::with_capacity(ids.len());
        for id in ids {
            let ticket = self.tickets.get_mut(id)?;
            ticket.state = State::Matched;
            held.push(ticket.clone());
        }
        Some(held)
    }

    /// A placed ticket is done.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(ticket) = self.tickets.remove(&id) {
            for member in ticket.members {
                self.by_player.remove(&member.player);
            }
        }
    }

    /// A match fell through: the ticket waits again, as old as it is.
    pub(crate) fn give_back(&mut self, id: u64, present: bool, now_ms: u64) {
        if let Some(ticket) = self.tickets.get_mut(&id) {
            ticket.state = if present { State::Waiting } else { State::Absent { since_ms: now_ms } };
        }
    }

    pub(crate) fn has(&self, player: u64) -> bool {
        self.by_player.contains_key(&player)
    }

    pub(crate) fn waiting(&self, mode: usize) -> u32 {
        let waiting = self.tickets.values().filter(|ticket| ticket.mode == mode);
        u32::try_from(waiting.count()).unwrap_or(u32::MAX)
    }

    fn change(&mut self, player: u64, change: impl FnOnce(&mut Ticket)) {
        if let Some(ticket) = self.by_player.get(&player).and_then(|id| self.tickets.get_mut(id)) {
            change(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Member, OtherTicket, Part, Queue, QueueError, Ticket};
    use crate::matchmaker::Rules;

    const DUEL: Rules = Rules { teams: 2, seats_per_team: 1, bots_after_ms: None };

    fn member(player: u64) -> Vec<Member> {
        vec![Member { player, name: String::new(), loadout: 0 }]
    }

    fn alone(queue: &mut Queue, now_ms: u64) -> Vec<Vec<Ticket>> {
        let made = queue.make_matches(0, &DUEL, &[], now_ms).into_iter();
        made.map(|teams| teams.into_iter().flatten().map(own).collect()).collect()
    }

    fn own(part: Part) -> Ticket {
        match part {
            Part::Own(ticket) => ticket,
            Part::Other(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_player_has_one_ticket_and_the_queue_a_bound() {
        let mut queue = Queue::new(2);
        queue.add(0, member(1), 1_500, 0).unwrap();
        assert_eq!(queue.add(1, member(1), 1_500, 0), Err(QueueError::AlreadyQueued));
        queue.add(0, member(2), 1_500, 0).unwrap();
        assert_eq!(queue.add(0, member(3), 1_500, 0), Err(QueueError::Full));
        queue.cancel(1).unwrap();
        assert_eq!(queue.cancel(1), Err(QueueError::NotQueued));
        assert!(queue.add(0, member(3), 1_500, 0).is_ok());
    }

    #[test]
    fn a_matched_ticket_cannot_be_cancelled_nor_matched_again_and_comes_back_with_its_age() {
        let mut queue = Queue::new(9);
        for player in 1..=2 {
            queue.add(0, member(player), 1_500, 5).unwrap();
        }
        let made = alone(&mut queue, 10);
        assert_eq!(made.len(), 1);
        assert_eq!(queue.cancel(1), Err(QueueError::AlreadyMatched));
        assert!(alone(&mut queue, 10).is_empty());
        for ticket in &made[0] {
            queue.give_back(ticket.id, true, 20);
        }
        queue.add(0, member(3), 1_500, 19).unwrap();
        let again = alone(&mut queue, 30);
        let players: Vec<_> = again[0].iter().map(|ticket| ticket.members[0].player).collect();
        assert_eq!(players, [1, 2], "older than the one that came meanwhile");
        assert!(again[0].iter().all(|ticket| ticket.queued_ms == 5));
    }

    #[test]
    fn an_absent_players_ticket_is_not_matched_and_is_dropped_after_a_while() {
        let mut queue = Queue::new(9);
        for player in 1..=2 {
            queue.add(0, member(player), 1_500, 0).unwrap();
        }
        queue.leave(1, 100);
        assert!(alone(&mut queue, 110).is_empty());
        assert_eq!(queue.drop_absent(99), 0);
        queue.come_back(1);
        assert_eq!(queue.drop_absent(100), 0);
        queue.leave(1, 200);
        assert_eq!(queue.drop_absent(200), 1);
        assert!(!queue.has(1));
        assert!(queue.has(2));
    }

    #[test]
    fn tickets_of_another_lobby_are_matched_by_age_and_a_player_only_once() {
        let mut queue = Queue::new(9);
        queue.add(0, member(1), 1_500, 50).unwrap();
        let other = |id, player, queued_ms| OtherTicket {
            lobby: "other".try_into().unwrap(),
            id,
            players: vec![player],
            rating: 1_500,
            queued_ms,
        };
        let none = OtherTicket { players: vec![], ..other(9, 0, 0) };
        let others = [none, other(1, 1, 0), other(2, 2, 60), other(3, 2, 61), other(4, 3, 40)];
        let made = queue.make_matches(0, &DUEL, &others, 100);
        let parts: Vec<_> = made.into_iter().flatten().flatten().collect();
        let [Part::Other(older), Part::Own(ticket)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((older.id, ticket.members[0].player), (4, 1), "the oldest two of different players");
        assert_eq!(queue.offered().count(), 0);
    }

    #[test]
    fn tickets_are_held_for_another_lobby_all_or_none() {
        let mut queue = Queue::new(9);
        let ids: Vec<_> = (1..=3).map(|player| queue.add(0, member(player), 1_500, 0).unwrap()).collect();
        assert!(queue.hold(1, &ids[..2]).is_none(), "another mode");
        assert!(queue.hold(0, &[]).is_none());
        assert!(queue.hold(0, &[ids[0], 99]).is_none());
        assert_eq!(queue.offered().count(), 3);
        assert_eq!(queue.hold(0, &ids[..2]).unwrap().len(), 2);
        assert!(queue.hold(0, &ids[1..]).is_none(), "one of them is held");
        assert_eq!(queue.offered().count(), 1);
        queue.give_back(ids[0], true, 5);
        assert_eq!(queue.offered().count(), 2);
    }

    #[test]
    fn teams_are_balanced_by_what_their_players_are_rated() {
        let mut queue = Queue::new(9);
        for (player, rating) in [(1, 2_000), (2, 1_900), (3, 1_000), (4, 900)] {
            queue.add(0, member(player), rating, 0).unwrap();
        }
        let rules = Rules { teams: 2, seats_per_team: 2, bots_after_ms: None };
        let made = queue.make_matches(0, &rules, &[], 1);
        let teams = made[0].iter().map(|team| {
            let players = team.iter().filter_map(Part::own).map(|ticket| ticket.members[0].player);
            players.collect::<std::collections::BTreeSet<_>>()
        });
        assert!(teams.clone().any(|team| team == [1, 4].into()), "{:?}", teams.collect::<Vec<_>>());
    }
}
