//! Damage around a point (area of effect): full in the middle, less towards the edge.

use glam::Vec2;

use crate::space::Grid;

/// A blast: what it does to whom it reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// How far it reaches from its centre to a target's centre, in metres.
    pub radius: f32,
    /// Damage in the middle.
    pub full: i16,
    /// Damage at the edge; between middle and edge it falls linearly.
    pub edge: i16,
}

impl Area {
    /// The damage at a squared distance, rounded down towards the edge's; 0 beyond the radius.
    #[inline]
    #[must_use]
    pub fn damage_at(&self, distance_squared: f32) -> i16 {
        if distance_squared > self.radius * self.radius {
            return 0;
        }
        let share = if self.radius > 0.0 { distance_squared.sqrt() / self.radius } else { 0.0 };
        let lost = (f32::from(self.full) - f32::from(self.edge)) * share;
        (f32::from(self.full) - lost) as i16
    }

    /// Calls `hurt` with every item of a grid within the radius and the damage there, in the grid's order: cells
    /// row by row, items ascending within a cell. Costs a look at every target in the cells that the area touches.
    #[inline]
    pub fn for_each_reached(&self, targets: &Grid, center: Vec2, mut hurt: impl FnMut(u32, i16)) {
        targets.for_each_in_circle(center, self.radius, |item, point| {
            hurt(item, self.damage_at((point - center).length_squared()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Rect;
    use glam::vec2;

    const BLAST: Area = Area { radius: 4.0, full: 50, edge: 10 };

    #[test]
    fn damage_falls_from_the_middle_to_the_edge_and_ends_there() {
        assert_eq!(BLAST.damage_at(0.0), 50);
        assert_eq!(BLAST.damage_at(4.0), 30);
        assert_eq!(BLAST.damage_at(16.0), 10);
        assert_eq!(BLAST.damage_at(16.0_f32.next_up()), 0);
        assert_eq!(Area { radius: 0.0, ..BLAST }.damage_at(0.0), 50);
    }

    #[test]
    fn a_blast_reaches_those_within_and_no_others() {
        let mut grid = Grid::new(Rect::around(Vec2::ZERO, vec2(20.0, 20.0)), 4.0);
        grid.rebuild(&[vec2(1.0, 0.0), vec2(5.1, 0.0), vec2(1.0, 4.0), vec2(-9.0, -9.0)]);
        let mut hurt = Vec::new();
        BLAST.for_each_reached(&grid, vec2(1.0, 0.0), |item, damage| hurt.push((item, damage)));
        assert_eq!(hurt, [(0, 50), (2, 10)]);
    }
}
