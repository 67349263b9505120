//! The questions whose answers a snapshot is, and how often each was answered with yes.

use super::columns::Told;
use super::range::{Chance, RangeEnd, RangeReader, RangeWriter};

/// Elements of a kind that have questions of their own; all further ones share the last one's.
const ELEMENTS_OWN: usize = 24;
/// Columns of a kind, ids included: what `kind!` allows.
pub(super) const COLUMNS_MAX: usize = 13;

/// A whole number of up to 64 bits: which is its highest 1, then the bits below that.
#[derive(Clone)]
pub(super) struct NumberModel {
    highest: [Chance; 64],
}

/// What is asked about an element of a record.
#[derive(Clone)]
pub(super) struct ElementModel {
    pub(super) changed: Chance,
    pub(super) negated: Chance,
    pub(super) change: NumberModel,
}

/// What is asked about rows of a kind.
#[derive(Clone)]
pub(super) struct RowModels {
    pub(super) row: Chance,
    /// Whether a record of a row changed: of one that is not moved; of one that is moved by one that did not, and did.
    column: [[Chance; 3]; COLUMNS_MAX],
    pub(super) turned: Chance,
    /// By how much a turned velocity is off.
    pub(super) slack: ElementModel,
    elements: [ElementModel; ELEMENTS_OWN],
}

impl NumberModel {
    pub(super) const NEW: Self = Self { highest: [Chance::EVEN; 64] };

    /// Writes a number below 2³².
    pub(super) fn put_count(&mut self, bits: &mut RangeWriter<'_>, number: u32) {
        let number = u64::from(number) + 1;
        let highest = self.put_highest(bits, number, COUNT_LEVELS);
        bits.put_bits(number, highest);
    }

    pub(super) fn take_count(&mut self, bits: &mut RangeReader<'_>) -> Result<u64, RangeEnd> {
        let highest = self.take_highest(bits, COUNT_LEVELS)?;
        Ok((1 << highest | bits.take_bits(highest)?) - 1)
    }

    /// Writes a change other than 0 of an element of so many bits.
    #[inline]
    pub(super) fn put_change(&mut self, bits: &mut RangeWriter<'_>, change: i64, width: u32) {
        let size = change.unsigned_abs();
        let highest = self.put_highest(bits, size, width.ilog2());
        bits.put_bits(size << 1 | u64::from(change < 0), highest + 1);
    }

    #[inline]
    pub(super) fn take_change(&mut self, bits: &mut RangeReader<'_>, width: u32) -> Result<i64, RangeEnd> {
        let highest = self.take_highest(bits, width.ilog2())?;
        let below = bits.take_bits(highest + 1)?;
        let size = (1 << highest | below >> 1) as i64;
        Ok(if below & 1 == 0 { size } else { size.wrapping_neg() })
    }

    /// Writes where the highest 1 is, in so many questions, and returns it.
    #[inline(always)]
    fn put_highest(&mut self, bits: &mut RangeWriter<'_>, number: u64, levels: u32) -> u32 {
        let highest = number.ilog2();
        let mut node = 1;
        for level in (0..levels).rev() {
            let high = highest >> level & 1;
            bits.put(&mut self.highest[node & 63], high == 1);
            node = node << 1 | high as usize;
        }
        highest
    }

    #[inline(always)]
    fn take_highest(&mut self, bits: &mut RangeReader<'_>, levels: u32) -> Result<u32, RangeEnd> {
        let mut node = 1;
        for _ in 0..levels {
            node = node << 1 | u32::from(bits.take(&mut self.highest[node as usize & 63])?);
        }
        Ok(node & ((1 << levels) - 1))
    }
}

/// Questions about where the highest 1 of a count is.
const COUNT_LEVELS: u32 = 6;

impl ElementModel {
    const NEW: Self = Self { changed: Chance::EVEN, negated: Chance::EVEN, change: NumberModel::NEW };
}

impl RowModels {
    pub(super) fn new() -> Self {
        Self {
            row: Chance::EVEN,
            column: [[Chance::EVEN; 3]; COLUMNS_MAX],
            turned: Chance::EVEN,
            slack: ElementModel::NEW,
            elements: [const { ElementModel::NEW }; ELEMENTS_OWN],
        }
    }

    /// Whether a record of a row differs; `moved`: whether that by which it is moved does.
    #[inline]
    pub(super) fn column(&mut self, told: &Told<'_>, moved: Option<bool>) -> &mut Chance {
        &mut self.column[told.index][moved.map_or(0, |moved| 1 + usize::from(moved))]
    }

    #[inline]
    pub(super) fn element(&mut self, number: usize) -> &mut ElementModel {
        &mut self.elements[number.min(ELEMENTS_OWN - 1)]
    }
}
