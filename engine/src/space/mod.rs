//! Plane geometry: shapes and their tests, an index of points that move, an index of rectangles that stand.
//!
//! Lengths are metres. Everything is exact in the sense that an index answers what a walk over all items with the
//! same shape test answers, wherever the items are; outside its bounds an index is slower, never wrong.
//!
//! | who asks whom | with |
//! |---|---|
//! | which of many that move are near, or hit first | [`Grid`] |
//! | which of many rectangles that stand are in the way | [`Blocks`] |
//! | whether anybody may be near at all, for thousands of askers | [`Occupancy`] |
//! | one shape another | [`Rect`], [`segment_circle`], [`segment_rect`], [`push_circle_out`] |
//!
//! ```
//! use tiltyard_engine::glam::{Vec2, vec2};
//! use tiltyard_engine::space::{Grid, Rect};
//! let mut grid = Grid::new(Rect::around(Vec2::ZERO, vec2(50.0, 50.0)), 4.0);
//! grid.rebuild(&[vec2(1.0, 0.0), vec2(30.0, 5.0), vec2(2.0, 2.0)]);
//! let mut near = Vec::new();
//! grid.in_circle(Vec2::ZERO, 3.0, &mut near);
//! assert_eq!(near, [0, 2]);
//! ```
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
