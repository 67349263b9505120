//! Messages from a server to a client.

use super::{FRAME_RUN_MAX, InputReport, MessageError, end, parse_tick, put_tick};
use crate::Epoch;
use crate::wire::{Put, Reader};

const FRAME: u8 = 16;
const SNAPSHOT: u8 = 17;
const START: u8 = 18;
const KEYFRAME: u8 = 19;
const END: u8 = 20;
const SHORT_SNAPSHOT: u8 = 21;

/// A message to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToClient<'a> {
    /// Confirmed inputs.
    Frame(Frame<'a>),
    /// A view of the state.
    Snapshot(Snapshot<'a>),
    /// What the battle is; the first message on the reliable lane.
    Start(Start<'a>),
    /// The whole state.
    Keyframe(Keyframe<'a>),
    /// The battle is over.
    End(End<'a>),
}

/// The confirmed inputs of the last ticks, redundantly, with the state hash after the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The epoch of the copy that speaks.
    pub epoch: Epoch,
    /// The tick of the newest record.
    pub tick: u32,
    /// The state hash after that tick.
    pub state_hash: u64,
    /// About this seat's inputs.
    pub report: InputReport,
    run: Records<'a>,
}

/// The tick records of a FRAME: (tick, bytes), oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records<'a> {
    next_tick: u32,
    left: u8,
    bytes: &'a [u8],
}

/// A seat's view of the state at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The epoch of the copy that speaks.
    pub epoch: Epoch,
    /// The tick that is shown.
    pub tick: u32,
    /// The acknowledged tick that the body is a delta against; `None` for a whole view.
    pub baseline: Option<u32>,
    /// Which view it is; seats of one view share bodies.
    pub view: u32,
    /// Hash of what the view shows.
    pub view_hash: u64,
    /// About this seat's inputs.
    pub report: InputReport,
    /// Marks of the baseline's rows that are stale: a bit each. Empty if the view is shown whole.
    pub stale: &'a [u8],
    /// The body that all seats of the view share, or one's own if something is stale.
    pub shared: &'a [u8],
    /// What this seat alone may know.
    pub private: &'a [u8],
}

/// What the battle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The epoch of the copy that speaks.
    pub epoch: Epoch,
    /// The battle's tick when it was said.
    pub tick: u32,
    /// The tick rate, Hz.
    pub rate_hz: u16,
    /// The battle's specification.
    pub spec: &'a [u8],
}

/// The whole state at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyframe<'a> {
    /// The epoch of the copy that speaks.
    pub epoch: Epoch,
    /// The tick after which the state was taken.
    pub tick: u32,
    /// The state hash there.
    pub state_hash: u64,
    /// The resolved inputs of that tick: what the next tick record is a delta against.
    pub inputs: &'a [u8],
    /// The state.
    pub state: &'a [u8],
}

/// The end of the battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The epoch of the copy that speaks.
    pub epoch: Epoch,
    /// The last tick.
    pub tick: u32,
    /// The state hash after it.
    pub state_hash: u64,
    /// How it ended.
    pub outcome: &'a [u8],
}

impl<'a> ToClient<'a> {
    /// Judges hostile bytes.
    ///
    /// # Errors
    /// When the bytes are not exactly one message of this direction.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            FRAME => Self::Frame(Frame::parse(&mut reader)?),
            SNAPSHOT => Self::Snapshot(Snapshot::parse(&mut reader, false)?),
            SHORT_SNAPSHOT => Self::Snapshot(Snapshot::parse(&mut reader, true)?),
            START => Self::Start(Start {
                epoch: Epoch(reader.u32()?),
                tick: reader.u32()?,
                rate_hz: reader.u16()?,
                spec: reader.rest(),
            }),
            KEYFRAME => {
                let (epoch, tick, state_hash) = (Epoch(reader.u32()?), reader.u32()?, reader.u64()?);
                let inputs = long_bytes(&mut reader)?;
                Self::Keyframe(Keyframe { epoch, tick, state_hash, inputs, state: reader.rest() })
            }
            END => Self::End(End {
                epoch: Epoch(reader.u32()?),
                tick: reader.u32()?,
                state_hash: reader.u64()?,
                outcome: reader.rest(),
            }),
            kind => return Err(MessageError::UnknownKind { kind }),
        };
        end(&reader)?;
        Ok(message)
    }

    /// Epoch and tick, which every feed message carries.
    pub fn moment(&self) -> (Epoch, u32) {
        match self {
            Self::Frame(frame) => (frame.epoch, frame.tick),
            Self::Snapshot(snapshot) => (snapshot.epoch, snapshot.tick),
            Self::Start(start) => (start.epoch, start.tick),
            Self::Keyframe(keyframe) => (keyframe.epoch, keyframe.tick),
            Self::End(end) => (end.epoch, end.tick),
        }
    }
}

impl<'a> Frame<'a> {
    /// Writes a message into `out` (what was in it is gone). `records` are of consecutive ticks, oldest first, the
    /// last of `tick`.
    ///
    /// # Panics
    /// When there are more than `FRAME_RUN_MAX` records, or one is longer than 65,535 bytes.
    pub fn encode<'b>(
        out: &mut Vec<u8>,
        epoch: Epoch,
        tick: u32,
        state_hash: u64,
        report: InputReport,
        records: impl ExactSizeIterator<Item = &'b [u8]>,
    ) {
        assert!(records.len() <= FRAME_RUN_MAX, "{} records", records.len());
        out.clear();
        out.put_u8(FRAME);
        out.put_u32(epoch.0);
        out.put_u32(tick);
        out.put_u64(state_hash);
        report.put(out);
        out.put_u8(u8::try_from(records.len()).expect("at most 64"));
        for record in records {
            out.put_u16(u16::try_from(record.len()).expect("a tick record is shorter than 64 KiB"));
            out.put(record);
        }
    }

    /// The tick records: (tick, bytes), oldest first.
    pub fn records(&self) -> Records<'a> {
        self.run
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let (epoch, tick, state_hash) = (Epoch(reader.u32()?), reader.u32()?, reader.u64()?);
        let report = InputReport::parse(reader)?;
        let count = reader.u8()?;
        if count == 0 || usize::from(count) > FRAME_RUN_MAX {
            return Err(MessageError::Value { field: "count of records" });
        }
        let next_tick =
            tick.checked_sub(u32::from(count) - 1).ok_or(MessageError::Value { field: "newest tick" })?;
        let bytes = reader.0;
        for _ in 0..count {
            let len = reader.u16()?;
            reader.bytes(usize::from(len))?;
        }
        Ok(Self { epoch, tick, state_hash, report, run: Records { next_tick, left: count, bytes } })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.bytes);
        let len = reader.u16().ok()?;
        let record = reader.bytes(usize::from(len)).ok()?;
        self.bytes = reader.0;
        let tick = self.next_tick;
        self.next_tick = tick.wrapping_add(1);
        Some((tick, record))
    }
}

impl<'a> Snapshot<'a> {
    /// How long the message is beside what it carries, when something is stale.
    pub const SHORT_BYTES: usize = 1 + 4 + 4 + 1 + 4 + 4 + 8 + 7 + 4 + 4;

    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(if self.stale.is_empty() { SNAPSHOT } else { SHORT_SNAPSHOT });
        out.put_u32(self.epoch.0);
        out.put_u32(self.tick);
        put_tick(out, self.baseline);
        out.put_u32(self.view);
        out.put_u64(self.view_hash);
        self.report.put(out);
        if !self.stale.is_empty() {
            put_long(out, self.stale);
        }
        put_long(out, self.shared);
        out.put(self.private);
    }

    fn parse(reader: &mut Reader<'a>, is_short: bool) -> Result<Self, MessageError> {
        let (epoch, tick) = (Epoch(reader.u32()?), reader.u32()?);
        let baseline = parse_tick(reader, "baseline tick")?;
        if baseline.is_some_and(|baseline| baseline >= tick) {
            return Err(MessageError::Value { field: "baseline tick" });
        }
        let (view, view_hash) = (reader.u32()?, reader.u64()?);
        let report = InputReport::parse(reader)?;
        let stale = if is_short { long_bytes(reader)? } else { &[] };
        if is_short && (stale.is_empty() || baseline.is_none()) {
            return Err(MessageError::Value { field: "stale rows" });
        }
        let shared = long_bytes(reader)?;
        Ok(Self { epoch, tick, baseline, view, view_hash, report, stale, shared, private: reader.rest() })
    }
}

impl Start<'_> {
    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(START);
        out.put_u32(self.epoch.0);
        out.put_u32(self.tick);
        out.put_u16(self.rate_hz);
        out.put(self.spec);
    }
}

impl Keyframe<'_> {
    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(KEYFRAME);
        out.put_u32(self.epoch.0);
        out.put_u32(self.tick);
        out.put_u64(self.state_hash);
        put_long(out, self.inputs);
        out.put(self.state);
    }
}

impl End<'_> {
    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(END);
        out.put_u32(self.epoch.0);
        out.put_u32(self.tick);
        out.put_u64(self.state_hash);
        out.put(self.outcome);
    }
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("a message is far shorter than 4 GiB"));
    out.put(bytes);
}

fn long_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], MessageError> {
    let len = usize::try_from(reader.u32()?).map_err(|_| MessageError::Short)?;
    Ok(reader.bytes(len)?)
}
