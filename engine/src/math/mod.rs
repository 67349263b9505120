//! Mathematics that gives the same bits on every machine.
//!
//! `+ − × ÷` and the square root of `f32` are exact by IEEE 754 everywhere. Sines, powers and the like are not: std
//! calls the platform's library, which differs between platforms. These functions go through the crate `libm`,
//! pinned to one version. glam is built with `libm` and `scalar-math` for the same reason.
//!
//! Operators on floats and on glam's vectors are fine as they are. What is not: the methods of `f32` that these
//! functions replace, and `mul_add`, which fuses on some machines only.
//!
//! [`self_test_hash`] proves it at run time: a build that computes otherwise starts no battle, and peers whose hashes
//! differ cannot simulate together.

mod self_test;

use glam::Vec2;

pub use self_test::{SELF_TEST_HASH, self_test_hash};

/// Half a turn in radians.
pub const PI: f32 = std::f32::consts::PI;
/// A full turn in radians.
pub const TAU: f32 = std::f32::consts::TAU;

/// The sine of an angle in radians.
#[inline]
#[must_use]
pub fn sin(angle: f32) -> f32 {
    libm::sinf(angle)
}

/// The cosine of an angle in radians.
#[inline]
#[must_use]
pub fn cos(angle: f32) -> f32 {
    libm::cosf(angle)
}

/// Sine and cosine of an angle in radians, cheaper than both alone.
#[inline]
#[must_use]
pub fn sin_cos(angle: f32) -> (f32, f32) {
    libm::sincosf(angle)
}

/// The tangent of an angle in radians.
#[inline]
#[must_use]
pub fn tan(angle: f32) -> f32 {
    libm::tanf(angle)
}

/// The angle in [−π/2, π/2] whose sine is `value`; NaN outside [−1, 1].
#[inline]
#[must_use]
pub fn asin(value: f32) -> f32 {
    libm::asinf(value)
}

/// The angle in [0, π] whose cosine is `value`; NaN outside [−1, 1].
#[inline]
#[must_use]
pub fn acos(value: f32) -> f32 {
    libm::acosf(value)
}

/// The angle of the vector (`x`, `y`) in [−π, π], counted from the x axis towards the y axis; 0 for no vector.
#[inline]
#[must_use]
pub fn atan2(y: f32, x: f32) -> f32 {
    libm::atan2f(y, x)
}

/// The square root; NaN below 0. Exact on every platform, here so that games need not know.
#[inline]
#[must_use]
pub fn sqrt(value: f32) -> f32 {
    value.sqrt()
}

/// e to the power of `value`.
#[inline]
#[must_use]
pub fn exp(value: f32) -> f32 {
    libm::expf(value)
}

/// The natural logarithm; NaN below 0.
#[inline]
#[must_use]
pub fn ln(value: f32) -> f32 {
    libm::logf(value)
}

/// `base` to the power of `exponent`.
#[inline]
#[must_use]
pub fn pow(base: f32, exponent: f32) -> f32 {
    libm::powf(base, exponent)
}

/// The length of the vector (`x`, `y`) without overflow on the way.
#[inline]
#[must_use]
pub fn hypot(x: f32, y: f32) -> f32 {
    libm::hypotf(x, y)
}

/// The same angle in [−π, π]. NaN and infinities give 0.
#[must_use]
pub fn wrap_angle(angle: f32) -> f32 {
    if angle.abs() <= PI {
        return angle;
    }
    if !angle.is_finite() {
        return 0.0;
    }
    // The remainder is exact; one addition is left to round.
    let rest = libm::fmodf(angle, TAU);
    let wrapped = if rest > PI { rest - TAU } else { rest };
    let wrapped = if wrapped < -PI { wrapped + TAU } else { wrapped };
    wrapped.clamp(-PI, PI)
}

/// The shortest turn that leads from one angle to another, in [−π, π].
#[must_use]
pub fn turn_between(from: f32, to: f32) -> f32 {
    wrap_angle(to - from)
}

/// The unit vector in the direction of an angle in radians, counted from the x axis towards the y axis.
#[inline]
#[must_use]
pub fn direction(angle: f32) -> Vec2 {
    let (sin, cos) = sin_cos(angle);
    Vec2::new(cos, sin)
}

/// The angle of a vector in [−π, π]; 0 for no vector.
#[inline]
#[must_use]
pub fn angle_of(vector: Vec2) -> f32 {
    atan2(vector.y, vector.x)
}

/// The vector itself, or the one of length `length_max` in its direction if it is longer.
///
/// Costs a square root and a division, and has no branch that could be guessed wrong.
#[inline]
#[must_use]
pub fn limit_length(vector: Vec2, length_max: f32) -> Vec2 {
    let length = (vector.x * vector.x + vector.y * vector.y).sqrt();
    let longer = if length > length_max { length } else { length_max };
    // A vector that is short enough is scaled by exactly 1; the smallest number is there for a maximum of 0.
    let divisor = if longer > f32::MIN_POSITIVE { longer } else { f32::MIN_POSITIVE };
    vector * (length_max / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn wrapped_angles_lie_within_half_a_turn_and_point_the_same_way() {
        for step in -400..400 {
            let angle = step as f32 * 0.37;
            let wrapped = wrap_angle(angle);
            assert!(wrapped.abs() <= PI, "{angle} became {wrapped}");
            assert!((direction(angle) - direction(wrapped)).length() < 1e-4, "{angle} became {wrapped}");
        }
        assert_eq!(wrap_angle(f32::NAN), 0.0);
        assert_eq!(wrap_angle(f32::INFINITY), 0.0);
        assert!(wrap_angle(f32::MAX).abs() <= PI);
        assert!(wrap_angle(f32::MIN).abs() <= PI);
    }

    #[test]
    fn turns_take_the_short_way() {
        assert!((turn_between(3.0, -3.0) - (TAU - 6.0)).abs() < 1e-6);
        assert!((turn_between(-3.0, 3.0) + (TAU - 6.0)).abs() < 1e-6);
    }

    #[test]
    fn angles_and_directions_are_inverse() {
        for step in -31..=31 {
            let angle = step as f32 * 0.1;
            assert!((angle_of(direction(angle)) - angle).abs() < 1e-6);
        }
        assert_eq!(angle_of(Vec2::ZERO), 0.0);
    }

    #[test]
    fn limited_vectors_keep_their_direction() {
        assert_eq!(limit_length(Vec2::new(3.0, 4.0), 5.0), Vec2::new(3.0, 4.0));
        assert_eq!(limit_length(Vec2::new(6.0, 8.0), 5.0), Vec2::new(3.0, 4.0));
        assert_eq!(limit_length(Vec2::ZERO, 5.0), Vec2::ZERO);
        assert_eq!(limit_length(Vec2::ZERO, 0.0), Vec2::ZERO);
        assert_eq!(limit_length(Vec2::new(3.0, 4.0), 0.0), Vec2::ZERO);
        assert_eq!(
            limit_length(Vec2::splat(f32::MAX), 5.0),
            Vec2::ZERO,
            "a length beyond all floats counts as none"
        );
        let mut rng = Rng::new(1, 0, 0, 0);
        for _ in 0..1000 {
            let short = Vec2::new(rng.signed(), rng.signed()) * 3.0;
            assert_eq!(limit_length(short, 5.0), short);
            assert!((limit_length(short * 1e3, 5.0).length() - 5.0).abs() < 1e-5);
        }
    }
}
