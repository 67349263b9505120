//! Who owns a battle: a number that only grows, by compare-and-set in the directory.
//!
//! ```text
//! <prefix>/epochs/<battle, 16 hex digits>   {"epoch": 2, "owner": "node-b"}
//! ```

use serde::{Deserialize, Serialize};

use crate::directory::{Directory, DirectoryError, Entry, Transaction};
use crate::id::{BattleId, Epoch, NodeId};
use crate::node::Keyspace;

/// The owner of a battle under an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The epoch.
    pub epoch: Epoch,
    /// The node that owns the battle under it.
    pub owner: NodeId,
}

/// Why an epoch was not claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else was first.
    #[error("the battle is owned by {} under epoch {}", .0.owner, .0.epoch)]
    Superseded(Ownership),
    /// There is no such epoch to raise: the battle has none, or the number is used up.
    #[error("the battle has no epoch {0}")]
    NoSuchEpoch(Epoch),
    /// What is stored cannot be read.
    #[error("the stored epoch cannot be read")]
    Unreadable,
    /// The directory did not do it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Claims a battle for `owner`: its first epoch when `after` is nothing, otherwise the one after `after`. Asking
/// again after a lost answer gives the same epoch.
///
/// # Errors
/// Somebody else was first, or the directory did not do it; [`DirectoryError::Unavailable`] leaves it open
/// whether it is claimed.
pub async fn claim(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    battle: BattleId,
    after: Option<Epoch>,
    owner: &NodeId,
) -> Result<Epoch, ClaimError> {
    let key = key(keyspace, battle);
    let found = directory.get(&key).await?.entry;
    let standing = found.as_ref().map(read).transpose()?;
    let epoch = match after {
        None => Epoch::FIRST,
        Some(epoch) => epoch.next().ok_or(ClaimError::NoSuchEpoch(epoch))?,
    };
    let wanted = Ownership { epoch, owner: owner.clone() };
    let transaction = match (found, standing) {
        (_, Some(standing)) if standing == wanted => return Ok(epoch),
        (None, None) if after.is_none() => Transaction::create(&key, write(&wanted), None),
        (Some(entry), Some(standing)) if Some(standing.epoch) == after => {
            Transaction::replace(&key, entry.mod_revision, write(&wanted), None)
        }
        (_, Some(standing)) => return Err(ClaimError::Superseded(standing)),
        (_, None) => return Err(ClaimError::NoSuchEpoch(after.unwrap_or(Epoch::FIRST))),
    };
    let outcome = directory.commit(transaction).await?;
    if outcome.succeeded {
        return Ok(epoch);
    }
    match outcome.first_read() {
        Some(entry) => Err(ClaimError::Superseded(read(&entry)?)),
        None => Err(ClaimError::NoSuchEpoch(epoch)),
    }
}

/// Reads who owns a battle.
///
/// # Errors
/// The directory does not answer, or holds something unreadable.
pub async fn current(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    battle: BattleId,
) -> Result<Option<Ownership>, ClaimError> {
    directory.get(&key(keyspace, battle)).await?.entry.as_ref().map(read).transpose()
}

/// Forgets a battle that is settled.
///
/// # Errors
/// The directory does not answer.
pub async fn forget(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    battle: BattleId,
) -> Result<(), DirectoryError> {
    directory.delete(&key(keyspace, battle)).await.map(|_| ())
}

pub(crate) fn key(keyspace: &Keyspace, battle: BattleId) -> String {
    keyspace.key(&format!("epochs/{battle}"))
}

/// The value of a first epoch.
pub(crate) fn first(owner: &NodeId) -> Vec<u8> {
    write(&Ownership { epoch: Epoch::FIRST, owner: owner.clone() })
}

fn read(entry: &Entry) -> Result<Ownership, ClaimError> {
    serde_json::from_slice(&entry.value).map_err(|_| ClaimError::Unreadable)
}

fn write(ownership: &Ownership) -> Vec<u8> {
    serde_json::to_vec(ownership).expect("an ownership has string keys")
}
