//! Flyers: one flat pass, and a closer look at the few that need it.

use glam::Vec2;

use super::super::state::{NO_TEAM, SOLID, touches_of};
use super::super::{Rules, stream};
use super::map::{Map, Question};
use super::targets::Targets;
use super::{Hit, on_grid};
use crate::kit::flyer::Flight;
use crate::math;
use crate::rng::Rng;
use crate::{ACTORS_MAX, ActorId, Tick};

/// The columns of flyers, by ascending ids.
#[derive(Debug, Default)]
pub(super) struct Flyers {
    pub(super) ids: Vec<ActorId>,
    pub(super) positions: Vec<Vec2>,
    pub(super) velocities: Vec<Vec2>,
    pub(super) flights: Vec<Flight>,
    /// The tick from which on walls, obstacles or the flight's end may matter. Not state: it says when to look, not
    /// what is seen.
    look_at: Vec<Tick>,
    pub(super) changed: Changed,
    cells: Vec<u32>,
    few: Vec<u32>,
    questions: Vec<Question>,
    /// Rows that do not end this tick where their velocity leads, and where they do.
    diverted: Vec<(u32, Vec2)>,
    ended: Vec<u32>,
}

/// Columns that were written to since they were hashed, where that is not every tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changed {
    pub(super) ids: bool,
    pub(super) velocities: bool,
    pub(super) flights: bool,
}

/// A flyer to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    pub(super) position: Vec2,
    pub(super) velocity: Vec2,
    pub(super) flight: Flight,
}

impl Flyers {
    /// A stray that is there from the start.
    pub(super) fn add_stray(&mut self, id: ActorId, rules: &Rules, map: &Map, seed: u64) {
        let mut rng = Rng::new(seed, 0, stream::STRAY, id.0);
        let (position, velocity) = stray(rules, map, &mut rng);
        let flight = Flight {
            owner: ActorId::NONE,
            ends_at: Flight::ENDLESS,
            touches: touches_of(NO_TEAM),
            team: NO_TEAM,
            bounces: Flight::ALWAYS,
            kind: 0,
        };
        let mut place = [position];
        on_grid(&mut place, rules.half);
        self.add(id, Shot { position: place[0], velocity, flight });
    }

    /// Flyers move, bounce, hit and end.
    pub(super) fn flight(
        &mut self,
        now: Tick,
        seed: u64,
        rules: &Rules,
        map: &Map,
        targets: &Targets,
        hits: &mut Vec<Hit>,
    ) {
        let seconds = rules.seconds;
        for index in 0..self.collect(now, seconds, targets) {
            let row = self.few[index];
            let place = row as usize;
            let flight = &mut self.flights[place];
            if now >= flight.ends_at {
                self.ended.push(row);
                continue;
            }
            let (from, delta) = (self.positions[place], self.velocities[place] * seconds);
            let near = targets.near(self.cells[place]) & flight.touches & !SOLID;
            let hit = if near != 0 { targets.first_touched(from, delta, near) } else { None };
            let mut met = None;
            if now >= self.look_at[place] {
                met = map.meeting(from, delta);
            }
            if let Some((at, target)) = hit
                && met.is_none_or(|met| at <= met.at)
            {
                hits.push(Hit { target, by: flight.owner, damage: rules.flyer_damage });
                if flight.team == NO_TEAM {
                    let mut rng = Rng::new(seed, now.0, stream::STRAY, self.ids[place].0);
                    let (position, velocity) = stray(rules, map, &mut rng);
                    self.turn(row, position, velocity);
                } else {
                    self.ended.push(row);
                }
            } else if let Some(met) = met {
                if flight.bounces == 0 {
                    self.ended.push(row);
                    continue;
                }
                if flight.bounces != Flight::ALWAYS {
                    flight.bounces -= 1;
                    self.changed.flights = true;
                }
                let velocity = self.velocities[place];
                let into = velocity.dot(met.normal);
                let away = if into < 0.0 { velocity - met.normal * (2.0 * into) } else { velocity };
                self.turn(row, met.place, away);
            } else if now >= self.look_at[place] {
                self.questions.push(map.ask(row, from, delta));
            }
        }
        map.answer(&mut self.questions);
        for question in self.questions.drain(..) {
            let place = question.row as usize;
            let free = Tick(now.0.saturating_add(question.ticks()));
            self.look_at[place] = free.min(self.flights[place].ends_at);
        }
        let seconds = Vec2::splat(seconds);
        for (position, velocity) in self.positions.iter_mut().zip(&self.velocities) {
            *position += *velocity * seconds;
        }
        for (row, position) in self.diverted.drain(..) {
            self.positions[row as usize] = position;
        }
    }

    /// Collects the rows, ascending, that need a closer look. Returns how many.
    fn collect(&mut self, now: Tick, seconds: f32, targets: &Targets) -> usize {
        let half = seconds * 0.5;
        let count = self.ids.len();
        self.cells.resize(count, 0);
        self.few.resize(count, 0);
        for ((cell, position), velocity) in self.cells.iter_mut().zip(&self.positions).zip(&self.velocities) {
            *cell = targets.cell_of(*position + *velocity * half);
        }
        let mut found = 0;
        for (row, ((cell, flight), look_at)) in
            self.cells.iter().zip(&self.flights).zip(&self.look_at).enumerate()
        {
            self.few[found] = row as u32;
            found += usize::from((targets.near(*cell) & flight.touches != 0) | (now >= *look_at));
        }
        found
    }

    fn turn(&mut self, row: u32, position: Vec2, velocity: Vec2) {
        let mut velocity = [velocity];
        on_grid(&mut velocity, 0.0);
        self.velocities[row as usize] = velocity[0];
        self.diverted.push((row, position));
        self.look_at[row as usize] = Tick::ZERO;
        self.changed.velocities = true;
    }

    /// Brings places to the grid, and takes away those who ended.
    pub(super) fn end(&mut self, rules: &Rules) {
        if !self.ended.is_empty() {
            take_out(&mut self.ids, &self.ended);
            take_out(&mut self.positions, &self.ended);
            take_out(&mut self.velocities, &self.ended);
            take_out(&mut self.flights, &self.ended);
            take_out(&mut self.look_at, &self.ended);
            self.ended.clear();
            self.changed = Changed { ids: true, velocities: true, flights: true };
        }
        on_grid(&mut self.positions, rules.half);
    }

    /// Lets shots become flyers, as far as there is room beside so many other actors.
    pub(super) fn begin(&mut self, shots: &mut Vec<Shot>, others: usize, next_actor: &mut u32) {
        let room = ACTORS_MAX - others - self.ids.len();
        for mut shot in shots.drain(..).take(room) {
            // A shot of somebody far off is rare enough to be snapped the long way.
            shot.position = shot.position.map(|value| crate::snap(value, 4096.0));
            self.add(ActorId(*next_actor), shot);
            *next_actor += 1;
        }
    }

    fn add(&mut self, id: ActorId, shot: Shot) {
        self.ids.push(id);
        self.positions.push(shot.position);
        self.velocities.push(shot.velocity.map(|value| crate::snap(value, 4096.0)));
        self.flights.push(shot.flight);
        self.look_at.push(Tick::ZERO);
        self.changed = Changed { ids: true, velocities: true, flights: true };
    }
}

/// Where and how a stray begins, or begins anew.
fn stray(rules: &Rules, map: &Map, rng: &mut Rng) -> (Vec2, Vec2) {
    let position = map.place_for_stray(rng);
    (position, math::direction(rng.signed() * math::PI) * rules.flyer_speed)
}

/// Takes out the rows of an ascending list that is not empty, and keeps the order of the others.
fn take_out<T: Copy>(rows: &mut Vec<T>, gone: &[u32]) {
    let mut to = gone[0] as usize;
    for (index, row) in gone.iter().enumerate() {
        let from = *row as usize + 1;
        let until = gone.get(index + 1).map_or(rows.len(), |next| *next as usize);
        rows.copy_within(from..until, to);
        to += until - from;
    }
    rows.truncate(to);
}
