//! Bytes from strangers and from bad players. The numbers are those of the table in docs/netcode.md.

use std::net::SocketAddr;

use super::world::*;
use crate::connection::CloseReason;
use crate::handshake::{CHALLENGE_LEN, CONNECT_LEN, HELLO_LEN, RESET_LEN};
use crate::limits::UDP_PAYLOAD_MAX;
use crate::link::{LinkConfig, Random, seed_from_environment};
use crate::packet::{PACKET_LEN_MIN, TO_SERVER};
use crate::time::Millis;
use crate::{ClientConfig, Counters, LaneWish, Server};

const CLEAN: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

fn stranger(number: u64) -> SocketAddr {
    let [.., b, c, d] = number.to_be_bytes();
    SocketAddr::from(([10, b, c, d], 1_000 + (number % 50_000) as u16))
}

fn hello() -> Vec<u8> {
    let mut hello = vec![1, b'T', b'Y', b'1'];
    hello.resize(HELLO_LEN, 0x5A);
    hello
}

/// Everything the server says to `datagram` from `from`, in bytes.
fn answer_len(server: &mut Server, now: Millis, from: SocketAddr, datagram: &[u8]) -> usize {
    server.handle_datagram(now, from, &mut datagram.to_vec());
    let (mut out, mut total) = (Vec::new(), 0);
    while let Some(transmit) = server.poll_transmit(now, &mut out) {
        assert_eq!(transmit.to.address, from);
        total += out.len();
    }
    total
}

/// What the counters say was refused.
fn refused(server: &Server) -> u64 {
    let counted = ["datagrams_in", "bytes_in", "datagrams_out", "bytes_out", "hellos", "resets"];
    server.counters().iter().filter(|(name, _)| !counted.contains(name)).map(|(_, value)| value).sum()
}

#[test]
fn b05_random_bytes_are_counted_one_by_one_and_leave_nothing() {
    let seed = seed_from_environment(3);
    let mut random = Random::new(seed);
    let mut world = World::new(CLEAN, 1);
    let mut sent = 0;
    for round in 0..20_000_u64 {
        let len = match round % 5 {
            0 => random.below(18),
            1 => 1_190 + random.below(400),
            2 => [HELLO_LEN as u64, CONNECT_LEN as u64, CHALLENGE_LEN as u64][random.below(3) as usize],
            _ => random.below(1_201),
        };
        let mut datagram = vec![0; len as usize];
        random.fill(&mut datagram);
        // Half of them begin like something that exists, of another version or length.
        if random.is_hit(5_000) && datagram.len() > 4 {
            datagram[0] = [1, 2, 3, 4, 5, 6, 0x80, 0xC0][random.below(8) as usize];
            datagram[1..4].copy_from_slice(if random.is_hit(5_000) { b"TY1" } else { b"TY2" });
        }
        if datagram.len() == HELLO_LEN && datagram.starts_with(b"\x01TY1") {
            continue;
        }
        sent += 1;
        let answer = answer_len(&mut world.server, Millis(1_000_000), stranger(round), &datagram);
        // To a packet of an unknown connection there may be a word, shorter than it.
        let hint =
            if datagram.first() == Some(&TO_SERVER) && len >= PACKET_LEN_MIN as u64 { RESET_LEN } else { 0 };
        assert!(answer == 0 || answer == hint, "SEED={seed} round {round}: {answer}");
        assert_eq!(refused(&world.server), sent, "SEED={seed} round {round}: {:?}", world.server.counters());
    }
    assert_eq!((world.server.connections(), world.server.poll_timeout()), (0, None));
}

/// Sends each datagram from an address of its own: none may be answered, all must be counted as `counter` says, and
/// nothing may be left behind.
fn drops(datagrams: impl IntoIterator<Item = Vec<u8>>, counter: fn(&Counters) -> u64) {
    let mut world = World::new(CLEAN, 1);
    let (now, mut sent) = (world.now, 0);
    for datagram in datagrams {
        sent += 1;
        let begins = datagram.first().copied();
        assert_eq!(answer_len(&mut world.server, now, stranger(sent), &datagram), 0, "{begins:?}");
        let counters = world.server.counters();
        assert_eq!(counter(counters), sent, "{begins:?}, {} bytes: {counters:?}", datagram.len());
    }
    assert!(sent > 0);
    assert_eq!(refused(&world.server), sent, "{:?}", world.server.counters());
    assert_eq!((world.server.connections(), world.server.slots.len()), (0, 0));
}

/// `len` bytes that begin with `kind` and the protocol's name.
fn of_kind(kind: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![kind, b'T', b'Y', b'1'];
    datagram.resize(len.max(4), 0x5A);
    datagram.truncate(len);
    datagram
}

#[test]
fn b01_datagrams_of_up_to_17_bytes_are_dropped() {
    drops([Vec::new()], |counters| counters.short);
    let short = (1..=17).flat_map(|len| [1, 3].map(|kind| of_kind(kind, len)));
    drops(short, |counters| counters.bad_handshake);
    // Packets need a connection id before one can look who it is.
    drops((1..=17).map(|len| of_kind(0x80, len)), |counters| counters.short + counters.unknown_connection);
}

#[test]
fn b02_datagrams_beyond_the_largest_payload_are_dropped_whatever_they_begin_with() {
    let longer = [UDP_PAYLOAD_MAX + 1, 1_472, 1_500, 9_000, 65_507];
    let kinds = [1, 3, 0x80, 0xC0, 0x55];
    let datagrams = longer.into_iter().flat_map(|len| kinds.map(|kind| of_kind(kind, len)));
    drops(datagrams, |counters| counters.long);
}

#[test]
fn b03_kinds_that_do_not_exist_are_dropped() {
    let unknown = (0..0x80).filter(|kind| !(1..=7).contains(kind));
    let datagrams = unknown.flat_map(|kind| [17, HELLO_LEN, CONNECT_LEN].map(|len| of_kind(kind, len)));
    drops(datagrams, |counters| counters.unknown_kind);
    let sealed = (0x81..=0xFF).map(|kind| of_kind(kind, 60));
    drops(sealed, |counters| counters.wrong_side);
}

#[test]
fn b04_other_versions_of_the_protocol_are_dropped() {
    let named = |name: &[u8; 3], kind, len| {
        let mut datagram = of_kind(kind, len);
        datagram[1..4].copy_from_slice(name);
        datagram
    };
    let names = [b"TY0", b"TY2", b"TYT", b"ty1", &[0; 3]];
    let datagrams = names
        .into_iter()
        .flat_map(|name| [(1, HELLO_LEN), (3, CONNECT_LEN)].map(|(kind, len)| named(name, kind, len)));
    drops(datagrams, |counters| counters.bad_handshake);
}

#[test]
fn a_hello_that_is_smaller_than_its_challenge_gets_none() {
    let mut world = World::new(CLEAN, 1);
    let now = world.now;
    assert_eq!(answer_len(&mut world.server, now, stranger(1), &hello()), CHALLENGE_LEN);
    for len in 0..HELLO_LEN {
        assert_eq!(answer_len(&mut world.server, now, stranger(1), &hello()[..len]), 0, "{len}");
    }
    let mut longer = hello();
    longer.push(0);
    assert_eq!(answer_len(&mut world.server, now, stranger(1), &longer), 0);
}

#[test]
fn b08_hellos_of_a_million_sources_are_remembered_by_nobody() {
    let mut world = World::new(CLEAN, 1);
    let before = (world.server.answers.capacity(), world.server.scratch.capacity());
    for number in 0..1_000_000 {
        answer_len(&mut world.server, Millis(1_000_000 + number / 100), stranger(number), &hello());
    }
    let server = &world.server;
    assert_eq!((server.counters().hellos, server.counters().answers_dropped), (1_000_000, 0));
    assert_eq!((server.connections(), server.slots.len(), server.poll_timeout()), (0, 0, None));
    // All that a HELLO touches, and none of it has grown.
    assert_eq!((server.answers.capacity(), server.scratch.capacity()), before);
}

#[test]
fn b09_nobody_gets_more_bytes_than_came_from_him() {
    let mut world = World::new(CLEAN, 1);
    let expired = config_under(1, BATTLE, &claims(3), UNIX_AT_ZERO - 1);
    let elsewhere = config_under(1, crate::BattleId(78), &claims(3), UNIX_AT_ZERO + 60_000);
    let mut answered = 0;
    for (number, config) in [expired, elsewhere, config(&claims(4))].into_iter().enumerate() {
        let player = world.join(config);
        let connect = connect_of(&mut world, player);
        let (now, home) = (world.now, world.players[player].address);
        for _ in 0..5 {
            let answer = answer_len(&mut world.server, now, home, &connect);
            assert!(answer <= connect.len(), "CONNECT {number} drew {answer} bytes");
            answered += answer;
        }
    }
    assert!(answered > 0);
    let now = world.now;
    for (kind, len) in
        (0..=255).flat_map(|kind| [4, 20, 60, HELLO_LEN, CONNECT_LEN, 1_200].map(|len| (kind, len)))
    {
        let answer = answer_len(&mut world.server, now, stranger(u64::from(kind)), &of_kind(kind, len));
        assert!(answer <= len, "kind {kind} of {len} bytes drew {answer}");
    }
    let counters = world.server.counters();
    assert!(counters.bytes_out <= counters.bytes_in, "{} out, {} in", counters.bytes_out, counters.bytes_in);
}

#[test]
fn answers_that_the_socket_does_not_take_are_bounded() {
    let mut world = World::new(CLEAN, 1);
    for number in 0..2_000 {
        world.server.handle_datagram(Millis(1), stranger(number), &mut hello());
    }
    assert_eq!(world.server.counters().answers_dropped, 2_000 - crate::limits::ANSWERS_PENDING_MAX as u64);
}

#[test]
fn b07_a_connect_with_a_cookie_of_another_address_is_dropped() {
    let mut world = World::new(CLEAN, 1);
    let player = world.join(config(&claims(3)));
    let connect = connect_of(&mut world, player);
    let now = world.now;
    assert_eq!(answer_len(&mut world.server, now, stranger(1), &connect), 0);
    assert_eq!(world.server.counters().bad_cookie, 1);
    let home = world.players[player].address;
    assert!(answer_len(&mut world.server, now, home, &connect) > 0);
    // Replayed by its owner it draws the same ACCEPT; after the cookie's time it draws nothing.
    assert!(answer_len(&mut world.server, now, home, &connect) <= connect.len());
    assert_eq!(world.server.counters().accepted, 1);
    assert_eq!(answer_len(&mut world.server, now + 30_000, home, &connect), 0);
}

#[test]
fn every_flipped_bit_of_a_connect_is_refused_without_an_answer() {
    let mut world = World::new(CLEAN, 1);
    let player = world.join(config(&claims(3)));
    let connect = connect_of(&mut world, player);
    let (now, home) = (world.now, world.players[player].address);
    for bit in 0..connect.len() * 8 {
        let mut altered = connect.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let answer = answer_len(&mut world.server, now, home, &altered);
        // The token's battle id is open: a battle that is not here is said to be elsewhere.
        let names_another_battle = (100 + 36..100 + 44).contains(&(bit / 8));
        assert!(answer == 0 || names_another_battle, "bit {bit} drew {answer} bytes");
        assert_eq!(world.server.counters().accepted, 0, "bit {bit}");
    }
}

#[test]
fn b12_what_only_the_other_side_may_say_is_counted_as_that() {
    let mut world = World::new(CLEAN, 1);
    let (player, _) = world.join_and_wait(config(&claims(3)));
    let now = world.now;
    for kind in [2, 4, 5, 6, 7] {
        let mut datagram = vec![kind, b'T', b'Y', b'1'];
        datagram.resize(100, 0);
        assert_eq!(answer_len(&mut world.server, now, stranger(1), &datagram), 0);
    }
    assert_eq!(answer_len(&mut world.server, now, stranger(1), &[0xC0; 60]), 0);
    assert_eq!(world.server.counters().wrong_side, 6);
    let server = world.server_address;
    world.players[player].client.handle_datagram(now, server, &mut [0x80; 60]);
    assert_eq!(world.players[player].client.counters().wrong_side, 1);
}

/// A session on the datagram lane, and the next packet of its client, which holds `once`.
fn a_packet_under_way() -> (World, usize, crate::ConnectionId, Vec<u8>) {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) =
        world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&claims(3)) });
    world.run(100);
    let mut packet = Vec::new();
    world.players[player].client.send_feed(world.now, b"once").unwrap();
    world.players[player].client.poll_transmit(world.now, &mut packet).unwrap();
    (world, player, connection, packet)
}

/// How often the application heard the packet's message, after a while.
fn heard_once(world: &mut World) -> usize {
    world.run(100);
    let is_it = |heard: &&Heard| matches!(heard, Heard::Message(_, _, bytes) if bytes == b"once");
    world.heard.iter().filter(is_it).count()
}

#[test]
fn b06_a_packet_with_any_bit_flipped_is_dropped_and_the_session_goes_on() {
    let (mut world, player, connection, mut packet) = a_packet_under_way();
    let (now, home) = (world.now, world.players[player].address);
    for bit in 0..packet.len() * 8 {
        let mut altered = packet.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        // A packet of another connection, which is not here.
        let hint = if (8..72).contains(&bit) { RESET_LEN } else { 0 };
        assert_eq!(answer_len(&mut world.server, now, home, &altered), hint, "bit {bit}");
    }
    assert_eq!(heard_once(&mut world), 0);
    world.server.handle_datagram(world.now, home, &mut packet);
    assert_eq!(heard_once(&mut world), 1, "the packet itself is still good");
    assert!(world.server.stats(world.now, connection).is_some() && world.ends(connection).is_empty());
}

#[test]
fn b10_a_packet_that_comes_again_is_dropped_and_counted() {
    let (mut world, player, connection, mut packet) = a_packet_under_way();
    let (now, home) = (world.now, world.players[player].address);
    for _ in 0..10 {
        world.server.handle_datagram(now, home, &mut packet.clone());
    }
    // From elsewhere too: a copy moves nobody.
    world.server.handle_datagram(now, stranger(1), &mut packet);
    assert_eq!(world.server.counters().replayed, 10);
    assert_eq!(heard_once(&mut world), 1);
    assert_eq!(world.server.path(connection), Some(home));
}

#[test]
fn b37_what_exceeds_the_tokens_budget_is_dropped_and_counted_on_either_lane() {
    for lane in [LaneWish::Datagram, LaneWish::Kcp] {
        let mut world = World::new(CLEAN, 1);
        let capped = crate::token::Claims { inputs_per_second_max: 50, ..claims(3) };
        let (player, _) = world.join_and_wait(ClientConfig { lane, ..config(&capped) });
        let (other, _) = world.join_and_wait(ClientConfig { lane, ..config(&claims(4)) });
        world.run(2_000 - (world.now.0 % 1_000));
        let before = world.heard.len();
        let mut honest = 0;
        for ms in 0..900 {
            let now = world.now;
            world.players[player].client.send_feed(now, b"flood").unwrap();
            if ms % 33 == 0 {
                honest += 1;
                world.players[other].client.send_feed(now, b"input").unwrap();
            }
            world.run(1);
        }
        world.run(60);
        let count = |wanted: &[u8]| {
            let is_wanted = |heard: &&Heard| matches!(heard, Heard::Message(_, _, bytes) if bytes == wanted);
            world.heard[before..].iter().filter(is_wanted).count()
        };
        assert_eq!((count(b"flood"), count(b"input")), (50, honest), "{lane:?}");
        assert_eq!(world.server.counters().over_budget, 850, "{lane:?}");
    }
}

#[test]
fn bytes_beyond_the_budget_are_dropped_packet_by_packet() {
    let mut world = World::new(CLEAN, 1);
    let capped = crate::token::Claims { bytes_per_second_max: 10_000, ..claims(3) };
    let (player, _) = world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&capped) });
    world.run(2_000 - (world.now.0 % 1_000));
    let before = world.heard.len();
    for _ in 0..20 {
        world.players[player].client.send_feed(world.now, &[1; 1_000]).unwrap();
        world.run(1);
    }
    world.run(40);
    assert_eq!(world.heard.len() - before, 9, "10,000 bytes hold nine packets of a bit more than 1,000");
    assert_eq!(world.server.counters().over_budget, 11);
}

#[test]
fn hostile_kcp_inside_a_valid_session_never_panics_and_stays_bounded() {
    let seed = seed_from_environment(17);
    let mut random = Random::new(seed);
    for round in 0..60 {
        let mut world = World::new(CLEAN, seed + round);
        let (player, connection) = world.join_and_wait(config(&unlimited(3)));
        world.run(10);
        world.server.send_reliable(world.now, connection, &[1; 5_000]).unwrap();
        for _ in 0..200 {
            let block = hostile_block(&mut random);
            world.players[player].client.send_raw_kcp(&block);
            world.run(1 + random.below(3));
        }
        if let Some(stats) = world.server.stats(world.now, connection) {
            assert!(stats.reliable_bytes_waiting <= 20_000, "SEED={seed} round {round}: {stats:?}");
        }
        // An honest player beside him plays on.
        let (other, _) = world.join_and_wait(config(&claims(4)));
        assert!(world.players[other].client.is_connected());
    }
}

#[test]
fn b31_a_hundred_thousand_duplicate_pushes_do_not_grow_the_acknowledgements() {
    let mut world = World::new(LinkConfig { delay_ms: 1, ..CLEAN }, 1);
    let (player, connection) = world.join_and_wait(config(&unlimited(3)));
    let mut push = kcp_segment(81, 0, 0, 5, 0, 4);
    push.extend_from_slice(&[9; 4]);
    let block: Vec<u8> = push.repeat(32);
    let before = world.server.stats(world.now, connection).unwrap();
    for _ in 0..100_000 / 32 {
        world.players[player].client.send_raw_kcp(&block);
        world.step();
    }
    let after = world.server.stats(world.now, connection).expect("still here");
    // Each duplicate is acknowledged once, in the packet that answers it: nothing piles up.
    let per_block = (after.reliable_bytes_out - before.reliable_bytes_out) / (100_000 / 32);
    assert!(per_block <= 33 * 24, "{per_block} bytes a block");
}

#[test]
fn b32_a_flood_of_window_probes_draws_no_more_than_an_answer_a_packet() {
    let mut world = World::new(LinkConfig { delay_ms: 1, ..CLEAN }, 1);
    let (player, connection) = world.join_and_wait(config(&unlimited(3)));
    let block = kcp_segment(83, 0, 0, 0, 0, 0).repeat(32);
    let rounds = 100_000 / 32;
    let before = world.server.stats(world.now, connection).unwrap();
    for _ in 0..rounds {
        world.players[player].client.send_raw_kcp(&block);
        world.step();
    }
    let after = world.server.stats(world.now, connection).expect("still here");
    let said = after.reliable_bytes_out - before.reliable_bytes_out;
    assert!(said <= rounds * 24, "{said} bytes in answer to {rounds} packets of probes");
    assert_eq!((after.reliable_bytes_waiting, world.server.counters().kcp_refused), (0, 0));
}

#[test]
fn a_message_announced_longer_than_allowed_ends_the_connection() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    let mut push = kcp_segment(81, 0, 0, 0, 0, 4);
    push.extend_from_slice(&u32::MAX.to_le_bytes());
    world.players[player].client.send_raw_kcp(&push);
    world.run(100);
    assert_eq!(world.ends(connection), [CloseReason::Misbehaved]);
    assert_eq!(world.players[player].told.last(), Some(&Told::Closed(CloseReason::Misbehaved)));
}

/// Runs until the client has a CONNECT to send, and takes it from the wire.
fn connect_of(world: &mut World, player: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let (now, home, server) = (world.now, world.players[player].address, world.server_address);
    let client = &mut world.players[player].client;
    client.poll_transmit(now, &mut out).expect("a HELLO");
    world.server.handle_datagram(now, home, &mut out);
    world.server.poll_transmit(now, &mut out).expect("a CHALLENGE");
    client.handle_datagram(now, server, &mut out);
    client.poll_transmit(now, &mut out).expect("a CONNECT");
    assert_eq!(out.len(), CONNECT_LEN);
    out
}

/// Segments that are nearly right: one field or two from the edges.
fn hostile_block(random: &mut Random) -> Vec<u8> {
    const EDGES: [u32; 12] =
        [0, 1, 5, 127, 128, 1 << 29, (1 << 30) - 1, 1 << 30, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, u32::MAX];
    let mut block = Vec::new();
    for _ in 0..1 + random.below(40) {
        let mut edge = || EDGES[random.below(EDGES.len() as u64) as usize];
        let (ts, sn, una) = (edge(), edge(), edge());
        let small = random.below(8) as u32;
        let len = if random.is_hit(1_000) { EDGES[random.below(12) as usize] } else { small };
        let command = if random.is_hit(500) { random.below(256) as u8 } else { 81 + random.below(4) as u8 };
        let fragment = if random.is_hit(1_000) { random.below(256) as u8 } else { 0 };
        let mut segment = kcp_segment(command, fragment, ts, sn, una, len);
        segment.extend(std::iter::repeat_n(3, small as usize));
        block.extend(segment);
    }
    block.truncate(1_150);
    block
}

fn kcp_segment(command: u8, fragment: u8, ts: u32, sn: u32, una: u32, len: u32) -> Vec<u8> {
    let mut segment = 0x3153_5954_u32.to_le_bytes().to_vec();
    segment.extend([command, fragment, 128, 0]);
    for field in [ts, sn, una, len] {
        segment.extend(field.to_le_bytes());
    }
    segment
}

fn unlimited(seat: u16) -> crate::token::Claims {
    crate::token::Claims { bytes_per_second_max: u32::MAX, inputs_per_second_max: u32::MAX, ..claims(seat) }
}
