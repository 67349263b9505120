//! Where several lobbies meet, so that their players are matched with each other.
//!
//! ```text
//! lobby ── its waiting tickets, letters to others ──▶ board ── leads or follows, letters, others' tickets ──▶ lobby
//! ```
//! A board is a notice board and no register: it may forget everything at any time, lose letters, or be away, and
//! nobody is matched twice or forgotten for it. Each lobby says all its tickets again at each meeting, and a ticket
//! is taken by its own lobby alone. What a lost letter leaves open is decided by the [store](crate::store).

mod letter;
mod memory;
#[cfg(feature = "redis")]
mod redis;

pub use letter::{Letter, SharedTicket, TakenMember, TakenTicket};
pub use memory::MemoryBoard;
#[cfg(feature = "redis")]
pub use redis::{RedisBoard, RedisTimes};

use async_trait::async_trait;
use tiltyard_api::Text;

/// Which lobby: its name and the number of this start.
pub type LobbyName = Text<96>;

/// Most letters that wait for one lobby; further ones are lost.
pub const LETTERS_MAX: usize = 4_096;

/// What a lobby brings to a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Who comes.
    pub lobby: LobbyName,
    /// All its tickets that wait.
    pub tickets: Vec<SharedTicket>,
    /// Letters to one lobby each.
    pub letters: Vec<(LobbyName, Letter)>,
    /// Whether it can make the matches of all.
    pub can_lead: bool,
}

/// What a lobby finds at a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Met {
    /// Whether it makes the matches of all until the next meeting.
    pub leads: bool,
    /// Letters to it.
    pub letters: Vec<Letter>,
    /// The tickets of each other lobby, if it leads; otherwise their names alone.
    pub others: Vec<(LobbyName, Vec<SharedTicket>)>,
}

/// Why a meeting did not take place. Whether the offer was taken is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the board does not answer")]
pub struct BoardAway;

/// A board. At most one lobby leads at a time, as far as the board knows; nothing depends on it but speed.
#[async_trait]
pub trait Board: std::fmt::Debug + Send + Sync + 'static {
    /// Brings an offer, which replaces the one before, and answers what is there. Returns within a quarter of a
    /// second.
    ///
    /// # Errors
    /// [`BoardAway`].
    async fn meet(&self, offer: Offer) -> Result<Met, BoardAway>;
}
