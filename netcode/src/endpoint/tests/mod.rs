//! A server and its clients over seeded links in virtual time.

mod admission;
mod hostile;
mod lanes;
mod paths;
mod resets;
mod transports;
mod world;
