//! Actors: whatever has a place in a battle's world.

use bytemuck::{Pod, Zeroable};

/// Names an actor for the whole of a battle: ids grow and are never used again.
///
/// State refers to actors by id only. 0 names nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct ActorId(pub u32);

impl ActorId {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// Whether this names somebody.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl std::fmt::Display for ActorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The most actors alive at once in a battle, singletons not counted. A spawn above it does not happen; before tick 1 it
/// keeps the battle from starting.
pub const ACTORS_MAX: usize = 65_536;
