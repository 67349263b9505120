//! The tick record: all that reaches a battle's state in one tick.
//!
//! The record holds for every seat the input that was used and the reason why it was this one, and the ordered
//! commands. A replay uses the record as it is; the rule that filled a gap is never run again.
//!
//! ```text
//! tick u32
//! reasons: runs of (length varint, reason u8) over all seats
//! changed: one bit a seat, lowest first: the input differs from the seat's input of the tick before
//! for each changed seat: a bitmap of its changed bytes, then these bytes
//! commands: count varint, then each: code u8, seat u16, value u32
//! ```

use crate::bytes::{Bytes, Short, put_varint};
use crate::{Record, Seat, Tick};

/// Why a seat's input is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The player's input came in time.
    Arrived,
    /// Nothing came; the game repeated or bent the last input.
    Repeated,
    /// Nothing came for long, or nobody is there; the game's neutral input.
    Neutral,
    /// The scripted player decided.
    Bot,
}

/// What one seat does in a tick, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeatInput<I> {
    /// What the seat does.
    pub input: I,
    /// Why it does this.
    pub reason: Reason,
}

/// Something that happens to a battle besides inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A player took the seat for the first time.
    Joined(Seat),
    /// The seat's player is gone.
    Left(Seat),
    /// A newer connection of the seat's player took over.
    Replaced(Seat),
    /// Something that the game or an administrator decided; the meaning of both numbers is the game's.
    Act {
        /// Which seat it is about.
        seat: Seat,
        /// What is to happen and how, as one number.
        value: u32,
    },
    /// The tick's chance, which nobody could know before: what [`Step::chance`](crate::Step::chance) draws from. Of
    /// games that ask for it ([`Game::CHANCE`](crate::Game::CHANCE)) every tick has one.
    Chance(u32),
}

/// The most commands in one tick; a record with more is refused.
pub const COMMANDS_MAX: usize = 4096;

/// All that reaches a battle's state in one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct TickRecord<I> {
    /// The tick that this leads to.
    pub tick: Tick,
    /// What each seat does, in seat order.
    pub inputs: Vec<SeatInput<I>>,
    /// What else happens, in this order.
    pub commands: Vec<Command>,
}

/// Why bytes are no tick record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TickRecordError {
    /// The bytes end too early, or a number in them is too long.
    #[error("the tick record ends too early")]
    Short,
    /// The record belongs to another tick.
    #[error("a record of tick {found} where tick {expected} follows")]
    Tick {
        /// The tick that follows.
        expected: u32,
        /// The record's tick.
        found: u32,
    },
    /// The runs of reasons do not cover the seats, or a reason is unknown.
    #[error("the reasons do not fit {seats} seats")]
    Reasons {
        /// How many seats there are.
        seats: usize,
    },
    /// An input is none.
    #[error("seat {seat}: {source}")]
    Input {
        /// The seat.
        seat: u16,
        /// What is wrong with it.
        source: crate::RecordError,
    },
    /// A command is unknown or names no seat of the battle, or there are too many.
    #[error("a command is unknown, or names no seat")]
    Command,
    /// The same record has a shorter form: there is exactly one encoding of each.
    #[error("the record is not in its shortest form")]
    Form,
    /// Bytes are left over.
    #[error("{0} bytes after the end of the tick record")]
    Long(usize),
}

impl From<Short> for TickRecordError {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

impl<I: Record> TickRecord<I> {
    /// A record in which nothing happened yet: every seat neutral. The start of the chain that records are encoded
    /// against. Costs an allocation of all seats.
    #[must_use]
    pub fn neutral(tick: Tick, seats: usize) -> Self {
        let inputs = vec![SeatInput { input: I::default(), reason: Reason::Neutral }; seats];
        Self { tick, inputs, commands: Vec::new() }
    }

    /// Appends the record's bytes to `out`. `previous` is the record of the tick before (the neutral one for tick 1):
    /// inputs that did not change cost a bit.
    ///
    /// # Panics
    /// If `previous` is not the record of the tick before, of the same seats.
    pub fn encode(&self, previous: &Self, out: &mut Vec<u8>) {
        assert_eq!(self.tick, previous.tick.next(), "records follow each other");
        assert_eq!(self.inputs.len(), previous.inputs.len(), "the seats of a battle are fixed");
        out.extend_from_slice(&self.tick.0.to_le_bytes());
        for run in self.inputs.chunk_by(|a, b| a.reason == b.reason) {
            put_varint(run.len() as u32, out);
            out.push(run[0].reason.code());
        }
        let bits = out.len();
        out.resize(bits + self.inputs.len().div_ceil(8), 0);
        for (seat, (now, before)) in self.inputs.iter().zip(&previous.inputs).enumerate() {
            let (now, before) = (bytemuck::bytes_of(&now.input), bytemuck::bytes_of(&before.input));
            if now == before {
                continue;
            }
            out[bits + seat / 8] |= 1 << (seat % 8);
            let mask = out.len();
            out.resize(mask + now.len().div_ceil(8), 0);
            for (index, byte) in now.iter().enumerate().filter(|(index, byte)| **byte != before[*index]) {
                out[mask + index / 8] |= 1 << (index % 8);
                out.push(*byte);
            }
        }
        put_varint(self.commands.len() as u32, out);
        for command in &self.commands {
            let (code, seat, value) = command.parts();
            out.push(code);
            out.extend_from_slice(&seat.0.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Reads the record that follows on this one from bytes of a stranger, and becomes it. Costs a walk over the seats
    /// and the commands; allocates only to grow the record.
    ///
    /// # Errors
    /// If the bytes are not exactly the next tick's record; this record is then worth nothing any more.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(), TickRecordError> {
        let mut bytes = Bytes::new(bytes);
        let (expected, found) = (self.tick.0.saturating_add(1), bytes.u32()?);
        if found != expected {
            return Err(TickRecordError::Tick { expected, found });
        }
        self.tick = Tick(found);
        let seats = self.inputs.len();
        let (mut seat, mut last) = (0_usize, None);
        while seat < seats {
            let run = bytes.varint()? as usize;
            let reason = Reason::of(bytes.u8()?).ok_or(TickRecordError::Reasons { seats })?;
            if last.replace(reason) == Some(reason) {
                return Err(TickRecordError::Form);
            }
            let until = seat.checked_add(run).filter(|until| run > 0 && *until <= seats);
            let until = until.ok_or(TickRecordError::Reasons { seats })?;
            self.inputs[seat..until].iter_mut().for_each(|input| input.reason = reason);
            seat = until;
        }
        let changed = take_bitmap(&mut bytes, seats)?;
        for (seat, entry) in self.inputs.iter_mut().enumerate() {
            if changed[seat / 8] & (1 << (seat % 8)) == 0 {
                continue;
            }
            let mask = take_bitmap(&mut bytes, size_of::<I>())?;
            let count: u32 = mask.iter().map(|bits| bits.count_ones()).sum();
            let mut news = bytes.take(count as usize)?.iter();
            // Every byte that is told differs, and there is one.
            let mut told = count > 0;
            let mut input = entry.input;
            for (eight, bits) in bytemuck::bytes_of_mut(&mut input).chunks_mut(8).zip(mask) {
                for (_, byte) in eight.iter_mut().enumerate().filter(|(index, _)| bits >> index & 1 != 0) {
                    let new = news.next().copied().unwrap_or(*byte);
                    told &= new != *byte;
                    *byte = new;
                }
            }
            if !told {
                return Err(TickRecordError::Form);
            }
            entry.input = I::parse(bytemuck::bytes_of(&input))
                .map_err(|source| TickRecordError::Input { seat: seat as u16, source })?;
        }
        let commands = bytes.varint()? as usize;
        if commands > COMMANDS_MAX {
            return Err(TickRecordError::Command);
        }
        self.commands.clear();
        for _ in 0..commands {
            let (code, seat, value) = (bytes.u8()?, Seat(bytes.u16()?), bytes.u32()?);
            let command = Command::of(code, seat, value).filter(|_| seat.index() < seats);
            self.commands.push(command.ok_or(TickRecordError::Command)?);
        }
        if bytes.left() > 0 {
            return Err(TickRecordError::Long(bytes.left()));
        }
        Ok(())
    }
}

/// Takes a bitmap of `count` bits; the bits after them must be zero.
fn take_bitmap<'a>(bytes: &mut Bytes<'a>, count: usize) -> Result<&'a [u8], TickRecordError> {
    let bitmap = bytes.take(count.div_ceil(8))?;
    match bitmap.last() {
        Some(last) if !count.is_multiple_of(8) && last >> (count % 8) != 0 => Err(TickRecordError::Form),
        _ => Ok(bitmap),
    }
}

impl Reason {
    fn code(self) -> u8 {
        match self {
            Self::Arrived => 0,
            Self::Repeated => 1,
            Self::Neutral => 2,
            Self::Bot => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Arrived, Self::Repeated, Self::Neutral, Self::Bot].get(usize::from(code)).copied()
    }
}

impl Command {
    fn parts(self) -> (u8, Seat, u32) {
        match self {
            Self::Joined(seat) => (0, seat, 0),
            Self::Left(seat) => (1, seat, 0),
            Self::Replaced(seat) => (2, seat, 0),
            Self::Act { seat, value } => (3, seat, value),
            Self::Chance(value) => (4, Seat(0), value),
        }
    }

    fn of(code: u8, seat: Seat, value: u32) -> Option<Self> {
        match (code, value) {
            (0, 0) => Some(Self::Joined(seat)),
            (1, 0) => Some(Self::Left(seat)),
            (2, 0) => Some(Self::Replaced(seat)),
            (3, value) => Some(Self::Act { seat, value }),
            (4, value) if seat == Seat(0) => Some(Self::Chance(value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::record! {
        struct Walk { x: f32, y: f32, buttons: u32 }
    }

    fn example() -> (TickRecord<Walk>, TickRecord<Walk>) {
        let before = TickRecord::neutral(Tick(6), 11);
        let mut now = TickRecord::neutral(Tick(7), 11);
        now.inputs[0] = SeatInput { input: Walk { x: 0.5, ..Walk::default() }, reason: Reason::Arrived };
        now.inputs[9] = SeatInput { input: Walk { buttons: 9, ..Walk::default() }, reason: Reason::Bot };
        now.commands = vec![Command::Joined(Seat(0)), Command::Act { seat: Seat(9), value: 77 }];
        (before, now)
    }

    #[test]
    fn records_survive_their_bytes() {
        let (mut before, now) = example();
        let mut bytes = Vec::new();
        now.encode(&before, &mut bytes);
        before.advance(&bytes).unwrap();
        assert_eq!(before, now);
    }

    #[test]
    fn a_quiet_tick_is_small() {
        let before = TickRecord::<Walk>::neutral(Tick(0), 100);
        let mut bytes = Vec::new();
        TickRecord::neutral(Tick(1), 100).encode(&before, &mut bytes);
        assert_eq!(bytes.len(), 4 + 2 + 13 + 1);
    }

    #[test]
    fn each_record_has_one_encoding_and_damaged_ones_are_refused_or_another_record() {
        let (before, now) = example();
        let mut bytes = Vec::new();
        now.encode(&before, &mut bytes);
        for cut in 0..bytes.len() {
            assert!(before.clone().advance(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut read = before.clone();
            if read.advance(&flipped).is_ok() {
                assert_ne!(read, now, "bit {bit} means nothing");
                let mut again = Vec::new();
                read.encode(&before, &mut again);
                assert_eq!(again, flipped);
            }
        }
        bytes.push(0);
        assert_eq!(before.clone().advance(&bytes), Err(TickRecordError::Long(1)));
    }
}
