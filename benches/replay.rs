//! Recording a tick, verifying what was recorded, and going to any tick of an hour.
//!
//! What is asked of the slowest hundredth is printed as such: criterion tells means.

use std::hint::black_box;
use std::io::{self, Cursor};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_battle::Recorder;
use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Battle, BattleSpec, Game as _, Registry, Save, Tick, TickRecord, encode_keyframe};
use tiltyard_replay::{Ended, Header, OnDamage, Player, Recording, Settings, Writer, verify};

const TICKS: u32 = 300;
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
/// keyframe, to a recording thread that sleeps in between as it does on a node. The share is that of the steps alone,
/// without feeds.
fn handing_over(_: &mut Criterion) {
    const TICKS: u32 = 3_000;
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(folder.path(), None).expect("a recording thread");
    for (number, scene) in Skirmish::scenes()[..2].iter().enumerate() {
        let spec = BattleSpec::<Skirmish>::bots(scene, 1);
        let header = Header { battle: number as u64, ..head(&spec, scene.name) };
        let mut room = recorder.handle().open(header, Settings::new(1, spec.terms.rate.hz()));
        let mut before = TickRecord::neutral(Tick::ZERO, spec.roster.len());
        let mut battle = Battle::new(spec).expect("the battle starts");
        let (mut record, mut bytes, mut save) = (before.clone(), Vec::new(), Save::default());
        let (mut handed_ns, mut keyframes_ns, mut steps_ns) = (Vec::new(), Vec::new(), 0);
        for tick in 1..=TICKS {
            battle.bot_record(&mut record);
            bytes.clear();
            record.encode(&before, &mut bytes);
            let started = Instant::now();
            let hash = battle.step(&record);
            let stepped = Instant::now();
            room.tick(tick, &bytes, hash.0);
            let handed = Instant::now();
            if tick.is_multiple_of(300) {
                battle.save(&mut save);
                room.keyframe(tick, encode_keyframe(&save, &record), battle.hashes().parts());
                keyframes_ns.push(handed.elapsed().as_nanos());
            }
            steps_ns += (stepped - started).as_nanos();
            handed_ns.push((handed - stepped).as_nanos());
            before.clone_from(&record);
            std::thread::sleep(Duration::from_millis(1));
        }
        let cost_ns: u128 = handed_ns.iter().chain(&keyframes_ns).sum();
        let share = 100.0 * cost_ns as f64 / steps_ns as f64;
        eprintln!("{}: recording takes {share:.1} % of what the steps take", scene.name);
        tell("handing over a tick, ns", handed_ns);
        tell("handing over a keyframe, ns", keyframes_ns);
        room.finish(
            Ended::Aborted,
            Vec::new(),
            battle.state_hash().0,
            Box::new(|sealed| {
                assert!(sealed.is_some(), "nothing was lost");
            }),
        );
    }
    recorder.stop();
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

fn verifying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay/verify");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(TICKS)));
    for scene in &Skirmish::scenes()[..2] {
        let played = Played::<Skirmish>::of(scene, 1, 0, TICKS).expect("the scene is played");
        let recording = played.recording().expect("the scene is recorded");
        group.bench_function(scene.name, |bencher| {
            bencher.iter(|| {
                let verdict = verify::<Skirmish>(black_box(recording.as_slice()), OnDamage::Stop, |_| {});
                assert!(verdict.is_ok_and(|verdict| verdict.verified && verdict.complete));
            });
        });
    }
    group.finish();
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
        if tick.is_multiple_of(300) {
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

fn seeking(criterion: &mut Criterion) {
    let recording = hour();
    let open = || Recording::open(Cursor::new(&recording)).expect("it opens");
    criterion.bench_function("replay/open an hour", |bencher| bencher.iter(|| black_box(open()).last_tick()));
    let mut player = Player::<Skirmish, _>::open(Cursor::new(&recording)).expect("it opens");
    let mut rng = Rng::new(1, 0, 0, 0);
    let took_us = (0..3_000).map(|_| {
        let tick = rng.below(HOUR_TICKS + 1);
        let started = Instant::now();
        assert_eq!(player.seek(tick), Ok(tick));
        started.elapsed().as_micros()
    });
    tell("seek in an hour, µs", took_us.collect());
}

/// Prints the median, the slowest hundredth and the slowest of what was measured.
fn tell(what: &str, mut took: Vec<u128>) {
    took.sort_unstable();
    let of = |permille: usize| took[(took.len() - 1) * permille / 1_000];
    eprintln!("{what}: p50 {}, p99 {}, max {}", of(500), of(990), of(1_000));
}

criterion_group!(benches, record, handing_over, verifying, seeking);
criterion_main!(benches);
