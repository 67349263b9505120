//! What a recording promises, file faults and hostile bytes included.

mod cutting;
mod damage;
mod diffing;
mod forking;
mod fuzzed;
mod game;
mod golden;
mod hostile;
mod killing;
mod playing;
mod power;
mod reporting;
mod sample;
mod sinks;
mod size;
mod stills;
mod verifying;
