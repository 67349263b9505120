//! The frame of a block: 36 bytes of header, then the stored payload. All numbers are little-endian.
//!
//! ```text
//! at  size  field
//!  0     4  sync word d7 54 79 b5
//!  4     1  kind            1 tick records, 2 state hashes, 3 keyframe, 4 events, 5 index, 6 end, 7 snapshot
//!  5     1  codec           0 raw, 1 lz4 block
//!  6     1  version         of the payload of this kind, 1
//!  7     1  flags           0
//!  8     4  epoch           of the battle's owner when the block was written
//! 12     4  first tick
//! 16     4  tick count
//! 20     4  raw length      bytes of the payload, unpacked
//! 24     4  stored length   bytes of the payload in the file
//! 28     4  payload CRC     CRC-32 (IEEE) of the stored bytes
//! 32     4  header CRC      CRC-32 (IEEE) of bytes 0 to 32
//! ```
//!
//! Each CRC finds every flip of one bit or one byte. Nothing is allocated by a number from a header before the
//! header's CRC and the caps below held, and then never more than the file delivers times [`RATIO_MAX`].

use thiserror::Error;

/// The four bytes every block begins with.
pub const SYNC: [u8; 4] = [0xd7, b'T', b'y', 0xb5];

/// Size of a block's header in bytes.
pub const BLOCK_HEADER_BYTES: usize = 36;

/// The longest payload of a block, unpacked: 16 MiB, room for a keyframe of [`tiltyard_engine`]'s actor limit.
pub const RAW_BYTES_MAX: u32 = 16 << 20;

/// The longest payload of a block as it lies in the file: never more than unpacked.
pub const STORED_BYTES_MAX: u32 = RAW_BYTES_MAX;

/// The most ticks that one block may cover: 17 seconds at the fastest rate.
pub const BLOCK_TICKS_MAX: u32 = 4096;

/// How many times its stored length a payload may unpack to. A writer stores what packs better than this raw.
pub const RATIO_MAX: u32 = 64;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// What went into each of a run of ticks.
    TickRecords = 1,
    /// The state hash after each of a run of ticks; stands before the tick records it belongs to.
    StateHashes = 2,
    /// The whole state after a tick.
    Keyframe = 3,
    /// What the game told its players besides state.
    Events = 4,
    /// Where the keyframes stand.
    Index = 5,
    /// How the battle ended; the last block.
    End = 6,
    /// The picture of a tick: for builds that cannot simulate the battle.
    Snapshot = 7,
    /// What a build found that verified the recording: see [`Report`](crate::Report).
    Report = 8,
}

impl Kind {
    /// Every kind this build knows, by number.
    pub const ALL: [Self; 8] = [
        Self::TickRecords,
        Self::StateHashes,
        Self::Keyframe,
        Self::Events,
        Self::Index,
        Self::End,
        Self::Snapshot,
        Self::Report,
    ];

    /// The kind with this number, if this build knows it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The version of its payload that this build writes and reads.
    #[must_use]
    pub const fn version(self) -> u8 {
        // A report of version 1 had sixteen bytes without a meaning.
        if matches!(self, Self::Report) { 2 } else { 1 }
    }

    /// The kind's name, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TickRecords => "tick records",
            Self::StateHashes => "state hashes",
            Self::Keyframe => "keyframe",
            Self::Events => "events",
            Self::Index => "index",
            Self::End => "end",
            Self::Snapshot => "snapshot",
            Self::Report => "report",
        }
    }
}

/// How a payload lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One lz4 block without a length of its own.
    Lz4 = 1,
}

/// The header of a block. Kind and codec are kept as numbers: unknown kinds are skipped, not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Number of the [`Kind`].
    pub kind: u8,
    /// Number of the [`Codec`].
    pub codec: u8,
    /// Version of the payload.
    pub version: u8,
    /// Epoch of the battle's owner.
    pub epoch: u32,
    /// The first tick the block covers; for keyframe, snapshot and end the tick they stand after.
    pub first_tick: u32,
    /// How many ticks the block covers; 0 for keyframe, snapshot, index and end.
    pub tick_count: u32,
    /// Length of the payload, unpacked.
    pub raw_bytes: u32,
    /// Length of the payload in the file.
    pub stored_bytes: u32,
    /// CRC of the stored payload.
    pub payload_crc: u32,
}

/// Why 36 bytes are no header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockHeaderError {
    /// They do not begin with the sync word.
    #[error("no sync word")]
    Sync,
    /// Their CRC differs.
    #[error("header checksum differs")]
    Checksum,
    /// The flags of a later version are set.
    #[error("unknown flags {flags:#04x}")]
    Flags {
        /// The flags found.
        flags: u8,
    },
    /// A number is above its cap.
    #[error("{what} is {found}, more than {max}")]
    Limit {
        /// Which number.
        what: &'static str,
        /// What the header says.
        found: u32,
        /// What is allowed.
        max: u32,
    },
}

impl BlockHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// Sync word and CRC first: these may be damage. Then flags and caps: these are a file that was made so.
    pub fn parse(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, BlockHeaderError> {
        let mut fields = crate::bytes::Cursor::new(bytes);
        let header = (|| {
            let sync: [u8; 4] = fields.array()?;
            let [kind, codec, version, flags] = fields.array()?;
            let header = Self {
                kind,
                codec,
                version,
                epoch: fields.u32()?,
                first_tick: fields.u32()?,
                tick_count: fields.u32()?,
                raw_bytes: fields.u32()?,
                stored_bytes: fields.u32()?,
                payload_crc: fields.u32()?,
            };
            Some((sync, flags, header, fields.u32()?))
        })();
        let (sync, flags, header, crc) = header.expect("the fields make up the array's 36 bytes");
        if sync != SYNC {
            return Err(BlockHeaderError::Sync);
        }
        if crc != crc32fast::hash(&bytes[..32]) {
            return Err(BlockHeaderError::Checksum);
        }
        if flags != 0 {
            return Err(BlockHeaderError::Flags { flags });
        }
        header.check_limits()?;
        Ok(header)
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&SYNC);
        bytes[4..8].copy_from_slice(&[self.kind, self.codec, self.version, 0]);
        let numbers = [
            self.epoch,
            self.first_tick,
            self.tick_count,
            self.raw_bytes,
            self.stored_bytes,
            self.payload_crc,
        ];
        for (place, number) in bytes[8..32].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Bytes of the whole block in the file.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + self.stored_bytes as u64
    }

    fn check_limits(&self) -> Result<(), BlockHeaderError> {
        let at_most = |what, found, max| {
            if found > max { Err(BlockHeaderError::Limit { what, found, max }) } else { Ok(()) }
        };
        at_most("stored length", self.stored_bytes, STORED_BYTES_MAX)?;
        at_most("raw length", self.raw_bytes, RAW_BYTES_MAX)?;
        at_most("raw length", self.raw_bytes, self.stored_bytes.saturating_mul(RATIO_MAX))?;
        at_most("tick count", self.tick_count, BLOCK_TICKS_MAX)?;
        at_most("first tick", self.first_tick, u32::MAX - BLOCK_TICKS_MAX - 1)
    }
}

/// Why a stored payload does not unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnpackError {
    /// A codec this build does not know.
    #[error("unknown codec {codec}")]
    Codec {
        /// Its number.
        codec: u8,
    },
    /// The bytes do not unpack to the length that the header names.
    #[error("payload does not unpack to its length")]
    Length,
}

/// Unpacks a stored payload into `raw`, which keeps its memory from block to block.
///
/// # Errors
/// If the codec is unknown or the length differs from the header's. The header's caps bound the work.
pub fn unpack<'a>(
    header: &BlockHeader,
    stored: &'a [u8],
    raw: &'a mut Vec<u8>,
) -> Result<&'a [u8], UnpackError> {
    let raw_bytes = usize::try_from(header.raw_bytes).map_err(|_| UnpackError::Length)?;
    if header.codec == Codec::Raw as u8 {
        return if stored.len() == raw_bytes { Ok(stored) } else { Err(UnpackError::Length) };
    }
    if header.codec != Codec::Lz4 as u8 {
        return Err(UnpackError::Codec { codec: header.codec });
    }
    raw.clear();
    raw.resize(raw_bytes, 0);
    match lz4_flex::block::decompress_into(stored, raw) {
        Ok(length) if length == raw_bytes => Ok(raw),
        _ => Err(UnpackError::Length),
    }
}

/// What a block says of itself besides lengths and checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it holds.
    pub kind: Kind,
    /// Epoch of the battle's owner.
    pub epoch: u32,
    /// First tick, or the tick it stands after.
    pub first_tick: u32,
    /// Ticks covered.
    pub tick_count: u32,
}

/// Appends a whole block to `out`: header and payload, packed when that saves at least a sixteenth.
///
/// `packed` is memory that is used again from block to block.
///
/// # Panics
/// If the payload is longer than [`RAW_BYTES_MAX`] or the block covers more than [`BLOCK_TICKS_MAX`] ticks.
pub fn put_block(out: &mut Vec<u8>, label: Label, raw: &[u8], packed: &mut Vec<u8>) {
    match pack(raw, packed) {
        Some(stored) => put(out, label, Codec::Lz4, raw.len(), stored),
        None => put(out, label, Codec::Raw, raw.len(), raw),
    }
}

/// Appends a whole block to `out` whose payload stays as it is.
///
/// # Panics
/// As [`put_block`].
pub fn put_raw_block(out: &mut Vec<u8>, label: Label, raw: &[u8]) {
    put(out, label, Codec::Raw, raw.len(), raw);
}

fn put(out: &mut Vec<u8>, label: Label, codec: Codec, raw_bytes: usize, stored: &[u8]) {
    assert!(raw_bytes <= RAW_BYTES_MAX as usize, "{} payload of {raw_bytes} bytes", label.kind.name());
    assert!(label.tick_count <= BLOCK_TICKS_MAX);
    let header = BlockHeader {
        kind: label.kind as u8,
        codec: codec as u8,
        version: label.kind.version(),
        epoch: label.epoch,
        first_tick: label.first_tick,
        tick_count: label.tick_count,
        raw_bytes: crate::bytes::length_u32(raw_bytes),
        stored_bytes: crate::bytes::length_u32(stored.len()),
        payload_crc: crc32fast::hash(stored),
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(stored);
}

/// The packed form, if it is worth its unpacking and lies within [`RATIO_MAX`].
fn pack<'a>(raw: &[u8], packed: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    const WORTH_BYTES: usize = 64;
    if raw.len() < WORTH_BYTES {
        return None;
    }
    packed.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let length = lz4_flex::block::compress_into(raw, packed).ok()?;
    let worth = length <= raw.len() - raw.len() / 16;
    let within = raw.len() <= length.saturating_mul(RATIO_MAX as usize);
    if worth && within { packed.get(..length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            kind: Kind::Keyframe as u8,
            codec: 0,
            version: 1,
            epoch: 7,
            first_tick: 300,
            tick_count: 0,
            raw_bytes: 10,
            stored_bytes: 10,
            payload_crc: 0x1234_5678,
        }
    }

    #[test]
    fn headers_survive_and_every_flipped_byte_is_found() {
        let bytes = header().to_bytes();
        assert_eq!(BlockHeader::parse(&bytes), Ok(header()));
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                let mut damaged = bytes;
                damaged[at] ^= flip;
                assert!(BlockHeader::parse(&damaged).is_err(), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn caps_hold_on_both_sides() {
        let check = |change: fn(&mut BlockHeader), what: Option<&str>| {
            let mut header = header();
            change(&mut header);
            match (BlockHeader::parse(&header.to_bytes()), what) {
                (Ok(_), None) => {}
                (Err(BlockHeaderError::Limit { what: found, .. }), Some(what)) => assert_eq!(found, what),
                (found, _) => panic!("{found:?} instead of {what:?}"),
            }
        };
        let full = |header: &mut BlockHeader| {
            header.raw_bytes = RAW_BYTES_MAX;
            header.stored_bytes = STORED_BYTES_MAX;
        };
        check(full, None);
        check(|header| header.stored_bytes = STORED_BYTES_MAX + 1, Some("stored length"));
        check(|header| header.raw_bytes = 10 * RATIO_MAX, None);
        check(|header| header.raw_bytes = 10 * RATIO_MAX + 1, Some("raw length"));
        check(
            |header| (header.raw_bytes, header.stored_bytes) = (u32::MAX, STORED_BYTES_MAX),
            Some("raw length"),
        );
        check(|header| header.tick_count = BLOCK_TICKS_MAX, None);
        check(|header| header.tick_count = BLOCK_TICKS_MAX + 1, Some("tick count"));
        check(|header| header.first_tick = u32::MAX, Some("first tick"));
    }

    #[test]
    fn payloads_survive_packed_and_unpacked() {
        let mut packed = Vec::new();
        let mut raw = Vec::new();
        let label = Label { kind: Kind::Keyframe, epoch: 1, first_tick: 3, tick_count: 0 };
        let mut noise = [0; 1000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text: Vec<u8> = noise.iter().map(|byte| byte & 1).collect();
        for (payload, codec) in [
            (&[][..], Codec::Raw),
            (&noise[..], Codec::Raw),
            (&text[..], Codec::Lz4),
            // Packs 250-fold: more than a reader would unpack, so it is stored as it is.
            (&[0; 100_000][..], Codec::Raw),
        ] {
            let mut block = Vec::new();
            put_block(&mut block, label, payload, &mut packed);
            let (head, stored) = block.split_first_chunk().expect("a header");
            let header = BlockHeader::parse(head).expect("own header");
            assert_eq!(header.codec, codec as u8);
            assert_eq!(unpack(&header, stored, &mut raw), Ok(payload));
        }
    }

    #[test]
    fn payload_that_unpacks_to_another_length_is_refused() {
        let mut packed = Vec::new();
        let mut raw = Vec::new();
        let mut block = Vec::new();
        let label = Label { kind: Kind::Events, epoch: 1, first_tick: 3, tick_count: 1 };
        put_block(&mut block, label, &[1, 2, 3, 4].repeat(40), &mut packed);
        let (head, stored) = block.split_first_chunk().expect("a header");
        let good = BlockHeader::parse(head).expect("own header");
        for raw_bytes in [0, 1, good.raw_bytes - 1, good.raw_bytes + 1] {
            let header = BlockHeader { raw_bytes, ..good };
            assert_eq!(unpack(&header, stored, &mut raw), Err(UnpackError::Length));
        }
        let header = BlockHeader { codec: 2, ..good };
        assert_eq!(unpack(&header, stored, &mut raw), Err(UnpackError::Codec { codec: 2 }));
    }
}
