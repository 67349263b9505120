//! Transactions: compares, then one of two lists of operations, as one change.

use std::collections::BTreeSet;

use super::{
    DirectoryError, Entry, LeaseId, Revision, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, check_key,
    check_value,
};

/// How a compared value must stand to the one in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The store's is the same.
    Equal,
    /// The store's is another one.
    NotEqual,
    /// The store's is smaller.
    Less,
    /// The store's is greater.
    Greater,
}

impl Relation {
    fn holds<T: Ord + ?Sized>(self, stored: &T, given: &T) -> bool {
        match self {
            Self::Equal => stored == given,
            Self::NotEqual => stored != given,
            Self::Less => stored < given,
            Self::Greater => stored > given,
        }
    }
}

/// What of a key is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The value, as bytes. Of a key that does not exist no relation holds.
    Value(Vec<u8>),
    /// The revision of the last change, [`Revision::ABSENT`] for a key that does not exist.
    ModRevision(Revision),
    /// The revision of its creation, [`Revision::ABSENT`] for a key that does not exist.
    CreateRevision(Revision),
}

/// One compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// How the store's must stand to what is given.
    pub relation: Relation,
    /// What is compared, with the given side.
    pub condition: Condition,
}

impl Compare {
    /// Holds if the key does not exist.
    pub fn absent(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            relation: Relation::Equal,
            condition: Condition::CreateRevision(Revision::ABSENT),
        }
    }

    /// Holds if the key was changed last at `revision`.
    pub fn unchanged(key: &str, revision: Revision) -> Self {
        Self { key: key.to_owned(), relation: Relation::Equal, condition: Condition::ModRevision(revision) }
    }

    /// Holds if the key exists with this value.
    pub fn value(key: &str, value: Vec<u8>) -> Self {
        Self { key: key.to_owned(), relation: Relation::Equal, condition: Condition::Value(value) }
    }

    pub(super) fn holds(&self, entry: Option<&Entry>) -> bool {
        match &self.condition {
            Condition::Value(given) => entry.is_some_and(|entry| self.relation.holds(&entry.value, given)),
            Condition::ModRevision(given) => {
                self.relation.holds(&entry.map_or(Revision::ABSENT, |entry| entry.mod_revision), given)
            }
            Condition::CreateRevision(given) => {
                self.relation.holds(&entry.map_or(Revision::ABSENT, |entry| entry.create_revision), given)
            }
        }
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Puts a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease to put it under.
        lease: Option<LeaseId>,
    },
    /// Deletes a key, if it is there.
    Delete {
        /// The key.
        key: String,
    },
    /// Reads a key as it stands before the transaction's changes.
    Get {
        /// The key.
        key: String,
    },
}

/// What one operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The value was put.
    Put,
    /// Whether the key was there to be deleted.
    Deleted(bool),
    /// The entry that was read.
    Got(Option<Entry>),
}

/// Compares and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All of these must hold for `then` to be done; none always holds.
    pub compares: Vec<Compare>,
    /// Done if all compares hold.
    pub then: Vec<Operation>,
    /// Done if one does not.
    pub otherwise: Vec<Operation>,
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionOutcome {
    /// Whether all compares held.
    pub succeeded: bool,
    /// The store's revision afterwards: that of the change, if there was one.
    pub revision: Revision,
    /// The answers, one for each operation of the branch that was done.
    pub answers: Vec<Answer>,
}

impl Transaction {
    /// Puts `value` at `key` if the key does not exist; reads it otherwise.
    pub fn create(key: &str, value: Vec<u8>, lease: Option<LeaseId>) -> Self {
        Self {
            compares: vec![Compare::absent(key)],
            then: vec![Operation::Put { key: key.to_owned(), value, lease }],
            otherwise: vec![Operation::Get { key: key.to_owned() }],
        }
    }

    /// Puts `value` at `key` if the key was changed last at `revision`; reads it otherwise.
    pub fn replace(key: &str, revision: Revision, value: Vec<u8>, lease: Option<LeaseId>) -> Self {
        Self {
            compares: vec![Compare::unchanged(key, revision)],
            then: vec![Operation::Put { key: key.to_owned(), value, lease }],
            otherwise: vec![Operation::Get { key: key.to_owned() }],
        }
    }

    /// Checks sizes, counts and doubled keys; every implementation does so before anything else.
    ///
    /// # Errors
    /// The first thing out of bounds.
    pub fn check(&self) -> Result<(), DirectoryError> {
        for operations in [self.compares.len(), self.then.len(), self.otherwise.len()] {
            if operations > TRANSACTION_OPERATIONS_MAX {
                return Err(DirectoryError::TransactionTooLong { operations });
            }
        }
        let mut bytes = 0;
        for compare in &self.compares {
            check_key(&compare.key)?;
            bytes += compare.key.len();
            if let Condition::Value(value) = &compare.condition {
                bytes += value.len();
            }
        }
        for branch in [&self.then, &self.otherwise] {
            let mut changed = BTreeSet::new();
            for operation in branch {
                match operation {
                    Operation::Put { key, value, .. } => {
                        check_key(key)?;
                        check_value(value)?;
                        bytes += key.len() + value.len();
                        if !changed.insert(key) {
                            return Err(DirectoryError::DuplicateKey);
                        }
                    }
                    Operation::Delete { key } => {
                        check_key(key)?;
                        bytes += key.len();
                        if !changed.insert(key) {
                            return Err(DirectoryError::DuplicateKey);
                        }
                    }
                    Operation::Get { key } => {
                        check_key(key)?;
                        bytes += key.len();
                    }
                }
            }
        }
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(DirectoryError::TransactionTooLarge { bytes });
        }
        Ok(())
    }
}

impl TransactionOutcome {
    /// The entry that the first read among the operations found.
    pub fn first_read(self) -> Option<Entry> {
        self.answers.into_iter().find_map(|answer| match answer {
            Answer::Got(entry) => Some(entry),
            Answer::Put | Answer::Deleted(_) => None,
        })?
    }
}
