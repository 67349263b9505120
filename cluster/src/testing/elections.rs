//! What elections must do on every directory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::directory::{Directory, Operation, Transaction};
use crate::election::{Election, Leadership};
use crate::id::{Epoch, NodeId};
use crate::node::{Keyspace, RegistrationConfig};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds elections against their contract, in a keyspace that nobody else uses. `ttl` is the shortest lease of the
/// directory.
///
/// # Panics
/// An election breaks its contract.
pub async fn elections(directory: Arc<dyn Directory>, keyspace: &Keyspace, ttl: Duration) {
    let candidate = |role: &str, name: &str| {
        let config = RegistrationConfig { ttl, ..RegistrationConfig::default() };
        let name = NodeId::parse(name).unwrap();
        Election::start(Arc::clone(&directory), keyspace, role, name, config)
    };
    one_leads_at_a_time_and_each_term_has_a_higher_epoch(&candidate).await;
    a_leader_that_died_is_succeeded_when_its_lease_is_over(&candidate, ttl).await;
    a_leader_whose_lease_was_taken_leads_no_more(&*directory, keyspace, &candidate).await;
    a_fence_holds_for_one_term(&*directory, keyspace, &candidate).await;
}

async fn lead(election: &Election) -> Leadership {
    timeout(PATIENCE, election.lead()).await.expect("somebody leads in time")
}

async fn one_leads_at_a_time_and_each_term_has_a_higher_epoch(candidate: &impl Fn(&str, &str) -> Election) {
    let mut candidates: Vec<_> =
        (0..5).map(|number| candidate("matchmaker", &format!("lobby-{number}"))).collect();
    for epoch in 1..=5 {
        let leads = candidates.iter().map(|election| Box::pin(lead(election)));
        let (leadership, leader, _) = futures_util::future::select_all(leads).await;
        assert_eq!(leadership.epoch(), Epoch(epoch));
        assert!(leadership.holds());
        sleep(Duration::from_millis(100)).await;
        let leading = candidates.iter().filter(|election| election.leadership().is_some()).count();
        assert_eq!(leading, 1, "{leading} lead");
        candidates.swap_remove(leader).resign().await;
    }
}

async fn a_leader_that_died_is_succeeded_when_its_lease_is_over(
    candidate: &impl Fn(&str, &str) -> Election,
    ttl: Duration,
) {
    let first = candidate("sweeper", "lobby-a");
    let old = lead(&first).await;
    let second = candidate("sweeper", "lobby-b");
    // Longer than a lease lives when nobody keeps it.
    sleep(ttl * 2).await;
    assert!(first.leadership().is_some_and(|leadership| leadership.epoch() == old.epoch()));
    assert!(second.leadership().is_none());
    let last = first.leadership().unwrap();
    drop(first);
    let died = Instant::now();
    let new = lead(&second).await;
    assert!(!last.holds(), "two lead");
    assert_eq!(Some(new.epoch()), old.epoch().next());
    assert!(died.elapsed() <= ttl * 2 + PATIENCE);
    second.resign().await;
}

async fn a_leader_whose_lease_was_taken_leads_no_more(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    candidate: &impl Fn(&str, &str) -> Election,
) {
    let only = candidate("janitor", "lobby-a");
    let first = lead(&only).await;
    let entry = directory.get(&keyspace.key("leaders/janitor")).await.unwrap().entry.unwrap();
    directory.revoke(entry.lease.unwrap()).await.unwrap();
    let started = Instant::now();
    while only.leadership().is_none_or(|leadership| leadership.epoch() == first.epoch()) {
        assert!(started.elapsed() < PATIENCE, "the same term goes on");
        sleep(Duration::from_millis(20)).await;
    }
    only.resign().await;
}

async fn a_fence_holds_for_one_term(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    candidate: &impl Fn(&str, &str) -> Election,
) {
    let key = keyspace.key("fenced");
    let write = |leadership: &Leadership| Transaction {
        compares: vec![leadership.fence()],
        then: vec![Operation::Put {
            key: key.clone(),
            value: leadership.epoch().to_string().into(),
            lease: None,
        }],
        ..Transaction::default()
    };
    let first = candidate("writer", "lobby-a");
    let old = lead(&first).await;
    assert!(directory.commit(write(&old)).await.unwrap().succeeded);
    first.resign().await;
    assert!(!directory.commit(write(&old)).await.unwrap().succeeded, "nobody leads");
    let second = candidate("writer", "lobby-b");
    let new = lead(&second).await;
    assert!(!directory.commit(write(&old)).await.unwrap().succeeded, "another leads");
    assert!(directory.commit(write(&new)).await.unwrap().succeeded);
    assert_eq!(directory.get(&key).await.unwrap().entry.unwrap().value, new.epoch().to_string().as_bytes());
    second.resign().await;
}
