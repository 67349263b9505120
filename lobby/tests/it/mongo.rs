//! The store in MongoDB on a real server, which `MONGODB_URI` names. Each test has a database of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use tiltyard_cluster::control::SettleAnswer;
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tiltyard_lobby::store::{
    Avatar, AvatarChange, BattleResult, BattleRow, BattleState, MongoOpenError, MongoStore, Ordinal, RowSeat,
    Store as _, StoreError,
};
use tiltyard_lobby::testing::{LocalLobby, store_conformance};

use crate::house::{House, config, settlement};
use crate::results::{all_settled_once, run_duels, tell};
use crate::server::Server;

/// A database that nobody else uses.
pub(crate) struct Fresh {
    pub(crate) address: String,
    client: Client,
    name: String,
}

impl Fresh {
    /// Nothing where no server is named.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let Ok(server) = std::env::var("MONGODB_URI") else {
            eprintln!("SKIPPED {test}: MONGODB_URI names no server");
            return None;
        };
        let name = format!("tiltyard_test_{:016x}", u64::from_le_bytes(tiltyard_netcode::system_random()));
        let client = Client::with_uri_str(&server).await.unwrap();
        Some(Self { address: with_database(&server, &name), client, name })
    }

    pub(crate) async fn store(&self) -> MongoStore {
        MongoStore::open(&self.address).await.unwrap()
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    pub(crate) async fn drop(self) {
        self.client.database(&self.name).drop().await.unwrap();
    }
}

/// The address of a server with the name of a database.
fn with_database(server: &str, name: &str) -> String {
    let (scheme, rest) = server.split_once("://").expect("an address has a scheme");
    let (before, options) = rest.split_once('?').map_or((rest, None), |(before, it)| (before, Some(it)));
    let hosts = before.split_once('/').map_or(before, |(hosts, _)| hosts);
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    format!("{scheme}://{hosts}/{name}{options}")
}

fn row(battle: u64, player: u64) -> BattleRow {
    BattleRow {
        battle: BattleId(battle),
        epoch: Epoch::FIRST,
        state: BattleState::Placing,
        mode: "mode".into(),
        protocol_hash: [1; 16],
        seed: 1,
        rate_hz: 30,
        ticks_max: 900,
        seats: vec![RowSeat { seat: 0, team: 0, player, name: "Ada".into(), bot: false, loadout: 0 }],
        created_unix_ms: 1,
        kid: 1,
        node: None,
        addresses: vec![],
        result: None,
    }
}

fn node() -> NodeId {
    NodeId::parse("node").unwrap()
}

#[tokio::test]
async fn mongodb_keeps_the_contract_of_a_store() {
    let Some(fresh) = Fresh::new("mongodb_keeps_the_contract_of_a_store").await else { return };
    store_conformance(Arc::new(fresh.store().await), 1).await;
    // What was made is there for the next program, and its numbers go on.
    let again = fresh.store().await;
    assert!(again.counts().await.unwrap().results > 0);
    assert!(again.take_ordinals(Ordinal::Battle, 1).await.unwrap() >= 49);
    fresh.drop().await;
}

#[tokio::test]
async fn many_lobbies_that_open_a_new_database_at_once_share_its_numbers() {
    let Some(fresh) = Fresh::new("many_lobbies_that_open_a_new_database_at_once_share_its_numbers").await
    else {
        return;
    };
    let opened = futures_util::future::join_all((0..8).map(async |_| {
        let store = fresh.store().await;
        store.take_ordinals(Ordinal::Player, 2).await.unwrap()
    }));
    let mut firsts = opened.await;
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 2, 4, 6, 8, 10, 12, 14]);
    fresh.drop().await;
}

#[tokio::test]
async fn a_database_of_a_later_program_is_refused_and_one_half_made_is_finished() {
    let Some(fresh) =
        Fresh::new("a_database_of_a_later_program_is_refused_and_one_half_made_is_finished").await
    else {
        return;
    };
    // A lobby died when it had made one of two counters.
    fresh.collection("ordinals").insert_one(doc! { "_id": "player", "next": 7_i64 }).await.unwrap();
    let store = fresh.store().await;
    assert_eq!(store.take_ordinals(Ordinal::Player, 1).await, Ok(7));
    assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Ok(0));

    let schema = fresh.collection("schema");
    let set = async |version: Bson| {
        let version = doc! { "$set": { "version": version } };
        schema.update_one(doc! { "_id": "tiltyard" }, version).await.unwrap();
        MongoStore::open(&fresh.address).await.err().unwrap()
    };
    let later = set(Bson::Int64(3)).await;
    assert!(matches!(later, MongoOpenError::Newer { found: 3, .. }), "{later}");
    assert!(later.to_string().contains("has version 3, and this program knows 2"), "{later}");
    for nonsense in ["one".into(), Bson::Int64(-1)] {
        assert!(matches!(set(nonsense).await, MongoOpenError::Foreign { .. }));
    }
    fresh.drop().await;
}

#[tokio::test]
async fn what_somebody_else_wrote_is_named_and_refused() {
    let Some(fresh) = Fresh::new("what_somebody_else_wrote_is_named_and_refused").await else { return };
    let store = fresh.store().await;
    let corrupt = |table, key| StoreError::Corrupt { table, key };

    store.create_battle(&row(5, 6)).await.unwrap();
    assert!(store.place(BattleId(5), Epoch(1), &node(), &[]).await.unwrap());
    let hurt = doc! { "$set": { "seats": "none" } };
    fresh.collection("battles").update_one(doc! { "_id": "0000000000000005" }, hurt).await.unwrap();
    assert_eq!(store.battle(BattleId(5)).await, Err(corrupt("battles", 5)));
    assert_eq!(store.battle_of(6).await, Err(corrupt("battles", 5)));
    assert_eq!(store.place(BattleId(5), Epoch(1), &node(), &[]).await, Err(corrupt("battles", 5)));

    let account = doc! { "_id": "0000000000000007", "name": 7 };
    fresh.collection("accounts").insert_one(account).await.unwrap();
    assert_eq!(store.account(7).await, Err(corrupt("accounts", 7)));

    // A counter that is gone was there once; to begin anew would give numbers twice.
    fresh.collection("ordinals").delete_one(doc! { "_id": "battle" }).await.unwrap();
    assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Err(corrupt("ordinals", 1)));
    let hurt = doc! { "$set": { "next": -5_i64 } };
    fresh.collection("ordinals").update_one(doc! { "_id": "player" }, hurt).await.unwrap();
    assert_eq!(store.take_ordinals(Ordinal::Player, 1).await, Err(corrupt("ordinals", 0)));
    fresh.drop().await;
}

#[tokio::test]
async fn a_lobby_that_dies_between_the_accounts_and_the_place_leaves_nothing_to_mend() {
    let Some(fresh) =
        Fresh::new("a_lobby_that_dies_between_the_accounts_and_the_place_leaves_nothing_to_mend").await
    else {
        return;
    };
    let store = fresh.store().await;
    store.create_battle(&row(1, 9)).await.unwrap();
    store.place(BattleId(1), Epoch(1), &node(), &[]).await.unwrap();
    // The account stands and the battle was not placed: what such a death leaves.
    let undo = doc! { "$set": { "state": "placing", "node": null } };
    fresh.collection("battles").update_one(doc! { "_id": "0000000000000001" }, undo).await.unwrap();
    assert_eq!(store.battle_of(9).await, Ok(None));
    store.end_sessions(9, 3).await.unwrap();
    store.create_battle(&row(2, 9)).await.unwrap();
    assert!(store.place(BattleId(2), Epoch(1), &node(), &[]).await.unwrap());
    assert_eq!(store.battle_of(9).await.unwrap().unwrap().battle, BattleId(2));
    assert_eq!(store.account(9).await.unwrap().unwrap().session_generation, 4, "the account stays as it was");
    assert_eq!(store.counts().await.unwrap().accounts, 1);
    fresh.drop().await;
}

#[tokio::test]
async fn a_lobby_that_dies_between_two_avatars_leaves_the_rest_to_the_next_one() {
    let Some(fresh) =
        Fresh::new("a_lobby_that_dies_between_two_avatars_leaves_the_rest_to_the_next_one").await
    else {
        return;
    };
    let store = fresh.store().await;
    run_duels(&store, 1).await;
    let change = |player, won| AvatarChange { player, won, rating_micro: 1, uncertainty_micro: -1 };
    let told = settlement(BattleId(1), Epoch(1));
    let changes = vec![change(10_002, false), change(10_003, true)];
    let result = BattleResult { changes, ..BattleResult::of(&told, 5) };
    store.settle(BattleId(1), Epoch(1), &result).await.unwrap();
    store.apply(BattleId(1)).await.unwrap();
    // As it stands when the second avatar was not written, and the mark was not taken away.
    let undo = doc! { "$unset": { "avatar": "" } };
    fresh.collection("accounts").update_one(doc! { "_id": document_key(10_003) }, undo).await.unwrap();
    let mark = doc! { "$set": { "unapplied": true } };
    fresh.collection("battles").update_one(doc! { "_id": document_key(1) }, mark).await.unwrap();
    assert_eq!(store.account(10_003).await.unwrap().unwrap().avatar, Avatar::default());
    let again = fresh.store().await;
    assert_eq!(again.unapplied(9).await.unwrap(), [BattleId(1)]);
    again.apply(BattleId(1)).await.unwrap();
    for (player, wins) in [(10_002, 0), (10_003, 1)] {
        let avatar = again.account(player).await.unwrap().unwrap().avatar;
        assert_eq!((avatar.battles, avatar.wins, avatar.rating_micro), (1, wins, 1));
    }
    assert_eq!(again.unapplied(9).await.unwrap(), []);
    fresh.drop().await;
}

fn document_key(number: u64) -> String {
    format!("{number:016x}")
}

#[tokio::test]
async fn what_is_no_mongodb_is_refused_without_its_password() {
    let said = MongoStore::open("redis://x:secret@localhost").await.err().unwrap();
    assert!(matches!(said, MongoOpenError::Address(_)), "{said}");
    // Takes connections and says nothing.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let said = MongoStore::open(&format!("mongodb://x:secret@127.0.0.1:{port}/")).await.err().unwrap();
    let chain = format!("{said}: {:?}", std::error::Error::source(&said).map(ToString::to_string));
    assert!(chain.contains(&format!("MongoDB at 127.0.0.1:{port}")), "{chain}");
    assert!(!chain.contains("secret"), "{chain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_results_survive_a_server_that_is_killed_and_one_that_hangs_and_each_counts_once() {
    let name = "sixty_results_survive_a_server_that_is_killed_and_one_that_hangs_and_each_counts_once";
    let Ok(command) = std::env::var("MONGODB_SERVER") else {
        eprintln!("SKIPPED {name}: MONGODB_SERVER says not how to start one");
        return;
    };
    let mut words = command.split(' ').map(str::to_owned);
    let program = words.next().unwrap();
    let mut server = Server::start(&program, |folder, port| {
        words.chain([format!("{folder}/data"), port.to_string()]).collect()
    })
    .await;
    let store = Arc::new(MongoStore::open(&format!("mongodb://{}/results", server.address)).await.unwrap());
    run_duels(&*store, 60).await;
    let house = House::over(store.clone(), 0, config(), Arc::new(MemoryDirectory::new())).await;
    let House { directory, calls, clock, .. } = &house;
    let second =
        LocalLobby::start(config(), directory.clone(), store.clone(), calls.clone(), clock.clone()).unwrap();
    let sinks = [house.lobby.result_sink(), second.result_sink()];

    let telling = (1..=60_u64).map(async |battle| {
        tokio::time::sleep(Duration::from_millis(100 * battle)).await;
        let told = settlement(BattleId(battle), Epoch(1));
        let sink = &sinks[usize::from(battle % 2 == 0)];
        // Some nodes do not wait for an answer as long as a store may take, and tell it again.
        let patience = Duration::from_secs(if battle % 3 == 0 { 1 } else { 20 });
        let answer = tell(&**sink, told, patience).await;
        assert!(matches!(answer, SettleAnswer::Accepted | SettleAnswer::Duplicate), "{answer:?}");
    });
    let faulting = async {
        let until = async |missed: bool| {
            let began = Instant::now();
            while house.lobby.misses_its_store() != missed {
                assert!(began.elapsed() < Duration::from_secs(60), "{missed}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            began.elapsed().as_millis()
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.kill();
        let missed_dead = until(true).await;
        server.restart().await;
        let found = until(false).await;
        server.pause();
        let missed_hung = until(true).await;
        server.resume();
        let found_again = until(false).await;
        server.kill();
        server.restart().await;
        eprintln!(
            "the lobby missed a killed server after {missed_dead} ms and found it {found} ms after it was up; \
             it missed one that hung after {missed_hung} ms and found it after {found_again} ms"
        );
    };
    tokio::join!(futures_util::future::join_all(telling), faulting);
    let began = Instant::now();
    while !store.unapplied(1).await.is_ok_and(|left| left.is_empty()) {
        assert!(began.elapsed() < Duration::from_secs(120), "a result is in no avatar");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    all_settled_once(&*store, 60).await;
}
