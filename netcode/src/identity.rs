//! The small identities and choices that travel in tokens, handshakes and events.

use std::fmt;

use crate::token::Role;

/// A battle, unique in its cluster for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BattleId(pub u64);

/// Counts the owners of a battle; the copy under the highest epoch is the battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// One connection of one client: the worker's index in the highest byte, then 32 random bits, then the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which feed a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feed {
    /// The seat's view of the state (state sync).
    Snapshot,
    /// The confirmed inputs of every tick (lockstep).
    Frame,
}

/// How a client wants feeds and inputs to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneWish {
    /// KCP while the path is clean, the datagram lane from the first sign of loss until a clean minute.
    Auto,
    /// Always KCP.
    Kcp,
    /// Always the datagram lane (what is too long for it takes KCP).
    Datagram,
}

/// How a message travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Over KCP: all of them, in order.
    Reliable,
    /// In a datagram of its own: perhaps never, perhaps late, never twice.
    Datagram,
}

impl ConnectionId {
    pub(crate) fn new(worker: u8, random: u32, slot: u32) -> Self {
        assert!(slot < 1 << 24, "slot {slot}");
        Self(u64::from(worker) << 56 | u64::from(random) << 24 | u64::from(slot))
    }

    /// The worker whose socket serves the connection.
    pub fn worker(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    pub(crate) fn slot(self) -> usize {
        // 24 bits fit every usize.
        (self.0 & 0xFF_FFFF) as usize
    }
}

impl fmt::Display for BattleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Feed {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Snapshot => 0,
            Self::Frame => 1,
        }
    }

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        [Self::Snapshot, Self::Frame].get(usize::from(byte)).copied()
    }
}

impl LaneWish {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Auto => 0,
            Self::Kcp => 1,
            Self::Datagram => 2,
        }
    }

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        [Self::Auto, Self::Kcp, Self::Datagram].get(usize::from(byte)).copied()
    }
}

impl Role {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Player => 0,
            Self::Spectator => 1,
            Self::Bot => 2,
        }
    }

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        [Self::Player, Self::Spectator, Self::Bot].get(usize::from(byte)).copied()
    }
}
