//! What a recording holds, without simulating it.

use std::io::Read;

use crate::ending::Ended;
use crate::format::Kind;
use crate::header::Header;
use crate::reader::{Content, Item, OnDamage, ReadError, Reader};
use crate::report::Report;

/// What can be done with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playable {
    /// This game can simulate it.
    Simulate,
    /// It is of another game or version, but holds pictures, as snapshot blocks, that any build can show.
    Snapshots,
    /// It is of another game or version and can only be listed.
    List,
}

/// What a recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its head.
    pub header: Header,
    /// Ticks whose records it holds, those of a taken-over epoch counted twice.
    pub ticks: u64,
    /// First and last of them.
    pub tick_range: Option<(u32, u32)>,
    /// Ticks with a state hash.
    pub hashes: u64,
    /// Blocks of each kind of [`Kind::ALL`], in that order.
    pub blocks: [u64; Kind::ALL.len()],
    /// Bytes in the file of each kind of [`Kind::ALL`], block headers included.
    pub block_bytes: [u64; Kind::ALL.len()],
    /// Blocks of kinds this build does not know.
    pub unknown_blocks: u64,
    /// Lowest and highest epoch.
    pub epochs: Option<(u32, u32)>,
    /// The ticks of the keyframes.
    pub keyframes: Vec<u32>,
    /// Hash of the last state, as the end says.
    pub final_hash: Option<u64>,
    /// How it ended, if it has an end.
    pub ended: Option<Ended>,
    /// The outcome in the engine's encoding; empty if there is none.
    pub outcome: Vec<u8>,
    /// Whether it has an end and nothing is missing.
    pub complete: bool,
    /// Bytes of a torn tail.
    pub cut_bytes: u64,
    /// Where damage was skipped: offset of the damage, offset where reading went on.
    pub gaps: Vec<(u64, u64)>,
    /// Why it could not be read to its end.
    pub error: Option<ReadError>,
    /// What a build found that verified it, if this is a report.
    pub report: Option<Report>,
    /// Bytes read.
    pub bytes: u64,
    /// blake3 of these bytes: the recording's hash if it is complete.
    pub recording_hash: [u8; 32],
}

impl Summary {
    /// Reads a recording from its first byte to its end, skipping damage; lists what it found.
    ///
    /// # Errors
    /// Only if there is no readable head: whatever comes later stands in the summary.
    pub fn read(source: impl Read) -> Result<Self, ReadError> {
        let mut reader = Reader::open(source, OnDamage::NextKeyframe)?;
        let mut summary = Self::empty(reader.header().clone());
        loop {
            match reader.next_item() {
                Ok(Some(Item::Gap { offset, next })) => summary.gaps.push((offset, next)),
                Ok(Some(Item::Block(block))) => summary.enter(&block),
                Ok(None) => break,
                Err(error) => {
                    summary.error = Some(error);
                    break;
                }
            }
        }
        summary.complete = reader.is_complete() && summary.gaps.is_empty();
        summary.cut_bytes = reader.cut_bytes();
        summary.bytes = reader.offset();
        summary.recording_hash = reader.recording_hash();
        Ok(summary)
    }

    /// What a game with this protocol hash can do with the recording.
    #[must_use]
    pub fn playable(&self, protocol_hash: [u8; 16]) -> Playable {
        let snapshots =
            Kind::ALL.iter().zip(self.blocks).any(|(kind, blocks)| *kind == Kind::Snapshot && blocks > 0);
        if self.header.protocol_hash == protocol_hash {
            Playable::Simulate
        } else if snapshots {
            Playable::Snapshots
        } else {
            Playable::List
        }
    }

    /// Length of play in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.ticks as f64 / f64::from(self.header.rate_hz)
    }

    const fn empty(header: Header) -> Self {
        Self {
            header,
            ticks: 0,
            tick_range: None,
            hashes: 0,
            blocks: [0; Kind::ALL.len()],
            block_bytes: [0; Kind::ALL.len()],
            unknown_blocks: 0,
            epochs: None,
            keyframes: Vec::new(),
            final_hash: None,
            ended: None,
            outcome: Vec::new(),
            complete: false,
            cut_bytes: 0,
            gaps: Vec::new(),
            error: None,
            report: None,
            bytes: 0,
            recording_hash: [0; 32],
        }
    }

    fn enter(&mut self, block: &crate::Block<'_>) {
        let header = &block.header;
        let place = Kind::ALL.iter().position(|kind| *kind as u8 == header.kind);
        match place.and_then(|place| Some((self.blocks.get_mut(place)?, self.block_bytes.get_mut(place)?))) {
            Some((blocks, bytes)) => {
                *blocks += 1;
                *bytes += header.block_bytes();
            }
            None => {
                self.unknown_blocks += 1;
                return;
            }
        }
        let (lowest, _) = self.epochs.unwrap_or((header.epoch, header.epoch));
        self.epochs = Some((lowest, header.epoch));
        match &block.content {
            Content::TickRecords(records) => {
                let last = records.first_tick().saturating_add(records.count() - 1);
                let (first, newest) = self.tick_range.unwrap_or((records.first_tick(), last));
                self.tick_range = Some((first.min(records.first_tick()), newest.max(last)));
                self.ticks += u64::from(records.count());
            }
            Content::StateHashes(hashes) => self.hashes += hashes.iter().count() as u64,
            Content::Keyframe(_) => self.keyframes.push(header.first_tick),
            Content::Report(report) => self.report = Some(report.clone()),
            Content::End(end) => {
                self.final_hash = Some(end.final_hash);
                self.ended = Some(end.ended);
                self.outcome = end.outcome.to_vec();
            }
            _ => {}
        }
    }
}
