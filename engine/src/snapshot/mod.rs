//! Snapshots: a state as few bytes, against a state that the receiver already has.
//!
//! State is wire-exact (floats lie on their grids), so a decoded snapshot *is* the state: it has the same hash. The
//! body below is what all seats of one view share; netcode carries it with epoch, tick, view id and view hash.
//!
//! ```text
//! bit stream, lowest bit first
//! id counter: 32 bits
//! for each kind, in order of registration:
//!   not for singletons:
//!     gone rows: count, then for each the gap to the gone row before it (in rows of the baseline)
//!     new rows: count; if there are any, 1 bit: the first new id lies below the baseline's id counter; then for each
//!       the gap from the id after the new one before it (first: from id 1, or from the baseline's id counter)
//!   for each record of the kind:
//!     1 bit: some row differs from its base; if so, for each row
//!       1 bit: the row differs; if so, for each element of each field
//!         1 bit: the element differs; if so, its difference
//! count, gap: 2 bits of width class (4, 8, 16, 32 bits), then the number
//! difference: 2 bits of width class (6, 10, 16 bits, all of the element), then the difference, zigzag
//! ```
//!
//! A row's base is its row in the baseline; a new row's base is all zero. Rows stand in the order of their ids, so that
//! no row needs to say which it is. New actors have ids from the baseline's counter on; rows that come back into a view
//! have older ones.

mod bits;
mod decode;
mod encode;

pub use decode::{SnapshotError, decode};
pub use encode::encode;

/// The view that sees everything.
pub const VIEW_FULL: u16 = 0;

/// The lowest id that an actor has.
const FIRST_ID: u32 = 1;

/// Width classes of counts and gaps, in bits.
const COUNT_WIDTHS: [u32; 4] = [4, 8, 16, 32];

/// Width classes of differences, in bits; the last stands for the element's own width.
const DELTA_WIDTHS: [u32; 4] = [6, 10, 16, 0];

/// An element's own width in bits.
fn element_bits(kind: crate::FieldKind) -> u32 {
    kind.size() as u32 * 8
}

#[cfg(test)]
mod tests;
