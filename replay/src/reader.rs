//! Reads a recording forwards, block by block, in bounded memory, whatever is in the file.
//!
//! What does not hold is one of three things. Bytes after the last whole block with no whole block behind them
//! are a **torn tail**: cut, counted, no error. A block that does not hold with a whole block behind it is
//! **damage**: an error that names the offset, or, when asked, a gap up to the next keyframe. A block whose
//! checksums hold but whose content breaks a cap, the order or its own format was **made so**: refused.

use std::io::{self, Read};

use thiserror::Error;

use crate::ending::{End, IndexEntry, parse_index};
use crate::format::{BLOCK_HEADER_BYTES, BlockHeader, BlockHeaderError, Kind, UnpackError, unpack};
use crate::header::{FIXED_BYTES, Header, HeaderError, MAGIC};
use crate::ledger::Ledger;
use crate::payload::{Events, StateHashes, TickRecords};
use crate::report::Report;
use crate::sequence::{OrderError, Sequence};
use crate::window::{Sought, Window};

/// Bytes that are looked at in search of a whole block behind damage, in one recording: passed over or checked.
///
/// A made file could name many long blocks that overlap, or be zeros for ever; beyond this much work it is refused.
pub const SEARCH_BYTES_MAX: u64 = 256 << 20;

/// What to do at damage in the middle of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Stop with an error.
    #[default]
    Stop,
    /// Go on at the next keyframe, and say what was left out.
    NextKeyframe,
}

/// Why a recording cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The source failed.
    #[error("reading at offset {offset}: {kind}")]
    Io {
        /// What went wrong.
        kind: io::ErrorKind,
        /// How far it was read.
        offset: u64,
    },
    /// The file does not begin like a recording.
    #[error("header: {0}")]
    Header(HeaderError),
    /// A block does not hold, and a whole block stands behind it.
    #[error("damaged at offset {offset}; the next whole block is at {next}")]
    Damaged {
        /// Where the block begins that does not hold.
        offset: u64,
        /// Where the next whole block begins.
        next: u64,
    },
    /// More damage than a reader searches through.
    #[error(
        "damaged at offset {offset}, with no whole block in the {SEARCH_BYTES_MAX} bytes that are searched"
    )]
    SearchLimit {
        /// Where the first block begins that does not hold.
        offset: u64,
    },
    /// A block breaks a cap or has flags of a later version.
    #[error("block at offset {offset}: {error}")]
    Block {
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        error: BlockHeaderError,
    },
    /// A payload does not unpack.
    #[error("block at offset {offset}: {error}")]
    Unpack {
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        error: UnpackError,
    },
    /// A known kind in a version this build does not know.
    #[error("{} at offset {offset} has version {found}, this build reads {}", kind.name(), kind.version())]
    Version {
        /// Where the block begins.
        offset: u64,
        /// What it holds.
        kind: Kind,
        /// Its version.
        found: u8,
    },
    /// A payload is not what its kind asks for.
    #[error("{} at offset {offset} is malformed", kind.name())]
    Malformed {
        /// Where the block begins.
        offset: u64,
        /// What it should be.
        kind: Kind,
    },
    /// A block stands where another one is due.
    #[error("block at offset {offset}: {error}")]
    Order {
        /// Where the block begins.
        offset: u64,
        /// What differs.
        error: OrderError,
    },
    /// The end does not fit to the file before it.
    #[error("the end at offset {offset} contradicts the file: {what}")]
    Contradiction {
        /// Where the block begins.
        offset: u64,
        /// What differs.
        what: &'static str,
    },
    /// Bytes follow the end.
    #[error("bytes after the end, from offset {offset}")]
    AfterEnd {
        /// Where they begin.
        offset: u64,
    },
}

/// What a block holds, read and checked.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Records of ticks.
    TickRecords(TickRecords<'a>),
    /// State hashes of ticks.
    StateHashes(StateHashes<'a>),
    /// The engine's keyframe of the block's first tick.
    Keyframe(&'a [u8]),
    /// Events of ticks.
    Events(Events<'a>),
    /// The picture of the block's first tick, unread: see [`parse_picture`](crate::parse_picture).
    Snapshot(&'a [u8]),
    /// What a build found that verified the recording.
    Report(Report),
    /// Where keyframes stand.
    Index(Vec<IndexEntry>),
    /// How it ended.
    End(End<'a>),
    /// A kind of a later build.
    Unknown,
}

/// A block of a recording.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// Its header.
    pub header: BlockHeader,
    /// Where it begins in the file.
    pub offset: u64,
    /// What it holds.
    pub content: Content<'a>,
}

/// What comes next in a recording.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// A whole block.
    Block(Block<'a>),
    /// Damage that was skipped, up to the next keyframe (or the end) as the next item.
    Gap {
        /// Where the damage begins.
        offset: u64,
        /// Where reading goes on.
        next: u64,
    },
}

/// Reads a recording from a source.
#[derive(Debug)]
pub struct Reader<R> {
    window: Window<R>,
    header: Header,
    on_damage: OnDamage,
    sequence: Sequence,
    ledger: Ledger,
    state: State,
    /// Where damage begins that is being skipped.
    gap: Option<u64>,
    /// Length of the block that was given out last and is still in the window.
    held_bytes: usize,
    searched_bytes: u64,
    raw: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Complete,
    Torn { cut_bytes: u64 },
    Failed(ReadError),
}

/// What stands at the front of the window.
enum Front {
    /// Nothing: the file ends here.
    Nothing,
    /// No block, one that does not hold, or one that is longer than the file. The last is a torn tail only if nothing
    /// whole lies within what it claims: its length may be what does not hold.
    Broken,
    /// A block that holds.
    Whole(BlockHeader),
}

impl<R: Read> Reader<R> {
    /// Reads the head of a recording.
    ///
    /// # Errors
    /// If the source fails or does not begin like a recording of this version.
    pub fn open(source: R, on_damage: OnDamage) -> Result<Self, ReadError> {
        let mut window = Window::new(source, 0);
        fill(&mut window, FIXED_BYTES)?;
        let Some(fixed) = window.bytes().first_chunk::<FIXED_BYTES>() else {
            // A shorter file is named for what it is: torn, or foreign.
            let begins = window.bytes().iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
            return Err(ReadError::Header(if begins { HeaderError::Torn } else { HeaderError::Magic }));
        };
        let length = Header::length(fixed).map_err(ReadError::Header)?;
        fill(&mut window, length)?;
        let bytes = window.bytes().get(..length).ok_or(ReadError::Header(HeaderError::Torn))?;
        let header = Header::parse(bytes).map_err(ReadError::Header)?;
        window.consume(length);
        let ledger = Ledger::new(window.offset(), true);
        let sequence = Sequence::from_start(header.part);
        Ok(Self::new(window, header, on_damage, sequence, ledger))
    }

    /// Goes on at a keyframe of a recording whose head is known.
    pub(crate) fn resume(source: R, header: Header, blocks_offset: u64, keyframe_offset: u64) -> Self {
        let window = Window::new(source, keyframe_offset);
        let ledger = Ledger::new(blocks_offset, false);
        Self::new(window, header, OnDamage::Stop, Sequence::from_keyframe(), ledger)
    }

    fn new(
        window: Window<R>,
        header: Header,
        on_damage: OnDamage,
        sequence: Sequence,
        ledger: Ledger,
    ) -> Self {
        Self {
            window,
            header,
            on_damage,
            sequence,
            ledger,
            state: State::Reading,
            gap: None,
            held_bytes: 0,
            searched_bytes: 0,
            raw: Vec::new(),
        }
    }

    /// The next block or gap. Nothing when all is read: [`Reader::is_complete`] and [`Reader::cut_bytes`] tell how.
    ///
    /// # Errors
    /// The first error is final: it comes again at every later call.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        let held = std::mem::take(&mut self.held_bytes);
        self.window.consume(held);
        let header = match self.next_header() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.state = State::Failed(error);
                return Err(error);
            }
        };
        let offset = self.window.offset();
        if let Some(damaged) = self.gap.take() {
            self.sequence.lose_track();
            self.ledger.lose_track();
            return Ok(Some(Item::Gap { offset: damaged, next: offset }));
        }
        // `next_header` made sure that the whole block is in the window, so the length fits into memory.
        self.held_bytes = block_bytes(&header);
        let stored = self.window.bytes().get(BLOCK_HEADER_BYTES..self.held_bytes).unwrap_or_default();
        let content = admit(&mut self.sequence, &header, offset)
            .and_then(|kind| read_content(kind, &header, offset, stored, &mut self.raw, &self.ledger))
            .and_then(|content| {
                self.ledger.enter(&content, &header, offset, || self.window.consumed_hash())?;
                Ok(content)
            });
        match content {
            Ok(content) => {
                if matches!(content, Content::End(_)) {
                    self.state = State::Ended;
                }
                Ok(Some(Item::Block(Block { header, offset, content })))
            }
            Err(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    /// The head of the recording.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the recording has an end and was read to it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Bytes of the torn tail; 0 while reading and for a whole file.
    #[must_use]
    pub const fn cut_bytes(&self) -> u64 {
        match self.state {
            State::Torn { cut_bytes } => cut_bytes,
            _ => 0,
        }
    }

    /// How far the file was read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.window.offset() + self.held_bytes as u64
    }

    /// The newest tick whose record or keyframe was read; nothing before the first of a later part and in a gap.
    #[must_use]
    pub fn newest_tick(&self) -> Option<u32> {
        self.sequence.newest_tick()
    }

    /// blake3 of everything read so far: of the whole file once all is read. Means nothing for a reader that did
    /// not begin at the file's first byte.
    #[must_use]
    pub fn recording_hash(&self) -> [u8; 32] {
        self.window.consumed_hash()
    }

    /// Whether an error ended the reading.
    pub(crate) const fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    pub(crate) fn into_source(self) -> R {
        self.window.into_source()
    }

    /// Header of the whole block at the front of the window, which is in it entirely.
    fn next_header(&mut self) -> Result<Option<BlockHeader>, ReadError> {
        match self.state {
            State::Reading => {}
            State::Ended if fill(&mut self.window, 1)? => {
                return Err(ReadError::AfterEnd { offset: self.window.offset() });
            }
            State::Ended => {
                self.state = State::Complete;
                return Ok(None);
            }
            State::Complete | State::Torn { .. } => return Ok(None),
            State::Failed(error) => return Err(error),
        }
        loop {
            let offset = self.window.offset();
            let header = match self.front()? {
                Front::Whole(header) => header,
                Front::Nothing => return Ok(self.tear(0)),
                Front::Broken if !self.search(offset)? => {
                    return Ok(self.tear(self.window.offset().saturating_sub(offset)));
                }
                Front::Broken if self.stale_records_end_the_file()? => {
                    let rest = self.window.bytes().len();
                    self.window.consume(rest);
                    return Ok(self.tear(self.window.offset().saturating_sub(offset)));
                }
                Front::Broken => {
                    let next = self.window.offset();
                    if self.on_damage == OnDamage::Stop {
                        return Err(ReadError::Damaged { offset, next });
                    }
                    self.gap.get_or_insert(offset);
                    continue;
                }
            };
            let resumes = [Kind::Keyframe, Kind::Index, Kind::End].map(|kind| kind as u8);
            if self.gap.is_none() || resumes.contains(&header.kind) {
                return Ok(Some(header));
            }
            self.window.consume(block_bytes(&header));
        }
    }

    /// Whether all that is left is a block of tick records. The open frame, its hashes and its records, is written
    /// over and over at one place until it closes, see [`FileWriter::checkpoint`](crate::FileWriter::checkpoint). A
    /// process that is killed within that write leaves new hashes that break off and the records of before: a torn
    /// tail, and no damage.
    fn stale_records_end_the_file(&mut self) -> Result<bool, ReadError> {
        let Front::Whole(header) = self.front()? else { return Ok(false) };
        Ok(header.kind == Kind::TickRecords as u8 && !fill(&mut self.window, block_bytes(&header) + 1)?)
    }

    /// Ends the reading without an end of the recording; a gap that reaches to here belongs to the tail.
    fn tear<T>(&mut self, cut_bytes: u64) -> Option<T> {
        let end = self.window.offset();
        let cut_bytes = self.gap.take().map_or(cut_bytes, |gap| end.saturating_sub(gap));
        self.state = State::Torn { cut_bytes };
        None
    }

    fn front(&mut self) -> Result<Front, ReadError> {
        let offset = self.window.offset();
        if !fill(&mut self.window, BLOCK_HEADER_BYTES)? {
            return Ok(if self.window.bytes().is_empty() { Front::Nothing } else { Front::Broken });
        }
        let Some(bytes) = self.window.bytes().first_chunk() else { return Ok(Front::Broken) };
        let header = match BlockHeader::parse(bytes) {
            Ok(header) => header,
            Err(BlockHeaderError::Sync | BlockHeaderError::Checksum) => return Ok(Front::Broken),
            Err(error) => return Err(ReadError::Block { offset, error }),
        };
        if !fill(&mut self.window, block_bytes(&header))? {
            return Ok(Front::Broken);
        }
        let stored = self.window.bytes().get(BLOCK_HEADER_BYTES..block_bytes(&header)).unwrap_or_default();
        let holds = crc32fast::hash(stored) == header.payload_crc;
        Ok(if holds { Front::Whole(header) } else { Front::Broken })
    }

    /// Goes to the next whole block behind the broken one at the front; says whether there is one.
    fn search(&mut self, damaged: u64) -> Result<bool, ReadError> {
        loop {
            self.window.consume(1);
            let offset = self.window.offset();
            let left = SEARCH_BYTES_MAX.saturating_sub(self.searched_bytes);
            let sought = self.window.seek_sync(left);
            match sought.map_err(|error| ReadError::Io { kind: error.kind(), offset })? {
                Sought::Found => {}
                Sought::End => return Ok(false),
                Sought::TooFar => return Err(ReadError::SearchLimit { offset: damaged }),
            }
            self.searched_bytes =
                self.searched_bytes.saturating_add(self.window.offset().saturating_sub(offset));
            match self.front() {
                Ok(Front::Whole(_)) => return Ok(true),
                Ok(Front::Nothing | Front::Broken) | Err(ReadError::Block { .. }) => {}
                Err(error) => return Err(error),
            }
            // What a candidate claims was read and checked at most once: that is the work to bound.
            let claimed = self.window.bytes().first_chunk().map(BlockHeader::parse);
            if let Some(Ok(header)) = claimed {
                self.searched_bytes = self.searched_bytes.saturating_add(header.block_bytes());
            }
            if self.searched_bytes > SEARCH_BYTES_MAX {
                return Err(ReadError::SearchLimit { offset: damaged });
            }
        }
    }
}

fn fill<R: Read>(window: &mut Window<R>, wanted: usize) -> Result<bool, ReadError> {
    window.fill(wanted).map_err(|error| ReadError::Io { kind: error.kind(), offset: window.offset() })
}

/// Bytes of a block whose header held its caps: they fit into memory.
const fn block_bytes(header: &BlockHeader) -> usize {
    BLOCK_HEADER_BYTES + header.stored_bytes as usize
}

/// Checks version and order of a block; nothing for a kind of a later build.
fn admit(sequence: &mut Sequence, header: &BlockHeader, offset: u64) -> Result<Option<Kind>, ReadError> {
    let Some(kind) = Kind::from_number(header.kind) else { return Ok(None) };
    if header.version != kind.version() {
        return Err(ReadError::Version { offset, kind, found: header.version });
    }
    sequence.accept(kind, header).map_err(|error| ReadError::Order { offset, error })?;
    Ok(Some(kind))
}

fn read_content<'a>(
    kind: Option<Kind>,
    header: &BlockHeader,
    offset: u64,
    stored: &'a [u8],
    raw: &'a mut Vec<u8>,
    ledger: &Ledger,
) -> Result<Content<'a>, ReadError> {
    let Some(kind) = kind else { return Ok(Content::Unknown) };
    let payload = unpack(header, stored, raw).map_err(|error| ReadError::Unpack { offset, error })?;
    let (tick, count) = (header.first_tick, header.tick_count);
    let single = count == 0;
    let content = match kind {
        Kind::TickRecords => TickRecords::parse(tick, count, payload).map(Content::TickRecords),
        Kind::StateHashes => StateHashes::parse(tick, count, payload).map(Content::StateHashes),
        Kind::Events => Events::parse(tick, count, payload).map(Content::Events),
        Kind::Keyframe if single => Some(Content::Keyframe(payload)),
        Kind::Snapshot if single => Some(Content::Snapshot(payload)),
        Kind::Report if single => Report::parse(payload).map(Content::Report),
        Kind::Index if single => parse_index(payload, ledger.blocks_offset, offset).map(Content::Index),
        Kind::End if single => End::parse(tick, payload).map(Content::End),
        Kind::Keyframe | Kind::Snapshot | Kind::Report | Kind::Index | Kind::End => None,
    };
    content.ok_or(ReadError::Malformed { offset, kind })
}
