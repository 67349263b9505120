//! Tests that cross crates, in one binary.

mod arrows;
mod bad_link;
mod cli;
mod config;
mod field;
mod own_game;
