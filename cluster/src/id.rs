//! Names and numbers that lobby and nodes share.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Most bytes of a node's name.
pub const NODE_ID_BYTES_MAX: usize = 64;

/// A battle, for ever: no two battles of a cluster have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BattleId(pub u64);

impl fmt::Display for BattleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which owner of a battle is meant; only grows. A battle starts in epoch 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a battle that was never taken over.
    pub const FIRST: Self = Self(1);

    /// The epoch after this one, or `None` when there is none left.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a node or a lobby: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(String);

/// A text is no name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node's name has 1 to {NODE_ID_BYTES_MAX} of a-z, 0-9 and '-'")]
pub struct NodeIdError;

impl NodeId {
    /// Reads a name.
    ///
    /// # Errors
    /// Anything but 1 to 64 of the allowed letters.
    pub fn parse(text: &str) -> Result<Self, NodeIdError> {
        let fits = (1..=NODE_ID_BYTES_MAX).contains(&text.len());
        let letters = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits && letters { Ok(Self(text.to_owned())) } else { Err(NodeIdError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::NodeId;

    #[test]
    fn names_of_nodes_are_bounded_and_plain() {
        for (text, good) in [
            ("n", true),
            ("node-07", true),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
            ("", false),
            ("Node", false),
            ("a/b", false),
            ("é", false),
        ] {
            assert_eq!(NodeId::parse(text).is_ok(), good, "{text}");
        }
    }
}
