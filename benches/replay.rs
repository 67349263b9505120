//! Recording a tick, and verifying what was recorded.

use std::hint::black_box;
use std::io;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Game as _, TickRecord};
use tiltyard_replay::{Header, OnDamage, Settings, Writer, verify};

const TICKS: u32 = 300;

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
            tables_hash: [0; 16],
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

criterion_group!(benches, record, verifying);
criterion_main!(benches);
