//! Where living puppets are: a byte a cell that tells whose are near, and lists for those who look closer.

use glam::Vec2;

use super::super::state::{FLYER_RADIUS, PUPPET_RADIUS, group_of};
use super::super::{Life, Rules};
use super::map::Cells;
use crate::space::segment_circle;

/// No puppet follows.
const END: u32 = u32::MAX;

/// The living puppets of a tick.
#[derive(Debug)]
pub(super) struct Targets {
    cells: Cells,
    /// Teams that have somebody near a cell.
    near: Vec<u8>,
    /// How far a target is from the middle of a flyer's movement at most.
    reach: f32,
    list_cells: Cells,
    /// The last puppet of each cell, and before each puppet the one in its cell.
    last: Vec<u32>,
    before: Vec<u32>,
    places: Vec<Vec2>,
    groups: Vec<u8>,
    slack: f32,
}

impl Targets {
    pub(super) fn new(rules: &Rules) -> Self {
        let slack = 1e-3 + rules.half * 4e-6;
        let reach = (PUPPET_RADIUS + FLYER_RADIUS + rules.flyer_step() * 0.5) * 1.001 + slack;
        let cells = Cells::new(rules.half, 2.01 * reach);
        let list_cells = Cells::new(rules.half, 8.0);
        Self {
            cells,
            near: vec![0; cells.count()],
            reach,
            list_cells,
            last: vec![END; list_cells.count()],
            before: Vec::new(),
            places: Vec::new(),
            groups: Vec::new(),
            slack,
        }
    }

    /// Replaces all targets.
    pub(super) fn place(&mut self, places: &[Vec2], lives: &[Life]) {
        self.near.fill(0);
        self.last.fill(END);
        self.before.resize(places.len(), END);
        self.places.clear();
        self.places.extend_from_slice(places);
        self.groups.clear();
        self.groups.extend(lives.iter().map(|life| if life.alive == 0 { 0 } else { group_of(life.team) }));
        for (row, (place, &group)) in places.iter().zip(&self.groups).enumerate() {
            let (left, right) =
                (self.cells.along(place.x - self.reach), self.cells.along(place.x + self.reach));
            let low = self.cells.along(place.y - self.reach) * self.cells.columns;
            let high = self.cells.along(place.y + self.reach) * self.cells.columns;
            // A cell is wider than the reach to both sides, so that there are no others between.
            for cell in [low + left, low + right, high + left, high + right] {
                self.near[cell as usize] |= group;
            }
            if group != 0 {
                let last = &mut self.last[self.list_cells.of(*place) as usize];
                self.before[row] = std::mem::replace(last, row as u32);
            }
        }
    }

    /// The cell to ask [`Targets::near`] about.
    #[inline(always)]
    pub(super) fn cell_of(&self, point: Vec2) -> u32 {
        self.cells.of(point)
    }

    /// The teams that have somebody within reach of a cell.
    #[inline(always)]
    pub(super) fn near(&self, cell: u32) -> u8 {
        self.near[cell as usize]
    }

    /// The first target that a flyer touches, and when; of those touched at once the lowest.
    pub(super) fn first_touched(&self, from: Vec2, delta: Vec2, touches: u8) -> Option<(f32, u32)> {
        let radius = PUPPET_RADIUS + FLYER_RADIUS;
        let to = from + delta;
        let reach = Vec2::splat(radius + self.slack);
        let mut best: Option<(f32, u32)> = None;
        self.in_box(from.min(to) - reach, from.max(to) + reach, |row| {
            if self.groups[row as usize] & touches != 0
                && let Some(at) = segment_circle(from, delta, self.places[row as usize], radius)
                && best.is_none_or(|best| (at, row) < best)
            {
                best = Some((at, row));
            }
        });
        best
    }

    /// All targets of `touches` within a radius, and their squared distances.
    pub(super) fn in_circle(&self, center: Vec2, radius: f32, touches: u8, mut see: impl FnMut(u32, f32)) {
        let reach = Vec2::splat(radius + self.slack + radius * 1e-5);
        self.in_box(center - reach, center + reach, |row| {
            let squared = (self.places[row as usize] - center).length_squared();
            if squared <= radius * radius && self.groups[row as usize] & touches != 0 {
                see(row, squared);
            }
        });
    }

    #[inline]
    fn in_box(&self, min: Vec2, max: Vec2, mut see: impl FnMut(u32)) {
        let columns = self.list_cells.along(min.x)..=self.list_cells.along(max.x);
        for cell_row in self.list_cells.along(min.y)..=self.list_cells.along(max.y) {
            for column in columns.clone() {
                let mut row = self.last[(cell_row * self.list_cells.columns + column) as usize];
                while row != END {
                    see(row);
                    row = self.before[row as usize];
                }
            }
        }
    }
}
