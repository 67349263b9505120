//! A server and its clients over seeded links in virtual time.

mod admission;
mod world;
