//! Sight: which rows of a state a view sees, and the part of a saved state that goes to those who share the view.
//!
//! ```text
//! Game::sight marks rows ──Lookout::look──▶ Seen (rows of one tick) ──Save::select──▶ a save of what the view may know
//! ```
//! What was seen a tick before is remembered here and nowhere in the state: a battle that is computed again needs none
//! of it.

use crate::schedule::StageError;
use crate::{ActorId, Audience, Game, Kind, Registry, Save, Seat, StateHash, Tick, World, hash_column};

/// What [`Game::sight`] marks: the rows that a view sees in this tick. Each starts unseen, but for singletons and the
/// bodies of the view's own seats.
#[derive(Debug)]
pub struct Sight<'a> {
    registry: &'a Registry,
    kinds: &'a mut [KindSight],
}

/// What is marked of one kind: a bit a row.
#[derive(Debug, Default)]
struct KindSight {
    rows: usize,
    /// Rows that were seen the tick before.
    before: Vec<u64>,
    now: Vec<u64>,
    /// The actors that were seen the tick before, ascending.
    ids: Vec<ActorId>,
}

impl Sight<'_> {
    /// The view sees everything.
    pub fn see_all(&mut self) {
        self.kinds.iter_mut().for_each(KindSight::fill);
    }

    /// The view sees all rows of a kind.
    ///
    /// # Panics
    /// If the kind is not registered in `Game::components`.
    pub fn see_kind<K: Kind>(&mut self) {
        self.kind::<K>().fill();
    }

    /// The view sees those rows of a kind of which `sees` says so; it is told the row, and whether the view saw its
    /// actor the tick before. What was marked earlier stays. Costs the calls.
    ///
    /// # Panics
    /// If the kind is not registered in `Game::components`.
    pub fn see_rows<K: Kind>(&mut self, mut sees: impl FnMut(usize, bool) -> bool) {
        let KindSight { rows, before, now, .. } = self.kind::<K>();
        for (word, (before, now)) in before.iter().zip(now).enumerate() {
            for bit in 0..64.min(*rows - word * 64) {
                *now |= u64::from(sees(word * 64 + bit, *before >> bit & 1 != 0)) << bit;
            }
        }
    }

    fn kind<K: Kind>(&mut self) -> &mut KindSight {
        let index = self.registry.position::<K>();
        let index = index.unwrap_or_else(|| panic!("{}", StageError::Kind { name: K::NAME }));
        &mut self.kinds[index]
    }
}

impl KindSight {
    /// Nothing is seen yet of the rows of these actors.
    fn begin(&mut self, ids: &[ActorId]) {
        self.rows = ids.len();
        for bits in [&mut self.before, &mut self.now] {
            bits.clear();
            bits.resize(ids.len().div_ceil(64), 0);
        }
        let mut row = 0;
        for seen in &self.ids {
            while ids.get(row).is_some_and(|id| id < seen) {
                row += 1;
            }
            if ids.get(row) == Some(seen) {
                self.before[row / 64] |= 1 << (row % 64);
            }
        }
    }

    fn mark(&mut self, row: usize) {
        self.now[row / 64] |= 1 << (row % 64);
    }

    fn fill(&mut self) {
        for (word, now) in self.now.iter_mut().enumerate() {
            let rows = self.rows - word * 64;
            *now = if rows < 64 { (1 << rows) - 1 } else { u64::MAX };
        }
    }

    /// Adds the marked rows to `rows`, and remembers their actors.
    fn end(&mut self, ids: &[ActorId], rows: &mut Vec<u32>) {
        self.ids.clear();
        for (word, now) in self.now.iter().enumerate() {
            let mut left = *now;
            while left != 0 {
                let row = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                rows.push(row as u32);
                self.ids.push(ids[row]);
            }
        }
    }
}

/// The rows that a view saw at a tick.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    tick: Tick,
    next_actor: u32,
    /// For each kind how many of the rows are of it.
    counts: Vec<u32>,
    rows: Vec<u32>,
}

impl Seen {
    /// The tick that it is of.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// Whether nothing was seen yet, not even singletons.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Makes this the singletons alone, and the row of an actor if there is one. Costs a search in each kind.
    pub fn only(&mut self, world: &World, actor: Option<ActorId>) {
        self.tick = world.tick();
        self.counts.clear();
        self.rows.clear();
        let place = actor.and_then(|actor| world.find(actor));
        self.next_actor = 1 + actor.filter(|_| place.is_some()).map_or(0, |actor| actor.0);
        for (kind, entry) in world.registry().kinds().iter().enumerate() {
            let row = if entry.singleton { Some(0) } else { place.filter(|at| at.0 == kind).map(|at| at.1) };
            self.counts.push(u32::from(row.is_some()));
            self.rows.extend(row.map(|row| row as u32));
        }
    }

    /// Forgets what was seen.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.rows.clear();
    }
}

/// One view's memory from tick to tick: what it saw last.
#[derive(Debug)]
pub struct Lookout {
    kinds: Vec<KindSight>,
    /// The largest id that the view ever saw, and one more: the id counter that it is shown.
    next_actor: u32,
}

impl Lookout {
    /// A lookout that saw nothing yet. Allocates.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self { kinds: registry.kinds().iter().map(|_| KindSight::default()).collect(), next_actor: 1 }
    }

    /// Looks at a world once a tick: writes into `seen` what [`Game::sight`] marks for the view, with the bodies of
    /// `own` seats and all singletons. Costs what the game's rule does, and a walk over the ids; allocates only to
    /// grow.
    pub fn look<G: Game>(&mut self, world: &World, view: u16, own: &[Seat], seen: &mut Seen) {
        let registry = world.registry();
        for (kind, sight) in self.kinds.iter_mut().enumerate() {
            sight.begin(&world.ids(kind));
            if registry.kinds()[kind].singleton {
                sight.fill();
            }
        }
        G::sight(world, view, &mut Sight { registry, kinds: &mut self.kinds });
        for puppet in own.iter().filter_map(|seat| G::puppet(world, *seat)) {
            if let Some((kind, row)) = world.find(puppet) {
                self.kinds[kind].mark(row);
            }
        }
        seen.counts.clear();
        seen.rows.clear();
        for (kind, sight) in self.kinds.iter_mut().enumerate() {
            let before = seen.rows.len();
            sight.end(&world.ids(kind), &mut seen.rows);
            seen.counts.push((seen.rows.len() - before) as u32);
            // A singleton's actor is nobody, whose id is 0.
            let largest = sight.ids.last().map_or(0, |id| id.0);
            self.next_actor = self.next_actor.max(largest.saturating_add(1));
        }
        seen.tick = world.tick();
        seen.next_actor = self.next_actor;
    }
}

impl Save {
    /// Makes `into` the part of this state that `seen` holds, as `audience` may know it: records that are for others are
    /// all zero. It is not hashed until [`rehash`](Self::rehash). Costs a copy of the rows; allocates only to grow
    /// `into`.
    ///
    /// # Panics
    /// If `seen` is not of this state.
    pub fn select(&self, registry: &Registry, seen: &Seen, audience: Audience, into: &mut Self) {
        assert_eq!(seen.tick, self.tick, "rows are those of their own tick");
        assert_eq!(seen.counts.len(), self.counts.len(), "rows are those of this game");
        into.tick = self.tick;
        into.next_actor = seen.next_actor;
        into.counts.clone_from(&seen.counts);
        into.bytes.clear();
        let (mut from, mut rows) = (&self.bytes[..], &seen.rows[..]);
        for ((kind, all), count) in registry.kinds().iter().zip(&self.counts).zip(&seen.counts) {
            let (here, after) = rows.split_at(*count as usize);
            rows = after;
            for (place, column) in kind.columns.iter().enumerate() {
                let (bytes, after) = from.split_at(*all as usize * column.size);
                from = after;
                if place == 0 || column.audience == audience {
                    for row in here {
                        into.bytes.extend_from_slice(&bytes[*row as usize * column.size..][..column.size]);
                    }
                } else {
                    into.bytes.resize(into.bytes.len() + here.len() * column.size, 0);
                }
            }
        }
    }

    /// Writes the records for their owner alone that `private` has into the same actors' rows here, and hashes the
    /// whole.
    ///
    /// # Errors
    /// If `private` has more than one actor of a kind, or one that is not here.
    pub fn add_private(&mut self, registry: &Registry, private: &Self) -> Result<(), NotOwn> {
        let mut at = [0_usize; 2];
        for (index, kind) in registry.kinds().iter().enumerate() {
            let [rows, own_rows] = [self.counts[index] as usize, private.counts[index] as usize];
            let [ids, own_ids] = [at[0], at[1]];
            if own_rows > 1 {
                return Err(NotOwn);
            }
            for column in &kind.columns {
                if column.audience == Audience::Owner {
                    for record in private.bytes[at[1]..][..own_rows * column.size].chunks_exact(column.size) {
                        let id = &private.bytes[own_ids..][..4];
                        let here = self.bytes[ids..][..rows * 4].chunks_exact(4).position(|here| here == id);
                        let row = here.ok_or(NotOwn)?;
                        self.bytes[at[0] + row * column.size..][..column.size].copy_from_slice(record);
                    }
                }
                at[0] += rows * column.size;
                at[1] += own_rows * column.size;
            }
        }
        self.rehash(registry);
        Ok(())
    }
}

/// Private records that are not those of one body in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("private records of something else than one actor in sight")]
pub struct NotOwn;

/// The view hash: that of the state which the view shares, and with a private section the one of both.
#[must_use]
pub fn view_hash(shared: StateHash, private: Option<StateHash>) -> StateHash {
    match private {
        None => shared,
        Some(private) => StateHash(hash_column(bytemuck::bytes_of(&[shared.0, private.0]))),
    }
}

#[cfg(test)]
mod tests;
