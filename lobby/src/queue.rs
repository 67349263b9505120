//! The tickets that wait or are being placed. One a player.

use std::collections::{BTreeMap, HashMap};

use crate::matchmaker;

/// Rating of a player of whom nothing is known.
pub(crate) const RATING_UNKNOWN: i32 = 1500;

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
    /// Since when it waits; kept when a match falls through.
    pub(crate) queued_ms: u64,
    state: State,
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

    pub(crate) fn add(&mut self, mode: usize, members: Vec<Member>, now_ms: u64) -> Result<u64, QueueError> {
        if members.iter().any(|member| self.by_player.contains_key(&member.player)) {
            return Err(QueueError::AlreadyQueued);
        }
        if self.tickets.len() >= self.tickets_max {
            return Err(QueueError::Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.by_player.extend(members.iter().map(|member| (member.player, id)));
        self.tickets.insert(id, Ticket { id, mode, members, queued_ms: now_ms, state: State::Waiting });
        Ok(id)
    }

    /// A ticket that is being placed from the start.
    pub(crate) fn add_matched(
        &mut self,
        mode: usize,
        members: Vec<Member>,
        now_ms: u64,
    ) -> Result<u64, QueueError> {
        let id = self.add(mode, members, now_ms)?;
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

    /// Makes the matches of a mode and marks their tickets, all of a match or none.
    pub(crate) fn make_matches(
        &mut self,
        mode: usize,
        rules: &matchmaker::Rules,
        now_ms: u64,
    ) -> Vec<Vec<Vec<Ticket>>> {
        let waiting: Vec<matchmaker::Ticket> = self
            .tickets
            .values()
            .filter(|ticket| ticket.mode == mode && ticket.state == State::Waiting)
            .map(|ticket| matchmaker::Ticket {
                id: ticket.id,
                players: ticket.members.iter().map(|member| member.player).collect(),
                rating: RATING_UNKNOWN,
                queued_ms: ticket.queued_ms,
            })
            .collect();
        let mut take = |id: u64| {
            let ticket = self.tickets.get_mut(&id).expect("the matchmaker answers the tickets it was given");
            ticket.state = State::Matched;
            ticket.clone()
        };
        matchmaker::make_matches(&waiting, rules, now_ms)
            .into_iter()
            .map(|made| {
                made.teams.into_iter().map(|team| team.into_iter().map(&mut take).collect()).collect()
            })
            .collect()
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
    use super::{Member, Queue, QueueError};
    use crate::matchmaker::Rules;

    const DUEL: Rules = Rules { teams: 2, seats_per_team: 1, bots_after_ms: None };

    fn member(player: u64) -> Vec<Member> {
        vec![Member { player, name: String::new(), loadout: 0 }]
    }

    #[test]
    fn a_player_has_one_ticket_and_the_queue_a_bound() {
        let mut queue = Queue::new(2);
        queue.add(0, member(1), 0).unwrap();
        assert_eq!(queue.add(1, member(1), 0), Err(QueueError::AlreadyQueued));
        queue.add(0, member(2), 0).unwrap();
        assert_eq!(queue.add(0, member(3), 0), Err(QueueError::Full));
        queue.cancel(1).unwrap();
        assert_eq!(queue.cancel(1), Err(QueueError::NotQueued));
        assert!(queue.add(0, member(3), 0).is_ok());
    }

    #[test]
    fn a_matched_ticket_cannot_be_cancelled_nor_matched_again_and_comes_back_with_its_age() {
        let mut queue = Queue::new(9);
        for player in 1..=2 {
            queue.add(0, member(player), 5).unwrap();
        }
        let made = queue.make_matches(0, &DUEL, 10);
        assert_eq!(made.len(), 1);
        assert_eq!(queue.cancel(1), Err(QueueError::AlreadyMatched));
        assert!(queue.make_matches(0, &DUEL, 10).is_empty());
        for ticket in made[0].iter().flatten() {
            queue.give_back(ticket.id, true, 20);
        }
        queue.add(0, member(3), 19).unwrap();
        let again = queue.make_matches(0, &DUEL, 30);
        let players: Vec<_> = again[0].iter().flatten().map(|ticket| ticket.members[0].player).collect();
        assert_eq!(players, [1, 2], "older than the one that came meanwhile");
        assert!(again[0].iter().flatten().all(|ticket| ticket.queued_ms == 5));
    }

    #[test]
    fn an_absent_players_ticket_is_not_matched_and_is_dropped_after_a_while() {
        let mut queue = Queue::new(9);
        for player in 1..=2 {
            queue.add(0, member(player), 0).unwrap();
        }
        queue.leave(1, 100);
        assert!(queue.make_matches(0, &DUEL, 110).is_empty());
        assert_eq!(queue.drop_absent(99), 0);
        queue.come_back(1);
        assert_eq!(queue.drop_absent(100), 0);
        queue.leave(1, 200);
        assert_eq!(queue.drop_absent(200), 1);
        assert!(!queue.has(1));
        assert!(queue.has(2));
    }
}
