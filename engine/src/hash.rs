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

    /// Begins the hash of a state anew. Only who computes a state by other means than a battle, to compare, hashes by
    /// hand: for each kind in order of registration [`rows`](Self::rows), then [`column`](Self::column) for its ids and
    /// each of its records; [`end`](Self::end) last. A singleton has one row, whose id is
    /// [`ActorId::NONE`](crate::ActorId::NONE). `next_actor` is the id that the next actor gets.
    ///
    /// ```
    /// use tiltyard_engine::{ActorId, Hashes, Tick, bytemuck, hash_column};
    /// let mut hashes = Hashes::default();
    /// hashes.begin(Tick(1), 3);
    /// hashes.rows(2);
    /// hashes.column(hash_column(bytemuck::cast_slice(&[ActorId(1), ActorId(2)])));
    /// hashes.end();
    /// assert_eq!(hashes.parts().len(), 3);
    /// ```
    pub fn begin(&mut self, tick: Tick, next_actor: u32) {
        self.parts.clear();
        self.parts.push(u64::from(tick.0) << 32 | u64::from(next_actor));
    }

    /// How many rows the kind has whose columns follow.
    pub fn rows(&mut self, count: u32) {
        self.parts.push(u64::from(count));
    }

    /// The hash of the kind's next column, by [`hash_column`].
    pub fn column(&mut self, hash: u64) {
        self.parts.push(hash);
    }

    /// Makes the state hash of all that was told since [`begin`](Self::begin). Costs a hash over a word for each
    /// column.
    pub fn end(&mut self) {
        self.state = StateHash(xxh3_64(bytemuck::cast_slice(&self.parts)));
    }
}

/// The hash of a column's bytes, row after row: xxh3-64. Costs one read of the bytes.
#[must_use]
pub fn hash_column(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
