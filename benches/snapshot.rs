//! Copies of a state: saved, restored, encoded and decoded as a snapshot against older states.
//!
//! Prints first how many bytes a snapshot has, in how many of them puppets moved, by the age of the baseline.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tiltyard::bench::Played;
use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::skirmish::{Input, Puppet, Setup, Skirmish};
use tiltyard_engine::{Battle, BattleSpec, Game as _, Mode, Registry, Save, TickRate, TickRecord, snapshot};

/// How many ticks older than the snapshot the baselines are.
const AGES: [usize; 5] = [1, 2, 4, 8, 16];
/// Ticks played before the measured ones, and measured ticks.
const WARM_TICKS: u32 = 60;
const TICKS: u32 = 600;

/// The states of a scene, and in each where the puppets are.
struct States {
    registry: Registry,
    rate: TickRate,
    saves: Vec<Save>,
    places: Vec<Vec<Position>>,
}

impl States {
    /// Plays the scene by scripted players, but for one in so many seats, the first ones, which stand still.
    fn of(scene: &Mode<Setup>, one_stands_of: usize) -> Self {
        let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(scene, 1)).expect("the scene is a battle");
        let registry = Registry::of::<Skirmish>().expect("skirmish is sound");
        let mut states =
            Self { registry, rate: battle.spec().terms.rate, saves: Vec::new(), places: Vec::new() };
        for tick in 1..=WARM_TICKS + TICKS {
            let mut record = TickRecord::neutral(battle.tick(), 0);
            battle.bot_record(&mut record);
            let stand = record.inputs.len() / one_stands_of;
            record.inputs[..stand].iter_mut().for_each(|seat| seat.input = Input::default());
            battle.step(&record);
            if tick <= WARM_TICKS {
                continue;
            }
            let mut save = Save::default();
            battle.save(&mut save);
            states.saves.push(save);
            states.places.push(battle.world().rows::<Puppet>().read::<Position>().to_vec());
        }
        states
    }

    /// Each state with the one that is so much older.
    fn pairs(&self, age: usize) -> impl Iterator<Item = (&Save, &Save)> + Clone {
        self.saves.iter().zip(&self.saves[age..])
    }

    fn encode(&self, now: &Save, baseline: &Save, out: &mut Vec<u8>) {
        out.clear();
        snapshot::encode(&self.registry, self.rate, now, Some(baseline), out);
    }

    /// How many of the puppets are elsewhere than so much before, of 100.
    fn moving(&self, age: usize) -> f64 {
        let pairs = self.places.iter().zip(&self.places[age..]);
        let (mut moved, mut all) = (0, 0);
        for (before, now) in pairs {
            moved += before.iter().zip(now).filter(|(before, now)| before != now).count();
            all += now.len();
        }
        moved as f64 * 100.0 / all as f64
    }

    fn show(&self, scene: &str) {
        for age in AGES {
            let (mut out, mut bytes) = (Vec::new(), Vec::new());
            for (baseline, now) in self.pairs(age) {
                self.encode(now, baseline, &mut out);
                bytes.push(out.len());
            }
            bytes.sort_unstable();
            let mean = bytes.iter().sum::<usize>() / bytes.len();
            let (p99, max) = (bytes[(bytes.len() * 99).div_ceil(100) - 1], bytes[bytes.len() - 1]);
            eprintln!(
                "snapshot/{scene}: baseline {age} ticks old, {:.0} of 100 puppets moved: bytes mean {mean}, p99 {p99}, max {max}",
                self.moving(age)
            );
        }
    }
}

fn snapshots(criterion: &mut Criterion) {
    for scene in &Skirmish::scenes()[..2] {
        States::of(scene, 5).show(&format!("{}, a fifth stands", scene.name));
        let states = States::of(scene, usize::MAX);
        states.show(scene.name);
        let mut group = criterion.benchmark_group(format!("snapshot/{}", scene.name));
        for age in AGES {
            let (mut out, mut decoded) = (Vec::new(), Save::default());
            // In turn, so that no run is of one state's luck.
            let mut pairs = states.pairs(age).cycle();
            group.bench_function(format!("encode/{age}"), |bencher| {
                bencher.iter(|| {
                    let (baseline, now) = pairs.next().expect("it starts anew");
                    states.encode(black_box(now), baseline, &mut out);
                    out.len()
                });
            });
            let bodies: Vec<_> = states
                .pairs(age)
                .map(|(baseline, now)| {
                    states.encode(now, baseline, &mut out);
                    (baseline, now, out.clone())
                })
                .collect();
            let mut bodies = bodies.iter().cycle();
            group.bench_function(format!("decode/{age}"), |bencher| {
                bencher.iter(|| {
                    let (baseline, now, body) = bodies.next().expect("it starts anew");
                    let (registry, rate) = (&states.registry, states.rate);
                    snapshot::decode(
                        registry,
                        rate,
                        now.tick(),
                        Some(baseline),
                        black_box(body),
                        &mut decoded,
                    )
                    .expect("what was encoded decodes");
                    assert_eq!(decoded.hashes().state(), now.hashes().state());
                });
            });
        }
        let mut battle =
            Played::<Skirmish>::of(scene, 1, WARM_TICKS, 8).expect("the scene is played").battle();
        let (mut saved, now) = (Save::default(), &states.saves[0]);
        group.bench_function("save", |bencher| bencher.iter(|| battle.save(black_box(&mut saved))));
        group.bench_function("restore", |bencher| bencher.iter(|| battle.restore(black_box(now))));
        group.finish();
    }
}

criterion_group!(benches, snapshots);
criterion_main!(benches);
