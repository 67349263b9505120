//! Recording of battles: write, read, verify.
//!
//! A recording is what went into a battle: a header, then append-only blocks, each with its own sync word,
//! lengths and checksums. `docs/REPLAY.md` gives every byte.
//!
//! ```
//! use tiltyard_replay::{Content, Ended, Header, Item, OnDamage, Reader, Settings, Summary, Writer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let header = Header {
//!     rate_hz: 30,
//!     protocol_hash: [7; 16],
//!     game: "joust".to_owned(),
//!     mode: "tilt".to_owned(),
//!     battle: 1,
//!     seed: 42,
//!     start_unix_ms: 1_700_000_000_000,
//!     part: 0,
//!     build: "example".to_owned(),
//!     seat_names: vec!["Ada".to_owned()],
//!     spec: Vec::new(),
//! };
//! let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, header.rate_hz))?;
//! for tick in 1..=90 {
//!     writer.append(tick, b"what went into the tick", u64::from(tick))?;
//! }
//! let sealed = writer.finish(Ended::Finished, b"outcome", 90)?;
//! let file = writer.into_sink();
//!
//! // Torn anywhere, a recording plays up to its last whole block.
//! let torn = &file[..file.len() - 100];
//! let mut reader = Reader::open(torn, OnDamage::Stop)?;
//! let mut ticks = 0;
//! while let Some(item) = reader.next_item()? {
//!     if let Item::Block(block) = item
//!         && let Content::TickRecords(records) = block.content
//!     {
//!         ticks += records.count();
//!     }
//! }
//! assert_eq!(ticks, 90);
//! assert!(!reader.is_complete() && reader.cut_bytes() > 0);
//! assert_eq!(Summary::read(&file[..])?.recording_hash, sealed.recording_hash);
//! # Ok(())
//! # }
//! ```
//!
//! [`verify`] simulates a recording again and compares every hash; a [`Player`] goes to any of its ticks.
//!
//! Whatever is read counts as a stranger's: lengths are checked against the bounds named `…_MAX` before anything is
//! allocated, and damage is an error or a gap with its offset, never a panic. A file is read block by
//! block. Times are ticks; the header has the rate.
#![forbid(unsafe_code)]

mod bytes;
mod cut;
mod diff;
mod divergence;
mod ending;
mod fields;
mod file;
mod fork;
mod format;
mod header;
mod ledger;
mod payload;
mod picture;
mod player;
mod reader;
mod recording;
mod replica;
mod report;
mod seal;
mod sequence;
mod stills;
mod summary;
mod verify;
mod window;
mod writer;

pub use cut::{Cut, CutError, cut};
pub use diff::{Comparison, DiffError, Difference, HeadDifference, Parting, Side, diff};
pub use divergence::{Finding, FirstDivergence};
pub use ending::{
    End, Ended, Ending, INDEX_ENTRIES_MAX, INDEX_ENTRY_BYTES, IndexEntry, OUTCOME_BYTES_MAX, parse_index,
};
pub use file::{Durable, FileWriter, SyncSink};
pub use fork::{Fork, ForkError, fork};
pub use format::{
    BLOCK_HEADER_BYTES, BLOCK_TICKS_MAX, BlockHeader, BlockHeaderError, Codec, Kind, Label, RATIO_MAX,
    RAW_BYTES_MAX, STORED_BYTES_MAX, SYNC, UnpackError, put_block, put_raw_block, unpack,
};
pub use header::{
    BUILD_NAME_BYTES_MAX, FIXED_BYTES, FORMAT_VERSION, GAME_NAME_BYTES_MAX, HEADER_BYTES_MAX, Header,
    HeaderError, MAGIC, SEAT_NAME_BYTES_MAX, SEATS_MAX, SPEC_BYTES_MAX,
};
pub use payload::{EVENTS_BYTES_MAX, Events, PARTS_MAX, RECORD_BYTES_MAX, StateHashes, TickRecords};
pub use picture::{PICTURE_BYTES_MAX, encode_picture, parse_picture};
pub use player::Player;
pub use reader::{Block, Content, Item, OnDamage, ReadError, Reader, SEARCH_BYTES_MAX};
pub use recording::Recording;
pub use replica::SimulateError;
pub use report::{
    REPORT_TEXT_BYTES_MAX, Report, write_claim, write_divergence, write_report, write_unfinished,
};
pub use seal::{SEAL_BYTES_MAX, SEAL_OUTCOME_BYTES_MAX, SealError, Signer, Statement};
pub use sequence::OrderError;
pub use stills::Stills;
pub use summary::{Playable, Summary};
pub use verify::{PlayError, Progress, Verdict, verify};
pub use writer::{FRAME_BYTES, FRAME_EVENTS_BYTES_MAX, Sealed, Settings, WriteError, Writer};
