//! The chance of each tick, for games whose players must not foresee what they draw.

use tiltyard_engine::{Command, Tick};
use tiltyard_netcode::system_random;

/// A battle's secret: the key of a pseudorandom function (keyed BLAKE3) from ticks to chances. It never leaves the
/// node, and nothing needs it again, as every tick's record holds its chance.
pub(crate) struct Chance([u8; 32]);

impl Chance {
    /// A secret of the operating system's making.
    pub(crate) fn new() -> Self {
        Self(system_random())
    }

    /// This secret, for battles that are to come out the same again.
    pub(crate) fn of(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(crate) fn at(&self, tick: Tick) -> Command {
        let mixed = blake3::keyed_hash(&self.0, &tick.0.to_le_bytes());
        Command::Chance(u32::from_le_bytes(*mixed.as_bytes().first_chunk().expect("a hash has 32 bytes")))
    }
}
