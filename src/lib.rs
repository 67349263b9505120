//! Tiltyard: a deterministic battle server.
//!
//! This package is the program: every role and tool is a subcommand of one binary. The rooms behind it (engine,
//! netcode, replay, api, cluster, lobby, battle, client) are packages of their own; see ARCHITECTURE.md.

mod cli;
mod program;

pub mod config;
pub mod exit;
pub mod keys;
pub mod output;
pub mod stop;

pub use self::program::{run, run_with};
