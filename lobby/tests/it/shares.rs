//! What one address may ask of the house, under paused time.

use std::sync::Arc;
use std::time::Duration;

use crate::house::{Client, House, config, queue, settlement};
use tiltyard_api::{Cancel, ClientMessage, GateMessage, Issue, Login, Logout};
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_lobby::GateLimits;

const HERE: &str = "192.0.2.1";
const THERE: &str = "2001:db8::1";

async fn house() -> House {
    let mut config = config();
    config.gate_limits = GateLimits {
        logins_per_minute: 6,
        tickets_per_minute: 3,
        fresh_battles_per_minute: 4,
        fresh_battles_max: 3,
        ..GateLimits::default()
    };
    House::with(1, config, Arc::new(MemoryDirectory::new())).await
}

fn issue() -> ClientMessage {
    ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })
}

async fn fresh_battle(client: &mut Client) -> BattleId {
    client.send(issue()).await;
    BattleId(client.ready().await.battle.0)
}

#[tokio::test(start_paused = true)]
async fn an_address_makes_so_many_guests_a_minute_and_hears_when_it_may_go_on() {
    let house = house().await;
    for _ in 0..12 {
        drop(house.guest_from(HERE).await);
    }
    let mut surplus = house.greeted_from(HERE).await;
    surplus.send(ClientMessage::Login(Login::default())).await;
    let (code, wait_ms) = surplus.refusal().await;
    assert_eq!((code, wait_ms.div_ceil(1_000)), ("rate_limited", 10));
    house.guest_from(THERE).await;
    for _ in 0..30 {
        house.guest_from("127.0.0.1").await;
    }
    tokio::time::sleep(Duration::from_millis(wait_ms - 100)).await;
    // The gate waits no longer for the login of the one who was refused.
    let mut surplus = house.greeted_from(HERE).await;
    surplus.send(ClientMessage::Login(Login::default())).await;
    assert_eq!(surplus.code().await, "rate_limited");
    tokio::time::sleep(Duration::from_millis(100)).await;
    surplus.send(ClientMessage::Login(Login::default())).await;
    assert!(matches!(surplus.next().await, GateMessage::LoggedIn(_)));
    assert_eq!(house.lobby.counter("logins_limited"), 2);
    assert_eq!(house.lobby.counter("logins"), 44);
}

#[tokio::test(start_paused = true)]
async fn coming_back_with_a_session_is_no_login() {
    let house = house().await;
    let (client, session) = house.player("Ada").await;
    drop(client);
    for _ in 0..12 {
        house.guest_from(HERE).await;
    }
    let mut client = house.greeted_from(HERE).await;
    client.send(crate::house::resume(&session)).await;
    assert!(matches!(client.next().await, GateMessage::LoggedIn(_)));
}

#[tokio::test(start_paused = true)]
async fn an_address_queues_so_many_tickets_a_minute_whoever_queues_them() {
    let house = house().await;
    for _ in 0..6 {
        let mut client = house.guest_from(HERE).await;
        client.queue("five").await;
        client.send(ClientMessage::Cancel(Cancel {})).await;
        assert!(matches!(client.next().await, GateMessage::Cancelled(_)));
    }
    let mut surplus = house.guest_from(HERE).await;
    surplus.send(queue("five")).await;
    let (code, wait_ms) = surplus.refusal().await;
    assert_eq!((code, wait_ms.div_ceil(1_000)), ("rate_limited", 20));
    house.guest_from(THERE).await.queue("five").await;
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    surplus.queue("five").await;
    assert_eq!(house.lobby.counter("tickets_limited"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_fresh_battles_at_once_and_more_when_they_end() {
    let house = house().await;
    let mut battles = Vec::new();
    for _ in 0..3 {
        let mut client = house.guest_from(HERE).await;
        battles.push(fresh_battle(&mut client).await);
        // Leaving the battle alone does not end it.
        client.send(ClientMessage::Logout(Logout {})).await;
        assert!(matches!(client.next().await, GateMessage::LoggedOut(_)));
    }
    let mut surplus = house.guest_from(HERE).await;
    surplus.send(issue()).await;
    assert_eq!(surplus.refusal().await, ("full", 5_000));
    assert_eq!(house.lobby.counter("fresh_battles_refused_full"), 1);
    fresh_battle(&mut house.guest_from(THERE).await).await;
    house.lobby.result_sink().settle(settlement(battles[1], Epoch(1))).await;
    fresh_battle(&mut surplus).await;
    let mut late = house.guest_from(HERE).await;
    late.send(issue()).await;
    assert_eq!(late.code().await, "full");
}

#[tokio::test(start_paused = true)]
async fn an_address_asks_for_so_many_fresh_battles_a_minute() {
    let house = house().await;
    for _ in 0..8 {
        let battle = fresh_battle(&mut house.guest_from(HERE).await).await;
        house.lobby.result_sink().settle(settlement(battle, Epoch(1))).await;
    }
    let mut surplus = house.guest_from(HERE).await;
    surplus.send(issue()).await;
    let (code, wait_ms) = surplus.refusal().await;
    assert_eq!((code, wait_ms.div_ceil(1_000)), ("rate_limited", 15));
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    fresh_battle(&mut surplus).await;
    assert_eq!(house.lobby.counter("fresh_battles_limited"), 1);
}
