//! Reading a snapshot of a stranger.

use super::bits::{BitReader, BitsEnd};
use super::{COUNT_WIDTHS, DELTA_WIDTHS, FIRST_ID, element_bits};
use crate::registry::ColumnEntry;
use crate::save::{check_counts, id_of};
use crate::{ACTORS_MAX, Registry, Save, SaveError, Tick};

/// Why bytes are no snapshot against this baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bits end too early.
    #[error("the snapshot ends too early")]
    Short,
    /// Something is left over.
    #[error("bytes after the end of the snapshot")]
    Long,
    /// A row is gone that the baseline does not have, or an id comes twice, or the id counter falls.
    #[error("rows do not fit the baseline")]
    Rows,
    /// The result breaks a bound of the game's state.
    #[error("{0}")]
    State(#[from] SaveError),
}

impl From<BitsEnd> for SnapshotError {
    fn from(_: BitsEnd) -> Self {
        Self::Short
    }
}

/// Makes `into` the state at `tick` that `bytes` tell against `baseline`, and hashes it: the sender's state hash must
/// come out. Costs a copy of all columns, a read of the bytes, a check and a hash of the result; allocates only to
/// grow `into`.
///
/// # Errors
/// If the bytes are not exactly a snapshot of this game against this baseline; `into` is then empty.
pub fn decode(
    registry: &Registry,
    tick: Tick,
    baseline: Option<&Save>,
    bytes: &[u8],
    into: &mut Save,
) -> Result<(), SnapshotError> {
    let result = decode_parts(registry, baseline, bytes, into);
    into.tick = tick;
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
    baseline: Option<&Save>,
    bytes: &[u8],
    into: &mut Save,
) -> Result<(), SnapshotError> {
    let mut bits = BitReader::new(bytes);
    into.counts.clear();
    into.bytes.clear();
    into.next_actor = bits.take(32)? as u32;
    if baseline.is_some_and(|baseline| into.next_actor < baseline.next_actor) {
        return Err(SnapshotError::Rows);
    }
    let mut base_at = 0;
    for (index, kind) in registry.kinds().iter().enumerate() {
        let base_rows = baseline.map_or(0, |baseline| baseline.counts[index] as usize);
        let base_bytes = baseline.map_or(&[][..], |baseline| &baseline.bytes[..]);
        let base_ids = &base_bytes[base_at..base_at + base_rows * 4];
        base_at += base_ids.len();
        let start = into.bytes.len();
        if kind.singleton {
            into.bytes.extend_from_slice(&[0; 4]);
        } else {
            let base_next = baseline.map_or(1, |baseline| baseline.next_actor);
            take_rows(&mut bits, base_ids, base_next, &mut into.bytes)?;
        }
        let rows = (into.bytes.len() - start) / 4;
        into.counts.push(rows as u32);
        check_counts(registry, &into.counts)?;
        for column in &kind.columns[1..] {
            let old = &base_bytes[base_at..base_at + base_rows * column.size];
            base_at += old.len();
            take_column(&mut bits, column, (old, base_ids), start..start + rows * 4, &mut into.bytes)?;
        }
    }
    if bits.is_done() { Ok(()) } else { Err(SnapshotError::Long) }
}

/// Writes the ids of a kind to `out`.
fn take_rows(
    bits: &mut BitReader<'_>,
    base_ids: &[u8],
    base_next: u32,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let start = out.len();
    let mut base = base_ids.chunks_exact(4);
    let gone = bits.take_class(COUNT_WIDTHS)? as usize;
    if gone > base.len() {
        return Err(SnapshotError::Rows);
    }
    for _ in 0..gone {
        let gap = bits.take_class(COUNT_WIDTHS)? as usize;
        if gap >= base.len() {
            return Err(SnapshotError::Rows);
        }
        base.by_ref().take(gap).for_each(|id| out.extend_from_slice(id));
        base.next();
    }
    base.for_each(|id| out.extend_from_slice(id));
    let new = bits.take_class(COUNT_WIDTHS)? as usize;
    if new > ACTORS_MAX {
        return Err(SnapshotError::Rows);
    }
    if new == 0 {
        return Ok(());
    }
    let mut next = if bits.take_bit()? { FIRST_ID } else { base_next };
    let kept = out.len();
    for _ in 0..new {
        let gap = bits.take_class(COUNT_WIDTHS)? as u32;
        let id = next.checked_add(gap).ok_or(SnapshotError::Rows)?;
        next = id.checked_add(1).ok_or(SnapshotError::Rows)?;
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

/// Writes one column to the end of `out`; the kind's ids lie in `out` at `ids`.
fn take_column(
    bits: &mut BitReader<'_>,
    column: &ColumnEntry,
    (old, base_ids): (&[u8], &[u8]),
    ids: std::ops::Range<usize>,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    if !bits.take_bit()? {
        // Nothing differs, so the rows are the baseline's rows.
        if out.get(ids) != Some(base_ids) {
            return Err(SnapshotError::Rows);
        }
        out.extend_from_slice(old);
        return Ok(());
    }
    let mut base = base_ids.chunks_exact(4).zip(old.chunks_exact(column.size)).peekable();
    for id in ids.step_by(4) {
        let start = out.len();
        out.resize(start + column.size, 0);
        let (before, row) = out.split_at_mut(start);
        let own = id_of(&before[id..]);
        while base.next_if(|(base_id, _)| id_of(base_id) < own).is_some() {}
        if let Some((_, base_row)) = base.next_if(|(base_id, _)| id_of(base_id) == own) {
            row.copy_from_slice(base_row);
        }
        if bits.take_bit()? {
            take_row(bits, column, row)?;
        }
    }
    Ok(())
}

fn take_row(bits: &mut BitReader<'_>, column: &ColumnEntry, row: &mut [u8]) -> Result<(), SnapshotError> {
    for field in column.fields {
        let size = field.kind.size();
        let mut at = field.offset as usize;
        for _ in 0..field.count {
            if bits.take_bit()? {
                let [a, b, c, _] = DELTA_WIDTHS;
                let zigzag = bits.take_class([a, b, c, element_bits(field.kind)])?;
                let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                let element = &mut row[at..at + size];
                let wire = field.kind.to_wire(element).wrapping_add(delta);
                field.kind.from_wire(wire, element);
            }
            at += size;
        }
    }
    Ok(())
}
