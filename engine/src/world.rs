//! The world of one battle: hecs underneath, rows in [`ActorId`] order on top.
//!
//! Each kind has one archetype, made at battle start. Rows are appended by spawns and taken away by stable
//! compaction at fixed points of the tick, so that the order of rows is a function of the state and never of its
//! history. hecs' entities are row handles and nothing else: nobody outside this file sees one.
//!
//! A row that is taken away stays in hecs as a spare one behind those in use, for the next spawn: hecs' own despawn
//! would cost more than all the rest of a rollback. Nobody outside this file sees a spare row either.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

use hecs::{Archetype, Entity};

use crate::changes::Changes;
use crate::hash::Hashes;
use crate::kind::Single;
use crate::registry::{read, write};
use crate::rng::Rng;
use crate::schedule::StageError;
use crate::{ACTORS_MAX, ActorId, Divergence, Kind, KindEntry, Record, Registry, Tick};

/// The state of a battle: actors in columns, and singletons. Everybody can read it; systems write to it as
/// [`WorldMut`].
///
/// ```
/// # use tiltyard_engine::{ActorId, World, kind, record};
/// # record! { struct Place { x: i32 } struct Score { points: u32 } }
/// # kind! { struct Cell { place: Place } }
/// fn sum(world: &World) -> i32 {
///     let cells = world.rows::<Cell>();
///     // Slices with one entry a row, all in the order of ids.
///     let (ids, places) = (cells.ids(), cells.read::<Place>());
///     assert!(ids.is_sorted() && ids.len() == places.len());
///     let points = world.singleton::<Score>().points;
///     places.iter().map(|place| place.x).sum::<i32>() + points as i32
/// }
/// ```
pub struct World {
    pub(crate) tick: Tick,
    pub(crate) next_actor: u32,
    pub(crate) kinds: Vec<KindRows>,
    registry: Registry,
    ecs: hecs::World,
    dead_rows: Vec<u32>,
}

/// The rows of one kind.
pub(crate) struct KindRows {
    /// The handle of each row, spare ones included.
    entities: Vec<Entity>,
    /// How many rows are in use.
    rows: usize,
    /// The hash of each column as it was last computed.
    sums: Vec<u64>,
    /// One bit a column: it may have been written to since. Systems share the world, so it is atomic.
    written: AtomicU64,
}

impl World {
    pub(crate) fn new(registry: Registry) -> Self {
        let mut ecs = hecs::World::new();
        let mut kinds = Vec::new();
        for kind in registry.kinds() {
            (kind.ops.reserve)(&mut ecs, 1);
            assert_eq!(archetypes(&ecs).len(), kinds.len() + 1, "each kind has an archetype of its own");
            let mut entities = Vec::new();
            if kind.singleton {
                entities.push((kind.ops.spawn_default)(&mut ecs));
            }
            let (rows, sums) = (entities.len(), vec![0; kind.columns.len()]);
            kinds.push(KindRows { entities, rows, sums, written: AtomicU64::new(ALL) });
        }
        Self { tick: Tick::ZERO, next_actor: 1, kinds, registry, ecs, dead_rows: Vec::new() }
    }

    /// The tick that this state belongs to.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// What is registered as state.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The rows of a kind, in [`ActorId`] order. Costs a walk over the registered kinds.
    ///
    /// # Panics
    /// If the kind is not registered in `Game::components`.
    #[must_use]
    pub fn rows<K: Kind>(&self) -> Rows<'_, K> {
        self.rows_of(self.position::<K>())
    }

    fn rows_of<K>(&self, index: usize) -> Rows<'_, K> {
        Rows { archetype: self.archetype(index), len: self.kinds[index].rows, kind: PhantomData }
    }

    fn position<K: Kind>(&self) -> usize {
        let index = self.registry.position::<K>();
        index.unwrap_or_else(|| panic!("{}", StageError::Kind { name: K::NAME }))
    }

    /// A singleton, to read.
    ///
    /// # Panics
    /// If the singleton is not registered in `Game::components`, or is being written.
    #[must_use]
    pub fn singleton<T: Record>(&self) -> SingletonRef<'_, T> {
        let index = self.registry.position::<Single<T>>();
        let index = index.unwrap_or_else(|| panic!("{}", StageError::Singleton { name: T::NAME }));
        SingletonRef(read::<T>(self.archetype(index)))
    }

    /// How many actors there are, singletons not counted. Always at most [`ACTORS_MAX`]. Costs a walk over the
    /// registered kinds.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.counts().map(|(_, rows)| rows).sum()
    }

    /// The kinds by name, singletons not counted, each with how many rows it has. Costs a walk over the registered
    /// kinds.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let kinds = self.registry.kinds().iter().zip(&self.kinds);
        kinds.filter(|(kind, _)| !kind.singleton).map(|(kind, rows)| (kind.name, rows.len()))
    }

    /// The actors of a kind, ascending.
    pub(crate) fn ids(&self, kind: usize) -> Column<'_, ActorId> {
        Column { all: read(self.archetype(kind)), rows: self.kinds[kind].rows }
    }

    /// The kind and row of an actor, by binary search in each kind.
    pub(crate) fn find(&self, actor: ActorId) -> Option<(usize, usize)> {
        let kinds = self.registry.kinds().iter().enumerate().filter(|(_, kind)| !kind.singleton);
        kinds.map(|(kind, _)| kind).find_map(|kind| Some((kind, self.ids(kind).binary_search(&actor).ok()?)))
    }

    /// Where hecs keeps the columns of each kind, in order of registration.
    pub(crate) fn archetypes(&self) -> impl ExactSizeIterator<Item = &Archetype> {
        archetypes(&self.ecs)
    }

    pub(crate) fn archetype(&self, index: usize) -> &Archetype {
        self.archetypes().nth(index).expect("archetypes are made at battle start")
    }

    /// Adds an actor at once; for the stage before tick 1.
    pub(crate) fn spawn_now<K: Kind>(&mut self, row: K) -> Result<ActorId, StageError> {
        let index = self.registry.position::<K>().ok_or(StageError::Kind { name: K::NAME })?;
        if self.actors() >= ACTORS_MAX {
            return Err(StageError::Actors);
        }
        let id = self.take_id();
        assert_eq!(
            self.kinds[index].rows,
            self.kinds[index].entities.len(),
            "no row is taken away before tick 1"
        );
        let entity = self.ecs.spawn(row.bundle(id));
        self.kinds[index].push(entity);
        Ok(id)
    }

    pub(crate) fn try_singleton_mut<T: Record>(&self) -> Result<SingletonMut<'_, T>, StageError> {
        let index = self.registry.position::<Single<T>>().ok_or(StageError::Singleton { name: T::NAME })?;
        self.kinds[index].touch(ALL);
        Ok(SingletonMut(write::<T>(self.archetype(index))))
    }

    /// Applies what systems asked for: first the despawns, then the spawns by cause and order of asking.
    pub(crate) fn apply(&mut self, changes: &mut Changes) {
        if changes.is_empty() {
            return;
        }
        self.apply_despawns(changes.sorted_despawns());
        let mut room = ACTORS_MAX - self.actors();
        let (spawns, queues) = changes.sorted_spawns();
        for spawn in spawns {
            if room == 0 {
                break;
            }
            room -= 1;
            let id = self.take_id();
            let (kind, rows) = (&self.registry.kinds()[spawn.kind], &mut self.kinds[spawn.kind]);
            let spare = rows.entities.get(rows.rows).copied();
            let queue = &*queues[spawn.kind].rows;
            rows.push((kind.ops.spawn_queued)(queue, spawn.place, id, spare, &mut self.ecs));
        }
        changes.clear();
    }

    fn apply_despawns(&mut self, ids: &[ActorId]) {
        if ids.is_empty() {
            return;
        }
        let kinds = self.registry.kinds().iter().zip(&mut self.kinds);
        for ((kind, held), archetype) in kinds.zip(archetypes(&self.ecs)) {
            let before = held.rows;
            if kind.singleton || before == 0 {
                continue;
            }
            self.dead_rows.clear();
            let rows = read::<ActorId>(archetype);
            let rows_of = ids.iter().filter_map(|id| rows[..before].binary_search(id).ok());
            self.dead_rows.extend(rows_of.map(|row| row as u32));
            drop(rows);
            if self.dead_rows.is_empty() {
                continue;
            }
            for column in &kind.columns {
                (column.ops.compact)(archetype, before, &self.dead_rows);
            }
            held.touch(ALL);
            held.rows -= self.dead_rows.len();
        }
    }

    /// Makes the number of rows of a kind fit by the tail; what the rows hold is overwritten by the caller.
    pub(crate) fn resize(&mut self, index: usize, rows: usize) {
        let kind = &mut self.kinds[index];
        if kind.rows == rows {
            return;
        }
        kind.touch(ALL);
        kind.rows = rows;
        while kind.entities.len() < rows {
            kind.entities.push((self.registry.kinds()[index].ops.spawn_default)(&mut self.ecs));
        }
    }

    /// Overwrites the state: so many rows of each kind, the hash of each column as [`Hashes::parts`] has them, and all
    /// columns. A column that holds its bytes already is left alone: many are the same for long, and to borrow one
    /// costs as much as to copy a kilobyte.
    pub(crate) fn load(&mut self, counts: &[u32], parts: &[u64], bytes: &[u8]) {
        for (index, rows) in counts.iter().enumerate() {
            self.resize(index, *rows as usize);
        }
        let (mut rest, mut parts) = (bytes, parts);
        let kinds = self.registry.kinds().iter().zip(&mut self.kinds);
        for ((kind, KindRows { rows, sums, written, .. }), archetype) in kinds.zip(archetypes(&self.ecs)) {
            let written = written.get_mut();
            // The row count of the kind stands before the hashes of its columns.
            let (here, after) = parts[1..].split_at(sums.len());
            parts = after;
            for (place, (column, (held, sum))) in kind.columns.iter().zip(sums.iter().zip(here)).enumerate() {
                let (here, after) = rest.split_at(*rows * column.size);
                rest = after;
                if *written >> place & 1 != 0 || held != sum {
                    *written |= 1 << place;
                    (column.ops.load)(archetype, here);
                } else if cfg!(debug_assertions) {
                    let same = &mut |held: &[u8]| assert!(held == here, "{} has two states", column.record);
                    (column.ops.show)(archetype, *rows, same);
                }
            }
        }
        assert!(rest.is_empty());
    }

    /// Takes all rows away in a random order and stands up as many empty ones: hecs deals out its handles in the order
    /// in which it got them back, so that each row gets another one.
    pub(crate) fn deal_rows(&mut self, rng: &mut Rng) {
        for index in 0..self.kinds.len() {
            let rows = std::mem::take(&mut self.kinds[index].rows);
            for left in (1..=self.kinds[index].entities.len()).rev() {
                let entity = self.kinds[index].entities.swap_remove(rng.below(left as u32) as usize);
                self.ecs.despawn(entity).expect("a row's handle lives as long as the row");
            }
            self.resize(index, rows);
        }
    }

    /// The first float that is infinite or not a number, in order of registration.
    pub(crate) fn first_unfit(&self) -> Option<Divergence> {
        let mut found = None;
        for (index, kind) in self.registry.kinds().iter().enumerate() {
            let archetype = self.archetype(index);
            for column in kind.columns.iter().filter(|column| column.has_floats()) {
                (column.ops.show)(archetype, self.kinds[index].rows, &mut |bytes| {
                    for (row, bytes) in bytes.chunks_exact(column.size).enumerate() {
                        let field = crate::record::first_unfit_float(column.fields, bytes);
                        if let (Some(field), None) = (field, &found) {
                            let actor =
                                if kind.singleton { ActorId::NONE } else { read::<ActorId>(archetype)[row] };
                            found =
                                Some(Divergence::unfit(self.tick, kind.name, column.record, actor, field));
                        }
                    }
                });
            }
        }
        found
    }

    /// Closes a tick: brings all floats to their stored form and hashes the state. A column that nobody has written
    /// to since it was closed last has both already.
    pub(crate) fn close(&mut self, into: &mut Hashes) {
        into.begin(self.tick, self.next_actor);
        let kinds = self.registry.kinds().iter().zip(&mut self.kinds);
        for ((kind, KindRows { rows, sums, written, .. }), archetype) in kinds.zip(archetypes(&self.ecs)) {
            into.rows(*rows as u32);
            for (place, (column, sum)) in kind.columns.iter().zip(sums).enumerate() {
                if *written.get_mut() >> place & 1 != 0 {
                    *sum = (column.ops.close)(archetype, *rows);
                } else {
                    let again = || (column.ops.close)(archetype, *rows);
                    debug_assert_eq!(*sum, again(), "{} was written to", column.record);
                }
                into.column(*sum);
            }
            *written.get_mut() = 0;
        }
        into.end();
    }

    /// Closes a tick as if everything had been written to.
    pub(crate) fn close_all(&mut self, into: &mut Hashes) {
        self.kinds.iter().for_each(|rows| rows.touch(ALL));
        self.close(into);
    }

    fn take_id(&mut self) -> ActorId {
        let id = ActorId(self.next_actor);
        self.next_actor =
            self.next_actor.checked_add(1).expect("ticks_max ends a battle before its ids run out");
        id
    }
}

/// Where hecs keeps the columns of each kind, in order of registration: its first archetype is that of actors without
/// any column, the others were made at battle start.
fn archetypes(ecs: &hecs::World) -> impl ExactSizeIterator<Item = &Archetype> {
    ecs.archetypes().skip(1)
}

/// The bits of all columns of a kind. A kind has far fewer columns than there are bits: hecs' tuples end at 15.
const ALL: u64 = u64::MAX;

impl KindRows {
    /// Notes that columns may be written to. Most are noted already, and a look is cheaper than a locked write.
    fn touch(&self, columns: u64) {
        if self.written.load(Ordering::Relaxed) & columns != columns {
            self.written.fetch_or(columns, Ordering::Relaxed);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// One row more is in use: the first spare one, or a new one of this handle.
    fn push(&mut self, entity: Entity) {
        if self.rows == self.entities.len() {
            self.entities.push(entity);
        }
        self.rows += 1;
        self.touch(ALL);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("World");
        out.field("tick", &self.tick);
        for (kind, rows) in self.registry.kinds().iter().zip(&self.kinds) {
            out.field(kind.name, &rows.len());
        }
        out.finish()
    }
}

/// The rows of one kind, in [`ActorId`] order.
///
/// Each column is borrowed by itself: reading one while writing another is fine, and so is reading one twice; a second
/// borrow of a column that is being written panics. Take the columns once, at the top of a system.
#[derive(Clone, Copy)]
pub struct Rows<'a, K> {
    archetype: &'a Archetype,
    len: usize,
    kind: PhantomData<K>,
}

impl<'a, K: Kind> Rows<'a, K> {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The actors, ascending.
    #[must_use]
    pub fn ids(&self) -> Column<'a, ActorId> {
        Column { all: read(self.archetype), rows: self.len }
    }

    /// The row of an actor, by binary search; nothing if it is gone or of another kind. Rows shift when others go, so
    /// keep ids and not rows.
    #[must_use]
    pub fn find(&self, id: ActorId) -> Option<usize> {
        self.ids().binary_search(&id).ok()
    }

    /// A column, to read. Costs hecs' borrow: a search and two locked operations, about 35 ns.
    ///
    /// # Panics
    /// If the kind has no such record, or the column is being written.
    #[must_use]
    pub fn read<T: Record>(&self) -> Column<'a, T> {
        match self.archetype.get::<&T>() {
            Some(all) => Column { all, rows: self.len },
            None => panic!("{}", StageError::Record { kind: K::NAME, name: T::NAME }),
        }
    }
}

/// The world as systems have it: to read and to write. Everybody else has a [`World`], which cannot be written to.
#[derive(Clone, Copy, Debug)]
pub struct WorldMut<'a>(&'a World);

impl<'a> WorldMut<'a> {
    /// Only who owns the world can make it writable.
    pub(crate) fn new(world: &'a mut World) -> Self {
        Self(world)
    }

    /// The rows of a kind, in [`ActorId`] order.
    ///
    /// # Panics
    /// If the kind is not registered in `Game::components`.
    #[must_use]
    pub fn rows<K: Kind>(&self) -> RowsMut<'a, K> {
        let index = self.0.position::<K>();
        let rows = self.0.rows_of(index);
        RowsMut { rows, entry: &self.0.registry.kinds()[index], noted: &self.0.kinds[index] }
    }

    /// A singleton, to write.
    ///
    /// # Panics
    /// If the singleton is not registered in `Game::components`, or is in use.
    #[must_use]
    pub fn singleton_mut<T: Record>(&self) -> SingletonMut<'a, T> {
        self.0.try_singleton_mut().unwrap_or_else(|problem| panic!("{problem}"))
    }
}

impl Deref for WorldMut<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.0
    }
}

/// The rows of one kind, to read and to write; see [`Rows`].
#[derive(Clone, Copy)]
pub struct RowsMut<'a, K> {
    rows: Rows<'a, K>,
    entry: &'a KindEntry,
    noted: &'a KindRows,
}

impl<'a, K: Kind> RowsMut<'a, K> {
    /// A column, to write. Whoever asks for it has written to it, as far as the state hash is concerned: a column that
    /// nobody asked for in a tick is not hashed again. Costs hecs' borrow, as reading does, and a hash of the column
    /// at the end of the tick.
    ///
    /// # Panics
    /// If the kind has no such record, or the column is in use.
    #[must_use]
    pub fn write<T: Record>(&self) -> ColumnMut<'a, T> {
        let place = self.entry.columns.iter().position(|column| column.type_id == TypeId::of::<T>());
        let column = place.and_then(|place| {
            self.noted.touch(1 << place);
            self.rows.archetype.get::<&mut T>()
        });
        match column {
            Some(all) => ColumnMut { all, rows: self.rows.len },
            None => panic!("{}", StageError::Record { kind: K::NAME, name: T::NAME }),
        }
    }
}

impl<'a, K: Kind> Deref for RowsMut<'a, K> {
    type Target = Rows<'a, K>;

    fn deref(&self) -> &Rows<'a, K> {
        &self.rows
    }
}

/// A column of a kind, to read: a slice with one record a row.
pub struct Column<'a, T: Send + Sync + 'static> {
    all: hecs::ArchetypeColumn<'a, T>,
    rows: usize,
}

impl<T: Send + Sync + 'static> Deref for Column<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.all[..self.rows]
    }
}

/// A column of a kind, to write: a slice with one record a row.
pub struct ColumnMut<'a, T: Send + Sync + 'static> {
    all: hecs::ArchetypeColumnMut<'a, T>,
    rows: usize,
}

impl<T: Send + Sync + 'static> Deref for ColumnMut<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.all[..self.rows]
    }
}

impl<T: Send + Sync + 'static> DerefMut for ColumnMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[..self.rows]
    }
}

/// A singleton, to read.
pub struct SingletonRef<'a, T: Record>(hecs::ArchetypeColumn<'a, T>);

impl<T: Record> Deref for SingletonRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

/// A singleton, to write.
pub struct SingletonMut<'a, T: Record>(hecs::ArchetypeColumnMut<'a, T>);

impl<T: Record> Deref for SingletonMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T: Record> DerefMut for SingletonMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}
