//! Planted divergences: one bit of a state flipped, to prove that a report names it.

use crate::rng::Rng;
use crate::{Divergence, Registry, Save};

/// Flips one bit in one field of one actor of a state, all chosen by `rng`, and hashes the state anew.
///
/// Returns what [`Save::first_divergence`] must say of the changed state (left) and the one it was (right). Costs a
/// walk over all rows, a hash of the state and an allocation.
pub fn plant_divergence(save: &mut Save, registry: &Registry, rng: &mut Rng) -> Divergence {
    let mut ids = 0..0;
    let mut rows = Vec::new();
    for (kind, entry, place) in save.places(registry) {
        if entry.record == "ActorId" {
            ids = place;
            continue;
        }
        for row in 0..place.len() / entry.size {
            let actor = crate::save::id_of(&save.bytes[ids.start + row * 4..]);
            rows.push((kind.name, entry, actor, place.start + row * entry.size));
        }
    }
    let (kind, entry, actor, start) = rows[rng.below(rows.len() as u32) as usize];
    let field = entry.fields[rng.below(entry.fields.len() as u32) as usize];
    let element = rng.below(field.count) as usize;
    let bit = rng.below(field.kind.size() as u32 * 8) as usize;
    let name = if field.count == 1 { field.name.to_owned() } else { format!("{}[{element}]", field.name) };
    let at = start + field.offset as usize + element * field.kind.size();
    let right = field.kind.show(&save.bytes[at..]);
    save.bytes[at + bit / 8] ^= 1 << (bit % 8);
    let left = field.kind.show(&save.bytes[at..]);
    save.rehash(registry);
    Divergence { tick: save.tick, kind, component: entry.record, actor, field: name, left, right }
}
