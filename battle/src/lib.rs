//! Battle node: worker threads that each host many battles, pace their ticks, record them and send the feeds.
//!
//! [`Node`] is the whole: it registers itself in the directory, takes reservations, runs its workers, and settles
//! results by an outbox on disk. Inside, a [`Room`] is one battle with its seats, a [`Worker`] the rooms of one thread;
//! both take time and messages as arguments and have no clock and no socket, so that a battle over the worst of links
//! can be played in virtual time. A [`Recorder`] writes on a thread of its own behind a queue of [`QUEUE_MAX`] entries;
//! no tick waits for it, and a full queue makes recordings incomplete. A panic in one room ends that battle alone.
//!
//! One battle of scripted players, at the pace of nobody's clock:
//!
//! ```
//! use tiltyard_battle::{Outgoing, Room, RoomSettings};
//! use tiltyard_engine::skirmish::Skirmish;
//! use tiltyard_engine::{BattleSpec, Game, Tick};
//! use tiltyard_netcode::{BattleId, Epoch};
//!
//! let mut spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 7);
//! spec.terms.ticks_max = 30;
//! let settings = RoomSettings { wait_ms: 5_000, countdown_ms: 500, keyframe_ticks: 300, snapshot_ticks: 0, catch_up_max: 5 };
//! let mut room = Room::new(BattleId(1), Epoch(1), spec, settings)?;
//! room.open(0);
//! let mut out = Outgoing::default();
//! let end = loop {
//!     if let Some(end) = room.poll(room.next_us(), &mut out) {
//!         break end;
//!     }
//! };
//! assert_eq!((end.tick, end.outcome.is_some()), (Tick(30), true));
//! # Ok::<(), tiltyard_engine::StartError>(())
//! ```
//!
//! Times are microseconds where a tick is paced, else milliseconds, as the names say.
#![forbid(unsafe_code)]

mod broadcast;
mod cadence;
mod chance;
mod frame_log;
mod identity;
mod intake;
mod load;
mod mishap;
mod monitor;
mod node;
mod outbox;
mod ownership;
mod pacer;
mod placement;
mod recorder;
mod recording;
mod recovery;
mod regular;
mod room;
mod seats;
mod settle;
mod shell;
mod shortage;
mod snapshots;
mod tally;
mod worker;

pub use broadcast::{Outgoing, Way};
pub use identity::{IdentityError, PUBLIC_KEY_EXTENSION, parse_key};
pub use mishap::{Mishap, REPORT_BYTES_MAX, REPORT_EXTENSION};
pub use monitor::{NodeMonitor, NodeReport};
pub use node::{Node, NodeConfig, NodeError};
pub use recorder::SEAL_EXTENSION;
pub use recording::{
    QUEUE_MAX, REPORTS_MAX, Recorder, RecorderHandle, RecordingCounters, RoomRecording, Then,
};
pub use regular::open_regular;
pub use room::{Room, RoomCounters, RoomEnd, RoomSettings};
pub use seats::Client;
pub use worker::{EndedBattle, Worker};
