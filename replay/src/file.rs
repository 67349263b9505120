//! A recording in a file of its own. Runs on the recording's thread: every call may wait for the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::ending::Ended;
use crate::header::Header;
use crate::writer::{Sealed, Settings, WriteError, Writer};

/// How far a recording is safe against the loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The newest tick that is safe; 0 before the first sync.
    pub tick: u32,
    /// Bytes that are safe.
    pub bytes: u64,
}

/// A sink that can be made durable.
pub trait SyncSink: Write {
    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// If the disk says so: then it is unknown what reached it, and asking again proves nothing.
    fn sync(&mut self) -> io::Result<()>;
}

impl SyncSink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes a recording to a new file and syncs it when asked.
///
/// A failing sync ends the recording like a failing write does: the kernel may have dropped what it could not
/// write, so that a later good sync would promise too much. Whoever wants to go on opens the battle's next part.
#[derive(Debug)]
pub struct FileWriter<F = File> {
    writer: Writer<F>,
    path: PathBuf,
    durable: Durable,
    /// The folder's entry of the file is on the disk.
    entry_synced: bool,
}

impl FileWriter<File> {
    /// Creates a file that is not there yet and writes the header.
    ///
    /// # Errors
    /// If the file exists or cannot be made, or the header is above a cap.
    pub fn create(path: &Path, header: &Header, settings: Settings) -> Result<Self, WriteError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| WriteError::Io { kind: error.kind(), offset: 0 })?;
        Self::start(file, path, header, settings)
    }
}

impl<F: SyncSink> FileWriter<F> {
    /// Writes the header to a file that was opened by the caller.
    ///
    /// # Errors
    /// As [`Writer::start`].
    pub fn start(file: F, path: &Path, header: &Header, settings: Settings) -> Result<Self, WriteError> {
        let writer = Writer::start(file, header, settings)?;
        Ok(Self { writer, path: path.to_owned(), durable: Durable::default(), entry_synced: false })
    }

    /// The writer, for everything but the end.
    pub const fn writer(&mut self) -> &mut Writer<F> {
        &mut self.writer
    }

    /// Closes the frame and waits until all of it is on the disk: 1 to 13 ms, so about once a second, from the
    /// recording's thread.
    ///
    /// # Errors
    /// The first error is final; [`FileWriter::durable`] stays at the last sync that went well.
    pub fn sync(&mut self) -> Result<Durable, WriteError> {
        self.writer.flush()?;
        let synced = self.writer.sink_mut().sync().and_then(|()| self.sync_entry());
        if let Err(error) = synced {
            return Err(self.writer.fail(WriteError::Sync { kind: error.kind() }));
        }
        self.durable = Durable { tick: self.writer.written_tick(), bytes: self.writer.bytes() };
        Ok(self.durable)
    }

    /// Writes index and end and waits until all of it is on the disk.
    ///
    /// # Errors
    /// As [`Writer::finish`]. If only the sync fails, the file is whole for readers of this machine but not
    /// promised to outlive it: [`FileWriter::durable`] says how far it is.
    pub fn finish(&mut self, ended: Ended, outcome: &[u8], final_hash: u64) -> Result<Sealed, WriteError> {
        let sealed = self.writer.finish(ended, outcome, final_hash)?;
        let synced = self.writer.sink_mut().sync().and_then(|()| self.sync_entry());
        synced.map_err(|error| WriteError::Sync { kind: error.kind() })?;
        self.durable = Durable { tick: sealed.last_tick, bytes: sealed.bytes };
        Ok(sealed)
    }

    /// How far the recording is safe against the loss of power.
    #[must_use]
    pub const fn durable(&self) -> Durable {
        self.durable
    }

    /// Where the recording is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A synced file whose name is not in its folder would be lost all the same.
    fn sync_entry(&mut self) -> io::Result<()> {
        if !self.entry_synced {
            let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            self.entry_synced = true;
        }
        Ok(())
    }
}
