//! States of rows of two others: what a client has when a snapshot was too short for everything.
//!
//! Rows are named by *marks*: a bit for each row of each kind that is no singleton, in order, lowest bit first; the rest
//! of the last byte is 0. Marks may come from a stranger.

use crate::save::id_of;
use crate::snapshot::SnapshotError;
use crate::{ActorId, Registry, Save};

/// Whether a row is marked.
#[must_use]
pub fn is_marked(marks: &[u8], row: usize) -> bool {
    marks.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 != 0)
}

/// Makes states of rows of two others; keeps its buffer.
#[derive(Debug, Default)]
pub struct Mixer {
    /// Of each row of the result: which of the two it is from, and its row there.
    picks: Vec<(bool, u32)>,
}

impl Mixer {
    /// Makes `into` the state `save` without the marked rows; it is not hashed. Costs a copy.
    ///
    /// # Errors
    /// If the marks are not those of as many rows.
    pub fn without(
        &mut self,
        registry: &Registry,
        save: &Save,
        marks: &[u8],
        into: &mut Save,
    ) -> Result<(), SnapshotError> {
        self.mix(registry, save, save, |row| !is_marked(marks, row), |_| false, into);
        check(registry, save, marks)
    }

    /// Makes `into` the state `fresh` with those rows of `old` that are marked, and hashes it. Costs a copy and a hash.
    ///
    /// # Errors
    /// If the marks are not those of as many rows as `old` has, or a marked row is in `fresh` too, or has an id that
    /// `fresh` does not count up to.
    pub fn with(
        &mut self,
        registry: &Registry,
        fresh: &Save,
        old: &Save,
        marks: &[u8],
        into: &mut Save,
    ) -> Result<(), SnapshotError> {
        self.mix(registry, fresh, old, |_| true, |row| is_marked(marks, row), into);
        check(registry, old, marks)?;
        into.check(registry)?;
        into.rehash(registry);
        Ok(())
    }

    /// Replaces the rows that `save` has of these actors, by ascending ids, by those that `newer` has of them, and hashes
    /// it. Costs a walk over `save`, and a hash.
    pub fn renew(&mut self, registry: &Registry, save: &mut Save, newer: &Save, actors: &[ActorId]) {
        let (mut at, mut newer_at) = (0, 0);
        for (index, kind) in registry.kinds().iter().enumerate() {
            let [rows, newer_rows] = [save.counts[index] as usize, newer.counts[index] as usize];
            self.picks.clear();
            if !kind.singleton {
                let ids = newer.bytes[newer_at..][..newer_rows * 4].as_chunks::<4>().0;
                for row in 0..rows {
                    let id = id_of(&save.bytes[at + row * 4..]);
                    if actors.binary_search(&id).is_err() {
                        continue;
                    }
                    let found = ids.binary_search_by_key(&id, |id| id_of(id));
                    self.picks.extend(found.map(|place| (true, place as u32)));
                    self.picks.extend(found.map(|_| (false, row as u32)));
                }
            }
            for column in &kind.columns {
                for pair in self.picks.chunks_exact(2) {
                    let (from, to) = (pair[0].1 as usize * column.size, pair[1].1 as usize * column.size);
                    save.bytes[at + to..][..column.size]
                        .copy_from_slice(&newer.bytes[newer_at + from..][..column.size]);
                }
                at += rows * column.size;
                newer_at += newer_rows * column.size;
            }
        }
        save.rehash(registry);
    }

    /// Makes `into` of the rows of `one` and `other` that are wanted, by ascending ids. Singletons, tick and counter are
    /// those of `one`.
    fn mix(
        &mut self,
        registry: &Registry,
        one: &Save,
        other: &Save,
        wants_one: impl Fn(usize) -> bool,
        wants_other: impl Fn(usize) -> bool,
        into: &mut Save,
    ) {
        (into.tick, into.next_actor) = (one.tick, one.next_actor);
        into.clear();
        let (mut at, mut first) = ([0; 2], [0; 2]);
        for (index, kind) in registry.kinds().iter().enumerate() {
            let rows = [one.counts[index] as usize, other.counts[index] as usize];
            self.picks.clear();
            if kind.singleton {
                self.picks.push((false, 0));
            } else {
                let of = |save: &Save, at: usize, rows: usize, row: usize| {
                    (row < rows).then(|| id_of(&save.bytes[at + row * 4..]))
                };
                let [mut left, mut right] = [0; 2];
                loop {
                    match (of(one, at[0], rows[0], left), of(other, at[1], rows[1], right)) {
                        (None, None) => break,
                        (Some(id), other_id) if other_id.is_none_or(|other_id| id <= other_id) => {
                            self.picks.extend(wants_one(first[0] + left).then_some((false, left as u32)));
                            left += 1;
                        }
                        _ => {
                            self.picks.extend(wants_other(first[1] + right).then_some((true, right as u32)));
                            right += 1;
                        }
                    }
                }
                first = [first[0] + rows[0], first[1] + rows[1]];
            }
            into.counts.push(self.picks.len() as u32);
            for column in &kind.columns {
                for (is_other, row) in &self.picks {
                    let (save, at) = if *is_other { (other, at[1]) } else { (one, at[0]) };
                    into.bytes
                        .extend_from_slice(&save.bytes[at + *row as usize * column.size..][..column.size]);
                }
                at = [at[0] + rows[0] * column.size, at[1] + rows[1] * column.size];
            }
        }
    }
}

/// Whether marks are of as many rows as a state has.
fn check(registry: &Registry, save: &Save, marks: &[u8]) -> Result<(), SnapshotError> {
    let rows = save.rows(registry);
    let spare = marks.last().is_some_and(|last| !rows.is_multiple_of(8) && last >> (rows % 8) != 0);
    if marks.len() == rows.div_ceil(8) && !spare { Ok(()) } else { Err(SnapshotError::Rows) }
}

impl Save {
    /// How many rows there are, singletons not counted.
    #[must_use]
    pub fn rows(&self, registry: &Registry) -> usize {
        let kinds = registry.kinds().iter().zip(&self.counts).filter(|(kind, _)| !kind.singleton);
        kinds.map(|(_, rows)| *rows as usize).sum()
    }

    /// Calls `see` with the actor of each marked row. Costs a look at each mark.
    pub fn marked(&self, registry: &Registry, marks: &[u8], mut see: impl FnMut(ActorId)) {
        let (mut at, mut first) = (0, 0);
        for (kind, rows) in registry.kinds().iter().zip(&self.counts) {
            let rows = *rows as usize;
            if !kind.singleton {
                for row in (0..rows).filter(|row| is_marked(marks, first + row)) {
                    see(id_of(&self.bytes[at + row * 4..]));
                }
                first += rows;
            }
            at += rows * kind.row_bytes;
        }
    }

    /// Calls `see` with the actor of each row, in order, singletons not counted, and with whether `other` has the same
    /// row, or another one of the actor, or none. Costs a comparison of both.
    pub fn compare_rows(&self, registry: &Registry, other: &Self, mut see: impl FnMut(ActorId, Compared)) {
        let (mut at, mut other_at) = (0, 0);
        for (index, kind) in registry.kinds().iter().enumerate() {
            let [rows, other_rows] = [self.counts[index] as usize, other.counts[index] as usize];
            if !kind.singleton {
                let ids = other.bytes[other_at..][..other_rows * 4].as_chunks::<4>().0;
                for row in 0..rows {
                    let id = id_of(&self.bytes[at + row * 4..]);
                    let compared = match ids.binary_search_by_key(&id, |id| id_of(id)) {
                        Err(_) => Compared::Missing,
                        Ok(there) => {
                            let (mut place, mut other_place) = (at, other_at);
                            let is_same = kind.columns.iter().all(|column| {
                                let here = &self.bytes[place + row * column.size..][..column.size];
                                let other = &other.bytes[other_place + there * column.size..][..column.size];
                                place += rows * column.size;
                                other_place += other_rows * column.size;
                                here == other
                            });
                            if is_same { Compared::Same } else { Compared::Differs }
                        }
                    };
                    see(id, compared);
                }
            }
            at += rows * kind.row_bytes;
            other_at += other_rows * kind.row_bytes;
        }
    }
}

/// What another state has of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same row.
    Same,
    /// Another row.
    Differs,
    /// No row.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::Skirmish;
    use crate::{Battle, BattleSpec, Game, TickRecord};

    /// Two states of one battle, the second some ticks later.
    fn two() -> (Battle<Skirmish>, Save, Save) {
        let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 3)).unwrap();
        let mut record = TickRecord::neutral(battle.tick(), battle.spec().roster.len());
        let mut saves = [Save::default(), Save::default()];
        for tick in 1..=60 {
            battle.bot_record(&mut record);
            battle.step(&record);
            if tick >= 40 {
                battle.save(&mut saves[usize::from(tick == 60)]);
            }
        }
        let [old, new] = saves;
        (battle, old, new)
    }

    /// Marks of every third row.
    fn thirds(rows: usize) -> Vec<u8> {
        let mut marks = vec![0; rows.div_ceil(8)];
        (0..rows).step_by(3).for_each(|row| marks[row / 8] |= 1 << (row % 8));
        marks
    }

    #[test]
    fn a_state_comes_apart_and_together_again() {
        let (battle, old, _) = two();
        let registry = battle.world().registry();
        let rows = old.rows(registry);
        let marks = thirds(rows);
        let (mut mixer, mut part, mut again) = (Mixer::default(), Save::default(), Save::default());
        mixer.without(registry, &old, &marks, &mut part).unwrap();
        assert_eq!(part.rows(registry), rows - rows.div_ceil(3));
        mixer.with(registry, &part, &old, &marks, &mut again).unwrap();
        assert_eq!(again, old);
    }

    #[test]
    fn rows_are_renewed_and_compared() {
        let (battle, mut old, new) = two();
        let registry = battle.world().registry();
        let mut differing = Vec::new();
        old.compare_rows(registry, &new, |actor, compared| {
            differing.extend((compared == Compared::Differs).then_some(actor));
        });
        assert!(differing.len() > 5, "{differing:?}");
        differing.sort_unstable();
        let renewed = differing.split_off(differing.len() / 2);
        let mut mixer = Mixer::default();
        mixer.renew(registry, &mut old, &new, &renewed);
        old.check(registry).unwrap();
        let mut left = Vec::new();
        old.compare_rows(registry, &new, |actor, compared| {
            left.extend((compared == Compared::Differs).then_some(actor));
        });
        left.sort_unstable();
        assert_eq!(left, differing);
    }

    #[test]
    fn marks_of_another_state_are_refused() {
        let (battle, old, new) = two();
        let registry = battle.world().registry();
        let rows = old.rows(registry);
        let marks = thirds(rows);
        let (mut mixer, mut into) = (Mixer::default(), Save::default());
        let mut judge = |marks: &[u8]| mixer.without(registry, &old, marks, &mut into);
        assert_eq!(judge(&marks), Ok(()));
        assert_eq!(judge(&marks[1..]), Err(SnapshotError::Rows));
        assert_eq!(judge(&[&marks[..], &[0]].concat()), Err(SnapshotError::Rows));
        let mut spare = vec![0; rows.div_ceil(8)];
        *spare.last_mut().unwrap() = u8::MAX;
        let expected = if rows.is_multiple_of(8) { Ok(()) } else { Err(SnapshotError::Rows) };
        assert_eq!(judge(&spare), expected);
        let twice = mixer.with(registry, &new, &old, &marks, &mut into);
        assert!(matches!(twice, Err(SnapshotError::State(_))), "a row is in both: {twice:?}");
    }
}
