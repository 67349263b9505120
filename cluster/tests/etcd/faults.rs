//! What happens to registrations and views when etcd is away, hangs, forgets or changes its leader.
//!
//! How long each took is printed. On a machine that has other things to do the promised times are missed now and
//! then, so they are held to `SLACK` times as much, and exactly with `STRICT=1`. `OUTAGE_SECONDS` says how long etcd
//! is away (default 3).

use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::NodeId;
use tiltyard_cluster::directory::{Directory, EtcdDirectory};
use tiltyard_cluster::node::{
    Keyspace, NodeRecord, Record as _, Registration, RegistrationConfig, View, ViewConfig,
};
use tokio::time::{Instant, sleep, timeout};

use crate::link::Link;
use crate::server::{Server, answers};
use crate::{directory, say, skip};

const SECOND: Duration = Duration::from_secs(1);
const SLACK: u32 = 5;
/// A lease that does not end because a busy machine was slow.
const LONG: Duration = Duration::from_secs(60);
/// The lease that nodes have by default.
const TTL: Duration = Duration::from_secs(5);
/// Everything is as it was so soon after etcd is back.
const HEALED: Duration = Duration::from_secs(3);
/// ... and so soon after a member hung that may have been the leader: an election, and a call's time for each member
/// that was asked in vain.
const LEFT: Duration = Duration::from_secs(5);

fn within(what: &str, took: Duration, promised: Duration) {
    let slack = if std::env::var_os("STRICT").is_some() { 1 } else { SLACK };
    say(&format!("{what}: {} ms, promised {} ms", took.as_millis(), promised.as_millis()));
    assert!(took <= promised * slack, "{what}: {} ms", took.as_millis());
}

fn outage() -> Duration {
    let seconds =
        std::env::var("OUTAGE_SECONDS").map_or(3, |text| text.parse().expect("OUTAGE_SECONDS is a number"));
    Duration::from_secs(seconds)
}

fn record(name: &str) -> NodeRecord {
    let id = NodeId::parse(name).unwrap();
    NodeRecord::new(id, 1, "127.0.0.1:9".parse().unwrap(), vec![], [7; 16], "test")
}

async fn register(directory: &Arc<EtcdDirectory>, name: &str, ttl: Duration) -> Registration<NodeRecord> {
    let directory = Arc::clone(directory) as Arc<dyn Directory>;
    // Members come up slowly on a busy machine; this is about what comes later.
    let config = RegistrationConfig { ttl, start_timeout: 60 * SECOND, ..RegistrationConfig::default() };
    Registration::start(directory, Keyspace::default(), record(name), config).await.unwrap()
}

fn view(directory: &Arc<EtcdDirectory>) -> View<NodeRecord> {
    let directory = Arc::clone(directory) as Arc<dyn Directory>;
    View::start(directory, &Keyspace::default(), ViewConfig::default())
}

/// A node that is registered in an etcd of its own, and a view that shows it.
struct Scene {
    server: Server,
    directory: Arc<EtcdDirectory>,
    a: Registration<NodeRecord>,
    view: View<NodeRecord>,
}

/// Sets the scene on so many members for a test; nothing where there is no etcd, which is told by the test's name.
async fn scene(test: &str, members: usize, ttl: Duration) -> Option<Scene> {
    let Some(server) = Server::start(members).await else {
        skip(test, "no etcd");
        return None;
    };
    let directory = Arc::new(directory(&server.urls()));
    let (a, view) = (register(&directory, "a", ttl).await, view(&directory));
    until(&view, &["a"]).await;
    Some(Scene { server, directory, a, view })
}

/// How long until the view shows these names and no other.
async fn until(view: &View<NodeRecord>, names: &[&str]) -> Duration {
    let started = Instant::now();
    let mut states = view.subscribe();
    let shown = states.wait_for(|listed| listed.records.keys().map(NodeId::as_str).eq(names.iter().copied()));
    timeout(60 * SECOND, shown).await.expect("the view converges").unwrap();
    started.elapsed()
}

/// How long until what the node reports now is seen.
async fn until_reported(registration: &Registration<NodeRecord>, view: &View<NodeRecord>) -> Duration {
    let started = Instant::now();
    let seats = 1 + view.current().records.values().map(|node| node.load.seats_used).max().unwrap_or(0);
    registration.update(|node| node.load.seats_used = seats);
    let mut states = view.subscribe();
    let shown = states.wait_for(|listed| listed.records.values().any(|node| node.load.seats_used == seats));
    timeout(60 * SECOND, shown).await.expect("a report is seen").unwrap();
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_killed_is_used_again_within_three_seconds_of_its_return() {
    let name = "an_etcd_that_was_killed_is_used_again_within_three_seconds_of_its_return";
    let Some(Scene { mut server, a, view, .. }) = scene(name, 1, TTL).await else { return };
    server.kill(0);
    sleep(outage()).await;
    assert_eq!(view.current().records.len(), 1, "what was known stays");
    assert!(view.age().unwrap() >= outage() - SECOND);
    server.restart(0);
    server.ready().await;
    within("healed after etcd was killed", until_reported(&a, &view).await, HEALED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_hung_for_longer_than_a_lease_gets_every_registration_back() {
    let name = "an_etcd_that_hung_for_longer_than_a_lease_gets_every_registration_back";
    let Some(Scene { server, directory, a, view }) = scene(name, 1, TTL).await else { return };
    server.pause(0);
    sleep(outage().max(TTL + 2 * SECOND)).await;
    assert!(a.certain_until().is_none_or(|until| until < Instant::now()));
    server.resume(0);
    answers(&directory).await;
    within("healed after etcd hung", until_reported(&a, &view).await, HEALED);
    // etcd ends the lease some time after it goes on, if it does; then the node registers anew.
    sleep(2 * SECOND).await;
    until(&view, &["a"]).await;
    assert!(a.certain_until().is_some_and(|until| until > Instant::now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_lost_is_replaced_as_soon_as_that_is_heard() {
    let name = "a_lease_that_is_lost_is_replaced_as_soon_as_that_is_heard";
    let Some(Scene { server: _server, directory, a, view }) = scene(name, 1, TTL).await else { return };
    let entry = directory.get(&record("a").key(&Keyspace::default())).await.unwrap().entry.unwrap();
    directory.revoke(entry.lease.unwrap()).await.unwrap();
    // The next report finds the lease gone; a node makes one every half a second.
    within("registered again after a lost lease", until_reported(&a, &view).await, SECOND);
    assert_eq!(a.counters().leases_lost.value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_a_link_that_died_silently_is_replaced_within_three_seconds() {
    let name = "a_watch_over_a_link_that_died_silently_is_replaced_within_three_seconds";
    let Some(server) = Server::start(1).await else { return skip(name, "no etcd") };
    let link = Link::to(server.address(0)).await;
    let (near, far) = (Arc::new(directory(&link.url())), Arc::new(directory(&server.urls())));
    let (a, view) = (register(&far, "a", TTL).await, view(&near));
    until(&view, &["a"]).await;
    link.swallow();
    link.open();
    within("a dead watch replaced", until_reported(&a, &view).await, HEALED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_history_was_compacted_meanwhile_keeps_no_dead_node() {
    let name = "a_view_whose_history_was_compacted_meanwhile_keeps_no_dead_node";
    let Some(server) = Server::start(1).await else { return skip(name, "no etcd") };
    let link = Link::to(server.address(0)).await;
    let (near, far) = (Arc::new(directory(&link.url())), Arc::new(directory(&server.urls())));
    let (a, view) = (register(&far, "a", TTL).await, view(&near));
    until(&view, &["a"]).await;
    link.swallow();
    a.leave().await;
    let _b = register(&far, "b", TTL).await;
    far.compact(far.get("/x").await.unwrap().revision).await.unwrap();
    sleep(outage()).await;
    assert_eq!(view.current().records.len(), 1, "what was known stays");
    link.open();
    within("healed after a compaction", until(&view, &["b"]).await, HEALED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_costs_no_registration() {
    let name = "a_new_leader_costs_no_registration";
    let Some(Scene { mut server, a, view, .. }) = scene(name, 3, LONG).await else { return };
    // Every member leads or follows by turns, so that the one in use is killed too.
    for _ in 0..3 {
        let leader = server.leader();
        server.kill(leader);
        within("healed after the leader was killed", until_reported(&a, &view).await, HEALED);
        server.restart(leader);
        server.ready().await;
    }
    assert_eq!(a.counters().leases_lost.value(), 0, "registered under one lease throughout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_is_left_for_another() {
    let name = "a_member_that_hangs_is_left_for_another";
    let Some(Scene { server, a, view, .. }) = scene(name, 3, LONG).await else { return };
    for member in 0..3 {
        server.pause(member);
        within("healed while a member hangs", until_reported(&a, &view).await, LEFT);
        server.resume(member);
        server.ready().await;
    }
    assert_eq!(a.counters().leases_lost.value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_majority_is_away_and_comes_back() {
    let name = "a_cluster_without_a_majority_is_away_and_comes_back";
    let Some(Scene { mut server, directory, a, view }) = scene(name, 3, TTL).await else { return };
    server.kill(0);
    server.kill(1);
    sleep(outage()).await;
    assert!(!matches!(timeout(SECOND, directory.put("/x", vec![], None)).await, Ok(Ok(_))));
    assert_eq!(view.current().records.len(), 1, "what was known stays");
    server.restart(0);
    server.restart(1);
    server.ready().await;
    within("healed after the majority was back", until_reported(&a, &view).await, HEALED);
}
