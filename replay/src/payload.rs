//! What lies inside the blocks of tick records, state hashes, events and keyframes.
//!
//! ```text
//! tick records   per tick: varint length, the engine's tick record (what the frame feed carries)
//! state hashes   per tick: 8 bytes; then marks until the end of the payload:
//!                varint place of the tick in the block, varint count, per part of the hash 8 bytes
//! events         varint place of the tick in the block (never falling), varint length, the game's event bytes
//! keyframe       the engine's keyframe: state and inputs in an rkyv container that the engine checks
//! snapshot       the picture of the tick, see `picture.rs`
//! ```
//!
//! A varint is an unsigned LEB128 number of at most 32 bits in its shortest form. Each view below is walked once
//! from end to end when it is parsed, so that its iterators have nothing left to refuse.

use crate::bytes::Cursor;

/// The longest record of one tick in bytes: 1,024 seats of 240 bytes.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// The longest event entry of one tick in bytes.
pub const EVENTS_BYTES_MAX: usize = 256 << 10;

/// The most parts of one state hash that are recorded.
pub const PARTS_MAX: usize = 1024;

/// The records of a run of ticks.
#[derive(Clone, Copy, Debug)]
pub struct TickRecords<'a> {
    first_tick: u32,
    count: u32,
    payload: &'a [u8],
}

impl<'a> TickRecords<'a> {
    /// Reads `count` records from a payload, or nothing if it holds others or more.
    #[must_use]
    pub fn parse(first_tick: u32, count: u32, payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        for _ in 0..count {
            cursor.sized(RECORD_BYTES_MAX)?;
        }
        let whole = count > 0 && cursor.is_empty();
        whole.then_some(Self { first_tick, count, payload })
    }

    /// The first tick.
    #[must_use]
    pub const fn first_tick(&self) -> u32 {
        self.first_tick
    }

    /// How many ticks there are, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Every tick with its record's bytes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.payload);
        let records = std::iter::from_fn(move || cursor.sized(RECORD_BYTES_MAX));
        (self.first_tick..).zip(records)
    }
}

/// The state hashes of a run of ticks, with the parts of the hash for some of them.
#[derive(Clone, Copy, Debug)]
pub struct StateHashes<'a> {
    first_tick: u32,
    hashes: &'a [u8],
    marks: &'a [u8],
}

impl<'a> StateHashes<'a> {
    /// Reads `count` hashes and the marks behind them, or nothing if the payload is otherwise.
    #[must_use]
    pub fn parse(first_tick: u32, count: u32, payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let hashes = cursor.bytes(usize::try_from(count).ok()?.checked_mul(8)?)?;
        let marks = cursor.rest();
        while !cursor.is_empty() {
            let (place, _) = take_mark(&mut cursor)?;
            if place >= count {
                return None;
            }
        }
        (count > 0).then_some(Self { first_tick, hashes, marks })
    }

    /// The first tick.
    #[must_use]
    pub const fn first_tick(&self) -> u32 {
        self.first_tick
    }

    /// Every tick with the hash of the state after it.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + use<'a> {
        (self.first_tick..).zip(numbers(self.hashes))
    }

    /// Every tick that has the parts of its hash, with these in the engine's order.
    pub fn marks(&self) -> impl Iterator<Item = (u32, Vec<u64>)> + use<'a> {
        let first_tick = self.first_tick;
        let mut cursor = Cursor::new(self.marks);
        std::iter::from_fn(move || {
            let (place, hashes) = take_mark(&mut cursor)?;
            Some((first_tick.saturating_add(place), numbers(hashes).collect()))
        })
    }
}

fn take_mark<'a>(cursor: &mut Cursor<'a>) -> Option<(u32, &'a [u8])> {
    let place = cursor.varint()?;
    let count = usize::try_from(cursor.varint()?).ok()?;
    if count > PARTS_MAX {
        return None;
    }
    Some((place, cursor.bytes(count.checked_mul(8)?)?))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + use<'_> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The events of a run of ticks.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    first_tick: u32,
    payload: &'a [u8],
}

impl<'a> Events<'a> {
    /// Reads the entries of a payload, or nothing if one lies outside the block's `count` ticks or falls back.
    #[must_use]
    pub fn parse(first_tick: u32, count: u32, payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let mut newest = 0;
        while !cursor.is_empty() {
            let place = cursor.varint()?;
            cursor.sized(EVENTS_BYTES_MAX)?;
            if place >= count || place < newest {
                return None;
            }
            newest = place;
        }
        Some(Self { first_tick, payload })
    }

    /// Every entry: its tick and the game's bytes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let first_tick = self.first_tick;
        let mut cursor = Cursor::new(self.payload);
        std::iter::from_fn(move || {
            let place = cursor.varint()?;
            Some((first_tick.saturating_add(place), cursor.sized(EVENTS_BYTES_MAX)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put_varint;

    fn sized(entries: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            put_varint(&mut out, entry.len() as u32);
            out.extend_from_slice(entry);
        }
        out
    }

    #[test]
    fn records_are_as_many_as_the_header_says() {
        let payload = sized(&[b"one", b"", b"three"]);
        let records = TickRecords::parse(7, 3, &payload).expect("three records");
        let expected: [(u32, &[u8]); 3] = [(7, b"one"), (8, b""), (9, b"three")];
        assert_eq!(records.iter().collect::<Vec<_>>(), expected);
        assert!(TickRecords::parse(7, 2, &payload).is_none());
        assert!(TickRecords::parse(7, 4, &payload).is_none());
        assert!(TickRecords::parse(7, 0, &[]).is_none());
        assert!(TickRecords::parse(7, 3, &payload[..payload.len() - 1]).is_none());
    }

    #[test]
    fn one_record_has_a_cap() {
        let longest = vec![0; RECORD_BYTES_MAX];
        assert!(TickRecords::parse(1, 1, &sized(&[&longest])).is_some());
        let longer = vec![0; RECORD_BYTES_MAX + 1];
        assert!(TickRecords::parse(1, 1, &sized(&[&longer])).is_none());
    }

    #[test]
    fn marks_stay_within_their_block() {
        let mut payload = [1_u64, 2].map(u64::to_le_bytes).concat();
        put_varint(&mut payload, 1);
        put_varint(&mut payload, 3);
        payload.extend([5_u64, 6, 7].map(u64::to_le_bytes).concat());
        let hashes = StateHashes::parse(10, 2, &payload).expect("two hashes and a mark");
        assert_eq!(hashes.iter().collect::<Vec<_>>(), [(10, 1), (11, 2)]);
        assert_eq!(hashes.marks().collect::<Vec<_>>(), [(11, vec![5, 6, 7])]);
        assert!(StateHashes::parse(10, 1, &payload).is_none());
        assert!(StateHashes::parse(10, 2, &payload[..payload.len() - 1]).is_none());
        payload[16] = 2;
        assert!(StateHashes::parse(10, 2, &payload).is_none(), "a mark after the last tick");
    }

    #[test]
    fn events_do_not_fall_back_or_leave_their_block() {
        let entries = |places: [u32; 2]| {
            let mut payload = Vec::new();
            for place in places {
                put_varint(&mut payload, place);
                payload.extend(sized(&[b"hit"]));
            }
            payload
        };
        let payload = entries([0, 2]);
        let events = Events::parse(5, 3, &payload).expect("two entries");
        let expected: [(u32, &[u8]); 2] = [(5, b"hit"), (7, b"hit")];
        assert_eq!(events.iter().collect::<Vec<_>>(), expected);
        assert!(Events::parse(5, 2, &payload).is_none());
        assert!(Events::parse(5, 3, &entries([2, 0])).is_none());
    }
}
