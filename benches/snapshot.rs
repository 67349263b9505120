//! Copies of a state: saved, restored, encoded and decoded as a snapshot against the state of four ticks before.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Game as _, Registry, Save, snapshot};

fn snapshots(criterion: &mut Criterion) {
    for scene in &Skirmish::scenes()[..2] {
        let played = Played::<Skirmish>::of(scene, 1, 60, 8).expect("the scene is played");
        let mut battle = played.battle();
        let (mut baseline, mut now, mut decoded) = (Save::default(), Save::default(), Save::default());
        for (index, (record, _)) in played.ticks().enumerate() {
            if index == 4 {
                battle.save(&mut baseline);
            }
            battle.step(record);
        }
        battle.save(&mut now);
        let registry = Registry::of::<Skirmish>().expect("skirmish is sound");
        let mut bytes = Vec::new();
        snapshot::encode(&registry, &now, Some(&baseline), &mut bytes);
        let mut group = criterion.benchmark_group(format!("snapshot/{}", scene.name));
        group.bench_function("save", |bencher| bencher.iter(|| battle.save(black_box(&mut decoded))));
        group.bench_function("restore", |bencher| bencher.iter(|| battle.restore(black_box(&now))));
        group.bench_function("encode", |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                snapshot::encode(&registry, black_box(&now), Some(&baseline), &mut out);
                out.len()
            });
        });
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                snapshot::decode(&registry, now.tick(), Some(&baseline), black_box(&bytes), &mut decoded)
                    .expect("what was encoded decodes");
            });
        });
        assert_eq!(decoded.hashes().state(), now.hashes().state());
        group.finish();
    }
}

criterion_group!(benches, snapshots);
criterion_main!(benches);
