//! A record's fields one by one, as people read them.

use tiltyard_engine::{Field, Record, bytemuck};

/// Every element of every field: its name (with its number for arrays and vectors) and its value.
pub(crate) fn of<R: Record>(record: &R) -> impl Iterator<Item = (String, String)> {
    let bytes = bytemuck::bytes_of(record);
    elements(R::FIELDS).map(move |(name, field, at)| (name, field.kind.show(&bytes[at..])))
}

/// Every element of the fields: its name, its field, and its first byte.
pub(crate) fn elements(fields: &'static [Field]) -> impl Iterator<Item = (String, &'static Field, usize)> {
    fields.iter().flat_map(|field| {
        (0..field.count as usize).map(move |element| {
            let name =
                if field.count == 1 { field.name.to_owned() } else { format!("{}[{element}]", field.name) };
            (name, field, field.offset as usize + element * field.kind.size())
        })
    })
}
