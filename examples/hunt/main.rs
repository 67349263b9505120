//! Hunt: two teams in the fog. A team sees what is near one of its hunters and nothing else; how many arrows a hunter
//! has left only its own player knows. What a team does not see is not in the bytes that its players get. The page
//! `docs/your-own-game.md` says how.

use tiltyard_engine::glam::{Vec2, vec2};
use tiltyard_engine::kit::life::{Hurt, Life};
use tiltyard_engine::kit::motion::{Position, Velocity, integrate, keep_within};
use tiltyard_engine::kit::{ai::lead, cooldown::Cooldown, flyer::Flight, reach::Reach};
use tiltyard_engine::math::{PI, angle_of, direction, limit_length, wrap_angle};
use tiltyard_engine::space::{Rect, segment_circle};
use tiltyard_engine::{
    ActorId, Audience, BattleSpec, Game, Mode, Outcome, Registry, Schedule, Seat, Sight, Stage, Step, Terms,
    World, kind, record, rng::Rng, snapshot::VIEW_FULL,
};

record! {
    /// `walk` along x and y in percent of full speed, `aim` in 32,768ths of half a turn, `shoot` 0 or 1.
    struct Input { walk: [i8; 2], aim: i16, shoot: u16 }
    struct Hunter { seat: u32 }
    struct Quiver { arrows: u32, next: Cooldown }
    struct Score { kills: [u32; 2] }
    struct Land { half: f32, sight: f32 }
    struct Hit { who: ActorId, by: ActorId }
}
kind! {
    struct Puppet { hunter: Hunter, position: Position, velocity: Velocity, life: Life, quiver: Quiver }
    struct Arrow { position: Position, velocity: Velocity, flight: Flight }
}

const HEARTS: i16 = 2;
const RADIUS: f32 = 0.5; // metres
const WALK: f32 = 5.0; // metres a second
const FLY: f32 = 16.0; // metres a second
const ARROWS_MAX: u32 = 5;
const ARROW_MS: u32 = 900; // until one more is in the quiver
const FLIGHT_MS: u32 = 1200;
/// How much farther than it comes into sight somebody stays in it.
const KEPT: f32 = 1.2;

struct Hunt;
impl Game for Hunt {
    const NAME: &'static str = "hunt";
    type Input = Input;
    type Event = Hit;
    type Setup = Land;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Puppet>().kind::<Arrow>().singleton::<Score>().singleton::<Land>();
        registry.shown_to::<Puppet, Quiver>(Audience::Owner);
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("act", act).add("fly", fly);
    }

    fn modes() -> Vec<Mode<Land>> {
        let setup = Land { half: 30.0, sight: 12.0 };
        vec![Mode { name: "hunt", teams: 2, seats_per_team: 3, seconds: 60, setup }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        stage.set(*stage.setup);
        for (seat, entry) in stage.roster.iter() {
            let (team, id) = (entry.team.0 % 2, stage.next_id());
            let position = Position { at: lair(team, stage.setup, stage.rng(0, id)) };
            let quiver = Quiver { arrows: ARROWS_MAX, ..Quiver::default() };
            let hunter = Hunter { seat: u32::from(seat.0) };
            let life = Life::new(HEARTS, team);
            stage.spawn(Puppet { hunter, position, life, quiver, ..Puppet::default() });
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
        // In a client's world there are those alone whom its team sees; before the first snapshot nobody.
        let Some(own) = row_of(world, seat) else { return Input::default() };
        let (places, paces, lives) =
            (puppets.read::<Position>(), puppets.read::<Velocity>(), puppets.read::<Life>());
        let (team, here) = (lives[own].team, places[own].at);
        let enemies = (0..places.len()).filter(|row| lives[*row].team != team);
        let nearest = enemies.min_by(|a, b| {
            places[*a].at.distance_squared(here).total_cmp(&places[*b].at.distance_squared(here))
        });
        let there = match nearest {
            Some(row) => lead(here, places[row].at, paces[row].per_second, FLY),
            // Nobody in sight: along a path of its own, through the middle again and again.
            None => {
                let turn = (world.tick().0 / 150 * 7 + u32::from(seat.0) * 5) as f32;
                direction(turn) * world.singleton::<Land>().half * 0.8
            }
        };
        let near = nearest.is_some() && here.distance(there) < 8.0;
        let wish = (there - here).normalize_or_zero() * if near { -100.0 } else { 100.0 };
        let aim = wrap_angle(angle_of(there - here) + rng.signed() * 0.1) / PI;
        let shoot = nearest.is_some() && puppets.read::<Quiver>()[own].arrows > 0;
        Input { walk: [wish.x as i8, wish.y as i8], aim: (aim * 32_767.0) as i16, shoot: u16::from(shoot) }
    }

    fn puppet(world: &World, seat: Seat) -> Option<ActorId> {
        row_of(world, seat).map(|row| world.rows::<Puppet>().ids()[row])
    }

    fn view(spec: &BattleSpec<Self>, seat: Option<Seat>) -> u16 {
        let entry = seat.and_then(|seat| spec.roster.seats.get(seat.index()));
        // Who looks on sees everything.
        entry.map_or(VIEW_FULL, |entry| VIEW_FULL + 1 + u16::from(entry.team.0 % 2))
    }

    fn sight(world: &World, view: u16, sight: &mut Sight<'_>) {
        let puppets = world.rows::<Puppet>();
        let lives = puppets.read::<Life>();
        let is_own = |row: usize| u16::from(lives[row].team) + VIEW_FULL + 1 == view;
        let mut eyes = [Vec2::ZERO; EYES_MAX];
        let own = puppets.read::<Position>();
        let own = own.iter().enumerate().filter(|(row, _)| is_own(*row)).map(|(_, place)| place.at);
        let count = eyes.iter_mut().zip(own).map(|(eye, at)| *eye = at).count();
        let enter = world.singleton::<Land>().sight;
        let reach = Reach { enter, leave: enter * KEPT };
        reach.see::<Puppet>(world, &eyes[..count], sight);
        reach.see::<Arrow>(world, &eyes[..count], sight);
        sight.see_rows::<Puppet>(|row, _| is_own(row));
    }

    fn is_urgent(world: &World, _: Option<Seat>, actor: ActorId) -> bool {
        world.rows::<Arrow>().find(actor).is_some()
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        let Score { kills } = *world.singleton::<Score>();
        (world.tick().0 >= terms.ticks_max).then(|| Outcome::by_score(&kills))
    }
}

/// Hunters of a team whose eyes count for what the team sees.
const EYES_MAX: usize = 64;

/// The row of a seat's hunter.
fn row_of(world: &World, seat: Seat) -> Option<usize> {
    world.rows::<Puppet>().read::<Hunter>().iter().position(|hunter| hunter.seat == u32::from(seat.0))
}

/// Where a hunter of a team begins: anywhere in its half.
fn lair(team: u8, land: &Land, mut rng: Rng) -> Vec2 {
    let side = if team == 0 { -1.0 } else { 1.0 };
    vec2(side * (0.1 + rng.unit() * 0.8), rng.signed() * 0.9) * land.half
}

/// Hunters walk and shoot.
fn act(step: &mut Step<'_, Hunt>) {
    let puppets = step.world.rows::<Puppet>();
    let (ids, hunters, lives) = (puppets.ids(), puppets.read::<Hunter>(), puppets.read::<Life>());
    let (mut positions, mut velocities) = (puppets.write::<Position>(), puppets.write::<Velocity>());
    let (mut quivers, rate) = (puppets.write::<Quiver>(), step.terms.rate);
    for (row, hunter) in hunters.iter().enumerate() {
        let Input { walk: [x, y], aim, shoot } = step.inputs[hunter.seat as usize].input;
        velocities[row].per_second = limit_length(vec2(x.into(), y.into()) / 100.0, 1.0) * WALK;
        let quiver = &mut quivers[row];
        if quiver.arrows < ARROWS_MAX && quiver.next.is_over(step.tick) {
            quiver.arrows += 1;
            quiver.next.start(step.tick, rate.ticks_in_ms(ARROW_MS));
        }
        if shoot == 1 && quiver.arrows > 0 {
            quiver.arrows -= 1;
            let ends_at = step.tick.later(rate.ticks_in_ms(FLIGHT_MS));
            let flight = Flight { owner: ids[row], team: lives[row].team, ends_at, ..Flight::default() };
            let velocity = Velocity { per_second: direction(f32::from(aim) / 32_768.0 * PI) * FLY };
            step.changes.spawn(ids[row], Arrow { position: positions[row], velocity, flight });
        }
    }
    integrate(&mut positions, &velocities, rate.seconds_per_tick());
    let land = Rect::around(Vec2::ZERO, Vec2::splat(step.setup.half));
    positions.iter_mut().for_each(|position| position.at = keep_within(position.at, &land, RADIUS));
}

/// Arrows fly, hit the first enemy in their way, and end.
fn fly(step: &mut Step<'_, Hunt>) {
    let (puppets, arrows) = (step.world.rows::<Puppet>(), step.world.rows::<Arrow>());
    let (mut places, mut lives) = (puppets.write::<Position>(), puppets.write::<Life>());
    let (mut positions, velocities) = (arrows.write::<Position>(), arrows.read::<Velocity>());
    let seconds = step.terms.rate.seconds_per_tick();
    for (row, flight) in arrows.read::<Flight>().iter().enumerate() {
        let (from, delta) = (positions[row].at, velocities[row].per_second * seconds);
        let is_hit = |at: Vec2| segment_circle(from, delta, at, RADIUS).is_some();
        let hit = (0..puppets.len()).find(|row| lives[*row].team != flight.team && is_hit(places[*row].at));
        if let Some(row) = hit {
            step.events.tell(Hit { who: puppets.ids()[row], by: flight.owner });
            if lives[row].hurt(1, step.tick) == Hurt::Died {
                lives[row].revive(HEARTS);
                places[row].at = lair(lives[row].team, step.setup, step.rng(0, puppets.ids()[row]));
                step.world.singleton_mut::<Score>().kills[usize::from(flight.team)] += 1;
            }
        }
        if hit.is_some() || flight.is_over(step.tick) {
            step.changes.despawn(arrows.ids()[row]);
        }
    }
    integrate(&mut positions, &velocities, seconds);
}

fn main() -> anyhow::Result<()> {
    tiltyard::run::<Hunt>()
}

#[cfg(test)]
mod tests;
