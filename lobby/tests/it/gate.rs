//! The gate over real loopback sockets: these few tests are what cannot be said without one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tiltyard_api::{ClientMessage, GateMessage, Issue, Login};
use tiltyard_cluster::control::{ControlClient, LobbyCalls, Peer, SettleAnswer};
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::node::{Keyspace, LobbyRecord, Record};
use tiltyard_cluster::{BattleId, Clock, Epoch};
use tiltyard_lobby::store::Store;
use tiltyard_lobby::{Lobby, LobbyConfig, StatusServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{House, cluster_keys, config, hello, settlement};

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

/// A lobby on loopback beside a house whose nodes, directory and store it shares.
async fn lobby(config: LobbyConfig) -> (House, Lobby) {
    let house = House::with(1, config.clone(), Arc::new(MemoryDirectory::new())).await;
    let directory = house.directory.clone();
    let lobby = Lobby::start(config, directory, house.store.clone(), house.calls.clone(), Clock::system());
    let lobby = lobby.await.unwrap();
    while lobby.not_ready().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (house, lobby)
}

fn counter(lobby: &Lobby, name: &str) -> u64 {
    lobby.counters().into_iter().find(|(known, _)| *known == name).unwrap().1
}

async fn counted(lobby: &Lobby, name: &str, expected: u64) -> bool {
    let started = Instant::now();
    while counter(lobby, name) < expected && started.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    counter(lobby, name) == expected
}

async fn connect(lobby: &Lobby) -> Socket {
    tokio_tungstenite::connect_async(format!("ws://{}/", lobby.gate().unwrap())).await.unwrap().0
}

async fn say(socket: &mut Socket, message: ClientMessage) {
    socket.send(Message::Text(message.to_json().into())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Option<GateMessage> {
    loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return Some(GateMessage::parse(&text).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_) | Err(_)) | None => return None,
        }
    }
}

/// Asks for the upgrade by hand; answers the socket and the answer's first line.
async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("connection: upgrade"), "{answer}");
    assert!(!answer.contains("permessage-deflate"), "no compression is agreed on");
    socket
}

/// Reads until the other side closes; answers what came, or nothing if it did not close in time.
async fn rest(socket: &mut TcpStream, wait: Duration) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match tokio::time::timeout(wait, socket.read_to_end(&mut bytes)).await {
        Ok(_) => Some(bytes),
        Err(_) => None,
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let bytes = rest(&mut socket, Duration::from_secs(5)).await.expect("an answer and its end");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn from_hello_to_result_over_real_sockets() {
    let (house, lobby) = lobby(config()).await;
    let mut socket = connect(&lobby).await;
    say(&mut socket, hello()).await;
    assert!(matches!(hear(&mut socket).await, Some(GateMessage::Welcome(_))));
    say(&mut socket, ClientMessage::Login(Login::default())).await;
    assert!(matches!(hear(&mut socket).await, Some(GateMessage::LoggedIn(_))));
    say(&mut socket, ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 0 })).await;
    let Some(GateMessage::BattleReady(ready)) = hear(&mut socket).await else { panic!("no battle") };

    // The node finds the lobby in the directory and settles over the control address.
    let record = house.directory.range(&Keyspace::default().key("lobbies/")).await.unwrap().entries.remove(0);
    let peer = LobbyRecord::parse(&record.value).unwrap().peer();
    assert_eq!(peer, Peer { id: config().id, control: lobby.control() });
    let calls = ControlClient::new(cluster_keys(), Clock::system());
    let settled = settlement(BattleId(ready.battle.0), Epoch(1));
    assert_eq!(calls.settle(&peer, &settled).await, Ok(SettleAnswer::Accepted));
    assert_eq!(calls.settle(&peer, &settled).await, Ok(SettleAnswer::Duplicate));
    assert!(matches!(hear(&mut socket).await, Some(GateMessage::BattleOver(_))));
    assert_eq!(house.store.counts().await.unwrap().results, 1);

    let store: Arc<dyn Store> = house.store.clone();
    let control = lobby.control();
    lobby.shutdown().await;
    let Some(GateMessage::Error(closing)) = hear(&mut socket).await else { panic!("not told") };
    assert_eq!(closing.code.as_str(), "closing");
    assert_eq!(hear(&mut socket).await, None);
    assert!(house.directory.range(&Keyspace::default().key("lobbies/")).await.unwrap().entries.is_empty());
    assert!(calls.settle(&peer, &settled).await.is_err());
    assert!(TcpStream::connect(control).await.is_err());
    assert_eq!(store.counts().await.unwrap().results, 1);
}

#[tokio::test]
async fn operators_read_health_readiness_and_metrics_over_a_real_socket() {
    let (house, lobby) = lobby(config()).await;
    let status = lobby.status();
    let server =
        StatusServer::start("127.0.0.1:0".parse().unwrap(), Arc::new(move |page| status.write(page)));
    let http = server.await.unwrap();
    assert!(get(http.address(), "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(http.address(), "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(http.address(), "/nothing").await.starts_with("HTTP/1.1 404"));
    let metrics = get(http.address(), "/metrics").await;
    assert!(
        metrics.contains("# TYPE tiltyard_gate_connections_total counter\ntiltyard_gate_connections_total ")
    );
    assert!(metrics.contains("\ntiltyard_nodes_listed 1\n"), "{metrics}");
    assert!(get(lobby.gate().unwrap(), "/").await.starts_with("HTTP/1.1 4"), "no upgrade, no page");
    let names: std::collections::BTreeSet<_> = lobby.counters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), lobby.counters().len(), "no counter hides another");
    lobby.shutdown().await;
    let closing = get(http.address(), "/readyz").await;
    assert!(closing.starts_with("HTTP/1.1 503") && closing.contains("closing"), "{closing}");
    drop(house);
}

#[tokio::test]
async fn slow_and_silent_peers_are_closed_in_time_over_real_sockets() {
    let mut limits = config();
    limits.gate_limits.handshake_timeout = Duration::from_millis(300);
    let (_house, lobby) = lobby(limits).await;
    let mut silent = TcpStream::connect(lobby.gate().unwrap()).await.unwrap();
    let mut after_upgrade = upgraded(lobby.gate().unwrap()).await;
    let started = Instant::now();
    let mut dripping = TcpStream::connect(lobby.gate().unwrap()).await.unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: gate\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
        if dripping.write_all(&[*byte]).await.is_err() || started.elapsed() > Duration::from_secs(5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let wait = Duration::from_secs(3);
    assert!(rest(&mut dripping, wait).await.is_some(), "a byte now and then buys no time");
    assert!(rest(&mut silent, wait).await.is_some());
    let said = rest(&mut after_upgrade, wait).await.expect("no hello, no session");
    assert!(String::from_utf8_lossy(&said).contains("timed_out"));
    assert!(counted(&lobby, "gate_refused_handshake", 2).await);
    assert!(counted(&lobby, "sessions_unauthenticated_timeout", 1).await);
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share_over_real_sockets() {
    let mut limits = config();
    limits.gate_limits.connections_per_address_max = 3;
    limits.gate_limits.limit_loopback = true;
    let (_house, lobby) = lobby(limits).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(upgraded(lobby.gate().unwrap()).await);
    }
    let mut surplus = TcpStream::connect(lobby.gate().unwrap()).await.unwrap();
    assert_eq!(rest(&mut surplus, Duration::from_secs(3)).await.unwrap_or_default(), b"");
    assert!(counted(&lobby, "gate_refused_address", 1).await);
    // A place is given back when its session ends.
    drop(taken.pop());
    let started = Instant::now();
    loop {
        let before = counter(&lobby, "gate_connections");
        let _probe = TcpStream::connect(lobby.gate().unwrap()).await.unwrap();
        if counted(&lobby, "gate_connections", before + 1).await {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "the place never came back");
    }
}

#[tokio::test]
async fn hostile_frames_are_refused_and_cost_their_own_connection_alone_over_real_sockets() {
    let (_house, lobby) = lobby(config()).await;
    let mut bystander = connect(&lobby).await;
    say(&mut bystander, hello()).await;
    assert!(matches!(hear(&mut bystander).await, Some(GateMessage::Welcome(_))));
    let mask = [0_u8; 4];
    let masked = |head: &[u8], body: &[u8]| [head, &mask, body].concat();
    let frames: [(&str, Vec<u8>); 8] = [
        ("a length of 2^32 - 1", masked(&[0x81, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], b"x")),
        (
            "a length of 2^63 and more",
            masked(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"x"),
        ),
        ("a length just above the limit", masked(&[0x81, 0xfe, 0x10, 0x01], &[b' '; 4097])),
        ("compressed, as nobody agreed to", masked(&[0xc1, 0x84], &[0, 1, 2, 3])),
        ("binary", masked(&[0x82, 0x82], b"{}")),
        ("no UTF-8", masked(&[0x81, 0x82], &[0xff, 0xfe])),
        ("an unknown operation", masked(&[0x83, 0x80], b"")),
        ("no mask", vec![0x81, 0x02, b'{', b'}']),
    ];
    let sessions = counter(&lobby, "sessions");
    for (what, frame) in &frames {
        let mut socket = upgraded(lobby.gate().unwrap()).await;
        socket.write_all(frame).await.unwrap();
        let said = rest(&mut socket, Duration::from_secs(5)).await;
        assert!(said.is_some_and(|said| said.len() < 300), "{what} is closed without many words");
    }
    // A message in endless fragments is a message above the limit.
    let mut socket = upgraded(lobby.gate().unwrap()).await;
    // The gate may close before the last of it is written.
    let _ = socket.write_all(&masked(&[0x01, 0xfe, 0x04, 0x00], &[b' '; 1024])).await;
    for _ in 0..8 {
        let _ = socket.write_all(&masked(&[0x00, 0xfe, 0x04, 0x00], &[b' '; 1024])).await;
    }
    assert!(rest(&mut socket, Duration::from_secs(5)).await.is_some());
    assert!(counted(&lobby, "sessions", sessions + 9).await);
    let refused = counter(&lobby, "messages_too_long") + counter(&lobby, "messages_malformed");
    assert_eq!(refused, 9, "{:?}", lobby.counters());
    say(&mut bystander, ClientMessage::Login(Login::default())).await;
    assert!(matches!(hear(&mut bystander).await, Some(GateMessage::LoggedIn(_))));
}
