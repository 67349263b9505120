//! Tests that cross crates, in one binary.

mod arrows;
mod cli;
mod config;
mod own_game;
