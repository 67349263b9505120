//! Sessions over real sockets on loopback.

#![cfg(feature = "shell")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tiltyard_netcode::limits::MESSAGE_MAX;
use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::shell::{
    Certificate, CertificateError, ClientShell, ServerShell, StreamOffer, UNPROVEN_STREAMS_PER_ADDRESS_MAX,
};
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, ClientConfig, ClientEvent, CloseReason, Counters, Epoch, Feed, HostedBattle, LaneWish,
    ServerConfig, ServerEvent, Transport, TransportWish, system_random,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BATTLE: BattleId = BattleId(1);

/// A server, and streams of TCP at the address of its datagrams, which are served until the test ends.
async fn server() -> (ServerShell, TokenFile) {
    server_with(StreamOffer { tcp: true, websocket: None }).await
}

async fn server_with(offer: StreamOffer) -> (ServerShell, TokenFile) {
    let config = ServerConfig { worker: 2, connections_max: 16, unix_offset_ms: 0, skew_ms: 5_000 };
    let (mut shell, listener) = loop {
        let shell = ServerShell::bind("127.0.0.1:0".parse().unwrap(), config.clone()).await.unwrap();
        // A port that is free for datagrams may be taken for streams.
        if let Ok(listener) = TcpListener::bind(shell.local_address().unwrap()).await {
            break (shell, listener);
        }
    };
    tokio::spawn(shell.door().serve(listener, offer));
    let key = MasterKey::from_bytes(1, system_random()).battle_key(BATTLE);
    let session_secret = SessionSecret::from_bytes(system_random());
    let claims = Claims {
        player: 1,
        seat: 0,
        team: 0,
        role: Role::Player,
        protocol_hash: [1; 16],
        issued_unix_ms: 0,
        session_secret: session_secret.clone(),
        bytes_per_second_max: 10_000_000,
        inputs_per_second_max: 100_000,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let token = mint(&key, system_random(), u64::MAX, &claims);
    let hosted = HostedBattle {
        keys: vec![key],
        epoch: Epoch(1),
        protocol_hash: [1; 16],
        rate_hz: 30,
        math_hash: 0,
        hides: false,
    };
    shell.server.host(BATTLE, hosted);
    let addresses = vec![shell.local_address().unwrap()];
    (shell, TokenFile { token, session_secret, addresses })
}

/// One that nobody but its maker has a reason to trust.
fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap()
}

/// Echoes every message on the lane of the session until the client leaves; gives why it left.
async fn echo(mut shell: ServerShell) -> CloseReason {
    loop {
        shell.wait_until(shell.now() + 1_000).await.unwrap();
        let mut messages = Vec::new();
        while let Some(event) = shell.server.poll_event() {
            match event {
                ServerEvent::Connected(_) => {}
                ServerEvent::Message { connection, bytes, .. } => messages.push((connection, bytes.to_vec())),
                ServerEvent::Disconnected { reason, .. } => return reason,
            }
        }
        let now = shell.now();
        for (connection, bytes) in messages {
            shell.server.send_feed(now, connection, &bytes).unwrap();
        }
        shell.flush().unwrap();
    }
}

async fn talk(lane: LaneWish, rebinds: bool, link: Option<LinkConfig>) {
    talk_over(TransportWish::Only(Transport::Udp), Transport::Udp, lane, rebinds, link).await;
}

/// Says fifty messages and hears them again, over what `wish` allows, which comes to `expected`.
async fn talk_over(
    wish: TransportWish,
    expected: Transport,
    lane: LaneWish,
    rebinds: bool,
    link: Option<LinkConfig>,
) {
    // Where TCP is to be found, WebSockets are not needed.
    let tcp = expected != Transport::WebSocket;
    #[cfg_attr(not(feature = "quic"), expect(unused_mut, reason = "the way in over QUIC is made in it"))]
    let (mut server, token_file) = server_with(StreamOffer { tcp, websocket: Some(certificate()) }).await;
    #[cfg(feature = "quic")]
    if expected == Transport::Quic {
        tokio::spawn(server.quic_door().unwrap().serve(certificate()));
    }
    let config = ClientConfig {
        token_file,
        feed: Feed::Snapshot,
        lane,
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        transport: wish,
        connect_sequence: 0,
    };
    let client = async {
        let mut shell = ClientShell::connect(config).await.unwrap();
        if let Some(link) = link {
            shell.set_link(link, 5);
        }
        let (mut sent, mut heard) = (0_u32, 0_u32);
        while heard < 50 {
            shell.wait_until(shell.now() + 1_000).await.unwrap();
            let mut next = false;
            while let Some(event) = shell.client.poll_event() {
                match event {
                    ClientEvent::Accepted { connection, .. } => {
                        assert_eq!(connection.worker(), 2);
                        assert_eq!(shell.client.transport_in_use(), Some(expected));
                        next = true;
                    }
                    ClientEvent::Message { bytes, .. } => {
                        assert_eq!(bytes, sent.to_le_bytes());
                        heard += 1;
                        next = true;
                    }
                    other => panic!("{other:?}"),
                }
            }
            if next {
                sent += 1;
                shell.client.send_feed(shell.now(), &sent.to_le_bytes()).unwrap();
                if rebinds && sent == 25 {
                    shell.rebind().await.unwrap();
                    // The answer to what leaves now goes to the old address: it is lost with the old socket unless the
                    // lane repeats it, and the node follows as soon as the new address has answered.
                }
                shell.flush().unwrap();
            }
        }
        shell.client.close(shell.now(), CloseReason::Left);
        while !shell.client.is_over() || shell.is_under_way() {
            shell.wait_until(shell.now() + 10).await.unwrap();
        }
        let stats = shell.link_stats();
        if expected != Transport::Udp {
            return;
        }
        assert_eq!((stats.sent > 100, stats.lost > 0), (link.is_some(), link.is_some()), "{stats:?}");
    };
    let both = async {
        let server = tokio::spawn(echo(server));
        client.await;
        assert_eq!(server.await.unwrap(), CloseReason::Left);
    };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("within 20 s");
}

#[tokio::test]
async fn real_socket_timers_act_while_strangers_keep_the_socket_busy() {
    let (mut server, token_file) = server().await;
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = token_file.addresses[0];
    let config = ClientConfig {
        token_file,
        feed: Feed::Snapshot,
        lane: LaneWish::Kcp,
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
        connect_sequence: 0,
    };
    let both = async {
        let mut client = ClientShell::connect(config).await.unwrap();
        let armed = loop {
            client.wait_until(client.now() + 1).await.unwrap();
            client.flush().unwrap();
            server.wait_until(server.now() + 1).await.unwrap();
            server.flush().unwrap();
            let connected = match server.server.poll_event() {
                Some(ServerEvent::Connected(client)) => Some(client.connection),
                _ => None,
            };
            if let Some(connection) = connected {
                server.server.send_reliable(server.now(), connection, b"due at once").unwrap();
                break server.server.poll_timeout().expect("a timer is armed");
            }
        };
        let mut rounds = 0;
        while server.server.poll_timeout().is_some_and(|at| at <= armed) {
            stranger.send_to(&[0x55; 40], address).unwrap();
            server.wait_until(server.now() + 1_000).await.unwrap();
            // Long enough for the timer to be due, in rounds as short as a datagram takes.
            rounds += 1;
            assert!(rounds < 100 || server.now().since(armed) < 200, "not served in {rounds} rounds");
        }
        assert!(server.server.counters().unknown_kind > 0);
    };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("within 20 s");
}

#[tokio::test]
async fn real_socket_session_talks_over_kcp() {
    talk(LaneWish::Kcp, false, None).await;
}

#[tokio::test]
async fn real_socket_session_talks_over_datagrams() {
    talk(LaneWish::Datagram, false, None).await;
}

#[tokio::test]
async fn real_socket_session_talks_on_auto() {
    talk(LaneWish::Auto, false, None).await;
}

#[tokio::test]
async fn f23_real_socket_session_follows_the_client_to_a_new_port() {
    talk(LaneWish::Kcp, true, None).await;
}

#[tokio::test]
async fn real_socket_session_loses_datagrams_on_a_bad_link_and_talks_on() {
    let link = LinkConfig { delay_ms: 2, jitter_ms: 2, loss: 500, ..LinkConfig::default() };
    talk(LaneWish::Kcp, false, Some(link)).await;
}

#[tokio::test]
async fn real_socket_session_talks_over_tcp_on_each_lane() {
    for lane in [LaneWish::Auto, LaneWish::Kcp] {
        talk_over(TransportWish::Only(Transport::Tcp), Transport::Tcp, lane, false, None).await;
    }
}

#[tokio::test]
async fn real_socket_session_takes_tcp_where_datagrams_do_not_come_through() {
    let nothing = LinkConfig { loss: 10_000, ..LinkConfig::default() };
    talk_over(TransportWish::Auto, Transport::Tcp, LaneWish::Auto, false, Some(nothing)).await;
}

#[tokio::test]
async fn real_socket_session_talks_over_a_websocket_on_each_lane() {
    for lane in [LaneWish::Auto, LaneWish::Kcp] {
        let wish = TransportWish::Only(Transport::WebSocket);
        talk_over(wish, Transport::WebSocket, lane, false, None).await;
    }
}

#[tokio::test]
async fn real_socket_session_takes_a_websocket_where_nothing_else_comes_through() {
    let nothing = LinkConfig { loss: 10_000, ..LinkConfig::default() };
    talk_over(TransportWish::Auto, Transport::WebSocket, LaneWish::Auto, false, Some(nothing)).await;
}

#[cfg(feature = "quic")]
mod quic {
    use super::*;

    #[tokio::test]
    async fn real_socket_session_talks_over_quic_on_each_lane() {
        for lane in [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram] {
            talk_over(TransportWish::Only(Transport::Quic), Transport::Quic, lane, false, None).await;
        }
    }

    #[tokio::test]
    async fn real_socket_session_takes_quic_where_our_own_datagrams_do_not_come_through() {
        let nothing = LinkConfig { loss: 10_000, ..LinkConfig::default() };
        talk_over(TransportWish::Auto, Transport::Quic, LaneWish::Auto, false, Some(nothing)).await;
    }

    #[tokio::test]
    async fn real_socket_datagrams_that_look_like_quic_get_no_memory_and_no_more_than_they_brought() {
        let (mut server, _) = server_with(StreamOffer { tcp: true, websocket: Some(certificate()) }).await;
        tokio::spawn(server.quic_door().unwrap().serve(certificate()));
        let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let node = server.local_address().unwrap();
        let mut sent = 0;
        for number in 0..200_u8 {
            // Short headers, long ones of no version, and ones of version 1 that hold nothing.
            let kinds: [&[u8]; 3] = [&[0x41, number, 2, 3], &[0xC3, 9, 9, 9, number], &[0xC3, 0, 0, 0, 1, 8]];
            for kind in kinds {
                let mut datagram = kind.to_vec();
                datagram.resize(if number % 2 == 0 { 1_200 } else { 60 }, number);
                sent += stranger.send_to(&datagram, node).await.unwrap();
            }
            server.wait_until(server.now() + 1).await.unwrap();
        }
        // Until nothing more comes of it.
        let (mut heard, mut answer) = (0, [0; 2_000]);
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            server.wait_until(server.now() + 10).await.unwrap();
            while let Ok(len) = stranger.try_recv(&mut answer) {
                heard += len;
            }
        }
        assert!(heard <= sent, "{heard} bytes for {sent}");
        let counters = server.server.counters();
        assert_eq!((counters.streams_opened, counters.datagrams_in), (0, 0));
    }
}

#[test]
fn certificates_that_are_none_or_have_another_key_are_refused() {
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (own, other) = (made(), made());
    let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let read = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map(|_| ());
    assert!(read(&chain, &key).is_ok());
    assert!(matches!(read("", &key), Err(CertificateError::Chain)));
    assert!(matches!(read(&key, &key), Err(CertificateError::Chain)));
    assert!(matches!(read(&chain, &chain), Err(CertificateError::Key)));
    let foreign = read(&chain, &other.signing_key.serialize_pem());
    assert!(matches!(foreign, Err(CertificateError::Refused(_))), "{foreign:?}");
}

/// Serves until `until` holds of the counters, by name.
async fn serve_until(server: &mut ServerShell, what: &str, until: impl Fn(&Counters) -> bool) {
    let began = Instant::now();
    while !until(server.server.counters()) {
        server.wait_until(server.now() + 50).await.unwrap();
        server.flush().unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", server.server.counters());
    }
}

/// Whether the other side closes a stream, whatever it says before.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut bytes = [0; 1024];
    let reading = async { while stream.read(&mut bytes).await.is_ok_and(|len| len > 0) {} };
    tokio::time::timeout(Duration::from_secs(30), reading).await.is_ok()
}

#[tokio::test]
async fn real_socket_streams_that_are_no_streams_of_packets_are_closed() {
    let (mut server, file) = server().await;
    let address = file.addresses[0];
    let send = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    };
    let oversize = send(&1_201_u16.to_le_bytes()).await;
    let empty = send(&[0, 0]).await;
    let web = send(b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n").await;
    serve_until(&mut server, "malformed", |counters| counters.streams_malformed == 3).await;
    for stream in [oversize, empty, web] {
        assert!(is_closed(stream).await);
    }
    // Garbage of a good length is refused as a datagram would be; the stream ends for want of a session.
    let mut packet = 40_u16.to_le_bytes().to_vec();
    packet.resize(42, 0x55);
    let garbage = send(&packet).await;
    // Half a length, and half a packet, for ever; and nothing at all.
    let halves = [send(&[40]).await, send(&packet[..20]).await, send(&[]).await];
    serve_until(&mut server, "cut", |counters| counters.streams_cut == 4).await;
    assert_eq!(server.server.counters().unknown_kind, 1);
    assert!(is_closed(garbage).await);
    for stream in halves {
        assert!(is_closed(stream).await);
    }
    assert_eq!((server.server.connections(), server.server.counters().streams_opened), (0, 6));
}

/// A stream that goes on to be none; it may be closed before its byte is written.
async fn half_a_length(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(&[40]).await;
    stream
}

#[tokio::test]
async fn real_socket_streams_of_one_address_are_bounded_until_they_show_a_session() {
    let (mut server, file) = server().await;
    let mut streams = Vec::new();
    for _ in 0..UNPROVEN_STREAMS_PER_ADDRESS_MAX + 10 {
        streams.push(half_a_length(file.addresses[0]).await);
    }
    serve_until(&mut server, "refused", |counters| counters.streams_refused == 10).await;
    serve_until(&mut server, "opened", |counters| {
        counters.streams_opened == UNPROVEN_STREAMS_PER_ADDRESS_MAX as u64
    })
    .await;
    drop(streams);
    // Their places are free again, at the latest when they are found to have no session.
    let began = Instant::now();
    let opened = server.server.counters().streams_opened;
    while server.server.counters().streams_opened == opened {
        let _kept_until_it_was_seen = half_a_length(file.addresses[0]).await;
        server.wait_until(server.now() + 50).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", server.server.counters());
    }
}

#[tokio::test]
async fn real_socket_client_that_never_reads_its_stream_is_cut() {
    let (mut server, file) = server().await;
    let config = ClientConfig {
        token_file: file,
        feed: Feed::Snapshot,
        lane: LaneWish::Auto,
        transport: TransportWish::Only(Transport::Tcp),
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        connect_sequence: 0,
    };
    let mut client = ClientShell::connect(config).await.unwrap();
    let connection = loop {
        client.wait_until(client.now() + 1).await.unwrap();
        server.wait_until(server.now() + 1).await.unwrap();
        server.flush().unwrap();
        if let Some(ServerEvent::Connected(client)) = server.server.poll_event() {
            break client.connection;
        }
    };
    // From here on the client's task reads until the client's own queue is full, and then nobody does.
    let began = Instant::now();
    let reason = loop {
        let keyframe = vec![7; MESSAGE_MAX];
        let now = server.now();
        let sent = server.server.send_reliable(now, connection, &keyframe);
        server.flush().unwrap();
        server.wait_until(server.now() + 5).await.unwrap();
        if sent.is_err()
            && let Some(ServerEvent::Disconnected { reason, .. }) = server.server.poll_event()
        {
            break reason;
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    };
    assert_eq!(reason, CloseReason::SlowReader);
    serve_until(&mut server, "let go", |counters| counters.streams_cut == 1).await;
    assert_eq!(server.server.connections(), 0);
}
