//! The only place with sockets and a clock. No decisions are made here: read, `handle`, `poll`, write, sleep.

mod acceptor;
mod bad_path;
mod batch;
mod carry;
mod client;
mod clock;
mod metered;
#[cfg(feature = "quic")]
mod quic;
mod send_batch;
mod server;
mod streams;
mod websocket;

pub use acceptor::{StreamDoor, StreamOffer, UNPROVEN_STREAMS_MAX, UNPROVEN_STREAMS_PER_ADDRESS_MAX};
pub use client::ClientShell;
#[cfg(feature = "quic")]
pub use quic::QuicDoor;
pub use server::ServerShell;
pub use websocket::{Certificate, CertificateError};
