//! What tests of this room and of others need: the conformance of directories and elections, a directory that fails on command,
//! control calls without sockets, and lobbies that place battles.

mod conformance;
mod direct;
mod elections;
mod faulty;
mod placing;

pub use conformance::conformance;
pub use direct::DirectCalls;
pub use elections::elections;
pub use faulty::{Fault, Faulty};
pub use placing::{Placed, Placing, capacity, placements};
