//! What is state: the actor kinds and singletons of a game, and how their columns are copied, hashed and named.
//!
//! The order of registration is the order of the wire, of the hash and of the save.

use std::any::{Any, TypeId};

use hecs::{Archetype, Entity};

use crate::hash::hash_column;
use crate::kind::Single;
use crate::{ActorId, Field, FieldKind, Game, Kind, ProtocolHash, Record};

/// The most kinds and singletons together.
pub const KINDS_MAX: usize = 64;

/// The most elements of a record that is moved.
pub(crate) const MOTION_ELEMENTS_MAX: usize = 4;

/// The state of a game, as registered by [`Game::components`]: at most [`KINDS_MAX`] kinds and singletons.
#[derive(Debug)]
pub struct Registry {
    kinds: Vec<KindEntry>,
    problems: Vec<RegistryError>,
}

/// Who may know a record of an actor, where a battle is not shown whole ([`Game::view`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Whoever sees the actor.
    #[default]
    Everybody,
    /// The seat whose body it is ([`Game::puppet`]): how many shots are left.
    Owner,
    /// No client: where everybody was some ticks ago.
    Nobody,
}

/// A mistake in [`Game::components`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A kind or singleton is registered twice, or two of them have one name.
    #[error(
        "{name} is registered twice: give each kind and singleton a name of its own and register it once"
    )]
    Twice {
        /// The name.
        name: &'static str,
    },
    /// A kind has two columns of one record.
    #[error("kind {kind} has two fields of record {record}: declare a record of its own for one of them")]
    RecordTwice {
        /// The kind's name.
        kind: &'static str,
        /// The record's name.
        record: &'static str,
    },
    /// An audience is named for a record that is not registered, or not yet.
    #[error("{kind} has no record {record} to name an audience for: register the kind first")]
    Audience {
        /// The kind's name.
        kind: &'static str,
        /// The record's name.
        record: &'static str,
    },
    /// A declared motion that there cannot be.
    #[error(
        "kind {kind} cannot move {record} by {by}: register the kind first, give it both records, all of their fields \
         on one grid and as many elements in one as in the other, four at most, and let no record be moved twice, nor by \
         what is moved itself"
    )]
    Motion {
        /// The kind's name.
        kind: &'static str,
        /// The record that is moved.
        record: &'static str,
        /// The record that it is moved by.
        by: &'static str,
    },
    /// Two different records have one name.
    #[error("two different records are called {name}: rename one, names are what desync reports go by")]
    NameTwice {
        /// The name.
        name: &'static str,
    },
    /// More than [`KINDS_MAX`] kinds and singletons.
    #[error("{found} kinds and singletons, at most {KINDS_MAX} are possible")]
    TooMany {
        /// How many are registered.
        found: usize,
    },
}

/// A registered kind or singleton.
#[derive(Debug)]
pub struct KindEntry {
    pub(crate) name: &'static str,
    pub(crate) type_id: TypeId,
    pub(crate) singleton: bool,
    pub(crate) columns: Vec<ColumnEntry>,
    /// Columns that follow others: the moved one, and the one that it is moved by.
    pub(crate) motions: Vec<(usize, usize)>,
    pub(crate) row_bytes: usize,
    pub(crate) ops: KindOps,
}

/// A registered column: one record of a kind.
#[derive(Debug)]
pub struct ColumnEntry {
    pub(crate) record: &'static str,
    pub(crate) type_id: TypeId,
    pub(crate) fields: &'static [Field],
    /// Bytes of one row.
    pub(crate) size: usize,
    /// Who may know it.
    pub(crate) audience: Audience,
    pub(crate) ops: ColumnOps,
}

/// What is done to the rows of a kind whose type is no longer known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindOps {
    pub(crate) reserve: fn(&mut hecs::World, u32),
    pub(crate) spawn_default: fn(&mut hecs::World) -> Entity,
    pub(crate) queue: fn() -> Box<dyn Any + Send>,
    /// Makes a row of a queue's place, in the spare row of this handle or in a new one behind all others.
    pub(crate) spawn_queued: fn(&dyn Any, u32, ActorId, Option<Entity>, &mut hecs::World) -> Entity,
    pub(crate) clear_queue: fn(&mut dyn Any),
}

/// Calls back with a column's bytes.
pub(crate) type ShowBytes = fn(&Archetype, usize, &mut dyn FnMut(&[u8]));

/// What is done to a column whose type is no longer known. Each is told how many rows are in use; behind them there
/// may be spare ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnOps {
    /// Shows the column's bytes, row after row.
    pub(crate) show: ShowBytes,
    /// Overwrites the column with as many rows as the bytes have.
    pub(crate) load: fn(&Archetype, &[u8]),
    /// Moves the rows that are not in the ascending list to the front, keeping their order.
    pub(crate) compact: fn(&Archetype, usize, &[u32]),
    /// Brings every float to its stored form and hashes the column, in one borrow of it.
    pub(crate) close: fn(&Archetype, usize) -> u64,
}

/// Collects the records of one kind.
#[derive(Debug, Default)]
pub struct RegistryColumns {
    columns: Vec<ColumnEntry>,
}

impl RegistryColumns {
    /// Adds a record's column.
    pub fn add<T: Record>(&mut self) {
        self.columns.push(ColumnEntry::of::<T>(T::NAME, T::FIELDS, close_column::<T>));
    }
}

impl Registry {
    /// What a game registers, checked. Costs a comparison of all kinds with each other, and allocates: ask once.
    ///
    /// # Errors
    /// On the first mistake found; it says what to do.
    pub fn of<G: Game>() -> Result<Self, RegistryError> {
        let mut registry = Self { kinds: Vec::new(), problems: Vec::new() };
        G::components(&mut registry);
        registry.check()
    }

    /// Registers an actor kind. Costs an allocation.
    pub fn kind<K: Kind>(&mut self) -> &mut Self {
        self.add::<K>(false);
        self
    }

    /// Registers a singleton: a record of which a battle has exactly one, starting at its default. Costs an
    /// allocation.
    pub fn singleton<T: Record>(&mut self) -> &mut Self {
        self.add::<Single<T>>(true);
        self
    }

    /// Says who may know a record of a kind that is registered already; unless said, everybody who sees the actor. Only
    /// views other than the full one are held to it.
    pub fn shown_to<K: Kind, T: Record>(&mut self, audience: Audience) -> &mut Self {
        let kind = self.kinds.iter_mut().find(|kind| kind.type_id == TypeId::of::<K>());
        let columns = kind.map_or(&mut [][..], |kind| &mut kind.columns[1..]);
        match columns.iter_mut().find(|column| column.type_id == TypeId::of::<T>()) {
            Some(column) => column.audience = audience,
            None => self.problems.push(RegistryError::Audience { kind: K::NAME, record: T::NAME }),
        }
        self
    }

    /// Declares that the record `T` of a kind moves by its record `V` while nothing else happens: in each tick every
    /// element of `T` grows by the same element of `V` times the seconds of a tick, as
    /// [`integrate`](crate::kit::motion::integrate) does it. All elements of both, four at most, must lie on one
    /// grid.
    ///
    /// Snapshots then tell of `T` only what does not follow from the baseline's `V`. It need not hold for every row and
    /// tick; what it does not hold for costs bytes. Has no effect on the battle itself.
    pub fn moves<K: Kind, T: Record, V: Record>(&mut self) -> &mut Self {
        let problem = RegistryError::Motion { kind: K::NAME, record: T::NAME, by: V::NAME };
        let kind = self.kinds.iter_mut().find(|kind| kind.type_id == TypeId::of::<K>());
        if !kind.is_some_and(KindEntry::follow::<T, V>) {
            self.problems.push(problem);
        }
        self
    }

    /// Registers a singleton that is shown in no view but the full one.
    pub fn hidden_singleton<T: Record>(&mut self) -> &mut Self {
        self.add::<Single<T>>(true);
        self.shown_to::<Single<T>, T>(Audience::Nobody)
    }

    /// Whether some record is for its owner alone.
    #[must_use]
    pub fn has_private(&self) -> bool {
        self.kinds.iter().any(|kind| kind.columns.iter().any(|column| column.audience == Audience::Owner))
    }

    /// The kinds and singletons, in order of registration.
    #[must_use]
    pub fn kinds(&self) -> &[KindEntry] {
        &self.kinds
    }

    /// What must be the same for two builds of a game to understand each other, as lines of text: its name, every
    /// registered record's layout, the input's, event's and setup's, and the mathematics the engine was built with. Not
    /// the rules: builds whose systems differ are told apart by their state hashes alone. Runs the self-test of the
    /// mathematics, so ask once.
    ///
    /// `docs/PROTOCOL.md` says how to read it.
    #[must_use]
    pub fn layout<G: Game>(&self) -> String {
        let mut text = String::new();
        text.push_str("tiltyard protocol 1\n");
        text.push_str(G::NAME);
        text.push_str(&format!("\nmath {:016x}\n", crate::math::self_test_hash()));
        for kind in &self.kinds {
            text.push_str(&format!("{} {}\n", if kind.singleton { "singleton" } else { "kind" }, kind.name));
            for column in &kind.columns {
                describe(&mut text, column.record, column.fields);
            }
            for &(moved, by) in &kind.motions {
                text.push_str(&format!("moves {} {}\n", kind.columns[moved].record, kind.columns[by].record));
            }
        }
        for kind in &self.kinds {
            for column in kind.columns.iter().filter(|column| column.audience != Audience::Everybody) {
                text.push_str(&format!("audience {} {} {:?}\n", kind.name, column.record, column.audience));
            }
        }
        describe(&mut text, "input", G::Input::FIELDS);
        describe(&mut text, "event", G::Event::FIELDS);
        describe(&mut text, "setup", G::Setup::FIELDS);
        if G::CHANCE {
            text.push_str("chance\n");
        }
        text
    }

    /// The hash of the [`layout`](Self::layout), which both ends of a session compare.
    #[must_use]
    pub fn protocol_hash<G: Game>(&self) -> ProtocolHash {
        let digest = blake3::hash(self.layout::<G>().as_bytes());
        ProtocolHash(*digest.as_bytes().first_chunk().expect("a blake3 hash has 32 bytes"))
    }

    pub(crate) fn position<K: Kind>(&self) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.type_id == TypeId::of::<K>())
    }

    fn add<K: Kind>(&mut self, singleton: bool) {
        let mut columns = RegistryColumns::default();
        K::columns(&mut columns);
        let ids = ColumnEntry::of::<ActorId>("ActorId", &ACTOR_ID_FIELDS, |archetype, rows| {
            hash_column(bytemuck::cast_slice(&read::<ActorId>(archetype)[..rows]))
        });
        for (index, column) in columns.columns.iter().enumerate() {
            if columns.columns[..index].iter().any(|other| other.type_id == column.type_id) {
                self.problems.push(RegistryError::RecordTwice { kind: K::NAME, record: column.record });
                return;
            }
        }
        columns.columns.insert(0, ids);
        let row_bytes = columns.columns.iter().map(|column| column.size).sum();
        self.kinds.push(KindEntry {
            name: K::NAME,
            type_id: TypeId::of::<K>(),
            singleton,
            columns: columns.columns,
            motions: Vec::new(),
            row_bytes,
            ops: KindOps::of::<K>(),
        });
    }

    fn check(self) -> Result<Self, RegistryError> {
        if let Some(problem) = self.problems.into_iter().next() {
            return Err(problem);
        }
        if self.kinds.len() > KINDS_MAX {
            return Err(RegistryError::TooMany { found: self.kinds.len() });
        }
        let mut records: Vec<(&'static str, TypeId)> = Vec::new();
        for (index, kind) in self.kinds.iter().enumerate() {
            if self.kinds[..index].iter().any(|other| other.name == kind.name) {
                return Err(RegistryError::Twice { name: kind.name });
            }
            for column in &kind.columns {
                if records.iter().any(|(name, id)| *name == column.record && *id != column.type_id) {
                    return Err(RegistryError::NameTwice { name: column.record });
                }
                records.push((column.record, column.type_id));
            }
        }
        Ok(Self { kinds: self.kinds, problems: Vec::new() })
    }
}

impl KindEntry {
    /// The kind's or singleton's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether this is a singleton.
    #[must_use]
    pub fn is_singleton(&self) -> bool {
        self.singleton
    }

    /// The columns; the first holds the actor ids.
    #[must_use]
    pub fn columns(&self) -> &[ColumnEntry] {
        &self.columns
    }
}

impl KindEntry {
    /// Notes that `T` moves by `V`; false if it cannot.
    fn follow<T: Record, V: Record>(&mut self) -> bool {
        let place = |id| self.columns.iter().position(|column| column.type_id == id);
        let (Some(moved), Some(by)) = (place(TypeId::of::<T>()), place(TypeId::of::<V>())) else {
            return false;
        };
        let [grid, by_grid] = [moved, by].map(|column| self.columns[column].grid());
        let small = grid.is_some_and(|(_, elements)| elements as usize <= MOTION_ELEMENTS_MAX);
        let fits = small && grid == by_grid && moved != by;
        let free = self.motions.iter().all(|other| other.0 != moved && other.0 != by && other.1 != moved);
        if fits && free {
            self.motions.push((moved, by));
        }
        fits && free
    }
}

impl ColumnEntry {
    /// The grid on which all elements lie, and how many there are.
    fn grid(&self) -> Option<(FieldKind, u32)> {
        let kind = self.fields.first()?.kind;
        let one =
            matches!(kind, FieldKind::Grid { .. }) && self.fields.iter().all(|field| field.kind == kind);
        one.then(|| (kind, self.fields.iter().map(|field| field.count).sum()))
    }

    /// The record's name.
    #[must_use]
    pub fn record(&self) -> &'static str {
        self.record
    }

    /// The record's fields.
    #[must_use]
    pub fn fields(&self) -> &'static [Field] {
        self.fields
    }

    /// Who may know the record.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// Whether the record has a float.
    pub(crate) fn has_floats(&self) -> bool {
        has_floats(self.fields)
    }

    /// Bytes of one row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.size
    }

    fn of<T: bytemuck::Pod + Send + Sync>(
        record: &'static str,
        fields: &'static [Field],
        close: fn(&Archetype, usize) -> u64,
    ) -> Self {
        Self {
            record,
            type_id: TypeId::of::<T>(),
            fields,
            size: size_of::<T>(),
            audience: Audience::Everybody,
            ops: ColumnOps {
                show: |archetype, rows, see| see(bytemuck::cast_slice(&read::<T>(archetype)[..rows])),
                load: |archetype, bytes| {
                    let mut column = write::<T>(archetype);
                    bytemuck::cast_slice_mut(&mut column)[..bytes.len()].copy_from_slice(bytes);
                },
                compact: |archetype, rows, dead| compact(&mut write::<T>(archetype)[..rows], dead),
                close,
            },
        }
    }
}

impl KindOps {
    fn of<K: Kind>() -> Self {
        Self {
            reserve: |world, rows| world.reserve::<K::Bundle>(rows),
            spawn_default: |world| world.spawn(K::default().bundle(ActorId::NONE)),
            queue: || Box::new(Vec::<K>::new()),
            spawn_queued: |queue, place, id, spare, world| {
                let queue = queue.downcast_ref::<Vec<K>>().expect("a queue holds the rows of its kind");
                let row = queue[place as usize].bundle(id);
                let Some(spare) = spare else { return world.spawn(row) };
                world.insert(spare, row).expect("a row's handle lives as long as the row");
                spare
            },
            clear_queue: |queue| {
                queue.downcast_mut::<Vec<K>>().expect("a queue holds the rows of its kind").clear();
            },
        }
    }
}

static ACTOR_ID_FIELDS: [Field; 1] = [Field { name: "id", offset: 0, kind: FieldKind::U32, count: 1 }];

pub(crate) fn read<T: Send + Sync + 'static>(archetype: &Archetype) -> hecs::ArchetypeColumn<'_, T> {
    archetype.get::<&T>().expect("a kind's archetype has the kind's columns")
}

pub(crate) fn write<T: Send + Sync + 'static>(archetype: &Archetype) -> hecs::ArchetypeColumnMut<'_, T> {
    archetype.get::<&mut T>().expect("a kind's archetype has the kind's columns")
}

fn close_column<T: Record>(archetype: &Archetype, rows: usize) -> u64 {
    if const { has_floats(T::FIELDS) } {
        let mut column = write::<T>(archetype);
        T::canonicalise_rows(&mut column[..rows]);
        hash_column(bytemuck::cast_slice(&column[..rows]))
    } else {
        hash_column(bytemuck::cast_slice(&read::<T>(archetype)[..rows]))
    }
}

const fn has_floats(fields: &[Field]) -> bool {
    let mut index = 0;
    while index < fields.len() {
        if fields[index].kind.is_float() {
            return true;
        }
        index += 1;
    }
    false
}

/// Moves the rows that are not in `dead` (ascending) to the front, keeping their order.
fn compact<T: Copy>(rows: &mut [T], dead: &[u32]) {
    let Some(&first) = dead.first() else { return };
    let mut to = first as usize;
    for (index, &gone) in dead.iter().enumerate() {
        let from = gone as usize + 1;
        let until = dead.get(index + 1).map_or(rows.len(), |next| *next as usize);
        rows.copy_within(from..until, to);
        to += until - from;
    }
}

fn describe(text: &mut String, name: &str, fields: &[Field]) {
    text.push_str(name);
    for field in fields {
        text.push_str(&format!(" {}:{:?}x{}@{}", field.name, field.kind, field.count, field.offset));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_keeps_order() {
        let rows: Vec<u32> = (0..10).collect();
        for dead in [&[][..], &[0], &[9], &[0, 1, 2], &[3, 4, 8], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            let mut moved = rows.clone();
            compact(&mut moved, dead);
            let expected: Vec<u32> = rows.iter().copied().filter(|row| !dead.contains(row)).collect();
            assert_eq!(&moved[..expected.len()], &expected[..]);
        }
    }
}
