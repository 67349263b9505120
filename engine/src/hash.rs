//! The state hash: one number a tick, and the numbers it is made of.
//!
//! xxh3-64 over each column in row order, then over the list of all column hashes with tick, id counter and row
//! counts. It finds accidents, not attackers: identity of builds and files is blake3's.

use xxhash_rust::xxh3::xxh3_64;

use crate::Tick;

/// The hash of a battle's whole state at the end of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHash(pub u64);

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What two builds must agree on to play together: the first 16 bytes of a blake3 hash over the registered layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolHash(pub [u8; 16]);

impl std::fmt::Display for ProtocolHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The state hash with its parts. The buffer is kept from tick to tick.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    state: StateHash,
    parts: Vec<u64>,
}

impl Clone for Hashes {
    fn clone(&self) -> Self {
        Self { state: self.state, parts: self.parts.clone() }
    }

    /// Keeps the buffer, which the derived one would not.
    fn clone_from(&mut self, source: &Self) {
        self.state = source.state;
        self.parts.clone_from(&source.parts);
    }
}

impl Hashes {
    /// The hash of the whole state.
    #[must_use]
    pub fn state(&self) -> StateHash {
        self.state
    }

    /// First a word of tick and id counter; then for each kind in order of registration its row count, followed by
    /// the hash of each of its columns. Two states of one tick differ in exactly the parts that differ.
    #[must_use]
    pub fn parts(&self) -> &[u64] {
        &self.parts
    }

    pub(crate) fn begin(&mut self, tick: Tick, next_actor: u32) {
        self.parts.clear();
        self.parts.push(u64::from(tick.0) << 32 | u64::from(next_actor));
    }

    pub(crate) fn rows(&mut self, count: u32) {
        self.parts.push(u64::from(count));
    }

    pub(crate) fn column(&mut self, hash: u64) {
        self.parts.push(hash);
    }

    pub(crate) fn end(&mut self) {
        self.state = StateHash(xxh3_64(bytemuck::cast_slice(&self.parts)));
    }
}

/// The hash of a column's bytes.
pub(crate) fn hash_column(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
