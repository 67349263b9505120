//! One tick of skirmish with its state hash, from records: no scripted player thinks while it is measured.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_engine::Game as _;
use tiltyard_engine::skirmish::Skirmish;

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for scene in Skirmish::scenes().iter().filter(|scene| scene.name != "10000x30000") {
        let played = Played::<Skirmish>::of(scene, 1, 60, 240).expect("the scene is played");
        let (mut battle, mut next) = (played.battle(), 0);
        let records: Vec<_> = played.ticks().map(|(record, _)| record.clone()).collect();
        group.bench_function(scene.name, |bencher| {
            bencher.iter(|| {
                if next == records.len() {
                    // Once in as many ticks as there are records: too seldom to show.
                    battle.restore(played.warm());
                    next = 0;
                }
                next += 1;
                black_box(battle.step(&records[next - 1]))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ticks);
criterion_main!(benches);
