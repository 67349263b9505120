//! Accounts with a name and a password: made once, entered by their password alone, limited by address.

use tiltyard_api::{ClientMessage, GateMessage, LoggedIn, Login, Logout, Register};
use tiltyard_lobby::testing::LocalLobby;

use crate::house::{Client, House, config, resume};

fn register(name: &str, password: &str) -> ClientMessage {
    let (name, password) = (name.try_into().unwrap(), password.try_into().unwrap());
    ClientMessage::Register(Register { name, password })
}

fn login(name: &str, password: &str) -> ClientMessage {
    let (name, password) = (name.try_into().unwrap(), password.try_into().unwrap());
    ClientMessage::Login(Login { name: Some(name), password: Some(password) })
}

async fn entered(house: &House, message: ClientMessage) -> (Client, LoggedIn) {
    let mut client = house.greeted().await;
    client.send(message).await;
    match client.next().await {
        GateMessage::LoggedIn(logged_in) => (client, logged_in),
        other => panic!("{other:?}"),
    }
}

async fn refused(house: &House, message: ClientMessage) -> &'static str {
    let mut client = house.greeted().await;
    client.send(message).await;
    client.code().await
}

#[tokio::test(start_paused = true)]
async fn who_registered_comes_back_by_password_from_anywhere_and_nobody_else_does() {
    let house = House::new(0).await;
    let (first, registered) = entered(&house, register("Ada", "correct horse")).await;
    drop(first);
    let other = LocalLobby::start(
        config(),
        house.directory.clone(),
        house.store.clone(),
        house.calls.clone(),
        house.clock.clone(),
    );
    let other = House { lobby: other.unwrap(), nodes: vec![], registrations: vec![], ..house };
    let (_second, again) = entered(&other, login("aDA", "correct horse")).await;
    assert_eq!((again.player, again.name.as_str()), (registered.player, "Ada"));

    for (name, password) in [("Ada", "correct horsf"), ("Ada", ""), ("Eve", "correct horse")] {
        assert_eq!(refused(&other, login(name, password)).await, "credentials", "{name} {password}");
    }
    let nameless = Login { name: None, password: Some("correct horse".try_into().unwrap()) };
    assert_eq!(refused(&other, ClientMessage::Login(nameless)).await, "name");
    let (_guest, guest) = entered(&other, ClientMessage::Login(Login::default())).await;
    assert_ne!(guest.player, registered.player);
    assert_eq!(other.lobby.counter("passwords_refused"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_registered_once_with_a_password_that_is_long_enough() {
    let house = House::new(0).await;
    assert_eq!(refused(&house, register("Ada", "1234567")).await, "password");
    let (_ada, _) = entered(&house, register("Ada", "12345678")).await;
    for name in ["Ada", "ada", " ADA "] {
        assert_eq!(refused(&house, register(name, "another one")).await, "name_taken", "{name}");
    }
    for name in [" ", "a\u{202e}b"] {
        assert_eq!(refused(&house, register(name, "12345678")).await, "name");
    }
    let longest = "x".repeat(128);
    let (_ben, ben) = entered(&house, register("Ben", &longest)).await;
    let (mut session, again) = entered(&house, login("Ben", &longest)).await;
    assert_eq!(ben.player, again.player);
    session.send(register("Cid", "12345678")).await;
    assert_eq!(session.code().await, "out_of_place", "who is in is somebody already");
    let mut client = house.greeted().await;
    client.text(&format!(r#"{{"type":"register","name":"Dan","password":"{longest}x"}}"#)).await;
    assert_eq!(client.code().await, "malformed");
    assert_eq!(house.store.counts().await.unwrap().accounts, 2);
}

#[tokio::test(start_paused = true)]
async fn logging_out_ends_the_tokens_of_an_account_and_its_password_opens_new_ones() {
    let house = House::new(0).await;
    let (mut client, registered) = entered(&house, register("Ada", "correct horse")).await;
    client.send(ClientMessage::Logout(Logout {})).await;
    assert!(matches!(client.next().await, GateMessage::LoggedOut(_)));
    assert_eq!(refused(&house, resume(registered.session.as_str())).await, "session_refused");
    let (_, again) = entered(&house, login("Ada", "correct horse")).await;
    let (_, resumed) = house.resumed(again.session.as_str()).await;
    assert_eq!(resumed.player, registered.player);
}

#[tokio::test(start_paused = true)]
async fn an_address_tries_so_many_passwords_a_minute_whichever_way() {
    let house = House::new(0).await;
    let mut client = house.greeted_from("10.0.0.1").await;
    for message in [register("Ada", "correct horse"), login("Ada", "wrong"), login("Eve", "wrong")] {
        client.send(message).await;
        assert!(matches!(client.next().await, GateMessage::LoggedIn(_) | GateMessage::Error(_)));
        client = house.greeted_from("10.0.0.1").await;
    }
    // The rest of two minutes of thirty.
    for _ in 3..60 {
        client.send(ClientMessage::Login(Login::default())).await;
        assert!(matches!(client.next().await, GateMessage::LoggedIn(_)));
        client = house.greeted_from("10.0.0.1").await;
    }
    for message in [register("Ben", "correct horse"), login("Ada", "correct horse")] {
        client.send(message).await;
        let (code, retry_after_ms) = client.refusal().await;
        assert_eq!(code, "rate_limited");
        assert!((1..=2_000).contains(&retry_after_ms), "{retry_after_ms}");
    }
    // Elsewhere the password does.
    let mut elsewhere = house.greeted_from("10.0.0.2").await;
    elsewhere.send(login("Ada", "correct horse")).await;
    assert!(matches!(elsewhere.next().await, GateMessage::LoggedIn(_)));
}
