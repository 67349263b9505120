//! Battle node: workers, rooms, recording.
#![forbid(unsafe_code)]

mod broadcast;
mod frame_log;
mod intake;
mod load;
mod node;
mod outbox;
mod pacer;
mod placement;
mod recording;
mod recovery;
mod room;
mod seats;
mod settle;
mod shell;
mod snapshots;
mod tally;
mod worker;

pub use broadcast::{Outgoing, Way};
pub use node::{Node, NodeConfig, NodeError, NodeReport};
pub use recording::{QUEUE_MAX, Recorder, RecorderHandle, RecordingCounters, RoomRecording, Then};
pub use room::{Room, RoomCounters, RoomEnd, RoomSettings};
pub use seats::Client;
pub use worker::{EndedBattle, Worker};
