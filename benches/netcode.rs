//! What a session costs without a socket: sealing, opening, a handshake, a tick of many sessions.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tiltyard_netcode::measure::PacketPair;
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, Client, ClientConfig, ConnectionId, Epoch, Feed, HostedBattle, LaneWish, Millis, Server,
    ServerConfig, ServerEvent, Transport, TransportWish,
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
        protocol_hash: PROTOCOL,
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
        connect_sequence: 1,
    };
    let mut seed = [4; 32];
    seed[..2].copy_from_slice(&seat.to_le_bytes());
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
            let index = usize::from(transmit.to.address.port() - first_seat);
            clients[index].handle_datagram(now, node(), &mut datagram);
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

/// Both ends of HELLO, CHALLENGE, CONNECT and ACCEPT, key exchange included.
fn handshake(criterion: &mut Criterion) {
    let (mut server, mut seat, now) = (server(), 0_u16, Millis(1000));
    criterion.bench_function("netcode/handshake, both ends", |bencher| {
        bencher.iter(|| {
            // Seats are used again: a newer connection takes over.
            seat = seat % 1000 + 1;
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

criterion_group!(benches, packets, handshake, session_tick);
criterion_main!(benches);
