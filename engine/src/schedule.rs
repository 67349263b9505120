//! What happens in a tick: named systems in fixed order, and what a system may touch.

use crate::changes::Changes;
use crate::input::{Command, SeatInput};
use crate::rng::Rng;
use crate::spec::Terms;
use crate::{ActorId, Events, Game, Kind, Record, Roster, Tick, World, WorldMut};

/// The systems of a game in their order: made once a battle, walked every tick.
pub struct Schedule<G: Game> {
    pub(crate) entries: Vec<Entry<G>>,
}

pub(crate) enum Entry<G: Game> {
    System { name: &'static str, run: fn(&mut Step<'_, G>) },
    ApplyChanges,
}

impl<G: Game> Schedule<G> {
    pub(crate) fn of() -> Self {
        let mut schedule = Self { entries: Vec::new() };
        G::systems(&mut schedule);
        schedule.entries.push(Entry::ApplyChanges);
        schedule
    }

    /// Adds a system: a plain function, so that it can keep nothing from tick to tick. The name is for whoever lists or
    /// measures systems.
    pub fn add(&mut self, name: &'static str, run: fn(&mut Step<'_, G>)) -> &mut Self {
        self.entries.push(Entry::System { name, run });
        self
    }

    /// Adds a fixed point: spawns and despawns asked for so far are applied here. There is always one at the end
    /// of the tick.
    pub fn apply_changes(&mut self) -> &mut Self {
        self.entries.push(Entry::ApplyChanges);
        self
    }

    /// The systems' names in their order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::System { name, .. } => Some(*name),
            Entry::ApplyChanges => None,
        })
    }
}

/// What a system may touch during a tick. Nothing else may get into a state.
pub struct Step<'a, G: Game> {
    /// The tick that is being made, 1 for the first.
    pub tick: Tick,
    /// Seed, rate and length of the battle.
    pub terms: &'a Terms,
    /// Map, mode, rules.
    pub setup: &'a G::Setup,
    /// Who plays.
    pub roster: &'a Roster,
    /// What each seat does, in seat order: as many as the roster has seats. Inputs of a recording did not go through
    /// [`Game::check`].
    pub inputs: &'a [SeatInput<G::Input>],
    /// What else happens, in order: who came, who went, what was decided outside. At most
    /// [`COMMANDS_MAX`](crate::COMMANDS_MAX).
    pub commands: &'a [Command],
    /// The state.
    pub world: WorldMut<'a>,
    /// Spawns and despawns, applied at the next fixed point.
    pub changes: &'a mut Changes,
    /// What the tick tells besides state.
    pub events: &'a mut Events<G::Event>,
    /// Buffers; never state: they are not saved, so after a rollback they hold what another future left.
    pub scratch: &'a mut G::Scratch,
}

impl<G: Game> Step<'_, G> {
    /// The random numbers of one stream and actor in this tick. Seed, tick, stream and actor always give the same
    /// numbers, so one more draw somewhere shifts no other. Give each use a stream of its own: asked for twice, the
    /// same stream begins anew. The stream 65,535 is the scripted players'.
    #[must_use]
    pub fn rng(&self, stream: u16, actor: ActorId) -> Rng {
        Rng::new(self.terms.seed, self.tick.0, stream, actor.0)
    }

    /// Random numbers like [`rng`](Self::rng)'s, which nobody could know before this tick: who has the seed, as every
    /// client with an engine does, can compute those of `rng` for the whole battle. They come from the node by way of
    /// the tick's record ([`Command::Chance`]), so a replay draws the same. Costs a walk over the commands.
    ///
    /// # Panics
    /// If the game does not ask for it by [`Game::CHANCE`].
    #[must_use]
    pub fn chance(&self, stream: u16, actor: ActorId) -> Rng {
        assert!(G::CHANCE, "a game that draws chance says so: const CHANCE: bool = true");
        let drawn = self.commands.iter().find_map(|command| match command {
            Command::Chance(value) => Some(*value),
            _ => None,
        });
        // A record of a stranger may have none; then nobody is surprised.
        let seed = (self.terms.seed >> 32) ^ (self.terms.seed & u64::from(u32::MAX));
        Rng::new(u64::from(drawn.unwrap_or(0)) << 32 | seed, self.tick.0, stream, actor.0)
    }
}

/// What [`Game::spawn`] or a system did that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// A kind is not registered.
    #[error("kind {name} is not registered: add registry.kind::<{name}>() to Game::components")]
    Kind {
        /// The kind's name.
        name: &'static str,
    },
    /// A singleton is not registered.
    #[error("{name} is no singleton: add registry.singleton::<{name}>() to Game::components")]
    Singleton {
        /// The record's name.
        name: &'static str,
    },
    /// A kind does not have a record.
    #[error("kind {kind} has no record {name}: give it a field of that record where kind! declares it")]
    Record {
        /// The kind's name.
        kind: &'static str,
        /// The record's name.
        name: &'static str,
    },
    /// There are too many actors.
    #[error("Game::spawn makes more than {max} actors", max = crate::ACTORS_MAX)]
    Actors,
}

/// What [`Game::spawn`] may touch: the world before tick 1, in which no actor is and every singleton has its default.
pub struct Stage<'a, G: Game> {
    /// Seed, rate and length of the battle.
    pub terms: &'a Terms,
    /// Map, mode, rules.
    pub setup: &'a G::Setup,
    /// Who plays.
    pub roster: &'a Roster,
    pub(crate) world: &'a mut World,
    pub(crate) problem: Option<StageError>,
}

impl<G: Game> Stage<'_, G> {
    /// Adds an actor; ids grow in the order of calls. A kind that is not registered, or an actor above
    /// [`ACTORS_MAX`](crate::ACTORS_MAX), makes `Battle::new` fail by name; the id is then [`ActorId::NONE`]. Costs a
    /// walk over the registered kinds, and a record added to each column.
    pub fn spawn<K: Kind>(&mut self, row: K) -> ActorId {
        self.world.spawn_now(row).unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            ActorId::NONE
        })
    }

    /// The id that the next actor gets, so that random numbers can be drawn for it before it is there.
    #[must_use]
    pub fn next_id(&self) -> ActorId {
        ActorId(self.world.next_actor)
    }

    /// Sets a singleton. One that is not registered makes `Battle::new` fail by name. Costs a walk over the registered
    /// kinds.
    pub fn set<T: Record>(&mut self, value: T) {
        match self.world.try_singleton_mut() {
            Ok(mut singleton) => *singleton = value,
            Err(problem) => {
                self.problem.get_or_insert(problem);
            }
        }
    }

    /// The random numbers of one stream and actor before tick 1; see [`Step::rng`].
    #[must_use]
    pub fn rng(&self, stream: u16, actor: ActorId) -> Rng {
        Rng::new(self.terms.seed, 0, stream, actor.0)
    }
}
