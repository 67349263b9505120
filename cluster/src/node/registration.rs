//! Keeps one record in the directory for as long as the process lives.
//!
//! ```text
//!            grant + create                   keep-alive every ttl/3
//! start ───────────────────────▶ registered ◀──────────────────────┐
//!   │ start_timeout over             │ lease lost                   │
//!   ▼                                ▼                              │
//! error                        registering again, for ever ─────────┘
//! ```
//!
//! At the start the directory must answer within a time; later it may be away for as long as it likes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::record::{Keyspace, Record};
use crate::directory::{Directory, DirectoryError, Lease, LeaseId, Transaction};

crate::counters! {
    /// What a registration counts.
    pub struct RegistrationCounters {
        /// Times the record was put under a fresh lease.
        registrations,
        /// Leases lost.
        leases_lost,
        /// Calls to the directory that brought no answer in time.
        directory_timeouts,
        /// Times another living process held the name.
        name_taken,
    }
}

/// Times of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// Time to live of the lease.
    pub ttl: Duration,
    /// How long the first registration is tried. Longer than `ttl`, so that a restarted process can wait for its
    /// predecessor's lease to end.
    pub start_timeout: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Pause after a call that did not work.
    pub retry: Duration,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            start_timeout: Duration::from_secs(15),
            call_timeout: Duration::from_secs(1),
            retry: Duration::from_millis(250),
        }
    }
}

/// Why a process could not register at its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The directory did not answer.
    #[error("the directory at {address} did not answer for {waited_ms} ms")]
    Unavailable {
        /// Where it should be.
        address: String,
        /// How long was tried.
        waited_ms: u64,
    },
    /// Another process of that name is registered and keeps its lease alive.
    #[error("another process is registered as {name} at {address}")]
    NameTaken {
        /// The name.
        name: String,
        /// The directory.
        address: String,
    },
}

/// A record that is kept registered. Dropping it lets the lease run out; [`Registration::leave`] ends it at once.
#[derive(Debug)]
pub struct Registration<R: Record> {
    wanted: watch::Sender<R>,
    certain_until: watch::Receiver<Option<Instant>>,
    counters: Arc<RegistrationCounters>,
    leave: watch::Sender<bool>,
    left: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl<R: Record> Registration<R> {
    /// Registers, and goes on keeping the registration alive in a task.
    ///
    /// # Errors
    /// Not registered within `start_timeout`.
    pub async fn start(
        directory: Arc<dyn Directory>,
        keyspace: Keyspace,
        record: R,
        config: RegistrationConfig,
    ) -> Result<Self, RegisterError> {
        let counters = Arc::new(RegistrationCounters::default());
        let (wanted, wanted_by_task) = watch::channel(record);
        let (certain, certain_until) = watch::channel(None);
        let mut keeper = Keeper {
            directory,
            keyspace,
            config,
            counters: Arc::clone(&counters),
            wanted: wanted_by_task,
            certain,
        };
        let lease = keeper.first_registration().await?;
        let (leave, leaving) = watch::channel(false);
        let (done, left) = watch::channel(false);
        let task = tokio::spawn(async move {
            keeper.keep(lease, leaving).await;
            done.send_replace(true);
        });
        Ok(Self { wanted, certain_until, counters, leave, left, task })
    }

    /// Changes the record; it is put soon, and the newest wins. Meant for load reports, about one a second.
    pub fn update(&self, change: impl FnOnce(&mut R)) {
        self.wanted.send_modify(change);
    }

    /// Until when the lease certainly lives, counted from the *sending* of the last keep-alive; nothing while
    /// the process is not registered.
    pub fn certain_until(&self) -> Option<Instant> {
        *self.certain_until.borrow()
    }

    /// What it counted.
    pub fn counters(&self) -> &Arc<RegistrationCounters> {
        &self.counters
    }

    /// Revokes the lease, so that every list drops the record at once. Gives up after a call's time.
    pub async fn leave(self) {
        self.revoke().await;
    }

    /// Does what [`Registration::leave`] does, for a registration that is shared.
    pub async fn revoke(&self) {
        self.leave.send_replace(true);
        // An error means that the task is gone, which is as good.
        let _ = self.left.clone().wait_for(|left| *left).await;
    }
}

impl<R: Record> Drop for Registration<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper<R: Record> {
    directory: Arc<dyn Directory>,
    keyspace: Keyspace,
    config: RegistrationConfig,
    counters: Arc<RegistrationCounters>,
    wanted: watch::Receiver<R>,
    certain: watch::Sender<Option<Instant>>,
}

enum Attempt {
    Registered(Lease),
    Taken,
    Away,
}

impl<R: Record> Keeper<R> {
    async fn first_registration(&mut self) -> Result<Lease, RegisterError> {
        let started = Instant::now();
        loop {
            let attempt = self.register().await;
            if let Attempt::Registered(lease) = attempt {
                return Ok(lease);
            }
            if started.elapsed() + self.config.retry > self.config.start_timeout {
                let address = self.directory.address();
                return Err(match attempt {
                    Attempt::Taken => {
                        RegisterError::NameTaken { name: self.wanted.borrow().id().to_string(), address }
                    }
                    Attempt::Registered(_) | Attempt::Away => RegisterError::Unavailable {
                        address,
                        waited_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    },
                });
            }
            tokio::time::sleep(self.config.retry).await;
        }
    }

    async fn keep(mut self, first: Lease, mut leaving: watch::Receiver<bool>) {
        let mut lease = first;
        loop {
            if self.keep_lease(lease, &mut leaving).await == Kept::Left {
                // What is not revoked runs out.
                let _ = self.call(self.directory.revoke(lease.id)).await;
                return;
            }
            self.certain.send_replace(None);
            self.counters.leases_lost.one();
            tracing::warn!(name = %self.wanted.borrow().id(), "lease lost, registering again");
            lease = loop {
                match self.register().await {
                    Attempt::Registered(lease) => break lease,
                    Attempt::Taken | Attempt::Away => {}
                }
                tokio::select! {
                    () = told(&mut leaving) => return,
                    () = tokio::time::sleep(self.config.retry) => {}
                }
            };
        }
    }

    /// Keeps one lease alive and its record up to date until the lease is lost or the process leaves.
    async fn keep_lease(&mut self, lease: Lease, leaving: &mut watch::Receiver<bool>) -> Kept {
        let interval = lease.ttl / 3;
        let mut keep_alive_at = Instant::now() + interval;
        let mut put_at: Option<Instant> = None;
        loop {
            let put_due = put_at.unwrap_or(keep_alive_at);
            tokio::select! {
                () = told(leaving) => return Kept::Left,
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return Kept::Left;
                    }
                    put_at = Some(Instant::now());
                }
                () = tokio::time::sleep_until(put_due), if put_at.is_some() => {
                    match self.put(lease.id).await {
                        Ok(()) => put_at = None,
                        Err(DirectoryError::LeaseLost(_)) => return Kept::Lost,
                        Err(_) => put_at = Some(Instant::now() + self.config.retry),
                    }
                }
                () = tokio::time::sleep_until(keep_alive_at) => {
                    let sent = Instant::now();
                    match self.call(self.directory.keep_alive(lease.id)).await {
                        Ok(ttl) => {
                            self.certain.send_replace(Some(sent + ttl));
                            keep_alive_at = sent + interval;
                        }
                        Err(DirectoryError::LeaseLost(_)) => return Kept::Lost,
                        Err(_) => keep_alive_at = Instant::now() + self.config.retry,
                    }
                }
            }
        }
    }

    async fn put(&mut self, lease: LeaseId) -> Result<(), DirectoryError> {
        let (key, value) = {
            let record = self.wanted.borrow_and_update();
            (record.key(&self.keyspace), record.to_value())
        };
        self.call(self.directory.put(&key, value, Some(lease))).await.map(|_| ())
    }

    /// A fresh lease with the record under it. A name that another process holds is left to it.
    async fn register(&mut self) -> Attempt {
        let sent = Instant::now();
        let Ok(lease) = self.call(self.directory.grant(self.config.ttl)).await else { return Attempt::Away };
        match self.create(lease.id).await {
            Ok(true) => {
                self.certain.send_replace(Some(sent + lease.ttl));
                self.counters.registrations.one();
                Attempt::Registered(lease)
            }
            Ok(false) => {
                self.counters.name_taken.one();
                // What is not revoked runs out.
                let _ = self.call(self.directory.revoke(lease.id)).await;
                Attempt::Taken
            }
            Err(_) => Attempt::Away,
        }
    }

    async fn create(&mut self, lease: LeaseId) -> Result<bool, DirectoryError> {
        let (key, value, instance) = {
            let record = self.wanted.borrow_and_update();
            (record.key(&self.keyspace), record.to_value(), record.instance())
        };
        let created =
            self.call(self.directory.commit(Transaction::create(&key, value.clone(), Some(lease)))).await?;
        if created.succeeded {
            return Ok(true);
        }
        let Some(standing) = created.first_read() else { return Ok(false) };
        // Our own record under a lease that we believe lost, or whose put was not answered.
        if R::parse(&standing.value).is_ok_and(|record| record.instance() == instance) {
            let replace = Transaction::replace(&key, standing.mod_revision, value, Some(lease));
            return Ok(self.call(self.directory.commit(replace)).await?.succeeded);
        }
        Ok(false)
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        timeout(self.config.call_timeout, call).await.unwrap_or_else(|_| {
            self.counters.directory_timeouts.one();
            Err(DirectoryError::Unavailable)
        })
    }
}

/// Waits until the process leaves, or nobody is left who could say so.
async fn told(leaving: &mut watch::Receiver<bool>) {
    // An error is the latter.
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

#[derive(PartialEq, Eq)]
enum Kept {
    Lost,
    Left,
}
