//! The lobby from outside: sessions, placement, and the gate over real sockets.

mod accounts;
mod faults;
mod faulty_store;
mod front;
mod gate;
mod house;
#[cfg(feature = "mongodb")]
mod mongo;
mod placement;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod relay;
mod results;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod server;
mod sessions;
mod shares;
mod sharing;
mod upgrade;
