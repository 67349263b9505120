//! Where the rows of a kind lie among the bytes of a save, and which rows of two saves belong together.

use super::models::COLUMNS_MAX;
use crate::FieldKind;
use crate::registry::{ColumnEntry, KindEntry};
use crate::save::id_of;

/// Where the columns of a kind begin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns {
    starts: [usize; COLUMNS_MAX],
    sizes: [usize; COLUMNS_MAX],
    pub(super) rows: usize,
    /// Where the kind ends.
    pub(super) end: usize,
}

impl Columns {
    /// The columns of so many rows of a kind whose ids begin at `start`.
    pub(super) fn of(kind: &KindEntry, start: usize, rows: usize) -> Self {
        let mut columns = Self { rows, end: start, ..Self::default() };
        for (index, column) in kind.columns.iter().enumerate() {
            columns.starts[index] = columns.end;
            columns.sizes[index] = column.size;
            columns.end += rows * column.size;
        }
        columns
    }

    /// The same columns where the ids are not among the bytes.
    pub(super) fn behind_ids(mut self) -> Self {
        let ids = self.starts[1];
        self.starts.iter_mut().skip(1).for_each(|start| *start = start.saturating_sub(ids));
        self.end -= ids;
        self
    }

    #[inline(always)]
    pub(super) fn row<'a>(&self, bytes: &'a [u8], column: usize, row: usize) -> &'a [u8] {
        let size = self.sizes[column];
        &bytes[self.starts[column] + row * size..][..size]
    }

    /// So many rows from this one on.
    pub(super) fn run<'a>(&self, bytes: &'a [u8], column: usize, row: usize, count: usize) -> &'a [u8] {
        let size = self.sizes[column];
        &bytes[self.starts[column] + row * size..][..count * size]
    }

    #[inline(always)]
    pub(super) fn row_mut<'a>(&self, bytes: &'a mut [u8], column: usize, row: usize) -> &'a mut [u8] {
        let size = self.sizes[column];
        &mut bytes[self.starts[column] + row * size..][..size]
    }

    pub(super) fn copy_row(&self, bytes: &mut [u8], column: usize, from: usize, to: usize) {
        let (start, size) = (self.starts[column], self.sizes[column]);
        bytes.copy_within(start + from * size..start + (from + 1) * size, start + to * size);
    }

    /// All columns.
    pub(super) fn all<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.starts[0]..self.end]
    }

    pub(super) fn ids<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.starts[0]..][..self.rows * 4]
    }
}

/// An element of a record that is all of one kind, as the number on the wire.
#[inline(always)]
pub(super) fn wire(kind: FieldKind, row: &[u8], element: usize) -> i64 {
    let size = kind.size();
    kind.to_wire(&row[element * size..][..size])
}

/// The number that the lowest `width` bits stand for.
#[inline(always)]
pub(super) fn sign_extended(number: i64, width: u32) -> i64 {
    let unused = 64 - width;
    number << unused >> unused
}

/// What is told of a column of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) column: &'a ColumnEntry,
    pub(super) index: usize,
    /// The number of its first element within the kind.
    pub(super) element: usize,
    /// Whether another column is moved by it.
    pub(super) moves: bool,
    /// The column that it is moved by.
    pub(super) moved_by: Option<usize>,
}

impl Told<'_> {
    /// Whether it is a velocity of two elements, which turns more often than it changes its size.
    pub(super) fn is_plane(&self) -> bool {
        self.moves && self.column.size == 8
    }
}

/// The columns of a kind in the order in which they are told: what is moved comes last.
pub(super) struct Order<'a> {
    columns: [Option<Told<'a>>; COLUMNS_MAX],
}

impl<'a> Order<'a> {
    pub(super) fn of(kind: &'a KindEntry) -> Self {
        let mut order = Self { columns: [None; COLUMNS_MAX] };
        let mut places = order.columns.iter_mut();
        for is_moved in [false, true] {
            let mut element = 0;
            for (index, column) in kind.columns.iter().enumerate().skip(1) {
                let moves = kind.motions.iter().any(|(_, by)| *by == index);
                let moved_by = kind.motions.iter().find(|(moved, _)| *moved == index).map(|(_, by)| *by);
                if moved_by.is_some() == is_moved {
                    let told = Told { column, index, element, moves, moved_by };
                    *places.next().expect("a kind has its bound of columns") = Some(told);
                }
                element += column.fields.iter().map(|field| field.count as usize).sum::<usize>();
            }
        }
        order
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Told<'a>> {
        self.columns.iter().map_while(Option::as_ref)
    }
}

/// For each row its place in the baseline, if it was there. Both lists of ids ascend.
pub(super) fn bases(ids: &[u8], base_ids: &[u8]) -> impl Iterator<Item = Option<usize>> {
    let mut base = base_ids.chunks_exact(4).map(|id| id_of(id).0).enumerate().peekable();
    ids.chunks_exact(4).map(|id| id_of(id).0).map(move |own| {
        while base.next_if(|(_, base)| *base < own).is_some() {}
        base.next_if(|(_, base)| *base == own).map(|(place, _)| place)
    })
}
