//! Whole battles over bad networks, in virtual time: the real worker, the real players, no socket and no sleep.

use tiltyard::netsim::{self, spec_for};
use tiltyard_client::{Pace, PlayerSettings};
use tiltyard_engine::StateHash;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_netcode::link::{LinkConfig, Random, seed_from_environment};
use tiltyard_netcode::{Feed, LaneWish};
use tiltyard_replay::Ended;

type Field = netsim::Field<Skirmish>;

const FEEDS: [Feed; 2] = [Feed::Snapshot, Feed::Frame];

/// Loses, delays, reorders and doubles.
const BAD: LinkConfig = LinkConfig { delay_ms: 30, jitter_ms: 25, loss: 500, reorder: 300, duplicate: 300 };

fn field(players: u16, ticks: u32, link: LinkConfig, seed: u64) -> Field {
    Field::new(spec_for(players, ticks, seed), link, seed).expect("skirmish starts")
}

/// Runs until the battle and all its players are through, and holds every state against the node's.
fn run_to_end(field: &mut Field) {
    let until = field.now() + 60_000;
    assert!(field.run_to_end(until), "the battle or a player did not come to an end");
    assert_eq!(field.differing(), 0);
}

/// Four players, two on each feed, in a battle of 15 seconds; gives the field when all is over.
fn play(link: LinkConfig, lane: LaneWish, pace: Pace, seed: u64) -> Field {
    let mut field = field(4, 450, link, seed);
    for seat in 0..4 {
        let feed = FEEDS[usize::from(seat) % 2];
        field.join(seat, PlayerSettings { feed, lane, pace, ..PlayerSettings::default() });
    }
    run_to_end(&mut field);
    field
}

fn ends_with_equal_hashes(link: LinkConfig, lane: LaneWish, seed: u64) {
    let field = play(link, lane, Pace::Prompt, seed);
    let ended = field.ended().expect("it ended");
    assert_eq!(ended.end.ended, Ended::Finished);
    for (number, player) in field.players().enumerate() {
        let report = player.report(field.now());
        assert_eq!((report.desyncs, report.faults, report.misread), (0, 0, 0), "player {number}");
        assert_eq!(report.agrees, Some(true), "player {number}");
        assert_eq!(report.state_hash, Some(ended.end.final_hash), "player {number}");
        assert!(report.ticks > 300, "player {number} saw {} states", report.ticks);
    }
    let counters = ended.room.counters();
    assert_eq!((counters.inputs_bad, counters.messages_bad, counters.desyncs), (0, 0, 0));
    // How many come in time is the netcode benches' business; most do even where loss holds up a whole lane.
    assert!(counters.inputs_taken > 4 * 250, "{counters:?}");
}

#[test]
fn a_battle_over_a_bad_link_ends_with_equal_hashes_and_every_snapshot_equals_the_state() {
    let seed = seed_from_environment(41);
    eprintln!("SEED={seed}");
    for (number, lane) in [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram].into_iter().enumerate() {
        ends_with_equal_hashes(BAD, lane, seed + number as u64);
    }
}

#[test]
fn a_battle_over_a_clean_link_misses_no_input() {
    let seed = seed_from_environment(43);
    eprintln!("SEED={seed}");
    let clean = LinkConfig { delay_ms: 5, ..LinkConfig::default() };
    let field = play(clean, LaneWish::Auto, Pace::Repeatable { lead_ticks: 6 }, seed);
    let counters = field.ended().expect("it ended").room.counters();
    assert_eq!((counters.inputs_missing, counters.inputs_late), (0, 0));
    assert!(field.players().all(|player| player.report(field.now()).agrees == Some(true)));
}

#[test]
fn bots_of_one_seed_decide_the_same_whatever_the_network_does_within_their_lead() {
    let seed = seed_from_environment(47);
    eprintln!("SEED={seed}");
    let chain = |link, lane| -> Vec<StateHash> {
        play(link, lane, Pace::Repeatable { lead_ticks: 6 }, seed).hashes().collect()
    };
    let clean = chain(LinkConfig { delay_ms: 5, ..LinkConfig::default() }, LaneWish::Kcp);
    let jittery = chain(LinkConfig { delay_ms: 20, jitter_ms: 20, ..LinkConfig::default() }, LaneWish::Kcp);
    assert_eq!(clean.len(), 450);
    let parted = clean.iter().zip(&jittery).find(|(a, b)| a != b);
    assert_eq!(parted, None);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let seed = seed_from_environment(53);
    eprintln!("SEED={seed}");
    let run = || {
        let field = play(BAD, LaneWish::Auto, Pace::Prompt, seed);
        (field.now(), field.hashes().collect::<Vec<_>>(), field.ended().expect("it ended").room.counters())
    };
    assert!(run() == run());
}

#[test]
fn a_player_who_vanishes_is_played_by_the_rule_and_comes_back_from_another_address() {
    let seed = seed_from_environment(59);
    eprintln!("SEED={seed}");
    let good = LinkConfig { delay_ms: 20, ..LinkConfig::default() };
    let mut field = field(2, 1200, good, seed);
    for seat in 0..2 {
        let feed = FEEDS[usize::from(seat)];
        field.join(seat, PlayerSettings { feed, pace: Pace::Prompt, ..PlayerSettings::default() });
    }
    field.run(5_000);
    let missing =
        |field: &Field| field.worker().rooms().map(|room| room.counters().inputs_missing).sum::<u64>();
    let before = missing(&field);
    field.set_links(LinkConfig { loss: 10_000, ..good });
    field.run(15_000);
    // Both are gone for good ten seconds into the silence; until then, and after, the game's rule plays.
    assert!(missing(&field) > before + 2 * 400);
    field.move_player(0);
    field.move_player(1);
    field.set_links(good);
    run_to_end(&mut field);
    for (number, player) in field.players().enumerate() {
        let report = player.report(field.now());
        assert_eq!(report.desyncs, 0, "player {number}");
        assert_eq!(report.agrees, Some(true), "player {number}");
        assert!(report.reconnects >= 1, "player {number}");
    }
}

#[test]
fn a_new_address_of_a_living_session_is_followed() {
    let seed = seed_from_environment(61);
    eprintln!("SEED={seed}");
    let mut field = field(1, 600, LinkConfig { delay_ms: 20, ..LinkConfig::default() }, seed);
    field.join(0, PlayerSettings { feed: Feed::Frame, pace: Pace::Prompt, ..PlayerSettings::default() });
    field.run(3_000);
    field.move_player(0);
    run_to_end(&mut field);
    let report = field.players().next().expect("it joined").report(field.now());
    assert_eq!((report.desyncs, report.reconnects, report.agrees), (0, 0, Some(true)));
}

/// What a phone on a train in a tunnel has.
const WORST: LinkConfig =
    LinkConfig { delay_ms: 40, jitter_ms: 200, loss: 3_000, reorder: 1_000, duplicate: 1_000 };

#[test]
fn f40_a_battle_goes_on_over_links_that_lose_30_percent_and_scatter_the_rest_over_200_ms() {
    let seed = seed_from_environment(67);
    eprintln!("SEED={seed}");
    for lane in [LaneWish::Auto, LaneWish::Datagram] {
        let mut field = field(4, 900, WORST, seed);
        for seat in 0..4 {
            let feed = FEEDS[usize::from(seat) % 2];
            field.join(seat, PlayerSettings { feed, lane, pace: Pace::Prompt, ..PlayerSettings::default() });
        }
        run_to_end(&mut field);
        let ended = field.ended().expect("it ended");
        assert_eq!(ended.end.ended, Ended::Finished);
        for (number, player) in field.players().enumerate() {
            let report = player.report(field.now());
            assert_eq!((report.desyncs, report.faults, report.misread), (0, 0, 0), "player {number}");
            // The last word is said for two seconds, which such a link may all lose; every state that came was right.
            assert_ne!(report.agrees, Some(false), "player {number}");
            let newest = report.newest_tick.map_or(0, |tick| tick.0);
            assert!(
                newest > 800 && report.ticks > 300,
                "player {number}: {} states to {newest}",
                report.ticks
            );
        }
    }
}

/// A link of a random kind: clogged, bad or good.
fn random_link(random: &mut Random) -> LinkConfig {
    let mut below = |end: u64| random.below(end);
    match below(4) {
        0 => LinkConfig { loss: 10_000, ..LinkConfig::default() },
        1 => LinkConfig { delay_ms: below(60), ..LinkConfig::default() },
        _ => LinkConfig {
            delay_ms: below(150),
            jitter_ms: below(200),
            loss: below(3_000) as u32,
            reorder: below(1_000) as u32,
            duplicate: below(1_000) as u32,
        },
    }
}

#[test]
fn f41_links_that_change_at_random_lose_no_session_and_no_state_and_all_are_there_5_s_after() {
    const PLAYERS: u16 = 6;
    let seed = seed_from_environment(71);
    for round in 0..6 {
        let mut random = Random::new(seed + round);
        let say = || format!("SEED={} (round {round} of SEED={seed})", seed + round);
        let mut field =
            field(PLAYERS, 1_500, LinkConfig { delay_ms: 20, ..LinkConfig::default() }, seed + round);
        for seat in 0..PLAYERS {
            let lane = [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram][random.below(3) as usize];
            let feed = FEEDS[random.below(2) as usize];
            field.join(seat, PlayerSettings { feed, lane, pace: Pace::Prompt, ..PlayerSettings::default() });
        }
        field.run(1_000);
        let until = field.now() + 30_000;
        while field.now() < until {
            for number in 0..usize::from(PLAYERS) {
                match random.below(8) {
                    0 => field.move_player(number),
                    1..4 => field.set_link(number, random_link(&mut random)),
                    _ => {}
                }
            }
            field.run(100 + random.below(1_500));
            // Whoever comes back takes his own place: what lingers is bounded by what a session may linger.
            assert!(field.server().connections() <= 4 * u32::from(PLAYERS), "{}", say());
        }
        field.set_links(LinkConfig { delay_ms: 20, ..LinkConfig::default() });
        field.run(5_000);
        let now = field.hashes().count() as u32;
        for (number, player) in field.players().enumerate() {
            let shown = player.pilot().newest_tick().map_or(0, |tick| tick.0);
            let report = player.report(field.now());
            assert!(shown + 5 >= now, "{}: player {number} is at {shown} of {now}: {report:?}", say());
        }
        run_to_end(&mut field);
        for (number, player) in field.players().enumerate() {
            let report = player.report(field.now());
            assert_eq!((report.desyncs, report.faults, report.misread), (0, 0, 0), "{} {number}", say());
            assert_eq!(report.agrees, Some(true), "{} player {number}", say());
        }
    }
}

#[test]
fn who_loses_much_is_told_of_fewer_ticks_and_of_all_again_when_the_link_is_good() {
    let seed = seed_from_environment(73);
    eprintln!("SEED={seed}");
    let good = LinkConfig { delay_ms: 20, ..LinkConfig::default() };
    let of_feeds = FEEDS.into_iter().flat_map(|feed| {
        [(2_000, 300..400), (4_500, 150..250), (6_500, 100..200)].map(|(loss, told)| (feed, loss, told))
    });
    for (feed, loss, told) in of_feeds {
        let mut field = field(1, 2_400, good, seed);
        field.join(0, PlayerSettings { feed, lane: LaneWish::Datagram, ..PlayerSettings::default() });
        // Datagrams to the player in ten seconds, a few of which carry no feed.
        let sent = |field: &mut Field| {
            let before = field.link_stats().1.sent;
            field.run(10_000);
            field.link_stats().1.sent - before
        };
        field.set_links(LinkConfig { loss, ..good });
        // What was lost shows within seconds, and so does what no longer is.
        field.run(25_000);
        let sent_badly = sent(&mut field);
        assert!(told.contains(&sent_badly), "{feed:?} at a loss of {loss}: {sent_badly}");
        field.set_links(good);
        field.run(20_000);
        let sent_well = sent(&mut field);
        assert!((300..400).contains(&sent_well), "{feed:?} after a loss of {loss}: {sent_well}");
        assert!(field.ended().is_none() && field.differing() == 0);
    }
}
