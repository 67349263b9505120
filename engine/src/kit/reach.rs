//! How far eyes reach: an area of interest that does not flicker at its edge.

use glam::Vec2;

use super::motion::Position;
use crate::{Kind, Sight, World};

/// How far something is seen. The two distances differ, so that who walks along the edge does not come and go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Who was not in sight comes into it within this distance, in metres.
    pub enter: f32,
    /// Who was in sight stays until beyond this one, in metres; not less than `enter`.
    pub leave: f32,
}

impl Reach {
    /// Marks the actors of a kind that are within reach of one of the eyes at least. Costs a distance for each actor and
    /// eye, until one sees it.
    ///
    /// # Panics
    /// If the kind is not registered or has no [`Position`].
    pub fn see<K: Kind>(&self, world: &World, eyes: &[Vec2], sight: &mut Sight<'_>) {
        let (enter, leave) = (self.enter * self.enter, self.leave * self.leave);
        let rows = world.rows::<K>();
        let places = rows.read::<Position>();
        sight.see_rows::<K>(|row, before| {
            let (at, reach) = (places[row].at, if before { leave } else { enter });
            eyes.iter().any(|eye| eye.distance_squared(at) <= reach)
        });
    }
}
