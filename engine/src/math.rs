//! Mathematics that gives the same bits on every machine: the crate `libm` instead of the platform's library.
//!
//! `+ − × ÷` and `sqrt` on `f32` are exact everywhere and need no wrapper. Angles are radians.

use glam::Vec2;
use std::f32::consts::{PI, TAU};

/// The sine of an angle.
#[must_use]
pub fn sin(angle: f32) -> f32 {
    libm::sinf(angle)
}

/// The cosine of an angle.
#[must_use]
pub fn cos(angle: f32) -> f32 {
    libm::cosf(angle)
}

/// The angle of a direction, −π to π; 0 for the zero vector.
#[must_use]
pub fn atan2(y: f32, x: f32) -> f32 {
    libm::atan2f(y, x)
}

/// The unit vector that points along an angle.
#[must_use]
pub fn direction(angle: f32) -> Vec2 {
    let (sin, cos) = libm::sincosf(angle);
    Vec2::new(cos, sin)
}

/// The same angle from −π up to but not π.
#[must_use]
pub fn wrap_angle(angle: f32) -> f32 {
    let turns = libm::floorf((angle + PI) / TAU);
    angle - turns * TAU
}

/// A hash over the results of about a thousand operations of this module and of glam: two builds that simulate the
/// same have the same. It is part of the protocol hash, so a client that was built otherwise is refused by name.
#[must_use]
pub fn self_test_hash() -> u64 {
    let mut bits: Vec<u32> = Vec::with_capacity(1024);
    let mut vector = Vec2::new(0.7, -1.3);
    for step in 0..100_u16 {
        let angle = f32::from(step) * 0.37 - 18.0;
        let turned = Vec2::from_angle(angle).rotate(vector);
        let matrix = glam::Mat2::from_angle(angle * 0.5) * turned;
        let quaternion = glam::Quat::from_rotation_z(angle) * glam::Vec3::new(vector.x, vector.y, 0.25);
        bits.extend([sin(angle), cos(angle), atan2(angle, vector.x), wrap_angle(angle)].map(f32::to_bits));
        bits.extend(
            [turned.x, turned.y, matrix.x, matrix.length(), quaternion.y, quaternion.x].map(f32::to_bits),
        );
        vector = (turned + direction(angle)).normalize_or_zero() * 1.5;
    }
    xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(&bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_is_what_every_platform_computes() {
        assert_eq!(self_test_hash(), 2_552_709_824_558_956_134);
    }

    #[test]
    fn wrapped_angles_lie_in_one_turn() {
        for angle in [-100.0, -PI, -0.5, 0.0, 3.0, PI, 4.0, 1000.0] {
            let wrapped = wrap_angle(angle);
            assert!((-PI - 1e-3..PI + 1e-3).contains(&wrapped), "{angle} gave {wrapped}");
            assert!((sin(wrapped) - sin(angle)).abs() < 1e-3);
        }
    }
}
