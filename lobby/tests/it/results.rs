//! Results reach the store once and the avatars of their players once, whatever is lost, away or late on the way.

use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::control::{LobbyHandler, SettleAnswer, Settlement};
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_lobby::store::{Avatar, BattleRow, BattleState, RowSeat, Store};
use tiltyard_lobby::testing::LocalLobby;

use crate::faulty_store::{Fault, FaultyStore};
use crate::house::{House, config, settlement};

const SECOND: Duration = Duration::from_secs(1);

/// A battle of two players that a node runs.
fn duel(battle: u64, players: [u64; 2]) -> BattleRow {
    let seat = |seat: u16| RowSeat {
        seat,
        team: u8::try_from(seat).unwrap(),
        player: players[usize::from(seat)],
        name: format!("player {seat}"),
        bot: false,
        loadout: 0,
    };
    BattleRow {
        battle: BattleId(battle),
        epoch: Epoch::FIRST,
        state: BattleState::Placing,
        mode: "duel".into(),
        protocol_hash: [7; 16],
        seed: battle,
        rate_hz: 30,
        ticks_max: 900,
        seats: vec![seat(0), seat(1)],
        created_unix_ms: 1,
        kid: 1,
        node: None,
        addresses: vec![],
        result: None,
    }
}

/// Battles of which each is of two players of its own.
pub(crate) async fn run_duels(store: &dyn Store, count: u64) {
    let node = settlement(BattleId(0), Epoch(1)).node;
    for battle in 1..=count {
        assert!(store.create_battle(&duel(battle, players(battle))).await.unwrap());
        assert!(store.place(BattleId(battle), Epoch(1), &node, &[]).await.unwrap());
    }
}

fn players(battle: u64) -> [u64; 2] {
    [10_000 + 2 * battle, 10_001 + 2 * battle]
}

/// Tells a result as a node's outbox does, until it is taken or refused for good; the node may stop listening before
/// the answer, and then tells it again.
pub(crate) async fn tell(sink: &dyn LobbyHandler, told: Settlement, patience: Duration) -> SettleAnswer {
    loop {
        match tokio::time::timeout(patience, sink.settle(told.clone())).await {
            Ok(SettleAnswer::TryLater) | Err(_) => tokio::time::sleep(SECOND).await,
            Ok(answer) => return answer,
        }
    }
}

/// Each of the battles has its result, and each player one battle.
pub(crate) async fn all_settled_once(store: &dyn Store, count: u64) {
    assert_eq!(store.counts().await.unwrap().results, count);
    for battle in 1..=count {
        let row = store.battle(BattleId(battle)).await.unwrap().unwrap();
        assert_eq!(row.state, BattleState::Settled);
        let [loser, winner] = players(battle);
        for (player, wins) in [(loser, 0), (winner, 1)] {
            let avatar = avatar(store, player).await;
            assert_eq!((avatar.battles, avatar.wins), (1, wins), "battle {battle}");
            assert_eq!(avatar.rating_micro > 0, wins == 1, "battle {battle}");
            assert_eq!(avatar.applied, [BattleId(battle)]);
        }
    }
}

async fn avatar(store: &dyn Store, player: u64) -> Avatar {
    store.account(player).await.unwrap().unwrap().avatar
}

async fn house() -> (Arc<FaultyStore>, House) {
    let store = Arc::new(FaultyStore::new());
    let house = House::over(store.clone(), 1, config(), Arc::new(MemoryDirectory::new())).await;
    (store, house)
}

/// Another lobby on the same store.
fn another(house: &House) -> LocalLobby {
    let House { directory, store, calls, clock, .. } = house;
    LocalLobby::start(config(), directory.clone(), store.clone(), calls.clone(), clock.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_wins_rises_and_a_result_that_is_told_again_changes_nothing() {
    let (store, house) = house().await;
    let mut clients = house.queued(2, "duel").await;
    let ready = [clients[0].ready().await, clients[1].ready().await];
    let winner = usize::from(ready[1].team == 1);
    let told = settlement(BattleId(ready[0].battle.0), Epoch(ready[0].epoch));
    let sink = house.lobby.result_sink();
    assert_eq!(sink.settle(told.clone()).await, SettleAnswer::Accepted);
    tokio::time::sleep(SECOND).await;
    let row = store.battle(told.battle).await.unwrap().unwrap();
    let seat = |team| row.seats.iter().find(|seat| seat.team == team).unwrap().player;
    let (up, down) = (avatar(&*store, seat(1)).await, avatar(&*store, seat(0)).await);
    assert_eq!((up.battles, up.wins, down.battles, down.wins), (1, 1, 1, 0));
    assert!(up.rating_micro > 1_000_000 && down.rating_micro == -up.rating_micro);
    // Told again it changes nothing, and is no other result for what the avatars are now.
    assert_eq!(sink.settle(told.clone()).await, SettleAnswer::Duplicate);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(avatar(&*store, seat(1)).await, up);
    assert_eq!(ready[winner].team, 1);
    assert_eq!(house.lobby.counter("results_applied"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_played_to_its_end_changes_no_avatar() {
    let (store, house) = house().await;
    run_duels(&*store, 1).await;
    let told = Settlement {
        ended: tiltyard_cluster::control::BattleEnd::Aborted,
        ..settlement(BattleId(1), Epoch(1))
    };
    assert_eq!(house.lobby.result_sink().settle(told).await, SettleAnswer::Accepted);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(avatar(&*store, players(1)[0]).await, Avatar::default());
}

#[tokio::test(start_paused = true)]
async fn a_result_whose_lobby_died_is_applied_by_another_one() {
    let (store, mut house) = house().await;
    run_duels(&*store, 2).await;
    // The store goes the moment the result is in it.
    store.set(Some(Fault::AwayAfterSettle));
    let sink = house.lobby.result_sink();
    assert_eq!(sink.settle(settlement(BattleId(1), Epoch(1))).await, SettleAnswer::Accepted);
    tokio::time::sleep(SECOND).await;
    let next = another(&house);
    drop(std::mem::replace(&mut house.lobby, next));
    tokio::time::sleep(63 * SECOND).await;
    store.set(None);
    assert_eq!(avatar(&*store, players(1)[0]).await.battles, 0);
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(avatar(&*store, players(1)[0]).await.battles, 1);
    assert_eq!(house.lobby.counter("results_applied"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_minute_gets_every_result_once_when_it_is_back() {
    let (store, house) = house().await;
    run_duels(&*store, 20).await;
    for fault in [Fault::Away, Fault::Silent] {
        store.set(Some(fault));
        let first = if fault == Fault::Away { 1 } else { 11 };
        let telling = (first..first + 10).map(async |battle| {
            let told = settlement(BattleId(battle), Epoch(1));
            tell(&*house.lobby.result_sink(), told, 5 * SECOND).await
        });
        let back = async {
            tokio::time::sleep(60 * SECOND).await;
            store.set(None);
        };
        let (answers, ()) = tokio::join!(futures_util::future::join_all(telling), back);
        // Of a silent store many calls were open: one of them was it, and its answer may have been nobody's any more.
        let taken = [SettleAnswer::Accepted, SettleAnswer::Duplicate];
        assert!(answers.iter().all(|answer| taken.contains(answer)), "{answers:?}");
    }
    tokio::time::sleep(15 * SECOND).await;
    all_settled_once(&*store, 20).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_before_settles_nothing_at_whichever_lobby_and_moment() {
    let (store, house) = house().await;
    run_duels(&*store, 2).await;
    let second = another(&house);
    let old = |battle| settlement(BattleId(battle), Epoch(1));
    store.raise_epoch(BattleId(1), Epoch(1)).await.unwrap();
    for sink in [house.lobby.result_sink(), second.result_sink()] {
        assert_eq!(sink.settle(old(1)).await, SettleAnswer::Stale { current: Epoch(2) });
    }
    let new = settlement(BattleId(1), Epoch(2));
    assert_eq!(second.result_sink().settle(new).await, SettleAnswer::Accepted);
    let stale = SettleAnswer::Stale { current: Epoch(2) };
    assert_eq!(house.lobby.result_sink().settle(old(1)).await, stale);
    assert_eq!(tell(&*house.lobby.result_sink(), old(2), SECOND).await, SettleAnswer::Accepted);
    tokio::time::sleep(15 * SECOND).await;
    all_settled_once(&*store, 2).await;
}

#[tokio::test(start_paused = true)]
async fn sixty_results_are_settled_once_while_answers_are_lost_and_the_store_comes_and_goes() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("SEED={seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (store, house) = house().await;
    let second = another(&house);
    let sinks = [house.lobby.result_sink(), second.result_sink()];
    run_duels(&*store, 60).await;
    let plans: Vec<_> = (1..=60).map(|battle| (battle, random(20_000), random(2), random(2))).collect();
    let telling = plans.iter().map(async |&(battle, after_ms, at, also)| {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let told = settlement(BattleId(battle), Epoch(1));
        let sink = &sinks[usize::try_from(at).unwrap()];
        // Half of the nodes tell both lobbies at once.
        let other = async {
            if also == 1 {
                tell(&*sinks[usize::try_from(1 - at).unwrap()], told.clone(), SECOND).await;
            }
        };
        let (answer, ()) = tokio::join!(tell(&**sink, told.clone(), SECOND), other);
        assert!(matches!(answer, SettleAnswer::Accepted | SettleAnswer::Duplicate), "{answer:?}");
    });
    let faults: Vec<_> = (0..40).map(|_| (random(1_000), random(5))).collect();
    let faulting = async {
        for (pause_ms, fault) in faults {
            store.set(match fault {
                0 => Some(Fault::Away),
                1 => Some(Fault::Silent),
                2 => Some(Fault::SettleAnswersLost),
                3 => Some(Fault::AwayAfterSettle),
                _ => None,
            });
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        store.set(None);
    };
    tokio::join!(futures_util::future::join_all(telling), faulting);
    tokio::time::sleep(30 * SECOND).await;
    all_settled_once(&*store, 60).await;
}
