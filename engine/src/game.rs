//! The trait by which a game plugs in, and what is common to all games.

use crate::rng::Rng;
use crate::spec::Terms;
use crate::{Record, Registry, Schedule, Seat, Stage, TEAMS_MAX, Team, World};

/// A game: what is state, what happens in a tick, what players may say.
///
/// All functions must be deterministic: the same arguments give the same result on every machine. Time is
/// `world.tick()`, randomness is [`Rng`], mathematics is [`math`](crate::math).
pub trait Game: Sized + Send + 'static {
    /// The game's name: part of the protocol hash and of every recording.
    const NAME: &'static str;
    /// What a player says each tick. The default value is "nothing".
    type Input: Record;
    /// What a tick tells the players besides state.
    type Event: Record;
    /// Map, mode, rules: fixed before tick 1.
    type Setup: Record;
    /// Buffers that systems use again from tick to tick. Never state: nothing may be read from it that was not
    /// written in the same tick.
    type Scratch: Default + Send;

    /// Registers what is state; the order is the order of the wire.
    fn components(registry: &mut Registry);
    /// Names the systems of a tick in their order.
    fn systems(schedule: &mut Schedule<Self>);
    /// The modes that players can queue for; the first is the default.
    fn modes() -> Vec<Mode<Self::Setup>>;
    /// Makes the state before tick 1.
    fn spawn(stage: &mut Stage<'_, Self>);
    /// What a seat does whose input did not arrive: `last` is what it did the tick before, `age` how many ticks in
    /// a row nothing came (1 the first time).
    fn missing(last: &Self::Input, age: u16) -> Self::Input;
    /// Whether an input makes sense; one that does not is dropped and counted. Floats are finite already.
    fn check(input: &Self::Input) -> bool;
    /// The scripted player: what the seat does next, seeing this world.
    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Self::Input;
    /// How the battle ended, once it has. Must be `Some` at `terms.ticks_max`.
    fn outcome(world: &World, terms: &Terms) -> Option<Outcome>;
}

/// A mode of a game.
#[derive(Clone, Debug)]
pub struct Mode<S> {
    /// What players call it.
    pub name: &'static str,
    /// How many teams fight, 1 to [`TEAMS_MAX`].
    pub teams: u8,
    /// Seats of each team.
    pub seats_per_team: u16,
    /// How long a battle lasts at most.
    pub seconds: u32,
    /// Map and rules.
    pub setup: S,
}

/// How a battle ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The team that won; nobody in a draw.
    pub winner: Option<Team>,
    /// Each team's score, 0 for teams that do not exist.
    pub scores: [i32; TEAMS_MAX],
}
