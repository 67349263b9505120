//! Where two states part: tick, kind, record, actor, field and both values.

use crate::registry::KindEntry;
use crate::save::{Save, SavedColumn, id_of};
use crate::{ActorId, Registry, Tick};

/// The address of a difference between two states, or of a value that may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The tick at whose end the states differ.
    pub tick: Tick,
    /// The actor kind or singleton.
    pub kind: &'static str,
    /// The record: the component's or singleton's name.
    pub component: &'static str,
    /// The actor; [`ActorId::NONE`] for a singleton.
    pub actor: ActorId,
    /// The field, with the element's number for arrays and vectors. `presence` if the actor exists on one side only.
    pub field: String,
    /// The left side's value.
    pub left: String,
    /// The right side's value.
    pub right: String,
}

impl Divergence {
    pub(crate) fn unfit(
        tick: Tick,
        kind: &'static str,
        component: &'static str,
        actor: ActorId,
        field: &str,
    ) -> Self {
        let left = "not a finite number".to_owned();
        Self {
            tick,
            kind,
            component,
            actor,
            field: field.to_owned(),
            left,
            right: "any finite number".to_owned(),
        }
    }
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tick, kind, component, actor, field, left, right } = self;
        write!(f, "tick {tick}, {kind} {actor}, {component}.{field}: {left} against {right}")
    }
}

pub(crate) fn first_divergence(registry: &Registry, left: &Save, right: &Save) -> Option<Divergence> {
    let tick = left.tick;
    let mut ids = (&[][..], &[][..]);
    for (a, b) in left.columns(registry).zip(right.columns(registry)) {
        if a.entry.type_id == std::any::TypeId::of::<ActorId>() {
            ids = (a.bytes, b.bytes);
            if a.bytes != b.bytes {
                return Some(presence(tick, a.kind, a.bytes, b.bytes));
            }
        } else if a.bytes != b.bytes {
            return Some(value(tick, a, b, ids.0));
        }
    }
    let (field, values) = if left.tick == right.tick {
        ("next_actor", (left.next_actor, right.next_actor))
    } else {
        ("tick", (left.tick.0, right.tick.0))
    };
    (values.0 != values.1).then(|| Divergence {
        tick,
        kind: "battle",
        component: "clock",
        actor: ActorId::NONE,
        field: field.to_owned(),
        left: values.0.to_string(),
        right: values.1.to_string(),
    })
}

/// The first actor that stands on one side only.
fn presence(tick: Tick, kind: &KindEntry, left: &[u8], right: &[u8]) -> Divergence {
    let (mut left, mut right) = (left.chunks_exact(4).map(id_of), right.chunks_exact(4).map(id_of));
    let (a, b) = loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => {}
            sides => break sides,
        }
    };
    let actor = a.into_iter().chain(b).min().unwrap_or_default();
    let show = |side: Option<ActorId>| if side == Some(actor) { "alive" } else { "absent" }.to_owned();
    let (left, right) = (show(a), show(b));
    Divergence {
        tick,
        kind: kind.name,
        component: "ActorId",
        actor,
        field: "presence".to_owned(),
        left,
        right,
    }
}

/// The first field of the first row in which two columns of the same rows differ.
fn value(tick: Tick, left: SavedColumn<'_>, right: SavedColumn<'_>, ids: &[u8]) -> Divergence {
    let rows = left.bytes.chunks_exact(left.entry.size).zip(right.bytes.chunks_exact(left.entry.size));
    let (row, (a, b)) = rows.enumerate().find(|(_, (a, b))| a != b).expect("the caller saw a difference");
    for field in left.entry.fields {
        for element in 0..field.count as usize {
            let at = field.offset as usize + element * field.kind.size();
            let end = at + field.kind.size();
            if a[at..end] != b[at..end] {
                let name = field.name;
                return Divergence {
                    tick,
                    kind: left.kind.name,
                    component: left.entry.record,
                    actor: id_of(&ids[row * 4..]),
                    field: if field.count == 1 { name.to_owned() } else { format!("{name}[{element}]") },
                    left: field.kind.show(&a[at..end]),
                    right: field.kind.show(&b[at..end]),
                };
            }
        }
    }
    unreachable!("the fields of a record cover all its bytes")
}
