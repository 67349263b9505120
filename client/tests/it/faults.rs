//! What goes wrong in battles: nodes that lie, babble, die or are replaced, players that leave.

use tiltyard_client::{Idle, Over, PlayerSettings};
use tiltyard_engine::{Reason, Seat};
use tiltyard_netcode::link::{LinkConfig, Random, seed_from_environment};
use tiltyard_netcode::message::End;
use tiltyard_netcode::{CloseReason, DenyReason, Epoch, Feed, LaneWish};

use crate::host::Fault;
use crate::world::{House, Setup, server_config};

const LINK: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

fn both_feeds() -> Vec<Setup> {
    vec![Setup::bot(Feed::Snapshot, LaneWish::Auto), Setup::bot(Feed::Frame, LaneWish::Auto)]
}

#[test]
fn a_wrong_state_hash_is_reported_once_and_the_player_is_in_step_again() {
    let mut house = House::new(6, LINK, 5, both_feeds());
    house.host.fault = Fault::WrongHash(60);
    house.run_to_the_end(10_000);
    assert_eq!(house.host.heard.desyncs, 2);
    for player in &house.players {
        let report = player.report(house.now);
        let first = report.first_desync.expect("one was seen");
        assert_eq!((report.desyncs, first.tick.0), (1, 60));
        assert_eq!(first.here, house.host.hashes[59]);
        assert_ne!(first.here, first.node);
        assert_eq!(report.agrees, Some(true), "{report:?}");
    }
    assert!(house.host.heard.keyframes_asked >= 1);
}

#[test]
fn noise_in_the_feeds_is_counted_and_never_ends_a_player() {
    let seed = seed_from_environment(6);
    eprintln!("SEED={seed}");
    let mut house = House::new(6, LINK, seed, both_feeds());
    house.host.fault = Fault::Noise(60);
    house.run_for(3_500);
    house.host.fault = Fault::None;
    house.run_to_the_end(10_000);
    for player in &house.players {
        let report = player.report(house.now);
        assert!(report.misread > 20, "{report:?}");
        assert!(report.ended().is_some());
        assert_eq!((report.agrees, report.faults), (Some(true), 0), "{report:?}");
    }
}

#[test]
fn random_messages_are_counted_and_never_end_a_player() {
    let seed = seed_from_environment(8);
    eprintln!("SEED={seed}");
    let mut random = Random::new(seed);
    let mut house = House::new(6, LINK, seed, both_feeds());
    house.run_for(2_000);
    for _ in 0..300 {
        let mut bytes = vec![0; 1 + random.below(200) as usize];
        random.fill(&mut bytes);
        // A kind that exists, and an epoch that does not end all others.
        bytes[0] = 16 + random.below(5) as u8;
        if let Some(epoch) = bytes.get_mut(1..5) {
            epoch.copy_from_slice(&5_u32.to_le_bytes());
        }
        if bytes[0] == 20 {
            bytes[0] = 21;
        }
        let now = house.now;
        house.host.say_to_all(now, &bytes);
        house.run_for(5);
    }
    house.run_to_the_end(10_000);
    for player in &house.players {
        let report = player.report(house.now);
        assert!(report.misread > 100 && report.ended().is_some(), "{report:?}");
    }
}

#[test]
fn the_higher_epoch_is_followed_from_an_earlier_tick_and_the_lower_is_dropped() {
    let mut house = House::new(8, LINK, 5, both_feeds());
    house.run_for(3_000);
    let before = house.players[1].pilot().newest_tick().expect("it runs");
    let now = house.now;
    house.host.take_over(now, 20);
    house.run_for(300);
    for player in &house.players {
        let after = player.pilot().newest_tick().expect("it runs");
        assert!(after.0 < before.0, "{after:?} after {before:?}");
    }
    // The old copy speaks up again: it is not heard.
    let mut message = Vec::new();
    End { epoch: Epoch(5), tick: 3, state_hash: 0, outcome: &[] }.encode(&mut message);
    let now = house.now;
    house.host.say_to_all(now, &message);
    house.run_to_the_end(12_000);
    for player in &house.players {
        let report = player.report(house.now);
        assert_eq!(report.ended().map(|ended| ended.tick.0), Some(240));
        assert_eq!((report.outdated, report.desyncs, report.agrees), (1, 0, Some(true)), "{report:?}");
    }
}

#[test]
fn a_node_that_forgot_its_sessions_is_joined_again_with_the_same_token() {
    let mut house = House::new(40, LINK, 5, both_feeds());
    house.run_for(3_000);
    house.host.lose_memory(server_config());
    house.run_to_the_end(60_000);
    assert_eq!(house.host.heard.joins, 4);
    for player in &house.players {
        let report = player.report(house.now);
        assert_eq!((report.reconnects, report.desyncs, report.agrees), (1, 0, Some(true)), "{report:?}");
    }
}

#[test]
fn a_dark_link_is_given_up_in_the_end() {
    let settings = PlayerSettings { reconnect_for_ms: 12_000, ..PlayerSettings::default() };
    let mut house = House::new(60, LINK, 5, vec![Setup { settings, script: Box::new(Idle) }]);
    house.run_for(2_000);
    let dark = LinkConfig { loss: 10_000, ..LINK };
    house.up.set_config(dark);
    house.down.set_config(dark);
    house.run_to_the_end(30_000);
    let over = house.players[0].report(house.now).over;
    assert_eq!(over, Some(Over::Closed(CloseReason::TimedOut)));
}

#[test]
fn a_node_that_never_answers_is_tried_for_a_while_and_then_unreachable() {
    let dark = LinkConfig { loss: 10_000, ..LINK };
    let mut house = House::new(5, dark, 5, vec![Setup::bot(Feed::Frame, LaneWish::Auto)]);
    house.run_for(9_000);
    assert_eq!(house.players[0].report(house.now).over, None);
    house.run_to_the_end(5_000);
    let report = house.players[0].report(house.now);
    assert_eq!((report.over, report.place), (Some(Over::Closed(CloseReason::Unreachable)), None));
}

#[test]
fn an_idle_seat_is_played_by_the_games_rule_and_still_sees_the_battle() {
    let mut setups = both_feeds();
    setups[0].script = Box::new(Idle);
    setups[1].script = Box::new(Idle);
    let mut house = House::new(6, LINK, 5, setups);
    house.run_to_the_end(10_000);
    house.assert_in_step();
    for tick in 1..=180 {
        for seat in 0..2 {
            let input = house.host.input(Seat(seat), tick).expect("it was played");
            assert_ne!(input.reason, Reason::Arrived);
        }
    }
    assert_eq!(house.players[0].report(house.now).inputs, 0);
}

#[test]
fn who_leaves_is_gone_at_once_and_the_battle_goes_on() {
    let mut house = House::new(6, LINK, 5, both_feeds());
    house.run_for(2_000);
    let now = house.now;
    house.players[0].leave(now);
    house.run_to_the_end(10_000);
    assert_eq!(house.players[0].report(house.now).over, Some(Over::Left));
    assert_eq!(house.players[1].report(house.now).agrees, Some(true));
    let played = house.host.played.iter().filter(|tick| tick[0].reason == Reason::Arrived).count();
    assert!((30..100).contains(&played), "{played}");
}

#[test]
fn a_player_of_another_protocol_hears_why_it_is_refused() {
    let mut house = House::new(5, LINK, 5, both_feeds());
    house.host.speak_another_protocol();
    house.run_to_the_end(5_000);
    for player in &house.players {
        let report = player.report(house.now);
        assert!(matches!(report.refused(), Some(DenyReason::ProtocolHash { .. })), "{report:?}");
        assert_eq!(report.place, None);
    }
}
