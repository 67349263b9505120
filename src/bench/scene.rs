//! A battle that was played once by scripted players and can be stepped again without them: what is measured is the
//! tick alone, not the players' thoughts.

use tiltyard_engine::{
    Battle, BattleSpec, Game, Mode, Oracle, Registry, Save, StartError, StateHash, Tick, TickRecord,
    encode_keyframe,
};
use tiltyard_replay::{Ended, Header, Settings, WriteError, Writer};

/// Seconds between two keyframes of the recording.
const KEYFRAME_SECONDS: u32 = 10;

/// A scene with the records of its ticks.
pub struct Played<G: Game> {
    spec: BattleSpec<G>,
    warm: Save,
    warm_ticks: usize,
    records: Vec<TickRecord<G::Input>>,
    hashes: Vec<StateHash>,
}

/// Why a scene cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayedError {
    /// The battle does not start.
    #[error("scene {scene}: {source}")]
    Start {
        /// The scene.
        scene: &'static str,
        /// Why.
        source: StartError,
    },
    /// The battle was over before the ticks that were to be measured.
    #[error("scene {scene} ends after {ticks} ticks, before anything could be measured")]
    Short {
        /// The scene.
        scene: &'static str,
        /// How many it had.
        ticks: u32,
    },
}

/// The battle and the game's second implementation do not agree: one of them has a mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("tick {tick}: the battle's state hash is {battle}, the hand-written loop's {oracle}")]
pub struct OracleError {
    /// The first tick at which they differ.
    pub tick: Tick,
    /// What the battle has.
    pub battle: StateHash,
    /// What the second implementation has.
    pub oracle: StateHash,
}

impl OracleError {
    pub(super) fn check(tick: Tick, oracle: StateHash, battle: StateHash) -> Result<(), Self> {
        if oracle == battle { Ok(()) } else { Err(Self { tick, battle, oracle }) }
    }
}

impl<G: Game> Played<G> {
    /// Plays a scene: `warm_ticks`, then up to `ticks` more until the battle ends.
    ///
    /// # Errors
    /// If the battle does not start, or ends within the warm ticks.
    pub fn of(scene: &Mode<G::Setup>, seed: u64, warm_ticks: u32, ticks: u32) -> Result<Self, PlayedError> {
        Self::of_spec(scene.name, BattleSpec::bots(scene, seed), warm_ticks, ticks)
    }

    /// The same for a battle that is none of a mode's.
    ///
    /// # Errors
    /// As [`Played::of`].
    pub fn of_spec(
        scene: &'static str,
        spec: BattleSpec<G>,
        warm_ticks: u32,
        ticks: u32,
    ) -> Result<Self, PlayedError> {
        let start = Battle::<G>::new(spec.clone());
        let mut battle = start.map_err(|source| PlayedError::Start { scene, source })?;
        let mut played =
            Self { spec, warm: Save::default(), warm_ticks: 0, records: Vec::new(), hashes: Vec::new() };
        for tick in 0..warm_ticks.saturating_add(ticks) {
            if battle.outcome().is_some() {
                break;
            }
            if tick == warm_ticks {
                battle.save(&mut played.warm);
                played.warm_ticks = played.records.len();
            }
            let mut record = TickRecord::neutral(battle.tick(), 0);
            battle.bot_record(&mut record);
            played.hashes.push(battle.step(&record));
            played.records.push(record);
        }
        if played.warm.is_empty() {
            return Err(PlayedError::Short { scene, ticks: battle.tick().0 });
        }
        Ok(played)
    }

    /// A battle that stands before the first measured tick.
    ///
    /// # Panics
    /// Never: the same battle started before.
    pub fn battle(&self) -> Battle<G> {
        let mut battle = Battle::new(self.spec.clone()).expect("it started before");
        battle.restore(&self.warm);
        battle
    }

    /// The state before the first measured tick.
    pub fn warm(&self) -> &Save {
        &self.warm
    }

    /// The measured ticks: each one's record, and the hash of the state after it.
    pub fn ticks(&self) -> impl Iterator<Item = (&TickRecord<G::Input>, StateHash)> {
        self.records.iter().zip(self.hashes.iter().copied()).skip(self.warm_ticks)
    }

    /// The game's own second implementation at the same place, if it has one, or the tick of the warm ones at which it
    /// came to another state than the battle.
    ///
    /// # Errors
    /// With that tick. An oracle cannot be restored, so it has made all of them.
    pub fn oracle(&self) -> Result<Option<Oracle<G::Input>>, OracleError> {
        let Some(mut oracle) = G::oracle(&self.spec) else { return Ok(None) };
        for (record, expected) in self.records.iter().zip(&self.hashes).take(self.warm_ticks) {
            OracleError::check(record.tick, oracle(record), *expected)?;
        }
        Ok(Some(oracle))
    }

    /// All ticks from the first one, as a recording: the bytes of its file.
    ///
    /// # Errors
    /// If a record or a keyframe is longer than a recording takes.
    ///
    /// # Panics
    /// If the game's registration has a mistake, which playing it has shown already.
    pub fn recording(&self) -> Result<Vec<u8>, WriteError> {
        let rate_hz = self.spec.terms.rate.hz();
        let registry = Registry::of::<G>().expect("the battle was played with it");
        let header = Header {
            rate_hz,
            protocol_hash: registry.protocol_hash::<G>().0,
            game: G::NAME.to_owned(),
            mode: String::new(),
            battle: 1,
            seed: self.spec.terms.seed,
            start_unix_ms: 0,
            part: 0,
            build: crate::BUILD.to_owned(),
            seat_names: (0..self.spec.roster.len()).map(|seat| format!("bot-{seat}")).collect(),
            spec: self.spec.encode(),
        };
        let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, rate_hz))?;
        let mut battle = Battle::<G>::new(self.spec.clone()).expect("it started before");
        let mut previous = TickRecord::neutral(battle.tick(), self.spec.roster.len());
        let (mut bytes, mut save) = (Vec::new(), Save::default());
        for record in &self.records {
            bytes.clear();
            record.encode(&previous, &mut bytes);
            let hash = battle.step(record);
            writer.append(record.tick.0, &bytes, hash.0)?;
            if record.tick.0.is_multiple_of(KEYFRAME_SECONDS * u32::from(rate_hz)) {
                battle.save(&mut save);
                writer.keyframe(record.tick.0, &encode_keyframe(&save, record))?;
            }
            previous.clone_from(record);
        }
        let outcome = battle.outcome().map(|outcome| outcome.to_bytes().to_vec()).unwrap_or_default();
        writer.finish(Ended::Finished, &outcome, battle.state_hash().0)?;
        Ok(writer.into_sink())
    }

    /// How many ticks there are in all.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none; there always are some.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Ticks a second.
    pub fn rate_hz(&self) -> u16 {
        self.spec.terms.rate.hz()
    }
}
