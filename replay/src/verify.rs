//! Simulates a recording again and compares every hash.
//!
//! From the spec, or a later part's first keyframe, every tick record is stepped and the state's hash compared with
//! the recorded one; every keyframe is compared with the state. At the first difference the simulation goes on
//! just far enough to give it an address: to the next parts of a hash and the next keyframe.

use std::collections::VecDeque;
use std::io::Read;

use thiserror::Error;
use tiltyard_engine::{Game, Save};

use crate::divergence::{Finding, FirstDivergence, against_keyframe, different_parts};
use crate::ending::{End, Ended};
use crate::format::BLOCK_TICKS_MAX;
use crate::payload::{StateHashes, TickRecords};
use crate::reader::{Block, Content, Item, OnDamage, ReadError, Reader};
use crate::replica::{Replica, SimulateError};
use crate::report::Report;

/// Why a recording cannot be verified or played, or not any further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlayError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// What is in it cannot be simulated.
    #[error("{0}")]
    Simulate(#[from] SimulateError),
    /// The tick lies before the part's first keyframe.
    #[error("the recording begins at tick {first}")]
    TooEarly {
        /// The first tick it can show.
        first: u32,
    },
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The tick that was simulated last.
    pub tick: u32,
    /// Bytes of the file that were read.
    pub bytes: u64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Ticks that were simulated.
    pub ticks: u64,
    /// Ticks among them whose hash was compared.
    pub ticks_compared: u64,
    /// Keyframes that were compared with the simulated state.
    pub keyframes_compared: u64,
    /// Whether everything there is was compared and agrees, up to the end or the tear.
    pub verified: bool,
    /// Whether the recording has an end and nothing is missing.
    pub complete: bool,
    /// Bytes of a torn tail.
    pub cut_bytes: u64,
    /// Damage that was skipped: its offset, and where reading went on.
    pub gaps: Vec<(u64, u64)>,
    /// What was found before, if this is a report.
    pub report: Option<Report>,
    /// The first difference.
    pub first_divergence: Option<FirstDivergence>,
    /// Why the recording was not read or simulated to its end.
    pub stopped: Option<PlayError>,
    /// The last tick that was simulated.
    pub last_tick: u32,
    /// Hash of the last state that was simulated.
    pub final_hash: u64,
    /// How the battle ended, if the recording has an end.
    pub ended: Option<Ended>,
    /// blake3 of everything read: of the whole file if it is complete.
    pub recording_hash: [u8; 32],
    /// Ticks per second of play.
    pub rate_hz: u16,
}

impl Verdict {
    /// How many times faster than play the simulation was, having taken `seconds`.
    #[must_use]
    pub fn times_realtime(&self, seconds: f64) -> f64 {
        self.ticks as f64 / f64::from(self.rate_hz) / seconds.max(f64::MIN_POSITIVE)
    }
}

/// Verifies a recording. Time is the simulation's; memory is one block's and one battle's.
///
/// # Errors
/// If the recording has no readable head, is of another game, or does not start. What comes later stands in the
/// verdict: damage, divergence, a refused record, a panic of the game.
pub fn verify<G: Game>(
    source: impl Read,
    on_damage: OnDamage,
    mut progress: impl FnMut(Progress),
) -> Result<Verdict, PlayError> {
    let mut reader = Reader::open(source, on_damage)?;
    let mut check = Check::<G>::new(Replica::start(reader.header())?, reader.header().part);
    let (mut stopped, mut report) = (None, None);
    loop {
        let item = match reader.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(error) => {
                stopped.get_or_insert(PlayError::Read(error));
                break;
            }
        };
        match &item {
            Item::Block(Block { content: Content::End(end), .. }) => check.ended = Some(end.ended),
            Item::Block(Block { content: Content::Report(told), .. }) => report = Some(told.clone()),
            _ => {}
        }
        // After a refusal or a settled difference the rest is read for its checksums only.
        if stopped.is_none() && !check.settled {
            stopped = check.take(&item).err().map(PlayError::Simulate);
        }
        progress(Progress { tick: check.replica.tick(), bytes: reader.offset() });
    }
    let complete = reader.is_complete() && check.gaps.is_empty();
    // The tick that a game never finished has no hash that another build could be held against.
    let unfinished = |report: &Report| report.recorded_hash.is_none() && report.tick == check.last.0;
    let ticks_due = check.ticks.saturating_sub(u64::from(report.as_ref().is_some_and(unfinished)));
    let agrees = check.first_divergence.is_none() && stopped.is_none() && check.gaps.is_empty();
    Ok(Verdict {
        ticks: check.ticks,
        ticks_compared: check.ticks_compared,
        keyframes_compared: check.keyframes_compared,
        verified: agrees && ticks_due == check.ticks_compared,
        complete,
        cut_bytes: reader.cut_bytes(),
        gaps: check.gaps,
        report,
        first_divergence: check.first_divergence,
        stopped,
        last_tick: check.last.0,
        final_hash: check.last.1,
        ended: check.ended,
        recording_hash: reader.recording_hash(),
        rate_hz: reader.header().rate_hz,
    })
}

/// A verification under way.
struct Check<G: Game> {
    replica: Replica<G>,
    /// There is a state that the next record follows on.
    placed: bool,
    /// Hashes that were read and whose ticks are still to come.
    recorded: VecDeque<(u32, u64)>,
    recorded_parts: VecDeque<(u32, Vec<u64>)>,
    /// Simulated hashes of the last ticks, for takeovers.
    simulated: VecDeque<(u32, u64)>,
    /// Last simulated tick and its hash.
    last: (u32, u64),
    first_divergence: Option<FirstDivergence>,
    /// Nothing more can be learned about the first difference.
    settled: bool,
    ticks: u64,
    ticks_compared: u64,
    keyframes_compared: u64,
    gaps: Vec<(u64, u64)>,
    ended: Option<Ended>,
    save: Save,
}

impl<G: Game> Check<G> {
    fn new(replica: Replica<G>, part: u32) -> Self {
        let last = (0, replica.battle().state_hash().0);
        Self {
            replica,
            placed: part == 0,
            recorded: VecDeque::new(),
            recorded_parts: VecDeque::new(),
            simulated: VecDeque::new(),
            last,
            first_divergence: None,
            settled: false,
            ticks: 0,
            ticks_compared: 0,
            keyframes_compared: 0,
            gaps: Vec::new(),
            ended: None,
            save: Save::default(),
        }
    }

    fn take(&mut self, item: &Item<'_>) -> Result<(), SimulateError> {
        match item {
            Item::Gap { offset, next } => {
                self.gaps.push((*offset, *next));
                self.placed = false;
                self.simulated.clear();
                Ok(())
            }
            Item::Block(block) => match &block.content {
                Content::StateHashes(hashes) => {
                    self.hashes(hashes);
                    Ok(())
                }
                Content::TickRecords(records) => self.records(records),
                Content::Keyframe(keyframe) => self.keyframe(block.header.first_tick, keyframe),
                Content::End(end) => {
                    self.end(end);
                    Ok(())
                }
                Content::Events(_)
                | Content::Snapshot(_)
                | Content::Report(_)
                | Content::Index(_)
                | Content::Unknown => Ok(()),
            },
        }
    }

    fn hashes(&mut self, hashes: &StateHashes<'_>) {
        self.recorded.clear();
        self.recorded.extend(hashes.iter());
        self.recorded_parts.clear();
        self.recorded_parts.extend(hashes.marks());
    }

    fn records(&mut self, records: &TickRecords<'_>) -> Result<(), SimulateError> {
        for (tick, bytes) in records.iter() {
            if !self.placed {
                return Err(SimulateError::NoState { tick });
            }
            let hash = self.replica.advance(tick, bytes)?.0;
            self.ticks += 1;
            self.last = (tick, hash);
            if self.simulated.len() == BLOCK_TICKS_MAX as usize {
                self.simulated.pop_front();
            }
            self.simulated.push_back((tick, hash));
            self.compare(tick, hash);
            if self.settled {
                break;
            }
        }
        Ok(())
    }

    /// Compares a tick's hash, or follows up on a difference of an earlier one.
    fn compare(&mut self, tick: u32, simulated_hash: u64) {
        while self.recorded.front().is_some_and(|(recorded, _)| *recorded < tick) {
            self.recorded.pop_front();
        }
        while self.recorded_parts.front().is_some_and(|(recorded, _)| *recorded < tick) {
            self.recorded_parts.pop_front();
        }
        let recorded_hash =
            self.recorded.pop_front_if(|(recorded, _)| *recorded == tick).map(|(_, hash)| hash);
        let parts =
            self.recorded_parts.pop_front_if(|(recorded, _)| *recorded == tick).map(|(_, parts)| parts);
        self.ticks_compared += u64::from(recorded_hash.is_some());
        let differs = recorded_hash.is_some_and(|recorded| recorded != simulated_hash);
        let registry = self.replica.battle().world().registry();
        let parts =
            parts.map(|parts| different_parts(registry, &parts, self.replica.battle().hashes().parts()));
        match &mut self.first_divergence {
            None => {
                let parts = parts.unwrap_or_default();
                if !differs && parts.is_empty() {
                    return;
                }
                let parts_tick = (!parts.is_empty()).then_some(tick);
                let finding = Finding::HashOnly;
                self.first_divergence =
                    Some(FirstDivergence { tick, recorded_hash, simulated_hash, parts, parts_tick, finding });
            }
            Some(first) => {
                if let (None, Some(parts)) = (first.parts_tick, parts.filter(|parts| !parts.is_empty())) {
                    first.parts = parts;
                    first.parts_tick = Some(tick);
                }
                if recorded_hash.is_some() && !differs {
                    first.finding = Finding::HashAlone { agrees_at: tick };
                    self.settled = true;
                }
            }
        }
    }

    fn keyframe(&mut self, tick: u32, bytes: &[u8]) -> Result<(), SimulateError> {
        if !self.placed || self.replica.tick() != tick {
            return self.start_from(tick, bytes);
        }
        let (save, record) = self.replica.decode(tick, bytes)?;
        self.keyframes_compared += 1;
        let address = against_keyframe(&self.replica, &save, &record, &mut self.save);
        match (&mut self.first_divergence, address) {
            (None, None) => {}
            (None, Some(address)) => self.found(tick, Finding::Keyframe(address)),
            (Some(first), Some(address)) => {
                first.finding = Finding::State(address);
                self.settled = true;
            }
            (Some(first), None) => {
                first.finding = Finding::HashAlone { agrees_at: tick };
                self.settled = true;
            }
        }
        Ok(())
    }

    /// Goes on from a keyframe: a later part's first, the one behind a gap, or that of a higher epoch.
    fn start_from(&mut self, tick: u32, bytes: &[u8]) -> Result<(), SimulateError> {
        if self.first_divergence.is_some() {
            self.settled = true;
            return Ok(());
        }
        self.replica.restore(tick, bytes)?;
        let hash = self.replica.battle().state_hash().0;
        self.last = (tick, hash);
        self.placed = true;
        self.recorded.clear();
        self.recorded_parts.clear();
        let before = self.simulated.iter().find(|(before, _)| *before == tick).map(|(_, hash)| *hash);
        if let Some(recorded) = before.filter(|before| *before != hash) {
            self.found(tick, Finding::Takeover);
            if let Some(first) = &mut self.first_divergence {
                first.recorded_hash = Some(recorded);
            }
        }
        self.simulated.clear();
        Ok(())
    }

    fn end(&mut self, end: &End<'_>) {
        let (tick, hash) = self.last;
        if !self.placed || end.tick != tick || self.first_divergence.is_some() {
            return;
        }
        if end.final_hash != hash {
            self.found(tick, Finding::End);
            if let Some(first) = &mut self.first_divergence {
                first.recorded_hash = Some(end.final_hash);
            }
            return;
        }
        // Nobody hashes the outcome: it follows from the state, and so it has to be what the state says.
        let outcome = self.replica.battle().outcome();
        let told = match &outcome {
            Some(outcome) => end.ended == Ended::Finished && end.outcome == outcome.to_bytes(),
            None => end.outcome.is_empty(),
        };
        if !told {
            self.found(tick, Finding::Outcome);
        }
    }

    /// A difference that is not one of a tick's hash: nothing after it can say more.
    fn found(&mut self, tick: u32, finding: Finding) {
        let simulated_hash = self.replica.battle().state_hash().0;
        let (parts, parts_tick, recorded_hash) = (Vec::new(), None, None);
        self.first_divergence =
            Some(FirstDivergence { tick, recorded_hash, simulated_hash, parts, parts_tick, finding });
        self.settled = true;
    }
}
