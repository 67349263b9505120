//! Deterministic fixed-step battle engine.
