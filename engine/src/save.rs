//! A saved state: the columns of a world, copied row by row into one buffer.
//!
//! Saves are what rollback, keyframes, snapshots and desync reports work on. The buffer is kept, so that saving
//! again allocates nothing once it is warm.

use std::ops::Range;

use crate::hash::{Hashes, hash_column};
use crate::registry::{ColumnEntry, KindEntry};
use crate::{ACTORS_MAX, ActorId, Divergence, Registry, Tick, World};

/// A copy of a battle's state at the end of a tick. Cost: one memory copy of all columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    pub(crate) tick: Tick,
    pub(crate) next_actor: u32,
    /// Rows of each kind, in order of registration.
    pub(crate) counts: Vec<u32>,
    /// All columns: kind by kind, column by column, row by row.
    pub(crate) bytes: Vec<u8>,
    /// The hash of it all.
    hashes: Hashes,
}

/// Why bytes of a stranger are no state of this game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// Another number of kinds.
    #[error("{found} kinds instead of {expected}")]
    Kinds {
        /// How many are registered.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Too many rows of a kind, or not one of a singleton.
    #[error("{found} rows of {kind}")]
    Rows {
        /// The kind's name.
        kind: &'static str,
        /// How many there are.
        found: u32,
    },
    /// The columns have another length than the rows ask for.
    #[error("{found} bytes of columns instead of {expected}")]
    Length {
        /// What the rows ask for.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The id counter is 0, which is nobody's id.
    #[error("the id counter is 0")]
    Counter,
    /// Actor ids are not ascending, or not below the id counter.
    #[error("actor ids of {kind} are out of order")]
    Ids {
        /// The kind's name.
        kind: &'static str,
    },
    /// A float is infinite or not a number.
    #[error("{record}.{field} of {kind} is not a finite number")]
    NotFinite {
        /// The kind's name.
        kind: &'static str,
        /// The record's name.
        record: &'static str,
        /// The field's name.
        field: &'static str,
    },
}

/// One column within a save.
#[derive(Clone, Copy)]
pub(crate) struct SavedColumn<'a> {
    pub(crate) kind: &'a KindEntry,
    pub(crate) entry: &'a ColumnEntry,
    pub(crate) bytes: &'a [u8],
}

impl Save {
    /// The tick that the state belongs to.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// How large the columns are, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was saved yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All columns as they lie in memory; for measuring what a plain copy costs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the saved state, with its parts: that of the world it was taken from.
    #[must_use]
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The first place where two states differ, by order of registration, then actor, then field; nothing if they are
    /// the same. Both must be states of `registry`'s game. Costs a comparison of all bytes.
    #[must_use]
    pub fn first_divergence(&self, other: &Self, registry: &Registry) -> Option<Divergence> {
        crate::desync::first_divergence(registry, self, other)
    }

    /// Forgets the state; the buffers are kept.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.bytes.clear();
    }

    pub(crate) fn take(&mut self, world: &World, hashes: &Hashes) {
        self.hashes.clone_from(hashes);
        self.tick = world.tick;
        self.next_actor = world.next_actor;
        self.counts.clear();
        self.counts.extend(world.kinds.iter().map(|rows| rows.len() as u32));
        let registry = world.registry();
        let total = Self::expected_bytes(registry, &self.counts);
        self.bytes.resize(total, 0);
        let mut rest = &mut self.bytes[..];
        for ((kind, rows), archetype) in registry.kinds().iter().zip(&self.counts).zip(world.archetypes()) {
            for column in &kind.columns {
                (column.ops.show)(archetype, *rows as usize, &mut |bytes| {
                    let (here, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
                    here.copy_from_slice(bytes);
                    rest = after;
                });
            }
        }
        assert!(rest.is_empty());
    }

    pub(crate) fn put(&self, world: &mut World) {
        assert_eq!(self.counts.len(), world.kinds.len(), "a save goes back into a battle of its own game");
        world.tick = self.tick;
        world.next_actor = self.next_actor;
        world.load(&self.counts, &self.hashes.parts()[1..], &self.bytes);
    }

    pub(crate) fn expected_bytes(registry: &Registry, counts: &[u32]) -> usize {
        registry.kinds().iter().zip(counts).map(|(kind, rows)| kind.row_bytes * *rows as usize).sum()
    }

    /// Where each column lies in the bytes.
    pub(crate) fn places<'r>(
        &self,
        registry: &'r Registry,
    ) -> impl Iterator<Item = (&'r KindEntry, &'r ColumnEntry, Range<usize>)> {
        let kinds = registry.kinds().iter().zip(&self.counts);
        let columns = kinds
            .flat_map(|(kind, rows)| kind.columns.iter().map(move |entry| (kind, *rows as usize, entry)));
        columns.scan(0, |at, (kind, rows, entry)| {
            let start = *at;
            *at += rows * entry.size;
            Some((kind, entry, start..*at))
        })
    }

    pub(crate) fn columns<'a>(&'a self, registry: &'a Registry) -> impl Iterator<Item = SavedColumn<'a>> {
        self.places(registry).map(|(kind, entry, place)| SavedColumn {
            kind,
            entry,
            bytes: &self.bytes[place],
        })
    }

    /// A state from outside: checked, and hashed.
    pub(crate) fn from_outside(
        tick: Tick,
        next_actor: u32,
        counts: Vec<u32>,
        bytes: Vec<u8>,
        registry: &Registry,
    ) -> Result<Self, SaveError> {
        let mut save = Self { tick, next_actor, counts, bytes, hashes: Hashes::default() };
        save.check(registry)?;
        save.rehash(registry);
        Ok(save)
    }

    /// Hashes the state anew after it was written to. Costs a read of all columns.
    pub fn rehash(&mut self, registry: &Registry) {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.begin(self.tick, self.next_actor);
        let mut columns = self.columns(registry);
        for (kind, rows) in registry.kinds().iter().zip(&self.counts) {
            hashes.rows(*rows);
            columns
                .by_ref()
                .take(kind.columns.len())
                .for_each(|column| hashes.column(hash_column(column.bytes)));
        }
        drop(columns);
        hashes.end();
        self.hashes = hashes;
    }

    /// Checks a state that came from outside.
    pub(crate) fn check(&self, registry: &Registry) -> Result<(), SaveError> {
        let expected = registry.kinds().len();
        if self.counts.len() != expected {
            return Err(SaveError::Kinds { expected, found: self.counts.len() });
        }
        check_counts(registry, &self.counts)?;
        if self.next_actor == 0 {
            return Err(SaveError::Counter);
        }
        let expected = Self::expected_bytes(registry, &self.counts);
        if self.bytes.len() != expected {
            return Err(SaveError::Length { expected, found: self.bytes.len() });
        }
        for column in self.columns(registry) {
            let kind = column.kind.name;
            if column.entry.type_id == std::any::TypeId::of::<ActorId>() {
                let mut last = 0;
                for id in column.bytes.chunks_exact(4).map(|id| id_of(id).0) {
                    let fits =
                        if column.kind.singleton { id == 0 } else { id > last && id < self.next_actor };
                    if !fits {
                        return Err(SaveError::Ids { kind });
                    }
                    last = id;
                }
            } else if column.entry.has_floats() {
                for row in column.bytes.chunks_exact(column.entry.size) {
                    if let Some(field) = crate::record::first_unfit_float(column.entry.fields, row) {
                        return Err(SaveError::NotFinite { kind, record: column.entry.record, field });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Checks the rows of each kind against their bounds.
pub(crate) fn check_counts(registry: &Registry, counts: &[u32]) -> Result<(), SaveError> {
    let mut actors = 0_usize;
    for (kind, &found) in registry.kinds().iter().zip(counts) {
        let rows = SaveError::Rows { kind: kind.name, found };
        if kind.singleton {
            if found != 1 {
                return Err(rows);
            }
        } else {
            actors = actors.saturating_add(found as usize);
            if actors > ACTORS_MAX {
                return Err(rows);
            }
        }
    }
    Ok(())
}

/// The id in the first four bytes of a row of the id column.
pub(crate) fn id_of(row: &[u8]) -> ActorId {
    ActorId(u32::from_le_bytes(*row.first_chunk().expect("rows of the id column have four bytes")))
}
