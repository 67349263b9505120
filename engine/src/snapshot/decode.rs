//! Reading a snapshot of a stranger.

use super::FIRST_ID;
use super::columns::{Columns, Order, Told, bases, wire};
use super::models::{ElementModel, NumberModel, RowModels};
use super::motion::{Motion, Turn, turned};
use super::range::{RangeEnd, RangeReader};
use crate::registry::KindEntry;
use crate::save::check_counts;
use crate::{ACTORS_MAX, FieldKind, Registry, Save, SaveError, Tick, TickRate};

/// Why bytes are no snapshot against this baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The answers end too early.
    #[error("the snapshot ends too early")]
    Short,
    /// Something is left over.
    #[error("bytes after the end of the snapshot")]
    Long,
    /// A row is gone that the baseline does not have, or an id comes twice or is too large.
    #[error("rows do not fit the baseline")]
    Rows,
    /// The result breaks a bound of the game's state.
    #[error("{0}")]
    State(#[from] SaveError),
}

impl From<RangeEnd> for SnapshotError {
    fn from(_: RangeEnd) -> Self {
        Self::Short
    }
}

/// Makes `into` the state at `tick` that `bytes` tell against `baseline` in a battle of this rate, and hashes it: the
/// sender's state hash must come out. Costs a copy of all columns, a few additions for every row that moves and tick
/// that the baseline is older, a read of the bytes, a check and a hash of the result; allocates only to grow `into`.
///
/// # Errors
/// If the bytes are not exactly a snapshot of this game against this baseline; `into` is then empty. A torn or changed
/// snapshot may be one of another state, which only the hash tells.
pub fn decode(
    registry: &Registry,
    rate: TickRate,
    tick: Tick,
    baseline: Option<&Save>,
    bytes: &[u8],
    into: &mut Save,
) -> Result<(), SnapshotError> {
    into.tick = tick;
    into.counts.clear();
    into.bytes.clear();
    let result = decode_parts(registry, rate, baseline, bytes, into);
    let result = result.and_then(|()| Ok(into.check(registry)?));
    match result {
        Ok(()) => into.rehash(registry),
        Err(_) => {
            into.counts.clear();
            into.bytes.clear();
        }
    }
    result
}

fn decode_parts(
    registry: &Registry,
    rate: TickRate,
    baseline: Option<&Save>,
    bytes: &[u8],
    into: &mut Save,
) -> Result<(), SnapshotError> {
    let mut bits = RangeReader::new(bytes)?;
    let base_next = baseline.map_or(FIRST_ID, |baseline| baseline.next_actor);
    let base_bytes = baseline.map_or(&[][..], |baseline| &baseline.bytes[..]);
    let motion = Motion::new(rate, baseline.map_or(0, |baseline| into.tick.since(baseline.tick)));
    let mut counts = NumberModel::NEW;
    into.next_actor = later_id(base_next, counts.take_count(&mut bits)?)?;
    let mut base_at = 0;
    for (index, kind) in registry.kinds().iter().enumerate() {
        let base_rows = baseline.map_or(0, |baseline| baseline.counts[index] as usize);
        let base_columns = Columns::of(kind, base_at, base_rows);
        base_at = base_columns.end;
        let start = into.bytes.len();
        if kind.singleton {
            into.bytes.extend_from_slice(&[0; 4]);
        } else {
            take_ids(&mut bits, &mut counts, base_columns.ids(base_bytes), base_next, &mut into.bytes)?;
        }
        let rows = (into.bytes.len() - start) / 4;
        into.counts.push(rows as u32);
        check_counts(registry, &into.counts)?;
        let columns = Columns::of(kind, 0, rows);
        into.bytes.resize(start + columns.end, 0);
        let (ids, rest) = into.bytes[start..].split_at_mut(rows * 4);
        let base = (base_bytes, base_columns);
        let order = Order::of(kind);
        let mut rows = Rows { kind, columns: columns.behind_ids(), rows: rest, base, motion };
        rows.take(&mut bits, &order, ids)?;
    }
    if bits.is_done() { Ok(()) } else { Err(SnapshotError::Long) }
}

/// The id so much later.
fn later_id(id: u32, gap: u64) -> Result<u32, SnapshotError> {
    u32::try_from(gap).ok().and_then(|gap| id.checked_add(gap)).ok_or(SnapshotError::Rows)
}

/// Writes the ids of a kind to `out`.
fn take_ids(
    bits: &mut RangeReader<'_>,
    counts: &mut NumberModel,
    base_ids: &[u8],
    base_next: u32,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let start = out.len();
    let mut base = base_ids.chunks_exact(4);
    let gone = counts.take_count(bits)?;
    if gone > base.len() as u64 {
        return Err(SnapshotError::Rows);
    }
    let mut gaps = NumberModel::NEW;
    for _ in 0..gone {
        let gap = gaps.take_count(bits)?;
        if gap >= base.len() as u64 {
            return Err(SnapshotError::Rows);
        }
        base.by_ref().take(gap as usize).for_each(|id| out.extend_from_slice(id));
        base.next();
    }
    base.for_each(|id| out.extend_from_slice(id));
    let new = counts.take_count(bits)?;
    if new > ACTORS_MAX as u64 {
        return Err(SnapshotError::Rows);
    }
    if new == 0 {
        return Ok(());
    }
    let mut gaps = NumberModel::NEW;
    let mut next = if bits.take_bits(1)? == 1 { FIRST_ID } else { base_next };
    let kept = out.len();
    for _ in 0..new {
        let id = later_id(next, gaps.take_count(bits)?)?;
        next = later_id(id, 1)?;
        out.extend_from_slice(&id.to_le_bytes());
    }
    merge(&mut out[start..], kept - start);
    Ok(())
}

/// Brings two ascending runs of ids, of which the second begins at byte `middle`, into one order.
fn merge(ids: &mut [u8], middle: usize) {
    let (ids, _) = ids.as_chunks_mut::<4>();
    let number = |id: &[u8; 4]| u32::from_le_bytes(*id);
    let middle = middle / 4;
    let sorted = middle == 0 || number(&ids[middle - 1]) < number(&ids[middle]);
    if !sorted {
        // In place and without a buffer; equal ids stay and are refused with the whole state.
        ids.sort_unstable_by_key(number);
    }
}

/// The rows of a kind but for their ids, those of the baseline, and how they move between them.
struct Rows<'a> {
    kind: &'a KindEntry,
    columns: Columns,
    rows: &'a mut [u8],
    base: (&'a [u8], Columns),
    motion: Motion,
}

impl Rows<'_> {
    fn take(&mut self, bits: &mut RangeReader<'_>, order: &Order<'_>, ids: &[u8]) -> Result<(), RangeEnd> {
        let mut kept = (bits.take_bits(1)? == 1).then(RowModels::new);
        let mut new = None;
        let mut newest = None;
        for (row, base) in bases(ids, self.base.1.ids(self.base.0)).enumerate() {
            match base {
                Some(base) => {
                    self.expect(row, base);
                    if let Some(kept) = &mut kept {
                        self.take_kept(bits, kept, order, (row, base))?;
                    }
                }
                None => {
                    self.take_new(bits, new.get_or_insert_with(RowModels::new), order, (row, newest))?;
                    newest = Some(row);
                }
            }
        }
        Ok(())
    }

    /// Makes a row what it is if it went on as it went in the baseline.
    fn expect(&mut self, row: usize, base: usize) {
        for index in 1..self.kind.columns.len() {
            let old = self.base.1.row(self.base.0, index, base);
            self.columns.row_mut(self.rows, index, row).copy_from_slice(old);
        }
        for &(index, by) in &self.kind.motions {
            let grid = self.kind.columns[index].fields[0].kind;
            let by = self.base.1.row(self.base.0, by, base);
            self.motion.advance(grid, self.columns.row_mut(self.rows, index, row), by);
        }
    }

    /// Changes a row that is as expected into what it is.
    fn take_kept(
        &mut self,
        bits: &mut RangeReader<'_>,
        models: &mut RowModels,
        order: &Order<'_>,
        (row, base): (usize, usize),
    ) -> Result<(), RangeEnd> {
        if !bits.take(&mut models.row)? {
            return Ok(());
        }
        let mut changed = 0_u32;
        for told in order.iter() {
            let moved = told.moved_by.map(|by| changed >> by & 1 == 1);
            if !bits.take(models.column(told, moved))? {
                continue;
            }
            changed |= 1 << told.index;
            match (told.moved_by, moved) {
                (Some(by), Some(true)) => self.take_diverted(bits, models, told, by, (row, base))?,
                _ => take_record(bits, models, told, self.columns.row_mut(self.rows, told.index, row))?,
            }
        }
        Ok(())
    }

    /// A row that the baseline does not have, told against the new row before it.
    fn take_new(
        &mut self,
        bits: &mut RangeReader<'_>,
        models: &mut RowModels,
        order: &Order<'_>,
        (row, newest): (usize, Option<usize>),
    ) -> Result<(), RangeEnd> {
        for told in order.iter() {
            if let Some(newest) = newest {
                self.columns.copy_row(self.rows, told.index, newest, row);
            }
            if bits.take(models.column(told, None))? {
                take_record(bits, models, told, self.columns.row_mut(self.rows, told.index, row))?;
            }
        }
        Ok(())
    }

    /// A place that did not follow from the velocity before, nor did the velocity.
    fn take_diverted(
        &mut self,
        bits: &mut RangeReader<'_>,
        models: &mut RowModels,
        told: &Told<'_>,
        by: usize,
        (row, base): (usize, usize),
    ) -> Result<(), RangeEnd> {
        let kind = told.column.fields[0].kind;
        let velocities = (self.columns.row(self.rows, by, row), self.base.1.row(self.base.0, by, base));
        let turn = Turn::new(kind, velocities.0, velocities.1);
        let place = self.columns.row_mut(self.rows, told.index, row);
        let expected = wire(kind, place, turn.lead);
        let guess = turn.half_way(&self.motion);
        let change = take_element(bits, models.element(told.element), 32)?;
        add(kind, place, turn.lead, guess + change);
        let further = wire(kind, place, turn.lead) - expected;
        for element in (0..turn.elements).filter(|element| *element != turn.lead) {
            let guess = turn.along(further, element);
            let change = take_element(bits, models.element(told.element + 1), 32)?;
            add(kind, place, element, guess + change);
        }
        Ok(())
    }
}

/// Changes a record into what it is.
fn take_record(
    bits: &mut RangeReader<'_>,
    models: &mut RowModels,
    told: &Told<'_>,
    row: &mut [u8],
) -> Result<(), RangeEnd> {
    let mut number = told.element;
    if told.is_plane() && bits.take(&mut models.turned)? {
        let kind = told.column.fields[0].kind;
        let old = [wire(kind, row, 0), wire(kind, row, 1)];
        let change = take_element(bits, models.element(number), 32)?;
        add(kind, row, 0, change);
        let negative = bits.take_bits(1)? == 1;
        let size = turned(old, wire(kind, row, 0)).wrapping_add(take_element(bits, &mut models.slack, 32)?);
        kind.from_wire(if negative { size.wrapping_neg() } else { size }, &mut row[4..]);
        return Ok(());
    }
    for field in told.column.fields {
        let (kind, size) = (field.kind, field.kind.size());
        for element in 0..field.count as usize {
            let at = field.offset as usize + element * size;
            let place = &mut row[at..at + size];
            let old = kind.to_wire(place);
            let model = models.element(number);
            number += 1;
            if told.moves && old != 0 {
                if bits.take(&mut model.changed)? {
                    let negated = bits.take(&mut model.negated)?;
                    let change =
                        if negated { -2 * old } else { model.change.take_change(bits, size as u32 * 8)? };
                    add(kind, place, 0, change);
                }
            } else {
                add(kind, place, 0, take_element(bits, model, size as u32 * 8)?);
            }
        }
    }
    Ok(())
}

/// By how much an element differs.
#[inline]
fn take_element(bits: &mut RangeReader<'_>, model: &mut ElementModel, width: u32) -> Result<i64, RangeEnd> {
    if bits.take(&mut model.changed)? { model.change.take_change(bits, width) } else { Ok(0) }
}

/// Adds to an element of a record that is all of one kind, in the element's own width.
#[inline]
fn add(kind: FieldKind, row: &mut [u8], element: usize, change: i64) {
    if change != 0 {
        let size = kind.size();
        let place = &mut row[element * size..][..size];
        kind.from_wire(kind.to_wire(place).wrapping_add(change), place);
    }
}
