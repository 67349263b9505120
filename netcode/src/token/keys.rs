//! The keys around a token. None of them shows itself in debug output.

use std::fmt;

use crate::BattleId;
use crate::crypto::{KEY_LEN, derive};

/// A key of the cluster, held by lobbies: every battle's key is derived from it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    kid: u32,
    bytes: [u8; KEY_LEN],
}

/// The key of one battle under one master key, given to the nodes that host the battle.
#[derive(Clone, PartialEq, Eq)]
pub struct BattleKey {
    kid: u32,
    battle: BattleId,
    bytes: [u8; KEY_LEN],
}

/// The secret that a client and its token share, 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret([u8; KEY_LEN]);

impl MasterKey {
    /// A master key with its id.
    pub fn from_bytes(kid: u32, bytes: [u8; KEY_LEN]) -> Self {
        Self { kid, bytes }
    }

    /// The key's id, which tokens name.
    pub fn kid(&self) -> u32 {
        self.kid
    }

    /// The secret bytes, for the key file.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    /// The key of one battle. It says nothing about the master or about another battle.
    pub fn battle_key(&self, battle: BattleId) -> BattleKey {
        let info: [&[u8]; 2] = [&self.kid.to_le_bytes(), &battle.0.to_le_bytes()];
        let bytes = derive(b"tiltyard battle key v1", &self.bytes, &info);
        BattleKey { kid: self.kid, battle, bytes }
    }
}

impl BattleKey {
    /// A battle's key as it came from the lobby.
    pub fn from_bytes(kid: u32, battle: BattleId, bytes: [u8; KEY_LEN]) -> Self {
        Self { kid, battle, bytes }
    }

    /// The id of the master key that it was derived from.
    pub fn kid(&self) -> u32 {
        self.kid
    }

    /// The battle that it is for.
    pub fn battle(&self) -> BattleId {
        self.battle
    }

    /// The secret bytes, for the authenticated control message to a node.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    pub(super) fn token_key(&self, token_id: &[u8; 16]) -> [u8; KEY_LEN] {
        derive(token_id, &self.bytes, &[b"tiltyard battle token v1", &self.battle.0.to_le_bytes()])
    }
}

impl SessionSecret {
    /// Takes 32 bytes of a cryptographic generator.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey {{ kid: {}, secret }}", self.kid)
    }
}

impl fmt::Debug for BattleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BattleKey {{ kid: {}, battle: {}, secret }}", self.kid, self.battle)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(secret)")
    }
}
