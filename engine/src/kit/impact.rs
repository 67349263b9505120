//! Who among many flyers touches whom, exactly and first.
//!
//! Nearly no flyer has anybody near. So all of them go through one flat pass: find the cell of the middle of this
//! tick's movement, and look at a map of cells that targets have marked as far as a touch reaches. Those few whose
//! cell holds something for them are collected without a branch; only they are tested exactly, against a grid.
//! What stands still is marked once, under group bits of its own, and costs nothing more per tick.

use glam::Vec2;

use super::flyer::Flight;
use super::motion::{Position, Velocity};
use crate::Tick;
use crate::space::{Grid, ItemHit, Occupancy, Rect};

/// The targets of one tick, and the buffers of the search. Fill anew each tick.
#[derive(Clone, Debug)]
pub struct Impact {
    standing: Occupancy,
    map: Occupancy,
    targets: Grid,
    points: Vec<Vec2>,
    groups: Vec<u8>,
    cells: Vec<u32>,
    candidates: Vec<u32>,
}

impl Impact {
    /// Nothing to touch, over bounds in metres. `map_cell` is best about twice the reach of a touch; `grid_cell`
    /// such that a cell holds about one target. Costs an allocation of all cells.
    ///
    /// # Panics
    /// If the bounds are not finite or upside down, or a cell size is not above 0.
    #[must_use]
    pub fn new(bounds: Rect, map_cell: f32, grid_cell: f32) -> Self {
        let standing = Occupancy::new(bounds, map_cell);
        Self {
            map: standing.clone(),
            standing,
            targets: Grid::new(bounds, grid_cell),
            points: Vec::new(),
            groups: Vec::new(),
            cells: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// Marks what stands still: a rectangle, already grown by the reach of a touch. One at the edge of the bounds
    /// has to reach beyond them where flyers may. Costs a write of the cells that it reaches into.
    pub fn stand(&mut self, rect: &Rect, groups: u8) {
        self.standing.mark_rect(rect, groups);
    }

    /// Replaces the targets of the tick before: row, place and groups of each, rows ascending. Rows with no group
    /// are not there.
    ///
    /// `reach` is how far from a target's centre the middle of a flyer's movement is at most when they touch: both
    /// radii and half the movement.
    pub fn place(&mut self, targets: impl Iterator<Item = (Vec2, u8)>, reach: f32) {
        self.map.copy_from(&self.standing);
        self.points.clear();
        self.groups.clear();
        for (point, groups) in targets {
            self.points.push(point);
            self.groups.push(groups);
        }
        self.map.mark_all(&self.points, reach, &self.groups);
        let there = self.points.iter().zip(&self.groups).zip(0..).filter(|((_, groups), _)| **groups != 0);
        self.targets.rebuild_from(there.map(|((point, _), row)| (row, *point)));
    }

    /// The rows, ascending, of all flyers that may touch something in a tick of `seconds`, or whose time is up. Costs
    /// one flat pass over the flyers.
    ///
    /// # Panics
    /// If the columns have different lengths.
    pub fn screen(
        &mut self,
        positions: &[Position],
        velocities: &[Velocity],
        flights: &[Flight],
        seconds: f32,
        now: Tick,
    ) -> &[u32] {
        assert_eq!(positions.len(), velocities.len(), "columns of one kind have one length");
        assert_eq!(positions.len(), flights.len(), "columns of one kind have one length");
        let half = seconds * 0.5;
        self.cells.resize(positions.len(), 0);
        for ((cell, position), velocity) in self.cells.iter_mut().zip(positions).zip(velocities) {
            *cell = self.map.cell_of(position.at + velocity.per_second * half);
        }
        self.candidates.resize(positions.len(), 0);
        let mut count = 0;
        for (row, (cell, flight)) in self.cells.iter().zip(flights).enumerate() {
            self.candidates[count] = row as u32;
            let touches = self.map.in_cell(*cell) & flight.touches != 0;
            count += usize::from(touches | flight.is_over(now));
        }
        self.candidates.truncate(count);
        &self.candidates
    }

    /// The first target of `groups` that a point touches which moves from `from` by `delta`, when targets are
    /// circles of `radius` (the flyer's own added); of those touched at once the lowest row. Costs what
    /// [`Grid::first_touched`] does.
    #[must_use]
    pub fn first_touched(&self, from: Vec2, delta: Vec2, radius: f32, groups: u8) -> Option<ItemHit> {
        self.targets.first_touched(from, delta, radius, |row| self.groups[row as usize] & groups != 0)
    }

    /// The candidates that [`Impact::screen`] found last.
    #[must_use]
    pub fn candidates(&self) -> &[u32] {
        &self.candidates
    }

    /// The groups that a flyer may touch by what the map says, for a row of those that were screened last: those
    /// that are not among them need no exact test.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn groups_near(&self, row: u32) -> u8 {
        self.map.in_cell(self.cells[row as usize])
    }

    /// The groups of a target's row, as placed.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn groups(&self, row: u32) -> u8 {
        self.groups[row as usize]
    }

    /// The targets' grid: rows with a group, where they were placed.
    #[must_use]
    pub fn targets(&self) -> &Grid {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::space::segment_circle;
    use glam::vec2;

    #[test]
    fn no_touch_is_missed_and_the_first_is_found() {
        let bounds = Rect::around(Vec2::ZERO, vec2(20.0, 20.0));
        let mut impact = Impact::new(bounds, 2.0, 4.0);
        let (radius, step) = (0.6, 0.8);
        let mut touched = 0;
        for seed in 0..200 {
            let mut rng = Rng::new(seed, 0, 0, 0);
            let mut spot = |reach: f32| vec2(rng.signed(), rng.signed()) * reach;
            let targets: Vec<(Vec2, u8)> = (0..40).map(|row| (spot(21.0), row % 3)).collect();
            let positions: Vec<Position> = (0..100).map(|_| Position { at: spot(21.0) }).collect();
            let velocities: Vec<Velocity> = (0..100)
                .map(|_| Velocity { per_second: spot(1.0).normalize_or(Vec2::X) * step * 30.0 })
                .collect();
            let flight =
                |row: u8| Flight { touches: 1 + row % 2, ends_at: Flight::ENDLESS, ..Flight::default() };
            let flights: Vec<Flight> = (0..100).map(flight).collect();
            impact.place(targets.iter().copied(), radius + step / 2.0);
            let candidates = impact.screen(&positions, &velocities, &flights, 1.0 / 30.0, Tick(1)).to_vec();
            for row in 0..100 {
                let (from, delta) = (positions[row].at, velocities[row].per_second / 30.0);
                let mut expected: Option<ItemHit> = None;
                for (item, (point, group)) in targets.iter().enumerate() {
                    if group & flights[row].touches != 0
                        && let Some(at) = segment_circle(from, delta, *point, radius)
                        && expected.is_none_or(|best| at < best.at)
                    {
                        expected = Some(ItemHit { item: item as u32, at });
                    }
                }
                assert_eq!(impact.first_touched(from, delta, radius, flights[row].touches), expected);
                assert!(expected.is_none() || candidates.contains(&(row as u32)), "seed {seed} row {row}");
                touched += usize::from(expected.is_some());
            }
        }
        assert!(touched > 100, "only {touched} touches were tried");
    }

    #[test]
    fn what_stands_is_a_candidate_every_tick_and_so_is_who_ends() {
        let mut impact = Impact::new(Rect::around(Vec2::ZERO, vec2(20.0, 20.0)), 2.0, 4.0);
        impact.stand(&Rect::around(vec2(5.0, 5.0), vec2(1.0, 1.0)), 128);
        let positions = [Position { at: vec2(5.0, 5.0) }, Position { at: vec2(-5.0, 5.0) }];
        let flights = [Flight { touches: 128, ends_at: Tick(9), ..Flight::default() }; 2];
        for (tick, expected) in [(1, &[0][..]), (8, &[0]), (9, &[0, 1])] {
            impact.place(std::iter::empty(), 1.0);
            assert_eq!(
                impact.screen(&positions, &[Velocity::default(); 2], &flights, 0.1, Tick(tick)),
                expected
            );
        }
    }
}
