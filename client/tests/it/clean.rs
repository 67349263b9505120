//! Over a link that only delays.

use tiltyard_engine::{Reason, Seat};
use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::{Feed, LaneWish};

use crate::world::{House, Setup};

const LINK: LinkConfig = LinkConfig { delay_ms: 20, jitter_ms: 0, loss: 0, reorder: 0, duplicate: 0 };

fn mixed(lane: LaneWish) -> Vec<Setup> {
    [Feed::Snapshot, Feed::Frame, Feed::Snapshot, Feed::Frame].map(|feed| Setup::bot(feed, lane)).into()
}

#[test]
fn both_feeds_end_in_the_hosts_state_on_every_lane() {
    for lane in [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram] {
        let mut house = House::new(6, LINK, 7, mixed(lane));
        house.run_to_the_end(10_000);
        house.assert_in_step();
        let heard = house.host.heard;
        match lane {
            LaneWish::Datagram => assert_eq!(heard.feeds_on_kcp, 0),
            LaneWish::Auto | LaneWish::Kcp => assert_eq!(heard.feeds_on_datagrams, 0),
        }
        for player in &house.players {
            let report = player.report(house.now);
            assert_eq!((report.ticks, report.agrees), (180 + frame_start(&report), Some(true)), "{lane:?}");
            assert_eq!(report.reconnects, 0);
            assert!(report.rtt_ms.is_some_and(|ms| (40..=60).contains(&ms)), "{:?}", report.rtt_ms);
            assert!(report.traffic.up > 1_000 && report.traffic.down > 1_000);
        }
    }
}

/// The frame feed shows tick 0 by a keyframe as well.
fn frame_start(report: &tiltyard_client::Report) -> u64 {
    let seat = report.place.expect("a node took it").seat;
    u64::from(seat % 2 == 1)
}

#[test]
fn every_tick_is_decided_once_and_every_input_comes_in_time() {
    let mut house = House::new(6, LINK, 3, mixed(LaneWish::Auto));
    house.run_to_the_end(10_000);
    let heard = house.host.heard;
    assert_eq!((heard.inputs_missing, heard.inputs_late), (0, 0), "{heard:?}");
    for tick in 1..=180 {
        for seat in 0..4 {
            let input = house.host.input(Seat(seat), tick).expect("it was played");
            assert_eq!(input.reason, Reason::Arrived, "seat {seat}, tick {tick}");
        }
    }
    for player in &house.players {
        // The state of tick 180 leads to decisions for ticks that are not played.
        assert_eq!(player.report(house.now).inputs, 186);
    }
}

#[test]
fn one_seed_gives_the_same_decisions_over_a_clean_and_a_jittery_link() {
    let play = |link: LinkConfig, feeds: [Feed; 4], lane| {
        let mut house = House::new(6, link, 11, feeds.map(|feed| Setup::bot(feed, lane)).into());
        house.run_to_the_end(10_000);
        house.assert_in_step();
        assert_eq!(house.host.heard.inputs_missing, 0, "the claim is about inputs in time");
        house.host.hashes
    };
    let (snapshot, frame) = (Feed::Snapshot, Feed::Frame);
    let clean = play(LINK, [snapshot, frame, snapshot, frame], LaneWish::Auto);
    let jittery = LinkConfig { jitter_ms: 25, ..LINK };
    assert_eq!(clean, play(jittery, [snapshot, frame, snapshot, frame], LaneWish::Kcp));
    assert_eq!(clean, play(jittery, [frame, frame, frame, frame], LaneWish::Datagram));
    assert_eq!(clean, play(LINK, [snapshot, snapshot, snapshot, snapshot], LaneWish::Datagram));
}

#[test]
fn a_clock_that_steers_itself_answers_sooner_than_the_fixed_lead() {
    let setups = |setup: fn(Feed, LaneWish) -> Setup| {
        vec![setup(Feed::Snapshot, LaneWish::Auto), setup(Feed::Frame, LaneWish::Auto)]
    };
    let run = |setups| {
        let mut house = House::new(20, LINK, 5, setups);
        house.run_to_the_end(25_000);
        house.assert_in_step();
        let report = house.players[0].report(house.now);
        (report.input_to_state.quantile_ms(0.5), report.input_to_state.max_ms(), house.host.heard)
    };
    let (fixed_ms, fixed_ms_max, _) = run(setups(Setup::bot));
    let (steered_ms, _, heard) = run(setups(Setup::prompt));
    // Six ticks; the wait for the battle's begin is no latency.
    assert!((190..=210).contains(&fixed_ms_max), "{fixed_ms_max} ms");
    // Two ways of 20 ms, up to a tick of waiting, and the margin.
    assert!((40..=120).contains(&steered_ms), "{steered_ms} ms");
    assert!(fixed_ms >= 190, "{fixed_ms} ms");
    // The first ticks are made before the clock runs.
    assert!(heard.inputs_missing <= 2 * 12, "{heard:?}");
}
