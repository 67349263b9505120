//! The directory, the registrations and the views, under paused time.

use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::directory::{Directory, HISTORY_REVISIONS_MAX, MemoryDirectory, WatchError};
use tiltyard_cluster::election::Election;
use tiltyard_cluster::epoch::{self, ClaimError, Ownership};
use tiltyard_cluster::node::{
    Keyspace, Load, NodeRecord, Record, RegisterError, Registration, RegistrationConfig, View, ViewConfig,
};
use tiltyard_cluster::testing::{Fault, Faulty, conformance, elections};
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tokio::time::{Instant, sleep, timeout};

fn record(name: &str, instance: u64) -> NodeRecord {
    let id = NodeId::parse(name).unwrap();
    NodeRecord::new(id, instance, "127.0.0.1:9".parse().unwrap(), vec![], [7; 16], "test")
}

async fn register(
    directory: &Arc<dyn Directory>,
    record: NodeRecord,
) -> Result<Registration<NodeRecord>, RegisterError> {
    let config = RegistrationConfig::default();
    Registration::start(Arc::clone(directory), Keyspace::default(), record, config).await
}

fn view(directory: &Arc<dyn Directory>) -> View<NodeRecord> {
    View::start(Arc::clone(directory), &Keyspace::default(), ViewConfig::default())
}

fn names(view: &View<NodeRecord>) -> Vec<String> {
    view.current().records.keys().map(ToString::to_string).collect()
}

/// Waits until the view shows these names; answers how long that took.
async fn until(view: &View<NodeRecord>, expected: &[&str]) -> Duration {
    let started = Instant::now();
    let mut states = view.subscribe();
    let shown =
        states.wait_for(|listed| listed.records.keys().map(NodeId::as_str).eq(expected.iter().copied()));
    timeout(Duration::from_secs(60), shown).await.expect("the view converges").unwrap();
    started.elapsed()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_embedded_directory_conforms() {
    conformance(Arc::new(MemoryDirectory::new()), "/conformance", 2 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn elections_hold_on_the_embedded_directory() {
    elections(Arc::new(MemoryDirectory::new()), &Keyspace::default(), 2 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_begins_and_comes_back_as_a_candidate() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    for fault in [Fault::Away, Fault::Silent] {
        let way = Arc::new(Faulty::new(Arc::clone(&memory)));
        let candidate = |directory: &Arc<dyn Directory>, name: &str| {
            let (name, config) = (NodeId::parse(name).unwrap(), RegistrationConfig::default());
            Election::start(Arc::clone(directory), &Keyspace::default(), "matchmaker", name, config)
        };
        let cut_off = candidate(&(Arc::clone(&way) as Arc<dyn Directory>), "a");
        let first = cut_off.lead().await;
        let other = candidate(&memory, "b");
        // In the middle between two keep-alives.
        sleep(SECOND / 2).await;
        way.set(fault);
        let mut both = 0;
        let started = Instant::now();
        while other.leadership().is_none() {
            sleep(SECOND / 1_000).await;
            both += u32::from(cut_off.leadership().is_some() && other.leadership().is_some());
            assert!(started.elapsed() < 2 * RegistrationConfig::default().ttl, "{fault:?}: nobody leads");
        }
        assert_eq!(both, 0, "{fault:?}");
        assert!(cut_off.leadership().is_none());
        assert_eq!(Some(other.leadership().unwrap().epoch()), first.epoch().next());
        way.set(Fault::None);
        sleep(10 * SECOND).await;
        assert!(cut_off.leadership().is_none() && other.leadership().is_some());
        other.resign().await;
        cut_off.lead().await;
        cut_off.resign().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_behind_a_way_without_fault_conforms() {
    let faulty = Faulty::new(Arc::new(MemoryDirectory::new()));
    conformance(Arc::new(faulty), "/conformance", 2 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn history_is_bounded_and_a_watcher_that_slept_through_it_is_told() {
    let directory = MemoryDirectory::new();
    let first = directory.put("/k", vec![], None).await.unwrap();
    let mut watch = directory.watch("/k", first.next()).await.unwrap();
    for _ in 0..=HISTORY_REVISIONS_MAX {
        directory.put("/k", vec![], None).await.unwrap();
    }
    assert!(matches!(watch.next().await, Err(WatchError::Compacted { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_registered_node_is_seen_with_its_newest_load_and_gone_at_once_when_it_leaves() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let view = view(&directory);
    let registration = register(&directory, record("a", 1)).await.unwrap();
    until(&view, &["a"]).await;
    registration.update(|record| {
        record.load = Load { seats_used: 5, ..Load::default() };
        record.report += 1;
    });
    sleep(SECOND / 10).await;
    assert_eq!(view.current().records.values().next().unwrap().load.seats_used, 5);
    sleep(60 * SECOND).await;
    assert_eq!(names(&view), ["a"], "a living node stays listed");
    assert_eq!(registration.counters().registrations.value(), 1);
    registration.leave().await;
    assert!(until(&view, &[]).await < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_out_of_the_list_within_its_ttl() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let view = view(&directory);
    let registration = register(&directory, record("a", 1)).await.unwrap();
    until(&view, &["a"]).await;
    drop(registration);
    let ttl = RegistrationConfig::default().ttl;
    assert!(until(&view, &[]).await <= ttl + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_replaced_within_a_second_of_the_directorys_return() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let view = view(&memory);
    for fault in [Fault::Away, Fault::Silent] {
        let way = Arc::new(Faulty::new(Arc::clone(&memory)));
        let registration = register(&(Arc::clone(&way) as Arc<dyn Directory>), record("a", 1)).await.unwrap();
        until(&view, &["a"]).await;
        way.set(fault);
        sleep(60 * SECOND).await;
        assert!(names(&view).is_empty());
        assert!(registration.certain_until().is_none_or(|until| until < Instant::now()));
        way.set(Fault::None);
        assert!(until(&view, &["a"]).await <= SECOND, "{fault:?}");
        assert_eq!(registration.counters().leases_lost.value(), 1);
        registration.leave().await;
        until(&view, &[]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_revoked_is_replaced_without_an_outage() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let view = view(&directory);
    let registration = register(&directory, record("a", 1)).await.unwrap();
    until(&view, &["a"]).await;
    let key = record("a", 1).key(&Keyspace::default());
    let lease = directory.get(&key).await.unwrap().entry.unwrap().lease.unwrap();
    directory.revoke(lease).await.unwrap();
    until(&view, &[]).await;
    assert!(until(&view, &["a"]).await <= RegistrationConfig::default().ttl / 3 + SECOND);
    assert!(registration.certain_until().unwrap() > Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_waits_for_its_predecessors_lease_and_a_living_namesake_keeps_its_name() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    drop(register(&directory, record("a", 1)).await.unwrap());
    let second = register(&directory, record("a", 2)).await.unwrap();
    let third = register(&directory, record("a", 3)).await;
    assert!(matches!(third, Err(RegisterError::NameTaken { name, .. }) if name == "a"));
    let key = record("a", 0).key(&Keyspace::default());
    let stored = directory.get(&key).await.unwrap().entry.unwrap();
    assert_eq!(NodeRecord::parse(&stored.value).unwrap().instance, 2);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_cannot_register_at_start_names_the_address_and_gives_up_in_time() {
    for fault in [Fault::Away, Fault::Silent] {
        let way = Arc::new(Faulty::new(Arc::new(MemoryDirectory::new())));
        way.set(fault);
        let started = Instant::now();
        let refused = register(&(way as Arc<dyn Directory>), record("a", 1)).await.err();
        assert!(
            matches!(&refused, Some(RegisterError::Unavailable { address, .. }) if address == "faulty memory")
        );
        assert!(started.elapsed() <= RegistrationConfig::default().start_timeout + 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_keeps_what_it_knew_while_the_directory_is_away_and_heals_within_three_seconds() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let _a = register(&memory, record("a", 1)).await.unwrap();
    for fault in [Fault::Away, Fault::Silent] {
        let way = Arc::new(Faulty::new(Arc::clone(&memory)));
        let view = view(&(Arc::clone(&way) as Arc<dyn Directory>));
        until(&view, &["a"]).await;
        way.set(fault);
        sleep(10 * SECOND).await;
        let b = register(&memory, record("b", 1)).await.unwrap();
        sleep(50 * SECOND).await;
        assert_eq!(names(&view), ["a"]);
        assert!(view.age().unwrap() >= 59 * SECOND);
        way.set(Fault::None);
        assert!(until(&view, &["a", "b"]).await <= 3 * SECOND, "{fault:?}");
        assert!(view.age().unwrap() <= SECOND);
        b.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_died_silently_is_found_out_within_three_seconds() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let way = Arc::new(Faulty::new(Arc::clone(&memory)));
    let view = view(&(Arc::clone(&way) as Arc<dyn Directory>));
    sleep(SECOND).await;
    way.set(Fault::DeadWatches);
    sleep(SECOND / 100).await;
    way.set(Fault::None);
    let _a = register(&memory, record("a", 1)).await.unwrap();
    assert!(until(&view, &["a"]).await <= 3 * SECOND);
    assert_eq!(view.counters().watches_silent.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_view_whose_history_was_compacted_lists_again_and_keeps_no_dead_node() {
    let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let way = Arc::new(Faulty::new(Arc::clone(&memory)));
    let view = view(&(Arc::clone(&way) as Arc<dyn Directory>));
    let gone = register(&memory, record("gone", 1)).await.unwrap();
    until(&view, &["gone"]).await;
    way.set(Fault::DeadWatches);
    sleep(SECOND / 100).await;
    gone.leave().await;
    let _new = register(&memory, record("new", 1)).await.unwrap();
    memory.compact(memory.get("/x").await.unwrap().revision).await.unwrap();
    way.set(Fault::None);
    until(&view, &["new"]).await;
    // A watch that is passed by a compaction in the middle of its life.
    let at = memory.get("/x").await.unwrap().revision;
    let mut watch = memory.watch("/tiltyard", at.next()).await.unwrap();
    for _ in 0..3 {
        memory.put("/tiltyard/nodes/garbage", b"no record".to_vec(), None).await.unwrap();
    }
    memory.compact(memory.get("/x").await.unwrap().revision).await.unwrap();
    assert!(matches!(watch.next().await, Err(WatchError::Compacted { .. })));
    sleep(SECOND).await;
    assert_eq!(names(&view), ["new"], "a value that is no record is passed over");
    assert!(view.counters().records_unreadable.value() > 0);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_is_claimed_once_and_only_grows() {
    let directory = MemoryDirectory::new();
    let keyspace = Keyspace::default();
    let [a, b] = ["a", "b"].map(|name| NodeId::parse(name).unwrap());
    let owned = |epoch, owner: &NodeId| Ownership { epoch: Epoch(epoch), owner: owner.clone() };
    let lease = directory.grant(5 * SECOND).await.unwrap().id;
    let claim = async |wanted| epoch::claim(&directory, &keyspace, BattleId(1), &wanted, Some(lease)).await;
    assert_eq!(claim(owned(1, &a)).await, Ok(()));
    assert_eq!(claim(owned(1, &a)).await, Ok(()), "asking again is fine");
    assert_eq!(claim(owned(1, &b)).await, Err(ClaimError::Superseded(owned(1, &a))));
    assert_eq!(claim(owned(3, &b)).await, Ok(()), "what was raised without being claimed is no hindrance");
    for late in [owned(1, &a), owned(2, &a), owned(3, &a)] {
        assert_eq!(claim(late).await, Err(ClaimError::Superseded(owned(3, &b))));
    }
    let current = || epoch::current(&directory, &keyspace, BattleId(1));
    assert_eq!(current().await, Ok(Some(owned(3, &b))));
    sleep(6 * SECOND).await;
    assert_eq!(current().await, Ok(None), "gone with its lease");
}

#[tokio::test(start_paused = true)]
async fn of_many_takeovers_at_once_exactly_one_wins() {
    let directory = MemoryDirectory::new();
    let keyspace = Keyspace::default();
    let owned = |epoch, owner: &str| Ownership { epoch: Epoch(epoch), owner: NodeId::parse(owner).unwrap() };
    epoch::claim(&directory, &keyspace, BattleId(1), &owned(1, "first"), None).await.unwrap();
    let wanted: Vec<_> = (0..20).map(|n| owned(2, &format!("n{n}"))).collect();
    let claims = wanted.iter().map(|wanted| epoch::claim(&directory, &keyspace, BattleId(1), wanted, None));
    let won = futures_util::future::join_all(claims).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}
