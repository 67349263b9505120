//! A recording at random access: opened by its ends, read from any keyframe.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::ending::{End, Ending, IndexEntry, parse_index};
use crate::format::{BLOCK_HEADER_BYTES, BlockHeader, Kind, unpack};
use crate::header::Header;
use crate::reader::{Block, Content, Item, OnDamage, ReadError, Reader};

/// How reading at random access is buffered: a keyframe of a large battle and the second after it.
const BUFFER_BYTES: usize = 64 << 10;

/// A recording whose keyframes are known.
///
/// A whole file tells them by its index; a torn or damaged one is scanned once from front to end. Either way the
/// list is a hint: whoever jumps reads the block there with all its checks, and it has to be that keyframe.
#[derive(Debug)]
pub struct Recording<S> {
    source: S,
    catalogue: Catalogue,
}

/// What is known of a recording besides its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    pub(crate) header: Header,
    pub(crate) blocks_offset: u64,
    pub(crate) keyframes: Vec<IndexEntry>,
    pub(crate) last_tick: u32,
    pub(crate) ending: Option<Ending>,
}

impl Catalogue {
    /// The newest keyframe at or before `tick`.
    pub(crate) fn keyframe_before(&self, tick: u32) -> Option<IndexEntry> {
        // Ticks rise but where a higher epoch took over; what lies behind a takeover is what counts.
        self.keyframes.iter().rev().find(|entry| entry.tick <= tick).copied()
    }
}

impl<S: Read + Seek> Recording<S> {
    /// Opens a recording.
    ///
    /// # Errors
    /// If the source fails or has no readable head.
    pub fn open(mut source: S) -> Result<Self, ReadError> {
        rewind(&mut source, 0)?;
        let reader = Reader::open(BufReader::with_capacity(BUFFER_BYTES, &mut source), OnDamage::Stop)?;
        let (header, blocks_offset) = (reader.header().clone(), reader.offset());
        drop(reader);
        let catalogue =
            Catalogue { header, blocks_offset, keyframes: Vec::new(), last_tick: 0, ending: None };
        Self::reopen(source, catalogue)
    }

    /// The same recording with what was appended to the source since its catalogue was made.
    pub(crate) fn reopen(source: S, catalogue: Catalogue) -> Result<Self, ReadError> {
        let mut recording = Self { source, catalogue };
        recording.refresh()?;
        Ok(recording)
    }

    /// Takes in what was appended to the source.
    pub(crate) fn refresh(&mut self) -> Result<(), ReadError> {
        if self.is_complete() {
            return Ok(());
        }
        match self.read_index()? {
            Some((keyframes, ending)) => {
                self.catalogue.keyframes = keyframes;
                self.catalogue.last_tick = ending.tick;
                self.catalogue.ending = Some(ending);
                Ok(())
            }
            None => self.scan(),
        }
    }

    /// The head of the recording.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.catalogue.header
    }

    /// The last tick that can be reached.
    #[must_use]
    pub const fn last_tick(&self) -> u32 {
        self.catalogue.last_tick
    }

    /// Whether the recording has an end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.catalogue.ending.is_some()
    }

    /// What the end says; nothing if there is none.
    #[must_use]
    pub const fn ending(&self) -> Option<&Ending> {
        self.catalogue.ending.as_ref()
    }

    /// Where the keyframes stand, in the order of the file.
    #[must_use]
    pub fn keyframes(&self) -> &[IndexEntry] {
        &self.catalogue.keyframes
    }

    /// The newest keyframe at or before `tick`. Of a tick that a higher epoch played again, the later one.
    #[must_use]
    pub fn keyframe_before(&self, tick: u32) -> Option<IndexEntry> {
        self.catalogue.keyframe_before(tick)
    }

    /// Reads from a keyframe on, the keyframe first.
    ///
    /// # Errors
    /// If the source fails.
    pub fn read_from(&mut self, keyframe: IndexEntry) -> Result<Reader<BufReader<&mut S>>, ReadError> {
        rewind(&mut self.source, keyframe.offset)?;
        let source = BufReader::with_capacity(BUFFER_BYTES, &mut self.source);
        let Catalogue { header, blocks_offset, .. } = &self.catalogue;
        Ok(Reader::resume(source, header.clone(), *blocks_offset, keyframe.offset))
    }

    /// Reads from the first byte on.
    ///
    /// # Errors
    /// If the source fails.
    pub fn read(&mut self, on_damage: OnDamage) -> Result<Reader<BufReader<&mut S>>, ReadError> {
        rewind(&mut self.source, 0)?;
        Reader::open(BufReader::with_capacity(BUFFER_BYTES, &mut self.source), on_damage)
    }

    /// The recorded state hash of a tick; nothing if there is none.
    ///
    /// # Errors
    /// If the recording cannot be read so far.
    pub fn hash_of(&mut self, tick: u32) -> Result<Option<u64>, ReadError> {
        // Hashes stand before the records of their ticks, and so behind the keyframe before.
        let mut reader = match self.keyframe_before(tick.saturating_sub(1)) {
            Some(keyframe) => self.read_from(keyframe)?,
            None => self.read(OnDamage::Stop)?,
        };
        while let Some(item) = reader.next_item()? {
            if let Item::Block(Block { content: Content::StateHashes(hashes), .. }) = item
                && let Some((_, hash)) = hashes.iter().find(|(of, _)| *of == tick)
            {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// Gives the source to a reader that begins at the first byte.
    pub(crate) fn into_reader(self) -> Result<(Catalogue, Reader<BufReader<S>>), ReadError> {
        Ok((self.catalogue, restarted(self.source)?))
    }

    /// Keyframes and end as the file's end tells them; nothing if the file has no sound end.
    fn read_index(&mut self) -> Result<Option<(Vec<IndexEntry>, Ending)>, ReadError> {
        let file_bytes = self.source.seek(SeekFrom::End(0)).map_err(|error| failed(&error, 0))?;
        let Some(trailer_offset) =
            file_bytes.checked_sub(8).filter(|offset| *offset > self.catalogue.blocks_offset)
        else {
            return Ok(None);
        };
        rewind(&mut self.source, trailer_offset)?;
        let mut trailer = [0; 8];
        self.source.read_exact(&mut trailer).map_err(|error| failed(&error, trailer_offset))?;
        let end_offset = u64::from_le_bytes(trailer);
        let Some((header, payload)) = self.block_at(end_offset, Kind::End, file_bytes)? else {
            return Ok(None);
        };
        let Some(end) = End::parse(header.first_tick, &payload) else { return Ok(None) };
        let whole = end_offset.checked_add(header.block_bytes()) == Some(file_bytes);
        if !whole || end.end_offset != end_offset {
            return Ok(None);
        }
        let index = self.block_at(end.index_offset, Kind::Index, end_offset)?;
        let entries = index
            .and_then(|(_, payload)| parse_index(&payload, self.catalogue.blocks_offset, end.index_offset));
        Ok(entries.map(|mut entries| {
            entries.retain(IndexEntry::is_keyframe);
            (entries, Ending::from(&end))
        }))
    }

    /// The payload of a block that stands at a known place; nothing if none of the kind does.
    pub(crate) fn payload_at(&mut self, offset: u64, kind: Kind) -> Result<Option<Vec<u8>>, ReadError> {
        let file_bytes = self.source.seek(SeekFrom::End(0)).map_err(|error| failed(&error, offset))?;
        Ok(self.block_at(offset, kind, file_bytes)?.map(|(_, payload)| payload))
    }

    /// Header and payload of a whole block of a kind that ends at or before `until`.
    fn block_at(
        &mut self,
        offset: u64,
        kind: Kind,
        until: u64,
    ) -> Result<Option<(BlockHeader, Vec<u8>)>, ReadError> {
        let fits = |bytes: u64| offset.checked_add(bytes).is_some_and(|end| end <= until);
        if offset < self.catalogue.blocks_offset || !fits(BLOCK_HEADER_BYTES as u64) {
            return Ok(None);
        }
        rewind(&mut self.source, offset)?;
        let mut head = [0; BLOCK_HEADER_BYTES];
        self.source.read_exact(&mut head).map_err(|error| failed(&error, offset))?;
        let Ok(header) = BlockHeader::parse(&head) else { return Ok(None) };
        if header.kind != kind as u8 || header.version != kind.version() || !fits(header.block_bytes()) {
            return Ok(None);
        }
        // The file is at least this long, so that it is no claim any more.
        let mut stored = vec![0; header.stored_bytes as usize];
        self.source.read_exact(&mut stored).map_err(|error| failed(&error, offset))?;
        let mut raw = Vec::new();
        let holds = crc32fast::hash(&stored) == header.payload_crc;
        let payload = holds.then(|| unpack(&header, &stored, &mut raw).ok()).flatten();
        Ok(payload.map(|payload| (header, payload.to_vec())))
    }

    /// Finds the keyframes of a file without an end behind those that are known, up to its tear or its first damage.
    fn scan(&mut self) -> Result<(), ReadError> {
        let known = self.catalogue.keyframes.last().copied();
        rewind(&mut self.source, known.map_or(0, |keyframe| keyframe.offset))?;
        let source = BufReader::with_capacity(BUFFER_BYTES, &mut self.source);
        let mut reader = match known {
            Some(IndexEntry { offset, .. }) => {
                let Catalogue { header, blocks_offset, .. } = &self.catalogue;
                Reader::resume(source, header.clone(), *blocks_offset, offset)
            }
            None => Reader::open(source, OnDamage::Stop)?,
        };
        loop {
            match reader.next_item() {
                Ok(Some(Item::Block(block))) => {
                    let is_new = known.is_none_or(|known| block.offset > known.offset);
                    if let (Content::Keyframe(_), true) = (&block.content, is_new) {
                        let (offset, tick, kind) = (block.offset, block.header.first_tick, block.header.kind);
                        self.catalogue.keyframes.push(IndexEntry { offset, tick, kind });
                    }
                }
                Ok(Some(Item::Gap { .. })) => {}
                Err(error @ ReadError::Io { .. }) => return Err(error),
                Ok(None) | Err(_) => break,
            }
            self.catalogue.last_tick = reader.newest_tick().unwrap_or(self.catalogue.last_tick);
        }
        Ok(())
    }
}

impl<S: Read + Seek> Reader<BufReader<S>> {
    /// Reads on from a keyframe instead.
    pub(crate) fn into_resumed(self, catalogue: &Catalogue, keyframe: IndexEntry) -> Result<Self, ReadError> {
        let mut source = self.into_source().into_inner();
        rewind(&mut source, keyframe.offset)?;
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        Ok(Self::resume(source, catalogue.header.clone(), catalogue.blocks_offset, keyframe.offset))
    }

    /// Reads again from the first byte.
    pub(crate) fn into_restarted(self) -> Result<Self, ReadError> {
        restarted(self.into_source().into_inner())
    }
}

fn restarted<S: Read + Seek>(mut source: S) -> Result<Reader<BufReader<S>>, ReadError> {
    rewind(&mut source, 0)?;
    Reader::open(BufReader::with_capacity(BUFFER_BYTES, source), OnDamage::Stop)
}

fn rewind(source: &mut impl Seek, offset: u64) -> Result<(), ReadError> {
    source.seek(SeekFrom::Start(offset)).map(drop).map_err(|error| failed(&error, offset))
}

fn failed(error: &io::Error, offset: u64) -> ReadError {
    ReadError::Io { kind: error.kind(), offset }
}
