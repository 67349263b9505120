//! Battle tokens, encrypted sessions, KCP and datagram lanes, feeds.
//!
//! Everything outside `shell` is a state machine that takes time and bytes as arguments: `handle_*` for what
//! comes in, `poll_*` for what goes out. See `docs/PROTOCOL.md` for the byte tables.
//!
//! [`token`] is what lets a player in, [`Client`] and [`Server`] are the two ends of a session, [`message`] is what
//! travels inside of it: inputs, frames and snapshots as bytes with a tick number on them. [`link`] is a bad network by
//! seed, for tests. Times are [`Millis`] of a clock that only grows; where it is the calendar's, a name says
//! `unix_ms`. Every bound stands in [`limits`], with what happens at it.
//!
//! A client joins a battle, without a socket:
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
//! use tiltyard_netcode::{
//!     BattleId, Client, ClientConfig, ClientEvent, Epoch, Feed, HostedBattle, LaneWish, Millis, Server, ServerConfig,
//!     TransportWish, system_random,
//! };
//!
//! // The lobby: a key for the battle, a token for a seat.
//! let battle = BattleId(1);
//! let key = MasterKey::from_bytes(1, system_random()).battle_key(battle);
//! let session_secret = SessionSecret::from_bytes(system_random());
//! let claims = Claims {
//!     player: 7,
//!     seat: 0,
//!     team: 0,
//!     role: Role::Player,
//!     protocol_hash: [1; 16],
//!     issued_unix_ms: 0,
//!     session_secret: session_secret.clone(),
//!     bytes_per_second_max: 0,
//!     inputs_per_second_max: 0,
//!     loadout_hash: [0; 32],
//!     user_data: Vec::new(),
//! };
//! let token = mint(&key, system_random(), 60_000, &claims);
//!
//! // The node hosts the battle.
//! let config = ServerConfig { worker: 0, connections_max: 64, unix_offset_ms: 0, skew_ms: 5_000 };
//! let mut server = Server::new(config, system_random());
//! let keys = vec![key];
//! let hosted = HostedBattle { keys, epoch: Epoch(1), protocol_hash: [1; 16], rate_hz: 30, math_hash: 0, hides: false };
//! server.host(battle, hosted);
//!
//! // The client joins; both take turns until neither has anything to say.
//! let node: SocketAddr = "192.0.2.1:4000".parse()?;
//! let home: SocketAddr = "198.51.100.1:5000".parse()?;
//! let config = ClientConfig {
//!     token_file: TokenFile { token, session_secret, addresses: vec![node] },
//!     feed: Feed::Snapshot,
//!     lane: LaneWish::Auto,
//!     transport: TransportWish::Auto,
//!     protocol_hash: [1; 16],
//!     math_hash: None,
//!     resume_tick: None,
//!     connect_sequence: 1,
//! };
//! let now = Millis(1_000);
//! let mut client = Client::new(config, now, system_random());
//! let mut datagram = Vec::new();
//! while client.poll_transmit(now, &mut datagram).is_some() {
//!     server.handle_datagram(now, home, &mut datagram);
//!     while server.poll_transmit(now, &mut datagram).is_some() {
//!         client.handle_datagram(now, node, &mut datagram);
//!     }
//! }
//! assert!(matches!(client.poll_event(), Some(ClientEvent::Accepted { seat: 0, .. })));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
#![forbid(unsafe_code)]

mod connection;
mod counters;
mod crypto;
mod endpoint;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod handshake;
mod identity;
pub mod input_window;
pub mod limits;
pub mod link;
pub mod measure;
pub mod message;
mod packet;
mod path;
mod replay_window;
#[cfg(feature = "shell")]
pub mod shell;
pub mod tick_sync;
mod time;
pub mod token;
#[cfg(test)]
mod vectors;
mod wheel;
mod wire;

pub use connection::{CloseReason, ConnectionStats, Room};
pub use counters::Counters;
pub use crypto::system_random;
pub use endpoint::{
    Client, ClientConfig, ClientEvent, ConnectedClient, HostedBattle, SendError, Server, ServerConfig,
    ServerEvent, Transmit,
};
pub use handshake::DenyReason;
pub use identity::{BattleId, ConnectionId, Epoch, Feed, Lane, LaneWish};
pub use path::{Path, Transport, TransportWish};
pub use replay_window::ReplayWindow;
pub use time::Millis;
