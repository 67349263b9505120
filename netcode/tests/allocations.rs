//! What a session costs in memory, that its steady state allocates nothing outside the kcp crate, and that strangers
//! leave nothing.
//!
//! One test alone in its process: the counting allocator counts everybody.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, Client, ClientConfig, ClientEvent, ConnectionId, Epoch, Feed, HostedBattle, LaneWish, Millis,
    Server, ServerConfig, ServerEvent, Transport, TransportWish,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters are atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATTLE: BattleId = BattleId(1);
const SESSIONS: u16 = 32;

struct Pair {
    client: Client,
    address: SocketAddr,
    connection: Option<ConnectionId>,
}

fn config(seat: u16, lane: LaneWish) -> ClientConfig {
    let session_secret = SessionSecret::from_bytes([seat as u8; 32]);
    let claims = Claims {
        player: u64::from(seat),
        seat,
        team: 0,
        role: Role::Player,
        protocol_hash: [1; 16],
        issued_unix_ms: 0,
        session_secret: session_secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let key = MasterKey::from_bytes(1, [1; 32]).battle_key(BATTLE);
    let token = mint(&key, [seat as u8; 16], u64::MAX, &claims);
    let addresses = vec!["192.0.2.1:1".parse().unwrap()];
    ClientConfig {
        token_file: TokenFile { token, session_secret, addresses },
        feed: Feed::Snapshot,
        lane,
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
        connect_sequence: 1,
    }
}

/// Everything that is said goes over, at once.
fn exchange(now: Millis, server: &mut Server, pairs: &mut [Pair], buffer: &mut Vec<u8>) {
    let server_address: SocketAddr = "192.0.2.1:1".parse().unwrap();
    server.handle_timeout(now);
    for pair in pairs.iter_mut() {
        pair.client.handle_timeout(now);
    }
    loop {
        let mut quiet = true;
        for pair in pairs.iter_mut() {
            while pair.client.poll_transmit(now, buffer).is_some() {
                server.handle_datagram(now, pair.address, buffer);
                quiet = false;
            }
        }
        while let Some(transmit) = server.poll_transmit(now, buffer) {
            let pair =
                pairs.iter_mut().find(|pair| pair.address == transmit.to.address).expect("one of ours");
            pair.client.handle_datagram(now, server_address, buffer);
            quiet = false;
        }
        while let Some(event) = server.poll_event() {
            assert!(!matches!(event, ServerEvent::Disconnected { .. }));
        }
        for pair in pairs.iter_mut() {
            while let Some(event) = pair.client.poll_event() {
                if let ClientEvent::Accepted { connection, .. } = event {
                    pair.connection = Some(connection);
                }
            }
        }
        if quiet {
            return;
        }
    }
}

/// One second at 30 Hz: 120 B down, 24 B up for each session. Gives (allocations, messages).
fn second(now: &mut Millis, server: &mut Server, pairs: &mut [Pair], buffer: &mut Vec<u8>) -> (u64, u64) {
    let before = ALLOCATIONS.load(Relaxed);
    let mut messages = 0;
    for _ in 0..30 {
        *now = *now + 33;
        for pair in pairs.iter_mut() {
            let connection = pair.connection.expect("connected");
            server.send_feed(*now, connection, &[7; 120]).unwrap();
            pair.client.send_feed(*now, &[8; 24]).unwrap();
            messages += 2;
        }
        exchange(*now, server, pairs, buffer);
    }
    (ALLOCATIONS.load(Relaxed) - before, messages)
}

fn sessions(lane: LaneWish) -> (Millis, Server, Vec<Pair>, Vec<u8>) {
    let config_of_server = ServerConfig { worker: 0, connections_max: 100, unix_offset_ms: 0, skew_ms: 0 };
    let mut server = Server::new(config_of_server, [1; 32]);
    let hosted = HostedBattle {
        keys: vec![MasterKey::from_bytes(1, [1; 32]).battle_key(BATTLE)],
        epoch: Epoch(1),
        protocol_hash: [1; 16],
        rate_hz: 30,
        math_hash: 0,
        hides: false,
    };
    server.host(BATTLE, hosted);
    let now = Millis(1_000_000);
    let mut pairs = Vec::new();
    for seat in 0..SESSIONS {
        let address = SocketAddr::from(([198, 51, 100, seat as u8], 5_000));
        let client = Client::new(config(seat, lane), now, [seat as u8; 32]);
        pairs.push(Pair { client, address, connection: None });
    }
    let mut buffer = Vec::with_capacity(2_000);
    exchange(now, &mut server, &mut pairs, &mut buffer);
    (now, server, pairs, buffer)
}

#[test]
fn a_session_is_small_and_its_datagram_lane_allocates_nothing() {
    let (mut now, mut server, mut pairs, mut buffer) = sessions(LaneWish::Datagram);
    for _ in 0..5 {
        second(&mut now, &mut server, &mut pairs, &mut buffer);
    }
    let mut total = (0, 0);
    for _ in 0..10 {
        let (allocations, messages) = second(&mut now, &mut server, &mut pairs, &mut buffer);
        total = (total.0 + allocations, total.1 + messages);
    }
    assert_eq!(total.0, 0, "{} allocations for {} messages on the datagram lane", total.0, total.1);

    let (mut now, mut server, mut pairs, mut buffer) = sessions(LaneWish::Kcp);
    for _ in 0..5 {
        second(&mut now, &mut server, &mut pairs, &mut buffer);
    }
    let (allocations, messages) = second(&mut now, &mut server, &mut pairs, &mut buffer);
    // KCP makes a buffer of its own for each segment, once at the sender and once at the receiver.
    assert!(allocations <= 2 * messages + 8, "{allocations} allocations for {messages} messages over KCP");

    let before = BYTES.load(Relaxed);
    let clients = pairs.len() as u64;
    drop(server);
    let per_session = (before - BYTES.load(Relaxed)) / clients;
    // The server's own tables are in the sum: what a session takes is less.
    assert!(per_session <= 16 * 1024, "{per_session} bytes a session");
    eprintln!(
        "{per_session} bytes a session of the server, {allocations} allocations for {messages} messages over KCP"
    );
    drop(pairs);
    hundred_thousand_strangers_leave_nothing();
}

/// Each says HELLO from an address of its own, and a CONNECT with a cookie that is not for it.
fn hundred_thousand_strangers_leave_nothing() {
    let (now, mut server, mut pairs, mut buffer) = sessions(LaneWish::Auto);
    second(&mut { now }, &mut server, &mut pairs, &mut buffer);
    let (mut hello, mut connect) = (Vec::new(), Vec::new());
    let mut stranger = Client::new(config(SESSIONS, LaneWish::Auto), now, [99; 32]);
    stranger.poll_transmit(now, &mut hello).expect("a client begins with HELLO");
    let home = SocketAddr::from(([203, 0, 113, 1], 1));
    server.handle_datagram(now, home, &mut hello.clone());
    server.poll_transmit(now, &mut buffer).expect("CHALLENGE");
    stranger.handle_datagram(now, SocketAddr::from(([192, 0, 2, 1], 1)), &mut buffer);
    stranger.poll_transmit(now, &mut connect).expect("CONNECT");

    let (mut bytes_in, mut bytes_out) = (0_usize, 0_usize);
    let before = (BYTES.load(Relaxed), ALLOCATIONS.load(Relaxed));
    for number in 0..100_000_u32 {
        let from = SocketAddr::from(((0x0B00_0000 + number).to_be_bytes(), 7));
        for datagram in [&mut hello, &mut connect] {
            server.handle_datagram(now, from, datagram);
            bytes_in += datagram.len();
        }
        while server.poll_transmit(now, &mut buffer).is_some() {
            bytes_out += buffer.len();
        }
    }
    assert_eq!((BYTES.load(Relaxed), ALLOCATIONS.load(Relaxed)), before, "bytes that are held, allocations");
    assert!(bytes_out > 0);
    assert!(bytes_out <= bytes_in, "{bytes_out} bytes out for {bytes_in} bytes in");
    eprintln!("100000 strangers: {bytes_in} bytes in, {bytes_out} out, 0 bytes more held, 0 allocations");
}
