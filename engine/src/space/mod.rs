//! Plane geometry: shapes and their tests, an index of points that move, an index of rectangles that stand.
//!
//! Lengths are metres. Everything is exact in the sense that an index answers what a walk over all items with the
//! same shape test answers, wherever the items are; outside its bounds an index is slower, never wrong.
//!
//! [`Grid`] is built anew each tick by a counting sort (about 4 ns an item). It has no insert or remove: its items
//! are row numbers, and rows shift with every despawn.

mod blocks;
mod cells;
mod grid;
mod occupancy;
mod shapes;
mod sums;

pub use blocks::{BlockHit, Blocks};
pub use cells::CELLS_MAX;
pub use grid::{Grid, ItemHit};
pub use occupancy::Occupancy;
pub use shapes::{Rect, RectHit, push_circle_out, segment_circle, segment_rect};
pub use sums::Sums;
