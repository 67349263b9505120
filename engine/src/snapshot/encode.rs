//! Writing a snapshot.

use super::FIRST_ID;
use super::columns::{Columns, Order, Told, bases, sign_extended, wire};
use super::models::{ElementModel, NumberModel, RowModels};
use super::motion::{MOTION_BYTES_MAX, Motion, Turn, is_turn, turned};
use super::range::RangeWriter;
use crate::registry::KindEntry;
use crate::save::id_of;
use crate::{Registry, Save, TickRate};

/// Appends the snapshot of `now` against `baseline` (a state that the receiver has; none: against an empty world) in a
/// battle of this rate.
///
/// Both must be states of `registry`'s game and the baseline must not be later. Cost: about one comparison of all
/// columns, a few additions for every row that moves and tick that the baseline is older, and what differs from that.
/// Allocates only to grow `out`.
///
/// # Panics
/// If the baseline has a larger id counter than `now`, or a save is not of `registry`'s game.
pub fn encode(registry: &Registry, rate: TickRate, now: &Save, baseline: Option<&Save>, out: &mut Vec<u8>) {
    let base_next = baseline.map_or(FIRST_ID, |baseline| baseline.next_actor);
    assert!(base_next <= now.next_actor, "a baseline is never later than what is encoded against it");
    let base_bytes = baseline.map_or(&[][..], |baseline| &baseline.bytes[..]);
    let motion = Motion::new(rate, baseline.map_or(0, |baseline| now.tick.since(baseline.tick)));
    let mut bits = RangeWriter::new(out);
    let mut counts = NumberModel::NEW;
    counts.put_count(&mut bits, now.next_actor - base_next);
    let (mut at, mut base_at) = (0, 0);
    for (index, kind) in registry.kinds().iter().enumerate() {
        let base_rows = baseline.map_or(0, |baseline| baseline.counts[index] as usize);
        let columns = Columns::of(kind, at, now.counts[index] as usize);
        let base_columns = Columns::of(kind, base_at, base_rows);
        (at, base_at) = (columns.end, base_columns.end);
        let order = Order::of(kind);
        let rows = Rows { kind, order, now: (&now.bytes, columns), base: (base_bytes, base_columns), motion };
        if !kind.singleton {
            put_ids(&mut bits, &mut counts, &rows, base_next);
        }
        rows.put(&mut bits);
    }
    bits.finish();
}

/// Says which rows of the baseline are gone and which ids are new.
fn put_ids(bits: &mut RangeWriter<'_>, counts: &mut NumberModel, rows: &Rows<'_>, base_next: u32) {
    let (ids, base_ids) = (rows.now.1.ids(rows.now.0), rows.base.1.ids(rows.base.0));
    if ids == base_ids {
        // Nobody came and nobody went, as in most kinds.
        counts.put_count(bits, 0);
        counts.put_count(bits, 0);
        return;
    }
    let kept = bases(ids, base_ids).flatten().count();
    counts.put_count(bits, (rows.base.1.rows - kept) as u32);
    let mut gaps = NumberModel::NEW;
    let (mut next, mut gap) = (0, 0);
    for base in bases(ids, base_ids).flatten().chain([rows.base.1.rows]) {
        for _ in next..base {
            gaps.put_count(bits, gap);
            gap = 0;
        }
        (next, gap) = (base + 1, gap + 1);
    }
    let new = ids.chunks_exact(4).zip(bases(ids, base_ids)).filter(|(_, base)| base.is_none());
    let mut new = new.map(|(id, _)| id_of(id).0).peekable();
    counts.put_count(bits, (rows.now.1.rows - kept) as u32);
    if let Some(&first) = new.peek() {
        let mut gaps = NumberModel::NEW;
        let below = first < base_next;
        bits.put_bits(u64::from(below), 1);
        let mut next = if below { FIRST_ID } else { base_next };
        for id in new {
            gaps.put_count(bits, id - next);
            next = id + 1;
        }
    }
}

/// The rows of a kind, those of the baseline, and how they move between them.
struct Rows<'a> {
    kind: &'a KindEntry,
    order: Order<'a>,
    now: (&'a [u8], Columns),
    base: (&'a [u8], Columns),
    motion: Motion,
}

impl Rows<'_> {
    fn put(&self, bits: &mut RangeWriter<'_>) {
        let differ = self.may_differ();
        bits.put_bits(u64::from(differ), 1);
        let mut kept = differ.then(RowModels::new);
        let mut new = None;
        let mut newest = None;
        let mut bases = bases(self.now.1.ids(self.now.0), self.base.1.ids(self.base.0));
        for start in (0..self.now.1.rows).step_by(BLOCK) {
            let mut block = Block { start, bases: [None; BLOCK], changed: [0; BLOCK] };
            let rows = block.bases.iter_mut().zip(&mut bases).map(|(base, found)| *base = found).count();
            if differ {
                block.compare(self, rows);
            }
            for (place, base) in block.bases[..rows].iter().enumerate() {
                let row = start + place;
                match (base, &mut kept) {
                    (Some(base), Some(kept)) => {
                        let changed = block.changed[place];
                        bits.put(&mut kept.row, changed != 0);
                        if changed != 0 {
                            self.put_kept(bits, kept, changed, (row, *base));
                        }
                    }
                    (Some(_), None) => {}
                    (None, _) => {
                        self.put_new(bits, new.get_or_insert_with(RowModels::new), row, newest);
                        newest = Some(row);
                    }
                }
            }
        }
    }

    /// Whether rows of the baseline may be other than expected. Where something moves that shows row by row only.
    fn may_differ(&self) -> bool {
        let same = self.now.1.all(self.now.0) == self.base.1.all(self.base.0);
        self.base.1.rows > 0 && self.now.1.rows > 0 && (!self.kind.motions.is_empty() || !same)
    }

    /// A row that the baseline has too, and of which these columns are other than expected.
    fn put_kept(
        &self,
        bits: &mut RangeWriter<'_>,
        models: &mut RowModels,
        changed: u32,
        (row, base): (usize, usize),
    ) {
        for told in self.order.iter() {
            let differs = changed >> told.index & 1 == 1;
            let moved = told.moved_by.map(|by| changed >> by & 1 == 1);
            bits.put(models.column(told, moved), differs);
            let (new, old) = (self.row(told.index, row), self.base_row(told.index, base));
            match (differs, told.moved_by, moved) {
                (false, ..) => {}
                (true, Some(by), Some(true)) => {
                    let velocities = (self.row(by, row), self.base_row(by, base));
                    let expected = self.expected(told.index, by, base);
                    self.put_diverted(bits, models, told, (new, &expected), velocities);
                }
                (true, Some(by), _) => {
                    put_record(bits, models, told, new, Some(&self.expected(told.index, by, base)));
                }
                (true, None, _) => put_record(bits, models, told, new, Some(old)),
            }
        }
    }

    /// A row that the baseline does not have, told against the new row before it.
    fn put_new(&self, bits: &mut RangeWriter<'_>, models: &mut RowModels, row: usize, newest: Option<usize>) {
        for told in self.order.iter() {
            let old = newest.map(|newest| self.row(told.index, newest));
            let new = self.row(told.index, row);
            let differs = old.map_or_else(|| new.iter().any(|byte| *byte != 0), |old| old != new);
            bits.put(models.column(told, None), differs);
            if differs {
                put_record(bits, models, told, new, old);
            }
        }
    }

    /// A place that did not follow from the velocity before, nor did the velocity.
    fn put_diverted(
        &self,
        bits: &mut RangeWriter<'_>,
        models: &mut RowModels,
        told: &Told<'_>,
        (new, expected): (&[u8], &[u8]),
        velocities: (&[u8], &[u8]),
    ) {
        let kind = told.column.fields[0].kind;
        let turn = Turn::new(kind, velocities.0, velocities.1);
        let further = |element: usize| wire(kind, new, element) - wire(kind, expected, element);
        let guess = turn.half_way(&self.motion);
        put_element(bits, models.element(told.element), further(turn.lead) - guess, 32);
        for element in (0..turn.elements).filter(|element| *element != turn.lead) {
            let guess = turn.along(further(turn.lead), element);
            put_element(bits, models.element(told.element + 1), further(element) - guess, 32);
        }
    }

    /// Where a row is if it went on as it went in the baseline.
    fn expected(&self, index: usize, by: usize, base: usize) -> [u8; MOTION_BYTES_MAX] {
        let mut expected = [0; MOTION_BYTES_MAX];
        let old = self.base_row(index, base);
        expected[..old.len()].copy_from_slice(old);
        let grid = self.kind.columns[index].fields[0].kind;
        self.motion.advance(grid, &mut expected[..old.len()], self.base_row(by, base));
        expected
    }

    #[inline(always)]
    fn row(&self, column: usize, row: usize) -> &[u8] {
        self.now.1.row(self.now.0, column, row)
    }

    #[inline(always)]
    fn base_row(&self, column: usize, row: usize) -> &[u8] {
        self.base.1.row(self.base.0, column, row)
    }
}

/// Rows that are compared at once, column by column.
struct Block {
    /// The first row.
    start: usize,
    bases: [Option<usize>; BLOCK],
    /// For each row the columns that are other than expected, a bit each.
    changed: [u32; BLOCK],
}

const BLOCK: usize = 64;

impl Block {
    /// Compares the first so many rows with what is expected of them.
    fn compare(&mut self, rows: &Rows<'_>, count: usize) {
        let mut place = 0;
        while place < count {
            let Some(base) = self.bases[place] else {
                place += 1;
                continue;
            };
            // Rows that follow each other in both states.
            let run = (place..count).take_while(|at| self.bases[*at] == Some(base + at - place)).count();
            let changed = &mut self.changed[place..place + run];
            for told in rows.order.iter() {
                let new = rows.now.1.run(rows.now.0, told.index, self.start + place, run);
                let old = rows.base.1.run(rows.base.0, told.index, base, run);
                let Some(by) = told.moved_by else {
                    mark(told, changed, new, old);
                    continue;
                };
                let mut expected = [0; BLOCK * MOTION_BYTES_MAX];
                let expected = &mut expected[..old.len()];
                expected.copy_from_slice(old);
                let by = rows.base.1.run(rows.base.0, by, base, run);
                rows.motion.advance(told.column.fields[0].kind, expected, by);
                mark(told, changed, new, expected);
            }
            place += run;
        }
    }
}

/// Marks a column of the rows that differ.
fn mark(told: &Told<'_>, changed: &mut [u32], new: &[u8], old: &[u8]) {
    // Of the usual sizes two rows are compared by an instruction or two, without a call.
    match told.column.size {
        4 => mark_sized::<4>(told.index, changed, new, old),
        8 => mark_sized::<8>(told.index, changed, new, old),
        12 => mark_sized::<12>(told.index, changed, new, old),
        size => {
            let rows = new.chunks_exact(size).zip(old.chunks_exact(size));
            changed
                .iter_mut()
                .zip(rows)
                .for_each(|(row, (new, old))| *row |= u32::from(new != old) << told.index);
        }
    }
}

#[inline(always)]
fn mark_sized<const SIZE: usize>(index: usize, changed: &mut [u32], new: &[u8], old: &[u8]) {
    let rows = new.as_chunks::<SIZE>().0.iter().zip(old.as_chunks::<SIZE>().0);
    changed.iter_mut().zip(rows).for_each(|(row, (new, old))| *row |= u32::from(new != old) << index);
}

/// Tells a record that differs; where nothing was before, against zeros.
fn put_record(
    bits: &mut RangeWriter<'_>,
    models: &mut RowModels,
    told: &Told<'_>,
    new: &[u8],
    old: Option<&[u8]>,
) {
    let mut number = told.element;
    if told.is_plane() {
        let kind = told.column.fields[0].kind;
        let velocity = |row: &[u8]| [wire(kind, row, 0), wire(kind, row, 1)];
        let (new, old) = (velocity(new), old.map_or([0; 2], velocity));
        let is_turn = is_turn(old, new);
        bits.put(&mut models.turned, is_turn);
        if is_turn {
            put_element(bits, models.element(number), new[0] - old[0], 32);
            bits.put_bits(u64::from(new[1] < 0), 1);
            put_element(bits, &mut models.slack, new[1].abs() - turned(old, new[0]), 32);
            return;
        }
    }
    for field in told.column.fields {
        let (kind, size) = (field.kind, field.kind.size());
        let width = size as u32 * 8;
        for element in 0..field.count as usize {
            let at = field.offset as usize + element * size;
            let new = kind.to_wire(&new[at..at + size]);
            let old = old.map_or(0, |old| kind.to_wire(&old[at..at + size]));
            let change = sign_extended(new.wrapping_sub(old), width);
            let model = models.element(number);
            number += 1;
            if told.moves && change != 0 && old != 0 {
                bits.put(&mut model.changed, true);
                let negated = new == -old;
                bits.put(&mut model.negated, negated);
                if !negated {
                    model.change.put_change(bits, change, width);
                }
            } else {
                put_element(bits, model, change, width);
            }
        }
    }
}

/// Tells whether an element differs, and by how much.
#[inline]
fn put_element(bits: &mut RangeWriter<'_>, model: &mut ElementModel, change: i64, width: u32) {
    let change = sign_extended(change, width);
    bits.put(&mut model.changed, change != 0);
    if change != 0 {
        model.change.put_change(bits, change, width);
    }
}
