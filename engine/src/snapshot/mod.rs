//! Snapshots: a state as few bytes, against a state that the receiver already has.
//!
//! State is wire-exact (floats lie on their grids), so a decoded snapshot *is* the state: it has the same hash. The
//! body is what all seats of one view share; netcode carries it with epoch, tick, view id and view hash.
//!
//! A body is a series of answers to questions, range-coded (`range`): both ends count how often each question was
//! answered with yes, so that what is usual costs next to nothing. `docs/PROTOCOL.md` says byte by byte what is asked.
//!
//! - `models` has the questions, `columns` where a kind's rows lie and in which order they are told.
//! - `motion` is what both ends expect of things that move, where [`Registry::moves`](crate::Registry::moves) says so:
//!   a row is told against where it would be by now.
//! - `encode` and `decode` ask the same questions in the same order.

mod columns;
mod decode;
mod encode;
mod models;
mod motion;
mod range;

pub use decode::{SnapshotError, decode};
pub use encode::encode;

/// The view that sees everything.
pub const VIEW_FULL: u16 = 0;

/// The lowest id that an actor has.
const FIRST_ID: u32 = 1;

/// The most ticks for which a row is expected to go on as it goes; what a row costs is bounded by it.
const STEPS_MAX: u32 = 64;

#[cfg(test)]
mod tests;
