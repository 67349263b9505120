//! What scripted players are made of: leading a shot, dodging one, steering round blocks.

use glam::Vec2;

use crate::math;
use crate::space::{Rect, segment_rect};

/// Where to aim so that a shot of `speed` meets a target that goes on as it goes. Both speeds in metres per second.
///
/// Aims at the target itself if the shot cannot catch it.
#[must_use]
pub fn lead(from: Vec2, target: Vec2, target_velocity: Vec2, speed: f32) -> Vec2 {
    let away = target - from;
    let a = target_velocity.length_squared() - speed * speed;
    let b = 2.0 * away.dot(target_velocity);
    let c = away.length_squared();
    let seconds = if a.abs() < 1e-3 {
        if b < -1e-6 { -c / b } else { 0.0 }
    } else {
        let discriminant = b * b - 4.0 * a * c;
        if discriminant < 0.0 { 0.0 } else { (-b - discriminant.sqrt()) / (2.0 * a) }
    };
    if seconds > 0.0 && seconds < 10.0 { target + target_velocity * seconds } else { target }
}

/// Which way to step out of the way of something that flies by: a unit vector, or nothing when it will pass by
/// further than `radius`, is going away, or is further off than `seconds`.
///
/// Standing exactly in its way, one steps to its left.
#[must_use]
pub fn dodge(me: Vec2, flyer: Vec2, flyer_velocity: Vec2, radius: f32, seconds: f32) -> Option<Vec2> {
    let to_me = me - flyer;
    let speed_squared = flyer_velocity.length_squared();
    let closing = to_me.dot(flyer_velocity);
    if closing <= 0.0 || closing > seconds * speed_squared {
        return None;
    }
    let beside = to_me - flyer_velocity * (closing / speed_squared);
    if beside.length_squared() > radius * radius {
        return None;
    }
    Some(beside.try_normalize().unwrap_or_else(|| flyer_velocity.perp().normalize_or(Vec2::Y)))
}

/// Whether a circle can go straight from one point to another without meeting a block. One that it touches where it
/// starts is in its way only if it goes towards it: who stands at a wall can go along it. Costs a test of every block.
#[must_use]
pub fn is_clear(from: Vec2, to: Vec2, radius: f32, blocks: impl Iterator<Item = Rect>) -> bool {
    let mut blocks = blocks;
    let delta = to - from;
    let span = Rect::new(from.min(to), from.max(to));
    !blocks.any(|block| {
        let grown = block.grown(radius);
        grown.overlaps(&span) && segment_rect(from, delta, &grown).is_some() && {
            let out = from - block.closest(from);
            // Less than a millimetre or two is no way into it.
            !grown.contains(from) || out == Vec2::ZERO || delta.dot(out) < -1e-3
        }
    })
}

/// The turns that [`steer_round`] tries, in radians: one of them a right angle, by which one comes along a wall through
/// a gap that is hardly wider than oneself.
const TURNS: [f32; 5] = [0.4, 0.8, 1.25, math::PI * 0.5, 1.75];

/// The wished direction if the next `ahead` metres there are free, else the smallest free turn to one side, else to
/// the other. `side` is the one tried first, 1 for left, −1 for right; keep it for a while.
///
/// Gives the wished direction back when nothing is free. Costs one call of `is_free` where the way is free, eleven at
/// most.
#[must_use]
pub fn steer_round(
    from: Vec2,
    wish: Vec2,
    side: f32,
    ahead: f32,
    mut is_free: impl FnMut(Vec2) -> bool,
) -> Vec2 {
    if is_free(from + wish * ahead) {
        return wish;
    }
    // All of one side before the other: who takes the smaller turn of both goes to and fro before a wall.
    for side in [side, -side] {
        for turn in TURNS {
            let turned = math::direction(turn * side).rotate(wish);
            if is_free(from + turned * ahead) {
                return turned;
            }
        }
    }
    wish
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::space::push_circle_out;
    use glam::vec2;

    #[test]
    fn a_led_shot_meets_its_target() {
        let mut rng = Rng::new(5, 0, 0, 0);
        for _ in 0..1000 {
            let from = vec2(rng.signed(), rng.signed()) * 20.0;
            let target = vec2(rng.signed(), rng.signed()) * 20.0;
            let velocity = vec2(rng.signed(), rng.signed()) * 4.0;
            let aim = lead(from, target, velocity, 24.0);
            let seconds = (aim - from).length() / 24.0;
            assert!((target + velocity * seconds - aim).length() < 1e-2, "{from} {target} {velocity}");
        }
    }

    #[test]
    fn a_target_that_cannot_be_caught_is_aimed_at_itself() {
        assert_eq!(lead(Vec2::ZERO, vec2(5.0, 0.0), vec2(9.0, 0.0), 3.0), vec2(5.0, 0.0));
        assert_eq!(lead(Vec2::ZERO, vec2(5.0, 0.0), vec2(3.0, 0.0), 3.0), vec2(5.0, 0.0));
    }

    #[test]
    fn only_what_comes_near_is_dodged_and_sideways() {
        let incoming = |me| dodge(me, vec2(-10.0, 0.0), vec2(20.0, 0.0), 1.0, 0.7);
        assert_eq!(incoming(vec2(0.0, 0.5)), Some(vec2(0.0, 1.0)));
        assert_eq!(incoming(vec2(0.0, -0.5)), Some(vec2(0.0, -1.0)));
        assert_eq!(incoming(vec2(0.0, 0.0)), Some(vec2(0.0, 1.0)));
        assert_eq!(incoming(vec2(0.0, 1.1)), None);
        assert_eq!(incoming(vec2(-11.0, 0.0)), None);
        assert_eq!(incoming(vec2(9.0, 0.0)), None);
    }

    #[test]
    fn a_walker_goes_round_a_block() {
        let block = Rect::around(vec2(5.0, 0.3), vec2(1.0, 2.0));
        let mut place = Vec2::ZERO;
        let goal = vec2(10.0, 0.0);
        for _ in 0..400 {
            let wish = (goal - place).normalize_or(Vec2::X);
            let free = |to: Vec2| is_clear(place, to, 0.5, std::iter::once(block));
            place += steer_round(place, wish, 1.0, 2.0, free) * 0.1;
            assert!(block.distance_squared(place) > 0.2, "{place}");
        }
        assert!((place - goal).length() < 1.0, "stuck at {place}");
    }

    #[test]
    fn a_walker_in_a_gap_of_its_own_width_comes_out_of_it() {
        let before = Rect::around(vec2(5.0, 0.0), vec2(1.0, 4.0));
        let behind = Rect::around(vec2(2.0, 0.0), vec2(1.0, 20.0));
        for y in [-3.9, 0.0, 3.9] {
            let mut place = vec2(3.5, y);
            for _ in 0..200 {
                let free = |to: Vec2| is_clear(place, to, 0.6, [before, behind].into_iter());
                place += steer_round(place, Vec2::X, 1.0, 2.0, free) * 0.1;
                for block in [before, behind] {
                    place = push_circle_out(&block, place, 0.5).unwrap_or(place);
                }
            }
            assert!(place.x > 7.0, "from {y}: stuck at {place}");
        }
    }

    #[test]
    fn who_touches_a_block_may_leave_it_and_not_enter_it() {
        let block = Rect::around(Vec2::ZERO, Vec2::ONE);
        let clear = |from, to| is_clear(from, to, 0.6, std::iter::once(block));
        let beside = vec2(1.5, 0.0);
        assert!(clear(beside, vec2(3.0, 0.0)) && clear(beside, vec2(1.5, 4.0)));
        assert!(!clear(beside, vec2(-3.0, 0.0)) && !clear(beside, vec2(1.4, 1.0)));
        // From within there is no way, as no line of sight.
        assert!(!clear(Vec2::ZERO, vec2(9.0, 0.0)));
        assert!(!is_clear(vec2(0.5, 0.5), vec2(9.0, 0.0), 0.0, std::iter::once(block)));
    }
}
