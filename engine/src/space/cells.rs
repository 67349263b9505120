//! The cutting of a plane into square cells, shared by the indices.

use glam::Vec2;

use super::Rect;

/// The most cells an index has. Smaller cells than fit grow until they do.
pub const CELLS_MAX: usize = 1 << 20;

/// A share that is larger than any rounding error here: 2⁻¹⁹, of numbers with 24 bits.
pub(super) const ROUNDING: f32 = 1.0 / 524_288.0;

/// Square cells over bounds. What lies outside belongs to the nearest edge cell.
///
/// A cell number never falls as a coordinate grows, so whatever lies between two points lies in the cells between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cells {
    pub(super) origin: Vec2,
    pub(super) size: f32,
    inverse: f32,
    pub(super) columns: u32,
    pub(super) rows: u32,
    /// More than the rounding errors of subtracting, squaring and comparing coordinates within the bounds. Outside
    /// of them everything is in the edge cells, however it is rounded.
    pub(super) slack: f32,
}

/// A block of cells; both ends are part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellRange {
    pub(super) columns: (u32, u32),
    pub(super) rows: (u32, u32),
}

impl Cells {
    pub(super) fn new(bounds: Rect, cell: f32) -> Self {
        assert!(bounds.min.is_finite() && bounds.max.is_finite(), "bounds are finite");
        assert!(bounds.min.x <= bounds.max.x && bounds.min.y <= bounds.max.y, "bounds have min below max");
        assert!(cell.is_finite() && cell > 0.0, "cells have a size");
        let extent = bounds.max - bounds.min;
        let furthest = bounds.min.abs().max(bounds.max.abs());
        let slack = (furthest.x + furthest.y) * ROUNDING;
        let mut size = cell;
        loop {
            let (columns, rows) = (extent.x / size + 1.0, extent.y / size + 1.0);
            if columns * rows <= CELLS_MAX as f32 {
                let (columns, rows) = (columns as u32, rows as u32);
                return Self { origin: bounds.min, size, inverse: 1.0 / size, columns, rows, slack };
            }
            size *= 2.0;
        }
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    #[inline(always)]
    pub(super) fn column(&self, x: f32) -> u32 {
        axis((x - self.origin.x) * self.inverse, self.columns)
    }

    #[inline(always)]
    pub(super) fn row(&self, y: f32) -> u32 {
        axis((y - self.origin.y) * self.inverse, self.rows)
    }

    #[inline(always)]
    pub(super) fn of(&self, point: Vec2) -> u32 {
        self.row(point.y) * self.columns + self.column(point.x)
    }

    /// From where to where a row of cells reaches, as exactly as `slack`; edge rows reach to infinity.
    #[inline(always)]
    pub(super) fn extent_of_row(&self, row: u32) -> (f32, f32) {
        let low = self.origin.y + row as f32 * self.size;
        let high = if row + 1 == self.rows { f32::INFINITY } else { low + self.size };
        (if row == 0 { f32::NEG_INFINITY } else { low }, high)
    }

    /// The cells of a rectangle.
    #[inline(always)]
    pub(super) fn of_rect(&self, rect: &Rect) -> CellRange {
        CellRange {
            columns: (self.column(rect.min.x), self.column(rect.max.x)),
            rows: (self.row(rect.min.y), self.row(rect.max.y)),
        }
    }

    /// The cells of everything that a floating-point test may find within `reach` of a point.
    #[inline(always)]
    pub(super) fn around(&self, point: Vec2, reach: f32) -> CellRange {
        let reach = reach * (1.0 + ROUNDING) + self.slack;
        self.of_rect(&Rect::around(point, Vec2::splat(reach)))
    }

    /// Whether a cell is wider than the reach around a point to both sides, so that the point reaches into two by two
    /// cells at most.
    pub(super) fn are_wider_than(&self, reach: f32) -> bool {
        self.size * (1.0 - ROUNDING) - self.slack > 2.0 * (reach * (1.0 + ROUNDING) + self.slack)
    }

    /// The numbers of the four cells at the corners of what is within `reach` of a point.
    #[inline(always)]
    pub(super) fn corners_around(&self, point: Vec2, reach: f32) -> [u32; 4] {
        let CellRange { columns: (left, right), rows: (low, high) } = self.around(point, reach);
        let (low, high) = (low * self.columns, high * self.columns);
        [low + left, low + right, high + left, high + right]
    }

    /// Calls `see` with each row of cells near a segment: the row and its first and last column, such that every
    /// point within `reach` of the segment lies in one of them.
    #[inline]
    pub(super) fn along(&self, from: Vec2, delta: Vec2, reach: f32, mut see: impl FnMut(u32, u32, u32)) {
        let to = from + delta;
        let reach = reach * (1.0 + ROUNDING) + (delta.x.abs() + delta.y.abs()) * ROUNDING + self.slack;
        let around = self.of_rect(&Rect::new(from.min(to), from.max(to)).grown(reach));
        let (across, down) = (around.columns.1 - around.columns.0, around.rows.1 - around.rows.0);
        if across * down <= 1 {
            // At most two cells by two, or a single row or column: there is nothing to save.
            (around.rows.0..=around.rows.1).for_each(|row| see(row, around.columns.0, around.columns.1));
            return;
        }
        for row in around.rows.0..=around.rows.1 {
            // The part of the segment that has this row within reach; edge rows reach to infinity.
            let low =
                if row == 0 { f32::NEG_INFINITY } else { self.origin.y + row as f32 * self.size - reach };
            let high = if row + 1 == self.rows {
                f32::INFINITY
            } else {
                self.origin.y + (row + 1) as f32 * self.size + reach
            };
            let margin = 1e-4 * self.size;
            let (a, b) = part_within(from.y, delta.y, low - margin, high + margin);
            if a > b {
                continue;
            }
            let (x, y) = (from.x + delta.x * a, from.x + delta.x * b);
            let (left, right) = (x.min(y) - reach - margin, x.max(y) + reach + margin);
            let first = self.column(left).max(around.columns.0);
            let last = self.column(right).min(around.columns.1);
            if first <= last {
                see(row, first, last);
            }
        }
    }
}

/// The cell along one axis: rounded down, within the bounds, NaN to 0.
///
/// Adding 2²³ leaves the rounded number in the low bits. A conversion by `as` would do the same with four more
/// instructions and none of them vectorised; this is what lets a walk over columns be vectorised.
#[inline(always)]
fn axis(cells: f32, count: u32) -> u32 {
    let low = cells - 0.5;
    let low = if low > 0.0 { low } else { 0.0 };
    let last = (count - 1) as f32;
    let within = if low < last { low } else { last };
    (within + 8_388_608.0).to_bits() & 0x7f_ffff
}

/// From when to when (0 to 1, a little more for rounding) a moving coordinate is within an interval.
#[inline]
fn part_within(from: f32, delta: f32, low: f32, high: f32) -> (f32, f32) {
    if delta.abs() < 1e-6 * (1.0 + from.abs()) {
        return if from >= low && from <= high || delta != 0.0 { (0.0, 1.0) } else { (1.0, 0.0) };
    }
    let (a, b) = ((low - from) / delta, (high - from) / delta);
    let (enter, leave) = (a.min(b), a.max(b));
    ((enter - 1e-4).max(0.0), (leave + 1e-4).min(1.0))
}
