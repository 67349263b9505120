//! Skirmish as one writes it with hecs alone: components, queries, a grid that is filled each tick, handles as names.
//!
//! It is no straw man: the indices of space, the tests of shapes and the arithmetic are the engine's, and queries run over
//! dense archetypes. What it does not have is what the engine adds: rows in the order of actor ids, flat passes over whole
//! columns, the map that spares most flyers a closer look. It has exactly skirmish's rules, which its state hash shows; to
//! hash, it has to sort, since handles are in the order of history. Scenes with minions are beyond it.

use glam::Vec2;
use hecs::{Entity, World};
use tiltyard_engine::bytemuck::{NoUninit, bytes_of, cast_slice};
use tiltyard_engine::kit::area::Area;
use tiltyard_engine::kit::flyer::{Flight, SKIN, first_meeting, reflect};
use tiltyard_engine::kit::life::{Hurt, Life};
use tiltyard_engine::kit::motion::{Position, Velocity, approach, keep_within};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::{
    Arms, BLAST, Block, FIRE, FLYER_RADIUS, Facing, Flyer, Input, NO_TEAM, Obstacle, PUPPET_RADIUS, Puppet,
    Rules, Score, Skirmish, Tally,
};
use tiltyard_engine::space::{Blocks, Grid, Rect};
use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Hashes, StateHash, Tick, TickRecord, glam, hash_column, math, snap,
};

/// Streams of random numbers, as skirmish has them.
const PLACE: u16 = 2;
const STRAY: u16 = 3;
/// How far before a puppet's middle its shots begin.
const MUZZLE: f32 = PUPPET_RADIUS + FLYER_RADIUS + 0.05;

/// Which seat plays a puppet.
struct SeatNumber(usize);

/// A battle.
pub(crate) struct Idiomatic {
    seed: u64,
    tick: Tick,
    next_actor: u32,
    rules: Rules,
    score: Score,
    world: World,
    /// Puppets by id; the first has id 1.
    puppets: Vec<Entity>,
    obstacles: Vec<(ActorId, Block)>,
    bounds: Rect,
    blocks: Blocks,
    grid: Grid,
}

/// A living puppet as others meet it.
struct Target {
    entity: Entity,
    at: Vec2,
    team: u8,
}

/// What hurts a puppet.
struct Hit {
    /// The flyer; nobody's for blasts, which count first.
    flyer: ActorId,
    target: Entity,
    by: ActorId,
    damage: i16,
}

/// A flyer to be: whose, and its components.
type Shot = (ActorId, Position, Velocity, Flight);

impl Idiomatic {
    /// The battle before its first tick: what the engine's own begins with.
    pub(crate) fn new(spec: &BattleSpec<Skirmish>) -> Self {
        assert_eq!(spec.setup.minions, 0, "there are no minions here");
        let battle = Battle::<Skirmish>::new(spec.clone()).expect("it starts");
        let start = battle.world();
        let rules = *start.singleton::<Rules>();
        let mut world = World::new();
        let rows = start.rows::<Puppet>();
        let (ids, positions) = (rows.ids(), rows.read::<Position>());
        let (facings, lives) = (rows.read::<Facing>(), rows.read::<Life>());
        let spawn = |row: usize| {
            let (still, arms, tally) = (Velocity::default(), Arms::default(), Tally::default());
            world.spawn((
                ids[row],
                SeatNumber(row),
                positions[row],
                still,
                facings[row],
                lives[row],
                arms,
                tally,
            ))
        };
        let puppets: Vec<Entity> = (0..rows.len()).map(spawn).collect();
        let rows = start.rows::<Flyer>();
        let (ids, positions) = (rows.ids(), rows.read::<Position>());
        let (velocities, flights) = (rows.read::<Velocity>(), rows.read::<Flight>());
        for row in 0..rows.len() {
            world.spawn((ids[row], positions[row], velocities[row], flights[row]));
        }
        let rows = start.rows::<Obstacle>();
        let obstacles: Vec<_> =
            rows.ids().iter().copied().zip(rows.read::<Block>().iter().copied()).collect();
        let rects: Vec<Rect> = obstacles.iter().map(|(_, block)| block.rect()).collect();
        let margin = (FLYER_RADIUS + rules.flyer_step() * 0.5).max(PUPPET_RADIUS + SKIN);
        let bounds = rules.bounds();
        Self {
            seed: spec.terms.seed,
            tick: Tick::ZERO,
            next_actor: 1 + start.actors() as u32,
            score: Score::default(),
            blocks: Blocks::new(bounds, 4.0, margin, &rects),
            grid: Grid::new(bounds, 8.0),
            rules,
            world,
            puppets,
            obstacles,
            bounds,
        }
    }

    /// Makes the next tick.
    pub(crate) fn step(&mut self, record: &TickRecord<Input>) {
        self.tick = record.tick;
        self.return_the_dead();
        let (shots, blasts) = self.orders(record);
        let targets = self.motion();
        let mut hits = self.blasts(&blasts, &targets);
        let ended = self.flight(&targets, &mut hits);
        self.harm(hits);
        for entity in ended {
            self.world.despawn(entity).expect("it flew in this tick");
        }
        for (_, position, velocity, flight) in shots {
            self.world.spawn((ActorId(self.next_actor), position, velocity, flight));
            self.next_actor += 1;
        }
        self.settle_on_grid();
    }

    fn return_the_dead(&mut self) {
        let (now, seed, rules) = (self.tick, self.seed, self.rules);
        let mut query = self.world.query::<(&ActorId, &mut Position, &mut Velocity, &mut Life, &mut Arms)>();
        for (id, position, velocity, life, arms) in query.iter() {
            if life.is_alive() {
                continue;
            }
            velocity.per_second = Vec2::ZERO;
            if life.is_due(now) {
                let turn = math::PI + math::TAU * f32::from(life.team) / rules.teams.max(1) as f32;
                let room = (rules.half - PUPPET_RADIUS) * (1.0 - rules.spread);
                let half = (rules.half - PUPPET_RADIUS) * rules.spread;
                let base = Rect::around(math::direction(turn) * room, Vec2::splat(half));
                let mut rng = Rng::new(seed, now.0, PLACE, id.0);
                let place = Vec2::new(rng.range(base.min.x, base.max.x), rng.range(base.min.y, base.max.y));
                life.revive(rules.health);
                position.at = settle(&self.bounds, &self.blocks, place);
                *arms = Arms::default();
            }
        }
    }

    fn orders(&mut self, record: &TickRecord<Input>) -> (Vec<Shot>, Vec<Entity>) {
        let (now, rules) = (self.tick, self.rules);
        let (mut shots, mut blasts) = (Vec::new(), Vec::new());
        let mut query = self.world.query::<(
            Entity,
            &ActorId,
            &SeatNumber,
            &Position,
            &Life,
            &mut Velocity,
            &mut Facing,
            &mut Arms,
        )>();
        for (entity, id, seat, position, life, velocity, facing, arms) in query.iter() {
            if !life.is_alive() {
                continue;
            }
            let input = record.inputs[seat.0].input;
            let wish = math::limit_length(input.movement(), 1.0) * rules.speed;
            velocity.per_second = approach(velocity.per_second, wish, rules.change_max);
            facing.angle = input.angle();
            if input.buttons & FIRE != 0 && arms.weapon.is_over(now) {
                arms.weapon.start(now, rules.weapon_ticks);
                let direction = math::direction(facing.angle);
                let flight = Flight {
                    owner: *id,
                    ends_at: now.later(rules.flyer_ticks),
                    touches: !(1 << life.team),
                    team: life.team,
                    bounces: rules.flyer_bounces as u8,
                    kind: 0,
                };
                let position = Position { at: position.at + direction * MUZZLE };
                shots.push((*id, position, Velocity { per_second: direction * rules.flyer_speed }, flight));
            }
            if input.buttons & BLAST != 0 && arms.blast.is_over(now) {
                arms.blast.start(now, rules.blast_ticks);
                blasts.push(entity);
            }
        }
        shots.sort_unstable_by_key(|(owner, ..)| *owner);
        (shots, blasts)
    }

    fn motion(&mut self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut query = self.world.query::<(Entity, &mut Position, &Velocity, &Life)>();
        for (entity, position, velocity, life) in query.iter() {
            let moved = position.at + velocity.per_second * self.rules.seconds;
            position.at = settle(&self.bounds, &self.blocks, moved);
            if life.is_alive() {
                targets.push(Target { entity, at: position.at, team: life.team });
            }
        }
        self.grid.rebuild_from((0..).zip(targets.iter().map(|target| target.at)));
        targets
    }

    fn blasts(&self, blasts: &[Entity], targets: &[Target]) -> Vec<Hit> {
        let rules = &self.rules;
        let area =
            Area { radius: rules.blast_radius, full: rules.blast_damage, edge: rules.blast_edge_damage };
        let mut hits = Vec::new();
        for entity in blasts {
            let mut query = self.world.query_one::<(&ActorId, &Position, &Life)>(*entity);
            let (by, position, life) = query.get().expect("puppets stay");
            area.for_each_reached(&self.grid, position.at, |target, damage| {
                let target = &targets[target as usize];
                if target.team != life.team {
                    hits.push(Hit { flyer: ActorId::NONE, target: target.entity, by: *by, damage });
                }
            });
        }
        hits
    }

    fn flight(&mut self, targets: &[Target], hits: &mut Vec<Hit>) -> Vec<Entity> {
        let (now, rules) = (self.tick, &self.rules);
        let mut ended = Vec::new();
        let mut query = self.world.query::<(Entity, &ActorId, &mut Position, &mut Velocity, &mut Flight)>();
        for (entity, id, position, velocity, flight) in query.iter() {
            if flight.is_over(now) {
                ended.push(entity);
                continue;
            }
            let (from, delta) = (position.at, velocity.per_second * rules.seconds);
            let met = first_meeting(from, delta, FLYER_RADIUS, &self.bounds, &self.blocks);
            let hit = self.grid.first_touched(from, delta, PUPPET_RADIUS + FLYER_RADIUS, |target| {
                targets[target as usize].team != flight.team
            });
            position.at += delta;
            if let Some(hit) = hit.filter(|hit| met.is_none_or(|met| hit.at <= met.at)) {
                let target = targets[hit.item as usize].entity;
                hits.push(Hit { flyer: *id, target, by: flight.owner, damage: rules.flyer_damage });
                if flight.team == NO_TEAM {
                    let mut rng = Rng::new(self.seed, now.0, STRAY, id.0);
                    let inner = rules.half - PUPPET_RADIUS;
                    let place = Vec2::new(rng.signed() * inner, rng.signed() * inner);
                    position.at = settle(&self.bounds, &self.blocks, place);
                    velocity.per_second = math::direction(rng.signed() * math::PI) * rules.flyer_speed;
                } else {
                    ended.push(entity);
                }
            } else if let Some(met) = met {
                if flight.bounce() {
                    position.at = met.place;
                    velocity.per_second = reflect(velocity.per_second, met.normal);
                } else {
                    ended.push(entity);
                }
            }
        }
        ended
    }

    fn harm(&mut self, mut hits: Vec<Hit>) {
        // Queries walk in the order of history, but who takes the last point has the kill.
        hits.sort_by_key(|hit| hit.flyer);
        let returns_at = self.tick.later(self.rules.return_ticks);
        for hit in hits {
            let mut query = self.world.query_one::<(&mut Life, &mut Tally)>(hit.target);
            let (life, tally) = query.get().expect("puppets stay");
            if life.hurt(hit.damage, returns_at) != Hurt::Died {
                continue;
            }
            tally.deaths = tally.deaths.saturating_add(1);
            drop(query);
            let Some(killer) = (hit.by.0 as usize).checked_sub(1).and_then(|index| self.puppets.get(index))
            else {
                continue;
            };
            let mut query = self.world.query_one::<(&Life, &mut Tally)>(*killer);
            let (life, tally) = query.get().expect("puppets stay");
            tally.kills = tally.kills.saturating_add(1);
            let kills = &mut self.score.kills[usize::from(life.team)];
            *kills = kills.saturating_add(1);
        }
    }

    fn settle_on_grid(&mut self) {
        for (position, velocity) in self.world.query::<(&mut Position, &mut Velocity)>().iter() {
            position.at = position.at.map(|value| snap(value, 4096.0));
            velocity.per_second = velocity.per_second.map(|value| snap(value, 4096.0));
        }
        for facing in self.world.query::<&mut Facing>().iter() {
            facing.angle = snap(facing.angle, 4096.0);
        }
    }

    /// The hash of the state, with rows in the order of ids.
    pub(crate) fn state_hash(&self, hashes: &mut Hashes) -> StateHash {
        let none = column(&[ActorId::NONE]);
        hashes.begin(self.tick, self.next_actor);
        for record in [bytes_of(&self.score), bytes_of(&self.rules)] {
            hashes.rows(1);
            hashes.column(none);
            hashes.column(hash_column(record));
        }
        let mut query = self.world.query::<(&ActorId, &Position, &Velocity, &Facing, &Life, &Arms, &Tally)>();
        let mut rows: Vec<_> = query.iter().collect();
        rows.sort_unstable_by_key(|row| row.0);
        hashes.rows(rows.len() as u32);
        hashes.column(column(&rows.iter().map(|row| *row.0).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.1).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.2).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.3).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.4).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.5).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.6).collect::<Vec<_>>()));
        let mut query = self.world.query::<(&ActorId, &Position, &Velocity, &Flight)>();
        let mut rows: Vec<_> = query.iter().collect();
        rows.sort_unstable_by_key(|row| row.0);
        hashes.rows(rows.len() as u32);
        hashes.column(column(&rows.iter().map(|row| *row.0).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.1).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.2).collect::<Vec<_>>()));
        hashes.column(column(&rows.iter().map(|row| *row.3).collect::<Vec<_>>()));
        hashes.rows(self.obstacles.len() as u32);
        hashes.column(column(&self.obstacles.iter().map(|row| row.0).collect::<Vec<_>>()));
        hashes.column(column(&self.obstacles.iter().map(|row| row.1).collect::<Vec<_>>()));
        hashes.end();
        hashes.state()
    }
}

/// Where a puppet at `place` is let stand.
fn settle(bounds: &Rect, blocks: &Blocks, place: Vec2) -> Vec2 {
    blocks.push_out(keep_within(place, bounds, PUPPET_RADIUS), PUPPET_RADIUS + SKIN)
}

fn column<T: NoUninit>(rows: &[T]) -> u64 {
    hash_column(cast_slice(rows))
}
