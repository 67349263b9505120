//! Players against a small battle host, over bad links, in virtual time.

mod clean;
mod host;
mod world;
