//! Claims of many battles in few transactions.
//!
//! What is asked for while transactions are under way goes into the next one together, so that the directory's
//! time for a change is shared: alone a claim costs one change, under load a fraction of it. Claims of one moment
//! share a lease that nobody keeps alive, so that they are forgotten when their battles are over for certain.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::directory::{
    Compare, Directory, DirectoryError, LEASE_TTL_MAX, LeaseId, Operation, TRANSACTION_OPERATIONS_MAX,
    Transaction,
};
use crate::epoch::{self, ClaimError, Ownership};
use crate::id::{BattleId, Epoch};
use crate::node::Keyspace;

/// Most claims in one transaction.
const CLAIMS_MAX: usize = TRANSACTION_OPERATIONS_MAX;
/// Most transactions under way at once. With more of them each is smaller, and costs nearly as much.
const TRANSACTIONS_MAX: usize = 2;
/// Most claims that wait for a transaction; a further one waits for its place.
const WAITING_MAX: usize = 4_096;
/// Most claims under one lease, and for how long it takes any: its end deletes all of them in one change.
const LEASE_CLAIMS_MAX: usize = 16_384;
const LEASE_TAKES: Duration = Duration::from_secs(60);
/// How long a call may take. Placement goes on without a directory that is away.
const CALL_MAX: Duration = Duration::from_secs(1);

/// Claims battles, many at once. Claims under way when it is dropped are made or not.
#[derive(Debug)]
pub struct Claims {
    wanted: mpsc::Sender<Wanted>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Wanted {
    battle: BattleId,
    ownership: Ownership,
    answer: oneshot::Sender<Result<(), ClaimError>>,
}

impl Claims {
    /// Starts with nothing to do; claims are to stand for at least `kept`, a day at most. Needs a tokio runtime.
    pub fn start(directory: Arc<dyn Directory>, keyspace: Keyspace, kept: Duration) -> Self {
        let (wanted, waiting) = mpsc::channel(WAITING_MAX);
        let ttl = (kept + LEASE_TAKES).min(LEASE_TTL_MAX);
        let task = tokio::spawn(serve(directory, keyspace, ttl, waiting));
        Self { wanted, task }
    }

    /// Claims a battle, as [`epoch::claim`] does.
    ///
    /// # Errors
    /// Those of [`epoch::claim`].
    pub async fn claim(&self, battle: BattleId, ownership: Ownership) -> Result<(), ClaimError> {
        let (answer, answered) = oneshot::channel();
        let unavailable = ClaimError::Directory(DirectoryError::Unavailable);
        if self.wanted.send(Wanted { battle, ownership, answer }).await.is_err() {
            return Err(unavailable);
        }
        answered.await.unwrap_or(Err(unavailable))
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The lease of this moment's claims.
struct Kept {
    lease: LeaseId,
    granted: Instant,
    claims: usize,
}

async fn serve(
    directory: Arc<dyn Directory>,
    keyspace: Keyspace,
    ttl: Duration,
    mut waiting: mpsc::Receiver<Wanted>,
) {
    let free = Arc::new(Semaphore::new(TRANSACTIONS_MAX));
    let mut kept: Option<Kept> = None;
    // A lease that was lost, by a directory that forgot everything, is not used again.
    let (lost, mut losses) = mpsc::channel(TRANSACTIONS_MAX);
    loop {
        let permit = Arc::clone(&free).acquire_owned().await.expect("nobody closes it");
        let mut batch = Vec::new();
        if waiting.recv_many(&mut batch, CLAIMS_MAX).await == 0 {
            return;
        }
        while let Ok(lease) = losses.try_recv() {
            kept.take_if(|kept| kept.lease == lease);
        }
        kept.take_if(|kept| kept.granted.elapsed() > LEASE_TAKES || kept.claims > LEASE_CLAIMS_MAX);
        if kept.is_none() {
            let granted = Instant::now();
            let lease = timeout(CALL_MAX, directory.grant(ttl)).await.ok().and_then(Result::ok);
            kept = lease.map(|lease| Kept { lease: lease.id, granted, claims: 0 });
        }
        let Some(kept) = &mut kept else {
            for wanted in batch {
                wanted.tell(Err(ClaimError::Directory(DirectoryError::Unavailable)));
            }
            continue;
        };
        kept.claims += batch.len();
        let (directory, keyspace, lost, lease) =
            (Arc::clone(&directory), keyspace.clone(), lost.clone(), kept.lease);
        tokio::spawn(async move {
            if claim_all(&*directory, &keyspace, batch, lease).await {
                // As many as may be under way find their place, so an error means that nobody claims any more.
                let _ = lost.try_send(lease);
            }
            drop(permit);
        });
    }
}

/// Claims all of them; answers whether the lease is gone.
async fn claim_all(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    batch: Vec<Wanted>,
    lease: LeaseId,
) -> bool {
    // A later epoch stands where an earlier one does, so it cannot be among those that are created together.
    let (first, later): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|wanted| wanted.ownership.epoch == Epoch::FIRST);
    let key = |wanted: &Wanted| epoch::key(keyspace, wanted.battle);
    let put = |wanted: &Wanted| Operation::Put {
        key: key(wanted),
        value: epoch::write(&wanted.ownership),
        lease: Some(lease),
    };
    let all = Transaction {
        compares: first.iter().map(|wanted| Compare::absent(&key(wanted))).collect(),
        then: first.iter().map(put).collect(),
        otherwise: vec![],
    };
    let unavailable = Err(DirectoryError::Unavailable);
    let outcome = timeout(CALL_MAX, directory.commit(all)).await.unwrap_or(unavailable);
    let mut is_lost = false;
    let mut alone = later;
    match outcome {
        Ok(outcome) if outcome.succeeded => first.into_iter().for_each(|wanted| wanted.tell(Ok(()))),
        // One of them is claimed already, or is in here twice: each learns by itself.
        Ok(_) | Err(DirectoryError::DuplicateKey) => alone.extend(first),
        Err(error) => {
            is_lost |= matches!(error, DirectoryError::LeaseLost(_));
            first.into_iter().for_each(|wanted| wanted.tell(Err(error.into())));
        }
    }
    for wanted in alone {
        let claiming = epoch::claim(directory, keyspace, wanted.battle, &wanted.ownership, Some(lease));
        let claimed = timeout(CALL_MAX, claiming).await.unwrap_or(Err(DirectoryError::Unavailable.into()));
        is_lost |= matches!(claimed, Err(ClaimError::Directory(DirectoryError::LeaseLost(_))));
        wanted.tell(claimed);
    }
    is_lost
}

impl Wanted {
    fn tell(self, claimed: Result<(), ClaimError>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(claimed);
    }
}
