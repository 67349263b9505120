//! Battle node: workers, rooms, recording.
#![forbid(unsafe_code)]

mod broadcast;
mod frame_log;
mod intake;
mod load;
mod node;
mod outbox;
mod pacer;
mod recording;
mod room;
mod seats;
mod settle;
mod shell;
mod snapshots;
mod tally;
mod worker;

pub use broadcast::{Broadcast, Outgoing, Way};
pub use frame_log::{FRAMES_KEPT, FrameLog};
pub use intake::{Filed, Intake, TICKS_AHEAD_MAX};
pub use load::LoadMeter;
pub use node::{Node, NodeConfig, NodeError, NodeReport};
pub use outbox::Outbox;
pub use pacer::{CATCH_UP_MAX, Due, Pacer};
pub use recording::{
    QUEUE_MAX, Recorder, RecorderHandle, RecordingCounters, RoomRecording, SYNC_INTERVAL, Then,
};
pub use room::{Room, RoomCounters, RoomEnd, RoomSettings};
pub use seats::{Client, Seats};
pub use shell::WorkerStatus;
pub use snapshots::{BASELINES_KEPT, Snapshots};
pub use worker::{EndedBattle, Worker};
