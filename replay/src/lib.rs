//! Recording of battles: write, read, verify.
//!
//! A recording is what went into a battle: a header, then append-only blocks, each with its own sync word,
//! lengths and checksums. `docs/REPLAY.md` gives every byte.

mod bytes;
mod divergence;
mod ending;
mod file;
mod format;
mod header;
mod ledger;
mod payload;
mod player;
mod reader;
mod recording;
mod replica;
mod sequence;
mod summary;
mod verify;
mod window;
mod writer;

pub use divergence::{Finding, FirstDivergence};
pub use ending::{
    End, Ended, INDEX_ENTRIES_MAX, INDEX_ENTRY_BYTES, IndexEntry, OUTCOME_BYTES_MAX, parse_index,
};
pub use file::{Durable, FileWriter, SyncSink};
pub use format::{
    BLOCK_HEADER_BYTES, BLOCK_TICKS_MAX, BlockHeader, BlockHeaderError, Codec, Kind, Label, PAYLOAD_VERSION,
    RATIO_MAX, RAW_BYTES_MAX, STORED_BYTES_MAX, SYNC, UnpackError, put_block, put_raw_block, unpack,
};
pub use header::{
    BUILD_NAME_BYTES_MAX, FIXED_BYTES, FORMAT_VERSION, HEADER_BYTES_MAX, Header, HeaderError, MAGIC,
    SEAT_NAME_BYTES_MAX, SEATS_MAX, SPEC_BYTES_MAX,
};
pub use payload::{EVENTS_BYTES_MAX, Events, PARTS_MAX, RECORD_BYTES_MAX, StateHashes, TickRecords};
pub use player::Player;
pub use reader::{Block, Content, Item, OnDamage, ReadError, Reader, SEARCH_BYTES_MAX};
pub use recording::Recording;
pub use replica::SimulateError;
pub use sequence::OrderError;
pub use summary::{Playable, Summary};
pub use verify::{PlayError, Progress, Verdict, verify};
pub use writer::{FRAME_BYTES, FRAME_EVENTS_BYTES_MAX, Sealed, Settings, WriteError, Writer};
