//! How a database is opened: its options, its version, its indexes.
//!
//! The document `{_id: "tiltyard", version}` of the collection `schema` says which version a database has. Each
//! version has one step that makes it of the one before; steps can be repeated and run in two lobbies at once. A
//! database of a later version is refused: what it holds may mean something else.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, IndexOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database, IndexModel};

/// The version that this program reads and writes.
const VERSION: i64 = 2;
/// The database where the address names none.
const DATABASE: &str = "tiltyard";
/// How long a server is looked for, and a connection waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a majority is waited for; what it did not confirm counts as unanswered.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a server that went is looked for.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long an open may take in all.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const ACCOUNTS: &str = "accounts";
pub(super) const BATTLES: &str = "battles";
pub(super) const ORDINALS: &str = "ordinals";
const SCHEMA: &str = "schema";

/// Why a database is not opened as a store. None of it shows the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum MongoOpenError {
    /// The address is none.
    #[error("no address of a MongoDB")]
    Address(#[source] mongodb::error::Error),
    /// No answer in time, or a refusal.
    #[error("MongoDB at {hosts}")]
    Server {
        /// The servers that were asked.
        hosts: String,
        /// What became of it.
        #[source]
        source: mongodb::error::Error,
    },
    /// No answer in time.
    #[error("MongoDB at {hosts} does not answer")]
    Silent {
        /// The servers that were asked.
        hosts: String,
    },
    /// A later program made the database what it is.
    #[error(
        "the database {database:?} has version {found}, and this program knows {VERSION}: use a later program"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its version.
        found: i64,
    },
    /// The version is no number.
    #[error(
        "the database {database:?} has a document schema/tiltyard without a version: is it a database of tiltyard?"
    )]
    Foreign {
        /// The database.
        database: String,
    },
}

pub(super) async fn open(address: &str) -> Result<Database, MongoOpenError> {
    let mut options = ClientOptions::parse(address).await.map_err(MongoOpenError::Address)?;
    let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
    let hosts = hosts.join(", ");
    options.app_name.get_or_insert_with(|| "tiltyard".to_owned());
    options.connect_timeout = Some(CONNECT_TIMEOUT);
    options.server_selection_timeout = Some(CONNECT_TIMEOUT);
    options.heartbeat_freq = Some(HEARTBEAT);
    // Whatever is acknowledged outlives the primary, and whatever is read does.
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(MAJORITY_TIMEOUT).build();
    options.write_concern = Some(concern);
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let database = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
    let client = Client::with_options(options).map_err(MongoOpenError::Address)?;
    let database = client.database(&database);
    match tokio::time::timeout(OPEN_TIMEOUT, prepare(&database)).await {
        Ok(Ok(())) => Ok(database),
        Ok(Err(Unprepared::Newer(found))) => {
            Err(MongoOpenError::Newer { database: database.name().to_owned(), found })
        }
        Ok(Err(Unprepared::Foreign)) => Err(MongoOpenError::Foreign { database: database.name().to_owned() }),
        Ok(Err(Unprepared::Server(source))) => Err(MongoOpenError::Server { hosts, source }),
        Err(_) => Err(MongoOpenError::Silent { hosts }),
    }
}

enum Unprepared {
    Newer(i64),
    Foreign,
    Server(mongodb::error::Error),
}

impl From<mongodb::error::Error> for Unprepared {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Server(error)
    }
}

async fn prepare(database: &Database) -> Result<(), Unprepared> {
    let schema = database.collection::<Document>(SCHEMA);
    let mut version = match schema.find_one(doc! { "_id": "tiltyard" }).await? {
        None => 0,
        Some(stored) => number(&stored, "version").ok_or(Unprepared::Foreign)?,
    };
    if version > VERSION {
        return Err(Unprepared::Newer(version));
    }
    while version < VERSION {
        match version {
            0 => number_from_zero(database).await?,
            // Results are applied to avatars. A program that stores them without would leave players what they were.
            1 => {}
            _ => return Err(Unprepared::Foreign),
        }
        version += 1;
        // Another lobby may have gone further meanwhile.
        let further = doc! { "$max": { "version": version } };
        schema.update_one(doc! { "_id": "tiltyard" }, further).upsert(true).await.or_else(there_already)?;
        tracing::info!(version, database = database.name(), "database brought to its version");
    }
    make_indexes(database).await?;
    Ok(())
}

/// Version 1: the counters. From then on one that is missing is damage: to begin anew would give numbers twice.
async fn number_from_zero(database: &Database) -> Result<(), mongodb::error::Error> {
    for name in ["player", "battle"] {
        let begin = doc! { "_id": name, "next": 0_i64 };
        database
            .collection::<Document>(ORDINALS)
            .insert_one(begin)
            .await
            .map(|_| ())
            .or_else(|error| if super::is_duplicate(&error) { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

async fn make_indexes(database: &Database) -> Result<(), mongodb::error::Error> {
    let index = |name: &str, keys: Document| {
        IndexModel::builder()
            .keys(keys)
            .options(IndexOptions::builder().name(name.to_owned()).build())
            .build()
    };
    // No two accounts have one login; guests have none.
    let unique = IndexOptions::builder().name("by_login".to_owned()).unique(true).sparse(true).build();
    database
        .collection::<Document>(ACCOUNTS)
        .create_index(IndexModel::builder().keys(doc! { "login.key": 1 }).options(unique).build())
        .await?;
    let battles = database.collection::<Document>(BATTLES);
    // A player's battle, newest first; and all of a player's battles.
    battles
        .create_index(index("by_player", doc! { "players": 1, "state": 1, "created_unix_ms": -1 }))
        .await?;
    // How many have a result, and which wait for one.
    battles.create_index(index("by_state", doc! { "state": 1, "created_unix_ms": 1 })).await?;
    // Those whose result is still to be applied: few, so that the index is small.
    let waiting = IndexOptions::builder().name("by_unapplied".to_owned()).sparse(true).build();
    battles
        .create_index(IndexModel::builder().keys(doc! { "unapplied": 1 }).options(waiting).build())
        .await?;
    Ok(())
}

fn there_already<T: Default>(error: mongodb::error::Error) -> Result<T, mongodb::error::Error> {
    if super::is_duplicate(&error) { Ok(T::default()) } else { Err(error) }
}

/// A whole number, however the server stores it.
pub(super) fn number(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        mongodb::bson::Bson::Int32(number) => Some((*number).into()),
        mongodb::bson::Bson::Int64(number) => Some(*number),
        _ => None,
    }
}
