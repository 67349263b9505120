//! What tests of this room and of others need: a directory's conformance, a directory that fails on command,
//! and control calls without sockets.

mod conformance;
mod direct;
mod faulty;

pub use conformance::conformance;
pub use direct::DirectCalls;
pub use faulty::{Fault, Faulty};
