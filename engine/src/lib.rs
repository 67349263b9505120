//! Deterministic fixed-step battle engine.
#![forbid(unsafe_code)]

pub mod math;
pub mod rng;
