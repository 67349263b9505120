//! Control messages between gates, lobbies and nodes: gRPC, every call and answer under a MAC of the cluster secret.
//!
//! Other rooms see plain types and traits only: a node implements [`NodeHandler`], a lobby [`LobbyHandler`],
//! [`ControlServer`] serves either, and [`ControlClient`] calls them through [`NodeCalls`] and [`LobbyCalls`]. A gate
//! opens a [`SessionLink`] at a lobby for each of its players.

mod client;
mod message;
mod seal;
mod server;
mod session;
mod wire;

pub use client::{CALL_TIMEOUT, ControlClient};
pub use message::{
    BattleEnd, BattleKeyGrant, CallError, DrainAnswer, LobbyCalls, LobbyHandler, NodeCalls, NodeHandler,
    NodeStatus, Peer, Refusal, Release, ReleaseAnswer, Reservation, ReserveAnswer, ReservedSeat,
    RunningBattle, SettleAnswer, Settlement,
};
pub use seal::{ClusterKeys, ClusterSecret, NONCES_MAX, SKEW_MAX_MS};
pub use server::{ControlCounters, ControlServer, Handlers};
pub use session::{Frame, SessionCalls, SessionHandler, SessionLink};
pub use wire::{
    ADDRESSES_MAX, BATTLES_MAX, BodyError, KEYS_MAX, MESSAGE_BYTES_MAX, MODE_BYTES_MAX, NAME_BYTES_MAX,
    SCORES_MAX, SEATS_MAX, SETUP_BYTES_MAX,
};

/// What `proto/control.proto` generates. It is kept so that a build does not compile a protobuf compiler first;
/// `tests/proto.rs` compares it with what the generator makes today.
#[allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::nursery,
    clippy::pedantic
)]
#[rustfmt::skip]
pub(crate) mod proto;
