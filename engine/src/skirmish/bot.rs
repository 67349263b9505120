//! The scripted player: seeks the nearest enemy, leads its shots, keeps its distance, strafes, dodges, blasts when
//! it is worth it, and walks round obstacles. It knows what a player with a full view knows, and nothing else.
//!
//! It changes its input where that changes something, as people do: it walks in the eight directions of four keys, keeps
//! the one it has unless another is clearly better, and aims anew for a shot or a turn and not for every step of its
//! enemy. What it did last it sees in its own velocity and facing.

use glam::Vec2;

use super::setup::Rules;
use super::state::{Arms, BLAST, Block, FIRE, Facing, Flyer, Input, Obstacle, PUPPET_RADIUS, Puppet};
use crate::kit::ai::{dodge, is_clear, lead, steer_round};
use crate::kit::area::Area;
use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::kit::motion::{Position, Velocity};
use crate::math;
use crate::rng::Rng;
use crate::space::Rect;
use crate::{Seat, World};

/// The distance to keep from an enemy, in metres.
const DISTANCE: (f32, f32) = (6.0, 12.0);
/// The distance to seek instead while a blast is ready and there is health for it.
const BLAST_DISTANCE: (f32, f32) = (1.5, 3.0);
/// How far ahead a walker looks for obstacles, in metres.
const AHEAD: f32 = 2.5;
/// Flyers are dodged that would pass within this many metres, in at most these seconds.
const DODGE: (f32, f32) = (0.9, 0.6);
/// Ticks for which a bot keeps strafing to one side.
const STRAFE_TICKS: u32 = 20;
/// Ticks for which a bot keeps walking round obstacles to one side: longer than it takes round the longest.
const ROUND_TICKS: u32 = 110;
/// The largest error of aim to each side, in radians.
const AIM_ERROR: f32 = 0.06;
/// How far off a bot's aim may have come, in radians, when its weapon is ready.
const AIM_READY: f32 = 0.12;
/// How far off it may be while the weapon is not ready.
const AIM_IDLE: f32 = 0.5;
/// A bot keeps the direction in which it walks up to this cosine of the angle to the one it wishes: 32°, where the
/// nearest of eight would change at 22.5°.
const KEEP: f32 = 0.85;
/// A blast is worth it from this share of its full damage on, summed over all enemies.
const BLAST_WORTH: f32 = 0.45;

/// An enemy as a bot sees it.
#[derive(Clone, Copy)]
struct Enemy {
    at: Vec2,
    velocity: Vec2,
    distance_squared: f32,
}

pub(super) fn decide(world: &World, seat: Seat, rng: &mut Rng) -> Input {
    let puppets = world.rows::<Puppet>();
    let (lives, positions) = (puppets.read::<Life>(), puppets.read::<Position>());
    let (row, now) = (seat.index(), world.tick().next());
    let me = lives[row];
    let facing = puppets.read::<Facing>()[row].angle;
    if !me.is_alive() {
        return Input::new(Vec2::ZERO, facing, 0);
    }
    let rules = world.singleton::<Rules>();
    let obstacles = world.rows::<Obstacle>().read::<Block>();
    let here = positions[row].at;
    let rects = || obstacles.iter().map(Block::rect);
    let inner = rules.bounds().grown(-PUPPET_RADIUS);
    let is_free = |to: Vec2| inner.contains(to) && is_clear(here, to, PUPPET_RADIUS * 1.2, rects());

    let area = Area { radius: rules.blast_radius, full: rules.blast_damage, edge: rules.blast_edge_damage };
    let velocities = puppets.read::<Velocity>();
    let (near, worth) = look_round(row, &lives, &positions, &velocities, &area);
    let seen = near.into_iter().flatten().find(|enemy| is_clear(here, enemy.at, 0.0, rects()));

    let (mut aim, mut buttons) = (facing, 0);
    let mut aim_at = |to: Vec2, tolerance: f32, error: f32| {
        let wanted = math::angle_of(to - here);
        if math::turn_between(facing, wanted).abs() > tolerance {
            aim = math::wrap_angle(wanted + error);
        }
    };
    let mut wish = match (seen, near[0]) {
        (Some(enemy), _) => {
            let arms = puppets.read::<Arms>()[row];
            let at = lead(here, enemy.at, enemy.velocity, rules.flyer_speed);
            let tolerance = if arms.weapon.is_over(now) { AIM_READY } else { AIM_IDLE };
            aim_at(at, tolerance, rng.signed() * AIM_ERROR);
            let range = rules.flyer_speed * rules.flyer_ticks as f32 * rules.seconds;
            if enemy.distance_squared < range * range {
                buttons |= FIRE;
            }
            if worth >= f32::from(rules.blast_damage) * BLAST_WORTH && arms.blast.is_over(now) {
                buttons |= BLAST;
            }
            let bold = arms.blast.is_over(now) && me.health > rules.health / 2;
            let side = side_of(seat, now.0, STRAFE_TICKS);
            fight(here, &enemy, side, if bold { BLAST_DISTANCE } else { DISTANCE })
        }
        (None, Some(enemy)) => {
            aim_at(enemy.at, AIM_IDLE, 0.0);
            (enemy.at - here).normalize_or_zero()
        }
        // Nobody to fight: the middle is where somebody will come by.
        (None, None) => {
            let towards = -here;
            if towards.length_squared() > 4.0 { towards.normalize_or_zero() } else { Vec2::ZERO }
        }
    };
    if let Some(out) = threat(world, &me, here) {
        wish = (wish * 0.3 + out).normalize_or_zero();
    }
    if wish != Vec2::ZERO {
        let wish_by_keys = by_keys(wish, velocities[row].per_second);
        wish = steer_round(here, wish_by_keys, side_of(seat, now.0, ROUND_TICKS), AHEAD, is_free);
    }
    Input::new(wish, aim, buttons)
}

/// The one of eight directions that comes near to a wished one: that in which one goes already if it is near enough.
fn by_keys(wish: Vec2, velocity: Vec2) -> Vec2 {
    let nearest = |to: Vec2| {
        // A key is pressed from 22.5° off the other axis on, whose sine this is.
        let least = to.length() * 0.382_683_43;
        let key = |along: f32| if along.abs() > least { along.signum() } else { 0.0 };
        Vec2::new(key(to.x), key(to.y)).normalize_or_zero()
    };
    let kept = nearest(velocity);
    if kept.dot(wish) >= KEEP { kept } else { nearest(wish) }
}

/// The three nearest living enemies, nearest first, and the damage that a blast would do.
fn look_round(
    row: usize,
    lives: &[Life],
    positions: &[Position],
    velocities: &[Velocity],
    area: &Area,
) -> ([Option<Enemy>; 3], f32) {
    let (me, here) = (lives[row], positions[row].at);
    let mut near: [Option<Enemy>; 3] = [None; 3];
    let mut worth = 0.0;
    for (other, (life, position)) in lives.iter().zip(positions).enumerate() {
        let distance_squared = (position.at - here).length_squared();
        if !life.is_alive() || life.team == me.team {
            continue;
        }
        worth += f32::from(area.damage_at(distance_squared).min(life.health));
        if near[2].is_some_and(|last| distance_squared >= last.distance_squared) {
            continue;
        }
        near[2] = Some(Enemy { at: position.at, velocity: velocities[other].per_second, distance_squared });
        for place in [1, 0] {
            if near[place].is_none_or(|before| distance_squared < before.distance_squared) {
                near.swap(place, place + 1);
            }
        }
    }
    (near, worth)
}

/// How to move before an enemy in sight: closer when far, away when near, sideways always.
fn fight(here: Vec2, enemy: &Enemy, side: f32, (nearest, furthest): (f32, f32)) -> Vec2 {
    let towards = (enemy.at - here).normalize_or(Vec2::X);
    let distance = math::sqrt(enemy.distance_squared);
    let approach = if distance > furthest {
        1.0
    } else if distance < nearest {
        -0.7
    } else {
        0.1
    };
    (towards * approach + towards.perp() * (side * 0.8)).normalize_or_zero()
}

/// The way out of the way of the flyers that come closest.
fn threat(world: &World, me: &Life, here: Vec2) -> Option<Vec2> {
    let flyers = world.rows::<Flyer>();
    let (positions, velocities) = (flyers.read::<Position>(), flyers.read::<Velocity>());
    let flights = flyers.read::<Flight>();
    let view = Rect::around(here, Vec2::splat(16.0));
    let mut out = Vec2::ZERO;
    for ((position, velocity), flight) in positions.iter().zip(&*velocities).zip(&*flights) {
        if view.contains(position.at) && flight.team != me.team {
            let away = dodge(here, position.at, velocity.per_second, DODGE.0, DODGE.1);
            out += away.unwrap_or(Vec2::ZERO);
        }
    }
    out.try_normalize()
}

/// The side that a seat prefers for so many ticks, 1 or −1, then perhaps the other.
fn side_of(seat: Seat, tick: u32, ticks: u32) -> f32 {
    let turn = (tick.wrapping_add(u32::from(seat.0) * 7)) / ticks;
    let mixed = (turn ^ u32::from(seat.0) << 16).wrapping_mul(0x9e37_79b9);
    if mixed >> 31 == 0 { 1.0 } else { -1.0 }
}
