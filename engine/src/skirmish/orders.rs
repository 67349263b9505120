//! What puppets want, and where it leads them: inputs, whims of minions, movement, return of the dead.

use glam::Vec2;

use super::arena::Arena;
use super::state::{
    Arms, BLAST, Event, EventKind, FIRE, FLYER_RADIUS, Facing, PUPPET_RADIUS, group_of, touches_of,
};
use super::{Block, Flyer, NO_TEAM, Obstacle, Puppet, Rules, Skirmish, stream};
use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::kit::motion::{Position, Velocity, approach_all, integrate, limit_lengths};
use crate::math;
use crate::{ActorId, Changes, ColumnMut, RowsMut, Step, Tick};

/// Ticks from whim to whim of a minion; they take turns.
const WHIM_TICKS: usize = 32;
/// How far before a puppet's middle its shots begin: just outside of it.
const MUZZLE: f32 = PUPPET_RADIUS + FLYER_RADIUS + 0.05;

/// Inputs and whims become velocities, shots and blasts; the dead return.
pub(super) fn orders(step: &mut Step<'_, Skirmish>) {
    let rules = *step.world.singleton::<Rules>();
    let obstacles = step.world.rows::<Obstacle>();
    let arena = Arena::fit(&mut step.scratch.arena, &rules, &obstacles.read::<Block>());
    let puppets = step.world.rows::<Puppet>();
    let (now, seed) = (step.tick, step.terms.seed);
    let (ids, mut velocities, mut facings) =
        (puppets.ids(), puppets.write::<Velocity>(), puppets.write::<Facing>());
    let (ids, velocities, facings) = (&ids[..], &mut velocities[..], &mut facings[..]);

    // The dead lie still and return in their time. In most ticks nobody does, and lives are not written to.
    if puppets.read::<Life>().iter().any(|life| life.is_due(now)) {
        let (mut lives, mut positions) = (puppets.write::<Life>(), puppets.write::<Position>());
        let mut arms = puppets.write::<Arms>();
        for (row, life) in lives.iter_mut().enumerate().filter(|(_, life)| life.is_due(now)) {
            let mut rng = crate::rng::Rng::new(seed, now.0, stream::PLACE, ids[row].0);
            life.revive(rules.health);
            velocities[row].per_second = Vec2::ZERO;
            positions[row].at = arena.place_in_base(life.team, &mut rng);
            arms[row] = Arms::default();
            step.events.tell(Event::new(EventKind::Respawn, positions[row].at, ids[row], ids[row], 0));
        }
    }
    let (lives, positions) = (puppets.read::<Life>(), puppets.read::<Position>());
    let (lives, positions) = (&lives[..], &positions[..]);
    for (life, velocity) in lives.iter().zip(&mut *velocities) {
        if !life.is_alive() {
            velocity.per_second = Vec2::ZERO;
        }
    }
    let mut trigger = Trigger {
        now,
        rules: &rules,
        changes: step.changes,
        blasts: &mut step.scratch.blasts,
        puppets,
        arms: None,
    };
    trigger.blasts.clear();

    // The first puppets are the seats', in seat order. The dead wish to stand.
    let seats = step.inputs.len();
    let wishes = &mut step.scratch.wishes;
    wishes.clear();
    wishes.extend(step.inputs.iter().zip(lives).zip(&mut *facings).map(|((seat, life), facing)| {
        facing.angle = if life.is_alive() { seat.input.angle() } else { facing.angle };
        if life.is_alive() { seat.input.movement() } else { Vec2::ZERO }
    }));
    limit_lengths(wishes, 1.0);
    wishes.iter_mut().for_each(|wish| *wish *= rules.speed);
    approach_all(&mut velocities[..seats], wishes, rules.change_max);

    // Of those who press something most have to wait: who need not are collected without a branch.
    let pressed = &mut step.scratch.pressed;
    pressed.resize(seats, 0);
    let (arms, mut count) = (puppets.read::<Arms>(), 0);
    for (row, ((seat, life), arms)) in step.inputs.iter().zip(lives).zip(&*arms).enumerate() {
        pressed[count] = row as u32;
        let (fires, blasts) = (seat.input.buttons & FIRE != 0, seat.input.buttons & BLAST != 0);
        let ready = (fires & arms.weapon.is_over(now)) | (blasts & arms.blast.is_over(now));
        count += usize::from(life.is_alive() & ready);
    }
    drop(arms);
    for &row in &pressed[..count] {
        let row = row as usize;
        let buttons = step.inputs[row].input.buttons;
        trigger.press(buttons, row, ids[row], positions[row].at, facings[row].angle, lives[row].team);
    }

    // Each minion has its tick; what it then decides holds until the next.
    let turn = (WHIM_TICKS - (now.0 as usize + seats) % WHIM_TICKS) % WHIM_TICKS;
    for row in (seats + turn..lives.len()).step_by(WHIM_TICKS) {
        if lives[row].is_alive() {
            let mut rng = crate::rng::Rng::new(seed, now.0, stream::MINION, ids[row].0);
            velocities[row].per_second = math::direction(rng.signed() * math::PI) * (rules.speed * 0.5);
            facings[row].angle = rng.signed() * math::PI;
            let team = lives[row].team;
            trigger.press(FIRE, row, ids[row], positions[row].at, facings[row].angle, team);
        }
    }
}

/// Puppets move, and stay out of obstacles and within the walls. There they are the targets of blasts and flyers.
pub(super) fn motion(step: &mut Step<'_, Skirmish>) {
    let arena = Arena::of_tick(&mut step.scratch.arena);
    let puppets = step.world.rows::<Puppet>();
    let mut positions = puppets.write::<Position>();
    integrate(&mut positions, &puppets.read::<Velocity>(), arena.rules.seconds);
    for position in &mut *positions {
        position.at = arena.settle(position.at);
    }
    let lives = puppets.read::<Life>();
    let targets = positions.iter().zip(&*lives).map(|(position, life)| (position.at, groups_of(life)));
    arena.impact.place(targets, arena.reach);
}

/// What buttons do.
struct Trigger<'a> {
    now: Tick,
    rules: &'a Rules,
    changes: &'a mut Changes,
    blasts: &'a mut Vec<u32>,
    puppets: RowsMut<'a, Puppet>,
    /// Asked for when somebody first presses something.
    arms: Option<ColumnMut<'a, Arms>>,
}

impl Trigger<'_> {
    fn press(&mut self, buttons: u16, row: usize, id: ActorId, at: Vec2, aim: f32, team: u8) {
        let arms = &mut self.arms.get_or_insert_with(|| self.puppets.write())[row];
        if buttons & FIRE != 0 && arms.weapon.is_over(self.now) {
            arms.weapon.start(self.now, self.rules.weapon_ticks);
            let direction = math::direction(aim);
            let flight = Flight {
                owner: id,
                ends_at: self.now.later(self.rules.flyer_ticks),
                touches: touches_of(team),
                team,
                bounces: self.rules.flyer_bounces as u8,
                kind: 0,
            };
            let position = Position { at: at + direction * MUZZLE };
            let velocity = Velocity { per_second: direction * self.rules.flyer_speed };
            self.changes.spawn(id, Flyer { position, velocity, flight });
        }
        if buttons & BLAST != 0 && arms.blast.is_over(self.now) {
            arms.blast.start(self.now, self.rules.blast_ticks);
            self.blasts.push(row as u32);
        }
    }
}

/// The groups in which others find a puppet: its team's while it lives.
#[inline]
fn groups_of(life: &Life) -> u8 {
    debug_assert!(life.team != NO_TEAM, "only flyers are nobody's");
    if life.is_alive() { group_of(life.team) } else { 0 }
}
