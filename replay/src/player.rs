//! Plays a recording: forwards tick by tick, and to any tick by way of its keyframes.

use std::collections::VecDeque;
use std::io::{BufReader, Read, Seek};

use tiltyard_engine::{Battle, Game, StateHash, TickRecord};

use crate::ending::{Ending, IndexEntry};
use crate::header::Header;
use crate::reader::{Content, Item, Reader};
use crate::recording::{Catalogue, Recording};
use crate::replica::{Replica, SimulateError};
use crate::verify::PlayError;

/// A recording and the battle it is replayed in.
///
/// A step backwards is a seek: the nearest keyframe at or before the tick, and the records from there.
#[derive(Debug)]
pub struct Player<G: Game, S> {
    catalogue: Catalogue,
    /// Taken out only while it is exchanged; nothing after the source failed.
    reader: Option<Reader<BufReader<S>>>,
    replica: Replica<G>,
    placed: bool,
    /// Records of the block that was read last, still to be played.
    records: VecDeque<(u32, Vec<u8>)>,
    hashes: VecDeque<(u32, u64)>,
    parts: VecDeque<(u32, Vec<u64>)>,
    recorded_hash: Option<u64>,
    recorded_parts: Option<Vec<u64>>,
}

impl<G: Game, S: Read + Seek> Player<G, S> {
    /// Opens a recording at its beginning: tick 0, or a later part's first keyframe.
    ///
    /// # Errors
    /// If the file cannot be read, is of another game, or does not start.
    pub fn open(source: S) -> Result<Self, PlayError> {
        let (catalogue, reader) = Recording::open(source)?.into_reader()?;
        let mut player = Self {
            replica: Replica::start(&catalogue.header)?,
            placed: catalogue.header.part == 0,
            catalogue,
            reader: Some(reader),
            records: VecDeque::new(),
            hashes: VecDeque::new(),
            parts: VecDeque::new(),
            recorded_hash: None,
            recorded_parts: None,
        };
        if !player.placed {
            let first = player.first_keyframe()?;
            player.jump(first)?;
        }
        Ok(player)
    }

    /// Plays the next tick; nothing at the end of the recording, or at its torn tail.
    ///
    /// Where a higher epoch took over at an earlier tick, the step leads there: to the tick after its keyframe.
    ///
    /// # Errors
    /// If the file is damaged here, or what it says cannot be simulated. The player stays at the last good tick
    /// and can seek elsewhere.
    pub fn step(&mut self) -> Result<Option<StateHash>, PlayError> {
        while self.records.is_empty() {
            if !self.read_on()? {
                return Ok(None);
            }
        }
        let Some((tick, record)) = self.records.pop_front() else { return Ok(None) };
        if !self.placed {
            return Err(SimulateError::NoState { tick }.into());
        }
        // After a refused record only a keyframe leads on.
        self.placed = false;
        let hash = self.replica.advance(tick, &record)?;
        self.placed = true;
        while self.hashes.front().is_some_and(|(of, _)| *of < tick) {
            self.hashes.pop_front();
        }
        self.recorded_hash = self.hashes.pop_front_if(|(of, _)| *of == tick).map(|(_, hash)| hash);
        while self.parts.front().is_some_and(|(of, _)| *of < tick) {
            self.parts.pop_front();
        }
        self.recorded_parts = self.parts.pop_front_if(|(of, _)| *of == tick).map(|(_, parts)| parts);
        Ok(Some(hash))
    }

    /// Goes to a tick, or to the last one if it lies behind it; returns the tick reached.
    ///
    /// # Errors
    /// As [`Player::step`], and if the tick lies before a later part's first keyframe.
    pub fn seek(&mut self, tick: u32) -> Result<u32, PlayError> {
        let target = tick.min(self.catalogue.last_tick);
        let keyframe = self.catalogue.keyframe_before(target);
        let here = self.reader.as_ref().filter(|reader| !reader.has_failed()).map(Reader::offset);
        let behind = keyframe.is_some_and(|keyframe| here.is_none_or(|here| keyframe.offset > here));
        let runs_on = self.placed && here.is_some() && self.replica.tick() <= target && !behind;
        if !runs_on {
            match keyframe {
                Some(keyframe) => self.jump(keyframe)?,
                None if self.catalogue.header.part == 0 => self.restart()?,
                None => return Err(PlayError::TooEarly { first: self.first_keyframe()?.tick }),
            }
        }
        while self.tick() < target {
            if self.step()?.is_none() {
                break;
            }
        }
        Ok(self.tick())
    }

    /// Takes up the recorded state of a tick, if it has a keyframe; says whether it has. A seek comes to the same
    /// state unless the recording and this build differ.
    ///
    /// # Errors
    /// As [`Player::step`].
    pub fn take_keyframe(&mut self, tick: u32) -> Result<bool, PlayError> {
        match self.catalogue.keyframe_before(tick).filter(|keyframe| keyframe.tick == tick) {
            Some(keyframe) => self.jump(keyframe).map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes in what was appended to the source since it was opened, for a recording that is still being written.
    /// The player stays at its tick. It reads on from the newest keyframe it knows, and plays from the one before its
    /// tick.
    ///
    /// # Errors
    /// As [`Player::seek`].
    pub fn refresh(&mut self) -> Result<(), PlayError> {
        let Some(reader) = self.reader.take() else { return Ok(()) };
        let recording = Recording::reopen(reader.into_source().into_inner(), self.catalogue.clone())?;
        let (catalogue, reader) = recording.into_reader()?;
        self.catalogue = catalogue;
        self.forget();
        self.reader = Some(reader);
        self.seek(self.tick()).map(drop)
    }

    /// The battle at the tick that was played last.
    #[must_use]
    pub const fn battle(&self) -> &Battle<G> {
        self.replica.battle()
    }

    /// The record that led to it. Right after a jump to a keyframe it holds the inputs alone.
    #[must_use]
    pub const fn record(&self) -> &TickRecord<G::Input> {
        self.replica.record()
    }

    /// The tick that was played last.
    #[must_use]
    pub fn tick(&self) -> u32 {
        self.replica.tick()
    }

    /// The last tick of the recording.
    #[must_use]
    pub const fn last_tick(&self) -> u32 {
        self.catalogue.last_tick
    }

    /// Whether the recording has an end, or all that is known of it is a beginning.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.catalogue.ending.is_some()
    }

    /// The state hash that is recorded for the tick, if one is and it was reached by a step.
    #[must_use]
    pub const fn recorded_hash(&self) -> Option<StateHash> {
        match self.recorded_hash {
            Some(hash) => Some(StateHash(hash)),
            None => None,
        }
    }

    /// The recorded parts of that hash, as the engine lists them, if the tick has them.
    #[must_use]
    pub fn recorded_parts(&self) -> Option<&[u64]> {
        self.recorded_parts.as_deref()
    }

    /// What the end of the recording says; nothing if it has none.
    #[must_use]
    pub const fn ending(&self) -> Option<&Ending> {
        self.catalogue.ending.as_ref()
    }

    /// The head of the recording.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.catalogue.header
    }

    /// Where the keyframes stand.
    #[must_use]
    pub fn keyframes(&self) -> &[IndexEntry] {
        &self.catalogue.keyframes
    }

    fn first_keyframe(&self) -> Result<IndexEntry, PlayError> {
        self.catalogue.keyframes.first().copied().ok_or(SimulateError::NoState { tick: 0 }.into())
    }

    /// Reads the next block; says whether there was one.
    fn read_on(&mut self) -> Result<bool, PlayError> {
        let Some(reader) = self.reader.as_mut() else { return Ok(false) };
        let Some(Item::Block(block)) = reader.next_item()? else { return Ok(false) };
        match &block.content {
            Content::StateHashes(hashes) => {
                self.hashes.clear();
                self.hashes.extend(hashes.iter());
                self.parts.clear();
                self.parts.extend(hashes.marks());
            }
            Content::TickRecords(records) => {
                self.records.extend(records.iter().map(|(tick, bytes)| (tick, bytes.to_vec())));
            }
            Content::Keyframe(keyframe) => {
                let tick = block.header.first_tick;
                if !self.placed || self.replica.tick() != tick {
                    self.replica.restore(tick, keyframe)?;
                    self.placed = true;
                    self.recorded_hash = None;
                    self.recorded_parts = None;
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Takes up the state of a keyframe.
    fn jump(&mut self, keyframe: IndexEntry) -> Result<(), PlayError> {
        self.exchange(|reader, catalogue| reader.into_resumed(catalogue, keyframe))?;
        if self.replica.has_panicked() {
            self.replica = Replica::start(&self.catalogue.header)?;
        }
        self.read_on()?;
        if self.placed && self.replica.tick() == keyframe.tick {
            Ok(())
        } else {
            Err(SimulateError::NoState { tick: keyframe.tick }.into())
        }
    }

    /// Takes up the state before the first tick.
    fn restart(&mut self) -> Result<(), PlayError> {
        self.exchange(|reader, _| reader.into_restarted())?;
        self.replica = Replica::start(&self.catalogue.header)?;
        self.placed = true;
        Ok(())
    }

    /// Lets go of what was read and not played.
    fn forget(&mut self) {
        self.records.clear();
        self.hashes.clear();
        self.parts.clear();
        self.recorded_hash = None;
        self.recorded_parts = None;
        self.placed = false;
    }

    fn exchange(
        &mut self,
        replace: impl FnOnce(
            Reader<BufReader<S>>,
            &Catalogue,
        ) -> Result<Reader<BufReader<S>>, crate::reader::ReadError>,
    ) -> Result<(), PlayError> {
        self.forget();
        if let Some(reader) = self.reader.take() {
            self.reader = Some(replace(reader, &self.catalogue)?);
        }
        Ok(())
    }
}
