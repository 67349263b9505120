//! A store that does what a test wants to go wrong.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tiltyard_lobby::store::{
    Account, BattleResult, BattleRow, EmbeddedStore, Ordinal, Settled, Store, StoreCounts, StoreError,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next place is noted, and its answer is lost; after it the store is away.
    PlaceAnswerLostThenAway,
    /// The next result is stored, and then the store is away.
    AwayAfterSettle,
    /// Results are stored, and the answers about them are lost.
    SettleAnswersLost,
    /// The next row that is created panics instead.
    PanicAtRow,
    /// Nothing is answered, and at once.
    Away,
    /// Nothing is answered until it is over.
    Silent,
}

/// A store in memory with at most one fault at a time.
pub(crate) struct FaultyStore {
    inner: EmbeddedStore,
    fault: Mutex<Option<Fault>>,
    battles_read: AtomicU64,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self { inner: EmbeddedStore::in_memory(), fault: Mutex::new(None), battles_read: AtomicU64::new(0) }
    }

    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn meets(&self, fault: Fault, then: Option<Fault>) -> bool {
        let mut planned = self.fault.lock().unwrap();
        let meets = *planned == Some(fault);
        if meets {
            *planned = then;
        }
        meets
    }

    async fn there(&self) -> Result<(), StoreError> {
        while self.meets(Fault::Silent, Some(Fault::Silent)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if self.meets(Fault::Away, Some(Fault::Away)) { Err(StoreError::Unavailable) } else { Ok(()) }
    }

    /// How often a battle was asked for.
    pub(crate) fn battles_read(&self) -> u64 {
        self.battles_read.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn take_ordinals(&self, ordinal: Ordinal, count: u32) -> Result<u64, StoreError> {
        self.there().await?;
        self.inner.take_ordinals(ordinal, count).await
    }

    async fn account(&self, player: u64) -> Result<Option<Account>, StoreError> {
        self.there().await?;
        self.inner.account(player).await
    }

    async fn register(&self, account: &Account) -> Result<bool, StoreError> {
        self.there().await?;
        self.inner.register(account).await
    }

    async fn account_of_login(&self, key: &str) -> Result<Option<Account>, StoreError> {
        self.there().await?;
        self.inner.account_of_login(key).await
    }

    async fn end_sessions(&self, player: u64, generation: u32) -> Result<bool, StoreError> {
        self.there().await?;
        self.inner.end_sessions(player, generation).await
    }

    async fn create_battle(&self, row: &BattleRow) -> Result<bool, StoreError> {
        self.there().await?;
        assert!(!self.meets(Fault::PanicAtRow, None), "as planned");
        self.inner.create_battle(row).await
    }

    async fn raise_epoch(&self, battle: BattleId, from: Epoch) -> Result<Option<Epoch>, StoreError> {
        self.there().await?;
        self.inner.raise_epoch(battle, from).await
    }

    async fn place(
        &self,
        battle: BattleId,
        epoch: Epoch,
        node: &NodeId,
        addresses: &[SocketAddr],
    ) -> Result<bool, StoreError> {
        let placed = self.inner.place(battle, epoch, node, addresses).await;
        if self.meets(Fault::PlaceAnswerLostThenAway, Some(Fault::Away)) {
            return Err(StoreError::Unavailable);
        }
        placed
    }

    async fn dissolve(&self, battle: BattleId, epoch: Epoch) -> Result<bool, StoreError> {
        self.there().await?;
        self.inner.dissolve(battle, epoch).await
    }

    async fn battle(&self, battle: BattleId) -> Result<Option<BattleRow>, StoreError> {
        self.battles_read.fetch_add(1, Ordering::Relaxed);
        self.there().await?;
        self.inner.battle(battle).await
    }

    async fn battle_of(&self, player: u64) -> Result<Option<BattleRow>, StoreError> {
        self.there().await?;
        self.inner.battle_of(player).await
    }

    async fn settle(
        &self,
        battle: BattleId,
        epoch: Epoch,
        result: &BattleResult,
    ) -> Result<Settled, StoreError> {
        self.there().await?;
        let settled = self.inner.settle(battle, epoch, result).await;
        self.meets(Fault::AwayAfterSettle, Some(Fault::Away));
        if self.meets(Fault::SettleAnswersLost, Some(Fault::SettleAnswersLost)) {
            return Err(StoreError::Unavailable);
        }
        settled
    }

    async fn unapplied(&self, count: u32) -> Result<Vec<BattleId>, StoreError> {
        self.there().await?;
        self.inner.unapplied(count).await
    }

    async fn apply(&self, battle: BattleId) -> Result<(), StoreError> {
        self.there().await?;
        self.inner.apply(battle).await
    }

    async fn counts(&self) -> Result<StoreCounts, StoreError> {
        self.there().await?;
        self.inner.counts().await
    }
}
