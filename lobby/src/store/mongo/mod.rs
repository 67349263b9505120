//! The store in MongoDB: one document per account and per battle, every call one atomic change of one of them.
//!
//! No transactions over several documents. What a placed battle means for its players' accounts is done before the
//! battle is placed, so that a lobby that dies between the two leaves nothing to be swept: an account of somebody
//! who has not fought yet, which the next battle finds.
//!
//! Whatever is acknowledged was written by a majority, and what is read is what a majority has. Each call has a
//! deadline; a call that met it may have happened.

mod document;
mod open;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database};
use tiltyard_cluster::{BattleId, Epoch, NodeId};

pub use self::open::MongoOpenError;

use self::document::Unreadable;
use self::open::{ACCOUNTS, BATTLES, ORDINALS};
use super::{
    APPLIED_MAX, Account, BattleResult, BattleRow, BattleState, Ordinal, Settled, Store, StoreCounts,
    StoreError,
};

/// How long a call may take in all.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a result is tried against a battle that changes meanwhile.
const SETTLE_TRIES: u32 = 3;
/// The server's code for a key that is there already.
const DUPLICATE_KEY: i32 = 11_000;

/// A store in a MongoDB. Clones share its connections.
#[derive(Clone)]
pub struct MongoStore {
    database: Database,
}

impl MongoStore {
    /// Opens the database that an address names (`mongodb://host:27017/name`, `tiltyard` without a name), brings it
    /// to this program's version, and makes its indexes.
    ///
    /// # Errors
    /// The address is none, no server answers in time, or the database is not one that this program knows.
    pub async fn open(address: &str) -> Result<Self, MongoOpenError> {
        Ok(Self { database: open::open(address).await? })
    }

    fn accounts(&self) -> Collection<Document> {
        self.database.collection(ACCOUNTS)
    }

    fn battles(&self) -> Collection<Document> {
        self.database.collection(BATTLES)
    }

    async fn row(&self, filter: Document) -> Result<Option<BattleRow>, StoreError> {
        let newest = doc! { "created_unix_ms": -1, "_id": -1 };
        let found = answered(self.battles().find_one(filter).sort(newest)).await?;
        found.map(row_of).transpose()
    }

    /// Changes the one battle that a filter may match; answers whether it did.
    async fn change(&self, filter: Document, change: Document) -> Result<bool, StoreError> {
        let changed = answered(self.battles().update_one(filter, change)).await?;
        Ok(changed.matched_count > 0)
    }

    /// Makes accounts for those human players of a battle who have none.
    async fn make_accounts(&self, row: &BattleRow) -> Result<(), StoreError> {
        let accounts: Vec<_> = row.new_accounts().map(|account| document::of_account(&account)).collect();
        if accounts.is_empty() {
            return Ok(());
        }
        let stored = self.accounts();
        let insert = stored.insert_many(accounts).ordered(false);
        answered(async { insert.await.map(|_| ()).or_else(accept_those_there) }).await
    }
}

/// Waits for an answer until the deadline.
async fn answered<T>(call: impl IntoFuture<Output = Result<T, Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_TIMEOUT, call.into_future()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "MongoDB");
            Err(StoreError::Unavailable)
        }
        Err(_) => {
            tracing::warn!(seconds = CALL_TIMEOUT.as_secs(), "MongoDB does not answer");
            Err(StoreError::Unavailable)
        }
    }
}

fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// Of many documents, those that are there already are fine; any other failure is one.
fn accept_those_there(error: Error) -> Result<(), Error> {
    let ErrorKind::InsertMany(failed) = &*error.kind else { return Err(error) };
    let refused = failed.write_errors.as_deref().unwrap_or_default();
    let there = refused.iter().all(|error| error.code == DUPLICATE_KEY);
    if there && failed.write_concern_error.is_none() { Ok(()) } else { Err(error) }
}

/// Inserts a document; answers whether nothing in its unique fields was there already.
async fn created(collection: Collection<Document>, document: Document) -> Result<bool, StoreError> {
    let inserted = async {
        match collection.insert_one(document).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(error),
        }
    };
    answered(inserted).await
}

fn account_of(document: Document) -> Result<Account, StoreError> {
    let key = key_of(&document);
    document::to_account(document).map_err(|Unreadable| StoreError::Corrupt { table: ACCOUNTS, key })
}

fn row_of(document: Document) -> Result<BattleRow, StoreError> {
    let key = key_of(&document);
    document::to_row(document).map_err(|Unreadable| StoreError::Corrupt { table: BATTLES, key })
}

/// The number in a document's key, to name it; 0 if it has none.
fn key_of(document: &Document) -> u64 {
    let key = document.get_str("_id").ok();
    key.and_then(|key| u64::from_str_radix(key, 16).ok()).unwrap_or(0)
}

fn state(state: BattleState) -> &'static str {
    match state {
        BattleState::Placing => "placing",
        BattleState::Running => "running",
        BattleState::Dissolved => "dissolved",
        BattleState::Settled => "settled",
    }
}

fn epoch_number(epoch: Epoch) -> Bson {
    Bson::Int64(epoch.0.into())
}

fn at(battle: BattleId, epoch: Epoch) -> Document {
    doc! { "_id": document::key(battle.0), "epoch": epoch_number(epoch) }
}

#[async_trait]
impl Store for MongoStore {
    async fn take_ordinals(&self, ordinal: Ordinal, count: u32) -> Result<u64, StoreError> {
        let (name, key) = match ordinal {
            Ordinal::Player => ("player", 0),
            Ordinal::Battle => ("battle", 1),
        };
        let ordinals = self.database.collection::<Document>(ORDINALS);
        let take = ordinals
            .find_one_and_update(doc! { "_id": name }, doc! { "$inc": { "next": i64::from(count) } })
            .return_document(ReturnDocument::Before);
        let before = answered(take).await?;
        // One that is missing was there once: to begin anew would give numbers twice.
        let first = before.and_then(|before| open::number(&before, "next"));
        first.and_then(|first| u64::try_from(first).ok()).ok_or(StoreError::Corrupt { table: ORDINALS, key })
    }

    async fn account(&self, player: u64) -> Result<Option<Account>, StoreError> {
        let found = answered(self.accounts().find_one(doc! { "_id": document::key(player) })).await?;
        found.map(account_of).transpose()
    }

    async fn register(&self, account: &Account) -> Result<bool, StoreError> {
        created(self.accounts(), document::of_account(account)).await
    }

    async fn account_of_login(&self, key: &str) -> Result<Option<Account>, StoreError> {
        let found = answered(self.accounts().find_one(doc! { "login.key": key })).await?;
        found.map(account_of).transpose()
    }

    async fn end_sessions(&self, player: u64, generation: u32) -> Result<bool, StoreError> {
        let above = i64::from(generation.saturating_add(1));
        let raise = doc! { "$max": { "session_generation": above } };
        let raised =
            answered(self.accounts().update_one(doc! { "_id": document::key(player) }, raise)).await?;
        Ok(raised.matched_count > 0)
    }

    async fn create_battle(&self, row: &BattleRow) -> Result<bool, StoreError> {
        created(self.battles(), document::of_row(row)).await
    }

    async fn raise_epoch(&self, battle: BattleId, from: Epoch) -> Result<Option<Epoch>, StoreError> {
        let Some(next) = from.next() else { return Ok(None) };
        let mut filter = at(battle, from);
        filter.insert("result", doc! { "$exists": false });
        let raised = self.change(filter, doc! { "$set": { "epoch": epoch_number(next) } }).await?;
        Ok(raised.then_some(next))
    }

    async fn place(
        &self,
        battle: BattleId,
        epoch: Epoch,
        node: &NodeId,
        addresses: &[SocketAddr],
    ) -> Result<bool, StoreError> {
        let row = self.battle(battle).await?.filter(|row| row.fits(epoch, node));
        let Some(row) = row else { return Ok(false) };
        self.make_accounts(&row).await?;
        let mut filter = at(battle, epoch);
        let again = doc! { "state": state(BattleState::Running), "node": node.as_str() };
        filter.insert("$or", vec![doc! { "state": state(BattleState::Placing) }, again]);
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let place =
            doc! { "state": state(BattleState::Running), "node": node.as_str(), "addresses": addresses };
        self.change(filter, doc! { "$set": place }).await
    }

    async fn dissolve(&self, battle: BattleId, epoch: Epoch) -> Result<bool, StoreError> {
        let mut filter = at(battle, epoch);
        let open = [BattleState::Placing, BattleState::Running].map(|open| Bson::from(state(open)));
        filter.insert("state", doc! { "$in": open.to_vec() });
        let next = epoch_number(epoch.next().unwrap_or(epoch));
        let dissolve = doc! { "state": state(BattleState::Dissolved), "epoch": next };
        self.change(filter, doc! { "$set": dissolve }).await
    }

    async fn battle(&self, battle: BattleId) -> Result<Option<BattleRow>, StoreError> {
        self.row(doc! { "_id": document::key(battle.0) }).await
    }

    async fn battle_of(&self, player: u64) -> Result<Option<BattleRow>, StoreError> {
        let running = state(BattleState::Running);
        self.row(doc! { "players": document::key(player), "state": running }).await
    }

    async fn settle(
        &self,
        battle: BattleId,
        epoch: Epoch,
        result: &BattleResult,
    ) -> Result<Settled, StoreError> {
        let mut filter = at(battle, epoch);
        filter.insert("result", doc! { "$exists": false });
        let unapplied = !result.changes.is_empty();
        let result = document::of_result(result);
        let mut settled = doc! { "state": state(BattleState::Settled), "result": result };
        if unapplied {
            settled.insert("unapplied", true);
        }
        let settle = doc! { "$set": settled };
        for _ in 0..SETTLE_TRIES {
            let battles = self.battles();
            let settled = battles
                .find_one_and_update(filter.clone(), settle.clone())
                .return_document(ReturnDocument::After);
            if let Some(row) = answered(settled).await? {
                return Ok(Settled::Accepted(Box::new(row_of(row)?)));
            }
            let Some(row) = self.battle(battle).await? else { return Ok(Settled::Unknown) };
            if let Some(refused) = row.refuses(epoch) {
                return Ok(refused);
            }
            // It came to this epoch between the two looks.
        }
        Err(StoreError::Unavailable)
    }

    async fn unapplied(&self, count: u32) -> Result<Vec<BattleId>, StoreError> {
        let battles = self.battles();
        let found = battles.find(doc! { "unapplied": true }).projection(doc! { "_id": 1 });
        let found =
            answered(async { found.limit(count.into()).await?.try_collect::<Vec<_>>().await }).await?;
        Ok(found.iter().map(|document| BattleId(key_of(document))).collect())
    }

    /// The avatars first, each by one change that holds only where the battle is not in it yet; then the mark goes.
    async fn apply(&self, battle: BattleId) -> Result<(), StoreError> {
        let marked = doc! { "_id": document::key(battle.0), "unapplied": true };
        let Some(row) = self.row(marked.clone()).await? else { return Ok(()) };
        self.make_accounts(&row).await?;
        for change in row.result.iter().flat_map(|result| &result.changes) {
            let key = document::key(battle.0);
            let once =
                doc! { "_id": document::key(change.player), "avatar.applied": { "$ne": key.as_str() } };
            let remembered = i32::try_from(APPLIED_MAX).expect("a small number");
            let apply = doc! {
                "$inc": {
                    "avatar.battles": 1_i64,
                    "avatar.wins": i64::from(change.won),
                    "avatar.rating_micro": change.rating_micro,
                    "avatar.uncertainty_micro": change.uncertainty_micro,
                },
                "$push": { "avatar.applied": { "$each": [key.as_str()], "$slice": -remembered } },
            };
            answered(self.accounts().update_one(once, apply)).await?;
        }
        self.change(marked, doc! { "$unset": { "unapplied": "" } }).await?;
        Ok(())
    }

    async fn counts(&self) -> Result<StoreCounts, StoreError> {
        let settled = doc! { "state": state(BattleState::Settled) };
        Ok(StoreCounts {
            accounts: answered(self.accounts().count_documents(doc! {})).await?,
            battles: answered(self.battles().count_documents(doc! {})).await?,
            results: answered(self.battles().count_documents(settled)).await?,
        })
    }
}
