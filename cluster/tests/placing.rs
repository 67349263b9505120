//! Placement and claims on the embedded directory, under paused time.
#![allow(missing_docs)]

use std::sync::Arc;

use tiltyard_cluster::claims::Claims;
use tiltyard_cluster::directory::{Directory, DirectoryError, MemoryDirectory};
use tiltyard_cluster::epoch::{self, ClaimError, Ownership};
use tiltyard_cluster::node::Keyspace;
use tiltyard_cluster::testing::{Fault, Faulty, capacity, placements};
use tiltyard_cluster::{BattleId, Epoch, NodeId};

#[tokio::test(start_paused = true)]
async fn a_thousand_simultaneous_battles_spread_over_the_nodes() {
    placements(Arc::new(MemoryDirectory::new()), &Keyspace::default()).await;
}

#[tokio::test(start_paused = true)]
async fn no_node_is_given_more_than_it_has_seats() {
    capacity(Arc::new(MemoryDirectory::new()), &Keyspace::default()).await;
}

#[tokio::test(start_paused = true)]
async fn claims_that_share_a_transaction_each_get_their_own_answer() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let keyspace = Keyspace::default();
    let [a, b] = ["a", "b"].map(|name| NodeId::parse(name).unwrap());
    epoch::claim(&*memory, &keyspace, BattleId(7), None, &a).await.unwrap();
    let way = Arc::new(Faulty::new(Arc::clone(&memory)));
    let claims = Claims::start(Arc::clone(&way) as Arc<dyn Directory>, keyspace.clone());
    let revision = memory.get("/x").await.unwrap().revision;
    // One is another's already, one comes twice, one is asked for by two.
    let wanted = [(1, &a), (7, &b), (7, &a), (2, &a), (2, &a), (3, &a), (3, &b)];
    let asked = wanted.map(|(battle, owner)| claims.claim_first(BattleId(battle), owner.clone()));
    let answers = futures_util::future::join_all(asked).await;
    let standing =
        |owner: &NodeId| Err(ClaimError::Superseded(Ownership { epoch: Epoch::FIRST, owner: owner.clone() }));
    let first = || Ok(Epoch::FIRST);
    assert_eq!(answers, [first(), standing(&a), first(), first(), first(), first(), standing(&a)]);
    assert!(memory.get("/x").await.unwrap().revision > revision);

    let revision = memory.get("/x").await.unwrap().revision;
    let asked = (100..150).map(|battle| claims.claim_first(BattleId(battle), b.clone()));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    let changes = memory.get("/x").await.unwrap().revision.0 - revision.0;
    assert!(changes < 10, "50 claims took {changes} changes");

    way.set(Fault::Away);
    let away = claims.claim_first(BattleId(200), a).await;
    assert_eq!(away, Err(ClaimError::Directory(DirectoryError::Unavailable)));
}
