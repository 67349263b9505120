//! Goes on from a tick of a recording with other inputs: what if.
//!
//! The new recording holds the old one's ticks up to the fork, so that it stands alone and a comparison of the two
//! shows what came of the change and nothing else.

use std::io::{Read, Seek, Write};

use thiserror::Error;
use tiltyard_engine::{Battle, Game, Save, TickRecord, encode_keyframe};

use crate::ending::Ended;
use crate::header::Header;
use crate::player::Player;
use crate::replica::Replica;
use crate::verify::PlayError;
use crate::writer::{Sealed, Settings, WriteError, Writer};

/// How often a forked recording has a keyframe.
const KEYFRAME_SECONDS: u32 = 10;

/// Why there is no fork.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForkError {
    /// The recording cannot be played, or the fork cannot.
    #[error("{0}")]
    Play(#[from] PlayError),
    /// The fork cannot be written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The recording does not have the tick.
    #[error("tick {at} is none of ticks {first} to {last}")]
    Range {
        /// The tick asked for.
        at: u32,
        /// The first tick that can be forked at.
        first: u32,
        /// The last one.
        last: u32,
    },
    /// This build does not come to the recorded states: a fork from there would be of another battle.
    #[error("this build computes tick {tick} otherwise than it was recorded")]
    Diverged {
        /// The first tick that differs.
        tick: u32,
    },
    /// A higher epoch took over and played ticks again.
    #[error("a higher epoch went back to tick {tick}; cut the part behind it first")]
    Takeover {
        /// The tick it went on with.
        tick: u32,
    },
}

/// A battle that went on otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What the new recording is known by.
    pub sealed: Sealed,
    /// Whether the battle came to its end by the game's rules.
    pub ended: Ended,
}

/// Writes a recording that is the old one up to tick `at`, and from there on goes on to tick `to`, or to where the
/// battle is decided. Each tick after `at` begins as the recorded one, or as scripted players would have it where the
/// recording has ended; `decide` gets the battle before the tick and changes the record as it likes.
///
/// `build` is the name of the build that does this.
///
/// # Errors
/// If the recording cannot be played to `at`, or on while it gives records; if `decide` makes the game panic, or the
/// sink refuses.
pub fn fork<G: Game, W: Write>(
    source: impl Read + Seek,
    (at, to): (u32, u32),
    build: &str,
    sink: W,
    mut decide: impl FnMut(&Battle<G>, &mut TickRecord<G::Input>),
) -> Result<(Fork, W), ForkError> {
    let mut player = Player::<G, _>::open(source)?;
    let (first, last) = (player.tick(), player.last_tick());
    if at < first || at > last {
        return Err(ForkError::Range { at, first, last });
    }
    let header = Header { build: build.to_owned(), ..player.header().clone() };
    let mut line = Line {
        writer: Writer::start(sink, &header, Settings::new(1, header.rate_hz))?,
        keyframe_ticks: KEYFRAME_SECONDS * u32::from(header.rate_hz),
        save: Save::default(),
        bytes: Vec::new(),
    };
    if header.part > 0 {
        line.keyframe(player.battle(), player.record())?;
    }
    let mut before = player.record().clone();
    while player.tick() < at {
        let due = player.tick().saturating_add(1);
        let Some(hash) = player.step()? else { break };
        if player.tick() != due {
            return Err(ForkError::Takeover { tick: player.tick() });
        }
        if player.recorded_hash().is_some_and(|recorded| recorded != hash) {
            return Err(ForkError::Diverged { tick: due });
        }
        line.bytes.clear();
        player.record().encode(&before, &mut line.bytes);
        line.writer.append(due, &line.bytes, hash.0)?;
        line.keyframe_when_due(player.battle(), player.record())?;
        before.clone_from(player.record());
    }
    let mut replica = Replica::<G>::start(&header).map_err(PlayError::from)?;
    if at > 0 {
        player.battle().save(&mut line.save);
        let state = encode_keyframe(&line.save, player.record());
        replica.restore(at, &state).map_err(PlayError::from)?;
    }
    let to = to.min(replica.battle().spec().terms.ticks_max);
    // Scripted players go on where the recording has ended.
    let mut recorded = true;
    while replica.tick() < to && replica.battle().outcome().is_none() {
        let due = replica.tick().saturating_add(1);
        recorded = recorded && player.step()?.is_some();
        let mut record = TickRecord::neutral(tiltyard_engine::Tick(due), 0);
        if recorded {
            if player.tick() != due {
                return Err(ForkError::Takeover { tick: player.tick() });
            }
            record.clone_from(player.record());
        } else {
            replica.battle().bot_record(&mut record);
        }
        decide(replica.battle(), &mut record);
        let hash = line.step(&mut replica, &record)?;
        line.writer.append(due, &line.bytes, hash)?;
        line.keyframe_when_due(replica.battle(), replica.record())?;
    }
    let (tick, hash) = (replica.tick(), replica.battle().state_hash().0);
    let outcome = replica.battle().outcome().map(|outcome| outcome.to_bytes());
    // A fork that came to the recorded end all the same ended in the same way.
    let as_recorded = player.ending().filter(|ending| (ending.tick, ending.final_hash) == (tick, hash));
    let ended = match (&outcome, as_recorded) {
        (Some(_), _) => Ended::Finished,
        (None, Some(ending)) => ending.ended,
        (None, None) => Ended::Aborted,
    };
    let outcome = outcome.as_ref().map_or(&[][..], |bytes| bytes);
    let sealed = line.writer.finish(ended, outcome, hash)?;
    Ok((Fork { sealed, ended }, line.writer.into_sink()))
}

/// The recording that is being written.
struct Line<W> {
    writer: Writer<W>,
    keyframe_ticks: u32,
    save: Save,
    bytes: Vec<u8>,
}

impl<W: Write> Line<W> {
    /// Steps by the record's own bytes, so that what is stepped is what is written.
    fn step<G: Game>(
        &mut self,
        replica: &mut Replica<G>,
        record: &TickRecord<G::Input>,
    ) -> Result<u64, PlayError> {
        self.bytes.clear();
        record.encode(replica.record(), &mut self.bytes);
        Ok(replica.advance(record.tick.0, &self.bytes)?.0)
    }

    fn keyframe_when_due<G: Game>(
        &mut self,
        battle: &Battle<G>,
        record: &TickRecord<G::Input>,
    ) -> Result<(), WriteError> {
        if battle.tick().0.is_multiple_of(self.keyframe_ticks) {
            self.writer.hash_parts(battle.hashes().parts())?;
            self.keyframe(battle, record)?;
        }
        Ok(())
    }

    fn keyframe<G: Game>(
        &mut self,
        battle: &Battle<G>,
        record: &TickRecord<G::Input>,
    ) -> Result<(), WriteError> {
        battle.save(&mut self.save);
        self.writer.keyframe(battle.tick().0, &encode_keyframe(&self.save, record))
    }
}
