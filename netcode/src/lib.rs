//! Battle tokens, encrypted sessions, KCP and datagram lanes, feeds.
//!
//! Everything outside `shell` is a state machine that takes time and bytes as arguments: `handle_*` for what
//! comes in, `poll_*` for what goes out. See `docs/PROTOCOL.md` for the byte tables.
#![forbid(unsafe_code)]

mod connection;
mod counters;
mod crypto;
mod endpoint;
mod handshake;
mod identity;
pub mod input_window;
pub mod limits;
pub mod link;
pub mod measure;
pub mod message;
mod packet;
mod replay_window;
#[cfg(feature = "shell")]
pub mod shell;
pub mod snapshot_feed;
pub mod tick_sync;
mod time;
pub mod token;
#[cfg(test)]
mod vectors;
mod wheel;
mod wire;

pub use connection::{CloseReason, ConnectionStats};
pub use counters::Counters;
pub use crypto::system_random;
pub use endpoint::{
    Client, ClientConfig, ClientEvent, ConnectedClient, HostedBattle, SendError, Server, ServerConfig,
    ServerEvent, Transmit,
};
pub use handshake::DenyReason;
pub use identity::{BattleId, ConnectionId, Epoch, Feed, Lane, LaneWish};
pub use replay_window::ReplayWindow;
pub use time::Millis;
