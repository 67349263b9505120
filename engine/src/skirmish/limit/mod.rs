//! The limit: skirmish by hand, as fast as we know how, to measure the engine by and to check it with.
//!
//! [`Limit`] has exactly skirmish's rules and ends in the same state hash at every tick, but shares none of its way
//! there: no world, no schedule, no building blocks, columns, loops and indices of its own. Shared are what is no way
//! but a given: the rules and obstacles that follow from a setup, the bases of teams, the layout of records, the tests
//! of two shapes, mathematics, random numbers, and the hash of bytes. An error in one of these shows in neither. So it
//! is two things at once:
//!
//! - *a measure*: what a tick of these rules costs when nothing is general;
//! - *an oracle*: an error in world, schedule, building blocks or indices shows as two hashes that differ.
//!
//! What makes it fast:
//!
//! | trick | where |
//! |---|---|
//! | a flyer knows until when no wall or obstacle can be in its way; it flies straight, so it rarely asks | `map.rs` |
//! | columns that nothing was written to are not hashed again | `sums.rs` |
//! | one flat pass over flyers, branchless collection of those that need a closer look | `flyers.rs` |
//! | four puppets at once turn inputs into velocities | `puppets.rs` |
//! | rays of many flyers go on by turns, so that none waits for another's memory | `map.rs` |
//! | values far below the grid's bounds are snapped by two additions | `on_grid` |
//!
//! It tells no events, saves nothing, and cannot be restored.

mod flyers;
mod map;
mod puppets;
mod sums;
mod targets;
#[cfg(test)]
mod tests;

use glam::Vec2;

use self::flyers::Flyers;
use self::map::Map;
use self::puppets::Puppets;
use self::sums::Sums;
use self::targets::Targets;
use super::setup::{MINIONS_MAX, STRAYS_MAX};
use super::state::team_of;
use super::{Block, Input, Rules, Score, Skirmish, arena, stream};
use crate::rng::Rng;
use crate::{ActorId, BattleSpec, Record, StateHash, Tick, TickRecord};

/// A battle of skirmish, by hand.
#[derive(Debug)]
pub struct Limit {
    seed: u64,
    tick: Tick,
    next_actor: u32,
    rules: Rules,
    map: Map,
    score: Score,
    puppets: Puppets,
    flyers: Flyers,
    obstacles: Vec<Block>,
    targets: Targets,
    hits: Vec<Hit>,
    sums: Sums,
}

/// What hurts a puppet: whom, whose doing, how much.
#[derive(Clone, Copy, Debug)]
struct Hit {
    target: u32,
    by: ActorId,
    damage: i16,
}

impl Limit {
    /// The battle before its first tick. The spec must be one that a battle starts with.
    #[must_use]
    pub fn new(spec: &BattleSpec<Skirmish>) -> Self {
        let seed = spec.terms.seed;
        let teams = spec.roster.seats.iter().map(|seat| u32::from(team_of(seat.team)) + 1).max().unwrap_or(1);
        let mut rules = Rules::of(&spec.setup, &spec.terms, teams);
        let mut rng = Rng::new(seed, 0, stream::OBSTACLES, ActorId::NONE.0);
        let obstacles = arena::obstacles(&spec.setup, &rules, &mut rng);
        let map = Map::new(&rules, &obstacles);
        let minions = spec.setup.minions.min(MINIONS_MAX);
        let seats = spec.roster.seats.iter().map(|seat| team_of(seat.team));
        let puppets =
            Puppets::new(seats.chain((0..minions).map(|minion| (minion % teams) as u8)), &rules, &map, seed);
        let mut next_actor = 1 + puppets.len() as u32;
        let mut flyers = Flyers::default();
        for _ in 0..spec.setup.strays.min(STRAYS_MAX) {
            flyers.add_stray(ActorId(next_actor), &rules, &map, seed);
            next_actor += 1;
        }
        let first_obstacle = next_actor;
        next_actor += obstacles.len() as u32;
        rules.canonicalise();
        let targets = Targets::new(&rules);
        let sums = Sums::new(&rules, puppets.len(), first_obstacle, &obstacles);
        let mut limit = Self {
            seed,
            tick: Tick::ZERO,
            next_actor,
            rules,
            map,
            score: Score::default(),
            puppets,
            flyers,
            obstacles,
            targets,
            hits: Vec::new(),
            sums,
        };
        limit.hash();
        limit
    }

    /// Makes the next tick and returns the hash of the state.
    ///
    /// # Panics
    /// If the record is not the next tick's or not of this battle's seats.
    pub fn step(&mut self, record: &TickRecord<Input>) -> StateHash {
        assert_eq!(record.tick, self.tick.next(), "records follow each other");
        self.tick = record.tick;
        self.hits.clear();
        self.puppets.orders(&record.inputs, self.tick, self.seed, &self.rules, &self.map);
        self.puppets.motion(&self.rules, &self.map, &mut self.targets);
        self.puppets.blasts(&self.rules, &self.targets, &mut self.hits);
        self.flyers.flight(self.tick, self.seed, &self.rules, &self.map, &self.targets, &mut self.hits);
        self.harm();
        self.puppets.settle_on_grid(&self.rules);
        self.flyers.end(&self.rules);
        let others = self.puppets.len() + self.obstacles.len();
        self.flyers.begin(&mut self.puppets.shots, others, &mut self.next_actor);
        self.hash()
    }

    /// The hash of the state.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        self.sums.state()
    }

    /// Hits hurt and kill, in their order.
    fn harm(&mut self) {
        if self.hits.is_empty() {
            return;
        }
        let puppets = &mut self.puppets;
        let returns_at = Tick(self.tick.0.saturating_add(self.rules.return_ticks));
        for hit in &self.hits {
            let row = hit.target as usize;
            let life = &mut puppets.lives[row];
            if life.alive == 0 {
                continue;
            }
            puppets.changed.lives = true;
            let left = life.health.saturating_sub(hit.damage);
            if left > 0 {
                life.health = left;
                continue;
            }
            (life.health, life.alive, life.returns_at) = (0, 0, returns_at);
            puppets.dead.push(hit.target);
            puppets.changed.tallies = true;
            puppets.tallies[row].deaths = puppets.tallies[row].deaths.saturating_add(1);
            // Puppets have the first ids, so an id is a row; nobody's shots have no killer.
            let killer = (hit.by.0 as usize).wrapping_sub(1);
            if let Some(tally) = puppets.tallies.get_mut(killer) {
                tally.kills = tally.kills.saturating_add(1);
                let kills = &mut self.score.kills[usize::from(puppets.lives[killer].team)];
                *kills = kills.saturating_add(1);
                self.sums.score_changed = true;
            }
        }
    }

    fn hash(&mut self) -> StateHash {
        self.sums.close(self.tick, self.next_actor, &self.score, &mut self.puppets, &mut self.flyers)
    }
}

/// Where values of both axes are no further than this from 0, the short way to the grid is right.
const NEAR: f32 = 1000.0;

/// Brings values to the grid of 2⁻¹². `most` bounds their size.
///
/// A float between 2048 and 4096 has steps of 2⁻¹²: adding 3072 rounds to them, halves to the even one, as the rule
/// wants it; taking it off again is exact and gives no −0.
#[inline]
fn on_grid(values: &mut [Vec2], most: f32) {
    let values: &mut [f32] = bytemuck::cast_slice_mut(values);
    if most < NEAR {
        values.iter_mut().for_each(|value| *value = (*value + 3072.0) - 3072.0);
    } else {
        values.iter_mut().for_each(|value| *value = crate::snap(*value, 4096.0));
    }
}
