//! A store that fails, a task that panics, two lobbies on one store: nobody is kept busy for long.

use std::sync::Arc;
use std::time::Duration;

use crate::faulty_store::{Fault, FaultyStore};
use crate::house::{Client, House, config, settlement};
use tiltyard_api::{BattleReady, ClientMessage, GateMessage, Issue, Logout, WhereIsMyBattle};
use tiltyard_cluster::control::SettleAnswer;
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_lobby::store::{BattleState, Store as _};
use tiltyard_lobby::testing::LocalLobby;

const SECOND: Duration = Duration::from_secs(1);

async fn house() -> (Arc<FaultyStore>, House) {
    let store = Arc::new(FaultyStore::new());
    let house = House::over(store.clone(), 1, config(), Arc::new(MemoryDirectory::new())).await;
    (store, house)
}

async fn where_is(client: &mut Client) -> Result<Option<BattleReady>, &'static str> {
    client.send(ClientMessage::WhereIsMyBattle(WhereIsMyBattle {})).await;
    match client.next().await {
        GateMessage::YourBattle(yours) => Ok(yours.battle.map(|battle| *battle)),
        GateMessage::Error(error) => Err(error.code.as_str()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_battle_whose_place_was_noted_unheard_keeps_nobody_busy_once_the_store_is_back() {
    let (store, house) = house().await;
    let (mut client, _) = house.player("Ada").await;
    store.set(Some(Fault::PlaceAnswerLostThenAway));
    client.send(ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })).await;
    assert_eq!(client.code().await, "internal");
    assert_eq!(where_is(&mut client).await, Err("internal"));
    let (reservation, _) = house.reserved().remove(0);
    assert_eq!(house.nodes[0].released.lock().unwrap().len(), 1);
    store.set(None);
    let row = store.battle(reservation.battle).await.unwrap().unwrap();
    assert_eq!(row.state, BattleState::Running, "the place was noted");
    tokio::time::sleep(31 * SECOND).await;
    let row = store.battle(reservation.battle).await.unwrap().unwrap();
    assert_eq!((row.state, row.epoch), (BattleState::Dissolved, Epoch(2)));
    assert_eq!(where_is(&mut client).await, Ok(None));
    client.queue("duel").await;
}

#[tokio::test(start_paused = true)]
async fn tickets_whose_placing_panics_wait_again_and_are_placed_later() {
    let (store, house) = house().await;
    store.set(Some(Fault::PanicAtRow));
    let mut clients = house.queued(2, "duel").await;
    let battle = clients[0].ready().await.battle;
    assert_eq!(clients[1].ready().await.battle, battle);
    assert_eq!(house.lobby.counter("matches"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_battle_whose_placing_panics_leaves_neither_ticket_nor_session() {
    let (store, house) = house().await;
    let (mut client, session) = house.player("Ada").await;
    store.set(Some(Fault::PanicAtRow));
    client.send(ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })).await;
    assert!(client.closed().await);
    let (mut again, logged_in) = house.resumed(&session).await;
    assert!(!logged_in.queued);
    assert_eq!(house.lobby.counter("sessions_replaced"), 0, "the session that panicked is gone");
    again.queue("duel").await;
}

#[tokio::test(start_paused = true)]
async fn a_battle_is_found_while_the_store_is_away() {
    let (store, house) = house().await;
    let (mut client, _) = house.player("Ada").await;
    client.send(ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })).await;
    let ready = client.ready().await;
    store.set(Some(Fault::Away));
    assert_eq!(where_is(&mut client).await, Ok(Some(ready)));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_another_lobby_stored_frees_the_players_of_the_one_that_placed() {
    let house = House::new(1).await;
    let mut clients = house.queued(2, "duel").await;
    let battle = BattleId(clients[0].ready().await.battle.0);
    clients[1].ready().await;
    let (store, calls) = (house.store.clone(), house.calls.clone());
    let other =
        LocalLobby::start(config(), house.directory.clone(), store, calls, house.clock.clone()).unwrap();
    let settled = settlement(battle, Epoch(1));
    assert_eq!(other.result_sink().settle(settled.clone()).await, SettleAnswer::Accepted);
    for client in &mut clients {
        assert_eq!(where_is(client).await, Ok(None));
        client.queue("five").await;
    }
    assert_eq!(house.lobby.result_sink().settle(settled).await, SettleAnswer::Duplicate);
}

#[tokio::test(start_paused = true)]
async fn a_guest_who_has_not_fought_is_in_no_store_and_comes_back_all_the_same() {
    let mut house = House::new(1).await;
    let (client, session) = house.player("Ada").await;
    drop(client);
    assert_eq!(house.store.counts().await.unwrap().accounts, 0);
    let (store, calls) = (house.store.clone(), house.calls.clone());
    house.lobby =
        LocalLobby::start(config(), house.directory.clone(), store, calls, house.clock.clone()).unwrap();
    let (mut client, logged_in) = house.resumed(&session).await;
    assert_eq!(logged_in.name.as_str(), "Ada");
    client.send(ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })).await;
    client.ready().await;
    let account = house.store.account(logged_in.player.0).await.unwrap().unwrap();
    assert_eq!((account.name.as_str(), house.store.counts().await.unwrap().accounts), ("Ada", 1));
    client.send(ClientMessage::Logout(Logout {})).await;
    assert!(matches!(client.next().await, GateMessage::LoggedOut(_)));
    let mut late = house.greeted().await;
    late.send(crate::house::resume(&session)).await;
    assert_eq!(
        late.code().await,
        "session_refused",
        "logging out ends the tokens from before the battle too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lobby_misses_a_store_that_fails_or_is_silent_and_asks_it_no_oftener_for_that() {
    let (store, house) = house().await;
    let missed_within = async |seconds: u32, missed: bool| {
        for _ in 0..seconds * 10 {
            tokio::time::sleep(SECOND / 10).await;
            // However often somebody looks.
            if (0..100).all(|_| house.lobby.misses_its_store() == missed) {
                return true;
            }
        }
        false
    };
    assert!(!house.lobby.misses_its_store());
    for (fault, seconds) in [(Fault::Away, 2), (Fault::Silent, 5)] {
        store.set(Some(fault));
        assert!(missed_within(seconds, true).await, "{fault:?}");
        let before = store.battles_read();
        assert!(!missed_within(60, false).await, "{fault:?}");
        assert!(store.battles_read() - before <= 61, "{fault:?}");
        store.set(None);
        assert!(missed_within(2, false).await, "{fault:?}");
    }
}
