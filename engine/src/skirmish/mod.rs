//! Skirmish: the reference game. Teams fight in a walled arena with obstacles until time or kills are up.
//!
//! A player moves, aims, fires flyers and makes blasts around himself; who dies returns in his team's base after a
//! while. Scripted players do the same by the same inputs. A battle may also have minions, puppets without a seat
//! that wander and shoot, and strays, flyers that are nobody's and bounce for ever: they are what benches fill an
//! arena with.
//!
//! Skirmish uses nothing of the engine that a game of somebody else could not. A tick is:
//!
//! | system | what it does |
//! |---|---|
//! | `orders` | the dead return; inputs and minions' whims become velocities, shots and blasts |
//! | `motion` | puppets move, and stay out of obstacles and within the walls |
//! | `blasts` | who stands in a blast is hit |
//! | `flight` | flyers move, bounce, hit and end |
//! | `harm` | hits hurt and kill |
//!
//! Blasts count before flyers, flyers in the order of their ids: whoever takes the last point has the kill.

mod arena;
mod bot;
mod combat;
pub mod limit;
mod orders;
mod screen;
mod setup;
mod state;
#[cfg(test)]
mod tests;

pub use setup::{Rules, Setup};
pub use state::{
    AIM_MAX, Arms, BLAST, Block, Event, EventKind, FIRE, FLYER_RADIUS, Facing, Flyer, Input, NO_TEAM,
    Obstacle, PUPPET_RADIUS, Puppet, SOLID, Score, TEAMS, Tally,
};

use glam::Vec2;

use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::kit::motion::{Position, Velocity};
use crate::math;
use crate::rng::Rng;
use crate::screen::{Canvas, Keys};
use crate::{
    ActorId, Battle, BattleSpec, Game, Mode, Oracle, Outcome, Pose, Registry, Schedule, Seat, Stage, Terms,
    World,
};

/// The reference game.
#[derive(Clone, Copy, Debug)]
pub struct Skirmish;

/// Buffers and indices of a tick.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Checked each tick against the rows it was made from, see `Arena::fit`.
    arena: Option<arena::Arena>,
    /// Where seats wish to go, in m/s.
    wishes: Vec<Vec2>,
    /// Rows of seats that fire or blast in this tick.
    pressed: Vec<u32>,
    /// The rows of puppets that make a blast in this tick, ascending.
    blasts: Vec<u32>,
    /// What hurts whom in this tick, in the order in which it counts.
    hits: Vec<combat::Hit>,
    /// Rows of flyers that do not end this tick where their velocity leads, and where they do.
    diverted: Vec<(u32, Position, Velocity)>,
    /// Rows of flyers that have used up a bounce, and their flight after it.
    bounced: Vec<(u32, Flight)>,
}

/// Streams of random numbers.
mod stream {
    pub(super) const OBSTACLES: u16 = 1;
    pub(super) const PLACE: u16 = 2;
    pub(super) const STRAY: u16 = 3;
    pub(super) const MINION: u16 = 4;
}

/// Ticks for which the movement of a silent seat goes on.
const REPEAT_TICKS: u16 = 6;

impl Game for Skirmish {
    const NAME: &'static str = "skirmish";
    const KEYS: &'static [(&'static str, &'static str)] = screen::KEYS;
    type Input = Input;
    type Event = Event;
    type Setup = Setup;
    type Scratch = Scratch;

    fn components(registry: &mut Registry) {
        registry.singleton::<Score>().singleton::<Rules>();
        registry.kind::<Puppet>().kind::<Flyer>().kind::<Obstacle>();
        registry.moves::<Puppet, Position, Velocity>().moves::<Flyer, Position, Velocity>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("orders", orders::orders);
        schedule.add("motion", orders::motion);
        schedule.add("blasts", combat::blasts);
        schedule.add("flight", combat::flight);
        schedule.add("harm", combat::harm);
    }

    fn modes() -> Vec<Mode<Setup>> {
        setup::modes()
    }

    fn scenes() -> Vec<Mode<Setup>> {
        setup::scenes()
    }

    fn random_setup(of_mode: Setup, rng: &mut Rng) -> Setup {
        setup::random(of_mode, rng)
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        let teams =
            stage.roster.seats.iter().map(|seat| u32::from(state::team_of(seat.team)) + 1).max().unwrap_or(1);
        let rules = Rules::of(stage.setup, stage.terms, teams);
        let blocks = arena::obstacles(stage.setup, &rules, &mut stage.rng(stream::OBSTACLES, ActorId::NONE));
        let arena = arena::Arena::new(&rules, &blocks);
        let minions = stage.setup.minions.min(setup::MINIONS_MAX);
        let seats = stage.roster.seats.iter().map(|seat| state::team_of(seat.team));
        let minion_teams = (0..minions).map(|minion| (minion % teams) as u8);
        let puppets: Vec<u8> = seats.chain(minion_teams).collect();
        for team in puppets {
            let mut rng = stage.rng(stream::PLACE, stage.next_id());
            let place = arena.place_in_base(team, &mut rng);
            stage.spawn(Puppet {
                position: Position { at: place },
                facing: Facing { angle: math::angle_of(-place) },
                life: Life::new(rules.health, team),
                ..Puppet::default()
            });
        }
        for _ in 0..stage.setup.strays.min(setup::STRAYS_MAX) {
            let mut rng = stage.rng(stream::STRAY, stage.next_id());
            let (position, velocity) = combat::begin_stray(&arena, &mut rng);
            let flight = Flight {
                ends_at: Flight::ENDLESS,
                touches: state::touches_of(NO_TEAM),
                team: NO_TEAM,
                bounces: Flight::ALWAYS,
                ..Flight::default()
            };
            stage.spawn(Flyer { position, velocity, flight });
        }
        for block in blocks {
            stage.spawn(Obstacle { block });
        }
        stage.set(rules);
    }

    /// Goes on as before for a few ticks, then stands still; aims where it aimed; never shoots.
    fn missing(last: &Input, age: u16) -> Input {
        if age <= REPEAT_TICKS {
            Input { buttons: 0, ..*last }
        } else {
            Input { aim: last.aim, ..Input::default() }
        }
    }

    fn check(input: &Input) -> bool {
        input.move_x != i8::MIN
            && input.move_y != i8::MIN
            && (-AIM_MAX..=AIM_MAX).contains(&input.aim)
            && input.buttons & !(FIRE | BLAST) == 0
    }

    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Input {
        bot::decide(world, seat, rng)
    }

    fn picture(battle: &Battle<Self>, seat: Option<Seat>, canvas: &mut Canvas) {
        screen::picture(battle, seat, canvas);
    }

    fn steer(world: &World, seat: Seat, keys: &Keys) -> Input {
        screen::steer(world, seat, keys)
    }

    fn pose(world: &World, seat: Seat) -> Option<Pose> {
        let puppets = world.rows::<Puppet>();
        let (positions, facings) = (puppets.read::<Position>(), puppets.read::<Facing>());
        let (position, facing) = (positions.get(seat.index())?, facings.get(seat.index())?);
        Some(Pose { at: position.at.extend(0.0), angle: facing.angle })
    }

    fn describe(world: &World, seat: Option<Seat>, event: &Event) -> Option<String> {
        screen::describe(world, seat, event)
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        let (score, rules) = (world.singleton::<Score>(), world.singleton::<Rules>());
        let best = score.kills.iter().copied().max().unwrap_or_default();
        let won = rules.score_limit > 0 && best >= rules.score_limit;
        if !won && world.tick().0 < terms.ticks_max {
            return None;
        }
        Some(Outcome::by_score(&score.kills))
    }

    fn oracle(spec: &BattleSpec<Self>) -> Option<Oracle<Input>> {
        let mut limit = limit::Limit::new(spec);
        Some(Box::new(move |record| limit.step(record)))
    }
}
