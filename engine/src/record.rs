//! Plain-old-data records: what components, singletons, inputs, events and setups are made of.
//!
//! A record is a flat struct whose fields the engine knows by name, type and place. That gives, without a line
//! from the game's author: save and restore by memory copy, the state hash, wire-exact snapping, snapshots,
//! refusal of hostile bytes, and a desync report that names the field.

use bytemuck::Pod;

/// A flat, fixed-size value with named fields. Made by [`record!`](crate::record), never by hand.
pub trait Record: Pod + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The record's name, unique within a game.
    const NAME: &'static str;
    /// The fields in order of declaration; they cover every byte of the record.
    const FIELDS: &'static [Field];

    /// Brings every float to its one stored form: on its grid if it has one, no NaN, no negative zero.
    ///
    /// Systems may write any float; this runs over all state at the end of each tick.
    fn canonicalise(&mut self);

    /// [`Record::canonicalise`] for many rows. Where all values of some rows are of everyday size it takes two
    /// additions a float.
    fn canonicalise_rows(rows: &mut [Self]) {
        rows.iter_mut().for_each(Self::canonicalise);
    }

    /// Reads a record from bytes of a stranger.
    ///
    /// # Errors
    /// If the length differs, or a float is not finite.
    fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let expected = size_of::<Self>();
        if bytes.len() != expected {
            return Err(RecordError::Length { expected, found: bytes.len() });
        }
        let record: Self = bytemuck::pod_read_unaligned(bytes);
        match first_unfit_float(Self::FIELDS, bytemuck::bytes_of(&record)) {
            Some(field) => Err(RecordError::NotFinite { field }),
            None => Ok(record),
        }
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes have another length than the record.
    #[error("{found} bytes instead of {expected}")]
    Length {
        /// The record's size in bytes.
        expected: usize,
        /// How many bytes there were.
        found: usize,
    },
    /// A float is infinite or not a number.
    #[error("field {field} is not a finite number")]
    NotFinite {
        /// The field's name.
        field: &'static str,
    },
}

/// A field of a record: where it lies and how it is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// Its first byte within the record.
    pub offset: u32,
    /// What one element is.
    pub kind: FieldKind,
    /// How many elements lie in a row: 1, or the length of an array.
    pub count: u32,
}

/// What one element of a field is, in memory and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Unsigned, 1 byte.
    U8,
    /// Unsigned, 2 bytes.
    U16,
    /// Unsigned, 4 bytes.
    U32,
    /// Unsigned, 8 bytes.
    U64,
    /// Signed, 1 byte.
    I8,
    /// Signed, 2 bytes.
    I16,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 8 bytes.
    I64,
    /// A float whose 32 bits are kept as they are.
    F32,
    /// A float that is a whole multiple of 1 / `per_unit` (a power of two) at the end of every tick.
    Grid {
        /// Steps per unit.
        per_unit: u32,
    },
}

impl FieldKind {
    /// The element's size in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 | Self::Grid { .. } => 4,
            Self::U64 | Self::I64 => 8,
        }
    }

    /// Whether the element is a float.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::Grid { .. })
    }

    /// The element at the start of `bytes` as the integer that the wire carries. Exact for canonical values.
    ///
    /// # Panics
    /// If `bytes` is shorter than [`FieldKind::size`].
    #[inline]
    #[must_use]
    pub fn to_wire(self, bytes: &[u8]) -> i64 {
        match self {
            Self::U8 => i64::from(bytes[0]),
            Self::I8 => i64::from(bytes[0] as i8),
            Self::U16 => i64::from(u16::from_le_bytes(first(bytes))),
            Self::I16 => i64::from(i16::from_le_bytes(first(bytes))),
            Self::U32 | Self::F32 => i64::from(u32::from_le_bytes(first(bytes))),
            Self::I32 => i64::from(i32::from_le_bytes(first(bytes))),
            Self::U64 | Self::I64 => i64::from_le_bytes(first(bytes)),
            Self::Grid { per_unit } => i64::from((f32::from_le_bytes(first(bytes)) * per_unit as f32) as i32),
        }
    }

    /// Writes the element that `wire` stands for to the start of `bytes`.
    ///
    /// A value that the kind cannot hold is cut to its low bits: callers that read from a stranger compare
    /// [`FieldKind::to_wire`] of the result when they care.
    ///
    /// # Panics
    /// If `bytes` is shorter than [`FieldKind::size`].
    pub fn from_wire(self, wire: i64, bytes: &mut [u8]) {
        let raw = match self {
            Self::Grid { per_unit } => {
                let value = (wire as i32) as f32 / per_unit as f32;
                u64::from(value.to_bits())
            }
            _ => wire as u64,
        };
        let size = self.size();
        bytes[..size].copy_from_slice(&raw.to_le_bytes()[..size]);
    }

    /// The element at the start of `bytes` as a person reads it. Costs an allocation.
    ///
    /// # Panics
    /// If `bytes` is shorter than [`FieldKind::size`].
    #[must_use]
    pub fn show(self, bytes: &[u8]) -> String {
        match self {
            Self::F32 | Self::Grid { .. } => format!("{}", f32::from_le_bytes(first(bytes))),
            Self::U64 => format!("{}", u64::from_le_bytes(first(bytes))),
            _ => format!("{}", self.to_wire(bytes)),
        }
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a field lies within its record")
}

/// The name of the first float in `bytes` (one record) that is infinite or not a number.
#[must_use]
pub(crate) fn first_unfit_float(fields: &[Field], bytes: &[u8]) -> Option<&'static str> {
    for field in fields {
        if field.kind.is_float() {
            for element in 0..field.count as usize {
                let at = field.offset as usize + element * 4;
                if !f32::from_le_bytes(first(&bytes[at..])).is_finite() {
                    return Some(field.name);
                }
            }
        }
    }
    None
}

/// A type that a record's field may have. A game may add its own, such as a number with a meaning over one of these.
pub trait FieldType: Pod {
    /// What one element is.
    const KIND: FieldKind;
    /// How many elements lie in a row.
    const COUNT: u32;

    /// Brings floats to their stored form; `per_unit` is 0 for a field without a grid.
    fn canonicalise(&mut self, per_unit: u32);

    /// Whether every float is a number of everyday size, so that the short way to its stored form is right.
    #[inline(always)]
    fn is_everyday(&self, _per_unit: u32) -> bool {
        true
    }

    /// The short way to the stored form.
    #[inline(always)]
    fn canonicalise_everyday(&mut self, per_unit: u32) {
        self.canonicalise(per_unit);
    }
}

macro_rules! integer_field {
    ($($type:ty => $kind:ident),* $(,)?) => {$(
        impl FieldType for $type {
            const KIND: FieldKind = FieldKind::$kind;
            const COUNT: u32 = 1;

            #[inline(always)]
            fn canonicalise(&mut self, _per_unit: u32) {}
        }
    )*};
}

integer_field! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    crate::Tick => U32, crate::Seat => U16, crate::Team => U8, crate::ActorId => U32,
}

impl FieldType for f32 {
    const KIND: FieldKind = FieldKind::F32;
    const COUNT: u32 = 1;

    #[inline(always)]
    fn canonicalise(&mut self, per_unit: u32) {
        *self = if per_unit == 0 { plain(*self) } else { snap(*self, per_unit as f32) };
    }

    #[inline(always)]
    fn is_everyday(&self, per_unit: u32) -> bool {
        // False for NaN.
        self.abs() < if per_unit == 0 { f32::INFINITY } else { 4_194_304.0 / per_unit as f32 }
    }

    /// Floats from 2²³ to 2²⁴ have steps of 1: adding their middle rounds to whole numbers, halves to the even one, and
    /// taking it off is exact and gives no −0. The same holds for any grid whose steps are a power of two.
    #[inline(always)]
    fn canonicalise_everyday(&mut self, per_unit: u32) {
        let middle = if per_unit == 0 { 0.0 } else { 12_582_912.0 / per_unit as f32 };
        *self = (*self + middle) - middle;
    }
}

impl FieldType for glam::Vec2 {
    const KIND: FieldKind = FieldKind::F32;
    const COUNT: u32 = 2;

    #[inline(always)]
    fn canonicalise(&mut self, per_unit: u32) {
        self.x.canonicalise(per_unit);
        self.y.canonicalise(per_unit);
    }

    #[inline(always)]
    fn is_everyday(&self, per_unit: u32) -> bool {
        self.x.is_everyday(per_unit) & self.y.is_everyday(per_unit)
    }

    #[inline(always)]
    fn canonicalise_everyday(&mut self, per_unit: u32) {
        self.x.canonicalise_everyday(per_unit);
        self.y.canonicalise_everyday(per_unit);
    }
}

impl FieldType for glam::Vec3 {
    const KIND: FieldKind = FieldKind::F32;
    const COUNT: u32 = 3;

    #[inline(always)]
    fn canonicalise(&mut self, per_unit: u32) {
        self.x.canonicalise(per_unit);
        self.y.canonicalise(per_unit);
        self.z.canonicalise(per_unit);
    }

    #[inline(always)]
    fn is_everyday(&self, per_unit: u32) -> bool {
        self.x.is_everyday(per_unit) & self.y.is_everyday(per_unit) & self.z.is_everyday(per_unit)
    }

    #[inline(always)]
    fn canonicalise_everyday(&mut self, per_unit: u32) {
        self.x.canonicalise_everyday(per_unit);
        self.y.canonicalise_everyday(per_unit);
        self.z.canonicalise_everyday(per_unit);
    }
}

impl<T: FieldType, const N: usize> FieldType for [T; N]
where
    [T; N]: Pod,
{
    const KIND: FieldKind = T::KIND;
    const COUNT: u32 = T::COUNT * N as u32;

    #[inline(always)]
    fn canonicalise(&mut self, per_unit: u32) {
        for element in self {
            element.canonicalise(per_unit);
        }
    }

    #[inline(always)]
    fn is_everyday(&self, per_unit: u32) -> bool {
        self.iter().fold(true, |everyday, element| everyday & element.is_everyday(per_unit))
    }

    #[inline(always)]
    fn canonicalise_everyday(&mut self, per_unit: u32) {
        for element in self {
            element.canonicalise_everyday(per_unit);
        }
    }
}

/// The nearest multiple of `1 / per_unit`, halves to the even one; NaN gives 0, and so does −0.
///
/// Multiples beyond ±2³¹, which the wire could not carry, become those. Exact on every platform: adding 2²³ rounds,
/// floats from there on have no fraction, and the division is by a power of two. A conversion to `i32` would do the
/// same, but keeps the loop over a column from being vectorised well.
#[inline(always)]
#[must_use]
pub fn snap(value: f32, per_unit: f32) -> f32 {
    const WHOLE: f32 = 8_388_608.0;
    const MOST: f32 = 2_147_483_648.0;
    let scaled = value * per_unit;
    let size = scaled.abs();
    let rounded = if size < WHOLE { (size + WHOLE) - WHOLE } else { size };
    let bounded = if rounded < MOST { rounded } else { MOST };
    let number = if scaled.is_nan() { 0.0 } else { bounded };
    number.copysign(scaled) / per_unit + 0.0
}

/// The float itself, with NaN made 0 and −0 made 0.
#[inline(always)]
fn plain(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value + 0.0 }
}

/// Declares records: flat structs with named fields, [`Record`] and the traits it needs.
///
/// Fields are fixed-width integers, `f32`, glam's `Vec2` and `Vec3`, the engine's ids and whatever else is a
/// [`FieldType`](crate::FieldType), and arrays of these. There may be no padding between fields: the compiler refuses
/// it, so put wide fields first and fill up with narrow ones. The default is all zero.
///
/// `=> grid(N)` keeps a float at whole multiples of 1/N (N a power of two): the end of each tick snaps it, so that what
/// the wire carries equals the state, in fewer bits than a float without a grid. Values are kept within ±2³¹ steps. For
/// places and speeds 4,096 (0.24 mm) loses nothing that shows; a coarse grid eats slow movement.
///
/// The package that uses it has to depend on `tiltyard-engine` by that name.
///
/// ```
/// tiltyard_engine::record! {
///     /// Where an actor stands, in metres.
///     pub struct Position {
///         pub at: glam::Vec2 => grid(4096),
///         pub floor: u32,
///     }
/// }
/// use tiltyard_engine::Record;
/// assert_eq!(Position::FIELDS[1].name, "floor");
/// ```
#[macro_export]
macro_rules! record {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty $(=> grid($per_unit:literal))? ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, $crate::bytemuck::Pod, $crate::bytemuck::Zeroable)]
        #[bytemuck(crate = "::tiltyard_engine::bytemuck")]
        #[repr(C)]
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field : $type, )*
        }

        impl $crate::Record for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::Field] = &[$(
                $crate::Field {
                    name: stringify!($field),
                    offset: ::core::mem::offset_of!($name, $field) as u32,
                    kind: $crate::record_field_kind!($type $(, $per_unit)?),
                    count: <$type as $crate::FieldType>::COUNT,
                },
            )*];

            #[inline(always)]
            fn canonicalise(&mut self) {
                $( $crate::FieldType::canonicalise(&mut self.$field, 0 $(+ $per_unit)?); )*
            }

            fn canonicalise_rows(rows: &mut [Self]) {
                for rows in rows.chunks_mut(64) {
                    let mut everyday = true;
                    for row in &*rows {
                        $( everyday &= $crate::FieldType::is_everyday(&row.$field, 0 $(+ $per_unit)?); )*
                    }
                    if everyday {
                        for row in rows {
                            $( $crate::FieldType::canonicalise_everyday(&mut row.$field, 0 $(+ $per_unit)?); )*
                        }
                    } else {
                        rows.iter_mut().for_each($crate::Record::canonicalise);
                    }
                }
            }
        }
    )*};
}

/// The kind of a field; part of [`record!`].
#[doc(hidden)]
#[macro_export]
macro_rules! record_field_kind {
    ($type:ty) => {
        <$type as $crate::FieldType>::KIND
    };
    ($type:ty, $per_unit:literal) => {{
        const { assert!(($per_unit as u32).is_power_of_two(), "a grid has a power of two of steps per unit") };
        const { assert!(matches!(<$type as $crate::FieldType>::KIND, $crate::FieldKind::F32), "only floats have a grid") };
        $crate::FieldKind::Grid { per_unit: $per_unit }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::record! {
        struct Body {
            at: glam::Vec2 => grid(4096),
            heat: f32,
            lives: i16,
            flags: [u8; 2],
        }
    }

    #[test]
    fn fields_cover_the_record() {
        let covered: usize = Body::FIELDS.iter().map(|field| field.kind.size() * field.count as usize).sum();
        assert_eq!(covered, size_of::<Body>());
        assert_eq!(Body::FIELDS[0].kind, FieldKind::Grid { per_unit: 4096 });
    }

    #[test]
    fn canonical_floats_have_one_form() {
        let mut body = Body { at: glam::vec2(-0.0, f32::NAN), heat: -0.0, ..Body::default() };
        body.canonicalise();
        assert_eq!(bytemuck::bytes_of(&body), bytemuck::bytes_of(&Body::default()));
        assert_eq!(snap(1.00013, 4096.0), 4097.0 / 4096.0);
        assert_eq!(snap(-1.00013, 4096.0), -4097.0 / 4096.0);
        assert_eq!(snap(-0.00001, 4096.0).to_bits(), 0);
    }

    #[test]
    fn many_rows_come_to_the_form_that_each_comes_to() {
        let mut rng = crate::rng::Rng::new(5, 0, 0, 0);
        let edges =
            [1024.0, 1024.0_f32.next_down(), 1023.99, f32::NAN, f32::INFINITY, 1e9, -0.0, f32::MIN_POSITIVE];
        for round in 0..400 {
            let mut float = || match rng.below(if round % 2 == 0 { 40 } else { 400 }) {
                edge @ 0..8 => edges[edge as usize] * if rng.below(2) == 0 { 1.0 } else { -1.0 },
                // Halves of steps too, which go to the even one.
                8..30 => rng.below(8_000_000) as f32 / 8192.0 - 480.0,
                _ => rng.signed() * [0.001, 1.0, 900.0][rng.below(3) as usize],
            };
            let mut rows: Vec<Body> = (0..150)
                .map(|_| Body { at: glam::vec2(float(), float()), heat: float(), ..Body::default() })
                .collect();
            let mut each = rows.clone();
            each.iter_mut().for_each(Record::canonicalise);
            Body::canonicalise_rows(&mut rows);
            assert_eq!(bytemuck::cast_slice::<Body, u8>(&rows), bytemuck::cast_slice::<Body, u8>(&each));
        }
    }

    #[test]
    fn snapped_values_survive_the_wire() {
        let kind = FieldKind::Grid { per_unit: 4096 };
        for value in [0.0_f32, 0.3, -17.25, 1999.999, 123_456.7, 1e9, -1e9] {
            let snapped = snap(value, 4096.0);
            let mut bytes = [0; 4];
            kind.from_wire(kind.to_wire(&snapped.to_le_bytes()), &mut bytes);
            assert_eq!(f32::from_le_bytes(bytes), snapped);
            assert_eq!(snap(snapped, 4096.0), snapped);
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut bytes = [0; size_of::<Body>()];
        assert!(Body::parse(&bytes).is_ok());
        assert_eq!(Body::parse(&bytes[1..]), Err(RecordError::Length { expected: 16, found: 15 }));
        bytes[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert_eq!(Body::parse(&bytes), Err(RecordError::NotFinite { field: "at" }));
    }
}
