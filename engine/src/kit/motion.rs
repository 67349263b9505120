//! Position and velocity, and how one follows from the other.

use bytemuck::cast_slice;
use glam::Vec2;

use crate::math::limit_length;
use crate::space::Rect;

crate::record! {
    /// Where an actor is, in metres. The grid of 2⁻¹² m is what the wire carries too.
    pub struct Position {
        /// The place.
        pub at: Vec2 => grid(4096),
    }

    /// How an actor moves, in metres per second, on a grid of 2⁻¹² m/s.
    pub struct Velocity {
        /// The change of place in a second.
        pub per_second: Vec2 => grid(4096),
    }
}

/// Moves every position by its velocity for `seconds`. One flat pass; about 0.3 ns a row.
///
/// # Panics
/// If the columns have different lengths.
#[inline]
pub fn integrate(positions: &mut [Position], velocities: &[Velocity], seconds: f32) {
    assert_eq!(positions.len(), velocities.len(), "columns of one kind have one length");
    let positions: &mut [f32] = bytemuck::cast_slice_mut(positions);
    let velocities: &[f32] = cast_slice(velocities);
    for (position, velocity) in positions.iter_mut().zip(velocities) {
        *position += *velocity * seconds;
    }
}

/// The velocity after one tick of acceleration towards a wished one: `change_max` is the acceleration times the
/// length of the tick.
#[inline]
#[must_use]
pub fn approach(velocity: Vec2, wish: Vec2, change_max: f32) -> Vec2 {
    velocity + limit_length(wish - velocity, change_max)
}

/// The nearest point at which a circle of `radius` lies wholly within bounds.
#[inline]
#[must_use]
pub fn keep_within(center: Vec2, bounds: &Rect, radius: f32) -> Vec2 {
    bounds.grown(-radius).closest(center)
}

#[cfg(test)]
mod tests {
    use super::*;
    use glam::vec2;

    #[test]
    fn positions_follow_their_velocities() {
        let mut positions = [Position { at: vec2(1.0, 2.0) }, Position { at: vec2(-3.0, 0.0) }];
        let velocities = [Velocity { per_second: vec2(3.0, -6.0) }, Velocity::default()];
        integrate(&mut positions, &velocities, 0.5);
        assert_eq!(positions.map(|position| position.at), [vec2(2.5, -1.0), vec2(-3.0, 0.0)]);
    }

    #[test]
    fn a_wish_is_reached_and_not_passed() {
        let wish = vec2(6.0, 0.0);
        let mut velocity = Vec2::ZERO;
        let speeds: Vec<f32> = (0..4)
            .map(|_| {
                velocity = approach(velocity, wish, 2.5);
                velocity.x
            })
            .collect();
        assert_eq!(speeds, [2.5, 5.0, 6.0, 6.0]);
    }

    #[test]
    fn circles_are_kept_whole_within_bounds() {
        let bounds = Rect::new(vec2(-10.0, -10.0), vec2(10.0, 10.0));
        assert_eq!(keep_within(vec2(12.0, -3.0), &bounds, 0.5), vec2(9.5, -3.0));
        assert_eq!(keep_within(vec2(9.5, -9.5), &bounds, 0.5), vec2(9.5, -9.5));
    }
}
