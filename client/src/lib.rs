//! Headless client.
#![forbid(unsafe_code)]

mod mirror;

pub use mirror::{BASELINES_MAX, Mirror, MirrorError};
