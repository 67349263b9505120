//! The lobby from outside: sessions, placement, and the gate over real sockets.
#![allow(missing_docs)]

mod faults;
mod faulty_store;
mod gate;
mod house;
mod placement;
mod sessions;
mod shares;
