//! What tests of this room and of others need: a store's conformance, and a lobby without sockets.

mod local;
mod store_conformance;

pub use local::{LocalClient, LocalGate, LocalLobby};
pub use store_conformance::store_conformance;
