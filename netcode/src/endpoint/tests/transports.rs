//! Sessions on streams: which transport is tried when, and what a stream changes.

use std::net::SocketAddr;

use super::world::*;
use crate::connection::{CloseReason, Room};
use crate::limits::{CLOSE_LINGER_MS, DATAGRAMS_PENDING_MAX, MESSAGE_MAX};
use crate::time::Millis;
use crate::{
    Client, ClientEvent, ConnectionId, Lane, LaneWish, Path, SendError, Server, ServerEvent, Transport,
    TransportWish,
};

/// A client and a server on streams that are faster than any clock.
struct Pair {
    now: Millis,
    client: Client,
    server: Server,
    connection: ConnectionId,
    heard: Vec<(Lane, Vec<u8>)>,
    told: Vec<(Lane, Vec<u8>)>,
    /// What the client's stream is to the server.
    path: Path,
}

fn node() -> SocketAddr {
    "192.0.2.200:4000".parse().unwrap()
}

impl Pair {
    fn new(lane: LaneWish) -> Self {
        let world = World::new(Default::default(), 1);
        let config = crate::ClientConfig {
            lane,
            transport: TransportWish::Only(Transport::Tcp),
            ..config(&claims(3))
        };
        let path =
            Path { address: "198.51.100.3:5000".parse().unwrap(), transport: Transport::Tcp, stream: 17 };
        let mut pair = Self {
            now: world.now,
            client: Client::new(config, world.now, [3; 32]),
            server: world.server,
            connection: ConnectionId(0),
            heard: Vec::new(),
            told: Vec::new(),
            path,
        };
        pair.run(5);
        assert!(pair.client.is_connected());
        assert_eq!(pair.client.transport_in_use(), Some(Transport::Tcp));
        pair
    }

    fn run(&mut self, ms: u64) {
        let mut packet = Vec::new();
        for _ in 0..ms {
            self.now = self.now + 1;
            let now = self.now;
            self.client.handle_timeout(now);
            self.server.handle_timeout(now);
            while let Some(transmit) = self.client.poll_transmit(now, &mut packet) {
                assert_eq!(transmit.to, Path { address: node(), transport: Transport::Tcp, stream: 1 });
                self.server.handle_datagram(now, self.path, &mut packet);
            }
            while let Some(transmit) = self.server.poll_transmit(now, &mut packet) {
                assert_eq!(transmit.to, self.path);
                let from = Path { address: node(), transport: Transport::Tcp, stream: 1 };
                self.client.handle_datagram(now, from, &mut packet);
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    ServerEvent::Connected(client) => {
                        assert_eq!((client.transport, client.from), (Transport::Tcp, self.path.address));
                        self.connection = client.connection;
                    }
                    ServerEvent::Message { lane, bytes, .. } => self.heard.push((lane, bytes.to_vec())),
                    ServerEvent::Disconnected { .. } => self.connection = ConnectionId(0),
                }
            }
            while let Some(event) = self.client.poll_event() {
                if let ClientEvent::Message { lane, bytes } = event {
                    self.told.push((lane, bytes.to_vec()));
                }
            }
        }
    }
}

/// What a client tries by itself.
fn auto_order() -> &'static [Transport] {
    use Transport::{Quic, Tcp, Udp, WebSocket};
    if cfg!(feature = "quic") { &[Udp, Quic, Tcp, WebSocket] } else { &[Udp, Tcp, WebSocket] }
}

#[test]
fn a_transport_that_does_not_answer_within_a_second_gives_way_to_the_next() {
    let mut config = crate::ClientConfig { transport: TransportWish::Auto, ..config(&claims(3)) };
    config.token_file.addresses.push("192.0.2.201:4000".parse().unwrap());
    let mut client = Client::new(config, Millis(0), [3; 32]);
    let (mut tries, mut packet) = (Vec::<(u64, Path)>::new(), Vec::new());
    let mut ended = None;
    for ms in 0..30_000 {
        client.handle_timeout(Millis(ms));
        while let Some(transmit) = client.poll_transmit(Millis(ms), &mut packet) {
            if tries.last().is_none_or(|(_, path)| *path != transmit.to) {
                tries.push((ms, transmit.to));
            }
        }
        if let Some(ClientEvent::Closed { reason }) = client.poll_event() {
            ended.get_or_insert((ms, reason));
        }
    }
    let seen: Vec<_> =
        tries.iter().map(|(ms, path)| (*ms, path.address.ip().to_string(), path.transport)).collect();
    let (first, second) = ("192.0.2.200".to_owned(), "192.0.2.201".to_owned());
    // The last one is asked eight times.
    let order = auto_order();
    let an_address = (order.len() as u64 - 1) * 1_000 + 3_200;
    let round = |at: u64| {
        [(0, &first), (an_address, &second)].into_iter().flat_map(move |(later, address)| {
            let steps = (0..).step_by(1_000).zip(order);
            steps.map(move |(ms, transport)| (at + later + ms, address.clone(), *transport))
        })
    };
    assert_eq!(seen, round(0).chain(round(2 * an_address)).collect::<Vec<_>>());
    assert_eq!(ended, Some((4 * an_address, CloseReason::Unreachable)));
    let streams: Vec<_> = tries.iter().map(|(_, path)| path.stream).filter(|stream| *stream > 0).collect();
    assert_eq!(streams, (1..=4 * (order.len() as u64 - 1)).collect::<Vec<_>>(), "no stream is used twice");
}

#[test]
fn a_stream_that_cannot_be_had_is_not_waited_for() {
    let config = crate::ClientConfig { transport: TransportWish::Auto, ..config(&claims(3)) };
    let mut client = Client::new(config, Millis(0), [3; 32]);
    let mut packet = Vec::new();
    client.handle_timeout(Millis(1_000));
    let tried = client.poll_transmit(Millis(1_000), &mut packet).unwrap().to;
    assert_eq!((tried.transport, tried.stream), (auto_order()[1], 1));
    client.handle_lost_stream(Millis(1_005), 7);
    assert_eq!(client.poll_transmit(Millis(1_005), &mut packet), None, "another stream is nothing to it");
    client.handle_lost_stream(Millis(1_005), 1);
    let tried = client.poll_transmit(Millis(1_005), &mut packet).unwrap().to;
    assert_eq!((tried.transport, tried.stream), (auto_order()[2], 2));
}

#[test]
fn a_session_on_a_stream_carries_both_lanes_without_kcp() {
    let mut pair = Pair::new(LaneWish::Auto);
    let large: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    pair.server.send_reliable(pair.now, pair.connection, &large).unwrap();
    assert_eq!(pair.server.send_feed(pair.now, pair.connection, b"newest"), Ok(Lane::Datagram));
    assert_eq!(pair.client.send_feed(pair.now, b"input"), Ok(Lane::Datagram));
    pair.client.send_reliable(pair.now, b"ask").unwrap();
    pair.run(2);
    assert_eq!(pair.told, [(Lane::Datagram, b"newest".to_vec()), (Lane::Reliable, large)]);
    assert_eq!(pair.heard, [(Lane::Datagram, b"input".to_vec()), (Lane::Reliable, b"ask".to_vec())]);
    // Sound for a minute, by the same signs of life as on datagrams; then it ends in order.
    pair.run(60_000);
    let stats = pair.server.stats(pair.now, pair.connection).expect("it lives");
    assert_eq!((stats.packets_lost, stats.resends, stats.reliable_bytes_waiting), (0, 0, 0));
    pair.client.close(pair.now, CloseReason::Left);
    pair.run(2);
    assert_eq!((pair.connection, pair.client.is_over()), (ConnectionId(0), true));
    let mut reliable = Pair::new(LaneWish::Kcp);
    assert_eq!(reliable.client.send_feed(reliable.now, b"input"), Ok(Lane::Reliable));
    reliable.run(2);
    assert_eq!(reliable.heard, [(Lane::Reliable, b"input".to_vec())]);
}

#[test]
fn a_session_on_a_stream_hears_its_own_stream_alone() {
    let mut pair = Pair::new(LaneWish::Auto);
    pair.client.send_feed(pair.now, b"input").unwrap();
    let mut packet = Vec::new();
    pair.client.poll_transmit(pair.now, &mut packet).unwrap();
    let foreign = [Path { stream: 18, ..pair.path }, Path::from(pair.path.address)];
    for (count, from) in (1..).zip(foreign) {
        pair.server.handle_datagram(pair.now, from, &mut packet.clone());
        assert_eq!(pair.server.counters().wrong_path, count);
    }
    assert_eq!(pair.server.counters().paths_challenged, 0);
    pair.server.handle_datagram(pair.now, pair.path, &mut packet);
    pair.run(1);
    assert_eq!(pair.heard, [(Lane::Datagram, b"input".to_vec())]);
}

#[test]
fn while_a_stream_takes_nothing_the_newest_messages_win_and_all_else_waits_to_its_bound() {
    let mut pair = Pair::new(LaneWish::Auto);
    pair.server.set_room(pair.now, pair.connection, Room::None);
    for number in 0..20 {
        pair.server.send_feed(pair.now, pair.connection, &[number]).unwrap();
        pair.run(33);
    }
    assert!(pair.told.is_empty());
    pair.server.set_room(pair.now, pair.connection, Room::Free);
    pair.run(1);
    let kept: Vec<u8> = pair.told.iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(kept, (20 - DATAGRAMS_PENDING_MAX as u8..20).collect::<Vec<_>>());

    pair.server.set_room(pair.now, pair.connection, Room::None);
    let (connection, keyframe) = (pair.connection, vec![7; MESSAGE_MAX]);
    assert_eq!(pair.server.send_reliable(pair.now, connection, &keyframe), Ok(()));
    let refused = pair.server.send_reliable(pair.now, connection, &keyframe);
    assert_eq!(refused, Err(SendError::SlowReader { connection }));
    pair.run(1);
    assert_eq!((pair.connection, pair.server.counters().slow_readers), (ConnectionId(0), 1));
    pair.run(CLOSE_LINGER_MS + 2_000);
    assert_eq!(pair.server.connections(), 0, "and forgotten, though its CLOSE could not leave");
}

#[test]
fn a_session_ends_with_its_stream_and_the_token_is_good_for_another_one() {
    let mut pair = Pair::new(LaneWish::Auto);
    pair.client.handle_lost_stream(pair.now, 1);
    let closed = pair.client.poll_event();
    assert_eq!(closed, Some(ClientEvent::Closed { reason: CloseReason::Unreachable }));
    assert!(pair.client.poll_event().is_none() && pair.client.is_over());
    let before = pair.connection;
    pair.client.reconnect(pair.now, Some(9));
    let mut packet = Vec::new();
    let transmit = pair.client.poll_transmit(pair.now, &mut packet).unwrap();
    assert_eq!((transmit.to.transport, transmit.to.stream), (Transport::Tcp, 2));
    let (path, from) = (Path { stream: 18, ..pair.path }, transmit.to);
    for _ in 0..3 {
        pair.server.handle_datagram(pair.now, path, &mut packet);
        while let Some(transmit) = pair.server.poll_transmit(pair.now, &mut packet) {
            if transmit.to == path {
                pair.client.handle_datagram(pair.now, from, &mut packet);
            }
        }
        if pair.client.poll_transmit(pair.now, &mut packet).is_none() {
            break;
        }
    }
    assert!(pair.client.is_connected());
    assert_eq!(pair.server.stats(pair.now, before).map(|_| ()), Some(()), "the old one lingers");
    assert_eq!(pair.server.counters().replaced, 1);
}

#[test]
fn a_replaced_session_gives_its_stream_back_as_soon_as_it_has_said_so() {
    let mut pair = Pair::new(LaneWish::Auto);
    let replaced = pair.connection;
    assert!(pair.server.path(replaced).is_some());
    pair.server.close(pair.now, replaced, CloseReason::Replaced);
    pair.run(20);
    assert_eq!(pair.server.path(replaced), None, "nothing lingers on a stream");
}
