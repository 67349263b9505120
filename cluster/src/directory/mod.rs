//! The directory: a small store of keys with revisions, leases, transactions and watches.
//!
//! Its words are etcd's, so that etcd fits without bending:
//!
//! - Every change of the store raises its *revision* by one; a transaction, and the end of a lease with all its
//!   keys, is one change. An entry knows the revision that created it and the one that changed it last.
//! - A *lease* ends unless it is kept alive; the keys put under it are deleted with it.
//! - A *watch* delivers every change under a prefix from a revision on, in order. Old revisions may be
//!   *compacted* away; a watch from one of them is an error, and the watcher lists again.
//!
//! A caller must expect every call to fail with [`DirectoryError::Unavailable`] or to hang, so calls are made
//! under a timeout, and must expect that a change whose answer was lost has happened.

#[cfg(feature = "etcd")]
pub mod etcd;
mod memory;
mod transaction;

#[cfg(feature = "etcd")]
pub use etcd::EtcdDirectory;
pub use memory::{HISTORY_REVISIONS_MAX, MemoryDirectory};
pub use transaction::{Answer, Compare, Condition, Operation, Relation, Transaction, TransactionOutcome};

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 512;
/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most compares, and most operations in either branch, of a transaction (etcd's default).
pub const TRANSACTION_OPERATIONS_MAX: usize = 128;
/// Most bytes of keys and values in all of a transaction (etcd takes requests of 1.5 MiB by default).
pub const TRANSACTION_BYTES_MAX: usize = 1024 * 1024;
/// The longest time to live a lease may ask for.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A revision of the store. An empty store stands at some revision too; 0 means "does not exist" in compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a key that does not exist.
    pub const ABSENT: Self = Self(0);

    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Its time to live, which may be longer than what was asked for. It counts from the sending of the grant or
    /// keep-alive, as far as the holder may rely on it.
    pub ttl: Duration,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// Revision at which the key came into being.
    pub create_revision: Revision,
    /// Revision of the last change.
    pub mod_revision: Revision,
    /// The lease under which the value was put last.
    pub lease: Option<LeaseId>,
}

/// One key's entry, or its absence, at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry, if the key exists.
    pub entry: Option<Entry>,
    /// The store's revision at which this was so.
    pub revision: Revision,
}

/// All entries under a prefix at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in key order.
    pub entries: Vec<Entry>,
    /// The store's revision at which this was so; a watch goes on from the next.
    pub revision: Revision,
}

/// A change under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The key was put.
    Put(Entry),
    /// The key was deleted, by a caller or with its lease.
    Deleted {
        /// The key.
        key: String,
        /// Revision of the deletion.
        revision: Revision,
    },
}

/// Changes in revision order; no revision is split between batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// The changes; none in an answer to [`Watch::request_progress`].
    pub events: Vec<WatchEvent>,
    /// Everything up to this revision has been delivered.
    pub revision: Revision,
}

/// Why a call did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The directory does not answer. Whether a change was made is unknown.
    #[error("the directory does not answer")]
    Unavailable,
    /// The lease has ended or never was.
    #[error("lease {} is gone", .0.0)]
    LeaseLost(LeaseId),
    /// The key is empty or longer than [`KEY_BYTES_MAX`].
    #[error("a key of {bytes} bytes is not between 1 and {KEY_BYTES_MAX}")]
    Key {
        /// Its bytes.
        bytes: usize,
    },
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("a value of {bytes} bytes is above {VALUE_BYTES_MAX}")]
    ValueTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The transaction has more than [`TRANSACTION_OPERATIONS_MAX`] compares or operations.
    #[error("a transaction of {operations} parts is above {TRANSACTION_OPERATIONS_MAX}")]
    TransactionTooLong {
        /// How many.
        operations: usize,
    },
    /// The keys and values of the transaction are together longer than [`TRANSACTION_BYTES_MAX`].
    #[error("a transaction of {bytes} bytes is above {TRANSACTION_BYTES_MAX}")]
    TransactionTooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// A branch of the transaction changes one key twice.
    #[error("a transaction changes a key twice")]
    DuplicateKey,
    /// The time to live is zero or above [`LEASE_TTL_MAX`].
    #[error("a lease of {ttl_ms} ms is not allowed")]
    LeaseTtl {
        /// What was asked for.
        ttl_ms: u64,
    },
    /// Compaction was asked for at a revision that is compacted already or is still to come.
    #[error("revision {} cannot be compacted", .0)]
    CompactRevision(Revision),
}

/// Why a watch has ended. The watcher lists again and watches from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// Changes that the watch should have delivered are compacted away.
    #[error("history up to revision {compacted} is compacted")]
    Compacted {
        /// The oldest revision that can still be watched from.
        compacted: Revision,
    },
    /// The stream has broken.
    #[error("the watch has broken")]
    Broken,
}

/// A running watch; dropping it ends it.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next batch. May be dropped while waiting without losing anything.
    ///
    /// # Errors
    /// The watch has ended; every later call says so too.
    async fn next(&mut self) -> Result<WatchBatch, WatchError>;

    /// Asks for an empty batch that says how far the watch is, as a sign of life. It may come late or be merged
    /// with others.
    ///
    /// # Errors
    /// The watch has ended.
    async fn request_progress(&mut self) -> Result<(), WatchError>;
}

/// A directory. Two real implementations: [`MemoryDirectory`] and etcd.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Where the directory is, for error messages.
    fn address(&self) -> String;

    /// Grants a lease of at least `ttl`.
    ///
    /// # Errors
    /// [`DirectoryError::LeaseTtl`], [`DirectoryError::Unavailable`].
    async fn grant(&self, ttl: Duration) -> Result<Lease, DirectoryError>;

    /// Lets a lease begin anew; answers its time to live.
    ///
    /// # Errors
    /// [`DirectoryError::LeaseLost`], [`DirectoryError::Unavailable`].
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, DirectoryError>;

    /// Ends a lease and deletes its keys, in one change.
    ///
    /// # Errors
    /// [`DirectoryError::LeaseLost`], [`DirectoryError::Unavailable`].
    async fn revoke(&self, lease: LeaseId) -> Result<(), DirectoryError>;

    /// Reads one key.
    ///
    /// # Errors
    /// [`DirectoryError::Key`], [`DirectoryError::Unavailable`].
    async fn get(&self, key: &str) -> Result<Found, DirectoryError>;

    /// Reads every key that begins with `prefix`, all at one revision, however many.
    ///
    /// # Errors
    /// [`DirectoryError::Key`], [`DirectoryError::Unavailable`].
    async fn range(&self, prefix: &str) -> Result<Listing, DirectoryError>;

    /// Puts a value, under a lease or for good; answers the revision of the change.
    ///
    /// # Errors
    /// A key or value out of bounds, [`DirectoryError::LeaseLost`], [`DirectoryError::Unavailable`].
    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, DirectoryError>;

    /// Deletes a key; answers whether it was there.
    ///
    /// # Errors
    /// [`DirectoryError::Key`], [`DirectoryError::Unavailable`].
    async fn delete(&self, key: &str) -> Result<bool, DirectoryError>;

    /// Does one of two lists of operations, depending on compares, as one change. An error means that nothing
    /// was changed, except [`DirectoryError::Unavailable`], after which either may be so.
    ///
    /// # Errors
    /// Anything out of bounds, [`DirectoryError::LeaseLost`], [`DirectoryError::Unavailable`].
    async fn commit(&self, transaction: Transaction) -> Result<TransactionOutcome, DirectoryError>;

    /// Watches every key that begins with `prefix`, from the changes of revision `from` on.
    ///
    /// # Errors
    /// [`DirectoryError::Key`], [`DirectoryError::Unavailable`]. Compaction is told by [`Watch::next`].
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError>;

    /// Forgets the history before `revision`; what stands is untouched.
    ///
    /// # Errors
    /// [`DirectoryError::CompactRevision`], [`DirectoryError::Unavailable`].
    async fn compact(&self, revision: Revision) -> Result<(), DirectoryError>;
}

fn check_key(key: &str) -> Result<(), DirectoryError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        Err(DirectoryError::Key { bytes: key.len() })
    } else {
        Ok(())
    }
}

fn check_value(value: &[u8]) -> Result<(), DirectoryError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(DirectoryError::ValueTooLong { bytes: value.len() });
    }
    Ok(())
}
