//! Rectangles that stand still: pushing circles out of them, rays against them, lines of sight.
//!
//! Each cell lists the rectangles that reach into it, widened by a margin: whoever keeps within the margin asks one
//! cell only, and most cells are empty.

use std::ops::Range;

use glam::Vec2;

use super::cells::Cells;
use super::{Rect, RectHit, push_circle_out, segment_rect};

/// An index of rectangles, built once.
#[derive(Clone, Debug)]
pub struct Blocks {
    cells: Cells,
    margin: f32,
    rects: Vec<Rect>,
    starts: Vec<u32>,
    lists: Vec<u32>,
    /// The rectangles of `lists`, so that whoever needs no number saves one step through memory.
    shapes: Vec<Rect>,
    /// One bit a cell: its list is not empty. Small enough to stay in the nearest cache where `starts` does not.
    any: Vec<u64>,
}

/// The first rectangle that a moving point meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockHit {
    /// The rectangle's number.
    pub block: u32,
    /// When, from 0 at the start of the movement to 1 at its end.
    pub at: f32,
    /// The outward unit normal of the edge that was met; zero when the movement starts inside.
    pub normal: Vec2,
}

impl Blocks {
    /// An index over bounds in metres. Costs a list entry for each rectangle and cell that it reaches into.
    ///
    /// # Panics
    /// If the bounds are not finite or upside down, the cell size is not above 0, or the margin is negative.
    #[must_use]
    pub fn new(bounds: Rect, cell: f32, margin: f32, rects: &[Rect]) -> Self {
        assert!(margin >= 0.0, "a margin is not negative");
        let cells = Cells::new(bounds, cell);
        let mut starts = vec![0; cells.count() + 1];
        let walk = |see: &mut dyn FnMut(usize, u32)| {
            for (block, rect) in rects.iter().enumerate() {
                let range = cells.of_rect(&rect.grown(margin));
                for row in range.rows.0..=range.rows.1 {
                    for column in range.columns.0..=range.columns.1 {
                        see((row * cells.columns + column) as usize, block as u32);
                    }
                }
            }
        };
        walk(&mut |cell, _| starts[cell + 1] += 1);
        for cell in 1..starts.len() {
            starts[cell] += starts[cell - 1];
        }
        let mut lists = vec![0; starts[cells.count()] as usize];
        let mut next = starts.clone();
        walk(&mut |cell, block| {
            lists[next[cell] as usize] = block;
            next[cell] += 1;
        });
        let shapes = lists.iter().map(|block| rects[*block as usize]).collect();
        let mut any = vec![0_u64; cells.count().div_ceil(64)];
        for cell in (0..cells.count()).filter(|cell| starts[*cell] != starts[cell + 1]) {
            any[cell / 64] |= 1 << (cell % 64);
        }
        Self { cells, margin, rects: rects.to_vec(), starts, lists, shapes, any }
    }

    /// The rectangles, in the order they were given.
    #[must_use]
    pub fn rects(&self) -> &[Rect] {
        &self.rects
    }

    /// The numbers of all rectangles within the margin of a point, along both axes, and perhaps of more; ascending.
    #[inline(always)]
    #[must_use]
    pub fn near(&self, point: Vec2) -> &[u32] {
        &self.lists[self.list_of(point)]
    }

    /// The rectangles whose numbers [`Blocks::near`] tells, in the same order.
    #[inline(always)]
    #[must_use]
    pub fn shapes_near(&self, point: Vec2) -> &[Rect] {
        &self.shapes[self.list_of(point)]
    }

    #[inline(always)]
    fn list_of(&self, point: Vec2) -> Range<usize> {
        let cell = self.cells.of(point) as usize;
        if self.any[cell / 64] >> (cell % 64) & 1 == 0 {
            return 0..0;
        }
        self.starts[cell] as usize..self.starts[cell + 1] as usize
    }

    /// Where a circle's centre has to go so that it overlaps no rectangle near it: out of one after the other, in
    /// their order. Where gaps between rectangles are wider than the circle, one push is enough. Costs a test of the
    /// blocks near the point.
    ///
    /// # Panics
    /// In debug builds, if the radius is above the margin.
    #[inline]
    #[must_use]
    pub fn push_out(&self, center: Vec2, radius: f32) -> Vec2 {
        debug_assert!(radius <= self.margin, "a circle of {radius} in an index with margin {}", self.margin);
        let mut pushed = center;
        for rect in self.shapes_near(center) {
            if let Some(out) = push_circle_out(rect, pushed, radius) {
                pushed = out;
            }
        }
        pushed
    }

    /// The first rectangle, grown by `grown`, that a point meets which moves from `from` by `delta`; of those met at
    /// once the lowest. Costs a test of the blocks in the cells that the way crosses.
    ///
    /// # Panics
    /// In debug builds, if `grown` is above the margin.
    #[must_use]
    pub fn first_met(&self, from: Vec2, delta: Vec2, grown: f32) -> Option<BlockHit> {
        debug_assert!(
            grown <= self.margin,
            "rectangles grown by {grown} in an index with margin {}",
            self.margin
        );
        let mut best: Option<BlockHit> = None;
        self.cells.along(from, delta, 0.0, |row, first, last| {
            let row = (row * self.cells.columns) as usize;
            let (begin, end) = (self.starts[row + first as usize], self.starts[row + last as usize + 1]);
            for &block in &self.lists[begin as usize..end as usize] {
                let rect = self.rects[block as usize].grown(grown);
                if let Some(RectHit { at, normal }) = segment_rect(from, delta, &rect)
                    && best.is_none_or(|best| (at, block) < (best.at, best.block))
                {
                    best = Some(BlockHit { block, at, normal });
                }
            }
        });
        best
    }

    /// Whether nothing stands between two points, for something that is `grown` thick to each side. Costs what
    /// [`Blocks::first_met`] does.
    #[must_use]
    pub fn is_clear(&self, from: Vec2, to: Vec2, grown: f32) -> bool {
        self.first_met(from, to - from, grown).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    const BOUNDS: Rect = Rect::new(vec2(-40.0, -40.0), vec2(40.0, 40.0));

    fn town(rng: &mut Rng) -> Vec<Rect> {
        let spot = |rng: &mut Rng| vec2(rng.signed(), rng.signed()) * 45.0;
        (0..rng.below(40))
            .map(|_| Rect::around(spot(rng), vec2(rng.range(0.1, 6.0), rng.range(0.1, 6.0))))
            .collect()
    }

    #[test]
    fn rays_equal_a_walk_over_all_rectangles() {
        let mut rng = Rng::new(31, 0, 0, 0);
        for round in 0..400 {
            let rects = town(&mut rng);
            let blocks = Blocks::new(BOUNDS, [1.0, 4.0, 33.0][round % 3], 0.5, &rects);
            for _ in 0..20 {
                let from = vec2(rng.signed(), rng.signed()) * 50.0;
                let mut delta = vec2(rng.signed(), rng.signed()) * [1.0, 10.0, 100.0][rng.below(3) as usize];
                if rng.below(4) == 0 {
                    delta.y = 0.0;
                }
                let grown = [0.0, 0.5][rng.below(2) as usize];
                let mut expected: Option<BlockHit> = None;
                for (block, rect) in rects.iter().enumerate() {
                    if let Some(RectHit { at, normal }) = segment_rect(from, delta, &rect.grown(grown))
                        && expected.is_none_or(|best| at < best.at)
                    {
                        expected = Some(BlockHit { block: block as u32, at, normal });
                    }
                }
                assert_eq!(blocks.first_met(from, delta, grown), expected, "round {round}: {from} {delta}");
                assert_eq!(
                    blocks.is_clear(from, from + delta, grown),
                    blocks.first_met(from, from + delta - from, grown).is_none()
                );
            }
        }
    }

    #[test]
    fn whatever_overlaps_a_circle_is_near_it() {
        let mut rng = Rng::new(32, 0, 0, 0);
        for _ in 0..300 {
            let rects = town(&mut rng);
            let blocks = Blocks::new(BOUNDS, 3.0, 1.0, &rects);
            for _ in 0..20 {
                let center = vec2(rng.signed(), rng.signed()) * 50.0;
                for (block, rect) in rects.iter().enumerate() {
                    assert!(
                        rect.distance_squared(center) > 1.0 || blocks.near(center).contains(&(block as u32))
                    );
                }
            }
        }
    }

    #[test]
    fn circles_leave_rectangles_that_stand_apart() {
        let rects =
            [Rect::around(vec2(-5.0, 0.0), vec2(2.0, 2.0)), Rect::around(vec2(5.0, 0.0), vec2(2.0, 2.0))];
        let blocks = Blocks::new(BOUNDS, 4.0, 0.5, &rects);
        let mut rng = Rng::new(33, 0, 0, 0);
        for _ in 0..2_000 {
            let center = vec2(rng.signed() * 8.0, rng.signed() * 4.0);
            let out = blocks.push_out(center, 0.5);
            assert!(
                rects.iter().all(|rect| rect.distance_squared(out) > 0.25 - 1e-5),
                "{center} went to {out}"
            );
        }
        assert_eq!(blocks.push_out(vec2(30.0, 30.0), 0.5), vec2(30.0, 30.0));
    }
}
