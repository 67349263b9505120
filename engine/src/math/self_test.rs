//! The self-test: what this build's mathematics come to, as one number.

use std::sync::OnceLock;

use glam::{Mat2, Mat3, Quat, Vec2, Vec3, Vec4};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    acos, asin, atan2, cos, direction, exp, hypot, limit_length, ln, pow, sin, sin_cos, sqrt, tan,
    turn_between, wrap_angle,
};
use crate::rng::Rng;

/// How many input sets the self-test walks; each goes through some twenty operations.
const SELF_TEST_ROUNDS: u32 = 50;

/// What [`self_test_hash`] is on every build. It changes with the operations of the self-test, with libm and with
/// glam, and then builds before and after refuse each other.
pub const SELF_TEST_HASH: u64 = 0xe7da_fb1d_adfd_e5f8;

/// A hash over about a thousand operations of this module and of glam: equal on every build that may play together.
///
/// The inputs are always the same. Costs about 15 µs the first time, and then nothing.
#[must_use]
pub fn self_test_hash() -> u64 {
    static HASH: OnceLock<u64> = OnceLock::new();
    *HASH.get_or_init(compute)
}

fn compute() -> u64 {
    let mut bits = Bits(Vec::with_capacity(8192));
    let mut rng = Rng::new(0x7469_6c74_7961_7264, 0, 0, 0);
    for round in 0..SELF_TEST_ROUNDS {
        // From fine to coarse: the reductions of large angles are where libraries differ.
        let scale = pow(2.0, round as f32 * 0.5 - 8.0);
        let (a, b) = (rng.signed() * scale, rng.signed() * scale);
        let unit = rng.signed();
        for value in
            [sin(a), cos(a), tan(a), asin(unit), acos(unit), atan2(a, b), sqrt(a.abs()), exp(unit * 20.0)]
        {
            bits.push(value);
        }
        for value in [ln(a.abs()), pow(a.abs(), unit * 4.0), hypot(a, b), wrap_angle(a), turn_between(a, b)] {
            bits.push(value);
        }
        let v = Vec2::new(a, b);
        bits.extend(&direction(a).to_array());
        bits.extend(&limit_length(v, 1.0).to_array());
        bits.extend(&v.normalize_or_zero().to_array());
        bits.extend(&v.rotate(Vec2::from_angle(unit)).to_array());
        bits.push(v.angle_to(Vec2::new(b, unit)));
        bits.extend(&(Mat2::from_angle(a) * v).to_array());
        let w = Vec3::new(a, unit, b);
        bits.extend(&w.cross(Vec3::new(unit, b, a)).normalize_or_zero().to_array());
        let p = Quat::from_rotation_y(a) * Quat::from_axis_angle(w.normalize_or(Vec3::X), unit);
        let q = Quat::from_rotation_z(b);
        bits.extend(&(p * w).to_array());
        bits.extend(&p.slerp(q, unit.abs()).to_array());
        bits.extend(&(Mat3::from_quat(p) * w).to_array());
        bits.push(Vec4::new(a, b, unit, 1.0).dot(Vec4::new(b, a, 1.0, unit)));
    }
    let float = f32::from_bits;
    SIN.map(float).into_iter().for_each(|x| bits.extend(&[sin(x), sin_cos(x).0]));
    COS.map(float).into_iter().for_each(|x| bits.extend(&[cos(x), sin_cos(x).1]));
    TAN.map(float).into_iter().for_each(|x| bits.push(tan(x)));
    ASIN.map(float).into_iter().for_each(|x| bits.push(asin(x)));
    ACOS.map(float).into_iter().for_each(|x| bits.push(acos(x)));
    EXP.map(float).into_iter().for_each(|x| bits.push(exp(x)));
    LN.map(float).into_iter().for_each(|x| bits.push(ln(x)));
    ATAN2.into_iter().for_each(|(y, x)| bits.push(atan2(float(y), float(x))));
    POW.into_iter().for_each(|(base, exponent)| bits.push(pow(float(base), float(exponent))));
    HYPOT.into_iter().for_each(|(x, y)| bits.push(hypot(float(x), float(y))));
    xxh3_64(&bits.0)
}

/// Collects the bits of floats; any NaN counts as the same one, since its sign and payload are not fixed.
struct Bits(Vec<u8>);

impl Bits {
    fn push(&mut self, value: f32) {
        let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
        self.0.extend_from_slice(&bits.to_le_bytes());
    }

    fn extend(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.push(*value));
    }
}

// Bits of inputs at which libm 0.2.16 and glibc 2.36 on x86-64 come to different results, so that a build that calls
// its platform's functions has another hash. They were drawn at random until the two differed. In each table the first
// four are such that glibc has the float nearest to the true value (by the same function for f64), as other good
// libraries then have too; the rest such that libm has it. Of hypot, libm's is never the nearer one.
const SIN: [u32; 8] =
    [0x405f_7710, 0xc11c_a2c8, 0x3f16_3700, 0xc110_4c74, 0x3f33_da40, 0x41b1_0892, 0xc180_0812, 0x4183_437a];
const COS: [u32; 8] =
    [0xc089_bdb8, 0xc185_8e04, 0x41a7_eeae, 0x4156_0680, 0xc1a8_e3de, 0x41d7_c66e, 0x41ba_250c, 0x418f_f55a];
const TAN: [u32; 8] =
    [0xc061_0d30, 0x4043_7cd0, 0x3fb6_22a8, 0xc0d4_c844, 0xc041_6748, 0xc068_552c, 0xc01f_8864, 0xc0e6_9fb4];
const ASIN: [u32; 8] =
    [0xbe88_a7f0, 0x3f50_da40, 0x3ed5_8694, 0x3f7d_5d16, 0xbf54_c844, 0x3f44_7156, 0x3dba_dad0, 0x3f73_3ac2];
const ACOS: [u32; 8] =
    [0x3f57_c66e, 0x3f1a_7e16, 0xbe91_b224, 0x3f1b_41ee, 0x3f3b_7bb0, 0xbf01_5c36, 0x3e8b_aca0, 0x3ed4_ebc8];
const EXP: [u32; 8] =
    [0xc093_0afc, 0xc189_2228, 0xc188_4df4, 0x4138_5cd0, 0x4038_e110, 0xc0d2_76fc, 0x4116_86e0, 0x40c3_4444];
const LN: [u32; 8] =
    [0x423c_d311, 0x4299_832c, 0x42bd_28d0, 0x4235_021e, 0x41a9_16f7, 0x4023_5a2b, 0x4223_ab28, 0x42b3_15a3];
const ATAN2: [(u32, u32); 8] = [
    (0xc041_7ab0, 0xc110_e676),
    (0xc10f_e480, 0x406a_6538),
    (0x4088_5ade, 0x3fde_68d8),
    (0xc078_e9a4, 0x411c_7af6),
    (0x403a_2948, 0x4115_e19a),
    (0xc001_de9a, 0x4116_cb30),
    (0x40e3_8654, 0x3ff6_da38),
    (0x402d_fec8, 0x4118_9a70),
];
const POW: [(u32, u32); 8] = [
    (0x4033_cdaf, 0x3f8d_a0a8),
    (0x40fc_3fc5, 0x3fa0_98b8),
    (0x40e5_d276, 0xbffb_0eb4),
    (0x40a0_6d60, 0xbfd9_99c0),
    (0x409d_b440, 0xbfac_a050),
    (0x4119_4635, 0xc020_f310),
    (0x403d_b4cb, 0x405f_1232),
    (0x3f2f_a876, 0x3dd3_5f80),
];
const HYPOT: [(u32, u32); 4] = [
    (0xbf86_d810, 0xc0d4_8c0d),
    (0x4079_f90c, 0x411f_211e),
    (0xc0b8_9f39, 0xbf46_ffa0),
    (0xbf8a_71a0, 0x40ea_5a9c),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_is_the_pinned_one() {
        assert_eq!(self_test_hash(), SELF_TEST_HASH, "{:#018x}", self_test_hash());
    }

    /// On other platforms std may call the very functions that libm was ported from.
    #[test]
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    #[expect(clippy::disallowed_methods, reason = "they are what a wrong build would call")]
    fn the_self_test_notices_each_function_of_the_platform() {
        let one = |inputs: &[u32], ours: fn(f32) -> f32, platform: fn(f32) -> f32| {
            inputs
                .iter()
                .map(|bits| f32::from_bits(*bits))
                .any(|x| ours(x).to_bits() != platform(x).to_bits())
        };
        let two = |inputs: &[(u32, u32)], ours: fn(f32, f32) -> f32, platform: fn(f32, f32) -> f32| {
            let mut inputs = inputs.iter().map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)));
            inputs.any(|(a, b)| ours(a, b).to_bits() != platform(a, b).to_bits())
        };
        assert!(one(&SIN, sin, f32::sin));
        assert!(one(&SIN, |x| sin_cos(x).0, f32::sin));
        assert!(one(&COS, cos, f32::cos));
        assert!(one(&COS, |x| sin_cos(x).1, f32::cos));
        assert!(one(&TAN, tan, f32::tan));
        assert!(one(&ASIN, asin, f32::asin));
        assert!(one(&ACOS, acos, f32::acos));
        assert!(one(&EXP, exp, f32::exp));
        assert!(one(&LN, ln, f32::ln));
        assert!(two(&ATAN2, atan2, f32::atan2));
        assert!(two(&POW, pow, f32::powf));
        assert!(two(&HYPOT, hypot, f32::hypot));
    }
}
