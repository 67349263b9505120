//! The change list: spawns and despawns that systems ask for, applied at fixed points of the tick.
//!
//! Changes are applied in the order of (cause, asking), never in the order of some container, so that a system may
//! walk its rows in any order it likes.

use std::any::{Any, TypeId};

use crate::schedule::StageError;
use crate::{ActorId, Kind, KindEntry, Registry};

/// What systems want to be spawned and despawned. Buffers are kept, so that a warm tick allocates nothing.
///
/// At a fixed point of the tick all despawns are done first; then the spawns, ordered by their cause and, for one
/// cause, by the order of asking. Ids are given in that order. A despawn costs a move of the rows behind it.
///
/// There is no other way to change which actors there are: a system sees the world's rows and their records, not what
/// holds them.
///
/// ```compile_fail,E0599
/// # use tiltyard_engine::{Game, Step};
/// fn wrong<MyGame: Game>(step: &mut Step<'_, MyGame>) {
///     step.world.despawn(tiltyard_engine::ActorId(7));
/// }
/// ```
/// ```
/// # use tiltyard_engine::{Game, Step};
/// fn right<MyGame: Game>(step: &mut Step<'_, MyGame>) {
///     step.changes.despawn(tiltyard_engine::ActorId(7));
/// }
/// ```
pub struct Changes {
    queues: Vec<Queue>,
    spawns: Vec<Spawn>,
    despawns: Vec<ActorId>,
}

/// The rows to be of one kind.
pub(crate) struct Queue {
    kind: TypeId,
    /// A `Vec<K>` of the kind.
    pub(crate) rows: Box<dyn Any + Send>,
    clear: fn(&mut dyn Any),
}

/// One actor to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawn {
    cause: ActorId,
    ordinal: u32,
    /// The kind's place in the registry.
    pub(crate) kind: usize,
    /// The row's place in the kind's queue.
    pub(crate) place: u32,
}

impl Changes {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            queues: registry.kinds().iter().map(Queue::of).collect(),
            spawns: Vec::new(),
            despawns: Vec::new(),
        }
    }

    /// Asks for an actor. It stands in the world from the next fixed point of the tick on; `cause` is the actor
    /// whose doing it is, [`ActorId::NONE`] for the rules' own.
    ///
    /// Above [`ACTORS_MAX`](crate::ACTORS_MAX) living actors the spawn does not happen. Costs a walk over the
    /// registered kinds; what the spawn itself costs is the fixed point's: a record added to each column.
    ///
    /// # Panics
    /// If the kind is not registered in `Game::components`.
    pub fn spawn<K: Kind>(&mut self, cause: ActorId, row: K) {
        let kind = self.queues.iter().position(|queue| queue.kind == TypeId::of::<K>());
        let kind = kind.unwrap_or_else(|| panic!("{}", StageError::Kind { name: K::NAME }));
        let queue =
            self.queues[kind].rows.downcast_mut::<Vec<K>>().expect("a queue holds the rows of its kind");
        let place = queue.len() as u32;
        queue.push(row);
        self.spawns.push(Spawn { cause, ordinal: self.spawns.len() as u32, kind, place });
    }

    /// Asks for an actor's end at the next fixed point of the tick; until then its row is there. Asking twice, or for
    /// one that is gone, is fine.
    pub fn despawn(&mut self, id: ActorId) {
        self.despawns.push(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spawns.is_empty() && self.despawns.is_empty()
    }

    pub(crate) fn sorted_despawns(&mut self) -> &[ActorId] {
        self.despawns.sort_unstable();
        self.despawns.dedup();
        &self.despawns
    }

    pub(crate) fn sorted_spawns(&mut self) -> (&[Spawn], &[Queue]) {
        self.spawns.sort_unstable_by_key(|spawn| (spawn.cause, spawn.ordinal));
        (&self.spawns, &self.queues)
    }

    pub(crate) fn clear(&mut self) {
        self.spawns.clear();
        self.despawns.clear();
        for queue in &mut self.queues {
            (queue.clear)(&mut *queue.rows);
        }
    }
}

impl Queue {
    fn of(kind: &KindEntry) -> Self {
        Self { kind: kind.type_id, rows: (kind.ops.queue)(), clear: kind.ops.clear_queue }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("spawns", &self.spawns).field("despawns", &self.despawns).finish()
    }
}
