//! Writes a recording: handed one tick at a time, framed about every second.
//!
//! Per second the file gets one block of state hashes and, right behind it, the tick records these belong to, in
//! one write. A keyframe, a snapshot and the end close the frame first, so that blocks stand in the order of
//! their ticks. The first error ends the recording: later calls say so and write nothing, so that a torn block
//! can only be the last one.

use std::io::{self, Write};

use thiserror::Error;

use crate::bytes::{length_u32, put_varint};
use crate::ending::{End, Ended, INDEX_ENTRIES_MAX, IndexEntry, OUTCOME_BYTES_MAX, put_index};
use crate::format::{BLOCK_TICKS_MAX, Kind, Label, RAW_BYTES_MAX, put_block, put_raw_block};
use crate::header::{Header, HeaderError};
use crate::payload::{EVENTS_BYTES_MAX, PARTS_MAX, RECORD_BYTES_MAX};

/// Bytes of records or events after which a frame is closed before its second is over.
pub const FRAME_BYTES: usize = 1 << 20;

/// The most bytes of events, or of hash parts, that one frame takes.
pub const FRAME_EVENTS_BYTES_MAX: usize = 4 << 20;

/// How a recording is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Epoch of the battle's owner: stands in every block.
    pub epoch: u32,
    /// Ticks per frame, 1 to [`BLOCK_TICKS_MAX`]; outside of that the nearest bound.
    pub frame_ticks: u32,
}

impl Settings {
    /// Frames of about a second.
    #[must_use]
    pub const fn new(epoch: u32, rate_hz: u16) -> Self {
        Self { epoch, frame_ticks: rate_hz as u32 }
    }
}

/// Why a call to a writer did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The sink refused the bytes: the recording is incomplete from here on.
    #[error("writing at offset {offset}: {kind}")]
    Io {
        /// What went wrong; `StorageFull` is a full disk.
        kind: io::ErrorKind,
        /// Where the write began.
        offset: u64,
    },
    /// Syncing to the disk went wrong: nothing after the last good sync is promised to be durable.
    #[error("syncing to disk: {kind}")]
    Sync {
        /// What went wrong.
        kind: io::ErrorKind,
    },
    /// The tick is not the next one: the recording is incomplete from here on.
    #[error("tick {found} where tick {expected} is due")]
    Order {
        /// What was handed over.
        found: u32,
        /// What was due.
        expected: u32,
    },
    /// Something is longer than its cap. A tick record that is makes the recording incomplete; a keyframe,
    /// snapshot or event that is can be left out.
    #[error("{what} of {found} bytes, at most {max}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The cap in bytes.
        max: usize,
    },
    /// The header is above one of its caps.
    #[error("header: {0}")]
    Header(HeaderError),
    /// The recording is finished already.
    #[error("the recording is finished")]
    Finished,
}

/// What a finished recording is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// blake3 of the whole file.
    pub recording_hash: [u8; 32],
    /// Length of the file.
    pub bytes: u64,
    /// The last tick.
    pub last_tick: u32,
    /// Hash of the state after the last tick.
    pub final_hash: u64,
}

/// Writes one recording to a sink.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    settings: Settings,
    /// The tick that comes next; nothing until a part's first keyframe.
    next_tick: Option<u32>,
    written_tick: u32,
    frame: Frame,
    index: Vec<IndexEntry>,
    offset: u64,
    hasher: blake3::Hasher,
    fault: Option<WriteError>,
    out: Vec<u8>,
    payload: Vec<u8>,
    packed: Vec<u8>,
}

/// The ticks that are not in a block yet.
#[derive(Debug, Default)]
struct Frame {
    first_tick: u32,
    count: u32,
    records: Vec<u8>,
    hashes: Vec<u8>,
    marks: Vec<u8>,
    events: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the header. A later part (`header.part > 0`) expects a keyframe before its first tick.
    ///
    /// # Errors
    /// If the header is above a cap or the sink refuses it.
    pub fn start(sink: W, header: &Header, settings: Settings) -> Result<Self, WriteError> {
        let bytes = header.to_bytes().map_err(WriteError::Header)?;
        let frame_ticks = settings.frame_ticks.clamp(1, BLOCK_TICKS_MAX);
        let mut writer = Self {
            sink,
            settings: Settings { frame_ticks, ..settings },
            next_tick: (header.part == 0).then_some(1),
            written_tick: 0,
            frame: Frame::default(),
            index: Vec::new(),
            offset: 0,
            hasher: blake3::Hasher::new(),
            fault: None,
            out: bytes,
            payload: Vec::new(),
            packed: Vec::new(),
        };
        writer.write_out()?;
        Ok(writer)
    }

    /// Adds a tick: its record, and the hash of the state after it. Touches the sink when a frame is full.
    ///
    /// # Errors
    /// If the tick is not the next one, its record is above [`RECORD_BYTES_MAX`], or the sink refuses: in each
    /// case the recording is incomplete and every later call returns the same error.
    pub fn append(&mut self, tick: u32, record: &[u8], hash: u64) -> Result<(), WriteError> {
        self.check()?;
        let expected = self.next_tick.unwrap_or(0);
        if self.next_tick != Some(tick) {
            return Err(self.fail(WriteError::Order { found: tick, expected }));
        }
        if record.len() > RECORD_BYTES_MAX {
            let (found, max) = (record.len(), RECORD_BYTES_MAX);
            return Err(self.fail(WriteError::TooLong { what: "tick record", found, max }));
        }
        let Some(next_tick) = tick.checked_add(1).filter(|next| *next < u32::MAX - 2 * BLOCK_TICKS_MAX)
        else {
            return Err(self.fail(WriteError::Order { found: tick, expected }));
        };
        let full = self.frame.count == self.settings.frame_ticks
            || self.frame.records.len() >= FRAME_BYTES
            || self.frame.events.len() >= FRAME_BYTES
            || self.frame.marks.len() >= FRAME_BYTES;
        if full {
            self.flush()?;
        }
        if self.frame.count == 0 {
            self.frame.first_tick = tick;
        }
        put_varint(&mut self.frame.records, length_u32(record.len()));
        self.frame.records.extend_from_slice(record);
        self.frame.hashes.extend_from_slice(&hash.to_le_bytes());
        self.frame.count += 1;
        self.next_tick = Some(next_tick);
        Ok(())
    }

    /// Adds the parts of the newest tick's state hash, as the engine lists them: about once a second, so that a
    /// divergence has an address before the next keyframe.
    ///
    /// # Errors
    /// If there are more than [`PARTS_MAX`], or no tick since the frame was closed to add them to.
    pub fn hash_parts(&mut self, parts: &[u64]) -> Result<(), WriteError> {
        self.check()?;
        if parts.len() > PARTS_MAX {
            let (found, max) = (parts.len() * 8, PARTS_MAX * 8);
            return Err(WriteError::TooLong { what: "hash parts", found, max });
        }
        let place = self.newest_place()?;
        within_frame(self.frame.marks.len(), "hash parts")?;
        put_varint(&mut self.frame.marks, place);
        put_varint(&mut self.frame.marks, length_u32(parts.len()));
        for part in parts {
            self.frame.marks.extend_from_slice(&part.to_le_bytes());
        }
        Ok(())
    }

    /// Adds an event of the newest tick.
    ///
    /// # Errors
    /// If it is above [`EVENTS_BYTES_MAX`], the frame holds more than [`FRAME_EVENTS_BYTES_MAX`] already (both: it is
    /// left out), or there is no tick since the frame was closed to add it to.
    pub fn event(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.check()?;
        if bytes.len() > EVENTS_BYTES_MAX {
            return Err(WriteError::TooLong { what: "event", found: bytes.len(), max: EVENTS_BYTES_MAX });
        }
        let place = self.newest_place()?;
        within_frame(self.frame.events.len(), "events")?;
        put_varint(&mut self.frame.events, place);
        put_varint(&mut self.frame.events, length_u32(bytes.len()));
        self.frame.events.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds the engine's keyframe of `tick`, which is the newest one, or any for the first block of a later part.
    ///
    /// # Errors
    /// If the tick is another one or the sink refuses, the recording is incomplete; if the keyframe is above
    /// [`RAW_BYTES_MAX`] it is left out and the recording goes on.
    pub fn keyframe(&mut self, tick: u32, state: &[u8]) -> Result<(), WriteError> {
        self.check()?;
        match self.next_tick {
            None => {}
            Some(next) if tick.checked_add(1) == Some(next) => {}
            Some(next) => {
                let expected = next.saturating_sub(1);
                return Err(self.fail(WriteError::Order { found: tick, expected }));
            }
        }
        if state.len() > RAW_BYTES_MAX as usize {
            let (found, max) = (state.len(), RAW_BYTES_MAX as usize);
            return Err(WriteError::TooLong { what: "keyframe", found, max });
        }
        self.flush()?;
        if self.index.len() < INDEX_ENTRIES_MAX {
            self.index.push(IndexEntry { offset: self.offset, tick, kind: Kind::Keyframe as u8 });
        }
        self.payload.clear();
        self.payload.extend_from_slice(state);
        self.put_payload(Kind::Keyframe, tick);
        self.write_out()?;
        self.next_tick = tick.checked_add(1);
        self.written_tick = tick;
        Ok(())
    }

    /// Adds the picture of the newest tick, see [`encode_picture`](crate::encode_picture).
    ///
    /// # Errors
    /// If it is above [`RAW_BYTES_MAX`] it is left out; if the sink refuses, the recording is incomplete.
    pub fn snapshot(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.check()?;
        if bytes.len() > RAW_BYTES_MAX as usize {
            let (found, max) = (bytes.len(), RAW_BYTES_MAX as usize);
            return Err(WriteError::TooLong { what: "snapshot", found, max });
        }
        self.flush()?;
        self.payload.clear();
        self.payload.extend_from_slice(bytes);
        self.put_payload(Kind::Snapshot, self.newest_tick());
        self.write_out()
    }

    /// Closes the frame: what was appended so far goes to the sink. Nothing happens if all of it went already.
    ///
    /// # Errors
    /// If the sink refuses.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.check()?;
        let frame = &mut self.frame;
        if frame.count == 0 {
            return Ok(());
        }
        let label = |kind| Label {
            kind,
            epoch: self.settings.epoch,
            first_tick: frame.first_tick,
            tick_count: frame.count,
        };
        frame.hashes.append(&mut frame.marks);
        put_block(&mut self.out, label(Kind::StateHashes), &frame.hashes, &mut self.packed);
        put_block(&mut self.out, label(Kind::TickRecords), &frame.records, &mut self.packed);
        if !frame.events.is_empty() {
            put_block(&mut self.out, label(Kind::Events), &frame.events, &mut self.packed);
        }
        frame.records.clear();
        frame.hashes.clear();
        frame.events.clear();
        frame.count = 0;
        let newest = self.newest_tick();
        self.write_out()?;
        self.written_tick = newest;
        Ok(())
    }

    /// The epoch that the next block is of.
    pub(crate) const fn epoch(&self) -> u32 {
        self.settings.epoch
    }

    /// Adds a report on the newest tick.
    pub(crate) fn report(&mut self, payload: &[u8]) -> Result<(), WriteError> {
        let (epoch, first_tick) = (self.settings.epoch, self.newest_tick());
        self.copy(Label { kind: Kind::Report, epoch, first_tick, tick_count: 0 }, payload)
    }

    /// Adds a block of another recording as it is, index, end and their order apart.
    pub(crate) fn copy(&mut self, label: Label, payload: &[u8]) -> Result<(), WriteError> {
        self.flush()?;
        self.settings.epoch = label.epoch;
        let newest = match label.kind {
            Kind::Keyframe => {
                if self.index.len() < INDEX_ENTRIES_MAX {
                    self.index.push(IndexEntry {
                        offset: self.offset,
                        tick: label.first_tick,
                        kind: Kind::Keyframe as u8,
                    });
                }
                Some(label.first_tick)
            }
            Kind::TickRecords => Some(label.first_tick.saturating_add(label.tick_count.saturating_sub(1))),
            _ => None,
        };
        put_block(&mut self.out, label, payload, &mut self.packed);
        self.write_out()?;
        if let Some(newest) = newest {
            self.next_tick = newest.checked_add(1);
            self.written_tick = newest;
        }
        Ok(())
    }

    /// Writes the open frame to `out` as it would be if it ended here; the frame stays open.
    pub(crate) fn put_open_frame(&self, out: &mut Vec<u8>) {
        let Frame { first_tick, count: tick_count, records, hashes, .. } = &self.frame;
        if *tick_count == 0 {
            return;
        }
        let epoch = self.settings.epoch;
        let label = |kind| Label { kind, epoch, first_tick: *first_tick, tick_count: *tick_count };
        put_raw_block(out, label(Kind::StateHashes), hashes);
        put_raw_block(out, label(Kind::TickRecords), records);
    }

    /// Writes what is left, the index and the end. `final_hash` is the hash after the newest tick.
    ///
    /// # Errors
    /// If the outcome is above [`OUTCOME_BYTES_MAX`] (try again with another), the sink refuses, or the
    /// recording was incomplete before: then the file has no end, and readers say so.
    pub fn finish(&mut self, ended: Ended, outcome: &[u8], final_hash: u64) -> Result<Sealed, WriteError> {
        self.check()?;
        if outcome.len() > OUTCOME_BYTES_MAX {
            let (found, max) = (outcome.len(), OUTCOME_BYTES_MAX);
            return Err(WriteError::TooLong { what: "outcome", found, max });
        }
        self.flush()?;
        let tick = self.newest_tick();
        let index_offset = self.offset;
        self.payload.clear();
        put_index(&mut self.payload, &self.index);
        self.put_payload(Kind::Index, tick);
        self.write_out()?;
        let end = End {
            tick,
            final_hash,
            ended,
            outcome,
            body_hash: *self.hasher.finalize().as_bytes(),
            index_offset,
            end_offset: self.offset,
        };
        self.payload = end.to_payload();
        self.put_raw_payload(Kind::End, tick);
        self.write_out()?;
        if let Err(error) = self.sink.flush() {
            return Err(self.fail(WriteError::Io { kind: error.kind(), offset: self.offset }));
        }
        self.fault = Some(WriteError::Finished);
        let recording_hash = *self.hasher.finalize().as_bytes();
        Ok(Sealed { recording_hash, bytes: self.offset, last_tick: tick, final_hash })
    }

    /// Why the recording is incomplete, if it is, or that it is finished.
    #[must_use]
    pub const fn fault(&self) -> Option<WriteError> {
        self.fault
    }

    /// Bytes that the sink took so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.offset
    }

    /// The newest tick appended, or that of a later part's first keyframe; 0 before either.
    #[must_use]
    pub fn newest_tick(&self) -> u32 {
        self.next_tick.map_or(0, |next| next.saturating_sub(1))
    }

    /// The newest tick that is in the sink.
    #[must_use]
    pub const fn written_tick(&self) -> u32 {
        self.written_tick
    }

    /// The sink.
    #[must_use]
    pub const fn sink(&self) -> &W {
        &self.sink
    }

    pub(crate) const fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Gives the sink back. What was not flushed is lost.
    #[must_use]
    pub fn into_sink(self) -> W {
        self.sink
    }

    /// Ends the recording for a reason of the sink's owner; the first reason stays.
    pub(crate) fn fail(&mut self, error: WriteError) -> WriteError {
        *self.fault.get_or_insert(error)
    }

    pub(crate) const fn check(&self) -> Result<(), WriteError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn newest_place(&self) -> Result<u32, WriteError> {
        let order = WriteError::Order { found: self.newest_tick(), expected: self.next_tick.unwrap_or(0) };
        self.frame.count.checked_sub(1).ok_or(order)
    }

    fn put_payload(&mut self, kind: Kind, tick: u32) {
        let label = Label { kind, epoch: self.settings.epoch, first_tick: tick, tick_count: 0 };
        put_block(&mut self.out, label, &self.payload, &mut self.packed);
    }

    /// The end stays as it is, so that the file's last bytes say where it begins.
    fn put_raw_payload(&mut self, kind: Kind, tick: u32) {
        let label = Label { kind, epoch: self.settings.epoch, first_tick: tick, tick_count: 0 };
        put_raw_block(&mut self.out, label, &self.payload);
    }

    /// One write for all that stands in `out`.
    fn write_out(&mut self) -> Result<(), WriteError> {
        let written = self.sink.write_all(&self.out);
        if let Err(error) = written {
            return Err(self.fail(WriteError::Io { kind: error.kind(), offset: self.offset }));
        }
        self.hasher.update(&self.out);
        self.offset += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

fn within_frame(found: usize, what: &'static str) -> Result<(), WriteError> {
    let max = FRAME_EVENTS_BYTES_MAX;
    if found > max { Err(WriteError::TooLong { what, found, max }) } else { Ok(()) }
}
