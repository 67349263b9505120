//! Sessions over real UDP sockets on loopback.

#![cfg(feature = "shell")]

use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::shell::{ClientShell, ServerShell};
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, ClientConfig, ClientEvent, CloseReason, Epoch, Feed, HostedBattle, LaneWish, ServerConfig,
    ServerEvent, Transport, TransportWish, system_random,
};

const BATTLE: BattleId = BattleId(1);

async fn server() -> (ServerShell, TokenFile) {
    let config = ServerConfig { worker: 2, connections_max: 16, unix_offset_ms: 0, skew_ms: 5_000 };
    let mut shell = ServerShell::bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
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
    let hosted =
        HostedBattle { keys: vec![key], epoch: Epoch(1), protocol_hash: [1; 16], rate_hz: 30, math_hash: 0 };
    shell.server.host(BATTLE, hosted);
    let addresses = vec![shell.local_address().unwrap()];
    (shell, TokenFile { token, session_secret, addresses })
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
    let (server, token_file) = server().await;
    let config = ClientConfig {
        token_file,
        feed: Feed::Snapshot,
        lane,
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
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
        assert_eq!((stats.sent > 100, stats.lost > 0), (link.is_some(), link.is_some()), "{stats:?}");
    };
    let both = async {
        let server = tokio::spawn(echo(server));
        client.await;
        assert_eq!(server.await.unwrap(), CloseReason::Left);
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("within 20 s");
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
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("within 20 s");
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
