//! The trait by which a game plugs in, and what is common to all games.

use glam::Vec3;

use crate::rng::Rng;
use crate::screen::{Canvas, Ink, Keys};
use crate::snapshot::VIEW_FULL;
use crate::spec::{BattleSpec, Terms};
use crate::{
    ActorId, Battle, Record, Registry, Schedule, Seat, Sight, Stage, StateHash, TEAMS_MAX, Team, Tick,
    TickRecord, World,
};

/// A game: what is state, what happens in a tick, what players may say.
///
/// All functions must be deterministic: the same arguments give the same result on every machine. Time is
/// `world.tick()`, randomness is [`Rng`], mathematics is [`math`](crate::math). [`testing`](crate::testing) finds what
/// is not.
///
/// The functions are called in this order. Once, before tick 1: [`components`](Self::components),
/// [`systems`](Self::systems), [`spawn`](Self::spawn). For every tick: [`check`](Self::check) on each input that
/// arrives, [`missing`](Self::missing) for each seat without one, [`bot`](Self::bot) for each scripted seat, and
/// [`aimed`](Self::aimed) on what that decides; then the systems; then [`outcome`](Self::outcome). Whoever computes a
/// recorded battle again calls the systems alone.
pub trait Game: Sized + Send + 'static {
    /// The game's name: part of the protocol hash and of every recording.
    const NAME: &'static str;
    /// What keys do, as pairs of keys and meaning, shown to who plays in a terminal. A game that lists none is not
    /// played by keyboard.
    const KEYS: &'static [(&'static str, &'static str)] = &[];
    /// Whether systems draw numbers that no player may foresee ([`Step::chance`](crate::Step::chance)): what is in a
    /// chest, whether a blow is a critical one. A node then puts 32 secret random bits into each tick's record.
    const CHANCE: bool = false;
    /// What a player says each tick. The default value is "nothing".
    type Input: Record;
    /// What a tick tells besides state, by [`Events`](crate::Events): hits, sounds, whatever is drawn once. Those who
    /// compute the battle have it from [`Battle::events`](crate::Battle::events); it is not sent.
    type Event: Record;
    /// Map, mode, rules: fixed before tick 1.
    type Setup: Record;
    /// Buffers that systems use again from tick to tick. Never state: nothing may be read from it that was not
    /// written in the same tick.
    type Scratch: Default + Send;

    /// Registers what is state; the order is the order of the wire, of the hash and of saves. Mistakes in it are
    /// [`RegistryError`](crate::RegistryError)s.
    fn components(registry: &mut Registry);
    /// Names the systems of a tick in their order, which is the same in every tick.
    fn systems(schedule: &mut Schedule<Self>);
    /// The modes that players can queue for, by names that differ; the first is the default.
    fn modes() -> Vec<Mode<Self::Setup>>;
    /// The battles that benches measure the game by, by name; unless the game has its own, its modes.
    fn scenes() -> Vec<Mode<Self::Setup>> {
        Self::modes()
    }
    /// A setup to test by, drawn at random from all that are possible, near or far from this one of a mode; unless the
    /// game has its own way, the mode's. [`testing::history_fuzz`](crate::testing::history_fuzz) plays battles of them
    /// by the thousand, so few of them should be large.
    fn random_setup(of_mode: Self::Setup, _rng: &mut Rng) -> Self::Setup {
        of_mode
    }
    /// Makes the state before tick 1. Setup and roster may be of a stranger: bound what is counted or measured by them.
    fn spawn(stage: &mut Stage<'_, Self>);
    /// What a seat does whose input did not arrive: `last` is what it did the tick before, `age` how many ticks in
    /// a row nothing came (1 the first time). The answer goes into the tick record, where replays find it.
    fn missing(last: &Self::Input, age: u16) -> Self::Input;
    /// Whether an input makes sense; one that does not is dropped and counted, before a tick sees it. Floats are
    /// finite already. A recording is not asked again, so systems must bear any input without a panic.
    fn check(input: &Self::Input) -> bool;
    /// The scripted player: what the seat does next, seeing this world. It plays seats without a player, benches, tests
    /// and test clients; what it answers has to pass [`check`](Self::check). It is called for every such seat and
    /// tick, and on clients too, so it should not cost more than the tick.
    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Self::Input;
    /// What a seat's input for `tick` becomes when whoever decided it saw the state of tick `seen`: the place to note
    /// that in it, for lag compensation ([`kit::past`](crate::kit::past)). It is called wherever an input is decided, on
    /// the player's own machine too, so what it notes is as good as the player is honest: [`check`](Self::check) bounds
    /// it. Unless the game notes it, the input stays as it is.
    fn aimed(input: Self::Input, _seen: Tick, _tick: Tick) -> Self::Input {
        input
    }
    /// What a seat does next whose player holds these keys, seeing this world. A game that has it lists its
    /// [`KEYS`](Self::KEYS); unless it has, nothing is done.
    fn steer(_world: &World, _seat: Seat, _keys: &Keys) -> Self::Input {
        Self::Input::default()
    }
    /// Draws the battle, as the player of `seat` sees it or, without one, who looks on. Unless the game has its own
    /// picture, it is a list of what there is.
    fn picture(battle: &Battle<Self>, _seat: Option<Seat>, canvas: &mut Canvas) {
        canvas.text(0, 0, &format!("{}, tick {}", Self::NAME, battle.tick()), Ink::Strong);
        for (row, (name, rows)) in (1..).zip(battle.world().counts()) {
            canvas.text(0, row, &format!("{rows:>6}  {name}"), Ink::Plain);
        }
    }
    /// Where the body of a seat is and where it looks, seeing this world; nothing if it has none, or if it is not here.
    /// By it a client tells how far off its prediction of the own body was, and shows it gliding there. Unless the game
    /// tells it, what is predicted is shown as it is.
    fn pose(_world: &World, _seat: Seat) -> Option<Pose> {
        None
    }
    /// One line that tells who plays `seat`, or looks on, of an event of the last tick; nothing where it is not worth
    /// a line.
    fn describe(_world: &World, _seat: Option<Seat>, _event: &Self::Event) -> Option<String> {
        None
    }
    /// The body that a seat has in this world, if it has one now: the seat always sees it, and alone knows its records
    /// for the [`Owner`](crate::Audience::Owner).
    fn puppet(_world: &World, _seat: Seat) -> Option<ActorId> {
        None
    }
    /// Which view of the battle a seat gets, or who looks on: those of one number see the same and share what is sent.
    /// [`VIEW_FULL`](crate::snapshot::VIEW_FULL) shows everything and is what all have unless the game says otherwise. A
    /// battle with any other view gives no frame feed, since who computes it knows it all. Fixed for the whole battle.
    fn view(_spec: &BattleSpec<Self>, _seat: Option<Seat>) -> u16 {
        VIEW_FULL
    }
    /// Marks what a view other than the full one sees in this tick; unless the game says otherwise, all actors. What is
    /// not marked is not sent, and a bot, [`steer`](Self::steer) and [`picture`](Self::picture) get a world without it.
    /// A node asks once a tick for each view that somebody has; it is no part of the rules and changes no state.
    fn sight(_world: &World, _view: u16, sight: &mut Sight<'_>) {
        sight.see_all();
    }
    /// Whether a seat, or who looks on, has to hear of an actor before others when a snapshot cannot hold everything: one
    /// that can hit its body soon. Of three rows that are told then, two are such ones at most, so that all get their
    /// turn; the seat's own body always is told. Asked only then, for each actor that changed.
    fn is_urgent(_world: &World, _seat: Option<Seat>, _actor: ActorId) -> bool {
        false
    }
    /// How the battle ended, once it has; asked after every tick. Must be `Some` at `terms.ticks_max`.
    fn outcome(world: &World, terms: &Terms) -> Option<Outcome>;
    /// The game's rules a second time, by other means, for a battle that starts from `spec`; unless the game has that,
    /// none. Benches compare with it: what it takes, and whether each tick ends in the hash of the battle's.
    fn oracle(spec: &BattleSpec<Self>) -> Option<Oracle<Self::Input>> {
        let _ = spec;
        None
    }
}

/// A game's rules without the engine: takes the records from tick 1 on, one after the other, and gives the hash of the
/// state that each leads to.
pub type Oracle<I> = Box<dyn FnMut(&TickRecord<I>) -> StateHash + Send>;

/// Where a body is, and where it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// The place, in metres; z is 0 in a game that is flat.
    pub at: Vec3,
    /// The angle in radians from the x axis towards the y axis.
    pub angle: f32,
}

/// A mode of a game.
#[derive(Clone, Debug)]
pub struct Mode<S> {
    /// What players call it; unique within the game.
    pub name: &'static str,
    /// How many teams fight, 1 to [`TEAMS_MAX`].
    pub teams: u8,
    /// Seats of each team; with `teams` at most [`SEATS_MAX`](crate::SEATS_MAX).
    pub seats_per_team: u16,
    /// How long a battle lasts at most, in seconds.
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

impl Outcome {
    /// Size of an outcome as bytes.
    pub const BYTES: usize = 1 + 4 * TEAMS_MAX;

    /// How a battle ended that the highest score wins: nobody wins when several teams have it. `scores` are those of
    /// the first teams; values above `i32::MAX` count as that.
    ///
    /// # Panics
    /// If there are more than [`TEAMS_MAX`] scores.
    #[must_use]
    pub fn by_score(scores: &[u32]) -> Self {
        let mut outcome = Self::default();
        for (place, score) in outcome.scores[..scores.len()].iter_mut().zip(scores) {
            *place = i32::try_from(*score).unwrap_or(i32::MAX);
        }
        let best = scores.iter().copied().max();
        let mut first = (0..).zip(scores).filter(|(_, score)| Some(**score) == best);
        if let (Some((team, _)), None) = (first.next(), first.next()) {
            outcome.winner = Some(Team(team));
        }
        outcome
    }

    /// The outcome as bytes: the winning team (255: nobody), then each team's score, i32 little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.winner.map_or(u8::MAX, |team| team.0);
        for (place, score) in bytes[1..].chunks_exact_mut(4).zip(self.scores) {
            place.copy_from_slice(&score.to_le_bytes());
        }
        bytes
    }

    /// Reads an outcome from bytes of a stranger; nothing if the length differs or the winner is no team.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (winner, scores) = bytes.split_first()?;
        if bytes.len() != Self::BYTES || (usize::from(*winner) >= TEAMS_MAX && *winner != u8::MAX) {
            return None;
        }
        let mut outcome = Self { winner: (*winner != u8::MAX).then_some(Team(*winner)), ..Self::default() };
        for (score, place) in outcome.scores.iter_mut().zip(scores.chunks_exact(4)) {
            *score = i32::from_le_bytes(place.try_into().ok()?);
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_wins_alone_or_not_at_all() {
        let winner = |scores: &[u32]| Outcome::by_score(scores).winner.map(|team| team.0);
        assert_eq!(winner(&[3, 7, 5]), Some(1));
        assert_eq!(winner(&[7, 3, 7]), None);
        assert_eq!(winner(&[0, 0]), None);
        assert_eq!(winner(&[]), None);
        assert_eq!(winner(&[0; TEAMS_MAX]), None);
        let outcome = Outcome::by_score(&[u32::MAX, 4]);
        assert_eq!((outcome.winner, &outcome.scores[..3]), (Some(Team(0)), &[i32::MAX, 4, 0][..]));
    }

    #[test]
    fn outcomes_survive_their_bytes_and_others_are_refused() {
        let mut outcome = Outcome { winner: Some(Team(1)), ..Outcome::default() };
        outcome.scores[0] = -3;
        outcome.scores[15] = i32::MAX;
        let bytes = outcome.to_bytes();
        assert_eq!(Outcome::parse(&bytes), Some(outcome));
        assert_eq!(Outcome::parse(&Outcome::default().to_bytes()), Some(Outcome::default()));
        assert_eq!(Outcome::parse(&bytes[1..]), None);
        let mut no_team = bytes;
        no_team[0] = 16;
        assert_eq!(Outcome::parse(&no_team), None);
    }
}
