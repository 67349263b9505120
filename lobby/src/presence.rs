//! Who is there: one session a player, the newest wins.

use std::collections::HashMap;
use std::sync::Arc;

use tiltyard_api::GateMessage;
use tokio::sync::{Notify, mpsc};

/// Most messages that wait for a client to read; when full, the session is closed as too slow.
pub(crate) const OUTGOING_MAX: usize = 64;

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
        self.why.lock().expect("nobody panics while holding it").get_or_insert(why);
        self.told.notify_one();
    }

    pub(crate) async fn closed(&self) -> CloseReason {
        loop {
            if let Some(why) = *self.why.lock().expect("nobody panics while holding it") {
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
    by_player: HashMap<u64, Mailbox>,
}

impl Presence {
    /// A player logs in; the session that was there before is told to close.
    pub(crate) fn enter(&mut self, player: u64, mailbox: Mailbox) -> Option<Mailbox> {
        let older = self.by_player.insert(player, mailbox);
        if let Some(older) = &older {
            older.close.close(CloseReason::Replaced);
        }
        older
    }

    /// A session ends; answers whether it was still its player's.
    pub(crate) fn leave(&mut self, player: u64, session: u64) -> bool {
        let own = self.by_player.get(&player).is_some_and(|mailbox| mailbox.session == session);
        if own {
            self.by_player.remove(&player);
        }
        own
    }

    pub(crate) fn send(&self, player: u64, message: GateMessage) -> Delivery {
        let Some(mailbox) = self.by_player.get(&player) else { return Delivery::NobodyThere };
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
        for mailbox in self.by_player.values() {
            mailbox.close.close(CloseReason::House);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.by_player.len()
    }
}
