//! `replay seek`: goes to a tick by way of the keyframes, and says which state is there.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_engine::Game;
use tiltyard_replay::{PlayError, Player};

use super::open::open;
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};
use crate::text::hex;

/// Where to go.
#[derive(Clone, Debug, Args)]
pub(crate) struct SeekArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The tick to go to; 0 is the state before the first tick
    #[arg(long)]
    tick: u32,
}

/// Goes there. A state that is not the recorded one has exit code 1.
pub(super) fn run<G: Game>(output: Output, args: &SeekArgs) -> anyhow::Result<Exit> {
    let path = args.file.display().to_string();
    let shown = || path.clone();
    let mut player = Player::<G, _>::open(open(&args.file)?).with_context(shown)?;
    ensure_within(&args.file, args.tick, player.last_tick())?;
    let started = Instant::now();
    player.seek(args.tick).with_context(shown)?;
    let seek_us = started.elapsed().as_secs_f64() * 1e6;
    let hash = player.battle().state_hash();
    let recorded = recorded_hash(&mut player).with_context(shown)?;
    let agrees = recorded.is_none_or(|recorded| recorded == hash.0);
    let keyframe = player.keyframes().iter().rev().find(|entry| entry.tick <= args.tick);
    let shown_hash = |hash: u64| hex(&hash.to_be_bytes());
    let mut table = Table::new(["recording", &path]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("tick", format!("{} of {}", args.tick, player.last_tick()));
    row("keyframe", keyframe.map_or("none before it".to_owned(), |entry| entry.tick.to_string()));
    row("actors", player.battle().world().actors().to_string());
    row("state hash", hash.to_string());
    row("recorded", recorded.map_or("no hash of this tick".to_owned(), shown_hash));
    row("took", format!("{seek_us:.0} µs"));
    output.say(table.to_string());
    output.result(&json!({
        "path": path,
        "tick": player.tick(),
        "last_tick": player.last_tick(),
        "keyframe": keyframe.map(|entry| entry.tick),
        "state_hash": shown_hash(hash.0),
        "recorded_hash": recorded.map(shown_hash),
        "agrees": agrees,
        "seek_us": seek_us,
    }));
    Ok(if agrees { Exit::Fine } else { Exit::Failed })
}

/// The recorded hash of the tick that was reached. A keyframe is reached without its hash, which stands before it.
fn recorded_hash<G: Game, S: Read + Seek>(player: &mut Player<G, S>) -> Result<Option<u64>, PlayError> {
    let tick = player.tick();
    if player.recorded_hash().is_none() && tick > 0 {
        match player.seek(tick - 1) {
            Ok(_) => player.step().map(drop)?,
            Err(PlayError::TooEarly { .. }) => player.seek(tick).map(drop)?,
            Err(error) => return Err(error),
        }
    }
    Ok(player.recorded_hash().map(|hash| hash.0))
}

/// A tick that the recording does not have is a wrong question.
pub(super) fn ensure_within(path: &Path, tick: u32, last: u32) -> Result<(), Usage> {
    if tick <= last {
        return Ok(());
    }
    Err(Usage(format!("{}: tick {tick} lies behind the last one, which is {last}", path.display())))
}
