//! The board of lobbies in one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Board, BoardAway, LETTERS_MAX, Letter, LobbyName, Met, Offer, SharedTicket};

/// Who did not come for so long is no more, and leads no more.
const ABSENCE_MAX: Duration = Duration::from_secs(3);

/// A board in memory.
#[derive(Debug, Default)]
pub struct MemoryBoard {
    notices: Mutex<Notices>,
}

#[derive(Debug, Default)]
struct Notices {
    lobbies: BTreeMap<LobbyName, Notice>,
    leader: Option<LobbyName>,
}

#[derive(Debug)]
struct Notice {
    seen: Instant,
    tickets: Vec<SharedTicket>,
    letters: Vec<Letter>,
}

impl MemoryBoard {
    /// Forgets everything, as a service does that is started again.
    pub fn forget(&self) {
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner) = Notices::default();
    }
}

#[async_trait]
impl Board for MemoryBoard {
    async fn meet(&self, offer: Offer) -> Result<Met, BoardAway> {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let Notices { lobbies, leader } = &mut *notices;
        let now = Instant::now();
        lobbies.retain(|_, notice| now.saturating_duration_since(notice.seen) < ABSENCE_MAX);
        let mut mine = lobbies.remove(&offer.lobby).map(|notice| notice.letters).unwrap_or_default();
        for (to, letter) in offer.letters {
            let letters = if to == offer.lobby {
                Some(&mut mine)
            } else {
                lobbies.get_mut(&to).map(|it| &mut it.letters)
            };
            if let Some(letters) = letters.filter(|letters| letters.len() < LETTERS_MAX) {
                letters.push(letter);
            }
        }
        if leader.as_ref().is_none_or(|leader| *leader == offer.lobby || !lobbies.contains_key(leader)) {
            *leader = offer.can_lead.then(|| offer.lobby.clone());
        }
        let leads = leader.as_ref() == Some(&offer.lobby);
        let shown = |notice: &Notice| if leads { notice.tickets.clone() } else { Vec::new() };
        let others = lobbies.iter().map(|(name, notice)| (name.clone(), shown(notice))).collect();
        lobbies.insert(offer.lobby, Notice { seen: now, tickets: offer.tickets, letters: Vec::new() });
        Ok(Met { leads, letters: mine, others })
    }
}
