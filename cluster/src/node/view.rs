//! What a process knows of the others: a list that a watch keeps up to date.
//!
//! List, watch from the next revision on; when the watch ends, is silent for too long, or a while has passed,
//! list again. The view converges to what is stored, and stays as it was while the directory is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::record::{Keyspace, Record};
use crate::directory::{Directory, DirectoryError, Entry, Listing, Revision, WatchError, WatchEvent};
use crate::id::NodeId;

crate::counters! {
    /// What a view counts.
    pub struct ViewCounters {
        /// Lists read.
        lists,
        /// Lists that brought no answer.
        lists_unanswered,
        /// Watches that ended because history was compacted.
        watches_compacted,
        /// Watches that broke.
        watches_broken,
        /// Watches given up because nothing was heard.
        watches_silent,
        /// Records passed over because this version cannot read them.
        records_unreadable,
        /// Events older than what the view had.
        events_stale,
    }
}

/// Times of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewConfig {
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Pause after a call that did not work.
    pub retry: Duration,
    /// How often a sign of life is asked of a quiet watch.
    pub progress_interval: Duration,
    /// A watch that says nothing for so long is dead.
    pub silence_max: Duration,
    /// After so long the list is read anew whatever the watch says.
    pub relist_interval: Duration,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(1),
            retry: Duration::from_millis(250),
            progress_interval: Duration::from_millis(800),
            silence_max: Duration::from_millis(2_500),
            relist_interval: Duration::from_secs(60),
        }
    }
}

/// The records of a view.
#[derive(Debug, Clone)]
pub struct Listed<R> {
    /// By name.
    pub records: BTreeMap<NodeId, R>,
    /// Changes with every change of the records.
    pub revision: Revision,
}

impl<R> Default for Listed<R> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), revision: Revision::ABSENT }
    }
}

/// The records of one kind, kept up to date by a task that ends with the view.
#[derive(Debug)]
pub struct View<R: Record> {
    listed: watch::Receiver<Arc<Listed<R>>>,
    confirmed: Arc<Mutex<Option<Instant>>>,
    counters: Arc<ViewCounters>,
    task: JoinHandle<()>,
}

impl<R: Record> View<R> {
    /// Starts to follow the directory. The view is empty until the first list is read.
    pub fn start(directory: Arc<dyn Directory>, keyspace: &Keyspace, config: ViewConfig) -> Self {
        let (sender, listed) = watch::channel(Arc::new(Listed::default()));
        let confirmed = Arc::new(Mutex::new(None));
        let counters = Arc::new(ViewCounters::default());
        let follower = Follower {
            directory,
            prefix: keyspace.key(&format!("{}/", R::FOLDER)),
            config,
            listed: sender,
            confirmed: Arc::clone(&confirmed),
            counters: Arc::clone(&counters),
            known: BTreeMap::new(),
        };
        Self { listed, confirmed, counters, task: tokio::spawn(follower.follow()) }
    }

    /// The records as last known.
    pub fn current(&self) -> Arc<Listed<R>> {
        Arc::clone(&self.listed.borrow())
    }

    /// A receiver that sees every later state of the view.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Listed<R>>> {
        self.listed.clone()
    }

    /// How long ago the view was certainly right; nothing before the first list.
    pub fn age(&self) -> Option<Duration> {
        self.confirmed.lock().expect("nobody panics while holding it").map(|at| at.elapsed())
    }

    /// What it counted.
    pub fn counters(&self) -> &Arc<ViewCounters> {
        &self.counters
    }
}

impl<R: Record> Drop for View<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower<R: Record> {
    directory: Arc<dyn Directory>,
    prefix: String,
    config: ViewConfig,
    listed: watch::Sender<Arc<Listed<R>>>,
    confirmed: Arc<Mutex<Option<Instant>>>,
    counters: Arc<ViewCounters>,
    /// By key: the revision last seen, and the record if it can be read.
    known: BTreeMap<String, (Revision, Option<R>)>,
}

impl<R: Record> Follower<R> {
    async fn follow(mut self) {
        loop {
            let Ok(listing) = self.call(self.directory.range(&self.prefix)).await else {
                self.counters.lists_unanswered.one();
                tokio::time::sleep(self.config.retry).await;
                continue;
            };
            let revision = listing.revision;
            self.take_list(listing);
            if self.watch(revision.next()).await.is_err() {
                tokio::time::sleep(self.config.retry).await;
            }
        }
    }

    /// Follows one watch until it is time to list again; an error asks for a pause before that.
    async fn watch(&mut self, from: Revision) -> Result<(), DirectoryError> {
        let mut watch = self.call(self.directory.watch(&self.prefix, from)).await?;
        let relist_at = Instant::now() + self.config.relist_interval;
        let mut heard = Instant::now();
        loop {
            if Instant::now() >= relist_at {
                return Ok(());
            }
            match timeout(self.config.progress_interval, watch.next()).await {
                Ok(Ok(batch)) => {
                    heard = Instant::now();
                    self.take_events(batch.events, batch.revision);
                }
                Ok(Err(WatchError::Compacted { .. })) => {
                    self.counters.watches_compacted.one();
                    return Ok(());
                }
                Ok(Err(WatchError::Broken)) => {
                    self.counters.watches_broken.one();
                    return Err(DirectoryError::Unavailable);
                }
                Err(_) => {
                    if heard.elapsed() >= self.config.silence_max {
                        self.counters.watches_silent.one();
                        return Ok(());
                    }
                    if !matches!(
                        timeout(self.config.call_timeout, watch.request_progress()).await,
                        Ok(Ok(()))
                    ) {
                        self.counters.watches_broken.one();
                        return Err(DirectoryError::Unavailable);
                    }
                }
            }
        }
    }

    fn take_list(&mut self, listing: Listing) {
        self.counters.lists.one();
        self.known.clear();
        for entry in listing.entries {
            self.take_entry(entry);
        }
        self.publish(listing.revision);
        self.confirm();
    }

    fn take_events(&mut self, events: Vec<WatchEvent>, revision: Revision) {
        let changed = !events.is_empty();
        for event in events {
            let (key, of) = match &event {
                WatchEvent::Put(entry) => (&entry.key, entry.mod_revision),
                WatchEvent::Deleted { key, revision } => (key, *revision),
            };
            if self.known.get(key).is_some_and(|(seen, _)| *seen >= of) {
                self.counters.events_stale.one();
                continue;
            }
            match event {
                WatchEvent::Put(entry) => self.take_entry(entry),
                WatchEvent::Deleted { key, .. } => drop(self.known.remove(&key)),
            }
        }
        if changed {
            self.publish(revision);
        }
        self.confirm();
    }

    fn take_entry(&mut self, entry: Entry) {
        let record = R::parse(&entry.value).ok().filter(|record| {
            // A record that names another than its key would be charged and called under a wrong name.
            entry.key.strip_prefix(&self.prefix) == Some(record.id().as_str())
        });
        if record.is_none() {
            self.counters.records_unreadable.one();
        }
        self.known.insert(entry.key, (entry.mod_revision, record));
    }

    fn publish(&self, revision: Revision) {
        let records = self.known.values().filter_map(|(_, record)| record.clone());
        let records = records.map(|record| (record.id().clone(), record)).collect();
        self.listed.send_replace(Arc::new(Listed { records, revision }));
    }

    fn confirm(&self) {
        *self.confirmed.lock().expect("nobody panics while holding it") = Some(Instant::now());
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        timeout(self.config.call_timeout, call).await.unwrap_or(Err(DirectoryError::Unavailable))
    }
}
