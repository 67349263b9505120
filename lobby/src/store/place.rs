//! Where the embedded store's database is, how its file is opened, and what becomes of it when the disk refuses.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::Database;

use super::StoreError;

/// Makes the tables that are not there.
pub(super) type Prepare = fn(&Database) -> Result<(), redb::Error>;

/// Where the database is. One that the disk refused a write answers nothing any more until it is opened anew.
pub(super) struct Place {
    /// Nothing while it is closed for that.
    database: Mutex<Option<Arc<Database>>>,
    open: Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>,
}

/// Closing a damaged database panics as reading it does, and costs as little.
impl Drop for Place {
    fn drop(&mut self) {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::warn!("the embedded store was not closed in order");
        }
    }
}

impl Place {
    /// Opens the file, or makes it if there is none.
    pub(super) fn open(path: &Path, prepare: Prepare) -> Result<Self, OpenError> {
        let named = |source| OpenError::Io { path: path.display().to_string(), source };
        let is_there = match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() == 0 => {
                return Err(OpenError::Empty { path: path.display().to_string() });
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(named(error)),
        };
        let owned = path.to_owned();
        // A file that goes while it is used is not made again: what is in use has numbers to remember.
        let again = move || Ok(Database::open(&owned)?);
        // What a damaged file makes of the reader is the file's matter.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            if !is_there {
                return Self::with(Database::create(path)?, prepare, again);
            }
            // Reads all of it once: damage that is found later would be found in a battle.
            let mut first = Database::open(path)?;
            if !first.check_integrity()? {
                tracing::warn!(path = %path.display(), "the store was not whole and was repaired");
            }
            Self::with(first, prepare, again)
        }));
        match opened {
            Ok(opened) => opened.map_err(|error| OpenError::of(path, error)),
            Err(_) => Err(OpenError::Damaged { path: path.display().to_string(), source: None }),
        }
    }

    pub(super) fn in_memory(prepare: Prepare) -> Result<Self, redb::Error> {
        let open = || -> Result<_, redb::Error> {
            let backend = redb::backends::InMemoryBackend::new();
            Ok(Database::builder().create_with_backend(backend)?)
        };
        Self::with(open()?, prepare, open)
    }

    pub(super) fn with(
        database: Database,
        prepare: Prepare,
        open: impl Fn() -> Result<Database, redb::Error> + Send + Sync + 'static,
    ) -> Result<Self, redb::Error> {
        prepare(&database)?;
        Ok(Self { database: Mutex::new(Some(Arc::new(database))), open: Box::new(open) })
    }

    /// The database, opened anew if it had to be closed. Blocks.
    fn database(&self) -> Result<Arc<Database>, Failure> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*database {
            return Ok(database.clone());
        }
        let opened = Arc::new((self.open)().map_err(failed)?);
        tracing::info!("embedded store opened anew");
        Ok(database.insert(opened).clone())
    }

    /// Closes the database after an error of the disk. As long as others use it, it stays: they meet the same error.
    fn close_after(&self, failure: &Failure) {
        let Failure::Redb(error) = failure else { return };
        if !matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            return;
        }
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if database.as_ref().is_some_and(|database| Arc::strong_count(database) == 1) {
            *database = None;
        }
    }

    pub(super) fn use_it<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let database = self.database()?;
        let done = work(&database);
        drop(database);
        done.inspect_err(|failure| self.close_after(failure))
    }
}

/// Why a file is not opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or this one has it twice.
    #[error("the store at {path} is in use: is another house using this data folder?")]
    InUse {
        /// The file.
        path: String,
    },
    /// It has no bytes. A store never has, so one was cut, and to begin anew in its place would give numbers of
    /// battles and players a second time.
    #[error("the store at {path} is empty: restore it, or move it away to begin anew")]
    Empty {
        /// The file.
        path: String,
    },
    /// It is no store, or not as it was written.
    #[error("the store at {path} is damaged, or no store: restore it, or move it away to begin anew")]
    Damaged {
        /// The file.
        path: String,
        /// What was found; nothing if the reader lost itself in it.
        #[source]
        source: Option<redb::Error>,
    },
    /// The disk refuses.
    #[error("opening the store at {path}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn of(path: &Path, source: redb::Error) -> Self {
        let path = path.display().to_string();
        match source {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Io(source) if !is_about_content(&source) => Self::Io { path, source },
            source => Self::Damaged { path, source: Some(source) },
        }
    }
}

/// Whether an error of the disk is about what a file holds.
fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Why work on the database was not done.
pub(super) enum Failure {
    Redb(Box<redb::Error>),
    Store(StoreError),
}

pub(super) fn failed(error: impl Into<redb::Error>) -> Failure {
    Failure::Redb(Box::new(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EmbeddedStore, Ordinal, Store as _};

    fn a_file_of_rows(path: &Path) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = EmbeddedStore::open(path).unwrap();
        runtime.block_on(crate::testing::store_conformance(Arc::new(store), 1));
    }

    #[test]
    fn what_is_empty_foreign_or_in_use_is_refused_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lobby.redb");
        std::fs::write(&path, b"").unwrap();
        let said = EmbeddedStore::open(&path).err().unwrap();
        assert!(matches!(&said, OpenError::Empty { .. }) && said.to_string().contains("lobby.redb is empty"));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "nothing was made in its place");
        for foreign in [&b"x"[..], &[b'x'; 100], &[0; 10_000]] {
            std::fs::write(&path, foreign).unwrap();
            assert!(matches!(EmbeddedStore::open(&path).err(), Some(OpenError::Damaged { .. })));
            assert_eq!(std::fs::read(&path).unwrap(), foreign);
        }
        std::fs::remove_file(&path).unwrap();
        let store = EmbeddedStore::open(&path).unwrap();
        assert!(matches!(EmbeddedStore::open(&path).err(), Some(OpenError::InUse { .. })));
        drop(store);
        EmbeddedStore::open(&path).unwrap();
        let missing = folder.path().join("no folder/lobby.redb");
        assert!(matches!(EmbeddedStore::open(&missing).err(), Some(OpenError::Io { .. })));
    }

    #[test]
    fn a_cut_or_damaged_file_is_refused_or_read_and_never_begins_anew() {
        let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
        eprintln!("SEED={seed}");
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (path, hurt) = (folder.path().join("whole.redb"), folder.path().join("hurt.redb"));
        a_file_of_rows(&path);
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for round in 0..60 {
            let mut bytes = whole.clone();
            if round % 2 == 0 {
                bytes.truncate(1 + random(whole.len() - 1));
            } else {
                for _ in 0..=random(64) {
                    // Most of a store's file is air.
                    let at = if round % 4 == 1 { random(256) } else { random(bytes.len()) };
                    bytes[at] ^= 1 << random(8);
                }
            }
            std::fs::write(&hurt, &bytes).unwrap();
            match EmbeddedStore::open(&hurt) {
                Err(_) => refused += 1,
                Ok(store) => {
                    let next = runtime.block_on(store.take_ordinals(Ordinal::Battle, 1));
                    assert!(next.is_err() || next.is_ok_and(|next| next >= 49), "round {round}: {next:?}");
                }
            }
        }
        assert!(refused > 0);
    }
}
