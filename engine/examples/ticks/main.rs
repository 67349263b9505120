//! Plays a scene of skirmish and makes its ticks again: with the engine, by hand, and as one writes it with hecs alone.
//!
//! ```text
//! ticks time SCENE                    what a tick takes each of them, in one run, and the ratios
//! ticks BY SCENE WARM TICKS           only makes them, for scripts/instructions; BY is engine, hand, hecs or hecs-hash
//! ```
//! Scripted players play `WARM` + 100 ticks; of their records the first `WARM` + `TICKS` are then made again. Two runs that
//! differ in `TICKS` alone differ by what these ticks take, and by nothing else. All of them end every tick in the same
//! state; hecs alone is measured with the hash of each tick and without it.
// The engine has no clock; who measures it from outside has one.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod idiomatic;

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Instant;

use tiltyard_engine::skirmish::{Input, Skirmish};
use tiltyard_engine::{Battle, BattleSpec, Game, Hashes, Oracle, StateHash, Tick, TickRecord};

use self::idiomatic::Idiomatic;

/// Ticks after the warm ones that are played.
const TICKS_MAX: usize = 100;
/// What `time` steps through, how often, and in how many ticks by turns.
const TIMED: (usize, usize, usize) = (150, 300, 30);
const ROUNDS: usize = 20;
/// Who makes ticks, and how the table calls it.
const ALL: [(&str, &str); 4] = [
    ("engine", "the engine, with the state hash"),
    ("hand", "by hand, with the state hash"),
    ("hecs-hash", "hecs alone, with the state hash"),
    ("hecs", "hecs alone, without any hash"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["time", scene] => spec(scene).map(|spec| time(&spec)),
        [by, scene, warm, ticks] => make(by, scene, warm, ticks),
        _ => None,
    };
    if done.is_none() {
        eprintln!(
            "ticks time SCENE | engine|hand|hecs|hecs-hash SCENE WARM TICKS, TICKS at most {TICKS_MAX}"
        );
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn spec(scene: &str) -> Option<BattleSpec<Skirmish>> {
    let mode = Skirmish::scenes().into_iter().find(|mode| mode.name == scene)?;
    Some(BattleSpec::bots(&mode, 1))
}

/// The records of so many ticks, and the hash of the state after each.
fn play(spec: &BattleSpec<Skirmish>, ticks: usize) -> Vec<(TickRecord<Input>, StateHash)> {
    let mut battle = Battle::<Skirmish>::new(spec.clone()).expect("a scene is a battle");
    let play = |_| {
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        battle.bot_record(&mut record);
        let hash = battle.step(&record);
        (record, hash)
    };
    (0..ticks).map(play).collect()
}

/// What makes the ticks of a battle, and the hash of each; without a hash it gives 0.
fn maker(by: &str, spec: &BattleSpec<Skirmish>) -> Option<Oracle<Input>> {
    Some(match by {
        "engine" => {
            let mut battle = Battle::<Skirmish>::new(spec.clone()).expect("a scene is a battle");
            Box::new(move |record| battle.step(record))
        }
        "hand" => Skirmish::oracle(spec).expect("skirmish has one"),
        "hecs" | "hecs-hash" => {
            let (mut alone, mut hashes) = (Idiomatic::new(spec), Hashes::default());
            let with_hash = by == "hecs-hash";
            Box::new(move |record| {
                alone.step(record);
                if with_hash { alone.state_hash(&mut hashes) } else { StateHash(0) }
            })
        }
        _ => return None,
    })
}

fn make(by: &str, scene: &str, warm: &str, ticks: &str) -> Option<()> {
    let (warm, ticks): (usize, usize) = (warm.parse().ok()?, ticks.parse().ok()?);
    let spec = spec(scene).filter(|_| ticks <= TICKS_MAX)?;
    let played = play(&spec, warm + TICKS_MAX);
    let mut step = maker(by, &spec)?;
    for (record, expected) in &played[..warm + ticks] {
        let hash = step(record);
        assert!(hash == *expected || by == "hecs", "{by}, tick {}: another state", record.tick);
    }
    Some(())
}

/// Everybody makes the same ticks by turns.
fn time(spec: &BattleSpec<Skirmish>) {
    let (warm, ticks, block) = TIMED;
    let played = play(spec, warm + ticks);
    let mut ns: [Vec<u64>; ALL.len()] = Default::default();
    for _ in 0..ROUNDS {
        let mut makers = ALL.map(|(by, _)| maker(by, spec).expect("all are known"));
        for (index, part) in played.chunks(block).enumerate() {
            for ((step, ns), (by, _)) in makers.iter_mut().zip(&mut ns).zip(ALL) {
                for (record, expected) in part {
                    let started = Instant::now();
                    let hash = step(record);
                    let took = started.elapsed().as_nanos() as u64;
                    assert!(hash == *expected || by == "hecs", "{by}, tick {}: another state", record.tick);
                    if index * block >= warm {
                        ns.push(took);
                    }
                }
            }
        }
    }
    let medians = ns.map(|mut ns| {
        ns.sort_unstable();
        ns[ns.len() / 2] as f64 / 1_000.0
    });
    for ((_, name), median) in ALL.iter().zip(medians) {
        let ratio = medians[0] / median;
        // A reader that has hung up is no error.
        let _ = writeln!(stdout(), "{name:<34} {median:>9.2} µs   the engine takes {ratio:>5.2} of it");
    }
}
