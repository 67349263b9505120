//! Clients that move, vanish and leave.

use std::net::SocketAddr;

use super::world::*;
use crate::ClientConfig;
use crate::connection::CloseReason;
use crate::limits::TIMEOUT_MS;
use crate::link::LinkConfig;
use crate::{Lane, LaneWish};

const CLEAN: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

#[test]
fn a_client_with_a_new_address_is_followed_within_a_round_trip_of_its_first_word() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) =
        world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&claims(3)) });
    world.run(500);
    let elsewhere = "203.0.113.50:7777".parse().unwrap();
    world.players[player].address = elsewhere;
    let now = world.now;
    world.players[player].client.send_feed(now, b"hello from the train").unwrap();
    let mut followed = None;
    for ms in 1..=200 {
        world.step();
        if followed.is_none() && world.server.path(connection) == Some(elsewhere) {
            followed = Some(ms);
        }
    }
    // The word takes 20 ms up; then the challenge down and the answer up are one round trip.
    assert!(followed.is_some_and(|ms| ms <= 64), "{followed:?}");
    eprintln!(
        "followed to a new address {followed:?} ms after the first word from there; a round trip takes 40"
    );
    assert_eq!((world.server.counters().paths_challenged, world.server.counters().paths_followed), (1, 1));
    assert!(world.ends(connection).is_empty());
}

#[test]
fn a_copied_packet_from_another_address_moves_nobody_and_draws_at_most_three_times_its_bytes() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) =
        world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&claims(3)) });
    world.run(500);
    let home = world.players[player].address;
    let thief: SocketAddr = "203.0.113.66:1".parse().unwrap();
    // The thief stands on the path, takes a packet away and sends it from his own address.
    let now = world.now;
    world.players[player].client.send_feed(now, b"x").unwrap();
    let mut packet = Vec::new();
    world.players[player].client.poll_transmit(now, &mut packet).unwrap();
    let bytes_in = packet.len();
    world.server.handle_datagram(now, thief, &mut packet.clone());
    world.server.handle_datagram(now, home, &mut packet);
    assert_eq!(world.server.counters().replayed, 1);
    let (mut to_thief, mut out) = (0, Vec::new());
    for _ in 0..5_000 {
        world.now = world.now + 1;
        let now = world.now;
        world.server.handle_timeout(now);
        while let Some(transmit) = world.server.poll_transmit(now, &mut out) {
            if transmit.to.address == thief {
                to_thief += out.len();
            }
        }
    }
    assert!(to_thief > 0 && to_thief <= 3 * bytes_in, "{to_thief} bytes for {bytes_in}");
    assert_eq!(world.server.path(connection), Some(home));
    assert_eq!(world.server.counters().paths_followed, 0);
}

#[test]
fn an_old_packet_from_elsewhere_challenges_nobody() {
    let mut world = World::new(CLEAN, 1);
    let (player, _) = world.join_and_wait(ClientConfig { lane: LaneWish::Datagram, ..config(&claims(3)) });
    let now = world.now;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    world.players[player].client.send_feed(now, b"1").unwrap();
    world.players[player].client.poll_transmit(now, &mut first).unwrap();
    world.players[player].client.send_feed(now, b"2").unwrap();
    world.players[player].client.poll_transmit(now, &mut second).unwrap();
    world.server.handle_datagram(now, world.players[player].address, &mut second);
    let elsewhere: SocketAddr = "203.0.113.66:1".parse().unwrap();
    world.server.handle_datagram(now, elsewhere, &mut first);
    assert_eq!(world.server.counters().paths_challenged, 0);
}

#[test]
fn f5_a_client_that_vanishes_times_out_and_its_token_resumes_the_seat() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    let gone = LinkConfig { loss: 10_000, ..CLEAN };
    world.up.set_config(gone);
    world.down.set_config(gone);
    let began = world.now;
    while world.ends(connection).is_empty() {
        world.step();
        assert!(world.now.since(began) <= TIMEOUT_MS + 50, "no timeout");
    }
    assert_eq!(world.ends(connection), [CloseReason::TimedOut]);
    world.run(2_000);
    assert_eq!(world.players[player].told.last(), Some(&Told::Closed(CloseReason::TimedOut)));
    world.up.set_config(CLEAN);
    world.down.set_config(CLEAN);
    world.players[player].address = "203.0.113.9:1".parse().unwrap();
    let now = world.now;
    world.players[player].client.reconnect(now, Some(100));
    world.run(100);
    assert!(world.players[player].client.is_connected());
    let Some(Heard::Connected(client)) = world.heard.last() else { panic!("{:?}", world.heard) };
    assert_eq!((client.replaced, client.resume_tick, client.seat), (None, Some(100), 3));
}

#[test]
fn a_leaving_client_says_goodbye_after_its_last_word() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    let now = world.now;
    world.players[player].client.send_reliable(now, b"last word").unwrap();
    world.players[player].client.close(now, CloseReason::Left);
    world.run(500);
    let end = [
        Heard::Message(connection, Lane::Reliable, b"last word".to_vec()),
        Heard::Disconnected(connection, 3, CloseReason::Left),
    ];
    assert_eq!(world.heard[1..], end);
    assert_eq!(world.players[player].told.last(), Some(&Told::Closed(CloseReason::Left)));
    assert!(world.players[player].client.is_over());
    world.run(5_000);
    assert_eq!(world.server.connections(), 0);
}

#[test]
fn a_close_that_was_lost_is_said_again_to_a_client_that_goes_on_talking() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    world.run(200);
    world.down.set_config(LinkConfig { loss: 10_000, ..CLEAN });
    world.server.close(world.now, connection, CloseReason::Removed);
    world.run(10);
    world.down.set_config(CLEAN);
    for _ in 0..20 {
        let now = world.now;
        let _ = world.players[player].client.send_feed(now, b"x").is_ok();
        world.run(50);
    }
    assert_eq!(world.players[player].told.last(), Some(&Told::Closed(CloseReason::Removed)));
    assert_eq!(world.ends(connection), [CloseReason::Removed]);
}

#[test]
fn a_goodbye_is_said_until_one_of_four_is_heard() {
    let mut world = World::new(CLEAN, 1);
    let (player, connection) = world.join_and_wait(config(&claims(3)));
    world.run(200);
    world.up.set_config(LinkConfig { loss: 10_000, ..CLEAN });
    let now = world.now;
    world.players[player].client.close(now, CloseReason::Left);
    world.run(250);
    assert!(!world.players[player].client.is_over(), "there is something left to say");
    world.up.set_config(CLEAN);
    world.run(250);
    assert_eq!(world.ends(connection), [CloseReason::Left]);
    assert!(world.players[player].client.is_over());
    let said = world.server.counters().datagrams_in;
    world.run(2_000);
    assert_eq!(world.server.counters().datagrams_in, said, "four are enough");
}

#[test]
fn an_idle_session_lives_for_hours_on_a_packet_in_two_seconds() {
    let mut world = World::new(CLEAN, 1);
    let (player, _) = world.join_and_wait(config(&claims(3)));
    world.run(1_000);
    let before = world.server.counters().clone();
    world.run(600_000);
    let after = world.server.counters();
    assert!(world.players[player].client.is_connected());
    let (heard, said) =
        (after.datagrams_in - before.datagrams_in, after.datagrams_out - before.datagrams_out);
    assert!((295..=305).contains(&heard) && (295..=305).contains(&said), "{heard} in, {said} out");
}
