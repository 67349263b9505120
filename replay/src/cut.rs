//! Cuts a recording of a part out of a recording, without simulating it.
//!
//! Blocks are copied as they are, from a keyframe on; only the frame in which the part ends is shortened. So the cut
//! keeps records, hashes, marks, events, keyframes, snapshots and epochs bit for bit, and gets an index and an end.

use std::io::{Read, Seek, Write};

use thiserror::Error;

use crate::bytes::{length_u32, put_varint};
use crate::ending::{Ended, Ending, IndexEntry};
use crate::format::{Kind, Label};
use crate::header::Header;
use crate::payload::{Events, StateHashes, TickRecords};
use crate::reader::{Block, Content, Item, OnDamage, ReadError};
use crate::recording::Recording;
use crate::writer::{Sealed, Settings, WriteError, Writer};

/// Why nothing can be cut out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CutError {
    /// The recording cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The cut cannot be written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// There is no tick in the range.
    #[error("the recording has ticks {first} to {last}")]
    Range {
        /// The first tick whose record it can give.
        first: u32,
        /// The last one.
        last: u32,
    },
    /// A tick has no state hash, without which a recording cannot end.
    #[error("tick {tick} has no state hash")]
    NoHash {
        /// The tick.
        tick: u32,
    },
}

/// A part that was cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first tick whose record it holds: the one after the keyframe at or before the one asked for.
    pub first_tick: u32,
    /// What the cut is known by.
    pub sealed: Sealed,
}

/// Writes the ticks from the newest keyframe before `from` up to `to`, or to the end, as a recording of its own.
///
/// Where the recording's own end falls in, it is kept, else the cut ends as aborted. Time and memory are those of
/// reading; nothing is simulated.
///
/// # Errors
/// If the recording cannot be read there, has no such ticks, or the sink refuses.
pub fn cut<W: Write>(source: impl Read + Seek, from: u32, to: u32, sink: W) -> Result<(Cut, W), CutError> {
    Part::copy(source, from, to, sink)?.close()
}

/// A part that is being cut out: everything up to its last tick is written, its end is not.
pub(crate) struct Part<W> {
    pub(crate) writer: Writer<W>,
    first_tick: u32,
    /// The newest tick that has a hash, and the hash.
    hash: Option<(u32, u64)>,
    /// The recording's own end, if it lies in the part.
    ending: Option<Ending>,
}

impl<W: Write> Part<W> {
    /// Copies the ticks from the newest keyframe before `from` up to `to`.
    pub(crate) fn copy(source: impl Read + Seek, from: u32, to: u32, sink: W) -> Result<Self, CutError> {
        let mut recording = Recording::open(source)?;
        let last = recording.last_tick();
        // A cut has at least one tick behind its keyframe: only a step can be held against a hash.
        let keyframe = recording.keyframe_before(from.saturating_sub(1).min(last.saturating_sub(1)));
        let part = recording.header().part;
        let first_tick = match keyframe {
            Some(keyframe) => keyframe.tick.saturating_add(1),
            None if part == 0 => 1,
            None => recording.keyframes().first().map_or(u32::MAX, |entry| entry.tick.saturating_add(1)),
        };
        if from < first_tick && part > 0 || from > last || to < from.max(first_tick) {
            return Err(CutError::Range { first: first_tick.min(last), last });
        }
        Self::copy_behind(&mut recording, keyframe, first_tick, to, sink)
    }

    /// Copies everything from the newest keyframe on, up to `to`, which is the last tick.
    pub(crate) fn copy_rest(source: impl Read + Seek, to: u32, sink: W) -> Result<Self, CutError> {
        let mut recording = Recording::open(source)?;
        let last = recording.last_tick();
        let keyframe = recording.keyframe_before(to);
        if last != to || keyframe.is_none() && recording.header().part > 0 {
            return Err(CutError::Range {
                first: keyframe.map_or(1, |keyframe| keyframe.tick).min(last),
                last,
            });
        }
        let first_tick = keyframe.map_or(1, |keyframe| keyframe.tick.saturating_add(1));
        Self::copy_behind(&mut recording, keyframe, first_tick, to, sink)
    }

    fn copy_behind(
        recording: &mut Recording<impl Read + Seek>,
        keyframe: Option<IndexEntry>,
        first_tick: u32,
        to: u32,
        sink: W,
    ) -> Result<Self, CutError> {
        let ending = recording.ending().filter(|ending| ending.tick <= to).cloned();
        let part = recording.header().part;
        let part = if keyframe.is_some() { part.max(1) } else { part };
        let header = Header { part, ..recording.header().clone() };
        let settings = Settings::new(1, header.rate_hz);
        let mut writer = Writer::start(sink, &header, settings)?;
        let mut reader = match keyframe {
            Some(keyframe) => recording.read_from(keyframe)?,
            None => recording.read(OnDamage::Stop)?,
        };
        let mut hash = None;
        loop {
            match reader.next_item() {
                Ok(Some(Item::Block(block))) if copy_block(&mut writer, &block, to, &mut hash)? => {}
                Ok(_) => break,
                // What is damaged behind the part is none of it.
                Err(_) if writer.newest_tick() == to => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { writer, first_tick, hash, ending })
    }

    /// The recorded hash of the last tick, which a part needs to have an end.
    pub(crate) fn final_hash(&self) -> Result<u64, CutError> {
        let tick = self.writer.newest_tick();
        self.hash.filter(|(of, _)| *of == tick).map(|(_, hash)| hash).ok_or(CutError::NoHash { tick })
    }

    /// Writes the end: the recording's own where it falls in, else one that says aborted.
    pub(crate) fn close(mut self) -> Result<(Cut, W), CutError> {
        let final_hash = self.final_hash()?;
        let tick = self.writer.newest_tick();
        let (ended, outcome, final_hash) = match self.ending.filter(|ending| ending.tick == tick) {
            Some(ending) => (ending.ended, ending.outcome, ending.final_hash),
            None => (Ended::Aborted, Vec::new(), final_hash),
        };
        let sealed = self.writer.finish(ended, &outcome, final_hash)?;
        Ok((Cut { first_tick: self.first_tick, sealed }, self.writer.into_sink()))
    }
}

/// Copies what of a block lies in the range; says whether more may follow. `hash` is that of the newest tick.
fn copy_block<W: Write>(
    writer: &mut Writer<W>,
    block: &Block<'_>,
    to: u32,
    hash: &mut Option<(u32, u64)>,
) -> Result<bool, CutError> {
    let header = &block.header;
    let (first_tick, epoch) = (header.first_tick, header.epoch);
    let tick_count = header.tick_count.min(to.saturating_add(1).saturating_sub(first_tick));
    let label = |kind| Label { kind, epoch, first_tick, tick_count };
    let single = |kind| Label { kind, epoch, first_tick, tick_count: 0 };
    match &block.content {
        Content::StateHashes(_) | Content::TickRecords(_) | Content::Keyframe(_) if first_tick > to => {
            return Ok(false);
        }
        Content::StateHashes(hashes) => {
            *hash = hashes.iter().take(tick_count as usize).last();
            writer.copy(label(Kind::StateHashes), &first_hashes(hashes, tick_count))?;
        }
        Content::TickRecords(records) => {
            writer.copy(label(Kind::TickRecords), &first_records(records, tick_count))?;
        }
        Content::Events(events) => {
            let payload = first_events(events, first_tick, tick_count);
            if !payload.is_empty() {
                writer.copy(label(Kind::Events), &payload)?;
            }
        }
        Content::Keyframe(state) => writer.copy(single(Kind::Keyframe), state)?,
        Content::Snapshot(bytes) if first_tick <= to => writer.copy(single(Kind::Snapshot), bytes)?,
        Content::Snapshot(_)
        | Content::Report(_)
        | Content::Index(_)
        | Content::End(_)
        | Content::Unknown => {}
    }
    // Events and a keyframe may still follow on the last tick.
    Ok(true)
}

fn first_records(records: &TickRecords<'_>, count: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    for (_, record) in records.iter().take(count as usize) {
        put_varint(&mut payload, length_u32(record.len()));
        payload.extend_from_slice(record);
    }
    payload
}

fn first_hashes(hashes: &StateHashes<'_>, count: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut first_tick = None;
    for (tick, hash) in hashes.iter().take(count as usize) {
        first_tick.get_or_insert(tick);
        payload.extend_from_slice(&hash.to_le_bytes());
    }
    let places = hashes.marks().map(|(tick, parts)| (tick.saturating_sub(first_tick.unwrap_or(0)), parts));
    for (place, parts) in places.filter(|(place, _)| *place < count) {
        put_varint(&mut payload, place);
        put_varint(&mut payload, length_u32(parts.len()));
        payload.extend(parts.iter().flat_map(|part| part.to_le_bytes()));
    }
    payload
}

fn first_events(events: &Events<'_>, first_tick: u32, count: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    let places = events.iter().map(|(tick, bytes)| (tick.saturating_sub(first_tick), bytes));
    for (place, bytes) in places.filter(|(place, _)| *place < count) {
        put_varint(&mut payload, place);
        put_varint(&mut payload, length_u32(bytes.len()));
        payload.extend_from_slice(bytes);
    }
    payload
}
