//! `tiltyard bench`: what this machine can carry, without a network.

mod crowd;
mod figures;
mod many;
mod picture;
mod scene;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_engine::{Game, Mode};

pub use self::figures::{Figures, Spread, measure};
pub use self::scene::{OracleError, Played, PlayedError};
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};

/// Ticks before measuring starts: buffers are warm and the arena is in full fight.
const WARM_TICKS: u32 = 150;
/// Ticks that are measured in each round: ten seconds of play.
const MEASURED_TICKS: u32 = 300;
/// The scene that is measured when none is named, where the game has it.
const SCENE_DEFAULT: &str = "100x300";
/// Ticks of a trial of the crowd for each second to measure for.
const CROWD_TICKS_PER_SECOND: u32 = 50;

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// A scene of the game (an unknown name is answered with all of them), or `all` of them, `many` battles in turn, or
    /// a `crowd` [default: 100x300 where the game has that, else its first]
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
    /// Seconds to measure for, each scene and each trial of the crowd; more rounds of the same ticks make steadier
    /// figures
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The seed of the battle
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// With `--scene all`: draw what a tick costs over how many actors there are
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl BenchArgs {
    /// Measures and says what came out.
    pub(crate) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        let scene = match &self.scene {
            Some(name) => name.as_str(),
            None => default_scene::<G>(),
        };
        if self.svg.is_some() && scene != "all" {
            return Err(Usage("--svg draws all scenes: say --scene all".to_owned()).into());
        }
        let object = match scene {
            "all" => self.all::<G>(output)?,
            "many" => self.many::<G>(output)?,
            "crowd" => self.crowd(output)?,
            name => {
                let figures = self.scene::<G>(&find::<G>(name)?, output)?;
                output.say(describe(name, &figures));
                object(name, &figures)
            }
        };
        output.result(&object);
        Ok(Exit::Fine)
    }

    fn scene<G: Game>(&self, scene: &Mode<G::Setup>, output: Output) -> anyhow::Result<Figures> {
        let bar = output.progress("playing and measuring", u64::from(self.seconds));
        let played = Played::<G>::of(scene, self.seed, WARM_TICKS, MEASURED_TICKS)?;
        let figures = measure(&played, f64::from(self.seconds), |seconds| bar.set_position(seconds as u64));
        bar.finish_and_clear();
        figures
    }

    fn all<G: Game>(&self, output: Output) -> anyhow::Result<Value> {
        let mut all = Vec::new();
        for scene in G::scenes() {
            let figures = self.scene::<G>(&scene, output)?;
            all.push((scene.name, figures));
        }
        output.say(compare(&all));
        if let Some(path) = &self.svg {
            let points =
                all.iter().map(|(name, figures)| picture::Point::of(name, figures)).collect::<Vec<_>>();
            let place = || format!("writing {}", path.display());
            std::fs::write(path, picture::draw(G::NAME, &points)).with_context(place)?;
            output.say(format!("drawn in {}", path.display()));
        }
        let scenes: Vec<_> = all.iter().map(|(name, figures)| object(name, figures)).collect();
        Ok(json!({ "scene": "all", "scenes": scenes, "svg": self.svg }))
    }

    fn many<G: Game>(&self, output: Output) -> anyhow::Result<Value> {
        let bar = output.progress("battles in turn", u64::from(self.seconds));
        let scenes: Vec<_> = G::scenes().into_iter().zip(many::BATTLES).collect();
        let groups = many::measure::<G>(&scenes, self.seed, f64::from(self.seconds), |seconds| {
            bar.set_position(seconds as u64);
        })?;
        bar.finish_and_clear();
        output.say(many::describe(&groups));
        Ok(many::object(&groups))
    }

    fn crowd(&self, output: Output) -> anyhow::Result<Value> {
        let bar = output.progress("trials of the crowd", 48);
        let holds = crowd::measure(self.seconds * CROWD_TICKS_PER_SECOND, self.seed, || bar.inc(1))?;
        bar.finish_and_clear();
        output.say(crowd::describe(&holds));
        Ok(crowd::object(&holds))
    }
}

/// The scene that is measured when none is named.
fn default_scene<G: Game>() -> &'static str {
    let names: Vec<_> = G::scenes().iter().map(|scene| scene.name).collect();
    let usual = names.iter().find(|name| **name == SCENE_DEFAULT);
    usual.or(names.first()).copied().unwrap_or(SCENE_DEFAULT)
}

fn find<G: Game>(name: &str) -> Result<Mode<G::Setup>, Usage> {
    let scenes = G::scenes();
    let names: Vec<_> = scenes.iter().map(|scene| scene.name).collect();
    let unknown = || {
        let names = names.join(", ");
        Usage(format!(
            "--scene {name}: the scenes of {} are {names}, and for every game all, many, crowd",
            G::NAME
        ))
    };
    scenes.iter().find(|scene| scene.name == name).cloned().ok_or_else(unknown)
}

fn object(name: &str, figures: &Figures) -> Value {
    let Figures { tick, save, hash, restore, copy, encode, .. } = figures;
    json!({
        "scene": name,
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
    })
}

fn us(value: f64) -> String {
    format!("{value:.2} µs")
}

fn describe(name: &str, figures: &Figures) -> String {
    let mut table = Table::new([name, "p50", "p99"]);
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

/// The scenes beside each other.
fn compare(all: &[(&'static str, Figures)]) -> String {
    let mut table = Table::new([
        "scene",
        "actors",
        "tick",
        "an actor",
        "by hand",
        "ratio",
        "save",
        "hash",
        "× real time",
    ]);
    for (name, figures) in all {
        table.row([
            (*name).to_owned(),
            figures.actors.to_string(),
            us(figures.tick.p50_us),
            format!("{:.1} ns", figures.tick.p50_us * 1_000.0 / figures.actors.max(1) as f64),
            figures.limit.map_or_else(|| "none".to_owned(), |limit| us(limit.p50_us)),
            figures.ratio().map_or_else(|| "none".to_owned(), |ratio| format!("{ratio:.2}")),
            us(figures.save.p50_us),
            us(figures.hash.p50_us),
            format!("{:.0}", figures.times_realtime),
        ]);
    }
    table.to_string()
}
