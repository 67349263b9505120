//! What every game should ask of itself, and what fog promises: nothing of what a team does not see is in its bytes.

use tiltyard::netsim::Field;
use tiltyard_battle::{Client, Outgoing, Room, RoomSettings};
use tiltyard_client::{Mirror, Pace, PlayerSettings, Shown};
use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::{Battle, BattleSpec, Game, Roster, Seat, SeatRole, StateHash, Tick, World, testing};
use tiltyard_netcode::link::{LinkConfig, Random, seed_from_environment};
use tiltyard_netcode::message::{Inputs, Snapshot, ToClient, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, DenyReason, Epoch, Feed, LaneWish};

use super::{ARROWS_MAX, Arrow, Hunt, Hunter, Input, KEPT, Land, Puppet, Quiver, row_of};

fn spec(seed: u64) -> BattleSpec<Hunt> {
    BattleSpec::bots(&Hunt::modes()[0], seed)
}

#[test]
fn rolling_back_changes_nothing() {
    testing::sync_test(&spec(7), 600);
}

#[test]
fn a_restored_battle_goes_on_bit_for_bit() {
    testing::restore_and_continue(&spec(7), 300);
}

#[test]
fn no_state_depends_on_its_history() {
    testing::history_fuzz::<Hunt>(20);
}

#[test]
fn bots_find_each_other_in_the_fog() {
    let mut battle = Battle::new(spec(3)).expect("the hunt starts");
    let mut record = tiltyard_engine::TickRecord::neutral(battle.tick(), 6);
    let mut hits = 0;
    while battle.outcome().is_none() {
        battle.bot_record(&mut record);
        assert!(record.inputs.iter().all(|seat| Hunt::check(&seat.input)));
        battle.step(&record);
        hits += battle.events().len();
    }
    assert!(hits > 5, "{hits}");
}

/// A room of players alone on wide land, where the teams begin at least 40 m apart and nobody sees the other team.
fn room(seats_per_team: u16, half: f32) -> Room<Hunt> {
    let mut spec = spec(11);
    spec.setup = Land { half, ..spec.setup };
    spec.roster = Roster::bots(2, seats_per_team);
    spec.terms.ticks_max = 120;
    spec.roster.seats.iter_mut().for_each(|seat| seat.role = SeatRole::Human);
    room_of(spec)
}

fn room_of(spec: BattleSpec<Hunt>) -> Room<Hunt> {
    let settings =
        RoomSettings { wait_ms: 0, countdown_ms: 0, keyframe_ticks: 300, snapshot_ticks: 0, catch_up_max: 5 };
    let mut room = Room::new(BattleId(1), Epoch(1), spec, settings).expect("the hunt starts");
    room.open(0);
    room
}

const SPECTATOR: ConnectionId = ConnectionId(1000);

fn connection(seat: u16) -> ConnectionId {
    ConnectionId(u64::from(seat))
}

/// Everybody joins and a spectator comes; seats of team 1 say what `other_team` says. Gives what each connection was
/// told from the first word to the last, and the state that it came to.
fn play(
    room: &mut Room<Hunt>,
    other_team: impl Fn(Tick) -> Input,
    mut told: impl FnMut(ConnectionId, &[u8]),
) -> StateHash {
    let (mut out, mut message) = (Outgoing::default(), Vec::new());
    let roster = room.battle().spec().roster.clone();
    for (seat, _) in roster.iter() {
        assert!(room.join(seat, Client::new(connection(seat.0), Feed::Snapshot), 0, &mut out));
    }
    assert!(room.watch(Client::new(SPECTATOR, Feed::Snapshot), &mut out));
    loop {
        out.iter().for_each(|(to, _, bytes)| told(to, bytes));
        out.clear();
        if room.is_over() {
            return room.battle().state_hash();
        }
        let now = room.battle().tick();
        for (seat, entry) in roster.iter() {
            let input = if entry.team.0 == 1 { other_team(now) } else { Input::default() };
            let input = tiltyard_engine::bytemuck::bytes_of(&input);
            // What is acknowledged is two ticks old.
            let held = now.0.checked_sub(2).filter(|held| *held > 0);
            Inputs::encode(&mut message, seat.0, held, now.0 + 1, [input].into_iter());
            room.message(seat, connection(seat.0), &ToServer::parse(&message).expect("it is sound"));
        }
        room.poll(room.next_us(), &mut out);
    }
}

#[test]
fn what_a_team_does_not_see_is_not_in_its_bytes() {
    let quiet = |_: Tick| Input::default();
    // Away from the others, with arrows that fly and end unseen, and a walk that differs in every tick.
    let busy = |tick: Tick| Input { walk: [100, (tick.0 % 50) as i8], aim: 500, shoot: 1 };
    let tape = |other_team: &dyn Fn(Tick) -> Input| {
        let (mut seats, mut spectator) = (Vec::new(), Vec::new());
        let hash = play(&mut room(3, 200.0), other_team, |to, bytes| {
            if to == SPECTATOR {
                spectator.push(bytes.to_vec());
            } else if to.0 < 3 {
                seats.push((to, bytes.to_vec()));
            }
        });
        (seats, spectator, hash)
    };
    let (seats, spectator, hash) = tape(&quiet);
    let (twins, twin_spectator, twin_hash) = tape(&busy);
    assert_ne!(hash, twin_hash, "the battles differ");
    assert_ne!(spectator, twin_spectator, "who may see it is told");
    // START, a snapshot a tick, END: to three seats.
    assert_eq!(seats.len(), 3 * (1 + 120 + 1));
    for (place, (one, other)) in seats.iter().zip(&twins).enumerate() {
        assert_eq!(one, other, "message {place}");
    }
    assert_eq!(seats.len(), twins.len());
}

#[test]
fn a_battle_that_hides_something_tells_nobody_its_seed() {
    let mut starts = 0;
    play(
        &mut room(3, 200.0),
        |_| Input::default(),
        |_, bytes| {
            if let ToClient::Start(start) = ToClient::parse(bytes).expect("it is sound") {
                let spec = BattleSpec::<Hunt>::decode(start.spec).expect("it is a spec");
                assert_eq!(spec.terms.seed, 0);
                let mirror = Mirror::<Hunt>::start(start.spec).expect("it starts");
                assert_eq!(mirror.world().actors(), 0, "nobody is known before the first snapshot");
                starts += 1;
            }
        },
    );
    assert_eq!(starts, 7);
}

#[test]
fn a_hundred_seats_of_two_views_share_nine_bodies_of_ten() {
    let mut room = room(50, 200.0);
    let mut told = 0;
    play(
        &mut room,
        |_| Input::default(),
        |_, bytes| {
            told += u64::from(matches!(ToClient::parse(bytes), Ok(ToClient::Snapshot(_))));
        },
    );
    let counters = room.counters();
    assert_eq!(counters.snapshots, told);
    assert!(counters.bodies * 10 <= told, "{} bodies for {told} snapshots", counters.bodies);
    // One for each view and the spectators in each tick, at least.
    assert!(counters.bodies >= 3 * 120);
}

fn arrows_of(world: &World, seat: u16) -> u32 {
    let puppets = world.rows::<Puppet>();
    let row = puppets.read::<Hunter>().iter().position(|hunter| hunter.seat == u32::from(seat));
    puppets.read::<Quiver>()[row.expect("a team sees all of its own")].arrows
}

fn shown<'a>(snapshot: &Snapshot<'a>) -> Shown<'a> {
    Shown {
        tick: Tick(snapshot.tick),
        baseline: snapshot.baseline.map(Tick),
        view: snapshot.view as u16,
        stale: snapshot.stale,
        shared: snapshot.shared,
        private: snapshot.private,
        hash: StateHash(snapshot.view_hash),
    }
}

#[test]
fn arrows_are_known_to_their_owner_alone() {
    let mut room = room(3, 200.0);
    let mut mirrors = Vec::new();
    // The seats of team 1 shoot in the first ticks.
    play(
        &mut room,
        |tick| Input { shoot: u16::from(tick.0 < 3), ..Input::default() },
        |to, bytes| match ToClient::parse(bytes).expect("it is sound") {
            ToClient::Start(start) => {
                mirrors.push((to, Mirror::<Hunt>::start(start.spec).expect("it starts")));
            }
            ToClient::Snapshot(snapshot) => {
                let (_, mirror) = mirrors.iter_mut().find(|(known, _)| *known == to).expect("it started");
                assert!(mirror.snapshot(&shown(&snapshot)).expect("it is sound"));
                if snapshot.tick == 10 && to == connection(4) {
                    assert_eq!(arrows_of(mirror.world(), 4), ARROWS_MAX - 2);
                    assert_eq!(arrows_of(mirror.world(), 5), 0, "not told");
                }
                if snapshot.tick == 10 && to == SPECTATOR {
                    assert_eq!(arrows_of(mirror.world(), 5), ARROWS_MAX - 2);
                }
            }
            _ => {}
        },
    );
    assert_eq!(mirrors.len(), 7);
}

#[test]
fn damaged_snapshots_are_refused_and_never_panic() {
    let seed = seed_from_environment(5);
    eprintln!("SEED={seed}");
    let mut random = Random::new(seed);
    let (mut spec, mut tape) = (Vec::new(), Vec::new());
    play(
        &mut room(3, 20.0),
        |_| Input { shoot: 1, ..Input::default() },
        |to, bytes| match ToClient::parse(bytes).expect("it is sound") {
            ToClient::Start(start) => spec = start.spec.to_vec(),
            ToClient::Snapshot(_) if to == connection(0) => tape.push(bytes.to_vec()),
            _ => {}
        },
    );
    let (mut mirror, mut refused) = (Mirror::<Hunt>::start(&spec).expect("it starts"), 0);
    for bytes in &tape {
        let Ok(ToClient::Snapshot(sound)) = ToClient::parse(bytes) else { panic!("it is a snapshot") };
        assert!(!sound.private.is_empty());
        for _ in 0..20 {
            let mut private = sound.private.to_vec();
            match random.below(3) {
                0 => private.truncate(1 + random.below(private.len() as u64 - 1) as usize),
                1 => private.push(random.below(256) as u8),
                _ => {
                    let bit = random.below(private.len() as u64 * 8) as usize;
                    private[bit / 8] ^= 1 << (bit % 8);
                }
            }
            // A state can be told in more than one way; what the hash does not fit is refused.
            match mirror.snapshot(&Shown { private: &private, ..shown(&sound) }) {
                Err(_) => refused += 1,
                Ok(_) => {
                    assert_eq!(mirror.state_hash(), StateHash(sound.view_hash));
                    break;
                }
            }
        }
        let other_view =
            Shown { view: 9, tick: Tick(sound.tick + 1), baseline: Some(Tick(1)), ..shown(&sound) };
        assert!(mirror.snapshot(&other_view).is_err());
        mirror.snapshot(&shown(&sound)).expect("it is sound");
        assert_eq!(mirror.tick(), Tick(sound.tick));
    }
    assert!(refused > 2 * tape.len(), "{refused}");
}

/// Plays a crowd of scripted hunters that all see each other, of which far more moves than a datagram holds. Seat 0 is
/// shown every snapshot but those that `loses`, and acknowledges what it has three ticks later.
fn crowd(ticks: u32, mut loses: impl FnMut() -> bool, mut see: impl FnMut(&Room<Hunt>, &Mirror<Hunt>)) {
    let mut spec = spec(17);
    spec.setup = Land { half: 25.0, sight: 100.0 };
    spec.roster = Roster::bots(2, 150);
    spec.roster.seats[0].role = SeatRole::Human;
    spec.terms.ticks_max = 10_000;
    let mut room = room_of(spec);
    let (mut out, mut message) = (Outgoing::default(), Vec::new());
    assert!(room.join(Seat(0), Client::new(connection(0), Feed::Snapshot), 0, &mut out));
    let start = out.iter().next().expect("START comes first").2.to_vec();
    let Ok(ToClient::Start(start)) = ToClient::parse(&start) else { panic!("it is START") };
    let mut mirror = Mirror::<Hunt>::start(start.spec).expect("it starts");
    let mut held = std::collections::VecDeque::new();
    while room.battle().tick().0 < ticks {
        out.clear();
        room.poll(room.next_us(), &mut out);
        for (_, _, bytes) in out.iter() {
            let Ok(ToClient::Snapshot(snapshot)) = ToClient::parse(bytes) else { panic!("it is a snapshot") };
            assert!(snapshot.baseline.is_none() || bytes.len() <= 1100, "{} bytes", bytes.len());
            if !loses() {
                assert!(mirror.snapshot(&shown(&snapshot)).expect("it is sound"));
                see(&room, &mirror);
            }
        }
        held.push_back(mirror.newest_snapshot().map(|tick| tick.0));
        let acknowledged = if held.len() > 3 { held.pop_front().flatten() } else { None };
        let now = room.battle().tick().0;
        Inputs::encode(&mut message, 0, acknowledged, now + 1, [&[0_u8; 6][..]].into_iter());
        room.message(Seat(0), connection(0), &ToServer::parse(&message).expect("it is sound"));
    }
}

/// Holds what a client has of a crowd against the truth; gives how many ticks old a puppet got at the most.
fn age_in_a_crowd(ticks: u32, loses: impl FnMut() -> bool) -> u32 {
    let (mut told, mut oldest, mut short) = (std::collections::BTreeMap::new(), 0, 0);
    crowd(ticks, loses, |room, mirror| {
        let (truth, world, stale) = (room.battle().world(), mirror.world(), mirror.stale());
        let (tick, own) = (mirror.tick().0, Hunt::puppet(truth, Seat(0)).expect("it lives"));
        assert!(!stale.contains(&own), "the own body is always told");
        short += u32::from(!stale.is_empty());
        let (puppets, here) = (truth.rows::<Puppet>(), world.rows::<Puppet>());
        let (places, here_places) = (puppets.read::<Position>(), here.read::<Position>());
        for (id, place) in puppets.ids().iter().zip(places.iter()) {
            let last = told.entry(*id).or_insert(tick);
            if let (Some(row), Err(_)) = (here.find(*id), stale.binary_search(id)) {
                assert_eq!(here_places[row], *place, "what is not stale is what it is");
                *last = tick;
            }
            oldest = oldest.max(tick - *last);
        }
    });
    assert!(short > ticks / 2, "{short} of {ticks} were short");
    oldest
}

#[test]
fn a_snapshot_that_is_too_long_tells_less_and_each_row_gets_its_turn() {
    let oldest = age_in_a_crowd(300, || false);
    assert!(oldest <= 60, "a puppet was {oldest} ticks old");
}

#[test]
fn short_snapshots_may_be_lost_and_what_is_told_stays_true() {
    let seed = seed_from_environment(29);
    eprintln!("SEED={seed}");
    let mut random = Random::new(seed);
    age_in_a_crowd(200, || random.below(5) == 0);
}

/// Six players over a bad link; every state is held against the view hash as it comes.
fn over_a_bad_link(lane: LaneWish, seed: u64) {
    let link = LinkConfig { delay_ms: 30, jitter_ms: 25, loss: 500, reorder: 300, duplicate: 300 };
    let mut spec = tiltyard::netsim::spec_for::<Hunt>(6, 450, seed);
    spec.setup.half = 15.0;
    let mut field = Field::<Hunt>::new(spec, link, seed).expect("the hunt starts");
    for seat in 0..6 {
        let settings =
            PlayerSettings { feed: Feed::Snapshot, lane, pace: Pace::Prompt, ..PlayerSettings::default() };
        field.join(seat, settings);
    }
    let (mut hidden, mut seen) = (0, 0);
    while field.ended().is_none() {
        field.run(100);
        for player in field.players() {
            let (Some(place), Some(mirror)) = (player.pilot().place(), player.pilot().mirror()) else {
                continue;
            };
            let world = mirror.world();
            let (puppets, reach) = (world.rows::<Puppet>(), world.singleton::<Land>().sight * KEPT);
            let lives = puppets.read::<tiltyard_engine::kit::life::Life>();
            let places = puppets.read::<Position>();
            let Some(own) = row_of(world, Seat(place.seat)) else { continue };
            let team = lives[own].team;
            let own = |row: &usize| lives[*row].team == team;
            let near = |at: tiltyard_engine::glam::Vec2| {
                (0..puppets.len()).filter(own).any(|row| places[row].at.distance(at) <= reach + 0.001)
            };
            assert!(places.iter().all(|place| near(place.at)), "an enemy is shown in the fog");
            assert!(world.rows::<Arrow>().read::<Position>().iter().all(|place| near(place.at)));
            hidden += 6 - puppets.len();
            seen += (0..puppets.len()).filter(|row| !own(row)).count();
        }
    }
    let until = field.now() + 60_000;
    assert!(field.run_to_end(until), "a player did not come to an end");
    assert!(hidden > 0 && seen > 0, "{hidden} hidden, {seen} seen");
    for player in field.players() {
        let report = player.report(field.now());
        assert_eq!((report.desyncs, report.faults, report.misread), (0, 0, 0), "{report:?}");
        assert_eq!(report.agrees, Some(true), "{report:?}");
    }
}

#[test]
fn every_view_comes_through_a_bad_link_as_the_node_has_it() {
    let seed = seed_from_environment(23);
    eprintln!("SEED={seed}");
    for (number, lane) in [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram].into_iter().enumerate() {
        over_a_bad_link(lane, seed + number as u64);
    }
}

#[test]
fn nobody_computes_a_battle_that_hides_something() {
    let link = LinkConfig { delay_ms: 5, ..LinkConfig::default() };
    let spec = tiltyard::netsim::spec_for::<Hunt>(2, 60, 3);
    let mut field = Field::<Hunt>::new(spec, link, 3).expect("the hunt starts");
    field.join(0, PlayerSettings { feed: Feed::Frame, ..PlayerSettings::default() });
    field.join(1, PlayerSettings::default());
    field.run(2_000);
    let refused: Vec<_> = field.players().map(|player| player.report(field.now()).refused()).collect();
    assert_eq!(refused, [Some(DenyReason::NoFrameFeed), None]);
    // The room holds to it by itself.
    let mut room = room(1, 200.0);
    let mut out = Outgoing::default();
    assert!(!room.join(Seat(0), Client::new(connection(0), Feed::Frame), 0, &mut out));
    assert!(!room.watch(Client::new(SPECTATOR, Feed::Frame), &mut out));
}
