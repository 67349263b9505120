//! Any directory, with faults on command.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::directory::{
    Directory, DirectoryError, Found, Lease, LeaseId, Listing, Revision, Transaction, TransactionOutcome,
    Watch, WatchBatch, WatchError,
};

/// What is wrong with the way to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Calls fail at once, watches break.
    Away,
    /// Calls and watches hang until the fault is over; a hanging watch is dead even then.
    Silent,
    /// Calls work; the watches that run are dead without saying so.
    DeadWatches,
}

/// One client's way to a directory. The directory behind it goes on whatever the fault.
pub struct Faulty {
    inner: Arc<dyn Directory>,
    fault: watch::Sender<Fault>,
}

impl Faulty {
    /// A way without a fault.
    pub fn new(inner: Arc<dyn Directory>) -> Self {
        Self { inner, fault: watch::Sender::new(Fault::None) }
    }

    /// Changes the fault from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    async fn pass(&self) -> Result<(), DirectoryError> {
        let mut fault = self.fault.subscribe();
        let now = *fault.wait_for(|fault| *fault != Fault::Silent).await.expect("the sender is in self");
        if now == Fault::Away { Err(DirectoryError::Unavailable) } else { Ok(()) }
    }
}

#[async_trait]
impl Directory for Faulty {
    fn address(&self) -> String {
        format!("faulty {}", self.inner.address())
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, DirectoryError> {
        self.pass().await?;
        self.inner.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, DirectoryError> {
        self.pass().await?;
        self.inner.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.pass().await?;
        self.inner.revoke(lease).await
    }

    async fn get(&self, key: &str) -> Result<Found, DirectoryError> {
        self.pass().await?;
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Listing, DirectoryError> {
        self.pass().await?;
        self.inner.range(prefix).await
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, DirectoryError> {
        self.pass().await?;
        self.inner.put(key, value, lease).await
    }

    async fn delete(&self, key: &str) -> Result<bool, DirectoryError> {
        self.pass().await?;
        self.inner.delete(key).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<TransactionOutcome, DirectoryError> {
        self.pass().await?;
        self.inner.commit(transaction).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        self.pass().await?;
        let inner = self.inner.watch(prefix, from).await?;
        Ok(Box::new(FaultyWatch { inner, fault: self.fault.subscribe(), dead: false }))
    }

    async fn compact(&self, revision: Revision) -> Result<(), DirectoryError> {
        self.pass().await?;
        self.inner.compact(revision).await
    }
}

struct FaultyWatch {
    inner: Box<dyn Watch>,
    fault: watch::Receiver<Fault>,
    dead: bool,
}

#[async_trait]
impl Watch for FaultyWatch {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            let fault = *self.fault.borrow_and_update();
            self.dead |= matches!(fault, Fault::Silent | Fault::DeadWatches);
            if fault == Fault::Away {
                return Err(WatchError::Broken);
            }
            if self.dead {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                biased;
                changed = self.fault.changed() => changed.map_err(|_| WatchError::Broken)?,
                batch = self.inner.next() => return batch,
            }
        }
    }

    async fn request_progress(&mut self) -> Result<(), WatchError> {
        if self.dead { Ok(()) } else { self.inner.request_progress().await }
    }
}
