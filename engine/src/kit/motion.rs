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

/// [`approach`] for many at once, row by row: square roots and divisions of four rows go side by side. Costs one pass
/// over the rows.
///
/// # Panics
/// If there are not as many wishes as velocities.
pub fn approach_all(velocities: &mut [Velocity], wishes: &[Vec2], change_max: f32) {
    assert_eq!(velocities.len(), wishes.len(), "each velocity has its wish");
    let (fours, rest) = velocities.as_chunks_mut::<4>();
    let (four_wishes, rest_wishes) = wishes.as_chunks::<4>();
    for (velocities, wishes) in fours.iter_mut().zip(four_wishes) {
        let mut changes: [Vec2; 4] = std::array::from_fn(|lane| wishes[lane] - velocities[lane].per_second);
        limit_four(&mut changes, change_max);
        for (velocity, change) in velocities.iter_mut().zip(changes) {
            velocity.per_second += change;
        }
    }
    for (velocity, wish) in rest.iter_mut().zip(rest_wishes) {
        velocity.per_second = approach(velocity.per_second, *wish, change_max);
    }
}

/// [`limit_length`] for many at once, four side by side. Costs one pass over the rows.
pub fn limit_lengths(vectors: &mut [Vec2], length_max: f32) {
    let (fours, rest) = vectors.as_chunks_mut::<4>();
    fours.iter_mut().for_each(|vectors| limit_four(vectors, length_max));
    rest.iter_mut().for_each(|vector| *vector = limit_length(*vector, length_max));
}

/// The steps of [`limit_length`], each for four vectors.
#[inline(always)]
fn limit_four(vectors: &mut [Vec2; 4], length_max: f32) {
    let lengths = vectors.map(|vector| (vector.x * vector.x + vector.y * vector.y).sqrt());
    let longer = lengths.map(|length| if length > length_max { length } else { length_max });
    let divisors = longer.map(|longer| if longer > f32::MIN_POSITIVE { longer } else { f32::MIN_POSITIVE });
    let scales = divisors.map(|divisor| length_max / divisor);
    for (vector, scale) in vectors.iter_mut().zip(scales) {
        *vector *= scale;
    }
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
    fn many_at_once_come_to_the_bits_that_each_comes_to() {
        let mut rng = crate::rng::Rng::new(41, 0, 0, 0);
        for count in 0..40 {
            let most = [0.0, 0.3, 1.0, f32::MAX][count % 4];
            let mut vector =
                || vec2(rng.signed(), rng.signed()) * [0.0, 1e-30, 1.0, 1e3][rng.below(4) as usize];
            let wishes: Vec<Vec2> = (0..count).map(|_| vector()).collect();
            let velocities: Vec<Velocity> = (0..count).map(|_| Velocity { per_second: vector() }).collect();
            let mut all = velocities.clone();
            approach_all(&mut all, &wishes, most);
            let mut limited = wishes.clone();
            limit_lengths(&mut limited, most);
            for row in 0..count {
                let expected = approach(velocities[row].per_second, wishes[row], most);
                assert_eq!(
                    all[row].per_second.to_array().map(f32::to_bits),
                    expected.to_array().map(f32::to_bits)
                );
                let expected = limit_length(wishes[row], most);
                assert_eq!(limited[row].to_array().map(f32::to_bits), expected.to_array().map(f32::to_bits));
            }
        }
    }

    #[test]
    fn circles_are_kept_whole_within_bounds() {
        let bounds = Rect::new(vec2(-10.0, -10.0), vec2(10.0, 10.0));
        assert_eq!(keep_within(vec2(12.0, -3.0), &bounds, 0.5), vec2(9.5, -3.0));
        assert_eq!(keep_within(vec2(9.5, -9.5), &bounds, 0.5), vec2(9.5, -9.5));
    }
}
