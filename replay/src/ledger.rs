//! What a reader remembers of a file to hold its index and its end against.

use crate::ending::{INDEX_ENTRIES_MAX, IndexEntry};
use crate::format::BlockHeader;
use crate::reader::{Content, ReadError};

/// What a reader remembers to compare index and end with.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Where the file's blocks begin.
    pub(crate) blocks_offset: u64,
    /// From the file's first byte and without a gap.
    unbroken: bool,
    keyframes: Vec<IndexEntry>,
    index_offset: Option<u64>,
}

impl Ledger {
    pub(crate) const fn new(blocks_offset: u64, unbroken: bool) -> Self {
        Self { blocks_offset, unbroken, keyframes: Vec::new(), index_offset: None }
    }

    /// After a gap nothing can be compared any more.
    pub(crate) fn lose_track(&mut self) {
        self.unbroken = false;
        self.keyframes.clear();
    }

    /// Takes the next block; index and end are compared with what came before them.
    pub(crate) fn enter(
        &mut self,
        content: &Content<'_>,
        header: &BlockHeader,
        offset: u64,
        body_hash: impl FnOnce() -> [u8; 32],
    ) -> Result<(), ReadError> {
        let agree =
            |held: bool, what| if held { Ok(()) } else { Err(ReadError::Contradiction { offset, what }) };
        match content {
            Content::Keyframe(_) if self.keyframes.len() < INDEX_ENTRIES_MAX => {
                self.keyframes.push(IndexEntry { offset, tick: header.first_tick, kind: header.kind });
            }
            Content::Index(entries) => {
                self.index_offset = Some(offset);
                let listed = entries.iter().filter(|entry| entry.is_keyframe()).eq(self.keyframes.iter());
                agree(listed || !self.unbroken, "the index lists other keyframes")?;
            }
            Content::End(end) => {
                agree(end.end_offset == offset, "its own offset")?;
                if self.unbroken {
                    agree(self.index_offset == Some(end.index_offset), "offset of the index")?;
                    agree(end.body_hash == body_hash(), "hash of the file before it")?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
