//! What lobbies and battle nodes know of each other: the directory, placement, epochs, control messages.
//!
//! Knows no other room. A node registers a [`node::NodeRecord`] under a lease and reports its load; a lobby
//! follows the records in a [`node::View`], picks with [`node::select`], and talks to the node over
//! [`control`].
#![forbid(unsafe_code)]

mod clock;
pub mod control;
mod counters;
pub mod directory;
pub mod epoch;
mod id;
pub mod node;
pub mod testing;

pub use clock::Clock;
pub use counters::Counter;
pub use id::{BattleId, Epoch, NODE_ID_BYTES_MAX, NodeId, NodeIdError};
