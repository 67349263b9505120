//! Who is admitted, who is denied and told why, who is dropped without a word.

use super::world::*;
use crate::connection::CloseReason;
use crate::limits::{JOIN_EVERY_MS, JOINS_AT_ONCE_MAX};
use crate::link::LinkConfig;
use crate::{BattleId, Counters, DenyReason, Epoch, Feed, Lane};

const CLEAN: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

/// Joins with `config` and gives what the client was told, once it is over.
fn outcome(world: &mut World, config: crate::ClientConfig) -> Vec<Told> {
    let player = world.join(config);
    world.run(20_000);
    world.players[player].told.clone()
}

#[test]
fn a_genuine_token_is_admitted_in_two_round_trips_and_told_epoch_and_tick() {
    let mut world = World::new(CLEAN, 1);
    let began = world.now;
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    assert!(world.now.since(began) <= 85, "took {} ms", world.now.since(began));
    assert_eq!(world.players[player].told, [Told::Accepted(connection, Epoch(5), 42)]);
    assert_eq!(connection.worker(), 3);
    let [Heard::Connected(client)] = world.heard.as_slice() else { panic!("{:?}", world.heard) };
    assert_eq!((client.seat, client.team, client.player), (3, 1, 1_003));
    assert_eq!((client.connection, client.replaced, client.resume_tick), (connection, None, None));
}

#[test]
fn b13_a_token_is_good_to_its_last_millisecond_and_not_one_longer() {
    let arrival = |expires: u64| {
        let mut world = World::new(CLEAN, 1);
        outcome(&mut world, config_under(1, BATTLE, &claims(3), expires))
    };
    // HELLO leaves at 1 ms, CHALLENGE comes back at 41, CONNECT arrives at 61 and is judged then.
    let judged_at = UNIX_AT_ZERO + 61;
    assert!(matches!(arrival(judged_at)[0], Told::Accepted(..)));
    assert_eq!(arrival(judged_at - 1), [Told::Denied(DenyReason::Expired { late_ms: 1 })]);
}

#[test]
fn b14_a_token_from_the_future_is_denied_beyond_the_skew() {
    let issued = |at: u64| {
        let mut world = World::new(CLEAN, 1);
        outcome(&mut world, config(&crate::token::Claims { issued_unix_ms: at, ..claims(3) }))
    };
    assert!(matches!(issued(UNIX_AT_ZERO + 61)[0], Told::Accepted(..)));
    assert_eq!(issued(UNIX_AT_ZERO + 62), [Told::Denied(DenyReason::NotYetValid { early_ms: 1 })]);
}

#[test]
fn b17_a_battle_that_is_elsewhere_is_said_to_be() {
    let mut world = World::new(CLEAN, 1);
    let told = outcome(&mut world, config_under(1, BattleId(78), &claims(3), UNIX_AT_ZERO + 60_000));
    assert_eq!(told, [Told::Denied(DenyReason::NotHere)]);
    assert_eq!(world.server.counters().denied_not_here, 1);
}

#[test]
fn the_protocol_hash_of_token_and_client_must_be_the_battles() {
    let other = [9; 16];
    let mut world = World::new(CLEAN, 1);
    let told = outcome(&mut world, config(&crate::token::Claims { protocol_hash: other, ..claims(3) }));
    let differs = Told::Denied(DenyReason::ProtocolHash { here: PROTOCOL, theirs: other });
    assert_eq!(told, std::slice::from_ref(&differs));
    let told = outcome(&mut world, crate::ClientConfig { protocol_hash: other, ..config(&claims(3)) });
    assert_eq!(told, [differs]);
}

#[test]
fn a_client_that_simulates_must_compute_the_same() {
    let with = |feed, math_hash| {
        let mut world = World::new(CLEAN, 1);
        outcome(&mut world, crate::ClientConfig { feed, math_hash, ..config(&claims(3)) }).remove(0)
    };
    assert!(matches!(with(Feed::Frame, Some(MATH)), Told::Accepted(..)));
    assert!(matches!(with(Feed::Snapshot, None), Told::Accepted(..)));
    let denied = |theirs| Told::Denied(DenyReason::MathDiffers { here: MATH, theirs });
    assert_eq!(with(Feed::Frame, Some(1)), denied(1));
    assert_eq!(with(Feed::Frame, None), denied(0));
    assert_eq!(with(Feed::Snapshot, Some(1)), denied(1));
}

#[test]
fn b21_a_token_of_an_unknown_key_id_gets_no_word_and_is_counted() {
    let mut world = World::new(CLEAN, 1);
    let unknown = config_under(9, BATTLE, &claims(3), UNIX_AT_ZERO + 60_000);
    assert_eq!(outcome(&mut world, unknown), [Told::Closed(CloseReason::Unreachable)]);
    assert!(world.server.counters().unknown_kid > 0);
    assert_eq!((world.server.connections(), world.heard.len()), (0, 0));
}

#[test]
fn forged_tokens_and_tokens_without_their_secret_get_no_word_and_are_counted() {
    let mut world = World::new(CLEAN, 1);
    let mut forged = config(&claims(3));
    let mut bytes = *forged.token_file.token.as_bytes();
    bytes[100] ^= 1;
    forged.token_file.token = crate::token::BattleToken::from_bytes(&bytes).unwrap();
    assert_eq!(outcome(&mut world, forged), [Told::Closed(CloseReason::Unreachable)]);
    assert!(world.server.counters().forged_token > 0);

    let mut stolen = config(&claims(3));
    stolen.token_file.session_secret = crate::token::SessionSecret::from_bytes([0xEE; 32]);
    assert_eq!(outcome(&mut world, stolen), [Told::Closed(CloseReason::Unreachable)]);
    assert!(world.server.counters().forged_client_part > 0, "a token without its secret is worth nothing");
    assert_eq!((world.server.connections(), world.heard.len()), (0, 0));
}

#[test]
fn f44_two_key_ids_are_valid_at_a_time_and_rotate_while_running() {
    let mut world = World::new(CLEAN, 1);
    let expires = UNIX_AT_ZERO + 600_000;
    let (old, connection) = world.join_and_wait(config_under(1, BATTLE, &claims(1), expires));
    world.join_and_wait(config_under(2, BATTLE, &claims(2), expires));
    let rotated = crate::HostedBattle {
        keys: vec![master(2).battle_key(BATTLE), master(3).battle_key(BATTLE)],
        ..hosted()
    };
    world.server.host(BATTLE, rotated);
    world.join_and_wait(config_under(3, BATTLE, &claims(3), expires));
    world.join_and_wait(config_under(2, BATTLE, &claims(4), expires));
    world.run(5_000);
    assert!(world.players[old].client.is_connected(), "a living session does not care for its token's key");
    assert!(world.server.stats(world.now, connection).is_some());
}

#[test]
fn b19_the_higher_sequence_has_the_seat_and_the_other_is_told() {
    let mut world = World::new(CLEAN, 1);
    let (first, old) = world.join_and_wait(config(&claims(3)));
    let newer = crate::ClientConfig { connect_sequence: 2, ..config(&claims(3)) };
    let (second, new) = world.join_and_wait(newer);
    world.run(1_000);
    assert_eq!(world.players[first].told.last(), Some(&Told::Closed(CloseReason::Replaced)));
    assert!(world.players[second].client.is_connected());
    assert_eq!(world.ends(old), [CloseReason::Replaced]);
    let Some(Heard::Connected(client)) = world.heard.last() else { panic!("{:?}", world.heard) };
    assert_eq!((client.connection, client.replaced), (new, Some(old)));

    for sequence in [1, 2] {
        let older = crate::ClientConfig { connect_sequence: sequence, ..config(&claims(3)) };
        assert_eq!(outcome(&mut world, older), [Told::Denied(DenyReason::Superseded)]);
    }
    assert!(world.players[second].client.is_connected());
}

#[test]
fn f23_the_same_token_reconnects_from_elsewhere_even_after_it_expired() {
    let mut world = World::new(CLEAN, 1);
    let (player, old) = world.join_and_wait(config(&claims(3)));
    world.run(70_000);
    world.players[player].address = "203.0.113.9:999".parse().unwrap();
    let now = world.now;
    world.players[player].client.reconnect(now, Some(1_234));
    let accepted = |world: &World| matches!(world.players[player].told.last(), Some(Told::Accepted(id, ..)) if *id != old);
    while !accepted(&world) {
        world.step();
        assert!(world.now.since(now) <= 85, "{:?}", world.players[player].told);
    }
    eprintln!("back with the same token after {} ms; a round trip takes 40", world.now.since(now));
    world.run(100);
    assert_eq!(world.ends(old), [CloseReason::Replaced]);
    let Some(Heard::Connected(client)) = world.heard.last() else { panic!("{:?}", world.heard) };
    assert_eq!((client.replaced, client.resume_tick), (Some(old), Some(1_234)));
    assert!(world.players[player].client.is_connected());
}

#[test]
fn a_token_that_joins_again_and_again_is_taken_five_times_at_once_and_then_once_a_second() {
    let mut world = World::new(LinkConfig::default(), 1);
    let (player, _) = world.join_and_wait(config(&claims(3)));
    let (neighbour, _) = world.join_and_wait(config(&claims(4)));
    let began = world.now;
    for _ in 0..30 {
        let now = world.now;
        world.players[player].client.reconnect(now, None);
        world.run(100);
    }
    let (accepted, hasty) = (world.server.counters().accepted - 2, world.server.counters().hasty_joins);
    // The first join was one of those at once.
    let in_time = JOINS_AT_ONCE_MAX - 1 + world.now.since(began) / JOIN_EVERY_MS;
    assert!((in_time - 1..=in_time).contains(&accepted), "{accepted} of {in_time}");
    assert!(hasty >= 30 - accepted, "{hasty}");
    // Others do not pay for it.
    assert!(world.players[neighbour].client.is_connected());
    // And who waits is taken: the CONNECT is said again meanwhile.
    let now = world.now;
    world.players[player].client.reconnect(now, None);
    world.run(JOIN_EVERY_MS + 1_000);
    assert!(world.players[player].client.is_connected());
    // All of it comes back with time.
    world.run(JOINS_AT_ONCE_MAX * JOIN_EVERY_MS);
    let before = world.server.counters().hasty_joins;
    for _ in 0..JOINS_AT_ONCE_MAX {
        let now = world.now;
        world.players[player].client.reconnect(now, None);
        world.run(20);
        assert!(world.players[player].client.is_connected());
    }
    assert_eq!(world.server.counters().hasty_joins, before);
}

#[test]
fn b20_after_the_end_a_token_is_told_so() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    world.server.send_reliable(world.now, connection, b"the end").unwrap();
    world.server.forget(world.now, BATTLE, CloseReason::Finished);
    world.run(1_000);
    let told = &world.players[player].told;
    let end = [Told::Message(Lane::Reliable, b"the end".to_vec()), Told::Closed(CloseReason::Finished)];
    assert_eq!(told[1..], end, "the last word comes before the close");
    assert_eq!(outcome(&mut world, config(&claims(4))), [Told::Denied(DenyReason::BattleOver)]);
    assert_eq!(world.server.connections(), 0, "slots are freed");
}

#[test]
fn a_full_server_says_so() {
    let mut world = World::new(CLEAN, 1);
    for seat in 0..100 {
        world.join_and_wait(config(&claims(seat)));
    }
    assert_eq!(outcome(&mut world, config(&claims(100))), [Told::Denied(DenyReason::Full)]);
}

#[test]
fn a_handshake_survives_the_loss_of_any_datagram() {
    for lost in 0..4 {
        let mut world = World::new(CLEAN, 1);
        world.join(config(&claims(3)));
        // HELLO leaves in the first millisecond, the next word every 20.
        world.run(lost * 20);
        let gone = LinkConfig { loss: 10_000, ..CLEAN };
        world.up.set_config(gone);
        world.down.set_config(gone);
        world.run(2);
        world.up.set_config(CLEAN);
        world.down.set_config(CLEAN);
        world.run(2_000);
        assert!(world.players[0].client.is_connected(), "word {lost} was lost: {:?}", world.players[0].told);
        assert_eq!(world.heard.len(), 1, "connected once");
    }
}

#[test]
fn the_next_address_is_tried_when_one_is_silent() {
    let mut world = World::new(CLEAN, 1);
    let mut config = config(&claims(3));
    config.token_file.addresses.insert(0, "192.0.2.99:1".parse().unwrap());
    let (player, _) = world.join_and_wait(config);
    assert!(world.players[player].client.is_connected());
}

#[test]
fn a_clean_admission_counts_nothing_odd() {
    let mut world = World::new(CLEAN, 1);
    world.join_and_wait(config(&claims(3)));
    let counters = world.server.counters().clone();
    let expected = Counters {
        datagrams_in: counters.datagrams_in,
        bytes_in: counters.bytes_in,
        datagrams_out: counters.datagrams_out,
        bytes_out: counters.bytes_out,
        hellos: 1,
        accepted: 1,
        ..Counters::default()
    };
    assert_eq!(counters, expected);
}

#[test]
fn a_client_whose_every_accept_was_lost_gets_the_seat_with_its_next_handshake() {
    let mut world = World::new(CLEAN, 1);
    let player = world.join(config(&claims(3)));
    world.run(45);
    world.down.set_config(LinkConfig { loss: 10_000, ..CLEAN });
    world.run(3_300);
    assert_eq!(world.server.counters().accepted, 1, "the node accepted, the client never heard");
    world.down.set_config(CLEAN);
    world.run(1_000);
    assert!(world.players[player].client.is_connected(), "{:?}", world.players[player].told);
    let ends: Vec<_> = world.heard.iter().filter(|heard| matches!(heard, Heard::Disconnected(..))).collect();
    assert!(matches!(ends.as_slice(), [Heard::Disconnected(_, 3, CloseReason::Replaced)]), "{ends:?}");
}
