//! Compares two recordings tick by tick: what went in, what came out, and how it ended.
//!
//! Both are played in step. The first tick in which records or recorded hashes differ is the answer; what it differs
//! in is named from states that are known. A state is known where its keyframe is recorded, and where this build
//! comes to the recorded hash. Two recordings of one battle by two builds part in their hashes alone: then at most
//! one of them is this build's, and the next tick at which both states are known names the field.

use std::io::{Read, Seek};

use thiserror::Error;
use tiltyard_engine::{BattleSpec, Divergence, Game, Save, Tick};

use crate::divergence::{different_parts, first_in_record, first_input};
use crate::ending::Ending;
use crate::header::Header;
use crate::player::Player;
use crate::recording::Recording;
use crate::verify::PlayError;

/// Which of the two recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

/// Why two recordings cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}")]
pub struct DiffError {
    /// The one that cannot be read or played.
    pub side: Side,
    /// Why.
    pub error: PlayError,
}

/// One thing that two heads say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadDifference {
    /// What it is.
    pub what: String,
    /// What the left one says.
    pub left: String,
    /// What the right one says.
    pub right: String,
    /// Whether the battle follows from it: of another seed it is another battle, of another name it is not.
    pub decides: bool,
}

/// What differs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// What went in: an input, why it was this one, or a command.
    Record(Divergence),
    /// What came out of the same records.
    State,
    /// One battle ended here, or both did and otherwise: what it is, and what both say.
    End(&'static str, String, String),
}

/// The first difference of two recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first tick that differs.
    pub tick: u32,
    /// What differs in it.
    pub parting: Parting,
    /// The state hashes of both, where they are recorded.
    pub hashes: (Option<u64>, Option<u64>),
    /// The first field in which the states differ, at the first tick from `tick` on where both are known. Nothing if
    /// there is no such tick or the states are the same there.
    pub address: Option<Divergence>,
    /// The first tick from `tick` on at which the states are known to be the same, if that comes first.
    pub agrees_at: Option<u32>,
    /// The columns whose recorded hashes differ at the first tick from `tick` on for which both have them. Looked for
    /// where no state of `tick` itself is known.
    pub parts: Vec<String>,
    /// That tick.
    pub parts_tick: Option<u32>,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What the heads say differently.
    pub head: Vec<HeadDifference>,
    /// First and last of the ticks that were compared; the first one is that of a state alone.
    pub compared: Option<(u32, u32)>,
    /// The last tick of each.
    pub last_ticks: (u32, u32),
    /// The first difference.
    pub first: Option<Difference>,
    /// Which of them could not be played on, and why.
    pub stopped: Option<DiffError>,
}

impl Comparison {
    /// Whether both say the same of every tick that both have. One may be shorter.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let decides = self.head.iter().any(|difference| difference.decides);
        self.compared.is_some() && !decides && self.first.is_none() && self.stopped.is_none()
    }
}

/// Compares two recordings of this game. `progress` hears each tick.
///
/// # Errors
/// If one of them cannot be opened or does not start. What comes later stands in the comparison.
pub fn diff<G: Game>(
    mut left: impl Read + Seek,
    mut right: impl Read + Seek,
    mut progress: impl FnMut(u32),
) -> Result<Comparison, DiffError> {
    let at = |side| move |error| DiffError { side, error };
    let heads =
        (read_head(&mut left).map_err(at(Side::Left))?, read_head(&mut right).map_err(at(Side::Right))?);
    let head = compare_heads::<G>(&heads.0.0, &heads.1.0);
    let mut comparison =
        Comparison { head, compared: None, last_ticks: (heads.0.1, heads.1.1), first: None, stopped: None };
    // Other rows or other seats: there is nothing to lay side by side.
    if comparison
        .head
        .iter()
        .any(|difference| ["protocol hash", "number of seats"].contains(&&*difference.what))
    {
        return Ok(comparison);
    }
    let mut pair = Pair::<G, _, _> {
        left: Player::open(&mut left).map_err(at(Side::Left))?,
        right: Player::open(&mut right).map_err(at(Side::Right))?,
        saves: (Save::default(), Save::default()),
    };
    let start = pair.left.tick().max(pair.right.tick());
    if start > comparison.last_ticks.0.min(comparison.last_ticks.1) {
        return Ok(comparison);
    }
    pair.seek(start)?;
    comparison.compared = Some((start, start));
    if let Some(address) = pair.state_difference() {
        comparison.first = Some(pair.difference(Parting::State, Some(address)));
        return Ok(comparison);
    }
    // A takeover leads one of them back; each file has at most as many as keyframes.
    let mut realignments = pair.left.keyframes().len() + pair.right.keyframes().len();
    loop {
        match pair.step(&mut realignments) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                comparison.stopped = Some(error);
                return Ok(comparison);
            }
        }
        comparison.compared = Some((start, pair.left.tick()));
        progress(pair.left.tick());
        if let Some(parting) = pair.parting() {
            comparison.first = Some(pair.follow(parting));
            return Ok(comparison);
        }
    }
    comparison.first = pair.end_difference();
    Ok(comparison)
}

fn read_head(source: impl Read + Seek) -> Result<(Header, u32), PlayError> {
    let recording = Recording::open(source)?;
    Ok((recording.header().clone(), recording.last_tick()))
}

/// Two recordings that are played in step.
struct Pair<G: Game, L, R> {
    left: Player<G, L>,
    right: Player<G, R>,
    saves: (Save, Save),
}

impl<G: Game, L: Read + Seek, R: Read + Seek> Pair<G, L, R> {
    fn seek(&mut self, tick: u32) -> Result<(), DiffError> {
        self.left.seek(tick).map_err(|error| DiffError { side: Side::Left, error })?;
        self.right.seek(tick).map_err(|error| DiffError { side: Side::Right, error })?;
        Ok(())
    }

    /// Makes a tick in both; says whether both had one.
    fn step(&mut self, realignments: &mut usize) -> Result<bool, DiffError> {
        let left = self.left.step().map_err(|error| DiffError { side: Side::Left, error })?;
        let right = self.right.step().map_err(|error| DiffError { side: Side::Right, error })?;
        if left.is_none() || right.is_none() {
            return Ok(false);
        }
        while self.left.tick() != self.right.tick() {
            let Some(left) = realignments.checked_sub(1) else { return Ok(false) };
            *realignments = left;
            self.seek(self.left.tick().min(self.right.tick()))?;
        }
        Ok(true)
    }

    /// What differs in the tick that both made last.
    fn parting(&self) -> Option<Parting> {
        let (left, right) = (self.left.record(), self.right.record());
        // Right after a jump to a keyframe a record holds nothing but inputs.
        let whole = self.left.recorded_hash().is_some() && self.right.recorded_hash().is_some();
        let tick = Tick(self.left.tick());
        let different =
            if whole { first_in_record(tick, left, right) } else { first_input(tick, left, right) };
        if let Some(address) = different {
            return Some(Parting::Record(address));
        }
        let hashes = match (self.left.recorded_hash(), self.right.recorded_hash()) {
            (Some(left), Some(right)) => (left, right),
            _ => (self.left.battle().state_hash(), self.right.battle().state_hash()),
        };
        (hashes.0 != hashes.1).then_some(Parting::State)
    }

    /// Follows a difference to where both states are known.
    fn follow(&mut self, parting: Parting) -> Difference {
        let mut difference = self.difference(parting, None);
        let tick = difference.tick;
        let mut candidates = vec![tick];
        let keyframes = self.left.keyframes().iter().chain(self.right.keyframes());
        candidates.extend(keyframes.map(|entry| entry.tick).filter(|later| *later > tick));
        candidates.sort_unstable();
        candidates.dedup();
        for candidate in candidates {
            match (show_known(&mut self.left, candidate), show_known(&mut self.right, candidate)) {
                (Ok(true), Ok(true)) => {}
                (Ok(_), Ok(_)) => continue,
                _ => break,
            }
            match self.state_difference() {
                // The records of this very tick may differ in what changes no state yet.
                None if matches!(difference.parting, Parting::Record(_)) => continue,
                None => difference.agrees_at = Some(candidate),
                address => difference.address = address,
            }
            break;
        }
        if difference.address.as_ref().is_none_or(|address| address.tick.0 != tick) {
            self.follow_parts(&mut difference);
        }
        difference
    }

    /// Looks for a tick of which both have recorded the parts of its hash.
    fn follow_parts(&mut self, difference: &mut Difference) {
        if self.seek(difference.tick.saturating_sub(1)).is_err() {
            return;
        }
        while let (Ok(Some(_)), Ok(Some(_))) = (self.left.step(), self.right.step()) {
            if self.left.tick() != self.right.tick() {
                return;
            }
            if let (Some(left), Some(right)) = (self.left.recorded_parts(), self.right.recorded_parts()) {
                difference.parts = different_parts(self.left.battle().world().registry(), left, right);
                difference.parts_tick = Some(self.left.tick());
                return;
            }
        }
    }

    fn state_difference(&mut self) -> Option<Divergence> {
        self.left.battle().save(&mut self.saves.0);
        self.right.battle().save(&mut self.saves.1);
        self.saves.0.first_divergence(&self.saves.1, self.left.battle().world().registry())
    }

    fn difference(&self, parting: Parting, address: Option<Divergence>) -> Difference {
        let hashes = (self.left.recorded_hash(), self.right.recorded_hash());
        Difference {
            tick: self.left.tick(),
            parting,
            hashes: (hashes.0.map(|hash| hash.0), hashes.1.map(|hash| hash.0)),
            address,
            agrees_at: None,
            parts: Vec::new(),
            parts_tick: None,
        }
    }

    /// What the ends say differently. A recording that is only shorter is none; one whose battle was decided is.
    fn end_difference(&self) -> Option<Difference> {
        let (left, right) = (self.left.ending()?, self.right.ending()?);
        let parting = |what, show: fn(&Ending) -> String| Parting::End(what, show(left), show(right));
        let tick = left.tick.min(right.tick);
        let shorter = if left.tick < right.tick { left } else { right };
        let parting = if left.tick != right.tick {
            let decided = shorter.ended == crate::Ended::Finished && !shorter.outcome.is_empty();
            decided.then(|| parting("last tick", |ending| ending.tick.to_string()))?
        } else if left.final_hash != right.final_hash {
            parting("last hash", |ending| format!("{:016x}", ending.final_hash))
        } else if left.ended != right.ended {
            parting("ending", |ending| ending.ended.name().to_owned())
        } else if left.outcome != right.outcome {
            parting("outcome", |ending| format!("{:?}", tiltyard_engine::Outcome::parse(&ending.outcome)))
        } else {
            return None;
        };
        Some(Difference { tick, ..self.difference(parting, None) })
    }
}

/// Goes to a tick; says whether the state there is the recorded one: a keyframe's, or one of the recorded hash.
fn show_known<G: Game, S: Read + Seek>(player: &mut Player<G, S>, tick: u32) -> Result<bool, PlayError> {
    if player.take_keyframe(tick)? {
        return Ok(true);
    }
    let reached = player.seek(tick)?;
    Ok(reached == tick && player.recorded_hash() == Some(player.battle().state_hash()))
}

/// What two heads say differently.
fn compare_heads<G: Game>(left: &Header, right: &Header) -> Vec<HeadDifference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, left: String, right: String, decides| {
        if left != right {
            found.push(HeadDifference { what: what.to_owned(), left, right, decides });
        }
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    compare("protocol hash", hex(&left.protocol_hash), hex(&right.protocol_hash), true);
    compare("game", left.game.clone(), right.game.clone(), false);
    compare("mode", left.mode.clone(), right.mode.clone(), false);
    compare("battle", format!("{:016x}", left.battle), format!("{:016x}", right.battle), false);
    compare("part", left.part.to_string(), right.part.to_string(), false);
    compare("build", left.build.clone(), right.build.clone(), false);
    compare("start", left.start_unix_ms.to_string(), right.start_unix_ms.to_string(), false);
    compare("players", left.seat_names.join(", "), right.seat_names.join(", "), false);
    compare("seed", format!("{:016x}", left.seed), format!("{:016x}", right.seed), true);
    compare("tick rate", left.rate_hz.to_string(), right.rate_hz.to_string(), true);
    match (BattleSpec::<G>::decode(&left.spec), BattleSpec::<G>::decode(&right.spec)) {
        (Ok(left), Ok(right)) => {
            let ticks_max = [&left, &right].map(|spec| spec.terms.ticks_max.to_string());
            let [left_max, right_max] = ticks_max;
            compare("ticks at most", left_max, right_max, true);
            let fields = crate::fields::of(&left.setup).zip(crate::fields::of(&right.setup));
            for ((name, left), (_, right)) in fields {
                compare(&format!("setup.{name}"), left, right, true);
            }
            compare("number of seats", left.roster.len().to_string(), right.roster.len().to_string(), true);
            for (seat, (left, right)) in left.roster.seats.iter().zip(&right.roster.seats).enumerate() {
                compare(&format!("seat {seat}"), format!("{left:?}"), format!("{right:?}"), true);
            }
        }
        // Specs of another game: their bytes are all there is to compare.
        _ => compare("spec", hex(&left.spec), hex(&right.spec), true),
    }
    found
}
