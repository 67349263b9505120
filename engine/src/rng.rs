//! Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as
//! 1, 2, 3", 2011; the constants and known answers are Random123's).
//!
//! A generator is a function of (battle seed, tick, stream, actor) and of how many numbers were drawn. There is no
//! generator state in a battle: nothing to save, and one more draw in a system shifts no other system's numbers.
//! The seed is the key; index, tick, stream and actor are the counter, so no two generators overlap.
//!
//! These numbers are for the simulation. Whoever knows the seed can predict them: what players may profit from
//! knowing comes from [`Step::chance`](crate::Step::chance).

/// The random numbers of one (seed, tick, stream, actor). 44 bytes, cheap to make and to copy, allocates nothing.
///
/// ```
/// use tiltyard_engine::rng::Rng;
/// let draw = || Rng::new(2026, 90, 3, 17);
/// assert_eq!(draw().next_u64(), draw().next_u64());
/// assert!((1..=6).contains(&(1 + draw().below(6))));
/// assert!((-1.0..1.0).contains(&draw().signed()));
/// assert_eq!(size_of::<Rng>(), 44);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rng {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    /// Words of `block` that are still to be given.
    left: u8,
}

impl Rng {
    /// The numbers of an actor in a stream at a tick. Streams are the caller's: one for each thing that is drawn.
    #[inline]
    #[must_use]
    pub const fn new(seed: u64, tick: u32, stream: u16, actor: u32) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        Self { key, counter: [0, tick, stream as u32, actor], block: [0; 4], left: 0 }
    }

    /// 32 random bits. A call costs about 3 ns, the first 8; the sequence repeats after
    /// 2³⁴ numbers.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.left == 0 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.left = 4;
        }
        let word = self.block[usize::from(4 - self.left)];
        self.left -= 1;
        word
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// A number from 0 to `bound` − 1, each equally likely.
    ///
    /// By multiplication with rejection (Lemire, 2019): one draw nearly always.
    ///
    /// # Panics
    /// If `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "there is no number below 0");
        let mut product = u64::from(self.next_u32()) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    /// A number in [0, 1), a multiple of 2⁻²⁴.
    #[inline]
    pub fn unit(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A number in [−1, 1), a multiple of 2⁻²³.
    #[inline]
    pub fn signed(&mut self) -> f32 {
        (self.next_u32() as i32 >> 8) as f32 * (1.0 / 8_388_608.0)
    }

    /// A number from `low` to `high`; `high` itself only where rounding leads there.
    #[inline]
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability: never at 0 or below, always at 1 or above.
    #[inline]
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Whether something happens that happens once in `times` times.
    ///
    /// # Panics
    /// If `times` is 0.
    #[inline]
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const KEY_STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Ten rounds of Philox4x32.
#[inline]
const fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut left, mut right] = key;
    let mut round = 0;
    while round < 10 {
        let first = a as u64 * MULTIPLIERS[0] as u64;
        let second = c as u64 * MULTIPLIERS[1] as u64;
        (a, b, c, d) =
            ((second >> 32) as u32 ^ b ^ left, second as u32, (first >> 32) as u32 ^ d ^ right, first as u32);
        left = left.wrapping_add(KEY_STEPS[0]);
        right = right.wrapping_add(KEY_STEPS[1]);
        round += 1;
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_random123_hold() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let digits_of_pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let further_digits = [0xa409_3822, 0x299f_31d0];
        assert_eq!(
            philox(digits_of_pi, further_digits),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn each_argument_leads_to_other_numbers() {
        let draw = |mut rng: Rng| [(); 8].map(|()| rng.next_u32());
        let all = [
            draw(Rng::new(1, 1, 1, 1)),
            draw(Rng::new(2, 1, 1, 1)),
            draw(Rng::new(1 << 32 | 1, 1, 1, 1)),
            draw(Rng::new(1, 2, 1, 1)),
            draw(Rng::new(1, 1, 2, 1)),
            draw(Rng::new(1, 1, 1, 2)),
        ];
        for (index, numbers) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != numbers), "generator {index} repeats another");
            assert_ne!(numbers[..4], numbers[4..]);
        }
        assert_eq!(draw(Rng::new(1, 1, 1, 1)), all[0]);
    }

    #[test]
    fn a_copy_goes_on_with_the_same_numbers() {
        let mut rng = Rng::new(7, 3, 2, 9);
        rng.next_u32();
        let mut copy = rng;
        assert_eq!([(); 9].map(|()| rng.next_u64()), [(); 9].map(|()| copy.next_u64()));
    }

    #[test]
    fn floats_stay_within_their_bounds() {
        let mut rng = Rng::new(0, 0, 0, 0);
        let mut sum = 0.0_f64;
        for _ in 0..10_000 {
            let unit = rng.unit();
            assert!((0.0..1.0).contains(&unit));
            sum += f64::from(unit);
            assert!((-1.0..1.0).contains(&rng.signed()));
            assert!((5.0..=7.0).contains(&rng.range(5.0, 7.0)));
        }
        assert!((sum / 10_000.0 - 0.5).abs() < 0.01);
        assert!(!rng.chance(0.0));
        assert!(rng.chance(1.0));
    }

    #[test]
    fn bounded_numbers_are_equally_likely() {
        let mut rng = Rng::new(42, 0, 0, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(rng.below(1), 0);
        // A bound that plain multiplication would be visibly unfair to: the first third would come twice as often.
        let bound = 3 << 30;
        let low = (0..30_000).filter(|_| rng.below(bound) < 1 << 30).count();
        assert!((9_600..10_400).contains(&low), "{low}");
    }
}
