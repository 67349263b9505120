//! What lobbies write to each other.
//!
//! ```text
//! leader ── take ──▶ owner of tickets ── taken, not_taken ──▶ leader ── placed, returned ──▶ owner
//! ```

use serde::{Deserialize, Serialize};
use tiltyard_api::{BattleOver, ErrorCode, Hex64, List, Text};
use tiltyard_cluster::control::{MODE_BYTES_MAX, NAME_BYTES_MAX, SEATS_MAX};

use super::LobbyName;

/// A ticket as other lobbies see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedTicket {
    /// Its number at its lobby.
    pub id: u64,
    /// The mode's name.
    pub mode: Text<MODE_BYTES_MAX>,
    /// Its players.
    pub players: List<u64, SEATS_MAX>,
    /// Their rating.
    pub rating: i32,
    /// Since when it waits, Unix time in milliseconds.
    pub queued_unix_ms: u64,
}

/// A ticket that its lobby holds for a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenTicket {
    /// Its number at its lobby.
    pub id: u64,
    /// Its players.
    pub members: List<TakenMember, SEATS_MAX>,
}

/// A player on a ticket that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenMember {
    /// The player's number.
    pub player: u64,
    /// Display name.
    pub name: Text<NAME_BYTES_MAX>,
    /// The loadout.
    pub loadout: u32,
}

/// A letter from one lobby to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    /// The leader asks for tickets for a battle, all or none.
    Take {
        /// The battle's number.
        battle: Hex64,
        /// Who asks.
        from: LobbyName,
        /// The mode's name.
        mode: Text<MODE_BYTES_MAX>,
        /// The tickets.
        tickets: List<u64, SEATS_MAX>,
        /// People in the match.
        humans: u16,
        /// Bots in the match.
        bots: u16,
    },
    /// They are held for the battle.
    Taken {
        /// The battle's number.
        battle: Hex64,
        /// Whose they are.
        from: LobbyName,
        /// The tickets with their players.
        tickets: List<TakenTicket, SEATS_MAX>,
    },
    /// They do not wait any more, or not all of them.
    NotTaken {
        /// The battle's number.
        battle: Hex64,
        /// Whose they are.
        from: LobbyName,
    },
    /// The battle is placed.
    Placed {
        /// The battle's number.
        battle: Hex64,
    },
    /// The battle does not take place; its tickets wait again.
    Returned {
        /// The battle's number.
        battle: Hex64,
        /// Why.
        reason: ErrorCode,
    },
    /// A player has entered at the lobby that writes: the newest session wins.
    Entered {
        /// The player's number.
        player: u64,
        /// When, Unix time in milliseconds.
        unix_ms: u64,
    },
    /// A battle has its result.
    Over {
        /// What its players are told.
        over: BattleOver,
        /// Who they are.
        players: List<u64, SEATS_MAX>,
    },
    /// An address has used up some of what it may ask for.
    Asked {
        /// The address.
        origin: std::net::IpAddr,
        /// Which kind of wish: 0 a login, 1 a fresh battle, 2 a ticket.
        wish: u8,
        /// How often.
        count: u32,
    },
}

impl Letter {
    /// The letter as it travels.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("letters have string keys")
    }

    /// Reads a letter; nothing if it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}
