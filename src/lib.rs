//! Tiltyard: a deterministic battle server.
//!
//! This package is the program: every role and tool is a subcommand of one binary. The rooms behind it (engine,
//! netcode, replay, api, cluster, lobby, battle, client) are packages of their own; see ARCHITECTURE.md.
//!
//! A game of your own gets the whole program by one line; nothing in these packages is edited for it. `examples/duel`
//! is the smallest one, and `docs/your-own-game.md` explains it line by line:
//!
//! ```no_run
//! # use tiltyard_engine::Game;
//! # fn of<MyGame: Game>() -> anyhow::Result<()> {
//! tiltyard::run::<MyGame>()
//! # }
//! ```

mod bots;
mod cli;
mod connect;
mod demo;
mod layout;
mod nodes;
mod play;
mod program;
mod roles;
mod soak;
mod text;
mod time;
mod token;
mod up;
mod wishes;

pub mod bench;
pub mod config;
pub mod exit;
pub mod house;
pub mod keys;
pub mod netsim;
pub mod output;
pub mod replay;
pub mod stop;

pub use self::program::{run, run_with};

/// The program's name and version, as recordings, nodes and gates name it.
pub const BUILD: &str = concat!("tiltyard ", env!("CARGO_PKG_VERSION"));
