//! Blasts and flyers: who is hurt, who dies, whose doing it is.

use glam::Vec2;

use super::arena::Arena;
use super::state::{Event, EventKind, FLYER_RADIUS, PUPPET_RADIUS, SOLID, Score, Tally, touches_of};
use super::{Flyer, NO_TEAM, Puppet, Scratch, Skirmish, stream};
use crate::kit::area::Area;
use crate::kit::flyer::{Flight, Meeting, first_meeting, reflect};
use crate::kit::life::{Hurt, Life};
use crate::kit::motion::{Position, Velocity, integrate};
use crate::math;
use crate::rng::Rng;
use crate::{ActorId, Step};

/// What hurts a puppet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    target: u32,
    by: ActorId,
    at: Vec2,
    damage: i16,
}

/// Hits of a tick that there is room for, for each puppet.
const HITS_EACH: usize = 4;

/// Who stands in a blast is hit.
pub(super) fn blasts(step: &mut Step<'_, Skirmish>) {
    step.scratch.hits.clear();
    // Room for a crowded tick from the first one on; the most there can be is rare.
    step.scratch.hits.reserve(HITS_EACH * step.world.rows::<Puppet>().len());
    if step.scratch.blasts.is_empty() {
        return;
    }
    let arena = Arena::of_tick(&mut step.scratch.arena);
    let puppets = step.world.rows::<Puppet>();
    let (positions, lives) = (puppets.read::<Position>(), puppets.read::<Life>());
    let (rules, impact, ids) = (&arena.rules, &arena.impact, puppets.ids());
    let area = Area { radius: rules.blast_radius, full: rules.blast_damage, edge: rules.blast_edge_damage };
    for &row in &step.scratch.blasts {
        let (at, by) = (positions[row as usize].at, ids[row as usize]);
        let touches = touches_of(lives[row as usize].team);
        step.events.tell(Event::new(EventKind::Blast, at, by, by, 0));
        area.for_each_reached(impact.targets(), at, |target, damage| {
            if impact.groups(target) & touches != 0 {
                step.scratch.hits.push(Hit { target, by, at: positions[target as usize].at, damage });
            }
        });
    }
}

/// Flyers move, bounce, hit and end.
pub(super) fn flight(step: &mut Step<'_, Skirmish>) {
    let Scratch { arena, hits, diverted, bounced, .. } = step.scratch;
    let arena = Arena::of_tick(arena);
    let flyers = step.world.rows::<Flyer>();
    let ids = flyers.ids();
    let mut positions = flyers.write::<Position>();
    let (velocities, flights) = (flyers.read::<Velocity>(), flyers.read::<Flight>());
    let positions = &mut positions[..];
    let (now, seconds) = (step.tick, arena.rules.seconds);
    diverted.clear();
    bounced.clear();

    arena.impact.screen(positions, &velocities, &flights, seconds, now);
    for &row in arena.impact.candidates() {
        let (place, flight) = (row as usize, flights[row as usize]);
        if flight.is_over(now) {
            step.changes.despawn(ids[place]);
            continue;
        }
        let from = positions[place].at;
        let delta = velocities[place].per_second * seconds;
        let near = arena.impact.groups_near(row) & flight.touches;
        let (mut met, mut hit) = (None, None);
        if near & SOLID != 0 {
            met = first_meeting(from, delta, FLYER_RADIUS, &arena.bounds, &arena.blocks);
        }
        if near & !SOLID != 0 {
            hit = arena.impact.first_touched(from, delta, PUPPET_RADIUS + FLYER_RADIUS, near & !SOLID);
        }
        // A puppet in front of a wall, or flush with it, is hit before the wall.
        if let Some(hit) = hit.filter(|hit| met.is_none_or(|met: Meeting| hit.at <= met.at)) {
            let (by, damage) = (flight.owner, arena.rules.flyer_damage);
            hits.push(Hit { target: hit.item, by, at: from + delta * hit.at, damage });
            if flight.team == NO_TEAM {
                let mut rng = Rng::new(step.terms.seed, now.0, stream::STRAY, ids[place].0);
                let (position, velocity) = begin_stray(arena, &mut rng);
                diverted.push((row, position, velocity));
            } else {
                step.changes.despawn(ids[place]);
            }
        } else if let Some(met) = met {
            let mut after = flight;
            if after.bounce() {
                let away = Velocity { per_second: reflect(velocities[place].per_second, met.normal) };
                diverted.push((row, Position { at: met.place }, away));
                if after.bounces != flight.bounces {
                    bounced.push((row, after));
                }
            } else {
                step.changes.despawn(ids[place]);
            }
        }
    }
    integrate(positions, &velocities, seconds);
    drop((velocities, flights));
    if !diverted.is_empty() {
        let mut velocities = flyers.write::<Velocity>();
        for (row, position, velocity) in &*diverted {
            (positions[*row as usize], velocities[*row as usize]) = (*position, *velocity);
        }
    }
    if !bounced.is_empty() {
        let mut flights = flyers.write::<Flight>();
        bounced.iter().for_each(|(row, flight)| flights[*row as usize] = *flight);
    }
}

/// Hits hurt and kill, in their order.
pub(super) fn harm(step: &mut Step<'_, Skirmish>) {
    if step.scratch.hits.is_empty() {
        return;
    }
    let puppets = step.world.rows::<Puppet>();
    let ids = puppets.ids();
    // Most hits kill nobody: what counts deaths is asked for at the first.
    let (mut lives, mut tallies, mut score) = (puppets.write::<Life>(), None, None);
    let return_ticks = Arena::of_tick(&mut step.scratch.arena).rules.return_ticks;
    let returns_at = step.tick.later(return_ticks);
    for Hit { target, by, at, damage } in step.scratch.hits.iter().copied() {
        let row = target as usize;
        match lives[row].hurt(damage, returns_at) {
            Hurt::Dead => {}
            Hurt::Lives => step.events.tell(Event::new(EventKind::Hit, at, ids[row], by, damage)),
            Hurt::Died => {
                step.events.tell(Event::new(EventKind::Death, at, ids[row], by, damage));
                let tallies = tallies.get_or_insert_with(|| puppets.write::<Tally>());
                tallies[row].deaths = tallies[row].deaths.saturating_add(1);
                // A stray's owner is nobody, and nobody is found.
                if let Ok(killer) = ids.binary_search(&by) {
                    tallies[killer].kills = tallies[killer].kills.saturating_add(1);
                    let score = score.get_or_insert_with(|| step.world.singleton_mut::<Score>());
                    let kills = &mut score.kills[usize::from(lives[killer].team)];
                    *kills = kills.saturating_add(1);
                }
            }
        }
    }
}

/// Where and how a stray begins, or begins anew.
pub(super) fn begin_stray(arena: &Arena, rng: &mut Rng) -> (Position, Velocity) {
    let position = Position { at: arena.place_for_stray(rng) };
    let velocity = math::direction(rng.signed() * math::PI) * arena.rules.flyer_speed;
    (position, Velocity { per_second: velocity })
}
