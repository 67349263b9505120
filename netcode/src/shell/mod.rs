//! The only place with sockets and a clock. No decisions are made here: read, `handle`, `poll`, write, sleep.

mod batch;
mod client;
mod clock;
mod path;
mod server;

pub use client::ClientShell;
pub use server::ServerShell;
