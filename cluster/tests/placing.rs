//! Placement and claims on the embedded directory, under paused time.

use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::claims::Claims;
use tiltyard_cluster::directory::{Directory, DirectoryError, MemoryDirectory};
use tiltyard_cluster::epoch::{self, ClaimError, Ownership};
use tiltyard_cluster::node::Keyspace;
use tiltyard_cluster::testing::{Fault, Faulty, capacity, placements};
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

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
    let owned = |epoch, owner: &NodeId| Ownership { epoch: Epoch(epoch), owner: owner.clone() };
    for battle in [7, 8] {
        epoch::claim(&*memory, &keyspace, BattleId(battle), &owned(1, &a), None).await.unwrap();
    }
    let way = Arc::new(Faulty::new(Arc::clone(&memory)));
    let claims = Claims::start(Arc::clone(&way) as Arc<dyn Directory>, keyspace.clone(), MINUTE);
    let revision = memory.get("/x").await.unwrap().revision;
    // One is another's already, one comes twice, one is asked for by two, one is raised.
    let wanted =
        [(1, 1, &a), (7, 1, &b), (7, 1, &a), (2, 1, &a), (2, 1, &a), (3, 1, &a), (3, 1, &b), (8, 2, &b)];
    let asked = wanted.map(|(battle, epoch, owner)| claims.claim(BattleId(battle), owned(epoch, owner)));
    let answers = futures_util::future::join_all(asked).await;
    let standing = || Err(ClaimError::Superseded(owned(1, &a)));
    assert_eq!(answers, [Ok(()), standing(), Ok(()), Ok(()), Ok(()), Ok(()), standing(), Ok(())]);
    assert!(memory.get("/x").await.unwrap().revision > revision);

    let revision = memory.get("/x").await.unwrap().revision;
    let asked = (100..150).map(|battle| claims.claim(BattleId(battle), owned(1, &b)));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    let changes = memory.get("/x").await.unwrap().revision.0 - revision.0;
    assert!(changes < 10, "50 claims took {changes} changes");

    let unavailable = || Err(ClaimError::Directory(DirectoryError::Unavailable));
    way.set(Fault::Away);
    assert_eq!(claims.claim(BattleId(200), owned(1, &a)).await, unavailable());
    way.set(Fault::Silent);
    assert_eq!(claims.claim(BattleId(200), owned(1, &a)).await, unavailable(), "nobody waits for ever");
    way.set(Fault::None);
    assert_eq!(claims.claim(BattleId(200), owned(1, &a)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn claims_are_forgotten_when_their_battles_are_over_and_survive_a_lost_lease() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let keyspace = Keyspace::default();
    let claims = Claims::start(Arc::clone(&memory), keyspace.clone(), MINUTE);
    let owned = Ownership { epoch: Epoch::FIRST, owner: NodeId::parse("a").unwrap() };
    let standing = async |battle| epoch::current(&*memory, &keyspace, BattleId(battle)).await.unwrap();
    claims.claim(BattleId(1), owned.clone()).await.unwrap();
    sleep(MINUTE - Duration::from_secs(1)).await;
    claims.claim(BattleId(2), owned.clone()).await.unwrap();
    assert_eq!(standing(1).await, Some(owned.clone()));
    sleep(MINUTE - Duration::from_secs(1)).await;
    assert_eq!(
        standing(2).await,
        Some(owned.clone()),
        "claimed late under the same lease, and kept for as long"
    );
    sleep(Duration::from_secs(5)).await;
    assert_eq!((standing(1).await, standing(2).await), (None, None));

    claims.claim(BattleId(3), owned.clone()).await.unwrap();
    let entry = memory.range(&keyspace.key("epochs/")).await.unwrap().entries.remove(0);
    memory.revoke(entry.lease.unwrap()).await.unwrap();
    let lost = claims.claim(BattleId(4), owned.clone()).await;
    assert!(matches!(lost, Err(ClaimError::Directory(DirectoryError::LeaseLost(_)))), "{lost:?}");
    claims.claim(BattleId(4), owned.clone()).await.unwrap();
    assert_eq!(standing(4).await, Some(owned));
}
