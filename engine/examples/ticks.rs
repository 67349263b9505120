//! Plays a scene of skirmish and makes its ticks again, with the engine or by hand: what `scripts/instructions` counts.
//!
//! ```text
//! ticks battle|limit SCENE WARM TICKS
//! ```
//! Scripted players play `WARM` + 100 ticks; of their records the first `WARM` + `TICKS` are then made again. Two runs that
//! differ in `TICKS` alone differ by what these ticks take, and by nothing else.

use std::process::ExitCode;

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Battle, BattleSpec, Game, Oracle, StateHash, Tick, TickRecord};

/// Ticks after the warm ones that are played.
const TICKS_MAX: usize = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [by, scene, warm, ticks] = &arguments[..] else { return usage() };
    let (Ok(warm), Ok(ticks)) = (warm.parse::<usize>(), ticks.parse::<usize>()) else { return usage() };
    let Some(mode) = Skirmish::scenes().into_iter().find(|mode| mode.name == scene) else { return usage() };
    if ticks > TICKS_MAX {
        return usage();
    }
    let spec = BattleSpec::<Skirmish>::bots(&mode, 1);
    let start = || Battle::<Skirmish>::new(spec.clone()).expect("a scene is a battle");
    let mut played = start();
    let mut records = Vec::new();
    let mut hash = StateHash::default();
    for tick in 0..warm + TICKS_MAX {
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        played.bot_record(&mut record);
        played.step(&record);
        if tick < warm + ticks {
            hash = played.state_hash();
        }
        records.push(record);
    }
    let step: Oracle<_> = match by.as_str() {
        "battle" => {
            let mut battle = start();
            Box::new(move |record| battle.step(record))
        }
        "limit" => Skirmish::oracle(&spec).expect("skirmish has one"),
        _ => return usage(),
    };
    let last = records[..warm + ticks].iter().map(step).last().unwrap_or_default();
    assert_eq!(last, hash, "the ticks come to the state that they came to when they were played");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("ticks battle|limit SCENE WARM TICKS, TICKS at most {TICKS_MAX}");
    ExitCode::from(2)
}
