//! The crowd by hand: the measure of the game's tick, and its oracle. It has the same rules and ends every tick in the
//! same state hash, with no world, no schedule and no index of the engine's. Shared are what is a given: the setup, the
//! layout of records, random numbers, snapping, the hash of bytes.
//!
//! Users lie sorted in strips across the field, and along a strip in cells that are much narrower than the strip: a strip
//! costs a fixed amount, so there are few of them, while narrow cells leave few users at the edge of a shape.

use tiltyard_engine::bytemuck::{NoUninit, cast_slice};
use tiltyard_engine::glam::Vec2;
use tiltyard_engine::kit::motion::{Position, Velocity};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::{ACTORS_MAX, BattleSpec, Hashes, StateHash, Tick, hash_column, math, snap};

use super::game::{
    ARMOUR, BLAST_RADIUS, Body, Crowd, Deed, HEALTH, Home, SPEED, Setup, Sight, pack, somewhere, stream,
    unpack,
};

/// Cells of a strip as long as it is wide.
const FINENESS: f32 = 8.0;
/// Users that are tested at once: runs of them are short, and their lengths are hard to guess.
const LANES: usize = 4;
/// More than any rounding of places within the field.
const SLACK: f32 = 1.0 / 64.0;

/// A crowd, by hand.
#[derive(Debug)]
pub(super) struct Limit {
    seed: u64,
    seconds: f32,
    tick: Tick,
    positions: Vec<Position>,
    velocities: Vec<Velocity>,
    homes: Vec<Home>,
    bodies: Vec<Body>,
    sights: Vec<Sight>,
    deeds: Vec<Deed>,
    fallen: Vec<u32>,
    strips: Strips,
    ids_hash: u64,
    homes_hash: u64,
    hashes: Hashes,
}

/// Users by strip and cell.
#[derive(Debug, Default)]
struct Strips {
    half: f32,
    height: f32,
    count: u32,
    cells: u32,
    starts: Vec<u32>,
    keys: Vec<u32>,
    order: Vec<u32>,
    sorted: Vec<(Vec2, u64)>,
    before: Vec<u64>,
}

impl Limit {
    pub(super) fn new(spec: &BattleSpec<Crowd>) -> Self {
        let (seed, setup) = (spec.terms.seed, spec.setup);
        let count = setup.users.min(ACTORS_MAX as u32);
        let on_grid = |at: Vec2| at.map(|value| snap(value, 4096.0));
        let (mut positions, mut velocities, mut homes) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..count {
            let home = setup.home(number);
            let mut rng = Rng::new(seed, 0, stream::PLACE, number + 1);
            positions.push(Position { at: on_grid(somewhere(home.min, home.max, &mut rng)) });
            let velocity = math::direction(rng.signed() * math::PI) * rng.range(1.0, SPEED);
            velocities.push(Velocity { per_second: on_grid(velocity) });
            homes.push(Home { min: on_grid(home.min), max: on_grid(home.max) });
        }
        let ids: Vec<u32> = (1..=count).collect();
        Self {
            seed,
            seconds: spec.terms.rate.seconds_per_tick(),
            tick: Tick::ZERO,
            positions,
            velocities,
            ids_hash: hash(&ids),
            homes_hash: hash(&homes),
            homes,
            bodies: vec![Body { health: HEALTH, falls: 0 }; count as usize],
            sights: vec![Sight::default(); count as usize],
            deeds: Vec::new(),
            fallen: Vec::new(),
            strips: Strips::new(&setup),
            hashes: Hashes::default(),
        }
    }

    /// Makes the next tick and returns the hash of the state.
    pub(super) fn step(&mut self, tick: Tick) -> StateHash {
        assert_eq!(tick, self.tick.next(), "ticks follow each other");
        self.tick = tick;
        self.deeds.clear();
        self.deeds.extend((1..=self.positions.len() as u32).map(|id| Deed::draw(self.seed, tick.0, id)));
        for ((position, velocity), home) in
            self.positions.iter_mut().zip(&mut self.velocities).zip(&self.homes)
        {
            let (at, speed) = (position.at + velocity.per_second * self.seconds, &mut velocity.per_second);
            let within = at.clamp(home.min, home.max);
            // Adding 0 makes −0 a plain 0.
            speed.x = if at.x == within.x { speed.x } else { 0.0 - speed.x };
            speed.y = if at.y == within.y { speed.y } else { 0.0 - speed.y };
            position.at = within;
        }
        self.strips.fill(&self.positions, &self.bodies, &self.deeds);
        self.meet();
        for position in &mut self.positions {
            position.at = Vec2::new(on_grid(position.at.x), on_grid(position.at.y));
        }
        let users = self.positions.len() as u32;
        self.hashes.begin(tick, users + 1);
        self.hashes.rows(users);
        for column in [
            self.ids_hash,
            hash(&self.positions),
            hash(&self.velocities),
            self.homes_hash,
            hash(&self.bodies),
            hash(&self.sights),
        ] {
            self.hashes.column(column);
        }
        self.hashes.end();
        self.hashes.state()
    }

    fn meet(&mut self) {
        for (&row, &(at, _)) in self.strips.order.iter().zip(&self.strips.sorted) {
            let place = row as usize;
            let deed = self.deeds[place];
            let (users, health, _) = unpack(self.strips.in_rect(at - deed.look, at + deed.look));
            self.sights[place] = Sight { users, health };
            let (_, _, power) = unpack(self.strips.in_circle(at));
            let body = &mut self.bodies[place];
            body.health -= ((power - deed.power) / ARMOUR) as i32;
            if body.health <= 0 {
                self.fallen.push(row);
            }
        }
        for row in self.fallen.drain(..) {
            let place = row as usize;
            let mut rng = Rng::new(self.seed, self.tick.0, stream::PLACE, row + 1);
            self.positions[place].at = somewhere(self.homes[place].min, self.homes[place].max, &mut rng);
            self.bodies[place] = Body { health: HEALTH, falls: self.bodies[place].falls.wrapping_add(1) };
        }
    }
}

impl Strips {
    fn new(setup: &Setup) -> Self {
        let height = setup.cell(6.0);
        let count = (2.0 * setup.half / height).ceil() as u32;
        let cells = (2.0 * setup.half / height * FINENESS).ceil() as u32;
        let starts = vec![0; (count * cells) as usize + 1];
        Self { half: setup.half, height, count, cells, starts, ..Self::default() }
    }

    /// The strip of a y. Never falls as the coordinate grows, and neither does a cell.
    #[inline(always)]
    fn strip(&self, y: f32) -> u32 {
        (((y + self.half) * (1.0 / self.height)) as i32).clamp(0, self.count as i32 - 1) as u32
    }

    #[inline(always)]
    fn cell(&self, x: f32) -> u32 {
        (((x + self.half) * (FINENESS / self.height)) as i32).clamp(0, self.cells as i32 - 1) as u32
    }

    fn fill(&mut self, positions: &[Position], bodies: &[Body], deeds: &[Deed]) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(positions.iter().map(|at| self.strip(at.at.y) * self.cells + self.cell(at.at.x)));
        self.starts.fill(0);
        keys.iter().for_each(|key| self.starts[*key as usize] += 1);
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.order.resize(positions.len(), 0);
        self.sorted.resize(positions.len() + LANES, (Vec2::ZERO, 0));
        for row in (0..positions.len()).rev() {
            let start = &mut self.starts[keys[row] as usize];
            *start -= 1;
            self.order[*start as usize] = row as u32;
            self.sorted[*start as usize] = (positions[row].at, pack(bodies[row].health, deeds[row].power));
        }
        let mut sum = 0;
        self.before.clear();
        self.before.push(0);
        self.before.extend(self.sorted[..positions.len()].iter().map(|(_, weight)| {
            sum += weight;
            sum
        }));
        self.keys = keys;
    }

    #[inline(always)]
    fn in_rect(&self, min: Vec2, max: Vec2) -> u64 {
        let (low, high) = (self.strip(min.y), self.strip(max.y));
        let (left, right) = (self.cell(min.x), self.cell(max.x));
        let within = |at: Vec2| (at.x >= min.x) & (at.x <= max.x) & (at.y >= min.y) & (at.y <= max.y);
        let mut sum = 0_u64;
        for strip in low..=high {
            let strip_starts = &self.starts[(strip * self.cells) as usize..][..self.cells as usize + 1];
            let (from, until) =
                (strip_starts[left as usize] as usize, strip_starts[right as usize + 1] as usize);
            if strip == low || strip == high || left == right {
                sum += self.tested(from, until, within);
                continue;
            }
            let (inner, outer) =
                (strip_starts[left as usize + 1] as usize, strip_starts[right as usize] as usize);
            sum += self.tested(from, inner, within) + self.tested(outer, until, within);
            sum += self.before[outer] - self.before[inner];
        }
        sum
    }

    #[inline(always)]
    fn in_circle(&self, center: Vec2) -> u64 {
        let within = |at: Vec2| (at - center).length_squared() <= BLAST_RADIUS * BLAST_RADIUS;
        let (outer, inner) = (BLAST_RADIUS + SLACK, BLAST_RADIUS - SLACK);
        let mut sum = 0_u64;
        for strip in self.strip(center.y - outer)..=self.strip(center.y + outer) {
            // Nobody is outside of the field, so edge strips end there too.
            let low = strip as f32 * self.height - self.half - center.y;
            let high = low + self.height;
            let near = low.max(-high).max(0.0) - SLACK;
            let far = high.max(-low) + SLACK;
            let reach = (outer * outer - near * near).max(0.0).sqrt() + SLACK;
            let safe = (inner * inner - far * far).max(0.0).sqrt() - SLACK;
            let strip_starts = &self.starts[(strip * self.cells) as usize..][..self.cells as usize + 1];
            let from = strip_starts[self.cell(center.x - reach) as usize] as usize;
            let until = strip_starts[self.cell(center.x + reach) as usize + 1] as usize;
            let (first, last) = (self.cell(center.x - safe) + 1, self.cell(center.x + safe));
            if safe <= 0.0 || first >= last {
                sum += self.tested(from, until, within);
                continue;
            }
            let (inner, outer) =
                (strip_starts[first as usize] as usize, strip_starts[last as usize] as usize);
            sum += self.tested(from, inner, within) + self.tested(outer, until, within);
            sum += self.before[outer] - self.before[inner];
        }
        sum
    }

    #[inline(always)]
    fn tested(&self, from: usize, until: usize, within: impl Fn(Vec2) -> bool) -> u64 {
        let mut sum = 0;
        for first in (from..until).step_by(LANES) {
            for (lane, (at, weight)) in self.sorted[first..first + LANES].iter().enumerate() {
                sum += weight & u64::from(within(*at) & (first + lane < until)).wrapping_neg();
            }
        }
        sum
    }
}

/// Brings a value below 2048 to the grid of 2⁻¹²: floats from 2048 to 4096 have steps of that, adding rounds halves to the
/// even one, and taking off is exact.
#[inline(always)]
fn on_grid(value: f32) -> f32 {
    ((value.abs() + 2048.0) - 2048.0).copysign(value) + 0.0
}

fn hash<T: NoUninit>(column: &[T]) -> u64 {
    hash_column(cast_slice(column))
}
