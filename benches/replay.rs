//! Recording a tick, verifying what was recorded, and going to any tick of an hour.
//!
//! What is asked of the slowest hundredth, as shares or as multiples of real time is printed as such: criterion tells
//! means.

use std::hint::black_box;
use std::io::{self, Cursor};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_battle::{Client, Outgoing, Recorder, Room, RoomRecording, RoomSettings, Then};
use tiltyard_engine::bytemuck::bytes_of;
use tiltyard_engine::rng::Rng;
use tiltyard_engine::screen::Canvas;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{
    Battle, BattleSpec, Game as _, Registry, Save, Seat, SeatRole, Tick, TickRecord, encode_keyframe,
};
use tiltyard_netcode::message::{Inputs, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};
use tiltyard_replay::{
    Ended, Header, OnDamage, Player, Recording, Settings, Summary, Writer, encode_picture, verify,
};

const TICKS: u32 = 300;
/// Ten seconds at 30 Hz.
const KEYFRAME_TICKS: u32 = 300;
/// An hour at 30 Hz.
const HOUR_TICKS: u32 = 108_000;

fn record(criterion: &mut Criterion) {
    for scene in &Skirmish::scenes()[..2] {
        let played = Played::<Skirmish>::of(scene, 1, 1, TICKS).expect("the scene is played");
        let seats = usize::from(scene.teams) * usize::from(scene.seats_per_team);
        let records: Vec<TickRecord<_>> = played.ticks().map(|(record, _)| record.clone()).collect();
        let mut encoded = Vec::new();
        for pair in records.windows(2) {
            let mut bytes = Vec::new();
            pair[1].encode(&pair[0], &mut bytes);
            encoded.push(bytes);
        }
        let header = Header {
            rate_hz: 30,
            protocol_hash: [0; 16],
            game: Skirmish::NAME.to_owned(),
            mode: scene.name.to_owned(),
            battle: 1,
            seed: 1,
            start_unix_ms: 0,
            part: 0,
            build: String::new(),
            seat_names: vec![String::new(); seats],
            spec: Vec::new(),
        };
        let start = || Writer::start(io::sink(), &header, Settings::new(1, 30)).expect("a recording begins");
        let (mut writer, mut tick) = (start(), 0);
        criterion.bench_function(&format!("replay/record a tick/{}", scene.name), |bencher| {
            bencher.iter(|| {
                // A new recording every hour, as its index has a bound.
                if tick == 108_000 {
                    (writer, tick) = (start(), 0);
                }
                tick += 1;
                let bytes = &encoded[tick as usize % encoded.len()];
                writer.append(tick, black_box(bytes), u64::from(tick)).expect("a sink takes everything");
            });
        });
    }
}

/// What recording costs the thread that makes the ticks: handing over each record and hash, and every ten seconds a
/// keyframe, to a recording thread that sleeps in between as it does on a node. Held against the step alone, and
/// against the tick of a room with a player in each seat, which resolves their inputs, steps, records and feeds them.
fn handing_over(_: &mut Criterion) {
    const TICKS: u32 = 3_000;
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(folder.path(), None).expect("a recording thread");
    for (number, scene) in (0..).step_by(2).zip(&Skirmish::scenes()[..2]) {
        let spec = BattleSpec::<Skirmish>::bots(scene, 1);
        let open = |battle| {
            let header = Header { battle, ..head(&spec, scene.name) };
            recorder.handle().open(header, Settings::new(1, spec.terms.rate.hz()))
        };
        let mut crowd = Crowd::new(&spec, open(number));
        let mut recording = open(number + 1);
        let mut before = TickRecord::neutral(Tick::ZERO, spec.roster.len());
        let mut battle = Battle::new(spec).expect("the battle starts");
        let (mut record, mut bytes, mut save) = (before.clone(), Vec::new(), Save::default());
        let (mut handed_ns, mut keyframes_ns, mut steps_ns, mut rooms_ns) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for tick in 1..=TICKS {
            rooms_ns.push(crowd.tick().as_nanos());
            battle.bot_record(&mut record);
            bytes.clear();
            record.encode(&before, &mut bytes);
            let started = Instant::now();
            let hash = battle.step(&record);
            let stepped = Instant::now();
            recording.tick(tick, &bytes, hash.0);
            let handed = Instant::now();
            if tick.is_multiple_of(KEYFRAME_TICKS) {
                battle.save(&mut save);
                recording.keyframe(tick, encode_keyframe(&save, &record), battle.hashes().parts());
                keyframes_ns.push(handed.elapsed().as_nanos());
            }
            steps_ns.push((stepped - started).as_nanos());
            handed_ns.push((handed - stepped).as_nanos());
            before.clone_from(&record);
            std::thread::sleep(Duration::from_millis(1));
        }
        let cost_ns: u128 = handed_ns.iter().chain(&keyframes_ns).sum();
        let share = |of: &[u128]| 100.0 * cost_ns as f64 / of.iter().sum::<u128>() as f64;
        eprintln!(
            "{}: recording takes {:.2} % of a room's tick, {:.2} % of the bare step",
            scene.name,
            share(&rooms_ns),
            share(&steps_ns)
        );
        tell("a room's tick, ns", rooms_ns);
        tell("the bare step, ns", steps_ns);
        tell("handing over a tick, ns", handed_ns);
        tell("handing over a keyframe, ns", keyframes_ns);
        let pictures_ns = (0..1_000).map(|_| {
            let started = Instant::now();
            let mut canvas = Canvas::new(80, 18);
            Skirmish::picture(&battle, None, &mut canvas);
            black_box(encode_picture(&canvas));
            started.elapsed().as_nanos()
        });
        tell("drawing a picture, where they are recorded, ns", pictures_ns.collect());
        let whole = || Box::new(|sealed: Option<_>| assert!(sealed.is_some(), "nothing was lost"));
        recording.finish(Ended::Aborted, Vec::new(), battle.state_hash().0, whole());
        crowd.close(whole());
    }
    recorder.stop();
}

/// A room with a player of the game's script in each seat, every other one on the snapshot feed.
struct Crowd {
    room: Room<Skirmish>,
    out: Outgoing,
    message: Vec<u8>,
}

impl Crowd {
    fn new(spec: &BattleSpec<Skirmish>, recording: RoomRecording) -> Self {
        let mut spec = spec.clone();
        spec.roster.seats.iter_mut().for_each(|seat| seat.role = SeatRole::Human);
        let seats = spec.roster.len() as u16;
        let settings = RoomSettings {
            wait_ms: 0,
            countdown_ms: 0,
            keyframe_ticks: KEYFRAME_TICKS,
            snapshot_ticks: 0,
            catch_up_max: 5,
        };
        let mut room = Room::new(BattleId(1), Epoch(1), spec, settings).expect("the battle starts");
        room.record(recording);
        room.open(0);
        let mut out = Outgoing::default();
        for seat in 0..seats {
            let feed = if seat % 2 == 0 { Feed::Snapshot } else { Feed::Frame };
            assert!(room.join(Seat(seat), Client::new(ConnectionId(seat.into()), feed), 0, &mut out));
        }
        Self { room, out, message: Vec::new() }
    }

    /// Takes an input of each player, who holds all up to two to five ticks ago, and makes the tick; the second is
    /// what is measured.
    fn tick(&mut self) -> Duration {
        let now = self.room.battle().tick().0;
        for seat in 0..self.room.battle().spec().roster.len() as u16 {
            let input = self.room.battle().bot_input(Seat(seat));
            let held = now.saturating_sub(2 + u32::from(seat) % 4);
            Inputs::encode(&mut self.message, seat, Some(held), now + 1, [bytes_of(&input)].into_iter());
            let message = ToServer::parse(&self.message).expect("our own message");
            self.room.message(Seat(seat), ConnectionId(seat.into()), &message);
        }
        self.out.clear();
        let started = Instant::now();
        let end = self.room.poll(self.room.next_us(), &mut self.out);
        let took = started.elapsed();
        assert!(end.is_none() && self.room.battle().tick().0 == now + 1, "one tick is made");
        took
    }

    fn close(mut self, then: Then) {
        assert_eq!(self.room.counters().inputs_missing, 0, "every input arrived");
        let end = self.room.abort(&mut self.out);
        self.room.close_recording(&end, then);
    }
}

fn head(spec: &BattleSpec<Skirmish>, mode: &str) -> Header {
    Header {
        rate_hz: spec.terms.rate.hz(),
        protocol_hash: Registry::of::<Skirmish>().expect("a right game").protocol_hash::<Skirmish>().0,
        game: Skirmish::NAME.to_owned(),
        mode: mode.to_owned(),
        battle: 1,
        seed: spec.terms.seed,
        start_unix_ms: 0,
        part: 0,
        build: String::new(),
        seat_names: Vec::new(),
        spec: spec.encode(),
    }
}

/// Verifying a minute on one core, and how large it is.
fn verifying(_: &mut Criterion) {
    const MINUTE_TICKS: u32 = 1_800;
    const TIMES: usize = 20;
    for scene in &Skirmish::scenes()[..2] {
        let played = Played::<Skirmish>::of(scene, 1, 0, MINUTE_TICKS).expect("the scene is played");
        let recording = played.recording().expect("the scene is recorded");
        let core_ns = on_core_ns();
        let times = (0..TIMES).map(|_| {
            let started = Instant::now();
            let verdict = verify::<Skirmish>(black_box(recording.as_slice()), OnDamage::Stop, |_| {});
            let seconds = started.elapsed().as_secs_f64();
            let verdict = verdict.expect("it can be verified");
            assert!(verdict.verified && verdict.complete && verdict.ticks == u64::from(MINUTE_TICKS));
            verdict.times_realtime(seconds)
        });
        let best = times.fold(0.0, f64::max);
        let core_seconds = (on_core_ns() - core_ns) as f64 / 1e9;
        let on_core = f64::from(MINUTE_TICKS) / 30.0 * TIMES as f64 / core_seconds;
        eprintln!(
            "{}: {} bytes a minute; verify is {on_core:.0} times real time by the core's time, {best:.0} at best",
            scene.name,
            recording.len(),
        );
    }
}

/// How long this thread was on a core: what others do on the machine stays out of it.
fn on_core_ns() -> u64 {
    // The kernel counts up to the last time that the thread was switched or looked at by its timer.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// An hour of the second scene, with a keyframe every ten seconds; prints its size, and what a tick's append took.
fn hour() -> Vec<u8> {
    let mut spec = BattleSpec::<Skirmish>::bots(&Skirmish::scenes()[1], 1);
    spec.terms.ticks_max = HOUR_TICKS;
    let header = head(&spec, "");
    let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("a recording begins");
    let mut before = TickRecord::neutral(Tick::ZERO, spec.roster.len());
    let mut battle = Battle::new(spec).expect("the battle starts");
    let (mut record, mut bytes, mut save) = (before.clone(), Vec::new(), Save::default());
    let mut took_ns = Vec::with_capacity(HOUR_TICKS as usize);
    for tick in 1..=HOUR_TICKS {
        battle.bot_record(&mut record);
        let hash = battle.step(&record);
        let started = Instant::now();
        bytes.clear();
        record.encode(&before, &mut bytes);
        writer.append(tick, &bytes, hash.0).expect("memory takes everything");
        took_ns.push(started.elapsed().as_nanos());
        if tick.is_multiple_of(KEYFRAME_TICKS) {
            battle.save(&mut save);
            writer.keyframe(tick, &encode_keyframe(&save, &record)).expect("memory takes everything");
        }
        before.clone_from(&record);
    }
    writer.finish(Ended::Aborted, &[], battle.state_hash().0).expect("memory takes everything");
    tell("encode and append a tick, ns", took_ns);
    let recording = writer.into_sink();
    eprintln!("a minute of the hour: {} bytes", recording.len() / 60);
    recording
}

fn seeking(_: &mut Criterion) {
    let recording = hour();
    let took_us = (0..1_000).map(|_| {
        let started = Instant::now();
        let opened = Recording::open(Cursor::new(&recording)).expect("it opens");
        let listed = (opened.header().game.len(), opened.last_tick(), opened.keyframes().len());
        assert_eq!(
            black_box(listed),
            (Skirmish::NAME.len(), HOUR_TICKS, (HOUR_TICKS / KEYFRAME_TICKS) as usize)
        );
        started.elapsed().as_micros()
    });
    tell("open an hour and list its keyframes, µs", took_us.collect());
    let took_us = (0..100).map(|_| {
        let started = Instant::now();
        assert!(Summary::read(black_box(recording.as_slice())).is_ok_and(|summary| summary.complete));
        started.elapsed().as_micros()
    });
    tell("read all of an hour for `info`, µs", took_us.collect());
    let mut player = Player::<Skirmish, _>::open(Cursor::new(&recording)).expect("it opens");
    let mut rng = Rng::new(1, 0, 0, 0);
    let (mut core_us, mut took_us) = (Vec::new(), Vec::new());
    for _ in 0..3_000 {
        let tick = rng.below(HOUR_TICKS + 1);
        let (core_ns, started) = (on_core_ns(), Instant::now());
        assert_eq!(player.seek(tick), Ok(tick));
        took_us.push(started.elapsed().as_micros());
        core_us.push(u128::from(on_core_ns() - core_ns) / 1_000);
    }
    tell("seek in an hour by the core's time, µs", core_us);
    tell("seek in an hour by the clock, µs", took_us);
}

/// Prints the median, the slowest hundredth and the slowest of what was measured.
fn tell(what: &str, mut took: Vec<u128>) {
    took.sort_unstable();
    let of = |permille: usize| took[(took.len() - 1) * permille / 1_000];
    eprintln!("{what}: p50 {}, p99 {}, max {}", of(500), of(990), of(1_000));
}

criterion_group!(benches, record, handing_over, verifying, seeking);
criterion_main!(benches);
