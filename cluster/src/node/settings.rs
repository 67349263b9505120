//! Settings that a running cluster goes by: one record in the directory, changed in one step, followed by whoever it
//! concerns. What the names and values mean is the program's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::record::{Keyspace, RECORD_VERSION, Record};
use crate::directory::{Directory, DirectoryError, Transaction};
use crate::id::NodeId;

/// Most settings at a time.
pub const SETTINGS_MAX: usize = 256;
/// How long one call to the directory may take.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How often a change is begun anew of which no answer came: of a directory's members one may hang.
const UNANSWERED_MAX: u32 = 3;
/// How often a change is tried again that others were faster than.
const TRIES: u32 = 16;

/// The settings of a cluster, as texts by name. There is one record, named `all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRecord {
    /// Version of the record.
    pub version: u32,
    /// Its name.
    pub id: NodeId,
    /// The values by name.
    pub values: BTreeMap<String, String>,
}

/// Why settings were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The directory did not answer, or refuses.
    #[error("the directory at {address}: {why}")]
    Directory {
        /// Where it is.
        address: String,
        /// What it says.
        why: DirectoryError,
    },
    /// What stands there is no record that this version reads.
    #[error("the directory has settings of another version")]
    Unreadable,
    /// There are as many as there may be.
    #[error("there are {SETTINGS_MAX} settings already")]
    Full,
    /// Others changed them again and again.
    #[error("others changed the settings at the same time; try again")]
    Contended,
}

impl SettingsRecord {
    fn new() -> Self {
        let id = NodeId::parse("all").expect("three letters are a name");
        Self { version: RECORD_VERSION, id, values: BTreeMap::new() }
    }

    /// Sets a value, or takes it away; answers the settings as they stand then.
    ///
    /// # Errors
    /// The directory does not answer, or holds what is no such record.
    pub async fn change(
        directory: &Arc<dyn Directory>,
        keyspace: &Keyspace,
        name: &str,
        value: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let key = Self::new().key(keyspace);
        let mut unanswered = 0;
        for _ in 0..TRIES {
            match Self::try_to_change(&**directory, &key, name, value).await {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                // Whether or not it has happened, once more leads to the same.
                Err(SettingsError::Directory { why: DirectoryError::Unavailable, .. })
                    if unanswered < UNANSWERED_MAX =>
                {
                    unanswered += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Err(SettingsError::Contended)
    }

    /// The settings as they stand then; nothing if others changed them meanwhile.
    async fn try_to_change(
        directory: &dyn Directory,
        key: &str,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<Self>, SettingsError> {
        let failed = |why| SettingsError::Directory { address: directory.address(), why };
        let found = timeout(CALL_MAX, directory.get(key)).await;
        let found = found.unwrap_or(Err(DirectoryError::Unavailable)).map_err(failed)?.entry;
        let mut record = match &found {
            Some(entry) => Self::parse(&entry.value).map_err(|_| SettingsError::Unreadable)?,
            None => Self::new(),
        };
        match value {
            Some(value) => drop(record.values.insert(name.to_owned(), value.to_owned())),
            None => drop(record.values.remove(name)),
        }
        if record.values.len() > SETTINGS_MAX {
            return Err(SettingsError::Full);
        }
        let change = match found {
            Some(entry) => Transaction::replace(key, entry.mod_revision, record.to_value(), None),
            None => Transaction::create(key, record.to_value(), None),
        };
        let changed = timeout(CALL_MAX, directory.commit(change)).await;
        let changed = changed.unwrap_or(Err(DirectoryError::Unavailable)).map_err(failed)?;
        Ok(changed.succeeded.then_some(record))
    }
}

impl Record for SettingsRecord {
    const FOLDER: &'static str = "settings";

    fn id(&self) -> &NodeId {
        &self.id
    }

    /// No process owns it.
    fn instance(&self) -> u64 {
        0
    }

    fn version(&self) -> u32 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::MemoryDirectory;
    use crate::testing::{Fault, Faulty};

    fn directory() -> Arc<dyn Directory> {
        Arc::new(MemoryDirectory::new())
    }

    #[tokio::test]
    async fn settings_are_set_and_taken_away_one_by_one() {
        let (directory, keyspace) = (directory(), Keyspace::default());
        let change = async |name, value| {
            let changed = SettingsRecord::change(&directory, &keyspace, name, value).await.unwrap();
            changed.values.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(change("a.b", Some("1")).await, ["a.b=1"]);
        assert_eq!(change("c", Some("2")).await, ["a.b=1", "c=2"]);
        assert_eq!(change("a.b", Some("3")).await, ["a.b=3", "c=2"]);
        assert_eq!(change("c", None).await, ["a.b=3"]);
        assert_eq!(change("c", None).await, ["a.b=3"]);
    }

    #[tokio::test]
    async fn changes_at_once_lose_none() {
        let (directory, keyspace) = (directory(), Keyspace::default());
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (directory, keyspace) = (directory.clone(), keyspace.clone());
            tasks.spawn(async move {
                SettingsRecord::change(&directory, &keyspace, &format!("s{number}"), Some("x")).await
            });
        }
        while let Some(changed) = tasks.join_next().await {
            changed.unwrap().unwrap();
        }
        let all = SettingsRecord::change(&directory, &keyspace, "last", Some("x")).await.unwrap();
        assert_eq!(all.values.len(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_made_once_more() {
        let way = Arc::new(Faulty::new(directory()));
        way.set(Fault::Silent);
        let (directory, keyspace) = (Arc::clone(&way) as Arc<dyn Directory>, Keyspace::default());
        let changing = async { SettingsRecord::change(&directory, &keyspace, "a", Some("1")).await };
        let back = async {
            tokio::time::sleep(CALL_MAX + Duration::from_secs(1)).await;
            way.set(Fault::None);
        };
        assert!(tokio::join!(changing, back).0.is_ok());
        way.set(Fault::Away);
        let away = SettingsRecord::change(&directory, &keyspace, "a", Some("1")).await;
        assert!(matches!(away, Err(SettingsError::Directory { why: DirectoryError::Unavailable, .. })));
    }

    #[tokio::test]
    async fn what_is_no_record_stays_as_it_is_and_too_many_are_refused() {
        let (directory, keyspace) = (directory(), Keyspace::default());
        directory.put(&keyspace.key("settings/all"), b"{}".to_vec(), None).await.unwrap();
        let changed = SettingsRecord::change(&directory, &keyspace, "a", Some("1")).await;
        assert_eq!(changed, Err(SettingsError::Unreadable));
        directory.delete(&keyspace.key("settings/all")).await.unwrap();
        for number in 0..SETTINGS_MAX {
            let name = format!("s{number}");
            SettingsRecord::change(&directory, &keyspace, &name, Some("x")).await.unwrap();
        }
        let changed = SettingsRecord::change(&directory, &keyspace, "more", Some("x")).await;
        assert_eq!(changed, Err(SettingsError::Full));
    }
}
