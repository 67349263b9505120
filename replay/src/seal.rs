//! Seals: a node signs what it recorded, so that a recording and its outcome can be held against their author.
//! Each node has a key of its own, which no other can sign with.
//!
//! A seal lies beside its recording, in a file of its own that is written when the recording is closed.
//!
//! ```text
//! at   size  field
//!   0     8  magic "TYSEAL1\n"
//!   8     8  battle id
//!  16     4  epoch
//!  20     4  last tick
//!  24     8  hash of the last state
//!  32    32  recording hash: blake3 of the whole file
//!  64     1  how it ended, as in the end of the recording
//!  65     1  length of the outcome, at most 255
//!  66     …  the outcome in the engine's encoding
//!   …    32  the signer's public key, Ed25519
//!   …    64  its signature of everything before
//! ```

use std::sync::Arc;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

use crate::bytes::Cursor;
use crate::ending::Ended;

const MAGIC: [u8; 8] = *b"TYSEAL1\n";
const PUBLIC_KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const FIXED_BYTES: usize = 66 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES;

/// The longest seal in bytes.
pub const SEAL_BYTES_MAX: usize = FIXED_BYTES + u8::MAX as usize;

/// The longest outcome in a seal.
pub const SEAL_OUTCOME_BYTES_MAX: usize = u8::MAX as usize;

/// Signs seals. Cheap to clone; the key is never shown.
#[derive(Clone)]
pub struct Signer(Arc<Ed25519KeyPair>);

impl Signer {
    /// The signer whose private key is made of `seed`, which has to be random and its node's alone.
    ///
    /// # Panics
    /// Never: every 32 bytes are the seed of a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
        Self(Arc::new(pair))
    }

    /// The half of the key that everybody may have.
    ///
    /// # Panics
    /// Never: a public key has 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.0.public_key().as_ref().try_into().expect("a public key of Ed25519 has 32 bytes")
    }

    /// The seal of a statement. An outcome above [`SEAL_OUTCOME_BYTES_MAX`] cannot be sealed: there is none then.
    #[must_use]
    pub fn seal(&self, statement: &Statement) -> Option<Vec<u8>> {
        let mut out = statement.to_bytes()?;
        out.extend_from_slice(&self.public_key());
        let signature = self.0.sign(&out);
        out.extend_from_slice(signature.as_ref());
        Some(out)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// What a seal says of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The battle.
    pub battle: u64,
    /// The epoch under which the node owned it.
    pub epoch: u32,
    /// The last tick.
    pub last_tick: u32,
    /// Hash of the state after it.
    pub final_hash: u64,
    /// blake3 of the whole file.
    pub recording_hash: [u8; 32],
    /// How it ended.
    pub ended: Ended,
    /// The outcome in the engine's encoding; empty if there is none.
    pub outcome: Vec<u8>,
}

/// Why a seal does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The bytes are no seal.
    #[error("not a seal")]
    Malformed,
    /// The signature is none of its key and bytes.
    #[error("the signature does not hold")]
    Forged,
}

impl Statement {
    /// Reads a seal and says which public key signed it. Whether that key is trusted is the caller's to judge.
    ///
    /// # Errors
    /// If it is none, or the signature does not hold.
    pub fn open(seal: &[u8]) -> Result<(Self, [u8; PUBLIC_KEY_BYTES]), SealError> {
        let signed = seal.len().checked_sub(SIGNATURE_BYTES).and_then(|at| seal.split_at_checked(at));
        let (signed, signature) = signed.ok_or(SealError::Malformed)?;
        let (statement, signer) = Self::parse(signed).ok_or(SealError::Malformed)?;
        let key = UnparsedPublicKey::new(&ED25519, &signer);
        key.verify(signed, signature).map_err(|_| SealError::Forged)?;
        Ok((statement, signer))
    }

    fn parse(signed: &[u8]) -> Option<(Self, [u8; PUBLIC_KEY_BYTES])> {
        let mut cursor = Cursor::new(signed);
        if cursor.array()? != MAGIC {
            return None;
        }
        let (battle, epoch, last_tick) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let (final_hash, recording_hash) = (cursor.u64()?, cursor.array()?);
        let ended = Ended::from_number(cursor.u8()?)?;
        let length = usize::from(cursor.u8()?);
        let outcome = cursor.bytes(length)?.to_vec();
        let signer = cursor.array()?;
        let statement = Self { battle, epoch, last_tick, final_hash, recording_hash, ended, outcome };
        cursor.is_empty().then_some((statement, signer))
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        let length = u8::try_from(self.outcome.len()).ok()?;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.battle.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.last_tick.to_le_bytes());
        out.extend_from_slice(&self.final_hash.to_le_bytes());
        out.extend_from_slice(&self.recording_hash);
        out.extend_from_slice(&[self.ended as u8, length]);
        out.extend_from_slice(&self.outcome);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_key_and_its_bytes_alone() {
        let (signer, other) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let statement = Statement {
            battle: 1,
            epoch: 2,
            last_tick: 3,
            final_hash: 4,
            recording_hash: [5; 32],
            ended: Ended::Finished,
            outcome: b"red".to_vec(),
        };
        let seal = signer.seal(&statement).expect("a short outcome");
        assert_eq!(seal.len(), FIXED_BYTES + 3);
        assert_eq!(Statement::open(&seal), Ok((statement.clone(), signer.public_key())));
        for at in 0..seal.len() {
            let mut forged = seal.clone();
            forged[at] ^= 1;
            assert!(Statement::open(&forged).is_err(), "byte {at}");
            assert_eq!(Statement::open(&seal[..at]), Err(SealError::Malformed));
        }
        // A stranger's own seal under our key's name.
        let mut claimed = other.seal(&statement).expect("a short outcome");
        let at = claimed.len() - SIGNATURE_BYTES - PUBLIC_KEY_BYTES;
        claimed[at..at + PUBLIC_KEY_BYTES].copy_from_slice(&signer.public_key());
        assert_eq!(Statement::open(&claimed), Err(SealError::Forged));
        let long = |bytes| Statement { outcome: vec![0; bytes], ..statement.clone() };
        let longest = signer.seal(&long(SEAL_OUTCOME_BYTES_MAX)).expect("the longest");
        assert_eq!(longest.len(), SEAL_BYTES_MAX);
        assert!(Statement::open(&longest).is_ok());
        assert_eq!(signer.seal(&long(SEAL_OUTCOME_BYTES_MAX + 1)), None);
    }
}
