//! What a game needs to be played in a terminal: a canvas of characters to draw on, and the keys that are held.
//!
//! Both are plain values: nothing here reads a keyboard or writes to a terminal. Drawing and steering are apart, so
//! that whoever only looks on (a replay) draws the same picture. See [`Game::picture`](crate::Game::picture) and
//! [`Game::steer`](crate::Game::steer).

mod canvas;
mod keys;
mod map;

pub use canvas::{COLUMNS_MAX, Canvas, Cell, Ink, ROWS_MAX};
pub use keys::{Key, Keys};
pub use map::{METRES_PER_ROW_MAX, Map};
