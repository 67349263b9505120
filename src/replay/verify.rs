//! `replay verify`: computes recorded battles again, as many at once as there are cores.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tiltyard_engine::{ActorId, Game};
use tiltyard_replay::{FirstDivergence, OnDamage, PlayError, SimulateError, Verdict, verify};

use super::explain;
use super::open::open;
use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::text::hex;

/// Why a recording could not be computed at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// In words.
    pub text: String,
    /// It is whole as far as one can see, and of another game or version than this build: listed, not simulated.
    pub is_foreign: bool,
}

/// What came of one recording.
#[derive(Debug)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// What was found, or why it could not even begin.
    pub verdict: Result<Verdict, Unverified>,
    /// How long it took.
    pub seconds: f64,
}

impl Checked {
    /// Whether everything that is there was computed again and agrees.
    pub fn is_verified(&self) -> bool {
        self.verdict.as_ref().is_ok_and(|verdict| verdict.verified)
    }

    /// The recording's part of a result in JSON.
    pub fn to_json(&self) -> Value {
        let path = self.path.display().to_string();
        match &self.verdict {
            Ok(verdict) => json!({
                "path": path,
                "ticks": verdict.ticks,
                "verified": verdict.verified,
                "complete": verdict.complete,
                "cut_bytes": verdict.cut_bytes,
                "first_divergence": verdict.first_divergence.as_ref().map(divergence_to_json),
                "times_realtime": verdict.times_realtime(self.seconds),
                "keyframes_compared": verdict.keyframes_compared,
                "damage": verdict.gaps.iter().map(|(offset, next)| [offset, next]).collect::<Vec<_>>(),
                "recording_hash": hex(&verdict.recording_hash),
                "error": verdict.stopped.as_ref().map(ToString::to_string),
            }),
            Err(error) => json!({
                "path": path,
                "ticks": 0,
                "verified": false,
                "complete": false,
                "cut_bytes": 0,
                "first_divergence": null,
                "times_realtime": 0.0,
                "playable": error.is_foreign.then_some("list"),
                "error": error.text,
            }),
        }
    }

    /// What is to be said about it in words, if it is not simply fine.
    pub fn remark(&self) -> Option<String> {
        let path = self.path.display();
        let verdict = match &self.verdict {
            Ok(verdict) => verdict,
            Err(error) => return Some(format!("{path}: {}", error.text)),
        };
        let mut remarks = Vec::new();
        if verdict.cut_bytes > 0 {
            remarks.push(format!(
                "the recording is torn after tick {}: {} bytes of its tail are cut",
                verdict.last_tick, verdict.cut_bytes
            ));
        } else if verdict.ended.is_none() {
            remarks.push(format!("the recording has no end after tick {}", verdict.last_tick));
        }
        remarks.extend(verdict.first_divergence.as_ref().map(ToString::to_string));
        for (offset, next) in &verdict.gaps {
            remarks.push(format!("damaged from byte {offset}; went on at byte {next}"));
        }
        remarks.extend(verdict.stopped.as_ref().map(PlayError::to_string));
        (!remarks.is_empty()).then(|| format!("{path}: {}", remarks.join("; ")))
    }
}

/// Verifies one recording; `progress` hears how many bytes were read.
pub fn verify_file<G: Game>(path: &Path, on_damage: OnDamage, mut progress: impl FnMut(u64)) -> Checked {
    let started = Instant::now();
    let unreadable = |text| Unverified { text, is_foreign: false };
    let verdict = open(path).map_err(|error| unreadable(format!("{:#}", error.root_cause())));
    let verdict = verdict.and_then(|file| {
        let verdict = verify::<G>(BufReader::new(file), on_damage, |at| progress(at.bytes));
        verdict.map_err(|error| {
            let is_foreign = matches!(error, PlayError::Simulate(SimulateError::Foreign { .. }));
            Unverified { text: error.to_string(), is_foreign }
        })
    });
    Checked { path: path.to_owned(), verdict, seconds: started.elapsed().as_secs_f64() }
}

/// Verifies recordings on all cores and answers in their order; the bar moves by bytes.
///
/// # Panics
/// Never by a recording: a game that panics on one is that recording's finding.
pub fn verify_all<G: Game>(files: &[PathBuf], on_damage: OnDamage, bar: &ProgressBar) -> Vec<Checked> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        while let Some((index, path)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            files.get(index).map(|path| (index, path))
        } {
            let mut seen = 0;
            let checked = verify_file::<G>(path, on_damage, |bytes| {
                bar.inc(bytes.saturating_sub(seen));
                seen = bytes;
            });
            done.lock().expect("nobody panics while holding it").push((index, checked));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(files.len()) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("nobody panics while holding it");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, checked)| checked).collect()
}

/// All bytes of the files, for a progress bar; a file that cannot be looked at counts nothing.
pub(crate) fn bytes_of(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// Verifies recordings and says what came of them.
pub(super) fn run<G: Game>(
    output: Output,
    files: &[PathBuf],
    past_damage: bool,
    reports: Option<&Path>,
) -> Exit {
    let on_damage = if past_damage { OnDamage::NextKeyframe } else { OnDamage::Stop };
    let bar = output.progress("verifying", bytes_of(files));
    let checked = verify_all::<G>(files, on_damage, &bar);
    bar.finish_and_clear();
    output.say(table_of(&checked).to_string());
    for remark in checked.iter().filter_map(Checked::remark) {
        output.say(remark);
    }
    let objects = checked.iter().map(|file| {
        let mut object = file.to_json();
        object["report"] = report(output, file, reports).into();
        object
    });
    output.result(&json!({ "files": objects.collect::<Vec<_>>() }));
    if checked.iter().all(Checked::is_verified) { Exit::Fine } else { Exit::Failed }
}

/// Writes the report of what diverged or could not be computed, and says where it is.
fn report(output: Output, file: &Checked, folder: Option<&Path>) -> Option<String> {
    // Of a report there is one already.
    let verdict = file.verdict.as_ref().ok().filter(|verdict| verdict.report.is_none())?;
    match explain::write(&file.path, verdict, folder) {
        Ok(report) => {
            let report = report?.display().to_string();
            output.say(format!("{report}: the report, for {} replay explain", crate::program::name()));
            Some(report)
        }
        Err(error) => {
            output.note(format!("warning: no report of {}: {error:#}", file.path.display()));
            None
        }
    }
}

fn table_of(checked: &[Checked]) -> Table {
    let mut table = Table::new(["recording", "ticks", "verdict", "whole", "x real time"]);
    for file in checked {
        let (ticks, whole, speed) = match &file.verdict {
            Ok(verdict) => {
                (verdict.ticks, verdict.complete, format!("{:.0}", verdict.times_realtime(file.seconds)))
            }
            Err(_) => (0, false, "-".to_owned()),
        };
        let verdict = match &file.verdict {
            Ok(verdict) if verdict.verified => "verified",
            Ok(verdict) if verdict.first_divergence.is_some() => "DIVERGED",
            Ok(_) => "DAMAGED",
            Err(error) if error.is_foreign => "OF ANOTHER GAME",
            Err(_) => "UNREADABLE",
        };
        let path = file.path.display().to_string();
        let whole = if whole { "yes" } else { "no" };
        table.row([path, ticks.to_string(), verdict.to_owned(), whole.to_owned(), speed]);
    }
    table
}

pub(super) fn divergence_to_json(divergence: &FirstDivergence) -> Value {
    json!({
        "tick": divergence.tick,
        "component": divergence.component(),
        "actor": divergence.actor().filter(|actor| *actor != ActorId::NONE).map(|actor| actor.0),
        "field": divergence.field(),
    })
}
