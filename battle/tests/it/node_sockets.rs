//! Whole nodes, with threads and sockets on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use tiltyard_battle::{Node, NodeConfig, NodeError, Recorder};
use tiltyard_cluster::control::{
    BattleEnd, BattleKeyGrant, ClusterKeys, ClusterSecret, ControlClient, ControlServer, Handlers,
    LobbyHandler, NodeCalls as _, Peer, Refusal, Reservation, ReserveAnswer, ReservedSeat, SettleAnswer,
    Settlement,
};
use tiltyard_cluster::directory::{Directory, MemoryDirectory};
use tiltyard_cluster::epoch::{self, Ownership};
use tiltyard_cluster::node::{
    Keyspace, LobbyRecord, NodeRecord, Record as _, Registration, RegistrationConfig,
};
use tiltyard_cluster::{BattleId, Clock, Epoch, NodeId};
use tiltyard_engine::{Game as _, Registry, bytemuck};
use tiltyard_replay::Summary;

use crate::game::Pushing;
use crate::recording::play;

fn config(folder: &Path) -> NodeConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    NodeConfig {
        id: NodeId::parse("node-a").unwrap(),
        listen: any,
        advertise: None,
        tcp: true,
        websocket: None,
        quic: false,
        control: any,
        keyspace: Keyspace::parse("/tiltyard/here").unwrap(),
        workers: 1,
        battles_max: 4,
        recordings: folder.join("recordings"),
        signing_key: None,
        outbox: folder.join("outbox"),
        keyframe_seconds: 10,
        snapshot_ticks: 0,
        catch_up_max: 5,
        lease: Duration::from_secs(3600),
        load_report: Duration::from_millis(50),
        keys: ClusterKeys::new(ClusterSecret::new(1, &[7; 32]).unwrap(), None),
        build: "test".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_in_order_is_off_every_list_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(MemoryDirectory::new());
    let node = Node::<Pushing>::start(config(folder.path()), directory.clone()).await.unwrap();
    assert_eq!(directory.range("/tiltyard/here/nodes/").await.unwrap().entries.len(), 1);
    node.shutdown(Duration::from_millis(100)).await;
    assert!(
        directory.range("/tiltyard/here/nodes/").await.unwrap().entries.is_empty(),
        "its lease has an hour to live"
    );
}

/// A lobby that stores every result.
struct Sink(mpsc::Sender<Settlement>);

#[async_trait]
impl LobbyHandler for Sink {
    async fn settle(&self, settlement: Settlement) -> SettleAnswer {
        self.0.send(settlement).unwrap();
        SettleAnswer::Accepted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_settles_what_the_killed_one_before_it_left_and_settles_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    // The first battle's recording is closed, the second's is cut, the third has none.
    let recorder = Recorder::start(&config.recordings, None).unwrap();
    let closed = [play(&recorder, 1, None), play(&recorder, 2, None)].map(|closed| closed.recv().unwrap());
    assert_eq!(closed, [true, true]);
    let paths = [1, 2].map(|battle| recorder.handle().path(battle, 2));
    recorder.stop();
    let whole = fs::read(&paths[0]).unwrap();
    fs::write(&paths[1], &fs::read(&paths[1]).unwrap()[..whole.len() / 2]).unwrap();
    fs::create_dir(&config.outbox).unwrap();
    for battle in 1..=3 {
        fs::write(config.outbox.join(format!("{battle:016x}-2.running")), b"").unwrap();
    }

    let directory = Arc::new(MemoryDirectory::new());
    let node = Node::<Pushing>::start(config.clone(), directory.clone()).await.unwrap();
    // The lobby comes later than the node.
    let (sink, settled) = mpsc::channel();
    let id = NodeId::parse("lobby-a").unwrap();
    let handlers = Handlers { lobby: Some(Arc::new(Sink(sink))), ..Handlers::default() };
    let lobby =
        ControlServer::start(config.control, &id, config.keys.clone(), Clock::system(), handlers).unwrap();
    let record = LobbyRecord::new(id, 1, lobby.address(), "test");
    let lobby_registered = Registration::start(
        directory.clone(),
        config.keyspace.clone(),
        record,
        RegistrationConfig { ttl: Duration::from_secs(3600), ..RegistrationConfig::default() },
    );
    let _registered = lobby_registered.await.unwrap();
    let results: BTreeMap<BattleId, Settlement> = (0..3)
        .map(|_| settled.recv_timeout(Duration::from_secs(30)).unwrap())
        .map(|settlement| (settlement.battle, settlement))
        .collect();
    let told = |battle| {
        let result: &Settlement = &results[&BattleId(battle)];
        assert_eq!((result.epoch, &result.node), (Epoch(2), &config.id));
        (result.ended, result.ticks, result.scores.len(), result.recording_hash)
    };
    let hash = Summary::read(&whole[..]).unwrap().recording_hash;
    assert_eq!(told(1), (BattleEnd::Finished, 120, 16, hash));
    assert_ne!(results[&BattleId(1)].final_hash, 0);
    let (ended, ticks, ..) = told(2);
    assert_eq!((ended, (1..120).contains(&ticks)), (BattleEnd::Aborted, true), "{ticks}");
    assert_eq!(told(3), (BattleEnd::Aborted, 0, 0, [0; 32]));
    node.shutdown(Duration::from_secs(5)).await;
    assert_eq!(fs::read_dir(&config.outbox).unwrap().count(), 0);
    let again = Node::<Pushing>::start(config, directory).await.unwrap();
    again.shutdown(Duration::from_millis(100)).await;
    assert!(settled.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_all_addresses_is_listed_by_the_one_that_players_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = NodeConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config(folder.path()) };
    let directory = Arc::new(MemoryDirectory::new());
    let refused = Node::<Pushing>::start(config.clone(), directory.clone()).await.err().unwrap();
    assert!(matches!(refused, NodeError::Unspecified(_)), "{refused}");
    config.advertise = Some("203.0.113.7".parse().unwrap());
    let node = Node::<Pushing>::start(config, directory.clone()).await.unwrap();
    let record = directory.range("/tiltyard/here/nodes/").await.unwrap().entries.remove(0);
    let listed = NodeRecord::parse(&record.value).unwrap().addresses;
    assert_eq!(listed, node.addresses());
    assert_eq!(listed[0].ip().to_string(), "203.0.113.7");
    assert_ne!(listed[0].port(), 0);
    node.shutdown(Duration::from_millis(100)).await;
}

fn reservation(battle: u64) -> Reservation {
    let seat = ReservedSeat { seat: 0, team: 0, player: 7, name: "ada".to_owned(), bot: false, loadout: 0 };
    Reservation {
        battle: BattleId(battle),
        epoch: Epoch::FIRST,
        mode: "push".to_owned(),
        protocol_hash: Registry::of::<Pushing>().unwrap().protocol_hash::<Pushing>().0,
        setup: bytemuck::bytes_of(&Pushing::modes()[0].setup).to_vec(),
        seed: battle,
        rate_hz: 30,
        ticks_max: 10_000,
        seats: vec![seat],
        keys: vec![BattleKeyGrant { kid: 1, key: [1; 32] }],
        deadline_ms: 600_000,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_refuses_a_battle_of_another_version_of_its_game_whoever_thinks_it_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let node = Node::<Pushing>::start(config.clone(), Arc::new(MemoryDirectory::new())).await.unwrap();
    let calls = ControlClient::new(config.keys.clone(), Clock::system());
    let peer = Peer { id: config.id.clone(), control: node.control() };
    let other = Reservation { protocol_hash: [9; 16], ..reservation(1) };
    let refused = calls.reserve(&peer, &other).await.unwrap();
    assert_eq!(refused, ReserveAnswer::Refused(Refusal::ProtocolHash));
    assert!(matches!(calls.reserve(&peer, &reservation(1)).await.unwrap(), ReserveAnswer::Reserved { .. }));
    node.shutdown(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_lease_ends_the_battles_that_are_anothers_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let node = Node::<Pushing>::start(config.clone(), directory.clone()).await.unwrap();
    let calls = ControlClient::new(config.keys.clone(), Clock::system());
    let peer = Peer { id: config.id.clone(), control: node.control() };
    for battle in 1..=3 {
        let answer = calls.reserve(&peer, &reservation(battle)).await.unwrap();
        assert!(matches!(answer, ReserveAnswer::Reserved { .. }), "{answer:?}");
    }
    // The first is another's by now, the second its own, and of the third the directory knows nothing.
    let owned = |epoch, owner: &str| Ownership { epoch: Epoch(epoch), owner: NodeId::parse(owner).unwrap() };
    for (battle, ownership) in [(1, owned(2, "node-b")), (2, owned(1, "node-a"))] {
        epoch::claim(&*directory, &config.keyspace, BattleId(battle), &ownership, None).await.unwrap();
    }
    let entry = directory.range(&config.keyspace.key("nodes/")).await.unwrap().entries.remove(0);
    directory.revoke(entry.lease.unwrap()).await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while node.battles() == 3 {
        assert!(tokio::time::Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left: Vec<_> = node.running().into_iter().map(|(battle, _)| battle).collect();
    assert_eq!(left, [BattleId(2), BattleId(3)]);
    // It has no result of ours.
    assert_eq!(node.monitor().report().superseded, 1);
    node.shutdown(Duration::from_millis(100)).await;
    let results = fs::read_dir(&config.outbox).unwrap().flatten();
    let mut results: Vec<_> = results.filter_map(|file| file.file_name().into_string().ok()).collect();
    results.sort();
    assert_eq!(results, ["0000000000000002-1.json", "0000000000000003-1.json"]);
}
