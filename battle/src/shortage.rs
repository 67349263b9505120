//! What a client is told when a snapshot of all would not fit a datagram: the rows that matter most, and of the others
//! that they are as they were.
//!
//! A row that is not told stays what it is in the baseline; a new one waits. The state that comes of it is the client's
//! own, so it is kept here until the client has acknowledged a later one.

use std::collections::VecDeque;

use tiltyard_engine::{
    ActorId, Compared, Game, Mixer, Registry, Save, Seat, StateHash, Tick, TickRate, World, snapshot,
};

use crate::snapshots::BASELINES_KEPT;

/// How often an encode is tried with fewer rows until it fits.
const TRIES_MAX: usize = 6;

/// About how many clients of a battle are told of a tick what is encoded for each alone. It takes some 100 µs each at 100
/// puppets; acknowledging old ticks is enough to want it, whether by a bad link or by intent.
const ALONE_MAX: u32 = 16;

/// Whose turn it is where more clients than [`ALONE_MAX`] want to be told something alone.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// How many wanted it, since the tick began.
    wanted: u32,
    /// Each one's turn comes every so many ticks; 0 counts as 1.
    every: u32,
}

impl Turns {
    /// A tick begins: as many as wanted it in the last one will want it again.
    pub(crate) fn begin(&mut self) {
        self.every = self.wanted.div_ceil(ALONE_MAX);
        self.wanted = 0;
    }

    /// Whether it is the turn of the client of this number, which wants to be told something alone.
    pub(crate) fn is_of(&mut self, number: u64, tick: Tick) -> bool {
        self.wanted += 1;
        let every = u64::from(self.every.max(1));
        number % every == u64::from(tick.0) % every
    }
}

/// The states that one client alone has.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// Oldest first; at most [`BASELINES_KEPT`].
    states: VecDeque<Save>,
    spare: Vec<Save>,
    /// When each actor was last told, by ascending ids; forgotten after [`TOLD_TICKS`].
    told: Vec<(ActorId, Tick)>,
    /// How many rows were told the last time.
    rows: usize,
    changed: Vec<Changed>,
    mixer: Mixer,
    /// Rows of the newest state that are left out, and rows of the baseline that stay.
    left_out: Vec<u8>,
    stale: Vec<u8>,
    fresh: Save,
    base: Save,
    body: Vec<u8>,
}

/// A row that differs from the baseline.
#[derive(Clone, Copy, Debug)]
struct Changed {
    order: (u32, Option<Tick>, ActorId),
    row: usize,
    base_row: Option<usize>,
}

/// How long it is remembered when an actor was last told; longer ago counts as never.
const TOLD_TICKS: u32 = 1024;

/// What there is to tell, and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Telling<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) rate: TickRate,
    pub(crate) now: &'a Save,
    pub(crate) base: &'a Save,
    pub(crate) bytes_max: usize,
}

impl Shortage {
    /// Forgets states before the one that the client acknowledged.
    pub(crate) fn keep_from(&mut self, acknowledged: Tick) {
        while self.states.front().is_some_and(|state| state.tick() < acknowledged) {
            self.spare.extend(self.states.pop_front());
        }
    }

    /// The client's own state of a tick, to be given back by [`put_back`](Self::put_back).
    pub(crate) fn take(&mut self, tick: Tick) -> Option<Save> {
        self.states.iter_mut().find(|state| state.tick() == tick).map(std::mem::take)
    }

    /// Gives a state back that was taken.
    pub(crate) fn put_back(&mut self, state: Save) {
        if let Some(place) = self.states.iter_mut().find(|state| state.is_empty()) {
            *place = state;
        }
    }

    /// Makes the body that leads from a state of the client's own to all there is, and says how long it is.
    pub(crate) fn tell_all(&mut self, telling: Telling<'_>) -> usize {
        let Telling { registry, rate, now, base, .. } = telling;
        self.body.clear();
        snapshot::encode(registry, rate, now, Some(base), &mut self.body);
        self.body.len()
    }

    /// The body that was made last.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The marks of what stays stale by it, if something does.
    pub(crate) fn stale(&self, is_stale: bool) -> &[u8] {
        if is_stale { &self.stale } else { &[] }
    }

    /// Makes the body of as much as fits, and gives the hash of what the client has then; nothing if not even the seat's
    /// own body fits.
    pub(crate) fn tell<G: Game>(
        &mut self,
        telling: Telling<'_>,
        world: &World,
        seat: Option<Seat>,
    ) -> Option<StateHash> {
        let Telling { registry, rate, now, base, bytes_max } = telling;
        if base.rows(registry) == 0 {
            // Without a mark nothing would say that something is missing.
            return None;
        }
        self.rank::<G>(telling, world, seat);
        let mut rows = match self.rows {
            0 => self.changed.len().div_ceil(2),
            // A little more than the last time, in case that less changed.
            rows => (rows + rows / 16 + 1).min(self.changed.len()),
        };
        let sound = "marks are made for their state";
        for _ in 0..TRIES_MAX {
            self.mark(telling, rows);
            self.mixer.without(registry, now, &self.left_out, &mut self.fresh).expect(sound);
            self.mixer.without(registry, base, &self.stale, &mut self.base).expect(sound);
            self.body.clear();
            snapshot::encode(registry, rate, &self.fresh, Some(&self.base), &mut self.body);
            let bytes = self.body.len() + self.stale.len();
            if bytes <= bytes_max {
                self.rows = rows;
                for changed in &self.changed[..rows] {
                    note(&mut self.told, changed.order.2, now.tick());
                }
                let mut state = self.spare.pop().unwrap_or_default();
                self.mixer.with(registry, &self.fresh, base, &self.stale, &mut state).expect(sound);
                let hash = state.hashes().state();
                self.states.push_back(state);
                if self.states.len() > BASELINES_KEPT as usize {
                    self.spare.extend(self.states.pop_front());
                }
                return Some(hash);
            }
            if rows <= 1 {
                break;
            }
            rows = (rows * bytes_max * 15 / (bytes * 16)).clamp(1, rows - 1);
        }
        None
    }

    /// Brings the rows that changed into the order in which they are told: the own body; then by turns two that are
    /// urgent and one that is not, each time the one that was told longest ago.
    fn rank<G: Game>(&mut self, telling: Telling<'_>, world: &World, seat: Option<Seat>) {
        let Telling { registry, now, base, .. } = telling;
        let own = seat.and_then(|seat| G::puppet(world, seat));
        self.told.retain(|(_, tick)| now.tick().since(*tick) < TOLD_TICKS);
        let (changed, told) = (&mut self.changed, &self.told);
        changed.clear();
        let mut row = 0;
        now.compare_rows(registry, base, |actor, compared| {
            if compared != Compared::Same {
                let urgency = match own {
                    Some(own) if own == actor => 0,
                    _ if G::is_urgent(world, seat, actor) => 1,
                    _ => 2,
                };
                let order = (urgency, last(told, actor), actor);
                changed.push(Changed { order, row, base_row: None });
            }
            row += 1;
        });
        changed.sort_unstable_by_key(|changed| changed.order);
        let first_urgent = changed.partition_point(|changed| changed.order.0 == 0);
        let first_other = changed.partition_point(|changed| changed.order.0 <= 1);
        // The turns are written over the urgency: the n-th urgent row comes at 3n / 2, the n-th other one at 3n + 2.
        for (nth, changed) in changed[first_urgent..first_other].iter_mut().enumerate() {
            changed.order.0 = 1 + nth as u32 * 3 / 2;
        }
        for (nth, changed) in changed[first_other..].iter_mut().enumerate() {
            changed.order.0 = 1 + nth as u32 * 3 + 2;
        }
        changed.sort_unstable_by_key(|changed| changed.order);
        // Where the rows lie in the baseline, for those that stay.
        changed.sort_unstable_by_key(|changed| changed.order.2);
        let mut base_row = 0;
        base.compare_rows(registry, now, |actor, _| {
            if let Ok(place) = changed.binary_search_by_key(&actor, |changed| changed.order.2) {
                changed[place].base_row = Some(base_row);
            }
            base_row += 1;
        });
        changed.sort_unstable_by_key(|changed| changed.order);
    }

    /// Marks what is told when only the first `rows` of those that changed are.
    fn mark(&mut self, telling: Telling<'_>, rows: usize) {
        let Telling { registry, now, base, .. } = telling;
        for (marks, count) in
            [(&mut self.left_out, now.rows(registry)), (&mut self.stale, base.rows(registry))]
        {
            marks.clear();
            marks.resize(count.div_ceil(8), 0);
        }
        for changed in &self.changed[rows..] {
            self.left_out[changed.row / 8] |= 1 << (changed.row % 8);
            if let Some(row) = changed.base_row {
                self.stale[row / 8] |= 1 << (row % 8);
            }
        }
    }
}

fn last(told: &[(ActorId, Tick)], actor: ActorId) -> Option<Tick> {
    told.binary_search_by_key(&actor, |told| told.0).ok().map(|place| told[place].1)
}

fn note(told: &mut Vec<(ActorId, Tick)>, actor: ActorId, tick: Tick) {
    match told.binary_search_by_key(&actor, |told| told.0) {
        Ok(place) => told[place].1 = tick,
        Err(place) => told.insert(place, (actor, tick)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_in_every_tick_and_many_by_turns_each_as_often_as_the_others() {
        for clients in [1, 16, 17, 40, 100, 1_000_u64] {
            let mut turns = Turns::default();
            let mut told = vec![0; clients as usize];
            for tick in 0..1_200 {
                turns.begin();
                let mut now = 0;
                for (number, told) in (0..).zip(&mut told) {
                    let is_told = turns.is_of(number, Tick(tick));
                    *told += u32::from(is_told);
                    now += u32::from(is_told);
                }
                assert!(tick == 0 || now <= ALONE_MAX, "{clients} clients, tick {tick}: {now} told");
            }
            let (least, most) = (told.iter().min().unwrap(), told.iter().max().unwrap());
            assert!(*least >= 1_200 / clients.div_ceil(16) as u32 - 1, "{clients} clients: {least} times");
            assert!(most - least <= 2, "{clients} clients: {least} to {most} times");
        }
    }
}
