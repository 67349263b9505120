//! A recording in a file of its own. Runs on the recording's thread: every call may wait for the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
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

/// A sink that can be made durable, and written ahead.
pub trait SyncSink: Write {
    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// If the disk says so: then it is unknown what reached it, and asking again proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Writes `bytes` at the end, which is at `offset`, and makes the next write overwrite them.
    ///
    /// # Errors
    /// If they cannot be written.
    fn write_ahead(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Drops everything after the first `length` bytes.
    ///
    /// # Errors
    /// If the sink cannot.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl SyncSink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn write_ahead(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.seek(SeekFrom::Start(offset)).map(drop)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
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
    /// Where the bytes end that were written ahead.
    ahead_end: u64,
    ahead: Vec<u8>,
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
        let (path, durable) = (path.to_owned(), Durable::default());
        Ok(Self { writer, path, durable, entry_synced: false, ahead_end: 0, ahead: Vec::new() })
    }

    /// The writer, for everything but the end.
    pub const fn writer(&mut self) -> &mut Writer<F> {
        &mut self.writer
    }

    /// Writes the open frame ahead: what was appended so far survives the death of the process, and the frame goes
    /// on. The bytes are overwritten by the frame when it closes, so that the file ends up as if this had never been
    /// called. Costs one write of what the frame holds; every third tick is often enough.
    ///
    /// # Errors
    /// If the file refuses: the recording is incomplete.
    pub fn checkpoint(&mut self) -> Result<(), WriteError> {
        self.writer.check()?;
        self.ahead.clear();
        self.writer.put_open_frame(&mut self.ahead);
        let offset = self.writer.bytes();
        let end = offset + self.ahead.len() as u64;
        let sink = self.writer.sink_mut();
        // A frame that packed well may end before what was written ahead of it.
        let stale = self.ahead_end > end;
        let written = sink.write_ahead(offset, &self.ahead);
        let written = written.and_then(|()| if stale { sink.truncate(end) } else { Ok(()) });
        self.ahead_end = end;
        written.map_err(|error| self.writer.fail(WriteError::Io { kind: error.kind(), offset }))
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
        self.writer.flush()?;
        // Nothing may lie behind the end, at no moment.
        self.checkpoint()?;
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
