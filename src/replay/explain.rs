//! `replay explain`: reads a divergence report, and says whether this build still finds the same.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tiltyard_battle::REPORT_EXTENSION;
use tiltyard_engine::Game;
use tiltyard_replay::{
    FirstDivergence, OnDamage, PlayError, Recording, Report, Summary, Verdict, write_divergence, write_report,
};

use super::diff::address_to_json;
use super::info;
use super::open::open;
use super::verify::{divergence_to_json, verify_file};
use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::text::{hex, utc};

/// Writes the report of what a verification found, into a folder or beside the recording: of the first difference,
/// or of the tick at which it stopped. Nothing if it found neither.
pub(super) fn write(
    path: &Path,
    verdict: &Verdict,
    folder: Option<&Path>,
) -> anyhow::Result<Option<PathBuf>> {
    let recording = open(path)?;
    let (tick, bytes) = match (&verdict.first_divergence, &verdict.stopped) {
        (Some(first), _) => {
            let report = Report::of(first, crate::BUILD);
            (first.tick, write_divergence(recording, first, &report, Vec::new())?)
        }
        (None, Some(PlayError::Simulate(error))) => {
            let Some(tick) = error.tick() else { return Ok(None) };
            let report = Report {
                tick,
                recorded_hash: Recording::open(&recording)?.hash_of(tick)?,
                simulated_hash: None,
                build: crate::BUILD.to_owned(),
                text: error.to_string(),
            };
            (tick, write_report(recording, &report, Vec::new())?)
        }
        _ => return Ok(None),
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}.tick-{tick}.{REPORT_EXTENSION}");
    let to = folder.unwrap_or_else(|| path.parent().unwrap_or(Path::new(""))).join(name);
    // What an earlier run found of the same tick is replaced.
    std::fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    Ok(Some(to))
}

/// Explains a report, or any recording that diverges. What this build finds has exit code 1.
pub(super) fn run<G: Game>(output: Output, path: &Path) -> anyhow::Result<Exit> {
    let shown = path.display().to_string();
    let summary = Summary::read(BufReader::new(open(path)?)).with_context(|| shown.clone())?;
    let now = verify_file::<G>(path, OnDamage::Stop, |_| {});
    let first = now.verdict.as_ref().ok().and_then(|verdict| verdict.first_divergence.as_ref());
    let header = &summary.header;
    let hash = |hash: u64| hex(&hash.to_be_bytes());
    let mut table = Table::new(["report", &shown]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("battle", format!("{}, seed {}", hash(header.battle), hash(header.seed)));
    row("game", info::game_of(header));
    row("recorded", format!("{} by {}", utc(header.start_unix_ms), header.build));
    let ticks = summary.tick_range.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}"));
    row("ticks", ticks);
    match &summary.report {
        Some(then) => {
            row("found by", then.build.clone());
            row("it said", then.text.clone());
        }
        None => row("found by", "nobody: this is no report".to_owned()),
    }
    let says = match (&now.verdict, first) {
        (Err(error), _) => error.text.clone(),
        (Ok(_), Some(first)) => first.to_string(),
        (Ok(verdict), None) if verdict.verified => "nothing: it comes to every recorded state".to_owned(),
        (Ok(verdict), None) => match &verdict.stopped {
            Some(error) => error.to_string(),
            None => now.remark().unwrap_or_default(),
        },
    };
    row("this build says", says);
    if let Some(address) = first.and_then(FirstDivergence::address) {
        row("component", format!("{}.{}", address.kind, address.component));
        row("actor and field", format!("{} {}", address.actor, address.field));
        row("recorded", address.left.clone());
        row("computed", address.right.clone());
    }
    output.say(table.to_string());
    output.result(&json!({
        "path": shown,
        "battle": hash(header.battle),
        "seed": hash(header.seed),
        "recorded_by": header.build,
        "protocol_hash": hex(&header.protocol_hash),
        "game": header.game,
        "mode": header.mode,
        "ticks": summary.tick_range.map(|(first, last)| [first, last]),
        "found": summary.report.as_ref().map(report_to_json),
        "now": first.map(divergence_to_json),
        "address": first.and_then(FirstDivergence::address).map(address_to_json),
        "verified": now.is_verified(),
        "build": crate::BUILD,
        "error": now.to_json()["error"],
    }));
    Ok(if now.is_verified() { Exit::Fine } else { Exit::Failed })
}

fn report_to_json(report: &Report) -> Value {
    json!({
        "tick": report.tick,
        "recorded_hash": report.recorded_hash.map(|hash| hex(&hash.to_be_bytes())),
        "computed_hash": report.simulated_hash.map(|hash| hex(&hash.to_be_bytes())),
        "build": report.build,
        "text": report.text,
    })
}
