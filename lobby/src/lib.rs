//! Everything before and after a battle: gate, sessions, queue, matchmaker, placement, tokens, results.
//!
//! [`Lobby::start`] brings it up over a directory, a store and calls to nodes. It knows no engine: a mode is a
//! name, sizes, a protocol hash and a setup of opaque bytes.
#![forbid(unsafe_code)]

mod allocation;
mod config;
mod counters;
mod gate;
mod house;
mod keys;
mod lobby;
mod matching;
pub mod matchmaker;
mod names;
mod numbers;
mod presence;
mod queue;
mod settle;
mod shares;
pub mod store;
pub mod testing;

pub use config::{ConfigError, GateLimits, LobbyConfig, ModeConfig, Waits};
pub use counters::LobbyCounters;
pub use keys::MasterKeys;
pub use lobby::{Lobby, StartError};
