//! Puppets: what they are told, where it leads them, whom they blast.

use glam::Vec2;

use super::super::state::{BLAST, FIRE, FLYER_RADIUS, PUPPET_RADIUS, touches_of};
use super::super::{Arms, Input, Rules, Tally, stream};
use super::flyers::Shot;
use super::map::Map;
use super::targets::Targets;
use super::{Hit, on_grid};
use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::math;
use crate::rng::Rng;
use crate::{ActorId, SeatInput, Tick};

/// Ticks from whim to whim of a minion.
const WHIM_TICKS: usize = 32;
/// How far before a puppet's middle its shots begin.
const MUZZLE: f32 = PUPPET_RADIUS + FLYER_RADIUS + 0.05;

/// The columns of puppets; row `r` is actor `r + 1`.
#[derive(Debug, Default)]
pub(super) struct Puppets {
    pub(super) positions: Vec<Vec2>,
    pub(super) velocities: Vec<Vec2>,
    pub(super) facings: Vec<f32>,
    pub(super) lives: Vec<Life>,
    pub(super) arms: Vec<Arms>,
    pub(super) tallies: Vec<Tally>,
    pub(super) changed: Changed,
    /// The rows of all that are dead, in no order.
    pub(super) dead: Vec<u32>,
    /// What was fired in this tick, by rows.
    pub(super) shots: Vec<Shot>,
    /// Rows that blast in this tick, ascending.
    blasts: Vec<u32>,
    /// Rows that need a closer look.
    few: Vec<u32>,
}

/// Columns that were written to since they were hashed, where that is not every tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changed {
    pub(super) lives: bool,
    pub(super) arms: bool,
    pub(super) tallies: bool,
}

impl Puppets {
    pub(super) fn new(teams: impl Iterator<Item = u8>, rules: &Rules, map: &Map, seed: u64) -> Self {
        let mut puppets = Self::default();
        for (row, team) in teams.enumerate() {
            let mut rng = Rng::new(seed, 0, stream::PLACE, row as u32 + 1);
            let place = map.place_in_base(team, &mut rng);
            puppets.positions.push(place);
            puppets.facings.push(crate::snap(math::angle_of(-place), 4096.0));
            puppets.lives.push(Life { health: rules.health, team, alive: 1, returns_at: Tick::ZERO });
        }
        let count = puppets.positions.len();
        puppets.velocities.resize(count, Vec2::ZERO);
        puppets.arms.resize(count, Arms::default());
        puppets.tallies.resize(count, Tally::default());
        puppets.changed = Changed { lives: true, arms: true, tallies: true };
        puppets.settle_on_grid(rules);
        puppets
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// The dead return; inputs and whims become velocities, shots and blasts.
    pub(super) fn orders(
        &mut self,
        inputs: &[SeatInput<Input>],
        now: Tick,
        seed: u64,
        rules: &Rules,
        map: &Map,
    ) {
        self.shots.clear();
        self.blasts.clear();
        self.returns(now, seed, rules, map);
        let seats = inputs.len();
        let count = self.steer(inputs, now, rules);
        for index in 0..count {
            let row = self.few[index] as usize;
            let input = inputs[row].input;
            self.press(input.buttons, row, input.angle(), now, rules);
        }
        let turn = (WHIM_TICKS - (now.0 as usize + seats) % WHIM_TICKS) % WHIM_TICKS;
        for row in (seats + turn..self.lives.len()).step_by(WHIM_TICKS) {
            if self.lives[row].alive != 0 {
                let mut rng = Rng::new(seed, now.0, stream::MINION, row as u32 + 1);
                self.velocities[row] = math::direction(rng.signed() * math::PI) * (rules.speed * 0.5);
                let aim = rng.signed() * math::PI;
                self.facings[row] = crate::snap(aim, 4096.0);
                self.press(FIRE, row, aim, now, rules);
            }
        }
    }

    fn returns(&mut self, now: Tick, seed: u64, rules: &Rules, map: &Map) {
        let mut index = 0;
        while index < self.dead.len() {
            let row = self.dead[index] as usize;
            self.velocities[row] = Vec2::ZERO;
            let life = &mut self.lives[row];
            if now < life.returns_at {
                index += 1;
                continue;
            }
            let mut rng = Rng::new(seed, now.0, stream::PLACE, row as u32 + 1);
            (life.health, life.alive, life.returns_at) = (rules.health, 1, Tick::ZERO);
            self.positions[row] = map.place_in_base(life.team, &mut rng);
            self.arms[row] = Arms::default();
            (self.changed.lives, self.changed.arms) = (true, true);
            self.dead.swap_remove(index);
        }
    }

    /// Turns inputs into velocities and facings, and collects the rows that fire or blast. Returns how many.
    fn steer(&mut self, inputs: &[SeatInput<Input>], now: Tick, rules: &Rules) -> usize {
        let seats = inputs.len();
        self.few.resize(self.lives.len().max(seats), 0);
        let lives = &self.lives[..seats];
        let (fours, rest) = inputs.as_chunks::<4>();
        let whole = seats - rest.len();
        let (velocities, last_velocities) = self.velocities[..seats].split_at_mut(whole);
        let (facings, last_facings) = self.facings[..seats].split_at_mut(whole);
        let chunks = fours
            .iter()
            .zip(lives.as_chunks::<4>().0)
            .zip(velocities.as_chunks_mut::<4>().0)
            .zip(facings.as_chunks_mut::<4>().0);
        for (((inputs, lives), velocities), facings) in chunks {
            steer(inputs, lives, velocities, facings, rules);
        }
        let chunks = rest
            .as_chunks::<1>()
            .0
            .iter()
            .zip(lives[whole..].as_chunks::<1>().0)
            .zip(last_velocities.as_chunks_mut::<1>().0)
            .zip(last_facings.as_chunks_mut::<1>().0);
        for (((inputs, lives), velocities), facings) in chunks {
            steer(inputs, lives, velocities, facings, rules);
        }
        let mut count = 0;
        for (row, ((seat, life), arms)) in inputs.iter().zip(lives).zip(&self.arms[..seats]).enumerate() {
            self.few[count] = row as u32;
            let fires = (seat.input.buttons & FIRE != 0) & (now >= arms.weapon.0);
            let blasts = (seat.input.buttons & BLAST != 0) & (now >= arms.blast.0);
            count += usize::from((life.alive != 0) & (fires | blasts));
        }
        count
    }

    fn press(&mut self, buttons: u16, row: usize, aim: f32, now: Tick, rules: &Rules) {
        let arms = &mut self.arms[row];
        if buttons & FIRE != 0 && now >= arms.weapon.0 {
            arms.weapon.0 = Tick(now.0.saturating_add(rules.weapon_ticks));
            self.changed.arms = true;
            let direction = math::direction(aim);
            let team = self.lives[row].team;
            self.shots.push(Shot {
                position: self.positions[row] + direction * MUZZLE,
                velocity: direction * rules.flyer_speed,
                flight: Flight {
                    owner: ActorId(row as u32 + 1),
                    ends_at: Tick(now.0.saturating_add(rules.flyer_ticks)),
                    touches: touches_of(team),
                    team,
                    bounces: rules.flyer_bounces as u8,
                    kind: 0,
                },
            });
        }
        if buttons & BLAST != 0 && now >= arms.blast.0 {
            arms.blast.0 = Tick(now.0.saturating_add(rules.blast_ticks));
            self.changed.arms = true;
            self.blasts.push(row as u32);
        }
    }

    /// Puppets move, stay within walls and out of obstacles, and are targets there.
    pub(super) fn motion(&mut self, rules: &Rules, map: &Map, targets: &mut Targets) {
        for (position, velocity) in self.positions.iter_mut().zip(&self.velocities) {
            *position = map.within(*position + *velocity * rules.seconds);
        }
        self.few.resize(self.positions.len().max(self.few.len()), 0);
        let mut count = 0;
        for (row, position) in self.positions.iter().enumerate() {
            self.few[count] = row as u32;
            count += usize::from(map.is_close(*position));
        }
        for row in &self.few[..count] {
            let position = &mut self.positions[*row as usize];
            *position = map.out_of_obstacles(*position);
        }
        targets.place(&self.positions, &self.lives);
    }

    /// Who stands in a blast is hit.
    pub(super) fn blasts(&self, rules: &Rules, targets: &Targets, hits: &mut Vec<Hit>) {
        let radius = rules.blast_radius;
        let (full, edge) = (f32::from(rules.blast_damage), f32::from(rules.blast_edge_damage));
        for &row in &self.blasts {
            let touches = touches_of(self.lives[row as usize].team);
            targets.in_circle(self.positions[row as usize], radius, touches, |target, squared| {
                let share = if radius > 0.0 { squared.sqrt() / radius } else { 0.0 };
                let damage = (full - (full - edge) * share) as i16;
                hits.push(Hit { target, by: ActorId(row + 1), damage });
            });
        }
    }

    /// Brings places and velocities to the grid; facings are there already.
    pub(super) fn settle_on_grid(&mut self, rules: &Rules) {
        on_grid(&mut self.positions, rules.half);
        on_grid(&mut self.velocities, rules.speed);
    }
}

/// As many puppets at once as there are lanes: full speed at most, and a bounded change a tick.
#[inline(always)]
fn steer<const N: usize>(
    inputs: &[SeatInput<Input>; N],
    lives: &[Life; N],
    velocities: &mut [Vec2; N],
    facings: &mut [f32; N],
    rules: &Rules,
) {
    let lanes = |of: &dyn Fn(usize) -> f32| std::array::from_fn::<f32, N, _>(of);
    let x = lanes(&|lane| inputs[lane].input.movement().x);
    let y = lanes(&|lane| inputs[lane].input.movement().y);
    let (u, v) = (lanes(&|lane| velocities[lane].x), lanes(&|lane| velocities[lane].y));
    // Aims are on the grid of facings.
    let aims = lanes(&|lane| inputs[lane].input.angle());
    let scales = lanes(&|lane| scale(x[lane], y[lane], 1.0));
    let x = lanes(&|lane| x[lane] * scales[lane] * rules.speed - u[lane]);
    let y = lanes(&|lane| y[lane] * scales[lane] * rules.speed - v[lane]);
    let scales = lanes(&|lane| scale(x[lane], y[lane], rules.change_max));
    let x = lanes(&|lane| u[lane] + x[lane] * scales[lane]);
    let y = lanes(&|lane| v[lane] + y[lane] * scales[lane]);
    for lane in 0..N {
        let alive = lives[lane].alive != 0;
        velocities[lane] = if alive { Vec2::new(x[lane], y[lane]) } else { velocities[lane] };
        facings[lane] = if alive { aims[lane] } else { facings[lane] };
    }
}

/// By what a vector is multiplied so that it is no longer than `most`.
#[inline(always)]
fn scale(x: f32, y: f32, most: f32) -> f32 {
    let length = (x * x + y * y).sqrt();
    let longer = if length > most { length } else { most };
    most / if longer > f32::MIN_POSITIVE { longer } else { f32::MIN_POSITIVE }
}
