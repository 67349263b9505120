//! Who owns a battle: a number that only grows, by compare-and-set in the directory.
//!
//! ```text
//! <prefix>/epochs/<battle, 16 hex digits>   {"epoch": 2, "owner": "node-b"}
//! ```

use serde::{Deserialize, Serialize};

use crate::directory::{Directory, DirectoryError, Entry, LeaseId, Transaction};
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
    /// What is stored cannot be read.
    #[error("the stored epoch cannot be read")]
    Unreadable,
    /// The directory did not do it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Claims a battle for `owner` under `epoch`, for as long as the lease lives. It stands from then on unless a later
/// epoch is there, or this one of another owner. Asking again after a lost answer is fine.
///
/// # Errors
/// Somebody else was first, or the directory did not do it; [`DirectoryError::Unavailable`] leaves it open
/// whether it is claimed.
pub async fn claim(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    battle: BattleId,
    wanted: &Ownership,
    lease: Option<LeaseId>,
) -> Result<(), ClaimError> {
    let key = key(keyspace, battle);
    let mut found = directory.get(&key).await?.entry;
    // Each further round has seen a later epoch, or the end of one.
    loop {
        let transaction = match &found {
            None => Transaction::create(&key, write(wanted), lease),
            Some(entry) => {
                let standing = read(entry)?;
                if standing == *wanted {
                    return Ok(());
                }
                if standing.epoch >= wanted.epoch {
                    return Err(ClaimError::Superseded(standing));
                }
                Transaction::replace(&key, entry.mod_revision, write(wanted), lease)
            }
        };
        let outcome = directory.commit(transaction).await?;
        if outcome.succeeded {
            return Ok(());
        }
        found = outcome.first_read();
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

pub(crate) fn key(keyspace: &Keyspace, battle: BattleId) -> String {
    keyspace.key(&format!("epochs/{battle}"))
}

fn read(entry: &Entry) -> Result<Ownership, ClaimError> {
    serde_json::from_slice(&entry.value).map_err(|_| ClaimError::Unreadable)
}

pub(crate) fn write(ownership: &Ownership) -> Vec<u8> {
    serde_json::to_vec(ownership).expect("an ownership has string keys")
}
