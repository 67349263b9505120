//! A uniform grid over points: which items are near, and who is hit first.
//!
//! Items are row numbers. A rebuild is a counting sort: cells row by row, items ascending within a cell, positions
//! beside them, so that a query reads a row of cells as one run of memory. Buffers are kept; a warm rebuild
//! allocates nothing.

use glam::Vec2;

use super::cells::{CellRange, Cells};
use super::{Rect, segment_circle};

/// An index of points, rebuilt whole. Items may lie anywhere, also outside the bounds.
#[derive(Clone, Debug)]
pub struct Grid {
    cells: Cells,
    /// Where each cell's items begin; one more at the end.
    starts: Vec<u32>,
    items: Vec<u32>,
    points: Vec<Vec2>,
    /// Items as they came: cell, item, point.
    pending: Vec<(u32, u32, Vec2)>,
}

/// The first item that a moving point touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ItemHit {
    /// The item.
    pub item: u32,
    /// When, from 0 at the start of the movement to 1 at its end.
    pub at: f32,
}

impl Grid {
    /// An empty grid over bounds in metres. About one item a cell is the best size; at most [`CELLS_MAX`](super::CELLS_MAX) cells
    /// are made, if need be larger ones. Costs an allocation of a word a cell.
    ///
    /// # Panics
    /// If the bounds are not finite or upside down, or the cell size is not above 0.
    #[must_use]
    pub fn new(bounds: Rect, cell: f32) -> Self {
        let cells = Cells::new(bounds, cell);
        let starts = vec![0; cells.count() + 1];
        Self { cells, starts, items: Vec::new(), points: Vec::new(), pending: Vec::new() }
    }

    /// Replaces all items: item `i` is at `positions[i]`. Costs a counting sort; a warm one allocates nothing.
    pub fn rebuild(&mut self, positions: &[Vec2]) {
        self.rebuild_from(positions.iter().enumerate().map(|(item, point)| (item as u32, *point)));
    }

    /// Replaces all items. Within a cell they keep the order in which they come: give them ascending. Costs what
    /// [`Grid::rebuild`] does.
    pub fn rebuild_from(&mut self, items: impl Iterator<Item = (u32, Vec2)>) {
        let count = self.cells.count();
        self.starts.clear();
        self.starts.resize(count + 1, 0);
        self.pending.clear();
        for (item, point) in items {
            let cell = self.cells.of(point);
            self.starts[cell as usize] += 1;
            self.pending.push((cell, item, point));
        }
        // Counts become ends; filling from the back turns ends into starts and keeps the order.
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.items.resize(self.pending.len(), 0);
        self.points.resize(self.pending.len(), Vec2::ZERO);
        for &(cell, item, point) in self.pending.iter().rev() {
            let place = &mut self.starts[cell as usize];
            *place -= 1;
            self.items[*place as usize] = item;
            self.points[*place as usize] = point;
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Calls `see` with every item in a rectangle: cells row by row, items ascending within a cell. Costs a look at
    /// every item of the cells that it reaches into.
    #[inline]
    pub fn for_each_in_rect(&self, rect: &Rect, mut see: impl FnMut(u32, Vec2)) {
        self.for_each_in_cells(self.cells.of_rect(rect), |item, point| {
            if rect.contains(point) {
                see(item, point);
            }
        });
    }

    /// Calls `see` with every item within `radius` of a centre: cells row by row, items ascending within a cell. Costs
    /// a look at every item of the cells that it reaches into.
    #[inline]
    pub fn for_each_in_circle(&self, center: Vec2, radius: f32, mut see: impl FnMut(u32, Vec2)) {
        self.for_each_in_cells(self.cells.around(center, radius), |item, point| {
            if (point - center).length_squared() <= radius * radius {
                see(item, point);
            }
        });
    }

    /// The items in a rectangle, ascending, in place of what `out` held. Costs what [`Grid::for_each_in_rect`] does,
    /// and a sort of what it finds; allocates only to grow `out`.
    pub fn in_rect(&self, rect: &Rect, out: &mut Vec<u32>) {
        out.clear();
        self.for_each_in_rect(rect, |item, _| out.push(item));
        out.sort_unstable();
    }

    /// The items within `radius` of a centre, ascending, in place of what `out` held. Costs what
    /// [`Grid::for_each_in_circle`] does, and a sort of what it finds; allocates only to grow `out`.
    pub fn in_circle(&self, center: Vec2, radius: f32, out: &mut Vec<u32>) {
        out.clear();
        self.for_each_in_circle(center, radius, |item, _| out.push(item));
        out.sort_unstable();
    }

    /// The nearest item that `accept` takes, at most `radius_max` away; of equally near ones the lowest.
    ///
    /// Looks in circles that double, so that it costs as much as the distance it had to look.
    #[must_use]
    pub fn nearest(&self, center: Vec2, radius_max: f32, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut radius = self.cells.size.min(radius_max);
        loop {
            let mut best: Option<(f32, u32)> = None;
            self.for_each_in_circle(center, radius, |item, point| {
                let key = ((point - center).length_squared(), item);
                if best.is_none_or(|best| key < best) && accept(item) {
                    best = Some(key);
                }
            });
            match best {
                Some((_, item)) => return Some(item),
                None if radius >= radius_max => return None,
                None => radius = (radius * 2.0).min(radius_max),
            }
        }
    }

    /// The first item whose circle of `radius` a point touches that moves from `from` by `delta`; of those touched
    /// at once the lowest. `accept` says who may be hit.
    ///
    /// For items of different sizes give the largest radius and let [`Grid::for_each_near_segment`] do the rest. Costs
    /// what [`Grid::for_each_near_segment`] does.
    #[must_use]
    pub fn first_touched(
        &self,
        from: Vec2,
        delta: Vec2,
        radius: f32,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<ItemHit> {
        let mut best: Option<ItemHit> = None;
        self.for_each_near_segment(from, delta, radius, |item, point| {
            if let Some(at) = segment_circle(from, delta, point, radius) {
                let earlier = best.is_none_or(|best| (at, item) < (best.at, best.item));
                if earlier && accept(item) {
                    best = Some(ItemHit { item, at });
                }
            }
        });
        best
    }

    /// Calls `see` with every item in the cells near a segment: all that are within `reach` of it, and some more.
    /// Costs a look at every item of these cells.
    #[inline]
    pub fn for_each_near_segment(&self, from: Vec2, delta: Vec2, reach: f32, mut see: impl FnMut(u32, Vec2)) {
        self.cells
            .along(from, delta, reach, |row, first, last| self.for_each_in_run(row, first, last, &mut see));
    }

    #[inline]
    fn for_each_in_cells(&self, range: CellRange, mut see: impl FnMut(u32, Vec2)) {
        for row in range.rows.0..=range.rows.1 {
            self.for_each_in_run(row, range.columns.0, range.columns.1, &mut see);
        }
    }

    /// Neighbouring cells of a row lie one after the other, so a run of them is one run of items.
    #[inline]
    fn for_each_in_run(&self, row: u32, first: u32, last: u32, see: &mut impl FnMut(u32, Vec2)) {
        let row = (row * self.cells.columns) as usize;
        let from = self.starts[row + first as usize] as usize;
        let until = self.starts[row + last as usize + 1] as usize;
        for (item, point) in self.items[from..until].iter().zip(&self.points[from..until]) {
            see(*item, *point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    const BOUNDS: Rect = Rect::new(vec2(-50.0, -30.0), vec2(50.0, 30.0));

    /// A world of points that a test moves, and the walk over all of them that the grid has to agree with.
    struct Crowd {
        points: Vec<Vec2>,
        rng: Rng,
    }

    impl Crowd {
        /// Mostly inside, some on cell edges, some outside, some far outside, some in one place.
        fn place(&mut self) -> Vec2 {
            let inside = vec2(self.rng.range(-50.0, 50.0), self.rng.range(-30.0, 30.0));
            match self.rng.below(8) {
                0 => (inside / 4.0).round() * 4.0,
                1 => inside * 3.0,
                2 => vec2(inside.x * 1e6, inside.y),
                3 => vec2(1.5, 1.5),
                4 => vec2(50.0, 30.0_f32.copysign(inside.y)),
                _ => inside,
            }
        }

        fn change(&mut self) {
            for _ in 0..=self.rng.below(20) {
                let place = self.place();
                let count = self.points.len() as u32;
                match self.rng.below(4) {
                    0 => self.points.push(place),
                    1 if count > 0 => drop(self.points.remove(self.rng.below(count) as usize)),
                    _ if count > 0 => {
                        let moved = self.rng.below(count) as usize;
                        self.points[moved] = place;
                    }
                    _ => {}
                }
            }
        }

        fn those(&self, test: impl Fn(Vec2) -> bool) -> Vec<u32> {
            (0..self.points.len() as u32).filter(|item| test(self.points[*item as usize])).collect()
        }
    }

    fn seed() -> u64 {
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026)
    }

    #[test]
    fn queries_equal_a_walk_over_all_items_under_random_changes() {
        let seed = seed();
        let mut crowd = Crowd { points: Vec::new(), rng: Rng::new(seed, 0, 0, 0) };
        let mut out = Vec::new();
        for round in 0..1_500 {
            if round % 100 == 0 {
                crowd.points.clear();
            }
            crowd.change();
            let mut grid = Grid::new(BOUNDS, [0.5, 4.0, 7.3, 1000.0][round % 4]);
            grid.rebuild(&crowd.points);
            assert_eq!(grid.len(), crowd.points.len());
            for _ in 0..4 {
                let (center, other) = (crowd.place(), crowd.place());
                let radius = [0.0, 1.0, 4.0, 60.0][crowd.rng.below(4) as usize];

                let rect = Rect::new(center.min(other), center.max(other));
                grid.in_rect(&rect, &mut out);
                assert_eq!(
                    out,
                    crowd.those(|point| rect.contains(point)),
                    "SEED={seed} round {round} {rect:?}"
                );

                grid.in_circle(center, radius, &mut out);
                let expected = crowd.those(|point| (point - center).length_squared() <= radius * radius);
                assert_eq!(out, expected, "SEED={seed} round {round} {center} {radius}");

                let even = |item: u32| item.is_multiple_of(2);
                let distance = |item: &u32| (crowd.points[*item as usize] - center).length_squared();
                let expected = expected.into_iter().filter(|item| even(*item));
                let expected = expected.min_by(|a, b| distance(a).total_cmp(&distance(b)));
                assert_eq!(
                    grid.nearest(center, radius, even),
                    expected,
                    "SEED={seed} round {round} {center} {radius}"
                );

                let delta = (other - center).clamp_length_max(200.0);
                let touched = grid.first_touched(center, delta, radius, even);
                let mut expected: Option<ItemHit> = None;
                for item in crowd.those(|_| true).into_iter().filter(|item| even(*item)) {
                    if let Some(at) = segment_circle(center, delta, crowd.points[item as usize], radius)
                        && expected.is_none_or(|best| at < best.at)
                    {
                        expected = Some(ItemHit { item, at });
                    }
                }
                assert_eq!(touched, expected, "SEED={seed} round {round} {center} {delta} {radius}");
            }
        }
    }

    #[test]
    fn items_come_ascending_within_a_cell() {
        let mut grid = Grid::new(BOUNDS, 1000.0);
        grid.rebuild(&[vec2(3.0, 0.0), vec2(1.0, 0.0), vec2(2.0, 0.0)]);
        let mut seen = Vec::new();
        grid.for_each_in_rect(&BOUNDS, |item, _| seen.push(item));
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn chosen_items_keep_their_numbers() {
        let mut grid = Grid::new(BOUNDS, 4.0);
        grid.rebuild_from([(3, vec2(1.0, 1.0)), (7, vec2(1.0, 1.5))].into_iter());
        assert_eq!(grid.nearest(Vec2::ZERO, 10.0, |_| true), Some(3));
        assert_eq!(grid.nearest(Vec2::ZERO, 10.0, |item| item > 3), Some(7));
    }

    #[test]
    fn an_empty_grid_finds_nothing() {
        assert!(Grid::new(BOUNDS, 4.0).is_empty());
        assert_eq!(Grid::new(BOUNDS, 4.0).nearest(Vec2::ZERO, 1e9, |_| true), None);
        assert_eq!(Grid::new(BOUNDS, 4.0).first_touched(Vec2::ZERO, vec2(9.0, 9.0), 1.0, |_| true), None);
    }

    #[test]
    fn tiny_cells_grow_until_they_fit() {
        let mut grid = Grid::new(Rect::new(vec2(0.0, 0.0), vec2(1e6, 1e6)), 0.001);
        grid.rebuild(&[vec2(5e5, 5e5)]);
        assert_eq!(grid.nearest(vec2(4.9e5, 5e5), 2e4, |_| true), Some(0));
    }
}
