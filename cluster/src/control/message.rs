//! The control messages as plain types, and the traits of those who answer and those who ask.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;

use crate::id::{BattleId, Epoch, NodeId};
use crate::node::Load;

/// Whom to call: a node or a lobby, as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its name; a call that reaches another one is refused there.
    pub id: NodeId,
    /// Where it listens for control messages.
    pub control: SocketAddr,
}

/// Asks a node to host a battle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The battle.
    pub battle: BattleId,
    /// The epoch under which the node shall own it.
    pub epoch: Epoch,
    /// Name of the mode, at most [`super::MODE_BYTES_MAX`] bytes.
    pub mode: String,
    /// Protocol hash of the game.
    pub protocol_hash: [u8; 16],
    /// The game's setup, opaque here; at most [`super::SETUP_BYTES_MAX`] bytes.
    pub setup: Vec<u8>,
    /// Seed of the battle.
    pub seed: u64,
    /// Ticks per second, at least 1.
    pub rate_hz: u16,
    /// The battle ends at this tick at the latest, at least 1.
    pub ticks_max: u32,
    /// 1 to [`super::SEATS_MAX`] seats, numbered from 0 without a gap and in order.
    pub seats: Vec<ReservedSeat>,
    /// The keys that open this battle's tokens: 1 or [`super::KEYS_MAX`], no key id twice.
    pub keys: Vec<BattleKeyGrant>,
    /// The reservation frees itself if nobody has connected after so many milliseconds.
    pub deadline_ms: u32,
}

/// One seat of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedSeat {
    /// Its number.
    pub seat: u16,
    /// Its team.
    pub team: u8,
    /// The player who may take it; for a bot a number of its own.
    pub player: u64,
    /// Display name, at most [`super::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Whether the game plays it.
    pub bot: bool,
    /// The loadout.
    pub loadout: u32,
}

/// A key that opens the tokens of one battle. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct BattleKeyGrant {
    /// Key id, as it stands in the tokens.
    pub kid: u32,
    /// The key of this battle.
    pub key: [u8; 32],
}

impl fmt::Debug for BattleKeyGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BattleKeyGrant").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What a node says to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveAnswer {
    /// The seats are held until the deadline.
    Reserved {
        /// Where players connect: 1 to [`super::ADDRESSES_MAX`], the best first.
        addresses: Vec<SocketAddr>,
    },
    /// Nothing was reserved.
    Refused(Refusal),
}

/// Why a node does not host a battle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No seat or no battle slot is free.
    Full,
    /// Its ticks have no head-room.
    Overloaded,
    /// It takes no new battles.
    Draining,
    /// It runs another game, or another version of it.
    ProtocolHash,
    /// It knows a higher epoch of this battle.
    StaleEpoch,
    /// The battle cannot be made from what was sent: the game refuses it.
    Invalid,
    /// Something in the node did not work.
    Internal,
}

/// Asks a node to give up a battle that nobody has joined, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The battle.
    pub battle: BattleId,
    /// The epoch of the reservation.
    pub epoch: Epoch,
}

/// What a node says to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// It is given up.
    Released,
    /// It is not here.
    NotHere,
    /// It is here under a higher epoch, and stays.
    Stale,
}

/// What a node says to a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainAnswer {
    /// Battles that still run.
    pub battles: u32,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeId,
    /// Whether it takes no new battles.
    pub draining: bool,
    /// Its load.
    pub load: Load,
    /// Its battles, at most [`super::BATTLES_MAX`].
    pub battles: Vec<RunningBattle>,
}

/// One battle on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningBattle {
    /// The battle.
    pub battle: BattleId,
    /// Its epoch there.
    pub epoch: Epoch,
    /// Its last tick.
    pub tick: u32,
    /// Seats with somebody connected.
    pub seats_used: u16,
}

/// The result of a battle, from the node's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The battle.
    pub battle: BattleId,
    /// The epoch under which it ended.
    pub epoch: Epoch,
    /// The node.
    pub node: NodeId,
    /// Its last tick.
    pub ticks: u32,
    /// The team that won, if one did.
    pub winner: Option<u8>,
    /// Scores as the game gives them, at most [`super::SCORES_MAX`].
    pub scores: Vec<i64>,
    /// State hash of the last tick.
    pub final_hash: u64,
    /// Hash of the recording; zeros if there is none.
    pub recording_hash: [u8; 32],
    /// How it ended.
    pub ended: BattleEnd,
}

/// How a battle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BattleEnd {
    /// Played to its outcome.
    Finished,
    /// Ended by a fault.
    Aborted,
    /// Nobody came, or everybody left.
    Abandoned,
}

/// What a lobby says to a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleAnswer {
    /// The result is stored. The outbox forgets it.
    Accepted,
    /// A result of this battle and epoch is stored already. The outbox forgets it.
    Duplicate,
    /// The battle has a higher epoch: this owner is not its owner any more. The outbox forgets it.
    Stale {
        /// The epoch of the battle.
        current: Epoch,
    },
    /// The lobby's store knows no such battle. The outbox keeps it and says so.
    Unknown,
    /// The store is away. The outbox keeps it.
    TryLater,
}

/// Why a call brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing answers there; the call was not made.
    #[error("nobody answers at {0}")]
    Unreachable(SocketAddr),
    /// No answer came in time, or the connection broke; the call may have been made.
    #[error("no answer from {0} in time")]
    Unknown(SocketAddr),
    /// The other side does not know our secret, or our clocks differ too much.
    #[error("{0} refuses our signature")]
    Unauthenticated(SocketAddr),
    /// The answer's signature does not hold, or the answer makes no sense.
    #[error("the answer of {0} is not to be trusted")]
    BadAnswer(SocketAddr),
    /// The other side takes the message for malformed, or does not serve such calls.
    #[error("{0} does not understand the call")]
    Rejected(SocketAddr),
}

impl CallError {
    /// Whether the other side may have done what was asked.
    pub fn may_have_happened(self) -> bool {
        matches!(self, Self::Unknown(_) | Self::BadAnswer(_))
    }
}

/// A battle node, as lobbies call it. Answers come within [`super::CALL_TIMEOUT`] or not at all.
#[async_trait]
pub trait NodeHandler: Send + Sync + 'static {
    /// Reserves seats, all or none. Asking again for the same battle and epoch gives the same answer; a higher
    /// epoch replaces a lower one.
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer;
    /// Gives up a battle.
    async fn release(&self, release: Release) -> ReleaseAnswer;
    /// Takes no new battles from now on.
    async fn drain(&self) -> DrainAnswer;
    /// Says how it is.
    async fn status(&self) -> NodeStatus;
}

/// A lobby, as nodes call it.
#[async_trait]
pub trait LobbyHandler: Send + Sync + 'static {
    /// Stores a result, once.
    async fn settle(&self, settlement: Settlement) -> SettleAnswer;
}

/// Calls to nodes.
#[async_trait]
pub trait NodeCalls: Send + Sync + 'static {
    /// See [`NodeHandler::reserve`].
    ///
    /// # Errors
    /// No answer that can be trusted.
    async fn reserve(&self, node: &Peer, reservation: &Reservation) -> Result<ReserveAnswer, CallError>;
    /// See [`NodeHandler::release`].
    ///
    /// # Errors
    /// No answer that can be trusted.
    async fn release(&self, node: &Peer, release: Release) -> Result<ReleaseAnswer, CallError>;
    /// See [`NodeHandler::drain`].
    ///
    /// # Errors
    /// No answer that can be trusted.
    async fn drain(&self, node: &Peer) -> Result<DrainAnswer, CallError>;
    /// See [`NodeHandler::status`].
    ///
    /// # Errors
    /// No answer that can be trusted.
    async fn status(&self, node: &Peer) -> Result<NodeStatus, CallError>;
}

/// Calls to lobbies.
#[async_trait]
pub trait LobbyCalls: Send + Sync + 'static {
    /// See [`LobbyHandler::settle`].
    ///
    /// # Errors
    /// No answer that can be trusted.
    async fn settle(&self, lobby: &Peer, settlement: &Settlement) -> Result<SettleAnswer, CallError>;
}
