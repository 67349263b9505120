//! The last two blocks of a whole recording: the index, and the end.
//!
//! ```text
//! index          per entry 16 bytes: 8 offset of the block in the file, 4 tick, 1 kind, 3 zeros
//! end            at  size
//!                 0     8  hash of the last state
//!                 8     1  how it ended: 0 finished, 1 aborted, 2 abandoned
//!                 9     3  zeros
//!                12     4  length of the outcome
//!                16     …  the outcome, in the engine's encoding
//!                 …    32  blake3 of every byte of the file before this block
//!                 …     8  offset of the index
//!                 …     8  offset of this block: the last 8 bytes of the file
//! ```
//!
//! The index is plain rows rather than an rkyv container: two sorted numbers gain nothing by one, and rows can be
//! read in any language. Offsets rise strictly and lie before the index, so that it can neither point outside
//! nor go in circles; whoever jumps by it checks what it finds there.

use crate::bytes::{Cursor, length_u32};
use crate::format::{BLOCK_HEADER_BYTES, Kind};

/// Size of an entry of the index in bytes.
pub const INDEX_ENTRY_BYTES: usize = 16;

/// The most entries of an index, a week of keyframes. Later ones are not listed: a seek reads on from the last.
pub const INDEX_ENTRIES_MAX: usize = 65_536;

/// The longest outcome in bytes.
pub const OUTCOME_BYTES_MAX: usize = 64 << 10;

const END_FIXED_BYTES: usize = 16 + 32 + 8 + 8;

/// Where a block stands that a reader may want to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its first byte in the file.
    pub offset: u64,
    /// The tick it stands after.
    pub tick: u32,
    /// What it is; this build lists keyframes.
    pub kind: u8,
}

impl IndexEntry {
    /// Whether the entry leads to a keyframe.
    #[must_use]
    pub const fn is_keyframe(&self) -> bool {
        self.kind == Kind::Keyframe as u8
    }
}

/// Reads an index that itself stands at `index_offset` of a file whose blocks begin at `blocks_offset`.
///
/// Nothing if an entry points outside of that range or does not rise in offset.
#[must_use]
pub fn parse_index(payload: &[u8], blocks_offset: u64, index_offset: u64) -> Option<Vec<IndexEntry>> {
    let (rows, rest) = payload.as_chunks::<INDEX_ENTRY_BYTES>();
    if !rest.is_empty() || rows.len() > INDEX_ENTRIES_MAX {
        return None;
    }
    let latest = index_offset.checked_sub(BLOCK_HEADER_BYTES as u64)?;
    let mut lowest = blocks_offset;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let mut fields = Cursor::new(row);
        let entry = IndexEntry { offset: fields.u64()?, tick: fields.u32()?, kind: fields.u8()? };
        if fields.rest() != [0; 3] || entry.offset < lowest || entry.offset > latest {
            return None;
        }
        lowest = entry.offset.checked_add(BLOCK_HEADER_BYTES as u64)?;
        entries.push(entry);
    }
    Some(entries)
}

/// Writes what [`parse_index`] reads.
pub(crate) fn put_index(out: &mut Vec<u8>, entries: &[IndexEntry]) {
    for entry in entries {
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.tick.to_le_bytes());
        out.extend_from_slice(&[entry.kind, 0, 0, 0]);
    }
}

/// How a battle came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// By the game's rules.
    Finished = 0,
    /// By a fault of its own, or because its node was stopped.
    Aborted = 1,
    /// Because nobody was left.
    Abandoned = 2,
}

impl Ended {
    /// The ending's name, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Aborted => "aborted",
            Self::Abandoned => "abandoned",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Finished, Self::Aborted, Self::Abandoned].into_iter().find(|ended| *ended as u8 == number)
    }
}

/// The end of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The last tick.
    pub tick: u32,
    /// Hash of the state after it.
    pub final_hash: u64,
    /// How it ended.
    pub ended: Ended,
    /// The outcome in the engine's encoding; empty if there is none.
    pub outcome: &'a [u8],
    /// blake3 of every byte of the file before the end's block.
    pub body_hash: [u8; 32],
    /// Where the index stands.
    pub index_offset: u64,
    /// Where the end itself stands.
    pub end_offset: u64,
}

/// What the end of a recording says of its battle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The last tick.
    pub tick: u32,
    /// Hash of the state after it.
    pub final_hash: u64,
    /// How it ended.
    pub ended: Ended,
    /// The outcome in the engine's encoding; empty if there is none.
    pub outcome: Vec<u8>,
}

impl From<&End<'_>> for Ending {
    fn from(end: &End<'_>) -> Self {
        let End { tick, final_hash, ended, outcome, .. } = *end;
        Self { tick, final_hash, ended, outcome: outcome.to_vec() }
    }
}

impl<'a> End<'a> {
    /// Reads a payload, or nothing if it is longer or shorter than it says.
    #[must_use]
    pub fn parse(tick: u32, payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let final_hash = cursor.u64()?;
        let ended = Ended::from_number(cursor.u8()?)?;
        let zeros: [u8; 3] = cursor.array()?;
        let outcome_bytes = usize::try_from(cursor.u32()?).ok()?;
        if zeros != [0; 3] || outcome_bytes > OUTCOME_BYTES_MAX {
            return None;
        }
        let outcome = cursor.bytes(outcome_bytes)?;
        let body_hash = cursor.array()?;
        let (index_offset, end_offset) = (cursor.u64()?, cursor.u64()?);
        let whole = cursor.is_empty() && index_offset < end_offset;
        whole.then_some(Self { tick, final_hash, ended, outcome, body_hash, index_offset, end_offset })
    }

    pub(crate) fn to_payload(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(END_FIXED_BYTES + self.outcome.len());
        out.extend_from_slice(&self.final_hash.to_le_bytes());
        out.extend_from_slice(&[self.ended as u8, 0, 0, 0]);
        out.extend_from_slice(&length_u32(self.outcome.len()).to_le_bytes());
        out.extend_from_slice(self.outcome);
        out.extend_from_slice(&self.body_hash);
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        out.extend_from_slice(&self.end_offset.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_that_points_outside_or_in_circles_is_refused() {
        let check = |entries: &[(u64, u32)], expected: bool| {
            let entries: Vec<_> = entries
                .iter()
                .map(|&(offset, tick)| IndexEntry { offset, tick, kind: Kind::Keyframe as u8 })
                .collect();
            let mut payload = Vec::new();
            put_index(&mut payload, &entries);
            let parsed = parse_index(&payload, 100, 1000);
            assert_eq!(parsed, expected.then_some(entries));
        };
        check(&[], true);
        check(&[(100, 0), (136, 300), (964, 600)], true);
        check(&[(99, 0)], false);
        check(&[(965, 0)], false);
        check(&[(u64::MAX, 0)], false);
        check(&[(500, 0), (500, 300)], false);
        check(&[(500, 0), (535, 300)], false);
        check(&[(500, 0), (200, 300)], false);
        assert_eq!(parse_index(&[0; 15], 100, 1000), None);
        assert_eq!(parse_index(&[], 0, 35), None);
    }

    #[test]
    fn end_survives_and_is_refused_at_any_other_length() {
        let end = End {
            tick: 900,
            final_hash: 77,
            ended: Ended::Aborted,
            outcome: b"red",
            body_hash: [8; 32],
            index_offset: 4000,
            end_offset: 4100,
        };
        let payload = end.to_payload();
        assert_eq!(End::parse(900, &payload), Some(end));
        for length in 0..payload.len() {
            assert_eq!(End::parse(900, &payload[..length]), None, "cut at {length}");
        }
        let mut longer = payload;
        longer.push(0);
        assert_eq!(End::parse(900, &longer), None);
        let circular = End { index_offset: 4100, ..end }.to_payload();
        assert_eq!(End::parse(900, &circular), None);
    }
}
