//! A battle that is simulated again from what a recording says, whatever it says.
//!
//! Everything in the file is read by the engine's own parsers, and refused there if it is not of this game. A
//! state that parses can still break a rule the game relies on (an index into a table, say): a panic of the
//! game ends the simulation at that tick and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;
use tiltyard_engine::{
    Battle, BattleSpec, Game, KeyframeError, ProtocolHash, Registry, RegistryError, Save, SpecError,
    StartError, StateHash, Tick, TickRecord, TickRecordError, decode_keyframe,
};

use crate::header::Header;

/// Why a recording cannot be simulated, or not any further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SimulateError {
    /// Another game recorded it, or another version of this one.
    #[error(
        "recorded by {by} under protocol {recorded}: this build of {game}, which has {own}, cannot compute \
         it"
    )]
    Foreign {
        /// The game, the mode and the build that the file names.
        by: String,
        /// The game that was to simulate it.
        game: &'static str,
        /// What the file says.
        recorded: ProtocolHash,
        /// The game's own.
        own: ProtocolHash,
    },
    /// The game's registration has a mistake.
    #[error("{0}")]
    Registry(RegistryError),
    /// The spec is none of this game.
    #[error("{0}")]
    Spec(SpecError),
    /// Seed, rate or number of seats differ between header and spec.
    #[error("the header's {what} is not the spec's")]
    Header {
        /// What differs.
        what: &'static str,
    },
    /// The battle does not start.
    #[error("{0}")]
    Start(StartError),
    /// A tick record is none of this battle.
    #[error("tick {tick}: {error}")]
    Record {
        /// The tick it stands for.
        tick: u32,
        /// What is wrong.
        error: TickRecordError,
    },
    /// A keyframe is no state of this battle.
    #[error("keyframe of tick {tick}: {error}")]
    Keyframe {
        /// The tick it stands for.
        tick: u32,
        /// What is wrong.
        error: KeyframeError,
    },
    /// A keyframe's state is of another tick than its block.
    #[error("keyframe of tick {tick} holds the state of tick {found}")]
    KeyframeTick {
        /// The tick it stands for.
        tick: u32,
        /// The tick it is of.
        found: u32,
    },
    /// A record stands before there is a state to apply it to.
    #[error("tick {tick} follows no keyframe")]
    NoState {
        /// The record's tick.
        tick: u32,
    },
    /// The game panicked; the tick before it was the last good one.
    #[error("the game panicked in tick {tick}")]
    Panicked {
        /// The tick it was making; 0 while the battle started.
        tick: u32,
    },
}

impl SimulateError {
    /// The tick at which the simulation stopped; nothing if it did not begin.
    #[must_use]
    pub const fn tick(&self) -> Option<u32> {
        match *self {
            Self::Record { tick, .. }
            | Self::Keyframe { tick, .. }
            | Self::KeyframeTick { tick, .. }
            | Self::NoState { tick }
            | Self::Panicked { tick } => Some(tick),
            Self::Foreign { .. }
            | Self::Registry(_)
            | Self::Spec(_)
            | Self::Header { .. }
            | Self::Start(_) => None,
        }
    }
}

/// A simulated battle, and the record that led to its state.
#[derive(Debug)]
pub(crate) struct Replica<G: Game> {
    battle: Battle<G>,
    record: TickRecord<G::Input>,
    seats: usize,
    panicked: Option<u32>,
}

impl<G: Game> Replica<G> {
    /// The battle before its first tick, as the header tells it.
    pub(crate) fn start(header: &Header) -> Result<Self, SimulateError> {
        let registry = Registry::of::<G>().map_err(SimulateError::Registry)?;
        let (recorded, own) = (ProtocolHash(header.protocol_hash), registry.protocol_hash::<G>());
        if recorded != own {
            let Header { game, mode, build, .. } = header;
            let by = match (game.as_str(), mode.as_str()) {
                ("", _) => build.clone(),
                (game, "") => format!("{build}, game {game},"),
                (game, mode) => format!("{build}, game {game}, mode {mode},"),
            };
            return Err(SimulateError::Foreign { by, game: G::NAME, recorded, own });
        }
        let spec = BattleSpec::<G>::decode(&header.spec).map_err(SimulateError::Spec)?;
        let seats = spec.roster.len();
        let agree = |held: bool, what| if held { Ok(()) } else { Err(SimulateError::Header { what }) };
        agree(spec.terms.seed == header.seed, "seed")?;
        agree(spec.terms.rate.hz() == header.rate_hz, "tick rate")?;
        agree(header.seat_names.is_empty() || header.seat_names.len() == seats, "number of seats")?;
        let started = catch_unwind(AssertUnwindSafe(|| Battle::new(spec)));
        let started = started.map_err(|_| SimulateError::Panicked { tick: 0 })?;
        let battle = started.map_err(SimulateError::Start)?;
        Ok(Self { battle, record: TickRecord::neutral(Tick::ZERO, seats), seats, panicked: None })
    }

    /// Simulates the next tick.
    pub(crate) fn advance(&mut self, tick: u32, record: &[u8]) -> Result<StateHash, SimulateError> {
        self.check()?;
        if self.battle.tick().0.checked_add(1) != Some(tick) {
            return Err(SimulateError::NoState { tick });
        }
        self.record.advance(record).map_err(|error| SimulateError::Record { tick, error })?;
        let (battle, record) = (&mut self.battle, &self.record);
        // After a panic the battle is not stepped or read again: nothing sees a half-made tick.
        catch_unwind(AssertUnwindSafe(|| battle.step(record))).map_err(|_| {
            self.panicked = Some(tick);
            SimulateError::Panicked { tick }
        })
    }

    /// Reads a keyframe that a recording says to be of `tick`.
    pub(crate) fn decode(
        &self,
        tick: u32,
        keyframe: &[u8],
    ) -> Result<(Save, TickRecord<G::Input>), SimulateError> {
        let registry = self.battle.world().registry();
        let decoded = decode_keyframe::<G::Input>(keyframe, registry, self.seats);
        let (save, record) = decoded.map_err(|error| SimulateError::Keyframe { tick, error })?;
        let found = save.tick().0;
        if found == tick { Ok((save, record)) } else { Err(SimulateError::KeyframeTick { tick, found }) }
    }

    /// Makes the battle what a keyframe says.
    pub(crate) fn restore(&mut self, tick: u32, keyframe: &[u8]) -> Result<(), SimulateError> {
        self.check()?;
        let (save, record) = self.decode(tick, keyframe)?;
        let battle = &mut self.battle;
        catch_unwind(AssertUnwindSafe(|| battle.restore(&save))).map_err(|_| {
            self.panicked = Some(tick);
            SimulateError::Panicked { tick }
        })?;
        self.record = record;
        Ok(())
    }

    /// Whether the game panicked: such a battle goes on nowhere.
    pub(crate) const fn has_panicked(&self) -> bool {
        self.panicked.is_some()
    }

    pub(crate) fn tick(&self) -> u32 {
        self.battle.tick().0
    }

    pub(crate) const fn battle(&self) -> &Battle<G> {
        &self.battle
    }

    pub(crate) const fn record(&self) -> &TickRecord<G::Input> {
        &self.record
    }

    fn check(&self) -> Result<(), SimulateError> {
        self.panicked.map_or(Ok(()), |tick| Err(SimulateError::Panicked { tick }))
    }
}
