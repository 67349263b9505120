//! The scripted player: seeks the nearest enemy, leads its shots, keeps its distance, strafes, dodges, blasts when
//! it is worth it, and walks round obstacles. It knows what a player with a full view knows, and nothing else.

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
    let facing = puppets.read::<Facing>()[row].angle.clamp(-math::PI, math::PI);
    if !me.is_alive() {
        return Input { aim: facing, ..Input::default() };
    }
    let rules = world.singleton::<Rules>();
    let obstacles = world.rows::<Obstacle>().read::<Block>();
    let here = positions[row].at;
    let rects = || obstacles.iter().map(Block::rect);
    let inner = rules.bounds().grown(-PUPPET_RADIUS);
    let is_free = |to: Vec2| inner.contains(to) && is_clear(here, to, PUPPET_RADIUS * 1.2, rects());

    let area = Area { radius: rules.blast_radius, full: rules.blast_damage, edge: rules.blast_edge_damage };
    let (near, worth) = look_round(row, &lives, &positions, &puppets.read::<Velocity>(), &area);
    let seen = near.into_iter().flatten().find(|enemy| is_clear(here, enemy.at, 0.0, rects()));

    let mut input = Input { aim: facing, ..Input::default() };
    let mut wish = match (seen, near[0]) {
        (Some(enemy), _) => {
            let arms = puppets.read::<Arms>()[row];
            let at = lead(here, enemy.at, enemy.velocity, rules.flyer_speed);
            input.aim = math::wrap_angle(math::angle_of(at - here) + rng.signed() * AIM_ERROR);
            let range = rules.flyer_speed * rules.flyer_ticks as f32 * rules.seconds;
            if enemy.distance_squared < range * range && arms.weapon.is_over(now) {
                input.buttons |= FIRE;
            }
            if worth >= f32::from(rules.blast_damage) * BLAST_WORTH && arms.blast.is_over(now) {
                input.buttons |= BLAST;
            }
            let bold = arms.blast.is_over(now) && me.health > rules.health / 2;
            let side = side_of(seat, now.0, STRAFE_TICKS);
            fight(here, &enemy, side, if bold { BLAST_DISTANCE } else { DISTANCE })
        }
        (None, Some(enemy)) => {
            let towards = (enemy.at - here).normalize_or_zero();
            input.aim = math::angle_of(towards);
            towards
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
        wish = steer_round(here, wish, side_of(seat, now.0, ROUND_TICKS), AHEAD, is_free);
        (input.move_x, input.move_y) = (wish.x.clamp(-1.0, 1.0), wish.y.clamp(-1.0, 1.0));
    }
    input
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
