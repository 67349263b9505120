//! Flyers: what flies straight until something is in its way or its time is up.

use glam::Vec2;

use crate::space::{Blocks, Rect, push_circle_out, segment_rect};
use crate::{ActorId, Tick};

crate::record! {
    /// A flyer's owner, end and enemies.
    pub struct Flight {
        /// Who let it fly; [`ActorId::NONE`] for nobody.
        pub owner: ActorId,
        /// The tick at which it ends; [`Flight::ENDLESS`] for never.
        pub ends_at: Tick,
        /// The groups that it touches, one bit each, as [`Impact`](super::impact::Impact) knows them.
        pub touches: u8,
        /// The side it flies for.
        pub team: u8,
        /// How many more times it bounces; [`Flight::ALWAYS`] for always.
        pub bounces: u8,
        /// Free for the game.
        pub kind: u8,
    }
}

impl Flight {
    /// An end that never comes.
    pub const ENDLESS: Tick = Tick(u32::MAX);
    /// Bounces that are never used up.
    pub const ALWAYS: u8 = u8::MAX;

    /// Whether its time is up.
    #[inline]
    #[must_use]
    pub fn is_over(&self, now: Tick) -> bool {
        now >= self.ends_at
    }

    /// Uses up a bounce; false if there is none left.
    #[inline]
    pub fn bounce(&mut self) -> bool {
        let any = self.bounces > 0;
        if any && self.bounces != Self::ALWAYS {
            self.bounces -= 1;
        }
        any
    }
}

/// How far off a wall a flyer or puppet is set, in metres: more than the grid of positions may move it back.
pub const SKIN: f32 = 1.0 / 1024.0;

/// Where a flyer meets a wall or a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meeting {
    /// When, from 0 at the start of the movement to 1 at its end.
    pub at: f32,
    /// Where its centre then is, [`SKIN`] off the surface.
    pub place: Vec2,
    /// The surface's outward unit normal.
    pub normal: Vec2,
}

/// The first wall of `bounds` or block that a circle meets which moves from `from` by `delta`.
///
/// Whoever starts inside of one meets it at 0 and is set outside. Blocks are those near the middle of the movement:
/// their index needs a margin of `radius` and half the movement's length.
#[must_use]
pub fn first_meeting(
    from: Vec2,
    delta: Vec2,
    radius: f32,
    bounds: &Rect,
    blocks: &Blocks,
) -> Option<Meeting> {
    let mut first = wall_met(from, delta, &bounds.grown(-radius));
    let span = Rect::new(from.min(from + delta), from.max(from + delta));
    for rect in blocks.shapes_near(from + delta * 0.5) {
        let grown = rect.grown(radius);
        if !grown.overlaps(&span) {
            continue;
        }
        let Some(hit) = segment_rect(from, delta, &grown) else { continue };
        if first.is_some_and(|first| first.at <= hit.at) {
            continue;
        }
        let meeting = if hit.normal == Vec2::ZERO {
            let out = push_circle_out(rect, from, radius + SKIN).unwrap_or(from);
            let normal = (out - rect.closest(out)).normalize_or(Vec2::X);
            Meeting { at: 0.0, place: out, normal }
        } else {
            Meeting { at: hit.at, place: from + delta * hit.at + hit.normal * SKIN, normal: hit.normal }
        };
        first = Some(meeting);
    }
    first
}

/// The first edge of a rectangle that a point meets from within.
fn wall_met(from: Vec2, delta: Vec2, within: &Rect) -> Option<Meeting> {
    let to = from + delta;
    if within.contains(to) {
        return None;
    }
    let x = axis_met(from.x, delta.x, within.min.x, within.max.x);
    let y = axis_met(from.y, delta.y, within.min.y, within.max.y);
    let (at, normal) = match (x, y) {
        (Some((x, side)), Some((y, _))) if x <= y => (x, Vec2::new(side, 0.0)),
        (_, Some((y, side))) => (y, Vec2::new(0.0, side)),
        (Some((x, side)), None) => (x, Vec2::new(side, 0.0)),
        (None, None) => return None,
    };
    Some(Meeting { at, place: within.grown(-SKIN).closest(from + delta * at), normal })
}

/// When a coordinate leaves an interval, and the sign of the way back.
fn axis_met(from: f32, delta: f32, low: f32, high: f32) -> Option<(f32, f32)> {
    let (edge, back) = if from + delta > high {
        (high, -1.0)
    } else if from + delta < low {
        (low, 1.0)
    } else {
        return None;
    };
    let at = if delta == 0.0 { 0.0 } else { ((edge - from) / delta).clamp(0.0, 1.0) };
    Some((at, back))
}

/// A velocity after a bounce off a surface; unchanged if it leads away from it already.
#[inline]
#[must_use]
pub fn reflect(velocity: Vec2, normal: Vec2) -> Vec2 {
    let into = velocity.dot(normal);
    if into < 0.0 { velocity - normal * (2.0 * into) } else { velocity }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    const BOUNDS: Rect = Rect::new(vec2(-10.0, -10.0), vec2(10.0, 10.0));

    #[test]
    fn walls_and_blocks_are_met_where_they_stand() {
        let block = Rect::around(vec2(5.0, 0.0), vec2(1.0, 1.0));
        let blocks = Blocks::new(BOUNDS, 2.0, 1.0, &[block]);
        let met = first_meeting(vec2(3.0, 0.0), vec2(1.5, 0.0), 0.25, &BOUNDS, &blocks).unwrap();
        assert_eq!((met.at, met.normal), (0.5, vec2(-1.0, 0.0)));
        assert_eq!(met.place, vec2(3.75 - SKIN, 0.0));
        let met = first_meeting(vec2(-9.5, 3.0), vec2(-0.5, 0.5), 0.25, &BOUNDS, &blocks).unwrap();
        assert_eq!((met.at, met.normal), (0.5, vec2(1.0, 0.0)));
        assert_eq!(first_meeting(vec2(0.0, 0.0), vec2(1.0, 1.0), 0.25, &BOUNDS, &blocks), None);
        let inside = first_meeting(vec2(5.0, 0.9), vec2(0.1, 0.0), 0.25, &BOUNDS, &blocks).unwrap();
        assert_eq!((inside.at, inside.normal), (0.0, vec2(0.0, 1.0)));
    }

    #[test]
    fn bouncing_flyers_stay_out_of_blocks_and_within_walls() {
        let rects =
            [Rect::around(vec2(4.0, 1.0), vec2(1.0, 2.0)), Rect::around(vec2(-4.0, -3.0), vec2(2.0, 1.0))];
        let blocks = Blocks::new(BOUNDS, 2.0, 1.0, &rects);
        for seed in 0..40 {
            let mut rng = Rng::new(seed, 0, 0, 0);
            let mut place = vec2(0.0, rng.signed() * 8.0);
            let mut velocity = vec2(rng.signed(), rng.signed());
            for _ in 0..400 {
                match first_meeting(place, velocity, 0.25, &BOUNDS, &blocks) {
                    Some(met) => (place, velocity) = (met.place, reflect(velocity, met.normal)),
                    None => place += velocity,
                }
                assert!(BOUNDS.grown(-0.25).contains(place), "seed {seed}: {place}");
                assert!(rects.iter().all(|rect| !rect.contains(place)), "seed {seed}: {place}");
            }
        }
    }

    #[test]
    fn bounces_are_used_up_unless_there_is_no_end_of_them() {
        let mut flight = Flight { bounces: 1, ..Flight::default() };
        assert!(flight.bounce());
        assert!(!flight.bounce());
        flight.bounces = Flight::ALWAYS;
        assert!((0..1000).all(|_| flight.bounce()));
    }
}
