//! Messages from a client to its server.

use super::{INPUT_LEN_MAX, INPUTS_RUN_MAX, MessageError, end, parse_tick, put_tick};
use crate::wire::{Put, Reader};

const INPUTS: u8 = 1;
const ASK: u8 = 2;
const DESYNC: u8 = 3;

/// A message to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToServer<'a> {
    /// Inputs of a seat, and what it has received.
    Inputs(Inputs<'a>),
    /// A wish for something that the feed does not bring by itself.
    Ask(Ask),
    /// The client's state differs from the server's hash.
    Desync(Desync),
}

/// A run of inputs for consecutive ticks, with an acknowledgement; a spectator sends it without inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs<'a> {
    /// The seat that the inputs are for; the receiver checks that it is the sender's.
    pub seat: u16,
    /// The newest snapshot (or frame) that the client holds.
    pub acknowledged: Option<u32>,
    /// The tick of the newest input in the run; of no meaning when the run is empty.
    pub newest_tick: u32,
    run: InputRun<'a>,
}

/// The inputs of a message: (tick, bytes), oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputRun<'a> {
    next_tick: u32,
    left: u8,
    bytes: &'a [u8],
}

/// A wish of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A keyframe, not older than this tick if the server has one.
    Keyframe {
        /// The tick that the client would go on from.
        from_tick: u32,
    },
    /// The frames from this tick on, because the redundancy did not cover a gap.
    Frames {
        /// The first tick that is missing.
        from_tick: u32,
    },
}

/// A client's report that its state differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desync {
    /// The first tick at which it differs.
    pub tick: u32,
    /// The client's state hash there.
    pub state_hash: u64,
}

impl<'a> ToServer<'a> {
    /// Judges hostile bytes.
    ///
    /// # Errors
    /// When the bytes are not exactly one message of this direction.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            INPUTS => Self::Inputs(Inputs::parse(&mut reader)?),
            ASK => Self::Ask(Ask::parse(&mut reader)?),
            DESYNC => Self::Desync(Desync { tick: reader.u32()?, state_hash: reader.u64()? }),
            kind => return Err(MessageError::UnknownKind { kind }),
        };
        end(&reader)?;
        Ok(message)
    }
}

impl<'a> Inputs<'a> {
    /// Writes a message into `out` (what was in it is gone). `inputs` are for consecutive ticks, oldest first, the
    /// last for `newest_tick`.
    ///
    /// # Panics
    /// When there are more than `INPUTS_RUN_MAX` inputs, or one is longer than `INPUT_LEN_MAX`.
    pub fn encode<'b>(
        out: &mut Vec<u8>,
        seat: u16,
        acknowledged: Option<u32>,
        newest_tick: u32,
        inputs: impl ExactSizeIterator<Item = &'b [u8]>,
    ) {
        assert!(inputs.len() <= INPUTS_RUN_MAX, "{} inputs", inputs.len());
        out.clear();
        out.put_u8(INPUTS);
        out.put_u16(seat);
        put_tick(out, acknowledged);
        out.put_u32(newest_tick);
        out.put_u8(u8::try_from(inputs.len()).expect("at most 32"));
        for input in inputs {
            assert!(input.len() <= INPUT_LEN_MAX, "an input of {} bytes", input.len());
            out.put_u8(u8::try_from(input.len()).expect("at most 255"));
            out.put(input);
        }
    }

    /// The inputs: (tick, bytes), oldest first.
    pub fn run(&self) -> InputRun<'a> {
        self.run
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let seat = reader.u16()?;
        let acknowledged = parse_tick(reader, "acknowledged tick")?;
        let newest_tick = reader.u32()?;
        let count = reader.u8()?;
        if usize::from(count) > INPUTS_RUN_MAX {
            return Err(MessageError::Value { field: "count of inputs" });
        }
        let first_tick = match count {
            0 => newest_tick,
            _ => newest_tick
                .checked_sub(u32::from(count) - 1)
                .ok_or(MessageError::Value { field: "newest tick" })?,
        };
        let bytes = reader.0;
        for _ in 0..count {
            let len = reader.u8()?;
            reader.bytes(usize::from(len))?;
        }
        let run = InputRun { next_tick: first_tick, left: count, bytes };
        Ok(Self { seat, acknowledged, newest_tick, run })
    }
}

impl<'a> Iterator for InputRun<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.bytes);
        let len = reader.u8().ok()?;
        let input = reader.bytes(usize::from(len)).ok()?;
        self.bytes = reader.0;
        let tick = self.next_tick;
        self.next_tick = tick.wrapping_add(1);
        Some((tick, input))
    }
}

impl Ask {
    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (what, from_tick) = match *self {
            Self::Keyframe { from_tick } => (1, from_tick),
            Self::Frames { from_tick } => (2, from_tick),
        };
        out.clear();
        out.put(&[ASK, what]);
        out.put_u32(from_tick);
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        let what = reader.u8()?;
        let from_tick = reader.u32()?;
        match what {
            1 => Ok(Self::Keyframe { from_tick }),
            2 => Ok(Self::Frames { from_tick }),
            _ => Err(MessageError::Value { field: "what is asked for" }),
        }
    }
}

impl Desync {
    /// Writes the message into `out` (what was in it is gone).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(DESYNC);
        out.put_u32(self.tick);
        out.put_u64(self.state_hash);
    }
}
