//! Blasts and flyers: who is hurt, who dies, whose doing it is.

use glam::Vec2;

use super::arena::Arena;
use super::orders::groups_of;
use super::state::{Event, EventKind, FLYER_RADIUS, PUPPET_RADIUS, SOLID, Score, Tally, touches_of};
use super::{Block, Flyer, NO_TEAM, Obstacle, Puppet, Rules, Skirmish, stream};
use crate::kit::area::Area;
use crate::kit::flyer::{Flight, first_meeting, reflect};
use crate::kit::life::{Hurt, Life};
use crate::kit::motion::{Position, Velocity, integrate};
use crate::math;
use crate::rng::Rng;
use crate::{ActorId, Column, ColumnMut, Events, SingletonMut, Step, Tick, WorldMut};

/// Who stands in a blast is hurt. Also places the targets that flyers are tested against.
pub(super) fn blasts(step: &mut Step<'_, Skirmish>) {
    let rules = *step.world.singleton::<Rules>();
    let obstacles = step.world.rows::<Obstacle>();
    let arena = Arena::fit(&mut step.scratch.arena, &rules, &obstacles.read::<Block>());
    let puppets = step.world.rows::<Puppet>();
    let positions = puppets.read::<Position>();
    {
        let lives = puppets.read::<Life>();
        let targets = positions.iter().zip(&*lives).map(|(position, life)| (position.at, groups_of(life)));
        arena.impact.place(targets, arena.reach);
    }
    if step.scratch.blasts.is_empty() {
        return;
    }
    let area = Area { radius: rules.blast_radius, full: rules.blast_damage, edge: rules.blast_edge_damage };
    let impact = &arena.impact;
    let mut harm = Harm::new(step.world, &rules, step.tick, step.events);
    for &row in &step.scratch.blasts {
        let (at, by) = (positions[row as usize].at, harm.ids[row as usize]);
        let touches = touches_of(harm.lives[row as usize].team);
        harm.events.tell(Event::new(EventKind::Blast, at, by, by, 0));
        area.for_each_reached(impact.targets(), at, |target, damage| {
            if impact.groups(target) & touches != 0 {
                harm.hurt(target as usize, damage, by, positions[target as usize].at);
            }
        });
    }
}

/// Flyers move, bounce, hit and end.
pub(super) fn flight(step: &mut Step<'_, Skirmish>) {
    let rules = *step.world.singleton::<Rules>();
    let obstacles = step.world.rows::<Obstacle>();
    let arena = Arena::fit(&mut step.scratch.arena, &rules, &obstacles.read::<Block>());
    let flyers = step.world.rows::<Flyer>();
    let ids = flyers.ids();
    let (mut positions, mut velocities) = (flyers.write::<Position>(), flyers.write::<Velocity>());
    let mut flights = flyers.write::<Flight>();
    let (now, seconds) = (step.tick, rules.seconds);
    let diverted = &mut step.scratch.diverted;
    diverted.clear();

    arena.impact.screen(&positions, &velocities, &flights, seconds, now);
    let mut harm = Harm::new(step.world, &rules, now, step.events);
    for &row in arena.impact.candidates() {
        let (place, flight) = (row as usize, &mut flights[row as usize]);
        if flight.is_over(now) {
            step.changes.despawn(ids[place]);
            continue;
        }
        let from = positions[place].at;
        let delta = velocities[place].per_second * seconds;
        let met = first_meeting(from, delta, FLYER_RADIUS, &arena.bounds, &arena.blocks);
        let enemies = flight.touches & !SOLID;
        let hit = arena.impact.first_touched(from, delta, PUPPET_RADIUS + FLYER_RADIUS, enemies);
        // A puppet in front of a wall, or flush with it, is hit before the wall.
        if let Some(hit) = hit.filter(|hit| met.is_none_or(|met| hit.at <= met.at)) {
            harm.hurt(hit.item as usize, rules.flyer_damage, flight.owner, from + delta * hit.at);
            if flight.team == NO_TEAM {
                let mut rng = Rng::new(step.terms.seed, now.0, stream::STRAY, ids[place].0);
                let (position, velocity) = begin_stray(arena, &rules, &mut rng);
                velocities[place] = velocity;
                diverted.push((row, position));
            } else {
                step.changes.despawn(ids[place]);
            }
        } else if let Some(met) = met {
            if flight.bounce() {
                velocities[place].per_second = reflect(velocities[place].per_second, met.normal);
                diverted.push((row, Position { at: met.place }));
            } else {
                step.changes.despawn(ids[place]);
            }
        }
    }
    integrate(&mut positions, &velocities, seconds);
    for (row, position) in &*diverted {
        positions[*row as usize] = *position;
    }
}

/// Where and how a stray begins, or begins anew.
pub(super) fn begin_stray(arena: &Arena, rules: &Rules, rng: &mut Rng) -> (Position, Velocity) {
    let position = Position { at: arena.place_for_stray(rng) };
    let velocity = math::direction(rng.signed() * math::PI) * rules.flyer_speed;
    (position, Velocity { per_second: velocity })
}

/// All that changes when somebody is hurt.
struct Harm<'a> {
    ids: Column<'a, ActorId>,
    lives: ColumnMut<'a, Life>,
    tallies: ColumnMut<'a, Tally>,
    score: SingletonMut<'a, Score>,
    events: &'a mut Events<Event>,
    returns_at: Tick,
}

impl<'a> Harm<'a> {
    fn new(world: WorldMut<'a>, rules: &Rules, now: Tick, events: &'a mut Events<Event>) -> Self {
        let puppets = world.rows::<Puppet>();
        Self {
            ids: puppets.ids(),
            lives: puppets.write::<Life>(),
            tallies: puppets.write::<Tally>(),
            score: world.singleton_mut::<Score>(),
            events,
            returns_at: Tick(now.0.saturating_add(rules.return_ticks)),
        }
    }

    fn hurt(&mut self, row: usize, damage: i16, by: ActorId, at: Vec2) {
        match self.lives[row].hurt(damage, self.returns_at) {
            Hurt::Dead => {}
            Hurt::Lives => self.events.tell(Event::new(EventKind::Hit, at, self.ids[row], by, damage)),
            Hurt::Died => {
                self.events.tell(Event::new(EventKind::Death, at, self.ids[row], by, damage));
                self.tallies[row].deaths = self.tallies[row].deaths.saturating_add(1);
                // A stray's owner is nobody, and nobody is found.
                if let Ok(killer) = self.ids.binary_search(&by) {
                    self.tallies[killer].kills = self.tallies[killer].kills.saturating_add(1);
                    let kills = &mut self.score.kills[usize::from(self.lives[killer].team)];
                    *kills = kills.saturating_add(1);
                }
            }
        }
    }
}
