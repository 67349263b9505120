//! What follows from how things move: where a row is by now, and how place and velocity change together.
//!
//! All of it are guesses that both ends make alike, from what both know; what differs from them is told.

use super::STEPS_MAX;
use super::columns::wire;
use crate::record::snap;
use crate::registry::MOTION_ELEMENTS_MAX;
use crate::{FieldKind, TickRate};

/// The time from a baseline to a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion {
    seconds: f32,
    ticks: u32,
    hz: i64,
}

impl Motion {
    pub(super) fn new(rate: TickRate, ticks: u32) -> Self {
        Self { seconds: rate.seconds_per_tick(), ticks: ticks.min(STEPS_MAX), hz: i64::from(rate.hz()) }
    }

    /// Where rows are that go on as they go, tick by tick as the engine moves and stores them: `rows` holds where they
    /// were.
    #[inline]
    pub(super) fn advance(&self, grid: FieldKind, rows: &mut [u8], by: &[u8]) {
        let FieldKind::Grid { per_unit } = grid else { return };
        let per_unit = per_unit as f32;
        let (places, by) = (rows.as_chunks_mut::<4>().0, by.as_chunks::<4>().0);
        let step = |by: &[u8; 4]| f32::from_le_bytes(*by) * self.seconds;
        // As floats of everyday size are stored, see `FieldType::canonicalise_everyday`. Rounding makes of no way more
        // than twice of it and a step of the grid; half of what is everyday leaves room for that.
        let (everyday, middle) = (4_194_304.0 / per_unit, 12_582_912.0 / per_unit);
        let far = |place: &[u8; 4], by: &[u8; 4]| {
            let way = 2.0 * step(by).abs() * self.ticks as f32;
            f32::from_le_bytes(*place).abs() + way >= 0.5 * everyday
        };
        let any_far = places.iter().zip(by).fold(false, |any, (place, by)| any | far(place, by));
        for _ in 0..self.ticks {
            for (place, by) in places.iter_mut().zip(by) {
                let at = f32::from_le_bytes(*place) + step(by);
                let at = if any_far { snap(at, per_unit) } else { (at + middle) - middle };
                *place = at.to_le_bytes();
            }
        }
    }
}

/// How a velocity changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    changes: [i64; MOTION_ELEMENTS_MAX],
    pub(super) elements: usize,
    /// The element that changed most, the first of these.
    pub(super) lead: usize,
}

impl Turn {
    /// Both velocities as they lie in memory.
    pub(super) fn new(grid: FieldKind, new: &[u8], old: &[u8]) -> Self {
        let mut turn = Self { changes: [0; MOTION_ELEMENTS_MAX], elements: new.len() / 4, lead: 0 };
        for element in 0..turn.elements {
            turn.changes[element] = wire(grid, new, element) - wire(grid, old, element);
            if turn.changes[element].abs() > turn.changes[turn.lead].abs() {
                turn.lead = element;
            }
        }
        turn
    }

    /// How much further the leading element of the place is likely to be: as if the change came in the middle of the
    /// time.
    #[inline]
    pub(super) fn half_way(&self, motion: &Motion) -> i64 {
        (self.changes[self.lead] * i64::from(motion.ticks)).div_euclid(2 * motion.hz)
    }

    /// How much further another element of the place is likely to be if the leading one is `further` by so much: both
    /// changed at the same time.
    #[inline]
    pub(super) fn along(&self, further: i64, element: usize) -> i64 {
        let lead = self.changes[self.lead];
        if lead == 0 {
            return 0;
        }
        // Both factors are kept so small that the product fits.
        let further = further.clamp(-FURTHER_MAX, FURTHER_MAX) * lead.signum();
        (further * self.changes[element]).div_euclid(lead.abs())
    }
}

const FURTHER_MAX: i64 = 1 << 30;
/// Bytes of a record that moves.
pub(super) const MOTION_BYTES_MAX: usize = 4 * MOTION_ELEMENTS_MAX;

/// The size of the second element if a velocity with this first one is as fast as the one before.
#[inline]
pub(super) fn turned(before: [i64; 2], first: i64) -> i64 {
    let squares = speed_squared(before);
    squares.saturating_sub(first.unsigned_abs().pow(2)).isqrt() as i64
}

/// Whether it is worth a look whether a velocity is as fast as the one before. Says so only if it is about.
#[inline]
pub(super) fn is_turn(before: [i64; 2], after: [i64; 2]) -> bool {
    let changed = (0..2).all(|element| after[element].abs() != before[element].abs());
    let slack = after[1].unsigned_abs() << TURN_SLACK;
    changed && speed_squared(before).abs_diff(speed_squared(after)) <= slack
}

/// Twice of how many steps the second element may be off.
const TURN_SLACK: u32 = 4;

/// Numbers on the wire of a grid have 32 bits, so this fits.
#[inline]
fn speed_squared([x, y]: [i64; 2]) -> u64 {
    x.unsigned_abs().pow(2) + y.unsigned_abs().pow(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record as _;
    use crate::kit::motion::{Position, Velocity, integrate};
    use crate::rng::Rng;
    use glam::{Vec2, vec2};

    #[test]
    fn rows_advance_to_the_bits_that_ticks_bring_them_to() {
        let mut rng = Rng::new(3, 0, 0, 0);
        for round in 0..4000 {
            let size = [1.0, 60.0, 1000.0, 1e6, 1e9, f32::MAX][rng.below(6) as usize];
            let vector = |size: f32, rng: &mut Rng| vec2(rng.signed(), rng.signed()) * size;
            let mut place = [Position { at: vector(size, &mut rng) }];
            let speed = [0.0, 6.0, 24.0, size][rng.below(4) as usize];
            let mut velocity = Velocity { per_second: vector(speed, &mut rng) };
            place[0].canonicalise();
            velocity.canonicalise();
            let rate = TickRate::new(1 + rng.below(240) as u16).unwrap();
            let ticks = rng.below(12);
            let mut row = bytemuck::cast::<Position, [u8; 8]>(place[0]);
            let motion = Motion::new(rate, ticks);
            motion.advance(Position::FIELDS[0].kind, &mut row, bytemuck::bytes_of(&velocity));
            for _ in 0..ticks {
                integrate(&mut place, &[velocity], rate.seconds_per_tick());
                place[0].canonicalise();
            }
            assert_eq!(row, bytemuck::bytes_of(&place[0]), "round {round}: {:?} {velocity:?}", place[0]);
            assert!(bytemuck::cast::<[u8; 8], Position>(row).at.is_finite());
        }
    }

    #[test]
    fn advancing_is_bounded_and_never_leaves_the_numbers() {
        let motion = Motion::new(TickRate::DEFAULT, u32::MAX);
        assert_eq!(motion.ticks, STEPS_MAX);
        let mut row = bytemuck::cast::<Vec2, [u8; 8]>(Vec2::MAX);
        motion.advance(Position::FIELDS[0].kind, &mut row, bytemuck::bytes_of(&Vec2::MAX));
        assert!(bytemuck::cast::<[u8; 8], Vec2>(row).is_finite());
        let widest = i64::from(i32::MAX) - i64::from(i32::MIN);
        for [x, y] in [[-widest, widest], [-1, 1], [1, -widest], [widest, widest], [0, 0]] {
            let turn = Turn { changes: [x, y, 0, 0], elements: 2, lead: 0 };
            turn.half_way(&motion);
            for further in [-widest, 0, widest] {
                turn.along(further, 1);
            }
        }
        let least = i64::from(i32::MIN);
        assert_eq!(turned([least, least], 0), 3_037_000_499);
        assert_eq!(turned([3, 4], 6), 0);
        assert!(!is_turn([least, least], [0, 0]));
    }
}
