//! A coarse map of who may be near: one byte a cell, one bit a group, already widened by the reach of a touch.
//!
//! Marking costs a few bytes per marked point; asking is one load. It is what keeps the exact tests to the few
//! movers that have anybody near: at 300 flyers among 100 puppets about one in ten.

use glam::Vec2;

use super::Rect;
use super::cells::{CellRange, Cells};

/// A map of cells to groups. Points may lie anywhere, also outside the bounds.
#[derive(Clone, Debug)]
pub struct Occupancy {
    cells: Cells,
    groups: Vec<u8>,
    /// The corners of what [`Occupancy::mark_all`] marks.
    corners: Vec<[u32; 4]>,
}

impl Occupancy {
    /// An empty map over bounds in metres. Cells of about twice the reach are a good size. Costs an allocation of a
    /// byte a cell.
    ///
    /// # Panics
    /// If the bounds are not finite or upside down, or the cell size is not above 0.
    #[must_use]
    pub fn new(bounds: Rect, cell: f32) -> Self {
        let cells = Cells::new(bounds, cell);
        Self { cells, groups: vec![0; cells.count()], corners: Vec::new() }
    }

    /// Forgets all marks. Costs a write of all cells.
    pub fn clear(&mut self) {
        self.groups.fill(0);
    }

    /// Makes this map equal to another, in the memory it has: a map of what stands still is the start of each tick's.
    /// Costs a copy of all cells.
    pub fn copy_from(&mut self, other: &Self) {
        self.cells = other.cells;
        self.groups.clone_from(&other.groups);
    }

    /// Marks every cell that a rectangle reaches into: whatever point lies in it is seen to be marked. For points
    /// beyond the bounds to be, the rectangle has to reach beyond them too. Costs a write of these cells.
    pub fn mark_rect(&mut self, rect: &Rect, groups: u8) {
        self.mark_range(self.cells.of_rect(rect), groups);
    }

    /// Marks every cell within `reach` of a point, along both axes, with the bits of `groups`. Costs a write of these
    /// cells.
    #[inline]
    pub fn mark(&mut self, point: Vec2, reach: f32, groups: u8) {
        self.mark_range(self.cells.around(point, reach), groups);
    }

    /// Marks every cell within `reach` of each point with the point's groups: [`Occupancy::mark`] for many at once,
    /// whose cells are found in one flat pass. Costs one pass over the points, and a write of these cells.
    ///
    /// # Panics
    /// If there are not as many groups as points.
    pub fn mark_all(&mut self, points: &[Vec2], reach: f32, groups: &[u8]) {
        assert_eq!(points.len(), groups.len(), "each point has its groups");
        if !self.cells.are_wider_than(reach) {
            points.iter().zip(groups).for_each(|(point, groups)| self.mark(*point, reach, *groups));
            return;
        }
        self.corners.resize(points.len(), [0; 4]);
        for (corners, point) in self.corners.iter_mut().zip(points) {
            *corners = self.cells.corners_around(*point, reach);
        }
        for (corners, groups) in self.corners.iter().zip(groups) {
            corners.iter().for_each(|cell| self.groups[*cell as usize] |= groups);
        }
    }

    /// The number of a point's cell, to ask [`Occupancy::in_cell`] with later.
    #[inline(always)]
    #[must_use]
    pub fn cell_of(&self, point: Vec2) -> u32 {
        self.cells.of(point)
    }

    /// The groups that have marked a cell.
    ///
    /// # Panics
    /// If the number is not one of [`Occupancy::cell_of`].
    #[inline(always)]
    #[must_use]
    pub fn in_cell(&self, cell: u32) -> u8 {
        self.groups[cell as usize]
    }

    /// The groups that have marked the point's cell: all that have somebody within reach, and perhaps more.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, point: Vec2) -> u8 {
        self.in_cell(self.cell_of(point))
    }

    #[inline(always)]
    fn mark_range(&mut self, range: CellRange, groups: u8) {
        let (left, right) = range.columns;
        let (low, high) = range.rows;
        if right - left <= 1 && high - low <= 1 {
            // Four marks, some of them on one cell, are faster than a loop over those that differ.
            let (low, high) = (low * self.cells.columns, high * self.cells.columns);
            for cell in [low + left, low + right, high + left, high + right] {
                self.groups[cell as usize] |= groups;
            }
            return;
        }
        for row in range.rows.0..=range.rows.1 {
            let row = (row * self.cells.columns) as usize;
            for cell in &mut self.groups[row + range.columns.0 as usize..=row + range.columns.1 as usize] {
                *cell |= groups;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    #[test]
    fn whoever_is_within_reach_is_seen() {
        let mut rng = Rng::new(21, 0, 0, 0);
        let mut map = Occupancy::new(Rect::new(vec2(-20.0, -20.0), vec2(20.0, 20.0)), 2.0);
        for _ in 0..2_000 {
            map.clear();
            let point = vec2(rng.signed(), rng.signed()) * 25.0;
            let reach = rng.range(0.0, 3.0);
            map.mark(point, reach, 2);
            let near = point + vec2(rng.signed(), rng.signed()) * reach;
            assert_eq!(map.at(near), 2, "{point} {reach} {near}");
        }
    }

    #[test]
    fn many_marks_at_once_are_the_same_marks() {
        let mut rng = Rng::new(22, 0, 0, 0);
        for cell in [0.5, 2.0, 5.0] {
            let mut one = Occupancy::new(Rect::new(vec2(-20.0, -20.0), vec2(20.0, 20.0)), cell);
            let mut all = one.clone();
            let points: Vec<Vec2> = (0..200).map(|_| vec2(rng.signed(), rng.signed()) * 25.0).collect();
            let groups: Vec<u8> = (0..200).map(|_| rng.below(4) as u8).collect();
            all.mark_all(&points, 0.9, &groups);
            points.iter().zip(&groups).for_each(|(point, groups)| one.mark(*point, 0.9, *groups));
            assert_eq!(one.groups, all.groups, "cells of {cell} m");
        }
    }

    #[test]
    fn far_cells_stay_unmarked() {
        let mut map = Occupancy::new(Rect::new(vec2(0.0, 0.0), vec2(20.0, 20.0)), 2.0);
        map.mark(vec2(5.0, 5.0), 0.5, 1);
        map.mark(vec2(5.0, 5.0), 0.5, 4);
        assert_eq!(map.at(vec2(5.0, 5.0)), 5);
        assert_eq!(map.at(vec2(7.0, 5.0)), 0);
        map.clear();
        assert_eq!(map.at(vec2(5.0, 5.0)), 0);
    }
}
