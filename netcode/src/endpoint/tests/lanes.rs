//! Messages over links that lose, reorder and double, on each policy.

use super::world::*;
use crate::connection::CloseReason;
use crate::limits::{CLEAN_MS, DATAGRAM_MESSAGE_MAX, MESSAGE_MAX, MESSAGE_TO_SERVER_MAX, RELIABLE_QUEUE_MAX};
use crate::link::{LinkConfig, Random, seed_from_environment};
use crate::{ClientConfig, Lane, LaneWish, SendError};

const CLEAN: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };
const ROUGH: LinkConfig = LinkConfig { delay_ms: 50, jitter_ms: 30, loss: 500, reorder: 300, duplicate: 300 };
/// F40: 30 % loss, 200 ms of jitter, reordering and duplication.
const AWFUL: LinkConfig =
    LinkConfig { delay_ms: 50, jitter_ms: 200, loss: 3_000, reorder: 1_000, duplicate: 1_000 };

fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.resize(len.max(4), number as u8);
    message
}

/// Both sides send messages of all sizes on the reliable lane, and a feed beside it at 30 Hz; then time to settle.
fn check(link: LinkConfig, lane: LaneWish, seed: u64) {
    let mut world = World::new(link, seed);
    let (player, connection) = world.join_and_wait(ClientConfig { lane, ..config(&claims(3)) });
    let mut random = Random::new(seed);
    let (mut up, mut down, mut feeds) = (Vec::new(), Vec::new(), 0_u32);
    for ms in 0..10_000_u32 {
        let now = world.now;
        if ms % 33 == 0 {
            feeds += 1;
            let feed = [b"feed".as_slice(), &feeds.to_le_bytes()].concat();
            world.server.send_feed(now, connection, &feed).unwrap();
            world.players[player].client.send_feed(now, &feed).unwrap();
        }
        if random.is_hit(100) {
            let number = up.len() as u32;
            up.push(numbered(number, random.below(3_000) as usize));
            world.players[player].client.send_reliable(now, up.last().unwrap()).unwrap();
        }
        if random.is_hit(100) {
            let number = down.len() as u32;
            down.push(numbered(number, random.below(9_000) as usize));
            world.server.send_reliable(now, connection, down.last().unwrap()).unwrap();
        }
        world.step();
    }
    world.run(25_000);
    assert!(
        world.players[player].client.is_connected(),
        "SEED={seed} {lane:?} {link:?}: the session did not live"
    );
    let is_feed = |message: &Vec<u8>| message.len() == 8 && message.starts_with(b"feed");
    let heard: Vec<_> = world
        .heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Message(_, Lane::Reliable, bytes) if !is_feed(bytes) => Some(bytes.clone()),
            _ => None,
        })
        .collect();
    let told: Vec<_> =
        world.messages(player, Lane::Reliable).into_iter().filter(|bytes| !is_feed(bytes)).collect();
    assert!(up.len() > 50 && down.len() > 50);
    assert!(heard == up, "SEED={seed} {lane:?} {link:?}: {} of {} came up", heard.len(), up.len());
    assert!(told == down, "SEED={seed} {lane:?} {link:?}: {} of {} came down", told.len(), down.len());
    let feeds_told = world.players[player]
        .told
        .iter()
        .filter(|told| matches!(told, Told::Message(_, bytes) if is_feed(bytes)));
    let share = feeds_told.count() * 100 / feeds as usize;
    let expected = if lane == LaneWish::Kcp { 100 } else { 90 - link.loss as usize / 100 };
    assert!(share >= expected, "SEED={seed} {lane:?} {link:?}: {share} % of the feed came");
    assert_eq!(world.server.counters().kcp_refused, 0, "SEED={seed}: an honest segment was refused");
    assert_eq!(world.players[player].client.counters().kcp_refused, 0, "SEED={seed}");
}

#[test]
fn all_reliable_messages_come_in_order_on_every_policy_over_a_bad_link() {
    let seed = seed_from_environment(11);
    for lane in [LaneWish::Kcp, LaneWish::Datagram, LaneWish::Auto] {
        for link in [CLEAN, ROUGH, AWFUL] {
            for round in 0..3 {
                check(link, lane, seed + round);
            }
        }
    }
}

#[test]
fn a_clean_link_keeps_auto_on_kcp_and_a_lossy_one_moves_it_until_a_clean_minute() {
    let mut world = World::new(CLEAN, 5);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    let mut lanes = Vec::new();
    let feed = |world: &mut World, seconds: u64, lanes: &mut Vec<(Lane, Lane)>| {
        for _ in 0..seconds * 30 {
            let now = world.now;
            let down = world.server.send_feed(now, connection, b"snapshot").unwrap();
            let up = world.players[player].client.send_feed(now, b"inputs").unwrap();
            lanes.push((down, up));
            world.run(33);
        }
    };
    feed(&mut world, 10, &mut lanes);
    assert!(lanes.iter().all(|lanes| *lanes == (Lane::Reliable, Lane::Reliable)), "no loss, no move");
    let lossy = LinkConfig { loss: 1_000, ..CLEAN };
    world.up.set_config(lossy);
    world.down.set_config(lossy);
    feed(&mut world, 3, &mut lanes);
    assert_eq!(lanes.last(), Some(&(Lane::Datagram, Lane::Datagram)));
    world.up.set_config(CLEAN);
    world.down.set_config(CLEAN);
    feed(&mut world, CLEAN_MS / 1_000 - 10, &mut lanes);
    assert_eq!(lanes.last(), Some(&(Lane::Datagram, Lane::Datagram)), "not before a clean minute");
    feed(&mut world, 15, &mut lanes);
    assert_eq!(lanes.last(), Some(&(Lane::Reliable, Lane::Reliable)));
}

#[test]
fn a_feed_message_that_is_too_long_for_a_datagram_goes_reliably() {
    let mut world = World::new(CLEAN, 5);
    let (player, connection) =
        world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&claims(3)) });
    let now = world.now;
    let mut send = |len| world.server.send_feed(now, connection, &vec![1; len]).unwrap();
    assert_eq!(send(DATAGRAM_MESSAGE_MAX), Lane::Datagram);
    assert_eq!(send(DATAGRAM_MESSAGE_MAX + 1), Lane::Reliable);
    world.run(200);
    assert_eq!(world.messages(player, Lane::Datagram), [vec![1; DATAGRAM_MESSAGE_MAX]]);
    assert_eq!(world.messages(player, Lane::Reliable), [vec![1; DATAGRAM_MESSAGE_MAX + 1]]);
}

#[test]
fn the_longest_messages_pass_and_longer_ones_are_not_taken() {
    let mut world = World::new(LinkConfig { delay_ms: 5, ..CLEAN }, 5);
    let (player, connection) =
        world.join_and_wait(ClientConfig { lane: LaneWish::Kcp, ..config(&unlimited(3)) });
    let now = world.now;
    let longest = numbered(1, MESSAGE_MAX);
    world.server.send_reliable(now, connection, &longest).unwrap();
    let too_long = SendError::TooLong { len: MESSAGE_MAX + 1, max: MESSAGE_MAX };
    assert_eq!(world.server.send_reliable(now, connection, &vec![0; MESSAGE_MAX + 1]), Err(too_long));
    let client = &mut world.players[player].client;
    let up = numbered(2, MESSAGE_TO_SERVER_MAX);
    client.send_reliable(now, &up).unwrap();
    let too_long = SendError::TooLong { len: MESSAGE_TO_SERVER_MAX + 1, max: MESSAGE_TO_SERVER_MAX };
    assert_eq!(client.send_reliable(now, &vec![0; MESSAGE_TO_SERVER_MAX + 1]), Err(too_long));
    world.run(3_000);
    assert!(world.messages(player, Lane::Reliable) == [longest]);
    assert_eq!(world.heard.last(), Some(&Heard::Message(connection, Lane::Reliable, up)));
    let refused = [world.server.counters().kcp_refused, world.players[player].client.counters().kcp_refused];
    assert_eq!(refused, [0, 0], "a burst of acknowledgements is honest");
}

#[test]
fn a_keyframe_of_100_kb_takes_two_round_trips_at_most() {
    let mut world = World::new(LinkConfig { delay_ms: 50, ..CLEAN }, 5);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    let began = world.now;
    world.server.send_reliable(began, connection, &numbered(1, 100_000)).unwrap();
    while world.messages(player, Lane::Reliable).is_empty() && world.now.since(began) < 2_000 {
        world.step();
    }
    assert!(world.now.since(began) <= 200, "took {} ms", world.now.since(began));
}

#[test]
fn f39_a_client_that_never_reads_is_cut_and_the_others_do_not_notice() {
    let mut world = World::new(CLEAN, 5);
    let (slow, slow_connection) = world.join_and_wait(config(&claims(3)));
    let (good, good_connection) = world.join_and_wait(config(&claims(4)));
    world.players[slow].reads = false;
    let chunk = vec![7; 64 * 1024];
    let (mut cut_after, mut waiting_max) = (None, 0);
    for round in 0..2_000_u32 {
        let now = world.now;
        if cut_after.is_none() && world.server.send_reliable(now, slow_connection, &chunk).is_err() {
            cut_after = Some(round);
        }
        let stats = world.server.stats(now, slow_connection);
        waiting_max = waiting_max.max(stats.map_or(0, |stats| stats.reliable_bytes_waiting));
        world.server.send_reliable(now, good_connection, &round.to_le_bytes()).unwrap();
        world.run(10);
    }
    assert!(cut_after.is_some(), "never cut");
    assert!(waiting_max <= RELIABLE_QUEUE_MAX, "{waiting_max} bytes waited");
    assert_eq!(world.ends(slow_connection), [CloseReason::SlowReader]);
    assert_eq!(world.server.counters().slow_readers, 1);
    let got = world.messages(good, Lane::Reliable);
    assert!(
        got.len() >= 1_990 && got.iter().zip(0..).all(|(bytes, round)| *bytes == u32::to_le_bytes(round))
    );
}

fn unlimited(seat: u16) -> crate::token::Claims {
    crate::token::Claims { bytes_per_second_max: u32::MAX, inputs_per_second_max: u32::MAX, ..claims(seat) }
}

#[test]
fn f41_links_that_clog_and_clear_at_random_lose_no_session_and_no_reliable_message() {
    let seed = seed_from_environment(31);
    let mut survivors = 0;
    for round in 0..8 {
        let mut random = Random::new(seed + round);
        let mut world = World::new(ROUGH, seed + round);
        let seats: Vec<_> = (0..4).map(|seat| world.join_and_wait(config(&claims(seat)))).collect();
        let mut sent = 0_u32;
        for _ in 0..20 {
            // Each direction is clogged, rough or clean for up to three seconds; silence stays below the timeout.
            for link in [&mut world.up, &mut world.down] {
                let clogged = LinkConfig { loss: 10_000, ..ROUGH };
                link.set_config([clogged, ROUGH, CLEAN][random.below(3) as usize]);
            }
            for _ in 0..random.below(90) {
                for (_, connection) in &seats {
                    world.server.send_reliable(world.now, *connection, &sent.to_le_bytes()).unwrap();
                    world.server.send_feed(world.now, *connection, b"feed").unwrap();
                }
                sent += 1;
                world.run(33);
            }
            if random.is_hit(5_000) {
                world.up.set_config(CLEAN);
                world.down.set_config(CLEAN);
                world.run(1_500);
            }
        }
        world.up.set_config(CLEAN);
        world.down.set_config(CLEAN);
        world.run(5_000);
        for (player, connection) in seats {
            if !world.ends(connection).is_empty() {
                // Clogged for ten seconds on end: the bound was reached, and both sides know it.
                assert_eq!(world.ends(connection), [CloseReason::TimedOut], "SEED={seed} round {round}");
                assert!(!world.players[player].client.is_connected());
                continue;
            }
            let told = world.messages(player, Lane::Reliable);
            let numbers: Vec<_> = told.iter().filter(|bytes| *bytes != b"feed").cloned().collect();
            let expected: Vec<_> = (0..sent).map(|number| number.to_le_bytes().to_vec()).collect();
            assert!(numbers == expected, "SEED={seed} round {round}: {} of {sent}", numbers.len());
            survivors += 1;
        }
    }
    assert!(survivors >= 16, "SEED={seed}: only {survivors} of 32 sessions lived to the end");
}

/// The age of the newest feed message at the client, p50 and p99 over a minute at 30 Hz, milliseconds.
fn state_age(link: LinkConfig, lane: LaneWish, seed: u64) -> (u64, u64) {
    let mut world = World::new(link, seed);
    let (player, connection) = world.join_and_wait(ClientConfig { lane, ..config(&claims(3)) });
    let (mut ages, mut newest) = (Vec::new(), None);
    for ms in 0..60_000_u64 {
        let now = world.now;
        if ms % 33 == 0 {
            world.server.send_feed(now, connection, &now.0.to_le_bytes()).unwrap();
            world.players[player].client.send_feed(now, b"inputs").unwrap();
        }
        world.step();
        for told in world.players[player].told.drain(..) {
            if let Told::Message(_, bytes) = told {
                newest = newest.max(Some(u64::from_le_bytes(bytes.try_into().unwrap())));
            }
        }
        // The first seconds belong to the policy, which has to see a loss first.
        if ms > 5_000 {
            ages.push(world.now.0 - newest.expect("something came"));
        }
    }
    ages.sort_unstable();
    (ages[ages.len() / 2], ages[ages.len() * 99 / 100])
}

#[test]
fn at_five_percent_loss_the_newest_state_is_at_most_120_ms_old_at_p99_where_it_rides_datagrams() {
    let seed = seed_from_environment(37);
    let link = |loss| LinkConfig { delay_ms: 50, loss, ..CLEAN };
    for lane in [LaneWish::Auto, LaneWish::Datagram] {
        let (median, worst) = state_age(link(500), lane, seed);
        assert!(worst <= 120, "SEED={seed} {lane:?}: p50 {median} ms, p99 {worst} ms");
    }
    let (_, over_kcp) = state_age(link(500), LaneWish::Kcp, seed);
    assert!(over_kcp > 120, "SEED={seed}: KCP alone reaches {over_kcp} ms, so auto would not be needed");
    let (_, clean) = state_age(link(0), LaneWish::Auto, seed);
    assert!(clean <= 84, "SEED={seed}: {clean} ms without loss");
    eprintln!("p99 of the state's age: {over_kcp} ms over KCP at 5 % loss, {clean} ms on a clean link");
}
