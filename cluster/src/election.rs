//! One of many processes does a thing: an election, which is also the lock for it.
//!
//! ```text
//! <prefix>/leaders/<role>   {"epoch": 3, "owner": "lobby-b"}   under the leader's lease, gone with it
//! <prefix>/terms/<role>     {"epoch": 3, "owner": "lobby-b"}   for good, so that the epoch only grows
//! ```
//! The lease says who may lead, counted by the leader from the *sending* of its last keep-alive, so that it stops
//! before anybody else begins. A process that was paused may still act after that: what it does must be refused by
//! its epoch, or be a transaction under [`Leadership::fence`].

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::directory::{
    Compare, Condition, Directory, DirectoryError, Entry, Lease, LeaseId, Operation, Relation, Revision,
    Transaction, WatchEvent,
};
use crate::epoch::Ownership;
use crate::id::{Epoch, NodeId};
use crate::node::{Keyspace, RegistrationConfig};

/// A term as the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    epoch: Epoch,
    until: Instant,
    key: String,
    since: Revision,
}

impl Leadership {
    /// Grows with every term, whoever leads.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nobody else can have begun to lead yet.
    pub fn holds(&self) -> bool {
        Instant::now() < self.until
    }

    /// Holds in a transaction as long as the term has not ended.
    pub fn fence(&self) -> Compare {
        Compare {
            key: self.key.clone(),
            relation: Relation::Equal,
            condition: Condition::CreateRevision(self.since),
        }
    }
}

/// A candidate for a role, who leads by turns with the others for as long as this lives. Dropping it lets the lease
/// run out; [`Election::resign`] ends it at once.
#[derive(Debug)]
pub struct Election {
    leadership: watch::Receiver<Option<Leadership>>,
    resign: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Election {
    /// Becomes a candidate. Of `config` the times but for `start_timeout` are used: a candidate waits for ever.
    ///
    /// # Panics
    /// The role's name is no name as nodes have.
    pub fn start(
        directory: Arc<dyn Directory>,
        keyspace: &Keyspace,
        role: &str,
        candidate: NodeId,
        config: RegistrationConfig,
    ) -> Self {
        assert!(NodeId::parse(role).is_ok(), "{role} is no name of a role");
        let (sender, leadership) = watch::channel(None);
        let (resign, mut resigning) = watch::channel(false);
        let mut campaign = Campaign {
            directory,
            leader: keyspace.key(&format!("leaders/{role}")),
            term: keyspace.key(&format!("terms/{role}")),
            candidate,
            config,
            leadership: sender,
            lease: None,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = campaign.run() => {}
                // An error means that nobody is left to resign.
                _ = resigning.wait_for(|resign| *resign) => {}
            }
            campaign.leadership.send_replace(None);
            campaign.give_up_lease().await;
        });
        Self { leadership, resign, task: Some(task) }
    }

    /// The term, if this process leads now.
    pub fn leadership(&self) -> Option<Leadership> {
        self.leadership.borrow().clone().filter(Leadership::holds)
    }

    /// Waits until this process leads.
    pub async fn lead(&self) -> Leadership {
        let mut leadership = self.leadership.clone();
        let leads = |leadership: &Option<Leadership>| leadership.as_ref().is_some_and(Leadership::holds);
        match leadership.wait_for(leads).await.map(|leadership| leadership.clone()) {
            Ok(Some(leadership)) => leadership,
            // The task ends with this election alone.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Leads no more, is no candidate any more, and lets the next begin at once. Gives up after a call's time.
    pub async fn resign(mut self) {
        self.resign.send_replace(true);
        if let Some(task) = self.task.take() {
            // An error means that the task is gone, which is as good.
            let _ = task.await;
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Campaign {
    directory: Arc<dyn Directory>,
    leader: String,
    term: String,
    candidate: NodeId,
    config: RegistrationConfig,
    leadership: watch::Sender<Option<Leadership>>,
    lease: Option<LeaseId>,
}

impl Campaign {
    async fn run(&mut self) {
        loop {
            let tried = self.try_to_lead().await;
            self.leadership.send_replace(None);
            self.give_up_lease().await;
            if tried.is_err() {
                sleep(self.config.retry).await;
            }
        }
    }

    /// Waits for the leader to go, leads, and returns when it is over.
    async fn try_to_lead(&mut self) -> Result<(), DirectoryError> {
        let found = self.call(self.directory.get(&self.leader)).await?;
        if found.entry.is_some() {
            return self.wait_for_the_end(found.revision).await;
        }
        let sent = Instant::now();
        let lease = self.call(self.directory.grant(self.config.ttl)).await?;
        self.lease = Some(lease.id);
        let last = self.call(self.directory.get(&self.term)).await?.entry;
        // What cannot be read is an epoch that cannot be raised.
        let Some(epoch) = next(last.as_ref()) else { return Err(DirectoryError::Unavailable) };
        let claimed = self.call(self.directory.commit(self.claim(epoch, last, lease.id))).await;
        let since = match claimed {
            Ok(outcome) if outcome.succeeded => outcome.revision,
            Ok(_) => return Ok(()),
            Err(DirectoryError::Unavailable) => {
                // It may have happened; then it is under our lease.
                let standing = self.call(self.directory.get(&self.leader)).await?.entry;
                match standing.filter(|standing| standing.lease == Some(lease.id)) {
                    Some(standing) => standing.create_revision,
                    None => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        };
        tracing::info!(role = %self.leader, %epoch, "leads");
        let term = Leadership { epoch, until: sent + lease.ttl, key: self.leader.clone(), since };
        self.hold(term, lease).await;
        Ok(())
    }

    fn claim(&self, epoch: Epoch, last: Option<Entry>, lease: LeaseId) -> Transaction {
        let ownership = Ownership { epoch, owner: self.candidate.clone() };
        let value = serde_json::to_vec(&ownership).expect("an ownership has string keys");
        let last = last.map_or(Revision::ABSENT, |entry| entry.mod_revision);
        let put = |key: &String, lease| Operation::Put { key: key.clone(), value: value.clone(), lease };
        Transaction {
            compares: vec![Compare::absent(&self.leader), Compare::unchanged(&self.term, last)],
            then: vec![put(&self.leader, Some(lease)), put(&self.term, None)],
            otherwise: vec![],
        }
    }

    /// Leads for as long as the lease is kept.
    async fn hold(&self, mut term: Leadership, lease: Lease) {
        let interval = lease.ttl / 3;
        let mut keep_alive_at = term.until - lease.ttl + interval;
        loop {
            self.leadership.send_replace(Some(term.clone()));
            tokio::time::sleep_until(keep_alive_at.min(term.until)).await;
            let sent = Instant::now();
            if sent >= term.until {
                return;
            }
            let kept =
                tokio::time::timeout_at(term.until, self.call(self.directory.keep_alive(lease.id))).await;
            match kept {
                Ok(Ok(ttl)) => {
                    term.until = sent + ttl;
                    keep_alive_at = sent + interval;
                }
                Ok(Err(DirectoryError::LeaseLost(_))) | Err(_) => return,
                Ok(Err(_)) => keep_alive_at = Instant::now() + self.config.retry,
            }
        }
    }

    /// Watches until the leader is gone, and for no longer than a lease lives: then it is looked again.
    async fn wait_for_the_end(&self, seen: Revision) -> Result<(), DirectoryError> {
        let mut watch = self.call(self.directory.watch(&self.leader, seen.next())).await?;
        let gone = async {
            while let Ok(batch) = watch.next().await {
                let ends = |event: &WatchEvent| matches!(event, WatchEvent::Deleted { key, .. } if *key == self.leader);
                if batch.events.iter().any(ends) {
                    return Ok(());
                }
            }
            Err(DirectoryError::Unavailable)
        };
        timeout(self.config.ttl, gone).await.unwrap_or(Ok(()))
    }

    async fn give_up_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            // What is not revoked runs out.
            let _ = self.call(self.directory.revoke(lease)).await;
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        timeout(self.config.call_timeout, call).await.unwrap_or(Err(DirectoryError::Unavailable))
    }
}

fn next(last: Option<&Entry>) -> Option<Epoch> {
    match last {
        None => Some(Epoch::FIRST),
        Some(entry) => serde_json::from_slice::<Ownership>(&entry.value).ok()?.epoch.next(),
    }
}
