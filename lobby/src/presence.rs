//! Who is there: one session a player, the newest wins; and who said goodbye.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError};

use tiltyard_api::GateMessage;
use tokio::sync::{Notify, mpsc};

/// Most messages that wait for a client to read; when full, the session is closed as too slow.
pub(crate) const OUTGOING_MAX: usize = 64;

/// Most guests without a battle whose logout is remembered.
const LOGGED_OUT_MAX: usize = 65_536;

/// Where to leave messages for one session.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    pub(crate) session: u64,
    pub(crate) messages: mpsc::Sender<GateMessage>,
    pub(crate) close: Arc<Closing>,
}

/// How the house ends a session from outside.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    why: std::sync::Mutex<Option<CloseReason>>,
    told: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    Replaced,
    Slow,
    House,
}

impl Closing {
    pub(crate) fn close(&self, why: CloseReason) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.told.notify_one();
    }

    pub(crate) async fn closed(&self) -> CloseReason {
        loop {
            if let Some(why) = *self.why.lock().unwrap_or_else(PoisonError::into_inner) {
                return why;
            }
            self.told.notified().await;
        }
    }
}

/// What became of a message for a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Left,
    NobodyThere,
    TooSlow,
}

/// The sessions with somebody logged in.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// With the Unix time in milliseconds when they logged in.
    by_player: HashMap<u64, (u64, Mailbox)>,
}

impl Presence {
    /// A player logs in; the session that was there before is told to close.
    pub(crate) fn enter(&mut self, player: u64, mailbox: Mailbox, unix_ms: u64) -> Option<Mailbox> {
        let (_, older) = self.by_player.insert(player, (unix_ms, mailbox))?;
        older.close.close(CloseReason::Replaced);
        Some(older)
    }

    /// A player has logged in at another lobby; answers whether the session here is older, which is told to close.
    pub(crate) fn entered_elsewhere(&mut self, player: u64, unix_ms: u64) -> bool {
        let Some((_, older)) = self.by_player.get(&player).filter(|(entered, _)| *entered <= unix_ms) else {
            return false;
        };
        older.close.close(CloseReason::Replaced);
        self.by_player.remove(&player);
        true
    }

    /// A session ends; answers whether it was still its player's.
    pub(crate) fn leave(&mut self, player: u64, session: u64) -> bool {
        let own = self.by_player.get(&player).is_some_and(|(_, mailbox)| mailbox.session == session);
        if own {
            self.by_player.remove(&player);
        }
        own
    }

    pub(crate) fn send(&self, player: u64, message: GateMessage) -> Delivery {
        let Some((_, mailbox)) = self.by_player.get(&player) else { return Delivery::NobodyThere };
        if mailbox.messages.try_send(message).is_ok() {
            return Delivery::Left;
        }
        mailbox.close.close(CloseReason::Slow);
        Delivery::TooSlow
    }

    pub(crate) fn is_there(&self, player: u64) -> bool {
        self.by_player.contains_key(&player)
    }

    /// Tells every session that the house closes.
    pub(crate) fn close_all(&self) {
        for (_, mailbox) in self.by_player.values() {
            mailbox.close.close(CloseReason::House);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.by_player.len()
    }
}

/// The last guests who logged out without ever having been in a battle. There is nothing of theirs to take: that an
/// older one could come back, or one after a restart, harms nobody.
#[derive(Debug, Default)]
pub(crate) struct LoggedOut {
    players: HashSet<u64>,
    in_order: VecDeque<u64>,
}

impl LoggedOut {
    pub(crate) fn add(&mut self, player: u64) {
        if self.players.insert(player) {
            self.in_order.push_back(player);
        }
        if self.in_order.len() > LOGGED_OUT_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.players.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, player: u64) -> bool {
        self.players.contains(&player)
    }
}

#[cfg(test)]
mod tests {
    use super::{LOGGED_OUT_MAX, LoggedOut};

    #[test]
    fn the_last_logouts_are_remembered_and_no_more() {
        let mut logged_out = LoggedOut::default();
        for player in 0..=LOGGED_OUT_MAX as u64 {
            logged_out.add(player);
            logged_out.add(player);
        }
        assert!(!logged_out.contains(0));
        assert!(logged_out.contains(1) && logged_out.contains(LOGGED_OUT_MAX as u64));
        assert_eq!((logged_out.players.len(), logged_out.in_order.len()), (LOGGED_OUT_MAX, LOGGED_OUT_MAX));
    }
}
