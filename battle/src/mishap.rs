//! Mishaps: what a battle's recording thread writes a report on, in a file of its own beside the recording.
//!
//! A report is a recording of the part that matters, see [`tiltyard_replay::Report`]. It is made from the recording
//! itself, on the recording thread, so that a tick pays for nothing but the word that there is one to write.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tiltyard_engine::{Seat, StateHash, Tick};
use tiltyard_replay::{CutError, Recording, Report, write_claim, write_report, write_unfinished};

/// What a report's file name ends in: a recording, but none that a folder of recordings counts as its own.
pub const REPORT_EXTENSION: &str = "divergence";

/// The longest report in bytes: some keyframes of the largest battles, ten seconds of the longest records.
pub const REPORT_BYTES_MAX: usize = 32 << 20;

/// Something that should not have happened in a battle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A client that runs the engine itself came to another state.
    Desync {
        /// Whose client it is.
        seat: Seat,
        /// The tick after which the state differs.
        tick: Tick,
        /// The client's hash of it.
        hash: StateHash,
    },
    /// The game panicked.
    Panic {
        /// The last tick that was finished.
        tick: Tick,
        /// The record of the next one, if it was being made.
        unfinished: Option<Vec<u8>>,
        /// What the game said, and what it was asked.
        text: String,
    },
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// It cannot be made from the recording.
    #[error("{0}")]
    Cut(#[from] CutError),
    /// A file cannot be opened or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Mishap {
    /// Writes the report beside the recording that is at `path`, and says where; nothing if a client's state is the
    /// recorded one after all.
    pub(crate) fn write_report(&self, path: &Path) -> Result<Option<PathBuf>, ReportError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ReportError::Io { path, error }
        };
        let recording = File::open(path).map_err(failed(path))?;
        let (name, sink) = (self.name(), Bounded(Vec::new()));
        let report = match self {
            Self::Desync { seat, tick, hash } => {
                write_claim(recording, (tick.0, hash.0), &format!("the client of seat {}", seat.0), sink)?
            }
            Self::Panic { tick, unfinished: Some(record), text } => {
                let report = panicked(tick.next(), None, text);
                Some(write_unfinished(recording, record, &report, sink)?)
            }
            Self::Panic { tick, unfinished: None, text } => {
                let hash = Recording::open(&recording).and_then(|mut recording| recording.hash_of(tick.0));
                Some(write_report(recording, &panicked(*tick, hash.map_err(CutError::Read)?, text), sink)?)
            }
        };
        let Some(Bounded(bytes)) = report else { return Ok(None) };
        let to = path.with_extension(format!("{name}.{REPORT_EXTENSION}"));
        fs::write(&to, bytes).map_err(failed(&to))?;
        Ok(Some(to))
    }

    /// What tells the report from others of its battle.
    fn name(&self) -> String {
        match self {
            Self::Desync { seat, tick, .. } => format!("tick-{}.seat-{}", tick.0, seat.0),
            Self::Panic { tick, .. } => format!("tick-{}.panic", tick.0),
        }
    }
}

/// The report of a panic in or after a tick.
fn panicked(tick: Tick, recorded_hash: Option<u64>, text: &str) -> Report {
    let simulated_hash = None;
    let text = format!("the game panicked: {text}");
    Report { tick: tick.0, recorded_hash, simulated_hash, build: "the node".to_owned(), text }
}

/// Memory that takes [`REPORT_BYTES_MAX`] bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > REPORT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
