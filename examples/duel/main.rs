//! Duel: the smallest game of one's own, explained line by line in `docs/your-own-game.md`. Two puppets in a square
//! shoot at each other. Three hits fell a puppet, which begins anew; who has felled the other five times wins.

use tiltyard_engine::glam::{Vec2, vec2};
use tiltyard_engine::kit::life::{Hurt, Life};
use tiltyard_engine::kit::motion::{Position, Velocity, integrate, keep_within};
use tiltyard_engine::kit::{ai::lead, cooldown::Cooldown, flyer::Flight};
use tiltyard_engine::math::{PI, angle_of, direction, limit_length, wrap_angle};
use tiltyard_engine::space::{Rect, segment_circle};
use tiltyard_engine::{
    ActorId, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, Step, Terms, World, kind, record, rng::Rng,
};

record! {
    /// `walk` along x and y in percent of full speed, `aim` in 32,768ths of half a turn, `shoot` 0 or 1.
    struct Input { walk: [i8; 2], aim: i16, shoot: u16 }
    struct Arms { weapon: Cooldown }
    struct Score { kills: [u32; 2] }
    struct Rules { half: f32, kills_to_win: u32 }
    struct Hit { who: ActorId, by: ActorId }
}
kind! {
    struct Puppet { position: Position, velocity: Velocity, life: Life, arms: Arms }
    struct Flyer { position: Position, velocity: Velocity, flight: Flight }
}

const HEARTS: i16 = 3;
const RADIUS: f32 = 0.5; // metres
const WALK: f32 = 5.0; // metres a second
const FLY: f32 = 12.0; // metres a second
const RELOAD_MS: u32 = 400;
const FLIGHT_MS: u32 = 1500;

struct Duel;
impl Game for Duel {
    const NAME: &'static str = "duel";
    type Input = Input;
    type Event = Hit;
    type Setup = Rules;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Puppet>().kind::<Flyer>().singleton::<Score>().singleton::<Rules>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("act", act).add("fly", fly);
    }

    fn modes() -> Vec<Mode<Rules>> {
        let setup = Rules { half: 8.0, kills_to_win: 5 };
        vec![Mode { name: "duel", teams: 2, seats_per_team: 1, seconds: 60, setup }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        stage.set(*stage.setup);
        for entry in &stage.roster.seats {
            let (team, id) = (entry.team.0 % 2, stage.next_id());
            let position = Position { at: base(team, stage.setup, stage.rng(0, id)) };
            stage.spawn(Puppet { position, life: Life::new(HEARTS, team), ..Puppet::default() });
        }
    }

    fn missing(last: &Input, age: u16) -> Input {
        if age <= 6 { Input { shoot: 0, ..*last } } else { Input::default() }
    }

    fn check(input: &Input) -> bool {
        input.shoot <= 1 && input.walk.iter().all(|percent| (-100..=100).contains(percent))
    }

    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Input {
        let puppets = world.rows::<Puppet>();
        let (places, lives) = (puppets.read::<Position>(), puppets.read::<Life>());
        let (team, here) = (lives[seat.index()].team, places[seat.index()].at);
        let Some(enemy) = lives.iter().position(|life| life.team != team) else { return Input::default() };
        let (there, pace) = (places[enemy].at, puppets.read::<Velocity>()[enemy].per_second);
        let aim = wrap_angle(angle_of(lead(here, there, pace, FLY) - here) + rng.signed() * 0.15) / PI;
        let side = if (world.tick().0 / 40 + u32::from(seat.0)).is_multiple_of(2) { 1.0 } else { -1.0 };
        let towards = (there - here).normalize_or_zero();
        let wish = limit_length(towards * (here.distance(there) - 5.0) + towards.perp() * side, 1.0) * 100.0;
        Input { walk: [wish.x as i8, wish.y as i8], aim: (aim * 32_768.0) as i16, shoot: 1 }
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        let Score { kills } = *world.singleton::<Score>();
        let won = kills.iter().any(|kills| *kills >= world.singleton::<Rules>().kills_to_win);
        (won || world.tick().0 >= terms.ticks_max).then(|| Outcome::by_score(&kills))
    }
}

/// Where a puppet of a team begins: anywhere on its side of the square.
fn base(team: u8, rules: &Rules, mut rng: Rng) -> Vec2 {
    vec2(if team == 0 { -0.8 } else { 0.8 }, rng.signed() * 0.8) * rules.half
}

/// Puppets walk and shoot.
fn act(step: &mut Step<'_, Duel>) {
    let puppets = step.world.rows::<Puppet>();
    let (ids, lives, mut arms) = (puppets.ids(), puppets.read::<Life>(), puppets.write::<Arms>());
    let (mut positions, mut velocities) = (puppets.write::<Position>(), puppets.write::<Velocity>());
    let rate = step.terms.rate;
    for (row, seat) in step.inputs.iter().enumerate() {
        let Input { walk: [x, y], aim, shoot } = seat.input;
        velocities[row].per_second = limit_length(vec2(x.into(), y.into()) / 100.0, 1.0) * WALK;
        if shoot == 1 && arms[row].weapon.is_over(step.tick) {
            arms[row].weapon.start(step.tick, rate.ticks_in_ms(RELOAD_MS));
            let ends_at = step.tick.later(rate.ticks_in_ms(FLIGHT_MS));
            let flight = Flight { owner: ids[row], team: lives[row].team, ends_at, ..Flight::default() };
            let velocity = Velocity { per_second: direction(f32::from(aim) / 32_768.0 * PI) * FLY };
            step.changes.spawn(ids[row], Flyer { position: positions[row], velocity, flight });
        }
    }
    integrate(&mut positions, &velocities, rate.seconds_per_tick());
    let square = Rect::around(Vec2::ZERO, Vec2::splat(step.setup.half));
    positions.iter_mut().for_each(|position| position.at = keep_within(position.at, &square, RADIUS));
}

/// Flyers fly, hit the first enemy in their way, and end.
fn fly(step: &mut Step<'_, Duel>) {
    let (puppets, flyers) = (step.world.rows::<Puppet>(), step.world.rows::<Flyer>());
    let (mut places, mut lives) = (puppets.write::<Position>(), puppets.write::<Life>());
    let (mut positions, velocities) = (flyers.write::<Position>(), flyers.read::<Velocity>());
    let seconds = step.terms.rate.seconds_per_tick();
    for (row, flight) in flyers.read::<Flight>().iter().enumerate() {
        let (from, delta) = (positions[row].at, velocities[row].per_second * seconds);
        let is_hit = |at: Vec2| segment_circle(from, delta, at, RADIUS).is_some();
        let hit = (0..puppets.len()).find(|row| lives[*row].team != flight.team && is_hit(places[*row].at));
        if let Some(row) = hit {
            step.events.tell(Hit { who: puppets.ids()[row], by: flight.owner });
            if lives[row].hurt(1, step.tick) == Hurt::Died {
                lives[row].revive(HEARTS);
                places[row].at = base(lives[row].team, step.setup, step.rng(0, puppets.ids()[row]));
                step.world.singleton_mut::<Score>().kills[usize::from(flight.team)] += 1;
            }
        }
        if hit.is_some() || flight.is_over(step.tick) {
            step.changes.despawn(flyers.ids()[row]);
        }
    }
    integrate(&mut positions, &velocities, seconds);
}

fn main() -> anyhow::Result<()> {
    tiltyard::run::<Duel>()
}

#[cfg(test)]
mod tests;
