//! What tests of this room and of others need: the conformance of directories and elections, a directory that fails on command,
//! and control calls without sockets.

mod conformance;
mod direct;
mod elections;
mod faulty;

pub use conformance::conformance;
pub use direct::DirectCalls;
pub use elections::elections;
pub use faulty::{Fault, Faulty};
