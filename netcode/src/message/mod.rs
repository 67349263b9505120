//! What travels inside a session: one message per call of `send_*`, the first byte names it.
//!
//! ```text
//! to the server
//!  1 INPUTS    seat 2 | has_ack 1 | acknowledged tick 4 | newest tick 4 | count 1 | count x (length 1, bytes)
//!  2 ASK       what 1 (1 keyframe, 2 frames) | from tick 4
//!  3 DESYNC    tick 4 | state hash 8
//! to the client
//! 16 FRAME     epoch 4 | newest tick 4 | state hash 8 | report 7 | count 1 | count x (length 2, record)
//! 17 SNAPSHOT  epoch 4 | tick 4 | has_baseline 1 | baseline tick 4 | view 4 | view hash 8 | report 7
//!              | shared length 4 | shared body | private section
//! 18 START     epoch 4 | tick 4 | rate 2 | battle spec
//! 19 KEYFRAME  epoch 4 | tick 4 | state hash 8 | inputs length 4 | last inputs | keyframe
//! 20 END       epoch 4 | tick 4 | final hash 8 | outcome
//! report       has_tick 1 | newest input tick held 4 | lead of the inputs, ms 2 (signed)
//! ```
//! Integers are little-endian. Runs hold consecutive ticks, oldest first, and end at the newest tick. Inputs,
//! records, specs, keyframes and bodies are opaque here. Parsing borrows and refuses everything malformed, bytes
//! behind the end included.

mod to_client;
mod to_server;

pub use to_client::{End, Frame, Keyframe, Records, Snapshot, Start, ToClient};
pub use to_server::{Ask, Desync, InputRun, Inputs, ToServer};

use thiserror::Error;

use crate::wire::{Put, Reader, Short};

/// Inputs in one message at most.
pub const INPUTS_RUN_MAX: usize = 32;

/// Bytes of one input at most.
pub const INPUT_LEN_MAX: usize = 255;

/// Tick records in one FRAME at most.
pub const FRAME_RUN_MAX: usize = 64;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// The first byte names no message of this direction.
    #[error("no message begins with {kind}")]
    UnknownKind {
        /// That byte.
        kind: u8,
    },
    /// The bytes end before the message does.
    #[error("message ends too early")]
    Short,
    /// Bytes stand behind the end.
    #[error("{left} bytes too many")]
    Long {
        /// How many.
        left: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{field} has an impossible value")]
    Value {
        /// Which field.
        field: &'static str,
    },
}

/// What a server tells a seat about its inputs, so that the client can steer its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputReport {
    /// The newest tick for which the server holds an input of this seat.
    pub newest_tick: Option<u32>,
    /// How long before it was needed the newest input came, milliseconds; negative if it came too late.
    pub lead_ms: i16,
}

impl InputReport {
    fn put(self, out: &mut Vec<u8>) {
        put_tick(out, self.newest_tick);
        out.put_i16(self.lead_ms);
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        Ok(Self { newest_tick: parse_tick(reader, "newest input tick")?, lead_ms: reader.i16()? })
    }
}

impl From<Short> for MessageError {
    fn from(Short: Short) -> Self {
        Self::Short
    }
}

fn put_tick(out: &mut Vec<u8>, tick: Option<u32>) {
    out.put_u8(u8::from(tick.is_some()));
    out.put_u32(tick.unwrap_or(0));
}

fn parse_tick(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<u32>, MessageError> {
    let has = reader.u8()?;
    let tick = reader.u32()?;
    match (has, tick) {
        (0, 0) => Ok(None),
        (1, tick) => Ok(Some(tick)),
        _ => Err(MessageError::Value { field }),
    }
}

fn end(reader: &Reader<'_>) -> Result<(), MessageError> {
    if reader.is_empty() { Ok(()) } else { Err(MessageError::Long { left: reader.0.len() }) }
}

#[cfg(test)]
mod tests;
