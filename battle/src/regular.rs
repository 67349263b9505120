//! Opens files that somebody named. Only a regular file is one: a pipe would wait for ever, a device never ends.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

/// Opens a regular file to read.
///
/// # Errors
/// What the system says, or that it is no regular file, as [`io::ErrorKind::InvalidInput`].
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Looked at before, as opening a pipe may wait, and again after: the name may have changed its meaning.
    ensure_regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    ensure_regular(&file.metadata()?)?;
    Ok(file)
}

fn ensure_regular(metadata: &Metadata) -> io::Result<()> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "this is no regular file");
    metadata.is_file().then_some(()).ok_or_else(refused)
}
