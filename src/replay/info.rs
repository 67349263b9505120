//! `replay info`: what a recording holds, read without computing it.

use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use tiltyard_engine::{Game, Outcome, Registry};
use tiltyard_replay::{Ended, Header, Kind, Playable, Summary};

use super::open::open;
use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::text::{hex, utc};

/// Lists a recording. What is damaged is listed too, with exit code 1.
pub(super) fn run<G: Game>(output: Output, path: &Path) -> anyhow::Result<Exit> {
    let shown = || path.display().to_string();
    let file = open(path)?;
    let summary = Summary::read(BufReader::new(file)).with_context(shown)?;
    let playable = summary.playable(Registry::of::<G>()?.protocol_hash::<G>().0);
    output.say(describe::<G>(path, &summary, playable));
    let header = &summary.header;
    let blocks = Kind::ALL.iter().zip(summary.blocks).zip(summary.block_bytes);
    let blocks = blocks.map(|((kind, blocks), bytes)| {
        (kind.name().replace(' ', "_"), json!({ "blocks": blocks, "bytes": bytes }))
    });
    let playable = match playable {
        Playable::Simulate => "simulate",
        Playable::Snapshots => "snapshots",
        Playable::List => "list",
    };
    output.result(&json!({
        "path": path.display().to_string(),
        "battle": hex(&header.battle.to_be_bytes()),
        "seed": hex(&header.seed.to_be_bytes()),
        "start_unix_ms": header.start_unix_ms,
        "part": header.part,
        "build": header.build,
        "game": header.game,
        "mode": header.mode,
        "rate_hz": header.rate_hz,
        "protocol_hash": hex(&header.protocol_hash),
        "seats": header.seat_names,
        "ticks": summary.ticks,
        "seconds": summary.seconds(),
        "hashes": summary.hashes,
        "keyframes": summary.keyframes,
        "epochs": summary.epochs.map(|(lowest, highest)| [lowest, highest]),
        "blocks": blocks.collect::<serde_json::Map<_, _>>(),
        "unknown_blocks": summary.unknown_blocks,
        "bytes": summary.bytes,
        "complete": summary.complete,
        "cut_bytes": summary.cut_bytes,
        "damage": summary.gaps.iter().map(|(offset, next)| [offset, next]).collect::<Vec<_>>(),
        "error": summary.error.as_ref().map(ToString::to_string),
        "ended": summary.ended.map(Ended::name),
        "outcome": Outcome::parse(&summary.outcome).as_ref().map(outcome_to_json),
        "final_hash": summary.final_hash.map(|hash| hex(&hash.to_be_bytes())),
        "recording_hash": hex(&summary.recording_hash),
        "playable": playable,
    }));
    let sound = summary.gaps.is_empty() && summary.error.is_none();
    Ok(if sound { Exit::Fine } else { Exit::Failed })
}

fn describe<G: Game>(path: &Path, summary: &Summary, playable: Playable) -> String {
    let header = &summary.header;
    let mut table = Table::new(["recording", &path.display().to_string()]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row(
        "battle",
        format!(
            "{} (seed {}, part {})",
            hex(&header.battle.to_be_bytes()),
            hex(&header.seed.to_be_bytes()),
            header.part
        ),
    );
    row("game", game_of(header));
    row("began", utc(header.start_unix_ms));
    row("written by", header.build.clone());
    row("players", header.seat_names.join(", "));
    let range = summary.tick_range.map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
    row("ticks", format!("{}{range} at {} Hz, {:.1} s", summary.ticks, header.rate_hz, summary.seconds()));
    row("keyframes", summary.keyframes.len().to_string());
    row("bytes", summary.bytes.to_string());
    row("ended", summary.ended.map_or("no end", Ended::name).to_owned());
    if let Some(outcome) = Outcome::parse(&summary.outcome) {
        let winner = outcome.winner.map_or("a draw".to_owned(), |team| format!("team {} won", team.0));
        row("outcome", format!("{winner}, scores {:?}", scores(&outcome)));
    }
    row(
        "whole",
        match (summary.complete, summary.cut_bytes) {
            (true, _) => "yes".to_owned(),
            (false, 0) => "no".to_owned(),
            (false, bytes) => format!("no, {bytes} bytes of a torn tail are cut"),
        },
    );
    for (offset, next) in &summary.gaps {
        row("damage", format!("from byte {offset}; reading went on at byte {next}"));
    }
    if let Some(error) = &summary.error {
        row("unreadable", error.to_string());
    }
    row(
        "this build can",
        match playable {
            Playable::Simulate => "compute it again".to_owned(),
            Playable::Snapshots => {
                format!("show the pictures in it: it is of another game or version than this {}", G::NAME)
            }
            Playable::List => format!("list it only: it is of another game or version than this {}", G::NAME),
        },
    );
    table.to_string()
}

/// Which game a recording is of, and which of its modes.
pub(super) fn game_of(header: &Header) -> String {
    match (header.game.as_str(), header.mode.as_str()) {
        ("", _) => "not named: recorded before names were".to_owned(),
        (game, "") => game.to_owned(),
        (game, mode) => format!("{game}, mode {mode}"),
    }
}

pub(super) fn outcome_to_json(outcome: &Outcome) -> Value {
    json!({ "winner": outcome.winner.map(|team| team.0), "scores": scores(outcome) })
}

/// The teams' scores without those of teams that have none, but at least two.
fn scores(outcome: &Outcome) -> &[i32] {
    let teams = 1 + outcome.scores.iter().rposition(|score| *score != 0).unwrap_or(1).max(1);
    outcome.scores.get(..teams).unwrap_or_default()
}
