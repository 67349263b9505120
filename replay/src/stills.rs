//! The pictures in a recording: what a build sees of a battle that it cannot compute.

use std::io::{Read, Seek};

use tiltyard_engine::screen::Canvas;

use crate::ending::INDEX_ENTRIES_MAX;
use crate::format::Kind;
use crate::header::Header;
use crate::picture::parse_picture;
use crate::reader::{Content, Item, OnDamage, ReadError};
use crate::recording::Recording;

/// A recording, to be looked at by the pictures that were recorded with it.
#[derive(Debug)]
pub struct Stills<S> {
    recording: Recording<S>,
    /// Tick and place of each picture, ticks rising.
    places: Vec<(u32, u64)>,
}

impl<S: Read + Seek> Stills<S> {
    /// Looks for all pictures of a recording, the first [`INDEX_ENTRIES_MAX`] of them, and passes over damage. Costs a
    /// walk through the file.
    ///
    /// # Errors
    /// If the source fails or has no readable head.
    pub fn open(source: S) -> Result<Self, ReadError> {
        let mut stills = Self { recording: Recording::open(source)?, places: Vec::new() };
        stills.look()?;
        Ok(stills)
    }

    /// Takes in what was appended to the source since it was opened.
    ///
    /// # Errors
    /// As [`Stills::open`].
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        self.recording.refresh()?;
        self.look()
    }

    fn look(&mut self) -> Result<(), ReadError> {
        self.places.clear();
        let mut reader = self.recording.read(OnDamage::NextKeyframe)?;
        loop {
            match reader.next_item() {
                Ok(Some(Item::Block(block))) if matches!(block.content, Content::Snapshot(_)) => {
                    let tick = block.header.first_tick;
                    // A higher epoch played these ticks again.
                    while self.places.last().is_some_and(|(last, _)| *last >= tick) {
                        self.places.pop();
                    }
                    if self.places.len() < INDEX_ENTRIES_MAX {
                        self.places.push((tick, block.offset));
                    }
                }
                Ok(Some(_)) => {}
                Err(error @ ReadError::Io { .. }) => return Err(error),
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    /// The newest picture at or before `tick`, or the first one, with its tick; nothing if there is none.
    ///
    /// # Errors
    /// If it cannot be read or is no picture.
    pub fn picture(&mut self, tick: u32) -> Result<Option<(u32, Canvas)>, ReadError> {
        let at = self.places.partition_point(|(of, _)| *of <= tick).saturating_sub(1);
        let Some((of, offset)) = self.places.get(at).copied() else { return Ok(None) };
        let payload = self.recording.payload_at(offset, Kind::Snapshot)?;
        let canvas = payload.and_then(|payload| parse_picture(&payload));
        let canvas = canvas.ok_or(ReadError::Malformed { offset, kind: Kind::Snapshot })?;
        Ok(Some((of, canvas)))
    }

    /// The ticks that have a picture, rising.
    pub fn ticks(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.places.iter().map(|(tick, _)| *tick)
    }

    /// The head of the recording.
    #[must_use]
    pub const fn header(&self) -> &Header {
        self.recording.header()
    }

    /// The last tick of the recording.
    #[must_use]
    pub const fn last_tick(&self) -> u32 {
        self.recording.last_tick()
    }

    /// Whether the recording has an end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.recording.is_complete()
    }
}
