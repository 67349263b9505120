//! Sums over everything in a rectangle or a circle, for those who ask many times a tick: how many are there, how much
//! health have they together, how much damage falls on this place.
//!
//! Items lie sorted by cell, row by row, beside the sum of all items before each. A run of cells that lies wholly inside
//! of the shape is then two loads, however many items it has; only those in cells at the shape's edge are tested one by
//! one. A circle over a thousand items costs a few dozen tests. Cells are slender: high ones need few rows, narrow ones
//! leave few items at an edge.
//!
//! Damage that all deal at once is such a sum too: what falls on a place is the sum over all blasts within reach of it.

use glam::Vec2;

use super::Rect;
use super::cells::{Cells, ROUNDING};

/// How many times as high as wide a cell is: a row costs a fixed amount, so there should be few; the narrower its cells,
/// the fewer items lie in one that a shape's edge cuts. A power of two, so that places times it are exact.
const SLENDER: f32 = 8.0;
/// Items that are tested at once, so that how many there are in a run is seldom guessed wrong.
const LANES: usize = 4;

/// An index of weighted points, rebuilt whole. Items may lie anywhere, also outside the bounds.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Cells as if everything were [`SLENDER`] times as far to the side.
    cells: Cells,
    /// Where each cell's items begin; one more at the end.
    starts: Vec<u32>,
    /// The items, and some that count nothing, so that [`LANES`] of them can be looked at from each.
    sorted: Vec<Item>,
    /// The sum of the weights before each sorted item; one more at the end.
    before: Vec<u64>,
    /// The number of each sorted item.
    order: Vec<u32>,
    /// Items as they came, and their cells.
    pending: Vec<(u32, Item)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Item {
    point: Vec2,
    weight: u64,
}

impl Sums {
    /// An empty index over bounds in metres. `cell` is the height of the cells; squares of that side with about six
    /// items are a good size. At most [`CELLS_MAX`](super::CELLS_MAX) cells are made, if need be larger ones. Costs an
    /// allocation of a word a cell.
    ///
    /// # Panics
    /// If the bounds are not finite or upside down, or the cell size is not above 0.
    #[must_use]
    pub fn new(bounds: Rect, cell: f32) -> Self {
        let stretch = Vec2::new(SLENDER, 1.0);
        let cells = Cells::new(Rect::new(bounds.min * stretch, bounds.max * stretch), cell);
        Self {
            starts: vec![0; cells.count() + 1],
            cells,
            sorted: vec![Item::default(); LANES],
            before: vec![0],
            order: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Replaces all items by points with weights, numbered from 0 on. Sums wrap around: several small numbers may share
    /// one weight, each in bits that its sum does not leave. Costs a counting sort; a warm one allocates nothing.
    pub fn rebuild(&mut self, items: impl Iterator<Item = (Vec2, u64)>) {
        self.starts.fill(0);
        self.pending.clear();
        for (point, weight) in items {
            let cell = self.cells.row(point.y) * self.cells.columns + self.column(point.x);
            self.starts[cell as usize] += 1;
            self.pending.push((cell, Item { point, weight }));
        }
        // Counts become ends; filling from the back turns ends into starts and keeps the order.
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.sorted.resize(self.pending.len() + LANES, Item::default());
        self.order.resize(self.pending.len(), 0);
        for (number, (cell, item)) in self.pending.iter().enumerate().rev() {
            let place = &mut self.starts[*cell as usize];
            *place -= 1;
            self.sorted[*place as usize] = *item;
            self.order[*place as usize] = number as u32;
        }
        self.before.clear();
        self.before.push(0);
        let mut sum = 0_u64;
        self.before.extend(self.sorted[..self.pending.len()].iter().map(|item| {
            sum = sum.wrapping_add(item.weight);
            sum
        }));
    }

    /// The items' numbers in the order in which they lie in memory: who asks for all of them in this order, each around
    /// its own point, finds nearly everything in the caches.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The sum over a rectangle, its edges included. Costs two sums a row of cells that it reaches into, and a look at
    /// every item of the cells at its edge.
    #[inline]
    #[must_use]
    pub fn in_rect(&self, rect: &Rect) -> u64 {
        let (left, right) = (self.column(rect.min.x), self.column(rect.max.x));
        let (low, high) = (self.cells.row(rect.min.y), self.cells.row(rect.max.y));
        let within = |point: Vec2| rect.contains(point);
        let mut sum = self.tested(low, left, right, within);
        if low == high {
            return sum;
        }
        sum = sum.wrapping_add(self.tested(high, left, right, within));
        // Whoever is in a cell between two others lies between them along that axis, without a test.
        for row in low + 1..high {
            sum = sum.wrapping_add(self.tested(row, left, left, within));
            if left != right {
                sum = sum.wrapping_add(self.whole(row, left + 1, right - 1));
                sum = sum.wrapping_add(self.tested(row, right, right, within));
            }
        }
        sum
    }

    /// The sum over a circle, its edge included: over the points whose squared distance, as floats compute it, is not
    /// above the radius squared. Costs two sums a row of cells that it reaches into, and a look at every item of the
    /// cells at its edge.
    #[inline]
    #[must_use]
    pub fn in_circle(&self, center: Vec2, radius: f32) -> u64 {
        let slack = self.cells.slack;
        let most = radius * radius;
        let within = |point: Vec2| (point - center).length_squared() <= most;
        // Wider and narrower than the circle by more than any rounding.
        let outer = radius * (1.0 + ROUNDING) + slack;
        let inner = (radius * (1.0 - ROUNDING) - slack).max(0.0);
        let mut sum = 0_u64;
        for row in self.cells.row(center.y - outer)..=self.cells.row(center.y + outer) {
            let (low, high) = self.cells.extent_of_row(row);
            let near = ((low - center.y).max(center.y - high) - slack).max(0.0);
            let far = (center.y - low).max(high - center.y) + slack;
            let reach = (outer * outer - near * near).max(0.0).sqrt() * (1.0 + ROUNDING) + slack;
            let (left, right) = (self.column(center.x - reach), self.column(center.x + reach));
            let safe = (inner * inner - far * far).max(0.0).sqrt() * (1.0 - ROUNDING) - slack;
            if safe <= 0.0 {
                sum = sum.wrapping_add(self.tested(row, left, right, within));
                continue;
            }
            let (first, last) = (self.column(center.x - safe) + 1, self.column(center.x + safe));
            if first >= last {
                sum = sum.wrapping_add(self.tested(row, left, right, within));
                continue;
            }
            sum = sum.wrapping_add(self.tested(row, left, first - 1, within));
            sum = sum.wrapping_add(self.whole(row, first, last - 1));
            sum = sum.wrapping_add(self.tested(row, last, right, within));
        }
        sum
    }

    /// The sum over a run of cells.
    #[inline(always)]
    fn whole(&self, row: u32, first: u32, last: u32) -> u64 {
        let row = (row * self.cells.columns) as usize;
        let from = self.starts[row + first as usize] as usize;
        let until = self.starts[row + last as usize + 1] as usize;
        self.before[until].wrapping_sub(self.before[from])
    }

    /// The sum over those in a run of cells that pass a test.
    #[inline(always)]
    fn tested(&self, row: u32, first: u32, last: u32, within: impl Fn(Vec2) -> bool) -> u64 {
        let row = (row * self.cells.columns) as usize;
        let from = self.starts[row + first as usize] as usize;
        let until = self.starts[row + last as usize + 1] as usize;
        let mut sum = 0_u64;
        for first in (from..until).step_by(LANES) {
            for (lane, item) in self.sorted[first..first + LANES].iter().enumerate() {
                let counts = within(item.point) & (first + lane < until);
                sum = sum.wrapping_add(item.weight & u64::from(counts).wrapping_neg());
            }
        }
        sum
    }

    #[inline(always)]
    fn column(&self, x: f32) -> u32 {
        self.cells.column(x * SLENDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    /// `SEED=7 cargo test sums` tries that one; `ROUNDS=10000` tries so many.
    #[test]
    fn sums_equal_a_walk_over_all_items() {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        let seeds = match number("SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("ROUNDS").unwrap_or(60),
        };
        for seed in seeds {
            let mut rng = Rng::new(seed, 0, 0, 0);
            let half = [20.0, 20.0, 2000.0][rng.below(3) as usize];
            let cell = half * [0.05, 0.2, 0.9, 5.0][rng.below(4) as usize];
            let bounds = Rect::around(Vec2::ZERO, vec2(half, half * 0.7));
            let mut sums = Sums::new(bounds, cell);
            // Some on whole and half cells, some outside, some in one place.
            let spot = |rng: &mut Rng| match rng.below(4) {
                0 => vec2(rng.signed() * 8.0, rng.signed() * 8.0).round() * cell * 0.5,
                1 => vec2(rng.signed(), rng.signed()) * half * 1.3,
                2 => vec2(half * 0.3, half * 0.2) + vec2(rng.signed(), rng.signed()) * cell * 0.2,
                _ => vec2(rng.signed(), rng.signed()) * half,
            };
            for count in [0, 1, 300] {
                let items: Vec<(Vec2, u64)> = (0..count).map(|_| (spot(&mut rng), rng.next_u64())).collect();
                sums.rebuild(items.iter().copied());
                let walk = |within: &dyn Fn(Vec2) -> bool| {
                    let those = items.iter().filter(|(point, _)| within(*point));
                    those.fold(0_u64, |sum, (_, weight)| sum.wrapping_add(*weight))
                };
                let mut order = sums.order().to_vec();
                order.sort_unstable();
                assert!(order.into_iter().eq(0..count));
                for _ in 0..80 {
                    let center = spot(&mut rng);
                    let extent = vec2(rng.unit(), rng.unit()) * half * [0.1, 0.6, 2.0][rng.below(3) as usize];
                    let rect = Rect::around(center, extent);
                    let expected = walk(&|point| rect.contains(point));
                    assert_eq!(sums.in_rect(&rect), expected, "SEED={seed} {count} {rect:?}");
                    // Also radii that end exactly at an item.
                    let radius = match items.first() {
                        Some((point, _)) if rng.one_in(3) => (*point - center).length(),
                        _ => extent.x,
                    };
                    let expected = walk(&|point| (point - center).length_squared() <= radius * radius);
                    let found = sums.in_circle(center, radius);
                    assert_eq!(found, expected, "SEED={seed} {count} {center} {radius}");
                }
            }
        }
    }
}
