//! Players against a small battle host, over bad links, in virtual time.

mod clean;
mod faults;
mod host;
mod lossy;
mod world;
