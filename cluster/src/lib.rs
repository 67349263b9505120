//! What lobbies and battle nodes know of each other: the directory, placement, epochs, control messages.
//!
//! Knows no other room. A node registers a [`node::NodeRecord`] under a lease and reports its load; a lobby
//! follows the records in a [`node::View`], picks with [`node::select`], and talks to the node over
//! [`control`].
//!
//! | part | what it is |
//! |---|---|
//! | [`directory`] | keys with leases, revisions, transactions and watches; in memory, or in etcd (feature `etcd`) |
//! | [`node`] | what stands in the directory of a process, and the choice of the least loaded node, a pure function |
//! | [`control`] | reservations and reports between lobby and node, sealed with the cluster's secret |
//! | [`election`] | one of many processes does a thing, with a number that tells its successors apart |
//! | [`claims`] | who owns which battle, many in one transaction |
//! | [`epoch`] | the number that tells an older copy of a battle that it is not the one any more |
//! | [`testing`] | what every directory has to pass |
//!
//! ```
//! use tiltyard_cluster::node::select::{Demand, Ledger, select};
//! use tiltyard_cluster::node::{Load, NodeRecord};
//! use tiltyard_cluster::{BattleId, NodeId};
//!
//! let node = |name: &str, tick_share_permille| {
//!     let (control, worker) = ("127.0.0.1:7000".parse()?, "127.0.0.1:7001".parse()?);
//!     let mut node = NodeRecord::new(NodeId::parse(name)?, 1, control, vec![worker], [7; 16], "example");
//!     node.load = Load { tick_share_permille, seats_max: 100, battles_max: 10, ..Load::default() };
//!     Ok::<_, Box<dyn std::error::Error>>(node)
//! };
//! let nodes = [node("busy", 700)?, node("idle", 20)?];
//! let demand = Demand { battle: BattleId(1), protocol_hash: [7; 16], seats: 10, cost_permille: 5 };
//! let chosen = select(&nodes, &Ledger::default(), &demand, &[], 0)?;
//! assert_eq!(chosen.id, NodeId::parse("idle")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod claims;
mod clock;
pub mod control;
mod counters;
pub mod directory;
pub mod election;
pub mod epoch;
mod id;
pub mod node;
pub mod testing;

pub use clock::Clock;
pub use counters::Counter;
pub use id::{BattleId, Epoch, NODE_ID_BYTES_MAX, NodeId, NodeIdError};
