//! The embedded store: one redb file, ACID, every acknowledged change synced to disk.
//!
//! ```text
//! ordinals   name of the counter -> next number
//! accounts   player -> Account as JSON
//! battles    battle -> BattleRow as JSON
//! current    player -> battle that was placed last
//! results    battle -> (); those with a result, to be counted
//! ```

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tiltyard_cluster::{BattleId, Epoch, NodeId};

use super::{
    Account, BattleResult, BattleRow, BattleState, Ordinal, Settled, Store, StoreCounts, StoreError,
};

const ORDINALS: TableDefinition<'_, &str, u64> = TableDefinition::new("ordinals");
const ACCOUNTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("accounts");
const BATTLES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("battles");
const CURRENT: TableDefinition<'_, u64, u64> = TableDefinition::new("current");
const RESULTS: TableDefinition<'_, u64, ()> = TableDefinition::new("results");

/// A store in one file. Clones share it.
#[derive(Clone)]
pub struct EmbeddedStore {
    place: Arc<Place>,
}

/// Where the database is. One that the disk refused a write answers nothing any more until it is opened anew.
struct Place {
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

    fn use_it<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
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

impl EmbeddedStore {
    /// Opens the file, or makes it if there is none. Blocks; call it outside of async code or before it matters.
    ///
    /// # Errors
    /// The file is in use, damaged or no store, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
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
                return Self::with(Database::create(path)?, again);
            }
            // Reads all of it once: damage that is found later would be found in a battle.
            let mut first = Database::open(path)?;
            if !first.check_integrity()? {
                tracing::warn!(path = %path.display(), "the store was not whole and was repaired");
            }
            Self::with(first, again)
        }));
        match opened {
            Ok(opened) => opened.map_err(|error| OpenError::of(path, error)),
            Err(_) => Err(OpenError::Damaged { path: path.display().to_string(), source: None }),
        }
    }

    /// A store in memory, for tests and houses that keep nothing.
    pub fn in_memory() -> Self {
        let open = || -> Result<_, redb::Error> {
            let backend = redb::backends::InMemoryBackend::new();
            Ok(Database::builder().create_with_backend(backend)?)
        };
        let made = open().and_then(|database| Self::with(database, open));
        made.expect("memory takes the tables")
    }

    fn with(
        database: Database,
        open: impl Fn() -> Result<Database, redb::Error> + Send + Sync + 'static,
    ) -> Result<Self, redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(ORDINALS)?;
        transaction.open_table(ACCOUNTS)?;
        transaction.open_table(BATTLES)?;
        transaction.open_table(CURRENT)?;
        transaction.open_table(RESULTS)?;
        transaction.commit()?;
        let database = Mutex::new(Some(Arc::new(database)));
        Ok(Self { place: Arc::new(Place { database, open: Box::new(open) }) })
    }

    /// Changes the store on a thread that may block; the change is durable when this answers.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.place);
        blocking(move || {
            place.use_it(|database| {
                let mut transaction = database.begin_write().map_err(failed)?;
                transaction.set_durability(Durability::Immediate).map_err(failed)?;
                let changed = change(&transaction)?;
                transaction.commit().map_err(failed)?;
                Ok(changed)
            })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.place);
        blocking(move || place.use_it(|database| look(&database.begin_read().map_err(failed)?))).await
    }

    /// Reads a row, lets `change` alter it, writes it back if that answers something.
    async fn update<T: Send + 'static>(
        &self,
        battle: BattleId,
        change: impl FnOnce(&WriteTransaction, &mut BattleRow) -> Result<Option<T>, Failure> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        self.write(move |transaction| {
            let mut rows = transaction.open_table(BATTLES).map_err(failed)?;
            let Some(mut row) = parse_at::<BattleRow>(&rows, "battles", battle.0)? else { return Ok(None) };
            let answer = change(transaction, &mut row)?;
            if answer.is_some() {
                rows.insert(battle.0, encode(&row).as_slice()).map_err(failed)?;
            }
            Ok(answer)
        })
        .await
    }
}

enum Failure {
    Redb(Box<redb::Error>),
    Store(StoreError),
}

fn failed(error: impl Into<redb::Error>) -> Failure {
    Failure::Redb(Box::new(error.into()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Failure::Store(error))) => Err(error),
        Ok(Err(Failure::Redb(error))) => {
            tracing::error!(%error, "embedded store");
            Err(StoreError::Unavailable)
        }
        // The runtime is going down, or the work panicked; neither left a transaction behind.
        Err(_) => Err(StoreError::Unavailable),
    }
}

fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have string keys")
}

fn parse_at<T: DeserializeOwned>(
    table: &impl ReadableTable<u64, &'static [u8]>,
    name: &'static str,
    key: u64,
) -> Result<Option<T>, Failure> {
    let Some(stored) = table.get(key).map_err(failed)? else { return Ok(None) };
    serde_json::from_slice(stored.value())
        .map(Some)
        .map_err(|_| Failure::Store(StoreError::Corrupt { table: name, key }))
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn take_ordinals(&self, ordinal: Ordinal, count: u32) -> Result<u64, StoreError> {
        let name = match ordinal {
            Ordinal::Player => "player",
            Ordinal::Battle => "battle",
        };
        self.write(move |transaction| {
            let mut ordinals = transaction.open_table(ORDINALS).map_err(failed)?;
            let first = ordinals.get(name).map_err(failed)?.map_or(0, |next| next.value());
            ordinals.insert(name, first.wrapping_add(count.into())).map_err(failed)?;
            Ok(first)
        })
        .await
    }

    async fn account(&self, player: u64) -> Result<Option<Account>, StoreError> {
        self.read(move |transaction| {
            parse_at(&transaction.open_table(ACCOUNTS).map_err(failed)?, "accounts", player)
        })
        .await
    }

    async fn end_sessions(&self, player: u64, generation: u32) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let mut accounts = transaction.open_table(ACCOUNTS).map_err(failed)?;
            let Some(mut account) = parse_at::<Account>(&accounts, "accounts", player)? else {
                return Ok(false);
            };
            account.session_generation = account.session_generation.max(generation.saturating_add(1));
            accounts.insert(player, encode(&account).as_slice()).map_err(failed)?;
            Ok(true)
        })
        .await
    }

    async fn create_battle(&self, row: &BattleRow) -> Result<bool, StoreError> {
        let (battle, bytes) = (row.battle.0, encode(row));
        self.write(move |transaction| {
            let mut rows = transaction.open_table(BATTLES).map_err(failed)?;
            if rows.get(battle).map_err(failed)?.is_some() {
                return Ok(false);
            }
            rows.insert(battle, bytes.as_slice()).map_err(failed)?;
            Ok(true)
        })
        .await
    }

    async fn raise_epoch(&self, battle: BattleId, from: Epoch) -> Result<Option<Epoch>, StoreError> {
        self.update(battle, move |_, row| {
            if row.epoch != from || row.result.is_some() {
                return Ok(None);
            }
            let Some(next) = from.next() else { return Ok(None) };
            row.epoch = next;
            Ok(Some(next))
        })
        .await
    }

    async fn place(
        &self,
        battle: BattleId,
        epoch: Epoch,
        node: &NodeId,
        addresses: &[SocketAddr],
    ) -> Result<bool, StoreError> {
        let (node, addresses) = (node.clone(), addresses.to_vec());
        let placed = self.update(battle, move |transaction, row| {
            let again = row.state == BattleState::Running && row.node.as_ref() == Some(&node);
            if row.epoch != epoch || !(again || row.state == BattleState::Placing) {
                return Ok(None);
            }
            row.state = BattleState::Running;
            row.node = Some(node);
            row.addresses = addresses;
            let mut current = transaction.open_table(CURRENT).map_err(failed)?;
            let mut accounts = transaction.open_table(ACCOUNTS).map_err(failed)?;
            for seat in row.humans() {
                current.insert(seat.player, battle.0).map_err(failed)?;
                if accounts.get(seat.player).map_err(failed)?.is_none() {
                    let account = Account {
                        player: seat.player,
                        name: seat.name.clone(),
                        created_unix_ms: row.created_unix_ms,
                        session_generation: 0,
                    };
                    accounts.insert(seat.player, encode(&account).as_slice()).map_err(failed)?;
                }
            }
            Ok(Some(()))
        });
        Ok(placed.await?.is_some())
    }

    async fn dissolve(&self, battle: BattleId, epoch: Epoch) -> Result<bool, StoreError> {
        let dissolved = self.update(battle, move |_, row| {
            let open = matches!(row.state, BattleState::Placing | BattleState::Running);
            if row.epoch != epoch || !open {
                return Ok(None);
            }
            row.state = BattleState::Dissolved;
            row.epoch = epoch.next().unwrap_or(epoch);
            Ok(Some(()))
        });
        Ok(dissolved.await?.is_some())
    }

    async fn battle(&self, battle: BattleId) -> Result<Option<BattleRow>, StoreError> {
        self.read(move |transaction| {
            parse_at(&transaction.open_table(BATTLES).map_err(failed)?, "battles", battle.0)
        })
        .await
    }

    async fn battle_of(&self, player: u64) -> Result<Option<BattleRow>, StoreError> {
        self.read(move |transaction| {
            let current = transaction.open_table(CURRENT).map_err(failed)?;
            let Some(battle) = current.get(player).map_err(failed)? else { return Ok(None) };
            let rows = transaction.open_table(BATTLES).map_err(failed)?;
            let row: Option<BattleRow> = parse_at(&rows, "battles", battle.value())?;
            Ok(row.filter(|row| row.state == BattleState::Running))
        })
        .await
    }

    async fn settle(
        &self,
        battle: BattleId,
        epoch: Epoch,
        result: &BattleResult,
    ) -> Result<Settled, StoreError> {
        let result = result.clone();
        self.write(move |transaction| {
            let mut rows = transaction.open_table(BATTLES).map_err(failed)?;
            let Some(mut row) = parse_at::<BattleRow>(&rows, "battles", battle.0)? else {
                return Ok(Settled::Unknown);
            };
            if row.epoch > epoch {
                return Ok(Settled::Stale { current: row.epoch });
            }
            if row.epoch < epoch {
                return Ok(Settled::Unknown);
            }
            if row.result.is_some() {
                return Ok(Settled::Duplicate);
            }
            row.state = BattleState::Settled;
            row.result = Some(result);
            rows.insert(battle.0, encode(&row).as_slice()).map_err(failed)?;
            transaction.open_table(RESULTS).map_err(failed)?.insert(battle.0, ()).map_err(failed)?;
            Ok(Settled::Accepted(Box::new(row)))
        })
        .await
    }

    async fn counts(&self) -> Result<StoreCounts, StoreError> {
        self.read(|transaction| {
            Ok(StoreCounts {
                accounts: transaction.open_table(ACCOUNTS).map_err(failed)?.len().map_err(failed)?,
                battles: transaction.open_table(BATTLES).map_err(failed)?.len().map_err(failed)?,
                results: transaction.open_table(RESULTS).map_err(failed)?.len().map_err(failed)?,
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A disk in memory that outlives the databases on it and can be full.
    #[derive(Debug, Clone, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            change(&mut self.bytes.lock().unwrap());
            Ok(())
        }
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.lock().unwrap().len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.bytes.lock().unwrap()[at..at + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.changed(|bytes| bytes.resize(usize::try_from(len).unwrap(), 0))
        }

        fn sync_data(&self) -> io::Result<()> {
            self.changed(|_| {})
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            self.changed(|bytes| bytes[at..at + data.len()].copy_from_slice(data))
        }
    }

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

    #[tokio::test]
    async fn a_store_that_a_full_disk_stopped_answers_again_when_there_is_room() {
        let disk = Disk::default();
        let again = disk.clone();
        let open =
            move || -> Result<_, redb::Error> { Ok(Database::builder().create_with_backend(again.clone())?) };

        let store = EmbeddedStore::with(open().unwrap(), open).unwrap();
        assert_eq!(store.take_ordinals(Ordinal::Battle, 3).await, Ok(0));
        disk.full.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Err(StoreError::Unavailable));
        }
        disk.full.store(false, Ordering::SeqCst);
        assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Ok(3));
    }
}
