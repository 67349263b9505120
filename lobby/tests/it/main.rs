//! The lobby from outside: sessions, placement, and the gate over real sockets.
#![allow(missing_docs)]

mod house;
mod placement;
mod sessions;
