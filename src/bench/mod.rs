//! `tiltyard bench`: what this machine can carry, without a network.

mod figures;
mod scene;

use clap::Args;
use serde_json::json;
use tiltyard_engine::{Game, Mode};

pub use self::figures::{Figures, Spread, measure};
pub use self::scene::{OracleError, Played, PlayedError};
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};

/// Ticks before measuring starts: buffers are warm and the arena is in full fight.
const WARM_TICKS: u32 = 150;
/// Ticks that are measured in each round: ten seconds of play.
const MEASURED_TICKS: u32 = 300;

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// The scene; for skirmish 10x30, 100x300, 1000x3000 or 10000x30000 puppets x flyers
    #[arg(long, value_name = "NAME", default_value = "100x300")]
    scene: String,
    /// Seconds to measure for; more rounds of the same ticks make steadier figures
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The seed of the battle
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl BenchArgs {
    /// Measures and says what came out.
    pub(crate) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        let scene = find::<G>(&self.scene)?;
        let bar = output.progress("playing and measuring", u64::from(self.seconds));
        let played = Played::<G>::of(&scene, self.seed, WARM_TICKS, MEASURED_TICKS)?;
        let figures = measure(&played, f64::from(self.seconds), |seconds| bar.set_position(seconds as u64))?;
        bar.finish_and_clear();
        output.say(describe(scene.name, &figures));
        let Figures { tick, save, hash, restore, copy, encode, .. } = &figures;
        output.result(&json!({
            "scene": scene.name,
            "ticks": figures.ticks,
            "tick_us": { "p50": tick.p50_us, "p99": tick.p99_us },
            "limit_us": figures.limit.map(|limit| json!({ "p50": limit.p50_us, "p99": limit.p99_us })),
            "ratio": figures.ratio(),
            "save_us": save.p50_us,
            "hash_us": hash.p50_us,
            "restore_us": restore.p50_us,
            "copy_us": copy.p50_us,
            "encode_us": encode.p50_us,
            "snapshot_bytes": figures.snapshot_bytes,
            "state_bytes": figures.state_bytes,
            "actors": figures.actors,
            "recording_bytes_per_minute": figures.recording_bytes_per_minute,
            "times_realtime": figures.times_realtime,
        }));
        Ok(Exit::Fine)
    }
}

fn find<G: Game>(name: &str) -> Result<Mode<G::Setup>, Usage> {
    let scenes = G::scenes();
    let names: Vec<_> = scenes.iter().map(|scene| scene.name).collect();
    let unknown = || Usage(format!("--scene {name}: the scenes of {} are {}", G::NAME, names.join(", ")));
    scenes.iter().find(|scene| scene.name == name).cloned().ok_or_else(unknown)
}

fn describe(name: &str, figures: &Figures) -> String {
    let mut table = Table::new([name, "p50", "p99"]);
    let us = |value: f64| format!("{value:.2} µs");
    table.row(["tick, with its state hash".to_owned(), us(figures.tick.p50_us), us(figures.tick.p99_us)]);
    let by_hand = "the same by a hand-written loop".to_owned();
    match figures.limit {
        Some(limit) => table.row([by_hand, us(limit.p50_us), us(limit.p99_us)]),
        None => table.row([by_hand, "none".to_owned(), "none".to_owned()]),
    }
    let rows = [
        ("save the state", figures.save),
        ("hash the state", figures.hash),
        ("restore the state of 4 ticks ago", figures.restore),
        ("plain copy of the same bytes", figures.copy),
        ("encode a snapshot against 4 ticks ago", figures.encode),
    ];
    for (what, spread) in rows {
        table.row([what.to_owned(), us(spread.p50_us), us(spread.p99_us)]);
    }
    let ratio = match figures.ratio() {
        Some(ratio) => {
            format!("a tick takes {ratio:.2} times as long as by hand, and ends in the same state")
        }
        None => "this game has no hand-written loop to compare with".to_owned(),
    };
    format!(
        "{table}\n\n{ratio}\nstate {} bytes in {} actors, snapshot {} bytes, recording {} KB a minute\n\
         computed again at {:.0} times real time; {} ticks measured",
        figures.state_bytes,
        figures.actors,
        figures.snapshot_bytes,
        figures.recording_bytes_per_minute / 1_000,
        figures.times_realtime,
        figures.ticks,
    )
}
