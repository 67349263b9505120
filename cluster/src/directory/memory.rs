//! The embedded directory: everything in this process, nothing on disk.
//!
//! Leases run on tokio's clock, so that tests may run under paused time. Nothing is done in the background: a
//! lease that is over is ended by the next call, or by a watcher that sleeps until the next lease ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::transaction::{Answer, Operation, Transaction, TransactionOutcome};
use super::{
    Directory, DirectoryError, Entry, Found, LEASE_TTL_MAX, Lease, LeaseId, Listing, Revision, Watch,
    WatchBatch, WatchError, WatchEvent, check_key, check_value,
};

/// Most revisions of history that are kept; the oldest are compacted away, and a watcher that slow lists again.
pub const HISTORY_REVISIONS_MAX: usize = 8 * 1024;

/// A directory in this process. Clones are the same directory.
#[derive(Clone)]
pub struct MemoryDirectory {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    /// Raised with every change of store or leases, so that sleeping watchers look again.
    changed: watch::Sender<u64>,
}

struct Store {
    revision: Revision,
    compacted: Revision,
    entries: BTreeMap<String, Entry>,
    history: VecDeque<(Revision, Vec<WatchEvent>)>,
    leases: BTreeMap<LeaseId, LeaseState>,
    lease_next: u64,
}

struct LeaseState {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        let store = Store {
            revision: Revision(1),
            compacted: Revision(0),
            entries: BTreeMap::new(),
            history: VecDeque::new(),
            leases: BTreeMap::new(),
            lease_next: 1,
        };
        Self { shared: Arc::new(Shared { store: Mutex::new(store), changed: watch::Sender::new(0) }) }
    }
}

impl Shared {
    /// The store with all leases that are over ended.
    fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock().expect("no call panics while it holds the store");
        if store.end_leases(Instant::now()) {
            self.notify();
        }
        store
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Store {
    fn end_leases(&mut self, now: Instant) -> bool {
        let mut over: Vec<(Instant, LeaseId)> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.ends <= now)
            .map(|(id, lease)| (lease.ends, *id))
            .collect();
        over.sort_unstable();
        for (_, id) in &over {
            self.end_lease(*id);
        }
        !over.is_empty()
    }

    fn end_lease(&mut self, id: LeaseId) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        let deletions = lease.keys.into_iter().map(|key| Operation::Delete { key }).collect::<Vec<_>>();
        self.apply(&deletions);
        true
    }

    fn require_lease(&self, lease: Option<LeaseId>) -> Result<(), DirectoryError> {
        match lease {
            Some(id) if !self.leases.contains_key(&id) => Err(DirectoryError::LeaseLost(id)),
            _ => Ok(()),
        }
    }

    /// Does the operations as one change; leases are known to exist.
    fn apply(&mut self, operations: &[Operation]) -> Vec<Answer> {
        let revision = self.revision.next();
        let mut events = Vec::new();
        let mut answers = Vec::with_capacity(operations.len());
        // Reads see what stood before, so they come first.
        let read: Vec<Option<Entry>> = operations
            .iter()
            .map(|operation| match operation {
                Operation::Get { key } => self.entries.get(key).cloned(),
                Operation::Put { .. } | Operation::Delete { .. } => None,
            })
            .collect();
        for (operation, read) in operations.iter().zip(read) {
            answers.push(match operation {
                Operation::Put { key, value, lease } => {
                    events.push(WatchEvent::Put(self.put(key, value, *lease, revision)));
                    Answer::Put
                }
                Operation::Delete { key } => {
                    let deleted = self.remove(key);
                    if deleted {
                        events.push(WatchEvent::Deleted { key: key.clone(), revision });
                    }
                    Answer::Deleted(deleted)
                }
                Operation::Get { .. } => Answer::Got(read),
            });
        }
        if !events.is_empty() {
            self.revision = revision;
            self.history.push_back((revision, events));
            if self.history.len() > HISTORY_REVISIONS_MAX
                && let Some((oldest, _)) = self.history.pop_front()
            {
                self.compacted = oldest.next();
            }
        }
        answers
    }

    fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>, revision: Revision) -> Entry {
        let before = self.entries.get(key);
        let entry = Entry {
            key: key.to_owned(),
            value: value.to_vec(),
            create_revision: before.map_or(revision, |entry| entry.create_revision),
            mod_revision: revision,
            lease,
        };
        self.detach(key);
        if let Some(state) = lease.and_then(|id| self.leases.get_mut(&id)) {
            state.keys.insert(key.to_owned());
        }
        self.entries.insert(key.to_owned(), entry.clone());
        entry
    }

    fn remove(&mut self, key: &str) -> bool {
        self.detach(key);
        self.entries.remove(key).is_some()
    }

    fn detach(&mut self, key: &str) {
        let lease = self.entries.get(key).and_then(|entry| entry.lease);
        if let Some(state) = lease.and_then(|id| self.leases.get_mut(&id)) {
            state.keys.remove(key);
        }
    }

    fn changes(&self, prefix: &str, from: Revision) -> Vec<WatchEvent> {
        let start = self.history.partition_point(|(revision, _)| *revision < from);
        let under = |event: &&WatchEvent| match event {
            WatchEvent::Put(entry) => entry.key.starts_with(prefix),
            WatchEvent::Deleted { key, .. } => key.starts_with(prefix),
        };
        self.history.range(start..).flat_map(|(_, events)| events).filter(under).cloned().collect()
    }

    fn next_lease_end(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.ends).min()
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, DirectoryError> {
        if ttl.is_zero() || ttl > LEASE_TTL_MAX {
            return Err(DirectoryError::LeaseTtl {
                ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let mut store = self.shared.store();
        let id = LeaseId(store.lease_next);
        store.lease_next += 1;
        store.leases.insert(id, LeaseState { ttl, ends: Instant::now() + ttl, keys: BTreeSet::new() });
        self.shared.notify();
        Ok(Lease { id, ttl })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, DirectoryError> {
        let mut store = self.shared.store();
        let state = store.leases.get_mut(&lease).ok_or(DirectoryError::LeaseLost(lease))?;
        state.ends = Instant::now() + state.ttl;
        Ok(state.ttl)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        if !self.shared.store().end_lease(lease) {
            return Err(DirectoryError::LeaseLost(lease));
        }
        self.shared.notify();
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Found, DirectoryError> {
        check_key(key)?;
        let store = self.shared.store();
        Ok(Found { entry: store.entries.get(key).cloned(), revision: store.revision })
    }

    async fn range(&self, prefix: &str) -> Result<Listing, DirectoryError> {
        check_key(prefix)?;
        let store = self.shared.store();
        let entries = store
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry.clone())
            .collect();
        Ok(Listing { entries, revision: store.revision })
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, DirectoryError> {
        check_key(key)?;
        check_value(&value)?;
        let mut store = self.shared.store();
        store.require_lease(lease)?;
        store.apply(&[Operation::Put { key: key.to_owned(), value, lease }]);
        self.shared.notify();
        Ok(store.revision)
    }

    async fn delete(&self, key: &str) -> Result<bool, DirectoryError> {
        check_key(key)?;
        let answers = self.shared.store().apply(&[Operation::Delete { key: key.to_owned() }]);
        self.shared.notify();
        Ok(answers == [Answer::Deleted(true)])
    }

    async fn commit(&self, transaction: Transaction) -> Result<TransactionOutcome, DirectoryError> {
        transaction.check()?;
        let mut store = self.shared.store();
        let succeeded =
            transaction.compares.iter().all(|compare| compare.holds(store.entries.get(&compare.key)));
        let branch = if succeeded { &transaction.then } else { &transaction.otherwise };
        for operation in branch {
            if let Operation::Put { lease, .. } = operation {
                store.require_lease(*lease)?;
            }
        }
        let answers = store.apply(branch);
        self.shared.notify();
        Ok(TransactionOutcome { succeeded, revision: store.revision, answers })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        check_key(prefix)?;
        Ok(Box::new(MemoryWatch {
            changed: self.shared.changed.subscribe(),
            shared: Arc::clone(&self.shared),
            prefix: prefix.to_owned(),
            from,
            progress_wanted: false,
        }))
    }

    async fn compact(&self, revision: Revision) -> Result<(), DirectoryError> {
        let mut store = self.shared.store();
        if revision <= store.compacted || revision > store.revision {
            return Err(DirectoryError::CompactRevision(revision));
        }
        store.compacted = revision;
        let kept_from = store.history.partition_point(|(of, _)| *of < revision);
        store.history.drain(..kept_from);
        self.shared.notify();
        Ok(())
    }
}

struct MemoryWatch {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    prefix: String,
    from: Revision,
    progress_wanted: bool,
}

impl MemoryWatch {
    /// A batch, or until when to sleep for want of one.
    fn look(&mut self) -> Result<Result<WatchBatch, Option<Instant>>, WatchError> {
        self.changed.mark_unchanged();
        let store = self.shared.store();
        if self.from < store.compacted {
            return Err(WatchError::Compacted { compacted: store.compacted });
        }
        let events = store.changes(&self.prefix, self.from);
        if events.is_empty() && !self.progress_wanted {
            // What happened elsewhere is passed over, so that its compaction does not end this watch.
            self.from = self.from.max(store.revision.next());
            return Ok(Err(store.next_lease_end()));
        }
        self.progress_wanted = false;
        let revision = store.revision;
        self.from = self.from.max(revision.next());
        Ok(Ok(WatchBatch { events, revision }))
    }
}

#[async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            match self.look()? {
                Ok(batch) => return Ok(batch),
                Err(Some(lease_end)) => {
                    tokio::select! {
                        _ = self.changed.changed() => {}
                        () = tokio::time::sleep_until(lease_end) => {}
                    }
                }
                // The sender lives as long as `shared`, so an error cannot come.
                Err(None) => drop(self.changed.changed().await),
            }
        }
    }

    async fn request_progress(&mut self) -> Result<(), WatchError> {
        self.progress_wanted = true;
        Ok(())
    }
}
