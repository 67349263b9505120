//! RESET: a node that does not know a session says so, and nobody has to believe it.

use super::world::*;
use crate::connection::CloseReason;
use crate::handshake::{RESET_LEN, put_reset};
use crate::limits::RESETS_PER_SECOND_MAX;
use crate::link::LinkConfig;
use crate::packet::{PACKET_LEN_MIN, TO_SERVER};
use crate::{DenyReason, Path, Server, ServerConfig, Transport};

const CLEAN: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

/// A node that has lost all its memory.
fn restarted(world: &World) -> Server {
    let unix_offset_ms = UNIX_AT_ZERO as i64 - 1_000_000;
    let config = ServerConfig { worker: 3, connections_max: 100, unix_offset_ms, skew_ms: 0 };
    let mut server = Server::new(config, [9; 32]);
    server.handle_timeout(world.now);
    server
}

#[test]
fn a_session_is_taken_up_again_as_soon_as_its_node_is_back() {
    let mut world = World::new(CLEAN, 1);
    let (player, before) = world.join_and_wait(config(&claims(3)));
    world.run(1_500);
    world.server = restarted(&world);
    world.server.host(BATTLE, hosted());
    let told = world.players[player].told.len();
    world.players[player].client.send_feed(world.now, b"input").unwrap();
    // The input there, RESET, HELLO, CHALLENGE, CONNECT, ACCEPT: six ways, and some milliseconds to turn round.
    let since = world.now;
    while world.players[player].told.len() == told {
        world.step();
        assert!(world.now.since(since) <= 6 * 20 + 10);
    }
    eprintln!(
        "back {} ms after the first word to a restarted node; a round trip takes 40",
        world.now.since(since)
    );
    let Some(Told::Accepted(after, ..)) = world.players[player].told.get(told).cloned() else {
        panic!("{:?}", world.players[player].told)
    };
    assert_ne!(after, before);
    assert_eq!((world.server.counters().resets, world.players[player].client.counters().resets), (1, 1));
    world.players[player].client.send_feed(world.now, b"another").unwrap();
    world.run(50);
    assert!(
        matches!(world.heard.last(), Some(Heard::Message(id, _, bytes)) if *id == after && bytes == b"another")
    );
}

#[test]
fn a_node_that_is_back_without_the_battle_says_so_to_who_was_in_it() {
    let mut world = World::new(CLEAN, 1);
    let (player, _) = world.join_and_wait(config(&claims(3)));
    world.run(1_500);
    world.server = restarted(&world);
    let since = world.now;
    // Nobody plays: it is the ping of an idle client that the node answers.
    while world.players[player].told.last() != Some(&Told::Denied(DenyReason::NotHere)) {
        world.step();
        assert!(world.now.since(since) <= 3_000, "{:?}", world.players[player].told);
    }
    eprintln!("told {} ms after the restart, idle, that the battle is gone", world.now.since(since));
}

#[test]
fn a_reset_of_a_living_session_is_not_believed() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    world.run(1_500);
    let mut reset = Vec::new();
    put_reset(&mut reset, connection);
    let node = world.server_address;
    for _ in 0..100 {
        let now = world.now;
        world.server.send_feed(now, connection, b"state").unwrap();
        world.players[player].client.handle_datagram(now, node, &mut reset.clone());
        world.players[player].client.send_feed(now, b"input").unwrap();
        world.run(33);
    }
    world.run(100);
    let heard = world.heard.iter().filter(|heard| matches!(heard, Heard::Message(..))).count();
    let told = world.players[player].told.iter().filter(|told| matches!(told, Told::Message(..))).count();
    assert_eq!((heard, told), (100, 100), "neither side missed anything");
    assert_eq!(world.server.counters().accepted, 1);
    // Four handshakes a second apart, which the next state ended.
    assert!(
        (3..=4).contains(&world.server.counters().hellos.saturating_sub(1)),
        "{:?}",
        world.server.counters()
    );

    // Nor is one believed that is of another connection, or comes from elsewhere.
    let client = &mut world.players[player].client;
    let refused = client.counters().bad_handshake;
    client.handle_datagram(world.now, std::net::SocketAddr::from(([203, 0, 113, 1], 1)), &mut reset.clone());
    put_reset(&mut reset, crate::ConnectionId(connection.0 ^ 1 << 40));
    client.handle_datagram(world.now, node, &mut reset.clone());
    client.handle_datagram(world.now, node, &mut reset[..RESET_LEN - 1].to_vec());
    assert_eq!(client.counters().bad_handshake, refused + 3);
    client.close(world.now, CloseReason::Left);
    world.run(100);
    assert!(matches!(world.heard.last(), Some(Heard::Disconnected(_, 3, CloseReason::Left))));
}

#[test]
fn a_reset_between_two_states_costs_a_session_and_not_the_seat() {
    // The state comes when CHALLENGE did, a moment before, a moment after, and not at all before ACCEPT.
    for late_ms in [18, 19, 20, 21, 25, 30, 39, 45] {
        let mut world = World::new(CLEAN, 1);
        let (player, before) = world.join_and_wait(config(&claims(3)));
        world.run(1_500);
        let told = world.players[player].told.len();
        let mut reset = Vec::new();
        put_reset(&mut reset, before);
        let (now, node) = (world.now, world.server_address);
        world.players[player].client.handle_datagram(now, node, &mut reset);
        world.run(late_ms);
        world.server.send_feed(world.now, before, b"state").unwrap();
        world.run(300);
        assert!(world.players[player].client.is_connected(), "{late_ms}: {:?}", world.players[player].told);
        let told = &world.players[player].told[told..];
        assert!(!told.iter().any(|told| matches!(told, Told::Closed(_))), "{late_ms}: {told:?}");
        let now = world.now;
        world.players[player].client.send_feed(now, b"input").unwrap();
        world.run(100);
        assert!(matches!(world.heard.last(), Some(Heard::Message(_, _, bytes)) if bytes == b"input"));
    }
}

#[test]
fn resets_are_smaller_than_what_they_answer_and_so_many_a_second() {
    let mut world = World::new(CLEAN, 1);
    let stranger: Path = std::net::SocketAddr::from(([203, 0, 113, 1], 1)).into();
    let mut out = Vec::new();
    let mut answered = |world: &mut World, from: Path, len: usize| {
        let mut packet = vec![TO_SERVER; len];
        world.server.handle_datagram(world.now, from, &mut packet);
        let said = world.server.poll_transmit(world.now, &mut out);
        said.map(|transmit| {
            assert_eq!((transmit.to, transmit.connection), (from, None));
            out.len()
        })
    };
    assert_eq!(answered(&mut world, stranger, PACKET_LEN_MIN - 1), None);
    assert_eq!(answered(&mut world, stranger, PACKET_LEN_MIN), Some(RESET_LEN));
    let stream = Path { transport: Transport::Tcp, stream: 5, ..stranger };
    assert_eq!(answered(&mut world, stream, PACKET_LEN_MIN), None);
    let more = (0..1_000).filter(|_| answered(&mut world, stranger, 100).is_some()).count();
    assert_eq!(more as u32, RESETS_PER_SECOND_MAX - 1);
    world.now = world.now + 1_000;
    assert_eq!(answered(&mut world, stranger, 100), Some(RESET_LEN));
    assert_eq!(world.server.connections(), 0);
}
