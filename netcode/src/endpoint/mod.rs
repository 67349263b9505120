//! The two ends of sessions as state machines: `Server` for a worker's socket, `Client` for a player.

mod admission;
mod battles;
mod client;
mod greeting;
mod server;
mod server_event;
mod slot;

#[cfg(test)]
mod tests;

pub use battles::HostedBattle;
pub use client::{Client, ClientConfig, ClientEvent};
pub use server::Server;
pub use server_event::{ConnectedClient, ServerConfig, ServerEvent};

use thiserror::Error;

use crate::{ConnectionId, Path};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The destination.
    pub to: Path,
    /// The connection that says it; an answer to a handshake has none.
    pub connection: Option<ConnectionId>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// The connection has ended, or never was.
    #[error("connection {connection} is not open")]
    NotOpen {
        /// Which one.
        connection: ConnectionId,
    },
    /// The message is longer than its direction allows.
    #[error("message of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Too much waits for the peer already; the connection was closed for that.
    #[error("connection {connection} does not read and was closed")]
    SlowReader {
        /// Which one.
        connection: ConnectionId,
    },
}
