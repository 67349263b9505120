//! What outlives the lobby's process: accounts, battles with their results, counters.
//!
//! Every call is one atomic change of one document, so that a document store fits as well as an embedded one.
//! A call that failed with [`StoreError::Unavailable`] may have happened; each can be repeated without harm.

mod embedded;
#[cfg(feature = "mongodb")]
mod mongo;
mod place;
mod row;

pub use embedded::EmbeddedStore;
#[cfg(feature = "mongodb")]
pub use mongo::{MongoOpenError, MongoStore};
pub use place::OpenError;
pub use row::{
    APPLIED_MAX, Account, AccountLogin, Avatar, AvatarChange, BattleResult, BattleRow, BattleState,
    PasswordHash, RowSeat,
};

use std::net::SocketAddr;

use async_trait::async_trait;
use tiltyard_cluster::{BattleId, Epoch, NodeId};

/// Why a call did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer. Whether a change was made is unknown.
    #[error("the store does not answer")]
    Unavailable,
    /// What is stored under a key cannot be read.
    #[error("what is stored in {table} under {key:016x} cannot be read")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: u64,
    },
}

/// The store's persistent counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordinal {
    /// Numbers players.
    Player,
    /// Numbers battles.
    Battle,
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The result is stored; this is the row with it.
    Accepted(Box<BattleRow>),
    /// A result of this epoch is stored already.
    Duplicate,
    /// The battle has a higher epoch.
    Stale {
        /// The epoch of the battle.
        current: Epoch,
    },
    /// There is no such battle, or not yet in this epoch.
    Unknown,
}

/// How many documents there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Accounts.
    pub accounts: u64,
    /// Battles, however they ended.
    pub battles: u64,
    /// Battles with a result.
    pub results: u64,
}

/// A store. Whatever it acknowledges is durable.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes `count` numbers that were never given before; answers the first.
    ///
    /// # Errors
    /// [`StoreError`]; the numbers may be lost then.
    async fn take_ordinals(&self, ordinal: Ordinal, count: u32) -> Result<u64, StoreError>;

    /// Reads the account of a player who was placed in a battle or registered.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn account(&self, player: u64) -> Result<Option<Account>, StoreError>;

    /// Makes an account with a login; answers whether neither its number nor its login was taken.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn register(&self, account: &Account) -> Result<bool, StoreError>;

    /// Reads the account that has this login.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn account_of_login(&self, key: &str) -> Result<Option<Account>, StoreError>;

    /// Raises the session generation of a player above `generation`, so that its session tokens end. Answers whether
    /// there is an account.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn end_sessions(&self, player: u64, generation: u32) -> Result<bool, StoreError>;

    /// Creates a battle's row; answers whether the number was free.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_battle(&self, row: &BattleRow) -> Result<bool, StoreError>;

    /// Raises the epoch of a battle without a result from `from` to the next; answers the next, or nothing if
    /// the battle is not at `from`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn raise_epoch(&self, battle: BattleId, from: Epoch) -> Result<Option<Epoch>, StoreError>;

    /// Notes where a battle runs, if it is being placed under this epoch; from then on it is the battle of its
    /// human players, and those who have no account get one. Answers whether it was so. Repeating the same place is
    /// fine.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn place(
        &self,
        battle: BattleId,
        epoch: Epoch,
        node: &NodeId,
        addresses: &[SocketAddr],
    ) -> Result<bool, StoreError>;

    /// Gives up a battle that is being placed or was placed under this epoch and has no result, and raises its
    /// epoch, so that a node that holds it all the same cannot settle it. It keeps no player busy any more. Answers
    /// whether it was so.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn dissolve(&self, battle: BattleId, epoch: Epoch) -> Result<bool, StoreError>;

    /// Reads a battle's row.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn battle(&self, battle: BattleId) -> Result<Option<BattleRow>, StoreError>;

    /// The row of the newest battle that was placed with this human player and has no result.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn battle_of(&self, player: u64) -> Result<Option<BattleRow>, StoreError>;

    /// Stores a result where number and epoch match and the result is absent.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle(
        &self,
        battle: BattleId,
        epoch: Epoch,
        result: &BattleResult,
    ) -> Result<Settled, StoreError>;

    /// Battles whose result waits to be applied to the avatars of its players, at most `count`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn unapplied(&self, count: u32) -> Result<Vec<BattleId>, StoreError>;

    /// Applies a battle's result to the avatars of its players, to each once, however often and by however many this
    /// is called and wherever it broke off before. Players who have no account get one.
    ///
    /// # Errors
    /// [`StoreError`]; some avatars may have it then, and the battle stays among the [unapplied](Self::unapplied).
    async fn apply(&self, battle: BattleId) -> Result<(), StoreError>;

    /// Counts documents.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self) -> Result<StoreCounts, StoreError>;
}
