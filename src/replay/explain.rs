//! `replay explain`: reads a divergence report, and says whether this build still finds the same.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tiltyard_engine::Game;
use tiltyard_replay::{FirstDivergence, OnDamage, Report, Summary, write_report};

use super::diff::address_to_json;
use super::open::open;
use super::verify::{divergence_to_json, verify_file};
use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::text::{hex, utc};

/// What a report's file name ends in. It is a recording, and not taken for one when a folder is verified: renamed to
/// `.replay` it becomes a test.
pub(super) const EXTENSION: &str = "divergence";

/// Writes the report of a recording's first difference: into a folder, or beside the recording.
pub(super) fn write(path: &Path, first: &FirstDivergence, folder: Option<&Path>) -> anyhow::Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}.tick-{}.{EXTENSION}", first.tick);
    let to = folder.unwrap_or_else(|| path.parent().unwrap_or(Path::new(""))).join(name);
    let report = Report::of(first, [0; 16], crate::BUILD);
    let (_, bytes) = write_report(open(path)?, first, &report, Vec::new())?;
    // What an earlier run found of the same tick is replaced.
    std::fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    Ok(to)
}

/// Explains a report, or any recording that diverges. What this build still finds has exit code 1.
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
        (Err(error), _) => error.clone(),
        (Ok(_), Some(first)) => first.to_string(),
        (Ok(verdict), None) if verdict.verified => "nothing: it comes to every recorded state".to_owned(),
        (Ok(_), None) => now.remark().unwrap_or_default(),
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
        "tables_hash": hex(&header.tables_hash),
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
        "computed_hash": hex(&report.simulated_hash.to_be_bytes()),
        "build": report.build,
        "tables_hash": hex(&report.tables_hash),
        "text": report.text,
    })
}
