//! Crowd: a game of nothing but a crowd. Everybody walks; every tick everybody looks over a rectangle of random extent
//! around himself, and makes a blast that hurts all others within 50 m. Who has no health left is back at once, elsewhere.
//!
//! All look and strike at once: what they see and suffer is what was there when the tick's walk was over, so the order
//! in which they are asked does not matter, and damage is a sum of whole numbers.

use tiltyard_engine::glam::Vec2;
use tiltyard_engine::kit::motion::{Position, Velocity, integrate};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::space::{Rect, Sums};
use tiltyard_engine::{
    ACTORS_MAX, ActorId, BattleSpec, Game, Mode, Oracle, Outcome, Registry, Roster, Schedule, Seat, Stage,
    Step, Terms, TickRate, World, math,
};

use super::limit::Limit;

/// How far a blast reaches, in metres.
pub(super) const BLAST_RADIUS: f32 = 50.0;
/// The shortest and the longest half side of what a user looks over, in metres.
pub(super) const LOOK: (f32, f32) = (1.0, 100.0);
/// How fast users walk at most, in m/s.
pub(super) const SPEED: f32 = 6.0;
/// Health at the start.
pub(super) const HEALTH: i32 = 1000;
/// By what blasts are divided that fall on a user.
pub(super) const ARMOUR: u32 = 16;
/// Ticks a second: a tick may take 20 ms.
const RATE_HZ: u16 = 50;

/// Streams of random numbers.
pub(super) mod stream {
    /// Where a user begins, and how it walks.
    pub(in super::super) const PLACE: u16 = 1;
    /// What a user does in a tick.
    pub(in super::super) const DEED: u16 = 2;
}

tiltyard_engine::record! {
    /// How many there are, and where.
    pub(crate) struct Setup {
        /// Users.
        pub users: u32,
        /// How many clusters they stand in; 0 for none, then they are all over the field.
        pub clusters: u32,
        /// Half the side of the field, in metres.
        pub half: f32,
        /// Half the side of a cluster, in metres.
        pub cluster_half: f32,
    }

    /// Where a user walks.
    pub(crate) struct Home {
        /// The corner with the lowest coordinates.
        pub min: Vec2 => grid(4096),
        /// The corner with the highest coordinates.
        pub max: Vec2 => grid(4096),
    }

    /// How a user fares.
    pub(crate) struct Body {
        /// What is left, above 0.
        pub health: i32,
        /// How often there was nothing left.
        pub falls: u32,
    }

    /// What a user sees.
    pub(crate) struct Sight {
        /// How many users.
        pub users: u32,
        /// Their health together.
        pub health: u32,
    }

    /// Nobody tells a crowd what to do.
    pub(crate) struct Nothing {
        none: u32,
    }
}

tiltyard_engine::kind! {
    /// One of the crowd.
    pub(crate) struct User {
        pub position: Position,
        pub velocity: Velocity,
        pub home: Home,
        pub body: Body,
        pub sight: Sight,
    }
}

/// The game.
pub(crate) struct Crowd;

#[derive(Default)]
pub(crate) struct Scratch {
    sums: Option<(Setup, Sums)>,
    deeds: Vec<Deed>,
    /// Rows that fell in this tick.
    fallen: Vec<u32>,
}

/// What a user does in a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    /// Half the extent of what it looks over.
    pub(super) look: Vec2,
    /// How much its blast hurts, 1 to 8.
    pub(super) power: u32,
}

impl Deed {
    #[inline(always)]
    pub(super) fn draw(seed: u64, tick: u32, actor: u32) -> Self {
        let mut rng = Rng::new(seed, tick, stream::DEED, actor);
        let look = Vec2::new(rng.range(LOOK.0, LOOK.1), rng.range(LOOK.0, LOOK.1));
        Self { look, power: 1 + (rng.next_u32() >> 29) }
    }
}

impl Setup {
    pub(super) fn uniform(users: u32) -> Self {
        Self { users, clusters: 0, half: 2000.0, cluster_half: 0.0 }
    }

    /// Sixteen crowds of 200 m by 200 m.
    pub(super) fn clustered(users: u32) -> Self {
        Self { users, clusters: 16, half: 2000.0, cluster_half: 100.0 }
    }

    /// The battle of this setup.
    pub(super) fn spec(self, seed: u64) -> BattleSpec<Crowd> {
        let rate = TickRate::new(RATE_HZ).expect("50 is a rate");
        BattleSpec {
            terms: Terms { seed, rate, ticks_max: tiltyard_engine::TICKS_MAX },
            setup: self,
            roster: Roster::bots(1, 1),
        }
    }

    /// Where a user walks, by its number: the clusters' homes lie on a lattice.
    pub(super) fn home(&self, number: u32) -> Rect {
        if self.clusters == 0 {
            return Rect::around(Vec2::ZERO, Vec2::splat(self.half));
        }
        let columns = math::sqrt(self.clusters as f32).ceil() as u32;
        let cluster = number % self.clusters;
        let lot = 2.0 * self.half / columns as f32;
        let place = Vec2::new((cluster % columns) as f32 + 0.5, (cluster / columns) as f32 + 0.5) * lot;
        Rect::around(place - Vec2::splat(self.half), Vec2::splat(self.cluster_half))
    }

    /// A cell's side for about so many users a cell, where they are.
    pub(super) fn cell(&self, users: f32) -> f32 {
        let side = if self.clusters == 0 { 2.0 * self.half } else { 2.0 * self.cluster_half };
        let area = side * side * self.clusters.max(1) as f32;
        math::sqrt(area * users / self.users.max(1) as f32).clamp(4.0, 100.0)
    }
}

impl Game for Crowd {
    const NAME: &'static str = "crowd";
    type Input = Nothing;
    type Event = Nothing;
    type Setup = Setup;
    type Scratch = Scratch;

    fn components(registry: &mut Registry) {
        registry.kind::<User>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("walk", walk).add("meet", meet).add("fall", fall);
    }

    fn modes() -> Vec<Mode<Setup>> {
        let mode = |name, setup| Mode { name, teams: 1, seats_per_team: 1, seconds: 3600, setup };
        vec![mode("uniform", Setup::uniform(10_000)), mode("clustered", Setup::clustered(10_000))]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for number in 0..stage.setup.users.min(ACTORS_MAX as u32) {
            let home = stage.setup.home(number);
            let mut rng = stage.rng(stream::PLACE, ActorId(number + 1));
            let place = somewhere(home.min, home.max, &mut rng);
            let velocity = math::direction(rng.signed() * math::PI) * rng.range(1.0, SPEED);
            stage.spawn(User {
                position: Position { at: place },
                velocity: Velocity { per_second: velocity },
                home: Home { min: home.min, max: home.max },
                body: Body { health: HEALTH, falls: 0 },
                sight: Sight::default(),
            });
        }
    }

    fn missing(last: &Nothing, _age: u16) -> Nothing {
        *last
    }

    fn check(_input: &Nothing) -> bool {
        true
    }

    fn bot(_world: &World, _seat: Seat, _rng: &mut Rng) -> Nothing {
        Nothing::default()
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }

    fn oracle(spec: &BattleSpec<Self>) -> Option<Oracle<Nothing>> {
        let mut limit = Limit::new(spec);
        Some(Box::new(move |record| limit.step(record.tick)))
    }
}

/// A place between two corners.
pub(super) fn somewhere(min: Vec2, max: Vec2, rng: &mut Rng) -> Vec2 {
    Vec2::new(rng.range(min.x, max.x), rng.range(min.y, max.y))
}

/// Everybody walks on, and turns round at the edge of where it walks.
fn walk(step: &mut Step<'_, Crowd>) {
    let users = step.world.rows::<User>();
    let (mut positions, mut velocities) = (users.write::<Position>(), users.write::<Velocity>());
    integrate(&mut positions, &velocities, step.terms.rate.seconds_per_tick());
    let homes = users.read::<Home>();
    for ((position, velocity), home) in positions.iter_mut().zip(&mut *velocities).zip(&*homes) {
        let (at, speed) = (position.at, &mut velocity.per_second);
        position.at = at.max(home.min).min(home.max);
        speed.x = if at.x == position.at.x { speed.x } else { -speed.x };
        speed.y = if at.y == position.at.y { speed.y } else { -speed.y };
    }
}

/// Everybody looks and strikes, and suffers the strikes of all others in reach.
fn meet(step: &mut Step<'_, Crowd>) {
    let users = step.world.rows::<User>();
    let (ids, positions) = (users.ids(), users.read::<Position>());
    let (mut bodies, mut sights) = (users.write::<Body>(), users.write::<Sight>());
    let Scratch { sums, deeds, fallen } = step.scratch;
    let (seed, now) = (step.terms.seed, step.tick.0);
    deeds.clear();
    deeds.extend(ids.iter().map(|id| Deed::draw(seed, now, id.0)));
    let setup = *step.setup;
    if sums.as_ref().is_none_or(|(of, _)| *of != setup) {
        let field = Rect::around(Vec2::ZERO, Vec2::splat(setup.half));
        *sums = Some((setup, Sums::new(field, setup.cell(6.0))));
    }
    let (_, sums) = sums.as_mut().expect("it was just made");
    let packed = positions.iter().zip(&*bodies).zip(&*deeds);
    sums.rebuild(packed.map(|((position, body), deed)| (position.at, pack(body.health, deed.power))));
    fallen.clear();
    for &row in sums.order() {
        let place = row as usize;
        let (at, deed) = (positions[place].at, deeds[place]);
        let (count, health, _) = unpack(sums.in_rect(&Rect::around(at, deed.look)));
        sights[place] = Sight { users: count, health };
        let (_, _, power) = unpack(sums.in_circle(at, BLAST_RADIUS));
        // Nobody hurts himself.
        bodies[place].health -= ((power - deed.power) / ARMOUR) as i32;
        if bodies[place].health <= 0 {
            fallen.push(row);
        }
    }
}

/// Who fell is back elsewhere.
fn fall(step: &mut Step<'_, Crowd>) {
    if step.scratch.fallen.is_empty() {
        return;
    }
    let users = step.world.rows::<User>();
    let (mut positions, mut bodies) = (users.write::<Position>(), users.write::<Body>());
    let (ids, homes) = (users.ids(), users.read::<Home>());
    for row in &step.scratch.fallen {
        let row = *row as usize;
        let mut rng = Rng::new(step.terms.seed, step.tick.0, stream::PLACE, ids[row].0);
        positions[row].at = somewhere(homes[row].min, homes[row].max, &mut rng);
        bodies[row] = Body { health: HEALTH, falls: bodies[row].falls.wrapping_add(1) };
    }
}

/// One user, its health and its power in one number, so that their sums are found at once: 17, 27 and 20 bits of them.
#[inline(always)]
pub(super) fn pack(health: i32, power: u32) -> u64 {
    const { assert!(ACTORS_MAX <= 1 << 16 && HEALTH < 1 << 11) };
    1 | (health as u64) << 17 | u64::from(power) << 44
}

/// The sums of users, of their health and of their powers.
#[inline(always)]
pub(super) fn unpack(sum: u64) -> (u32, u32, u32) {
    let bits = |from: u32, count: u32| (sum >> from & ((1 << count) - 1)) as u32;
    (bits(0, 17), bits(17, 27), bits(44, 20))
}
