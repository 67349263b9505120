//! Deterministic fixed-step battle engine.
#![forbid(unsafe_code)]

extern crate self as tiltyard_engine;

#[doc(hidden)]
pub use bytemuck;
/// Vectors and matrices, as records and the engine's functions have them, built so that they compute the same on every
/// machine.
pub use glam;

mod actor;
mod battle;
mod bytes;
mod changes;
mod desync;
mod event;
mod game;
mod hash;
mod input;
mod keyframe;
mod kind;
pub mod kit;
pub mod math;
mod record;
mod registry;
pub mod rng;
mod save;
mod schedule;
pub mod screen;
mod seat;
pub mod skirmish;
pub mod snapshot;
pub mod space;
mod spec;
pub mod testing;
mod tick;
mod world;

pub use actor::{ACTORS_MAX, ActorId};
pub use battle::{Battle, StartError};
pub use changes::Changes;
pub use desync::Divergence;
pub use event::{EVENTS_MAX, Events};
pub use game::{Game, Mode, Oracle, Outcome};
pub use hash::{Hashes, ProtocolHash, StateHash, hash_column};
pub use input::{COMMANDS_MAX, Command, Reason, SeatInput, TickRecord, TickRecordError};
pub use keyframe::{KEYFRAME_BYTES_MAX, KeyframeError, decode_keyframe, encode_keyframe};
pub use kind::Kind;
#[doc(hidden)]
pub use kind::Mark;
pub use record::{Field, FieldKind, FieldType, Record, RecordError, snap};
pub use registry::{ColumnEntry, KINDS_MAX, KindEntry, Registry, RegistryColumns, RegistryError};
pub use save::{Save, SaveError};
pub use schedule::{Schedule, Stage, StageError, Step};
pub use seat::{Roster, RosterSeat, SEATS_MAX, Seat, SeatRole, TEAMS_MAX, Team};
pub use spec::{BattleSpec, SpecError, TICKS_MAX, Terms};
pub use tick::{Tick, TickRate};
pub use world::{Column, ColumnMut, Rows, RowsMut, SingletonMut, SingletonRef, World, WorldMut};
