//! What a recording promises, file faults and hostile bytes included.

mod damage;
mod hostile;
mod sample;
mod sinks;
