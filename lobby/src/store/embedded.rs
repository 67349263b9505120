//! The embedded store: one redb file, ACID, every acknowledged change synced to disk.
//!
//! ```text
//! ordinals   name of the counter -> next number
//! accounts   player -> Account as JSON
//! logins     login -> player
//! battles    battle -> BattleRow as JSON
//! current    player -> battle that was placed last
//! results    battle -> (); those with a result, to be counted
//! unapplied  battle -> (); those with a result that is still to be applied to avatars
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tiltyard_cluster::{BattleId, Epoch, NodeId};

use super::place::{Failure, OpenError, Place, failed};
use super::{
    Account, BattleResult, BattleRow, BattleState, Ordinal, Settled, Store, StoreCounts, StoreError,
};

const ORDINALS: TableDefinition<'_, &str, u64> = TableDefinition::new("ordinals");
const ACCOUNTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("accounts");
const LOGINS: TableDefinition<'_, &str, u64> = TableDefinition::new("logins");
const BATTLES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("battles");
const CURRENT: TableDefinition<'_, u64, u64> = TableDefinition::new("current");
const RESULTS: TableDefinition<'_, u64, ()> = TableDefinition::new("results");
const UNAPPLIED: TableDefinition<'_, u64, ()> = TableDefinition::new("unapplied");

/// A store in one file. Clones share it.
#[derive(Clone)]
pub struct EmbeddedStore {
    place: Arc<Place>,
}

impl EmbeddedStore {
    /// Opens the file, or makes it if there is none. Blocks; call it outside of async code or before it matters.
    ///
    /// # Errors
    /// The file is in use, damaged or no store, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { place: Arc::new(Place::open(path, make_tables)?) })
    }

    /// A store in memory, for tests and houses that keep nothing.
    pub fn in_memory() -> Self {
        Self { place: Arc::new(Place::in_memory(make_tables).expect("memory takes the tables")) }
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

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ORDINALS)?;
    transaction.open_table(ACCOUNTS)?;
    transaction.open_table(LOGINS)?;
    transaction.open_table(BATTLES)?;
    transaction.open_table(CURRENT)?;
    transaction.open_table(RESULTS)?;
    transaction.open_table(UNAPPLIED)?;
    transaction.commit()?;
    Ok(())
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

    async fn register(&self, account: &Account) -> Result<bool, StoreError> {
        let account = account.clone();
        self.write(move |transaction| {
            let mut accounts = transaction.open_table(ACCOUNTS).map_err(failed)?;
            let mut logins = transaction.open_table(LOGINS).map_err(failed)?;
            let key = account.login.as_ref().map(|login| login.key.as_str());
            let taken = match key {
                Some(key) => logins.get(key).map_err(failed)?.is_some(),
                None => false,
            };
            if taken || accounts.get(account.player).map_err(failed)?.is_some() {
                return Ok(false);
            }
            if let Some(key) = key {
                logins.insert(key, account.player).map_err(failed)?;
            }
            accounts.insert(account.player, encode(&account).as_slice()).map_err(failed)?;
            Ok(true)
        })
        .await
    }

    async fn account_of_login(&self, key: &str) -> Result<Option<Account>, StoreError> {
        let key = key.to_owned();
        self.read(move |transaction| {
            let logins = transaction.open_table(LOGINS).map_err(failed)?;
            let Some(player) = logins.get(key.as_str()).map_err(failed)? else { return Ok(None) };
            parse_at(&transaction.open_table(ACCOUNTS).map_err(failed)?, "accounts", player.value())
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
            if !row.fits(epoch, &node) {
                return Ok(None);
            }
            row.state = BattleState::Running;
            row.node = Some(node);
            row.addresses = addresses;
            let mut current = transaction.open_table(CURRENT).map_err(failed)?;
            let mut accounts = transaction.open_table(ACCOUNTS).map_err(failed)?;
            for account in row.new_accounts() {
                current.insert(account.player, battle.0).map_err(failed)?;
                if accounts.get(account.player).map_err(failed)?.is_none() {
                    accounts.insert(account.player, encode(&account).as_slice()).map_err(failed)?;
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
        let unapplied = !result.changes.is_empty();
        self.write(move |transaction| {
            let mut rows = transaction.open_table(BATTLES).map_err(failed)?;
            let Some(mut row) = parse_at::<BattleRow>(&rows, "battles", battle.0)? else {
                return Ok(Settled::Unknown);
            };
            if let Some(refused) = row.refuses(epoch) {
                return Ok(refused);
            }
            row.state = BattleState::Settled;
            row.result = Some(result);
            rows.insert(battle.0, encode(&row).as_slice()).map_err(failed)?;
            transaction.open_table(RESULTS).map_err(failed)?.insert(battle.0, ()).map_err(failed)?;
            if unapplied {
                transaction.open_table(UNAPPLIED).map_err(failed)?.insert(battle.0, ()).map_err(failed)?;
            }
            Ok(Settled::Accepted(Box::new(row)))
        })
        .await
    }

    async fn unapplied(&self, count: u32) -> Result<Vec<BattleId>, StoreError> {
        self.read(move |transaction| {
            let battles = transaction.open_table(UNAPPLIED).map_err(failed)?;
            let first = battles.iter().map_err(failed)?.take(usize::try_from(count).unwrap_or(usize::MAX));
            first.map(|entry| Ok(BattleId(entry.map_err(failed)?.0.value()))).collect()
        })
        .await
    }

    async fn apply(&self, battle: BattleId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let mut unapplied = transaction.open_table(UNAPPLIED).map_err(failed)?;
            if unapplied.remove(battle.0).map_err(failed)?.is_none() {
                return Ok(());
            }
            let rows = transaction.open_table(BATTLES).map_err(failed)?;
            let Some(row) = parse_at::<BattleRow>(&rows, "battles", battle.0)? else { return Ok(()) };
            let changes = row.result.iter().flat_map(|result| &result.changes);
            let mut accounts = transaction.open_table(ACCOUNTS).map_err(failed)?;
            let made: BTreeMap<_, _> = row.new_accounts().map(|account| (account.player, account)).collect();
            for change in changes {
                let stored = parse_at::<Account>(&accounts, "accounts", change.player)?;
                let Some(mut account) = stored.or_else(|| made.get(&change.player).cloned()) else {
                    continue;
                };
                account.avatar.apply(battle, change);
                accounts.insert(change.player, encode(&account).as_slice()).map_err(failed)?;
            }
            Ok(())
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
    use std::io;
    use std::sync::Mutex;
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

    #[tokio::test]
    async fn a_store_that_a_full_disk_stopped_answers_again_when_there_is_room() {
        let disk = Disk::default();
        let again = disk.clone();
        let open =
            move || -> Result<_, redb::Error> { Ok(Database::builder().create_with_backend(again.clone())?) };
        let place = Place::with(open().unwrap(), make_tables, open).unwrap();
        let store = EmbeddedStore { place: Arc::new(place) };
        assert_eq!(store.take_ordinals(Ordinal::Battle, 3).await, Ok(0));
        disk.full.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Err(StoreError::Unavailable));
        }
        disk.full.store(false, Ordering::SeqCst);
        assert_eq!(store.take_ordinals(Ordinal::Battle, 1).await, Ok(3));
    }
}
