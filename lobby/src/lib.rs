//! Everything before and after a battle: gate, sessions, queue, matchmaker, placement, tokens, results.
//!
//! [`Lobby::start`] brings it up over a directory, a store and calls to nodes. It knows no engine: a mode is a
//! name, sizes, a protocol hash and a setup of opaque bytes.
//!
//! A player's way leads through it in this order: the gate (JSON over a WebSocket, messages in `tiltyard-api`) and a
//! session, the queue, [`matchmaker`], the placement on a node that takes all seats or none, a battle token for each
//! seat, and after the battle the result in the [`store`], settled once. [`testing`] has what every store has to pass.
//!
//! Matching is a pure function of the tickets and the time:
//!
//! ```
//! use tiltyard_lobby::matchmaker::{Rules, Ticket, make_matches};
//!
//! let ticket = |id, queued_ms| Ticket { id, players: vec![id], rating: 1_500, queued_ms };
//! let rules = Rules { teams: 2, seats_per_team: 1, bots_after_ms: Some(10_000) };
//! let tickets = [ticket(1, 0), ticket(2, 500), ticket(3, 900)];
//! assert_eq!(make_matches(&tickets, &rules, 1_000).len(), 1);
//! // Whoever waited long enough plays against a bot.
//! let matches = make_matches(&tickets[2..], &rules, 10_900);
//! assert_eq!((matches.len(), matches[0].bots), (1, 1));
//! ```
//!
//! Times are milliseconds of one clock, wall-clock times are Unix milliseconds and named so.
#![forbid(unsafe_code)]

mod allocation;
mod avatars;
pub mod board;
mod config;
mod counters;
mod gate;
mod house;
mod keys;
mod lobby;
mod login;
mod matching;
pub mod matchmaker;
mod names;
mod numbers;
mod passwords;
mod presence;
mod probe;
mod queue;
mod rating;
mod settle;
mod shares;
mod sharing;
mod status;
pub mod store;
pub mod testing;

pub use config::{ConfigError, GateLimits, LobbyConfig, ModeConfig, Waits};
pub use counters::LobbyCounters;
pub use gate::{Gate, GateConfig, GateStatus};
pub use keys::MasterKeys;
pub use lobby::{Lobby, LobbyStatus, StartError};
pub use status::{StatusPage, StatusServer, WritePage};
