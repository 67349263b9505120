//! `replay cut`: a part of a recording, as a recording of its own.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_replay::{CutError, cut};

use super::open::open;
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::text::hex;

/// Which part.
#[derive(Clone, Debug, Args)]
pub(crate) struct CutArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The first tick of the part
    #[arg(long, value_name = "TICK", default_value_t = 1)]
    from: u32,
    /// The last tick of the part; without it all there is
    #[arg(long, value_name = "TICK", default_value_t = u32::MAX, hide_default_value = true)]
    to: u32,
    /// Where the part goes; a file that is there already is left alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Cuts. A range that the recording does not have is a wrong question.
pub(super) fn run(output: Output, args: &CutArgs) -> anyhow::Result<Exit> {
    let path = args.file.display().to_string();
    let source = open(&args.file)?;
    let found = write_new(&args.out, |sink| match cut(source, args.from, args.to, sink) {
        Ok((found, sink)) => Ok((found, sink)),
        Err(error @ CutError::Range { .. }) => Err(Usage(format!("{path}: {error}")).into()),
        Err(error) => Err(anyhow::Error::new(error).context(path.clone())),
    })?;
    let (out, sealed) = (args.out.display(), found.sealed);
    let (first, last) = (found.first_tick, sealed.last_tick);
    output.say(format!("{out}: ticks {first} to {last}, {} bytes", sealed.bytes));
    output.result(&json!({
        "path": path,
        "out": out.to_string(),
        "first_tick": first,
        "last_tick": last,
        "bytes": sealed.bytes,
        "recording_hash": hex(&sealed.recording_hash),
    }));
    Ok(Exit::Fine)
}

/// Writes a file that is not there yet. What could not be written to its end is taken away again.
pub(super) fn write_new<T>(
    path: &Path,
    write: impl FnOnce(BufWriter<std::fs::File>) -> anyhow::Result<(T, BufWriter<std::fs::File>)>,
) -> anyhow::Result<T> {
    let shown = || path.display().to_string();
    let file = OpenOptions::new().write(true).create_new(true).open(path).with_context(shown)?;
    let written = write(BufWriter::new(file)).and_then(|(found, mut sink)| {
        sink.flush().with_context(shown)?;
        Ok(found)
    });
    if written.is_err() {
        // Nothing more can be done about a file that cannot be removed either; the error says what is wrong.
        let _ = std::fs::remove_file(path);
    }
    written
}
