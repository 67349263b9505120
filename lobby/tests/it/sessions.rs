//! Sessions at the gate, without sockets, under paused time; hostile input included.

use std::time::Duration;

use crate::house::{Client, House, START_UNIX_MS, config, hello, queue, resume};
use tiltyard_api::limits::CLIENT_MESSAGE_BYTES_MAX;
use tiltyard_api::{ClientMessage, GateMessage, Login, Logout, ModesWanted};
use tiltyard_cluster::Clock;
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_lobby::MasterKeys;
use tiltyard_lobby::store::EmbeddedStore;
use tiltyard_lobby::testing::{LocalLobby, store_conformance};
use tiltyard_netcode::token::MasterKey;

const SECOND: Duration = Duration::from_secs(1);

fn login(name: Option<&str>) -> ClientMessage {
    ClientMessage::Login(Login { name: name.map(|name| name.try_into().unwrap()), password: None })
}

#[tokio::test]
async fn the_embedded_store_conforms_in_memory_and_in_a_file() {
    store_conformance(std::sync::Arc::new(EmbeddedStore::in_memory()), 1_000).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lobby.redb");
    store_conformance(std::sync::Arc::new(EmbeddedStore::open(&path).unwrap()), 1_000).await;
    let again = EmbeddedStore::open(&path).expect("a closed store opens again");
    assert!(tiltyard_lobby::store::Store::account(&again, 1_000).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    let refused = EmbeddedStore::open(&path).err().unwrap();
    assert!(refused.to_string().contains("notes.txt"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_gets_the_name_asked_for_or_one_from_the_house() {
    let house = House::new(0).await;
    let mut client = house.greeted().await;
    client.send(login(None)).await;
    let GateMessage::LoggedIn(logged_in) = client.next().await else { panic!("no login") };
    assert!(logged_in.name.as_str().starts_with("guest-"));
    assert_eq!((logged_in.queued, logged_in.in_battle), (false, false));
    let mut client = house.greeted().await;
    client.send(login(Some("   "))).await;
    assert_eq!(client.code().await, "name");
    // A mark that turns what follows, a joint that nobody sees, a new line, a tag.
    for hidden in ["A\u{202e}B", "A\u{2066}", "A\u{200d}B", "A\u{2028}B", "A\u{e0041}"] {
        client.send(login(Some(hidden))).await;
        assert_eq!(client.code().await, "name", "{hidden:?}");
    }
    client.send(login(Some(" Ada "))).await;
    let GateMessage::LoggedIn(logged_in) = client.next().await else { panic!("no login") };
    assert_eq!(logged_in.name.as_str(), "Ada");
}

#[tokio::test(start_paused = true)]
async fn a_gate_lists_its_modes_before_and_after_login() {
    let house = House::new(0).await;
    let mut client = house.greeted().await;
    client.send(ClientMessage::Modes(ModesWanted {})).await;
    let GateMessage::Modes(modes) = client.next().await else { panic!("no modes") };
    let names: Vec<_> = modes.modes.as_slice().iter().map(|mode| mode.name.as_str()).collect();
    assert_eq!(names, ["five", "duel", "bots"]);
}

#[tokio::test(start_paused = true)]
async fn messages_out_of_place_are_refused_and_counted() {
    let house = House::new(0).await;
    let mut client = Client(house.lobby.connect());
    for message in [login(None), resume("x"), queue("duel"), ClientMessage::Modes(ModesWanted {})] {
        client.send(message).await;
        assert_eq!(client.code().await, "out_of_place");
    }
    client.send(hello()).await;
    assert!(matches!(client.next().await, GateMessage::Welcome(_)));
    for message in [hello(), queue("duel"), ClientMessage::Logout(Logout {})] {
        client.send(message).await;
        assert_eq!(client.code().await, "out_of_place");
    }
    client.send(login(None)).await;
    assert!(matches!(client.next().await, GateMessage::LoggedIn(_)));
    client.send(login(None)).await;
    assert_eq!(client.code().await, "out_of_place");
    assert_eq!(house.lobby.counter("messages_out_of_place"), 8);
}

#[tokio::test(start_paused = true)]
async fn another_version_is_refused_at_hello() {
    let house = House::new(0).await;
    let mut client = Client(house.lobby.connect());
    client.text(r#"{"type":"hello","version":2,"client":"x"}"#).await;
    assert_eq!(client.code().await, "version");
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_queued_is_refused_by_its_code() {
    let house = House::new(0).await;
    let (mut client, _) = house.player("Ada").await;
    client.send(queue("chess")).await;
    assert_eq!(client.code().await, "no_such_mode");
    client.text(r#"{"type":"queue","mode":"duel","party":"0000000000000001"}"#).await;
    assert_eq!(client.code().await, "no_such_party");
    client.queue("duel").await;
    client.send(queue("five")).await;
    assert_eq!(client.code().await, "already_queued");
}

#[tokio::test(start_paused = true)]
async fn the_newest_session_of_a_player_wins_and_the_old_one_is_told() {
    let house = House::new(0).await;
    let (mut old, session) = house.player("Ada").await;
    old.queue("duel").await;
    let (mut new, logged_in) = house.resumed(&session).await;
    assert!(logged_in.queued, "the ticket is the player's, not the session's");
    assert!(matches!(old.next().await, GateMessage::Replaced(_)));
    assert!(old.closed().await);
    tokio::time::sleep(30 * SECOND).await;
    new.send(queue("duel")).await;
    assert_eq!(new.code().await, "already_queued", "the old session's end took nothing along");
    assert_eq!(house.lobby.counter("sessions_replaced"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_waits_a_while_for_its_player_and_no_longer() {
    let house = House::new(1).await;
    let (mut client, session) = house.player("Ada").await;
    client.queue("duel").await;
    drop(client);
    tokio::time::sleep(SECOND).await;
    let mut other = house.queued(1, "duel").await;
    assert!(other[0].silent(5 * SECOND).await, "an absent player is not matched");
    let (client, logged_in) = house.resumed(&session).await;
    assert!(logged_in.queued);
    other[0].ready().await;
    drop((client, other));

    let (mut client, session) = house.player("Bob").await;
    client.queue("duel").await;
    drop(client);
    tokio::time::sleep(config().waits.absence_max + SECOND).await;
    let (_client, logged_in) = house.resumed(&session).await;
    assert!(!logged_in.queued);
    assert_eq!(house.lobby.counter("tickets_absent"), 1);
}

#[tokio::test(start_paused = true)]
async fn session_tokens_that_are_forged_expired_or_logged_out_resume_nothing() {
    let mut short = config();
    short.waits.session_ttl = 600 * SECOND;
    let house = House::with(0, short, std::sync::Arc::new(MemoryDirectory::new())).await;
    let (mut client, session) = house.player("Ada").await;
    let mut forged = session.clone();
    forged.replace_range(20..21, if &session[20..21] == "A" { "B" } else { "A" });
    let mut stranger = house.greeted().await;
    stranger.send(resume(&forged)).await;
    assert_eq!(stranger.code().await, "session_refused");
    client.send(ClientMessage::Logout(Logout {})).await;
    assert!(matches!(client.next().await, GateMessage::LoggedOut(_)));
    assert!(client.closed().await);
    stranger.send(resume(&session)).await;
    assert_eq!(stranger.code().await, "session_refused");
    let (_, session) = house.player("Bob").await;
    tokio::time::sleep(600 * SECOND).await;
    let mut late = house.greeted().await;
    late.send(resume(&session)).await;
    assert_eq!(late.code().await, "session_expired");
    assert_eq!(house.lobby.counter("session_tokens_refused"), 3);
}

#[tokio::test(start_paused = true)]
async fn sessions_survive_one_rotation_of_the_master_keys() {
    let mut house = House::new(0).await;
    let (_, session) = house.player("Ada").await;
    let mut rotated = config();
    let key = |kid: u32, letter| MasterKey::from_bytes(kid, [letter; 32]);
    rotated.master_keys = MasterKeys::new(key(2, 1), Some(key(1, 9)));
    let (store, calls) = (house.store.clone(), house.calls.clone());
    let clock = Clock::from_tokio(START_UNIX_MS);
    house.lobby = LocalLobby::start(rotated, house.directory.clone(), store, calls, clock).unwrap();
    let (_client, logged_in) = house.resumed(&session).await;
    assert_eq!(logged_in.name.as_str(), "Ada");
    assert_ne!(logged_in.session.as_str(), session, "the new token is signed with the new key");
}

#[tokio::test(start_paused = true)]
async fn hostile_json_is_refused_counted_and_costs_its_own_session_alone() {
    let house = House::new(0).await;
    let (mut bystander, _) = house.player("Ada").await;
    let hostile = [
        "".to_owned(),
        "{".to_owned(),
        "[".repeat(4_000),
        "{\"a\":".repeat(800),
        r#"{"type":"hello","version":1,"client":"x","extra":1}"#.to_owned(),
        r#"{"type":"hello","version":1,"version":1,"client":"x"}"#.to_owned(),
        r#"{"type":"hello","version":99999,"client":"x"}"#.to_owned(),
        r#"{"type":"hello","version":1,"client":"\ud800"}"#.to_owned(),
        format!(r#"{{"type":"hello","version":1,"client":"{}"}}"#, "x".repeat(65)),
    ];
    for text in &hostile {
        let mut client = Client(house.lobby.connect());
        client.text(text).await;
        assert_eq!(client.code().await, "malformed", "{text:.60}");
        assert!(client.closed().await);
    }
    assert_eq!(house.lobby.counter("messages_malformed"), hostile.len() as u64);
    let mut client = Client(house.lobby.connect());
    client.text(&" ".repeat(CLIENT_MESSAGE_BYTES_MAX + 1)).await;
    assert_eq!(client.code().await, "too_long");
    assert!(client.closed().await);
    bystander.queue("duel").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_speaks_too_fast_is_told_and_one_that_goes_on_is_closed() {
    let house = House::new(0).await;
    let (mut client, _) = house.player("Ada").await;
    let mut limited = 0;
    let mut open = true;
    for _ in 0..200 {
        if !client.0.send(ClientMessage::Modes(ModesWanted {})).await {
            open = false;
            break;
        }
        match client.0.receive().await {
            Some(GateMessage::Modes(_)) => {}
            Some(GateMessage::Error(error)) => {
                assert_eq!(error.code.as_str(), "rate_limited");
                assert!(error.retry_after_ms > 0);
                limited += 1;
            }
            None => {
                open = false;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!open, "a flood is closed");
    assert!(limited > 0);
    assert!(house.lobby.counter("messages_rate_limited") > limited);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_log_in_in_time_is_closed_and_who_is_idle_is_closed_later() {
    let house = House::new(0).await;
    let limits = config().gate_limits;
    let started = tokio::time::Instant::now();
    let mut mute = Client(house.lobby.connect());
    assert_eq!(mute.code().await, "timed_out");
    assert!(mute.closed().await);
    assert_eq!(started.elapsed().as_secs(), limits.handshake_timeout.as_secs());
    // Saying hello again and again buys no time.
    let mut greeted = house.greeted().await;
    tokio::time::sleep(limits.handshake_timeout - SECOND).await;
    greeted.send(ClientMessage::Modes(ModesWanted {})).await;
    assert!(matches!(greeted.next().await, GateMessage::Modes(_)));
    let before = tokio::time::Instant::now();
    assert_eq!(greeted.code().await, "timed_out");
    assert!(before.elapsed() <= SECOND);
    let (mut idle, _) = house.player("Ada").await;
    let since = tokio::time::Instant::now();
    assert_eq!(idle.code().await, "timed_out");
    assert_eq!(since.elapsed().as_secs(), limits.idle_timeout.as_secs());
    assert_eq!(house.lobby.counter("sessions_unauthenticated_timeout"), 2);
    assert_eq!(house.lobby.counter("sessions_idle"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed_and_its_ticket_dropped() {
    let mut limits = config();
    limits.gate_limits.messages_per_second = 1_000;
    limits.gate_limits.messages_burst = 1_000;
    let house = House::with(0, limits, std::sync::Arc::new(MemoryDirectory::new())).await;
    let (mut client, _) = house.player("Ada").await;
    client.queue("duel").await;
    for _ in 0..200 {
        let sent = tokio::time::timeout(SECOND / 10, client.0.send(ClientMessage::Modes(ModesWanted {})));
        if sent.await.is_err() {
            break;
        }
    }
    tokio::time::sleep(config().gate_limits.write_timeout + config().waits.absence_max + SECOND).await;
    assert_eq!(house.lobby.counter("sessions_slow"), 1);
    assert_eq!(house.lobby.counter("tickets_absent"), 1);
}
