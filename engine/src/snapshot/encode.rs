//! Writing a snapshot.

use super::bits::BitWriter;
use super::{COUNT_WIDTHS, DELTA_WIDTHS, FIRST_ID};
use crate::registry::ColumnEntry;
use crate::{Field, Registry, Save};

/// Appends the snapshot of `now` against `baseline` (a state that the receiver has; none: against an empty world).
///
/// Both must be states of `registry`'s game and the baseline must not be later. Cost: about one comparison of all
/// columns, plus the elements that differ. Allocates only to grow `out`.
///
/// # Panics
/// If the baseline has a larger id counter than `now`, or a save is not of `registry`'s game.
pub fn encode(registry: &Registry, now: &Save, baseline: Option<&Save>, out: &mut Vec<u8>) {
    let base_next = baseline.map_or(1, |baseline| baseline.next_actor);
    assert!(base_next <= now.next_actor, "a baseline is never later than what is encoded against it");
    let mut bits = BitWriter::new(out);
    bits.put(u64::from(now.next_actor), 32);
    let (mut at, mut base_at) = (0, 0);
    for (index, kind) in registry.kinds().iter().enumerate() {
        let rows = now.counts[index] as usize;
        let base_rows = baseline.map_or(0, |baseline| baseline.counts[index] as usize);
        let base_bytes = baseline.map_or(&[][..], |baseline| &baseline.bytes[..]);
        let ids: &[u8] = &now.bytes[at..at + rows * 4];
        let base_ids: &[u8] = &base_bytes[base_at..base_at + base_rows * 4];
        at += ids.len();
        base_at += base_ids.len();
        if !kind.singleton {
            put_rows(&mut bits, ids, base_ids, base_next);
        }
        for column in &kind.columns[1..] {
            let new = &now.bytes[at..at + rows * column.size];
            let old = &base_bytes[base_at..base_at + base_rows * column.size];
            at += new.len();
            base_at += old.len();
            put_column(&mut bits, column, (new, ids), (old, base_ids));
        }
    }
    bits.finish();
}

/// Says which rows of the baseline are gone and which ids are new.
fn put_rows(bits: &mut BitWriter<'_>, ids: &[u8], base_ids: &[u8], base_next: u32) {
    let kept = bases(ids, base_ids).flatten().count();
    bits.put_class((base_ids.len() / 4 - kept) as u64, COUNT_WIDTHS);
    let (mut next, mut gap) = (0, 0);
    for base in bases(ids, base_ids).flatten().chain([base_ids.len() / 4]) {
        for _ in next..base {
            bits.put_class(gap, COUNT_WIDTHS);
            gap = 0;
        }
        (next, gap) = (base + 1, gap + 1);
    }
    let new = ids.chunks_exact(4).map(id).zip(bases(ids, base_ids)).filter(|(_, base)| base.is_none());
    let mut new = new.map(|(id, _)| id).peekable();
    bits.put_class((ids.len() / 4 - kept) as u64, COUNT_WIDTHS);
    if let Some(&first) = new.peek() {
        let below = first < base_next;
        bits.put(u64::from(below), 1);
        let mut next = if below { FIRST_ID } else { base_next };
        for id in new {
            bits.put_class(u64::from(id - next), COUNT_WIDTHS);
            next = id + 1;
        }
    }
}

/// For each row its place in the baseline, if it was there. Both lists ascend.
fn bases(ids: &[u8], base_ids: &[u8]) -> impl Iterator<Item = Option<usize>> {
    let mut base = base_ids.chunks_exact(4).map(id).enumerate().peekable();
    ids.chunks_exact(4).map(id).map(move |own| {
        while base.next_if(|(_, base)| *base < own).is_some() {}
        base.next_if(|(_, base)| *base == own).map(|(place, _)| place)
    })
}

fn put_column(
    bits: &mut BitWriter<'_>,
    column: &ColumnEntry,
    (new, ids): (&[u8], &[u8]),
    (old, base_ids): (&[u8], &[u8]),
) {
    if new == old && ids == base_ids {
        bits.put(0, 1);
        return;
    }
    bits.put(1, 1);
    let zero = [0_u8; ZERO_BYTES];
    for (row, base) in new.chunks_exact(column.size).zip(bases(ids, base_ids)) {
        match base {
            Some(place) => put_row(bits, column, row, &old[place * column.size..][..column.size]),
            None if column.size <= ZERO_BYTES => put_row(bits, column, row, &zero[..column.size]),
            None => put_row(bits, column, row, &vec![0; column.size]),
        }
    }
}

/// Records up to this size need no buffer for their empty base.
const ZERO_BYTES: usize = 256;

fn put_row(bits: &mut BitWriter<'_>, column: &ColumnEntry, row: &[u8], base: &[u8]) {
    if row == base {
        bits.put(0, 1);
        return;
    }
    bits.put(1, 1);
    for field in column.fields {
        // Each size by itself, so that an element is compared and read as one number.
        match field.kind.size() {
            1 => put_elements::<1>(bits, field, row, base),
            2 => put_elements::<2>(bits, field, row, base),
            4 => put_elements::<4>(bits, field, row, base),
            _ => put_elements::<8>(bits, field, row, base),
        }
    }
}

#[inline(always)]
fn put_elements<const SIZE: usize>(bits: &mut BitWriter<'_>, field: &Field, row: &[u8], base: &[u8]) {
    let Field { kind, offset, count, .. } = *field;
    let place = offset as usize..offset as usize + count as usize * SIZE;
    let (new, old) = (row[place.clone()].as_chunks::<SIZE>().0, base[place].as_chunks::<SIZE>().0);
    let [a, b, c, _] = DELTA_WIDTHS;
    let widths = [a, b, c, SIZE as u32 * 8];
    for (new, old) in new.iter().zip(old) {
        if new == old {
            bits.put(0, 1);
            continue;
        }
        let delta = kind.to_wire(new).wrapping_sub(kind.to_wire(old));
        let unused = 64 - SIZE as u32 * 8;
        let delta = delta << unused >> unused;
        bits.put(1, 1);
        bits.put_class(((delta << 1) ^ (delta >> 63)) as u64, widths);
    }
}

fn id(row: &[u8]) -> u32 {
    crate::save::id_of(row).0
}
