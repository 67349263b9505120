//! Tests that every game should run on itself: one line each.
//!
//! ```no_run
//! # use tiltyard_engine::{Game, BattleSpec};
//! # fn example<MyGame: Game>() {
//! let spec = BattleSpec::<MyGame>::bots(&MyGame::modes()[0], 7);
//! tiltyard_engine::testing::sync_test(&spec, 300);
//! tiltyard_engine::testing::restore_and_continue(&spec, 300);
//! # }
//! ```

use crate::rng::Rng;
use crate::{ActorId, Battle, BattleSpec, Game, Registry, Save, StateHash, Tick, TickRecord};

/// The most ticks that [`sync_test`] rolls back.
pub const ROLLBACK_MAX: u32 = 12;

/// Plays `ticks` ticks with scripted players and returns the record of each tick and the state hash at its end.
///
/// # Panics
/// If the battle does not start.
#[must_use]
pub fn play<G: Game>(spec: &BattleSpec<G>, ticks: u32) -> Vec<(TickRecord<G::Input>, StateHash)> {
    let mut battle = start(spec);
    (0..ticks)
        .map(|_| {
            let mut record = TickRecord::neutral(battle.tick(), 0);
            battle.bot_record(&mut record);
            let hash = battle.step(&record);
            (record, hash)
        })
        .collect()
}

/// Sync test: at every tick saves, steps, rolls back by 1 to [`ROLLBACK_MAX`] ticks, steps again, and compares all
/// hashes with those of the straight run.
///
/// # Panics
/// On the first difference, naming tick, component, actor and field.
pub fn sync_test<G: Game>(spec: &BattleSpec<G>, ticks: u32) {
    let straight = play(spec, ticks);
    let mut battle = start(spec);
    let mut saves: Vec<Save> = vec![Save::default(); ROLLBACK_MAX as usize + 1];
    for now in 0..ticks {
        let slots = saves.len();
        battle.save(&mut saves[now as usize % slots]);
        step_checked(&mut battle, &straight, now, spec);
        let back = (now % ROLLBACK_MAX + 1).min(now + 1);
        let from = now + 1 - back;
        battle.restore(&saves[from as usize % slots]);
        for again in from..=now {
            step_checked(&mut battle, &straight, again, spec);
        }
    }
}

/// Restores a battle's state of every tick into another battle, whose world has a history of its own, and goes on
/// there for [`ROLLBACK_MAX`] ticks; all hashes must be those of the battle that was never interrupted.
///
/// # Panics
/// On the first difference, naming tick, component, actor and field.
pub fn restore_and_continue<G: Game>(spec: &BattleSpec<G>, ticks: u32) {
    let straight = play(spec, ticks);
    let (mut battle, mut used) = (start(spec), start(spec));
    let mut save = Save::default();
    for now in 0..ticks {
        battle.save(&mut save);
        used.restore(&save);
        assert_eq!(used.state_hash(), battle.state_hash(), "restored at tick {now}");
        for next in now..ticks.min(now + ROLLBACK_MAX) {
            step_checked(&mut used, &straight, next, spec);
        }
        battle.step(&straight[now as usize].0);
    }
}

/// Where [`plant_divergence`] flipped a bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The actor kind or singleton.
    pub kind: &'static str,
    /// The record.
    pub component: &'static str,
    /// The actor; [`ActorId::NONE`] for a singleton.
    pub actor: ActorId,
    /// The field, with the element's number for arrays and vectors.
    pub field: String,
}

/// Flips one bit in one field of one actor of a state, all chosen by `rng`, and says where: that is what the report of
/// the difference must name.
pub fn plant_divergence(save: &mut Save, registry: &Registry, rng: &mut Rng) -> Planted {
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
    save.bytes[start + field.offset as usize + element * field.kind.size() + bit / 8] ^= 1 << (bit % 8);
    save.rehash(registry);
    Planted { kind, component: entry.record, actor, field: name }
}

fn start<G: Game>(spec: &BattleSpec<G>) -> Battle<G> {
    Battle::new(spec.clone()).unwrap_or_else(|problem| panic!("{}: {problem}", G::NAME))
}

/// Steps to tick `index + 1` and compares with the straight run.
fn step_checked<G: Game>(
    battle: &mut Battle<G>,
    straight: &[(TickRecord<G::Input>, StateHash)],
    index: u32,
    spec: &BattleSpec<G>,
) {
    let (record, expected) = &straight[index as usize];
    if battle.step(record) == *expected {
        return;
    }
    let mut oracle = start(spec);
    for (record, _) in &straight[..=index as usize] {
        oracle.step(record);
    }
    let (mut left, mut right) = (Save::default(), Save::default());
    battle.save(&mut left);
    oracle.save(&mut right);
    match left.first_divergence(&right, battle.world().registry()) {
        Some(divergence) => panic!("{}: {divergence} (left: after rollback, right: straight)", G::NAME),
        None => {
            panic!("{}: the straight run itself is not repeatable at tick {:?}", G::NAME, Tick(index + 1))
        }
    }
}
