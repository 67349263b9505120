//! What a server is set up with, and what it tells.

use std::net::SocketAddr;

use crate::connection::CloseReason;
use crate::token::Role;
use crate::{BattleId, ConnectionId, Epoch, Feed, Lane, Transport};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Index of the worker whose socket this is; connection ids carry it.
    pub worker: u8,
    /// Connections at once; a CONNECT beyond it is denied as full. At most 2^24.
    pub connections_max: u32,
    /// What to add to the caller's `Millis` to have Unix milliseconds; `set_unix_offset` changes it.
    pub unix_offset_ms: i64,
    /// How far clocks of lobby and node may differ when token times are judged, milliseconds.
    pub skew_ms: u64,
}

/// A client that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedClient {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its battle.
    pub battle: BattleId,
    /// The epoch it was told.
    pub epoch: Epoch,
    /// Its seat; means nothing for a spectator.
    pub seat: u16,
    /// The seat's team.
    pub team: u8,
    /// The player behind it.
    pub player: u64,
    /// What it may be.
    pub role: Role,
    /// The feed that it takes.
    pub feed: Feed,
    /// The last tick that it has, if it comes back.
    pub resume_tick: Option<u32>,
    /// The connection of the same seat that it replaced, which is over (it has its own `Disconnected`, before).
    pub replaced: Option<ConnectionId>,
    /// Where it came from.
    pub from: SocketAddr,
    /// What carries its packets.
    pub transport: Transport,
}

/// What a server has to tell.
#[derive(Debug)]
pub enum ServerEvent<'a> {
    /// A client was admitted.
    Connected(Box<ConnectedClient>),
    /// A message came; `bytes` are hostile, `message::ToServer::parse` judges them.
    Message {
        /// From whom.
        connection: ConnectionId,
        /// How.
        lane: Lane,
        /// The message.
        bytes: &'a [u8],
    },
    /// A connection is over; exactly one for each `Connected`.
    Disconnected {
        /// Which one.
        connection: ConnectionId,
        /// Its battle.
        battle: BattleId,
        /// Its seat.
        seat: u16,
        /// Why.
        reason: CloseReason,
    },
}

pub(super) enum Notice {
    Connected(Box<ConnectedClient>),
    Disconnected { connection: ConnectionId, battle: BattleId, seat: u16, reason: CloseReason },
}
