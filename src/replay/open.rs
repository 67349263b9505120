//! Opens what is said to be a recording, or to belong to one.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use tiltyard_battle::open_regular;

/// Opens a regular file to read.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    open_regular(path).with_context(|| path.display().to_string())
}
