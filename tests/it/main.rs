//! Tests that cross crates, in one binary.

mod arrows;
mod bad_input;
mod bad_link;
mod bare_game;
mod cli;
mod config;
mod foreign_client;
mod house_on_real_sockets;
mod keyboard;
mod kills;
mod late_join;
mod own_game;
mod processes;
mod program;
mod recordings;
mod terminal;
mod transports;
mod views;
mod watching;
