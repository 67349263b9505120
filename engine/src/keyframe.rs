//! A keyframe: a whole state in a container that can be checked before it is read.
//!
//! rkyv's checked access makes sure that the container is sound; [`Save`]'s own checks make sure that what is in it
//! is a state of this game. Both run before a byte of it is used. The layout is versioned by its first field, since
//! rkyv knows no schema evolution.

use rkyv::rancor;
use rkyv::util::AlignedVec;

use crate::input::{SeatInput, TickRecord};
use crate::save::{Save, SaveError};
use crate::{ACTORS_MAX, Reason, Record, RecordError, Registry, Tick};

const VERSION: u32 = 1;

/// The largest keyframe, in bytes: room for [`ACTORS_MAX`] actors of 256 bytes.
pub const KEYFRAME_BYTES_MAX: usize = ACTORS_MAX * 256;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Container {
    version: u32,
    tick: u32,
    next_actor: u32,
    counts: Vec<u32>,
    columns: Vec<u8>,
    inputs: Vec<u8>,
}

/// Why bytes are no keyframe of this battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyframeError {
    /// More bytes than a keyframe may have.
    #[error("{0} bytes, a keyframe has at most {KEYFRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// The container is damaged.
    #[error("the container is damaged")]
    Container,
    /// A version that this build does not know.
    #[error("keyframe version {0}, this build knows {VERSION}")]
    Version(u32),
    /// What is in it is no state of this game.
    #[error("{0}")]
    State(#[from] SaveError),
    /// The inputs do not belong to the battle's seats.
    #[error("inputs: {0}")]
    Inputs(#[from] RecordError),
}

/// A state, and the tick record that led to it: what the next record is encoded against. From a keyframe a battle goes
/// on without anything that was before. Costs a copy of all columns; allocates.
///
/// # Panics
/// If `save` and `record` are not of the same tick.
#[must_use]
pub fn encode_keyframe<I: Record>(save: &Save, record: &TickRecord<I>) -> Vec<u8> {
    assert_eq!(save.tick, record.tick, "a keyframe holds the record of its own tick");
    let inputs: Vec<u8> =
        record.inputs.iter().flat_map(|seat| bytemuck::bytes_of(&seat.input)).copied().collect();
    let container = Container {
        version: VERSION,
        tick: save.tick.0,
        next_actor: save.next_actor,
        counts: save.counts.clone(),
        columns: save.bytes.clone(),
        inputs,
    };
    let bytes =
        rkyv::to_bytes::<rancor::Error>(&container).expect("memory is the only thing that could fail here");
    bytes.to_vec()
}

/// Reads a keyframe from bytes of a stranger. The record's reasons and commands are not kept in it: all seats come
/// back as neutral. Costs a copy, a check and a hash of all bytes, and allocates the state.
///
/// # Errors
/// If the bytes are not exactly a state of this game with `seats` inputs.
pub fn decode_keyframe<I: Record>(
    bytes: &[u8],
    registry: &Registry,
    seats: usize,
) -> Result<(Save, TickRecord<I>), KeyframeError> {
    if bytes.len() > KEYFRAME_BYTES_MAX {
        return Err(KeyframeError::TooLarge(bytes.len()));
    }
    let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    let container =
        rkyv::access::<ArchivedContainer, rancor::Failure>(&aligned).map_err(|_| KeyframeError::Container)?;
    let version = container.version.to_native();
    if version != VERSION {
        return Err(KeyframeError::Version(version));
    }
    let counts = container.counts.iter().map(|count| count.to_native()).collect();
    let (tick, next_actor) = (Tick(container.tick.to_native()), container.next_actor.to_native());
    let save = Save::from_outside(tick, next_actor, counts, container.columns.to_vec(), registry)?;
    let expected = seats * size_of::<I>();
    if container.inputs.len() != expected {
        return Err(RecordError::Length { expected, found: container.inputs.len() }.into());
    }
    let mut record = TickRecord::neutral(save.tick, 0);
    if size_of::<I>() > 0 {
        for bytes in container.inputs.chunks_exact(size_of::<I>()) {
            record.inputs.push(SeatInput { input: I::parse(bytes)?, reason: Reason::Neutral });
        }
    }
    Ok((save, record))
}
