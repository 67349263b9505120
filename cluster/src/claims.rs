//! First epochs of many battles in few transactions.
//!
//! What is asked for while transactions are under way goes into the next one together, so that the directory's
//! time for a change is shared: alone a claim costs one change, under load a fraction of it.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::directory::{
    Compare, Directory, DirectoryError, Operation, TRANSACTION_OPERATIONS_MAX, Transaction,
};
use crate::epoch::{self, ClaimError};
use crate::id::{BattleId, Epoch, NodeId};
use crate::node::Keyspace;

/// Most claims in one transaction.
const CLAIMS_MAX: usize = TRANSACTION_OPERATIONS_MAX;
/// Most transactions under way at once. With more of them each is smaller, and costs nearly as much.
const TRANSACTIONS_MAX: usize = 2;
/// Most claims that wait for a transaction; a further one waits for its place.
const WAITING_MAX: usize = 4_096;

/// Claims the first epochs of battles, many at once. Claims under way when it is dropped are made or not.
#[derive(Debug)]
pub struct Claims {
    wanted: mpsc::Sender<Wanted>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Wanted {
    battle: BattleId,
    owner: NodeId,
    answer: oneshot::Sender<Result<Epoch, ClaimError>>,
}

impl Claims {
    /// Starts with nothing to do. Needs a tokio runtime.
    pub fn start(directory: Arc<dyn Directory>, keyspace: Keyspace) -> Self {
        let (wanted, waiting) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(serve(directory, keyspace, waiting));
        Self { wanted, task }
    }

    /// Claims a battle's first epoch for `owner`, as [`epoch::claim`] does.
    ///
    /// # Errors
    /// Those of [`epoch::claim`].
    pub async fn claim_first(&self, battle: BattleId, owner: NodeId) -> Result<Epoch, ClaimError> {
        let (answer, answered) = oneshot::channel();
        let unavailable = ClaimError::Directory(DirectoryError::Unavailable);
        if self.wanted.send(Wanted { battle, owner, answer }).await.is_err() {
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

async fn serve(directory: Arc<dyn Directory>, keyspace: Keyspace, mut waiting: mpsc::Receiver<Wanted>) {
    let free = Arc::new(Semaphore::new(TRANSACTIONS_MAX));
    loop {
        let permit = Arc::clone(&free).acquire_owned().await.expect("nobody closes it");
        let mut batch = Vec::new();
        if waiting.recv_many(&mut batch, CLAIMS_MAX).await == 0 {
            return;
        }
        let (directory, keyspace) = (Arc::clone(&directory), keyspace.clone());
        tokio::spawn(async move {
            claim_all(&*directory, &keyspace, batch).await;
            drop(permit);
        });
    }
}

async fn claim_all(directory: &dyn Directory, keyspace: &Keyspace, batch: Vec<Wanted>) {
    let key = |wanted: &Wanted| epoch::key(keyspace, wanted.battle);
    let put = |wanted: &Wanted| Operation::Put {
        key: key(wanted),
        value: epoch::first(&wanted.owner),
        lease: None,
    };
    let all = Transaction {
        compares: batch.iter().map(|wanted| Compare::absent(&key(wanted))).collect(),
        then: batch.iter().map(put).collect(),
        otherwise: vec![],
    };
    let outcome = directory.commit(all).await;
    for wanted in batch {
        let claimed = match &outcome {
            Ok(outcome) if outcome.succeeded => Ok(Epoch::FIRST),
            // One of them is claimed already, or is in here twice: each learns by itself.
            Ok(_) | Err(DirectoryError::DuplicateKey) => {
                epoch::claim(directory, keyspace, wanted.battle, None, &wanted.owner).await
            }
            Err(error) => Err(ClaimError::Directory(*error)),
        };
        // Whoever asked may be gone.
        let _ = wanted.answer.send(claimed);
    }
}
