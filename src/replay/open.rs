//! Opens what is said to be a recording. Only a regular file is one: a pipe would wait for ever, a device never ends.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Opens a recording to read.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    let shown = || path.display().to_string();
    // Looked at before, as opening a pipe may wait, and again after: the name may have changed its meaning.
    ensure_regular(&fs::metadata(path).with_context(shown)?).with_context(shown)?;
    let file = File::open(path).with_context(shown)?;
    ensure_regular(&file.metadata().with_context(shown)?).with_context(shown)?;
    Ok(file)
}

fn ensure_regular(metadata: &fs::Metadata) -> anyhow::Result<()> {
    ensure!(metadata.is_file(), "not a recording: this is no regular file");
    Ok(())
}
