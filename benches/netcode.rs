//! What a session costs without a socket: sealing, opening, each part of a handshake, a tick of many sessions.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use tiltyard_netcode::measure::PacketPair;
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, Client, ClientConfig, CloseReason, ConnectionId, Epoch, Feed, HostedBattle, LaneWish, Millis,
    Server, ServerConfig, ServerEvent, Transport, TransportWish,
};

const BATTLE: BattleId = BattleId(1);
const PROTOCOL: [u8; 16] = [7; 16];
/// A feed message down, and inputs up.
const DOWN: [u8; 120] = [5; 120];
const UP: [u8; 24] = [6; 24];

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("netcode/packet of 120 B");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal", |bencher| {
        let (mut pair, mut packet) = (PacketPair::new([1; 32]), Vec::new());
        bencher.iter(|| {
            pair.seal(black_box(&DOWN), &mut packet);
            packet.len()
        });
    });
    group.bench_function("open", |bencher| {
        let mut pair = PacketPair::new([1; 32]);
        let sealed = |pair: &mut PacketPair| {
            let mut packet = Vec::new();
            pair.seal(&DOWN, &mut packet);
            packet
        };
        let mut opening = PacketPair::new([1; 32]);
        bencher.iter_batched(
            || sealed(&mut pair),
            |mut packet| assert!(opening.open(&mut packet).is_some()),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn server() -> Server {
    let config = ServerConfig { worker: 0, connections_max: 10_000, unix_offset_ms: 0, skew_ms: 1000 };
    let mut server = Server::new(config, [2; 32]);
    let keys = vec![MasterKey::from_bytes(1, [3; 32]).battle_key(BATTLE)];
    server.host(
        BATTLE,
        HostedBattle {
            keys,
            epoch: Epoch(1),
            protocol_hash: PROTOCOL,
            rate_hz: 30,
            math_hash: 0,
            hides: false,
        },
    );
    server
}

fn client(seat: u16, lane: LaneWish, now: Millis) -> Client {
    client_with(seat, lane, PROTOCOL, now)
}

fn client_with(seat: u16, lane: LaneWish, protocol_hash: [u8; 16], now: Millis) -> Client {
    static CLIENTS: AtomicU64 = AtomicU64::new(1);
    let number = CLIENTS.fetch_add(1, Relaxed);
    let secret = SessionSecret::from_bytes([9; 32]);
    let claims = Claims {
        player: u64::from(seat),
        seat,
        team: 0,
        role: Role::Player,
        protocol_hash: PROTOCOL,
        issued_unix_ms: 0,
        session_secret: secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let mut token_id = [0; 16];
    token_id[..2].copy_from_slice(&seat.to_le_bytes());
    let token = mint(&MasterKey::from_bytes(1, [3; 32]).battle_key(BATTLE), token_id, 10_000_000, &claims);
    let config = ClientConfig {
        token_file: TokenFile { token, session_secret: secret, addresses: vec![node()] },
        feed: Feed::Snapshot,
        lane,
        protocol_hash,
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
        // A newer connection takes the seat over, and is no copy of the one before.
        connect_sequence: number,
    };
    let mut seed = [4; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Client::new(config, now, seed)
}

fn node() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

fn address(seat: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], seat))
}

/// Passes datagrams both ways until nobody has one.
fn pass(server: &mut Server, clients: &mut [Client], first_seat: u16, now: Millis) {
    let mut datagram = Vec::new();
    loop {
        let mut moved = false;
        for (index, client) in clients.iter_mut().enumerate() {
            while client.poll_transmit(now, &mut datagram).is_some() {
                server.handle_datagram(now, address(first_seat + index as u16), &mut datagram);
                moved = true;
            }
        }
        while let Some(transmit) = server.poll_transmit(now, &mut datagram) {
            // What goes to a session that was replaced is lost.
            let index = usize::from(transmit.to.address.port()).checked_sub(usize::from(first_seat));
            if let Some(client) = index.and_then(|index| clients.get_mut(index)) {
                client.handle_datagram(now, node(), &mut datagram);
            }
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

/// What a stranger can make a server do: HELLO in, CHALLENGE out, each time from another address.
fn hello(criterion: &mut Criterion) {
    let (mut server, now) = (server(), Millis(1000));
    let (mut hello, mut challenge, mut from) = (Vec::new(), Vec::new(), 0_u32);
    client(1, LaneWish::Auto, now).poll_transmit(now, &mut hello).expect("a client begins with HELLO");
    criterion.bench_function("netcode/HELLO answered", |bencher| {
        bencher.iter(|| {
            from = from.wrapping_add(1);
            server.handle_datagram(now, SocketAddr::from((from.to_le_bytes(), 9)), &mut hello);
            assert!(server.poll_transmit(now, &mut challenge).is_some());
            assert!(challenge.len() <= hello.len());
        });
    });
}

/// A CONNECT as far as its sender, who has a cookie, can be judged without a key exchange, and one that is taken.
fn connect(criterion: &mut Criterion) {
    let (server, mut now, mut answer) = (RefCell::new(server()), Millis(1000), Vec::new());
    let connect = |now: Millis, seat: u16, protocol_hash: [u8; 16]| {
        let (mut client, mut datagram) = (client_with(seat, LaneWish::Auto, protocol_hash, now), Vec::new());
        client.poll_transmit(now, &mut datagram).expect("HELLO");
        let mut server = server.borrow_mut();
        server.handle_datagram(now, address(seat), &mut datagram);
        server.poll_transmit(now, &mut datagram).expect("CHALLENGE");
        client.handle_datagram(now, node(), &mut datagram);
        client.poll_transmit(now, &mut datagram).expect("CONNECT");
        datagram
    };
    let foreign = connect(now, 1, [8; 16]);
    criterion.bench_function("netcode/CONNECT denied for its protocol hash", |bencher| {
        bencher.iter_batched_ref(
            || foreign.clone(),
            |datagram| {
                let mut server = server.borrow_mut();
                server.handle_datagram(now, address(1), datagram);
                assert!(server.poll_transmit(now, &mut answer).is_some_and(|sent| sent.connection.is_none()));
            },
            BatchSize::SmallInput,
        );
    });
    let mut seat = 0;
    criterion.bench_function("netcode/CONNECT admitted", |bencher| {
        bencher.iter_batched_ref(
            || {
                (seat, now) = (seat % 1000 + 1, now + 1);
                leave(&mut server.borrow_mut(), now);
                (now, seat, connect(now, seat, PROTOCOL))
            },
            |(now, seat, datagram)| {
                let mut server = server.borrow_mut();
                let accepted = server.counters().accepted;
                server.handle_datagram(*now, address(*seat), datagram);
                assert!(server.poll_transmit(*now, &mut answer).is_some());
                assert_eq!(server.counters().accepted, accepted + 1);
            },
            BatchSize::PerIteration,
        );
    });
    criterion.bench_function("netcode/X25519, a key and an agreement", |bencher| {
        let random = SystemRandom::new();
        let share =
            || EphemeralPrivateKey::generate(&X25519, &random).expect("the system has random numbers");
        let theirs = share().compute_public_key().expect("a fresh key has a public half");
        bencher.iter(|| {
            let (own, theirs) = (share(), UnparsedPublicKey::new(&X25519, &theirs));
            let public = own.compute_public_key().expect("a fresh key has a public half");
            agree_ephemeral(own, &theirs, |agreed| black_box(agreed[0])).expect("both are keys");
            public
        });
    });
}

/// Whoever came leaves, and what is said of it goes nowhere.
fn leave(server: &mut Server, now: Millis) {
    server.handle_timeout(now);
    loop {
        let came = match server.poll_event() {
            Some(ServerEvent::Connected(client)) => client.connection,
            Some(_) => continue,
            None => break,
        };
        server.close(now, came, CloseReason::Left);
    }
    let mut datagram = Vec::new();
    while server.poll_transmit(now, &mut datagram).is_some() {}
}

/// Both ends of HELLO, CHALLENGE, CONNECT and ACCEPT, key exchange included.
fn handshake(criterion: &mut Criterion) {
    let (mut server, mut seat, mut now) = (server(), 0_u16, Millis(1000));
    criterion.bench_function("netcode/handshake, both ends", |bencher| {
        bencher.iter(|| {
            // Seats are used again: a newer connection takes over, and the older one is gone after a while.
            (seat, now) = (seat % 1000 + 1, now + 1);
            server.handle_timeout(now);
            let mut clients = [client(seat, LaneWish::Auto, now)];
            pass(&mut server, &mut clients, seat, now);
            assert!(clients[0].is_connected());
            while server.poll_event().is_some() {}
        });
    });
}

/// A tick of 100 sessions, client ends included: 120 B down and 24 B up each, on either lane.
fn session_tick(criterion: &mut Criterion) {
    const SESSIONS: u16 = 100;
    let mut group = criterion.benchmark_group("netcode/tick of 100 sessions, both ends");
    group.throughput(Throughput::Elements(u64::from(SESSIONS)));
    for (name, lane) in [("kcp", LaneWish::Kcp), ("datagram", LaneWish::Datagram)] {
        let (mut server, mut now) = (server(), Millis(1000));
        let mut clients: Vec<Client> = (1..=SESSIONS).map(|seat| client(seat, lane, now)).collect();
        pass(&mut server, &mut clients, 1, now);
        let mut connections: Vec<ConnectionId> = Vec::new();
        while let Some(event) = server.poll_event() {
            if let ServerEvent::Connected(client) = event {
                connections.push(client.connection);
            }
        }
        assert_eq!(connections.len(), usize::from(SESSIONS));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now = now + 33;
                server.handle_timeout(now);
                for client in &mut clients {
                    client.handle_timeout(now);
                    client.send_feed(now, &UP).expect("the session is open");
                }
                for connection in &connections {
                    server.send_feed(now, *connection, &DOWN).expect("the session is open");
                }
                pass(&mut server, &mut clients, 1, now);
                while server.poll_event().is_some() {}
                for client in &mut clients {
                    while client.poll_event().is_some() {}
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packets, hello, connect, handshake, session_tick);
criterion_main!(benches);
