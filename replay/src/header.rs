//! The head of a recording: everything a battle starts from, so that a file stands alone.
//!
//! ```text
//! at  size  field
//!  0     8  magic 8b 54 59 52 0d 0a 1a 0a ("TYR", and line ends that a text transfer would change)
//!  8     2  version, 2
//! 10     2  tick rate in Hz
//! 12     4  length of the whole head, its CRC included
//! 16    16  protocol hash
//! 32     1  length of the game's name
//! 33     1  length of the mode's name
//! 34    14  zeros
//! 48     8  battle id
//! 56     8  seed
//! 64     8  start, Unix time in milliseconds
//! 72     4  part: 0 for the first file of a battle; a later part begins with a keyframe
//! 76     2  number of seats
//! 78     2  length of the build's name
//! 80     4  length of the spec
//! 84     …  the build's name, UTF-8
//!  …     …  the game's name, the mode's name, UTF-8
//!  …     …  for each seat: 1 byte length, the player's name in UTF-8
//!  …     …  the spec: setup, terms and roster, in the engine's encoding
//!  …     4  CRC-32 (IEEE) of everything before it
//! ```
//!
//! Version 1 had 16 bytes without a meaning from 32 on, and no names of game and mode.

use thiserror::Error;

use crate::bytes::{Cursor, length_u32};

/// The eight bytes a recording begins with.
pub const MAGIC: [u8; 8] = [0x8b, b'T', b'Y', b'R', 0x0d, 0x0a, 0x1a, 0x0a];

/// The version of the file format that this build writes; it reads this and all before.
pub const FORMAT_VERSION: u16 = 2;

/// Bytes of the head before its texts.
pub const FIXED_BYTES: usize = 84;

/// The most seats a recording names.
pub const SEATS_MAX: usize = 1024;

/// The longest name of a seat in bytes.
pub const SEAT_NAME_BYTES_MAX: usize = 32;

/// The longest name of a build in bytes.
pub const BUILD_NAME_BYTES_MAX: usize = 64;

/// The longest name of a game or a mode in bytes.
pub const GAME_NAME_BYTES_MAX: usize = 64;

/// The longest spec in bytes.
pub const SPEC_BYTES_MAX: usize = 1 << 20;

/// The longest head in bytes.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES
    + BUILD_NAME_BYTES_MAX
    + 2 * GAME_NAME_BYTES_MAX
    + SEATS_MAX * (1 + SEAT_NAME_BYTES_MAX)
    + SPEC_BYTES_MAX
    + 4;

/// The head of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Ticks per second, 1 to 65,535.
    pub rate_hz: u16,
    /// What game, in which version: a build with another hash cannot simulate the recording.
    pub protocol_hash: [u8; 16],
    /// The game's name, at most [`GAME_NAME_BYTES_MAX`] bytes; empty in a file of version 1.
    pub game: String,
    /// The mode's name, as the game's name; empty if nobody chose one.
    pub mode: String,
    /// The battle's id.
    pub battle: u64,
    /// The battle's seed.
    pub seed: u64,
    /// When the battle began, Unix time in milliseconds.
    pub start_unix_ms: u64,
    /// Which of the battle's files this is, from 0.
    pub part: u32,
    /// The build that wrote it, at most [`BUILD_NAME_BYTES_MAX`] bytes.
    pub build: String,
    /// The players' names in seat order: at most [`SEATS_MAX`] of [`SEAT_NAME_BYTES_MAX`] bytes.
    pub seat_names: Vec<String>,
    /// Setup, terms and roster as the engine encodes them, at most [`SPEC_BYTES_MAX`] bytes.
    pub spec: Vec<u8>,
}

/// Why a file's first bytes are no head of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The file begins otherwise.
    #[error("not a recording")]
    Magic,
    /// A version this build does not know.
    #[error("format version {found}, this build reads 1 and {known}")]
    Version {
        /// What the file says.
        found: u16,
        /// The newest that this build reads.
        known: u16,
    },
    /// The file ends within its head.
    #[error("the file ends within its header")]
    Torn,
    /// A field is above its cap, or contradicts the others.
    #[error("{what} is out of bounds")]
    Bounds {
        /// Which field.
        what: &'static str,
    },
    /// The CRC differs.
    #[error("header checksum differs")]
    Checksum,
    /// A name is not UTF-8.
    #[error("{what} is not UTF-8")]
    Text {
        /// Which field.
        what: &'static str,
    },
}

impl Header {
    /// Length of the whole head, from its first [`FIXED_BYTES`] bytes.
    ///
    /// # Errors
    /// If these are no recording of a known version, or the length is outside its bounds.
    pub fn length(fixed: &[u8; FIXED_BYTES]) -> Result<usize, HeaderError> {
        let mut fields = Cursor::new(fixed);
        let magic: [u8; 8] = fields.array().ok_or(HeaderError::Torn)?;
        let found = fields.u16().ok_or(HeaderError::Torn)?;
        fields.u16().ok_or(HeaderError::Torn)?;
        let length = fields.u32().ok_or(HeaderError::Torn)?;
        if magic != MAGIC {
            return Err(HeaderError::Magic);
        }
        if !(1..=FORMAT_VERSION).contains(&found) {
            return Err(HeaderError::Version { found, known: FORMAT_VERSION });
        }
        match usize::try_from(length) {
            Ok(length) if (FIXED_BYTES + 4..=HEADER_BYTES_MAX).contains(&length) => Ok(length),
            _ => Err(HeaderError::Bounds { what: "header length" }),
        }
    }

    /// Reads a whole head; `bytes` are as many as [`Header::length`] said.
    ///
    /// # Errors
    /// If a field is out of bounds, the CRC differs or bytes are left over.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let fixed = bytes.first_chunk().ok_or(HeaderError::Torn)?;
        let length = Self::length(fixed)?;
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(HeaderError::Torn)?;
        if bytes.len() != length {
            return Err(HeaderError::Torn);
        }
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return Err(HeaderError::Checksum);
        }
        let mut fields = Cursor::new(covered);
        let mut first = || {
            fields.bytes(8)?;
            let (version, rate_hz) = (fields.u16()?, fields.u16()?);
            fields.bytes(4)?;
            let (protocol_hash, names) = (fields.array()?, fields.array::<16>()?);
            Some((version, rate_hz, protocol_hash, names, [fields.u64()?, fields.u64()?, fields.u64()?]))
        };
        let (version, rate_hz, protocol_hash, names, [battle, seed, start_unix_ms]) =
            first().ok_or(HeaderError::Torn)?;
        let (game_bytes, mode_bytes) = match names {
            _ if version == 1 => (0, 0),
            [game, mode, zeros @ ..] if zeros == [0; 14] => (game, mode),
            _ => return Err(HeaderError::Bounds { what: "reserved bytes" }),
        };
        let mut counts = || Some((fields.u32()?, fields.u16()?, fields.u16()?, fields.u32()?));
        let (part, seats, build_bytes, spec_bytes) = counts().ok_or(HeaderError::Torn)?;
        if rate_hz == 0 {
            return Err(HeaderError::Bounds { what: "tick rate" });
        }
        let build_bytes = capped(u32::from(build_bytes), BUILD_NAME_BYTES_MAX, "build name")?;
        let seats = capped(u32::from(seats), SEATS_MAX, "seat count")?;
        let spec_bytes = capped(spec_bytes, SPEC_BYTES_MAX, "spec")?;
        let build = text(fields.bytes(build_bytes), "build name")?;
        let game_bytes = capped(u32::from(game_bytes), GAME_NAME_BYTES_MAX, "game name")?;
        let mode_bytes = capped(u32::from(mode_bytes), GAME_NAME_BYTES_MAX, "mode name")?;
        let game = text(fields.bytes(game_bytes), "game name")?;
        let mode = text(fields.bytes(mode_bytes), "mode name")?;
        let mut seat_names = Vec::with_capacity(seats);
        for _ in 0..seats {
            let bytes = fields.u8().ok_or(HeaderError::Bounds { what: "seat name" })?;
            let bytes = capped(u32::from(bytes), SEAT_NAME_BYTES_MAX, "seat name")?;
            seat_names.push(text(fields.bytes(bytes), "seat name")?);
        }
        let spec = fields.bytes(spec_bytes).ok_or(HeaderError::Bounds { what: "spec" })?.to_vec();
        if !fields.is_empty() {
            return Err(HeaderError::Bounds { what: "header length" });
        }
        Ok(Self {
            rate_hz,
            protocol_hash,
            game,
            mode,
            battle,
            seed,
            start_unix_ms,
            part,
            build,
            seat_names,
            spec,
        })
    }

    /// The head's bytes.
    ///
    /// # Errors
    /// If a field is above its cap: nothing is cut silently.
    pub fn to_bytes(&self) -> Result<Vec<u8>, HeaderError> {
        let within = |held: bool, what| if held { Ok(()) } else { Err(HeaderError::Bounds { what }) };
        within(self.rate_hz > 0, "tick rate")?;
        within(self.build.len() <= BUILD_NAME_BYTES_MAX, "build name")?;
        within(self.game.len() <= GAME_NAME_BYTES_MAX, "game name")?;
        within(self.mode.len() <= GAME_NAME_BYTES_MAX, "mode name")?;
        within(self.seat_names.len() <= SEATS_MAX, "seat count")?;
        within(self.seat_names.iter().all(|name| name.len() <= SEAT_NAME_BYTES_MAX), "seat name")?;
        within(self.spec.len() <= SPEC_BYTES_MAX, "spec")?;
        let names: usize = self.seat_names.iter().map(|name| 1 + name.len()).sum();
        let texts = self.build.len() + self.game.len() + self.mode.len() + names;
        let length = FIXED_BYTES + texts + self.spec.len() + 4;
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.rate_hz.to_le_bytes());
        out.extend_from_slice(&length_u32(length).to_le_bytes());
        out.extend_from_slice(&self.protocol_hash);
        let lengths = [&self.game, &self.mode].map(|name| u8::try_from(name.len()).expect("at most 64"));
        out.extend_from_slice(&lengths);
        out.extend_from_slice(&[0; 14]);
        out.extend_from_slice(&self.battle.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.start_unix_ms.to_le_bytes());
        out.extend_from_slice(&self.part.to_le_bytes());
        out.extend_from_slice(&(self.seat_names.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.build.len() as u16).to_le_bytes());
        out.extend_from_slice(&length_u32(self.spec.len()).to_le_bytes());
        for name in [&self.build, &self.game, &self.mode] {
            out.extend_from_slice(name.as_bytes());
        }
        for name in &self.seat_names {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(&self.spec);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        assert!(out.len() == length);
        Ok(out)
    }
}

fn capped(found: u32, max: usize, what: &'static str) -> Result<usize, HeaderError> {
    match usize::try_from(found) {
        Ok(found) if found <= max => Ok(found),
        _ => Err(HeaderError::Bounds { what }),
    }
}

fn text(bytes: Option<&[u8]>, what: &'static str) -> Result<String, HeaderError> {
    let bytes = bytes.ok_or(HeaderError::Bounds { what })?;
    String::from_utf8(bytes.to_vec()).map_err(|_| HeaderError::Text { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            rate_hz: 30,
            protocol_hash: [3; 16],
            game: "joust".to_owned(),
            mode: "tilt".to_owned(),
            battle: 17,
            seed: 42,
            start_unix_ms: 1_700_000_000_000,
            part: 0,
            build: "tiltyard 0.1.0".to_owned(),
            seat_names: vec!["Ada".to_owned(), String::new(), "Grace".to_owned()],
            spec: vec![1, 2, 3],
        }
    }

    #[test]
    fn header_survives_full_and_empty() {
        let empty = Header { build: String::new(), seat_names: Vec::new(), spec: Vec::new(), ..header() };
        let full = Header {
            build: "b".repeat(BUILD_NAME_BYTES_MAX),
            game: "g".repeat(GAME_NAME_BYTES_MAX),
            mode: "m".repeat(GAME_NAME_BYTES_MAX),
            seat_names: vec!["n".repeat(SEAT_NAME_BYTES_MAX); SEATS_MAX],
            spec: vec![9; SPEC_BYTES_MAX],
            ..header()
        };
        for header in [empty, header(), full] {
            let bytes = header.to_bytes().expect("within bounds");
            assert_eq!(Header::parse(&bytes), Ok(header));
        }
    }

    #[test]
    fn nothing_above_its_cap_is_written() {
        let check = |header: &Header, what| assert_eq!(header.to_bytes(), Err(HeaderError::Bounds { what }));
        check(&Header { rate_hz: 0, ..header() }, "tick rate");
        check(&Header { build: "b".repeat(BUILD_NAME_BYTES_MAX + 1), ..header() }, "build name");
        check(&Header { game: "g".repeat(GAME_NAME_BYTES_MAX + 1), ..header() }, "game name");
        check(&Header { mode: "m".repeat(GAME_NAME_BYTES_MAX + 1), ..header() }, "mode name");
        check(&Header { seat_names: vec![String::new(); SEATS_MAX + 1], ..header() }, "seat count");
        check(&Header { seat_names: vec!["n".repeat(SEAT_NAME_BYTES_MAX + 1)], ..header() }, "seat name");
        check(&Header { spec: vec![0; SPEC_BYTES_MAX + 1], ..header() }, "spec");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let bytes = header().to_bytes().expect("within bounds");
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                assert!(Header::parse(&damaged).is_err(), "byte {at} ^ {flip}");
            }
            assert!(Header::parse(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_files_and_other_versions_are_named() {
        let mut bytes = header().to_bytes().expect("within bounds");
        for (byte, found) in [(0, 0), (3, 3)] {
            bytes[8] = byte;
            let error = Header::parse(&bytes).unwrap_err();
            assert_eq!(error, HeaderError::Version { found, known: 2 });
            assert_eq!(error.to_string(), format!("format version {found}, this build reads 1 and 2"));
        }
        bytes[0] = b'P';
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Magic));
    }

    #[test]
    fn counts_that_point_outside_are_refused_under_a_right_checksum() {
        let good = header().to_bytes().expect("within bounds");
        let check = |at: usize, value: &[u8], what: &'static str| {
            let mut bytes = good.clone();
            bytes[at..at + value.len()].copy_from_slice(value);
            let covered = bytes.len() - 4;
            let crc = crc32fast::hash(&bytes[..covered]);
            bytes[covered..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Header::parse(&bytes), Err(HeaderError::Bounds { what }));
        };
        check(76, &[4, 0], "spec");
        check(76, &[9, 0], "seat name");
        check(76, &[2, 0], "header length");
        check(76, &[0xff, 0xff], "seat count");
        check(78, &[65, 0], "build name");
        check(32, &[65], "game name");
        check(33, &[65], "mode name");
        check(34, &[1], "reserved bytes");
        check(47, &[1], "reserved bytes");
        check(80, &[4, 0, 0, 0], "spec");
        check(80, &[0xff; 4], "spec");
        check(12, &[0xff; 4], "header length");
        check(10, &[0, 0], "tick rate");
    }
}
