//! A battle: a deterministic function from spec and tick records to states.

use crate::changes::Changes;
use crate::hash::{Hashes, StateHash};
use crate::input::{Command, Reason, SeatInput, TickRecord};
use crate::math::{self, SELF_TEST_HASH};
use crate::rng::Rng;
use crate::save::Save;
use crate::schedule::{Entry, StageError};
use crate::spec::{BattleSpec, SpecError};
use crate::{Events, Game, Outcome, Registry, RegistryError, Schedule, Stage, Step, Tick, World, WorldMut};

/// The stream of random numbers that scripted players draw from.
const BOT_STREAM: u16 = u16::MAX;

/// A running battle: steps by one tick record after the other, and goes back to any state that was saved.
///
/// It is `Send` and lives on one thread at a time; battles share nothing.
pub struct Battle<G: Game> {
    spec: BattleSpec<G>,
    schedule: Schedule<G>,
    world: World,
    changes: Changes,
    events: Events<G::Event>,
    scratch: G::Scratch,
    hashes: Hashes,
}

/// Why a battle cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// This build computes otherwise than all others.
    #[error(
        "this build's mathematics come to {found:016x} where every build has {SELF_TEST_HASH:016x}: build it with the \
         workspace's libm, and glam with its features libm and scalar-math"
    )]
    Mathematics {
        /// What its self-test came to.
        found: u64,
    },
    /// `Game::components` has a mistake.
    #[error("Game::components: {0}")]
    Registry(#[from] RegistryError),
    /// A bound of the spec does not hold.
    #[error("spec: {0}")]
    Spec(#[from] SpecError),
    /// `Game::spawn` used what is not registered.
    #[error("Game::spawn: {0}")]
    Stage(#[from] StageError),
}

impl<G: Game> Battle<G> {
    /// A battle before its first tick.
    ///
    /// # Errors
    /// If this build computes otherwise than others, the spec breaks a bound, or the game has a mistake:
    /// `Game::components` names something twice, or `Game::spawn` used a kind or singleton that is not registered.
    pub fn new(spec: BattleSpec<G>) -> Result<Self, StartError> {
        check_mathematics(math::self_test_hash())?;
        spec.check()?;
        let registry = Registry::of::<G>()?;
        let changes = Changes::new(&registry);
        let mut world = World::new(registry);
        let BattleSpec { terms, setup, roster } = &spec;
        let mut stage = Stage { terms, setup, roster, world: &mut world, problem: None };
        G::spawn(&mut stage);
        if let Some(problem) = stage.problem {
            return Err(problem.into());
        }
        let mut battle = Self {
            spec,
            schedule: Schedule::of(),
            world,
            changes,
            events: Events::default(),
            scratch: G::Scratch::default(),
            hashes: Hashes::default(),
        };
        battle.close_tick();
        Ok(battle)
    }

    /// Makes the next tick and returns its state hash. Never fails, never waits; allocates nothing once warm. Costs
    /// what the systems do, their changes, and a hash of every column that was asked for to write.
    ///
    /// # Panics
    /// If the record is not the next tick's or not of this battle's seats. In debug builds also if a system wrote
    /// a float that is infinite or not a number; release builds store 0 or the grid's end instead.
    pub fn step(&mut self, record: &TickRecord<G::Input>) -> StateHash {
        assert_eq!(record.tick, self.world.tick.next(), "records follow each other");
        assert_eq!(record.inputs.len(), self.spec.roster.len(), "a record has one input a seat");
        self.world.tick = record.tick;
        self.events.clear();
        for entry in &self.schedule.entries {
            match entry {
                Entry::System { run, .. } => run(&mut Step {
                    tick: record.tick,
                    terms: &self.spec.terms,
                    setup: &self.spec.setup,
                    roster: &self.spec.roster,
                    inputs: &record.inputs,
                    commands: &record.commands,
                    world: WorldMut::new(&mut self.world),
                    changes: &mut self.changes,
                    events: &mut self.events,
                    scratch: &mut self.scratch,
                }),
                Entry::ApplyChanges => self.world.apply(&mut self.changes),
            }
        }
        self.close_tick()
    }

    /// Copies the state as it is after the last step. Cost: one memory copy of all columns; allocates only to grow
    /// `into`.
    pub fn save(&self, into: &mut Save) {
        into.take(&self.world, &self.hashes);
    }

    /// Makes the state what it was when `save` was taken, in place: the same inputs then give the same hashes as in
    /// the battle that was never interrupted. Cost: one memory copy of the columns that differ, plus hecs' spawn for
    /// each row above the most that the battle ever had.
    ///
    /// # Panics
    /// If the save is not of this game.
    pub fn restore(&mut self, save: &Save) {
        save.put(&mut self.world);
        self.events.clear();
        self.hashes.clone_from(save.hashes());
    }

    /// Takes all rows away and stands them up again in a random order, empty: only good to restore a state into.
    pub(crate) fn deal_rows(&mut self, rng: &mut Rng) {
        self.world.deal_rows(rng);
    }

    /// Hashes the whole state again, all columns of it; for measuring what that costs. Changes nothing.
    pub fn hash_again(&mut self) -> StateHash {
        self.world.close_all(&mut self.hashes);
        self.hashes.state()
    }

    /// Fills `record` with what the scripted players of all seats do next, without commands but a
    /// [`Game::CHANCE`], which hides nothing: it follows from seed and tick. Costs a [`Battle::bot_input`] a seat.
    pub fn bot_record(&self, record: &mut TickRecord<G::Input>) {
        record.tick = self.tick().next();
        record.commands.clear();
        record.inputs.clear();
        for (seat, _) in self.spec.roster.iter() {
            record.inputs.push(SeatInput { input: self.bot_input(seat), reason: Reason::Bot });
        }
        if G::CHANCE {
            let mut rng = Rng::new(self.spec.terms.seed, self.tick().0, BOT_STREAM, u32::MAX);
            record.commands.push(Command::Chance(rng.next_u32()));
        }
    }

    /// What the scripted player of a seat does next: the same whenever it is asked in the same state. Costs what
    /// [`Game::bot`] does.
    #[must_use]
    pub fn bot_input(&self, seat: crate::Seat) -> G::Input {
        let mut rng = Rng::new(self.spec.terms.seed, self.tick().0, BOT_STREAM, u32::from(seat.0));
        G::aimed(G::bot(&self.world, seat, &mut rng), self.tick(), self.tick().later(1))
    }

    /// The tick that the state belongs to.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.world.tick
    }

    /// The hash of the state, with its parts.
    #[must_use]
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The hash of the state.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        self.hashes.state()
    }

    /// How the battle ended, once it has. Stepping on is possible and the caller's mistake. Costs what
    /// [`Game::outcome`] does.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        G::outcome(&self.world, &self.spec.terms)
    }

    /// The events of the last tick; none right after [`Battle::restore`].
    #[must_use]
    pub fn events(&self) -> &[G::Event] {
        self.events.as_slice()
    }

    /// The state, to read.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What the battle started from.
    #[must_use]
    pub fn spec(&self) -> &BattleSpec<G> {
        &self.spec
    }

    /// The systems' names in their order.
    pub fn systems(&self) -> impl Iterator<Item = &'static str> {
        self.schedule.names()
    }

    fn close_tick(&mut self) -> StateHash {
        if cfg!(debug_assertions)
            && let Some(unfit) = self.world.first_unfit()
        {
            panic!("{unfit}: a system wrote it in this tick");
        }
        self.world.close(&mut self.hashes);
        self.hashes.state()
    }
}

/// A build that computes otherwise would part from all others some ticks later, and nobody could say why.
fn check_mathematics(found: u64) -> Result<(), StartError> {
    if found == SELF_TEST_HASH { Ok(()) } else { Err(StartError::Mathematics { found }) }
}

impl<G: Game> std::fmt::Debug for Battle<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Battle").field("game", &G::NAME).field("world", &self.world).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_computes_otherwise_starts_no_battle() {
        assert_eq!(check_mathematics(math::self_test_hash()), Ok(()));
        let problem = check_mathematics(SELF_TEST_HASH ^ 1).unwrap_err();
        assert!(problem.to_string().contains("libm"), "{problem}");
    }
}
