//! The history fuzz: games without a flaw pass it, each way to depend on history is caught, planted bits are named.
#![expect(clippy::disallowed_types, reason = "the order of a hash map is what the fuzz has to catch")]

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};

use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::testing::{self, History, Tally};
use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Game, Mode, Outcome, Registry, Save, Schedule, Seat, Stage, Step, Terms,
    Tick, TickRecord, World, kind, record,
};

record! {
    struct Ring { left: u32, value: u32 }
    /// `order` is another number for the same bells in another order.
    struct Total { sum: u32, order: u32 }
    struct Press { button: u32, force: f32 }
    struct Unused { value: u32 }
}
kind! {
    struct Bell { ring: Ring }
}

/// Bells ring, end and lead to others. What `FLAW` says is wrong with the game.
struct Bells<const FLAW: u8>;

const SOUND: u8 = 0;
const SCRATCH_IS_STATE: u8 = 1;
const COUNTER_OF_ITS_OWN: u8 = 2;
const ORDER_OF_A_HASH_MAP: u8 = 3;

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl<const FLAW: u8> Game for Bells<FLAW> {
    const NAME: &'static str = "bells";
    type Input = Press;
    type Event = Unused;
    type Setup = Unused;
    type Scratch = u32;

    fn components(registry: &mut Registry) {
        registry.singleton::<Total>().kind::<Bell>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("ring", ring::<FLAW>);
    }

    fn modes() -> Vec<Mode<Unused>> {
        vec![Mode { name: "bells", teams: 2, seats_per_team: 3, seconds: 60, setup: Unused::default() }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for left in 2..12 {
            stage.spawn(Bell { ring: Ring { left, value: left } });
        }
    }

    fn missing(_: &Press, _: u16) -> Press {
        Press::default()
    }

    fn check(input: &Press) -> bool {
        input.button < 4
    }

    fn bot(_: &World, _: Seat, rng: &mut Rng) -> Press {
        Press { button: rng.below(4), force: rng.unit() }
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn ring<const FLAW: u8>(step: &mut Step<'_, Bells<FLAW>>) {
    let bells = step.world.rows::<Bell>();
    let (ids, mut rings) = (bells.ids(), bells.write::<Ring>());
    // A recording may hold what `check` refuses, so the sum may be too large.
    let pressed = step.inputs.iter().fold(0_u32, |sum, seat| sum.wrapping_add(seat.input.button));
    for (id, ring) in ids.iter().zip(rings.iter_mut()) {
        ring.value = ring.value.wrapping_mul(31).wrapping_add(pressed);
        ring.left -= 1;
        if ring.left == 0 {
            step.changes.despawn(*id);
            for _ in 0..step.rng(0, *id).below(if ids.len() < 30 { 4 } else { 2 }) {
                let left = 1 + step.rng(1, *id).below(20);
                step.changes.spawn(*id, Bell { ring: Ring { left, value: ring.value } });
            }
        }
    }
    if ids.is_empty() {
        step.changes.spawn(ActorId::NONE, Bell { ring: Ring { left: 9, value: 1 } });
    }
    let wrong = match FLAW {
        SCRATCH_IS_STATE => {
            *step.scratch += 1;
            *step.scratch
        }
        COUNTER_OF_ITS_OWN => COUNTER.fetch_add(1, Ordering::Relaxed),
        ORDER_OF_A_HASH_MAP => {
            let values: HashMap<ActorId, u32> =
                ids.iter().copied().zip(rings.iter().map(|ring| ring.value)).collect();
            values.values().fold(0, |sum: u32, value| sum.rotate_left(5) ^ value)
        }
        _ => 0,
    };
    let mut total = step.world.singleton_mut::<Total>();
    total.sum = total.sum.wrapping_add(wrong);
    total.order = rings.iter().fold(total.order, |order, ring| order.rotate_left(5) ^ ring.value);
}

/// What the fuzz says of a flawed game.
fn caught<const FLAW: u8>() -> String {
    let panic = catch_unwind(|| testing::history_fuzz::<Bells<FLAW>>(3)).unwrap_err();
    *panic.downcast::<String>().expect("a panic with a text")
}

#[test]
fn a_game_without_a_flaw_passes() {
    testing::history_fuzz::<Bells<SOUND>>(60);
}

#[test]
fn skirmish_passes() {
    testing::history_fuzz::<Skirmish>(40);
}

#[test]
fn every_way_is_gone_and_the_same_seed_goes_the_same_ways() {
    let tally_of = |seed| {
        let mut history = History::<Bells<SOUND>>::random(seed).expect("it starts");
        while history.go_on().expect("no difference") {}
        history.tally()
    };
    let mut sum = Tally::default();
    for seed in 0..20 {
        let tally = tally_of(seed);
        assert_eq!(tally, tally_of(seed));
        sum += tally;
    }
    assert!(sum.straight_ticks > 1000 && sum.ticks > sum.straight_ticks, "{sum:?}");
    assert!(sum.acts > 100 && sum.unchecked > 100 && sum.refused > 100, "{sum:?}");
    assert!(sum.rollbacks > 100 && sum.restores > 100 && sum.permutations > 100, "{sum:?}");
}

#[test]
fn each_dependence_on_history_is_caught_and_named() {
    for text in
        [caught::<SCRATCH_IS_STATE>(), caught::<COUNTER_OF_ITS_OWN>(), caught::<ORDER_OF_A_HASH_MAP>()]
    {
        assert!(text.contains("SEED="), "{text}");
        assert!(text.contains("Total #0, Total.sum: "), "{text}");
    }
}

/// `SEED=7 cargo test planted` plants other bits.
#[test]
fn a_thousand_planted_bits_are_named_exactly_with_both_values() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    eprintln!("SEED={seed}");
    let mut rng = Rng::new(seed, 0, 0, 0);
    let mode = Skirmish::modes().remove(0);
    let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(&mode, seed)).expect("it starts");
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    let (mut right, mut left) = (Save::default(), Save::default());
    for _ in 0..1000 {
        for _ in 0..=rng.below(5) {
            battle.bot_record(&mut record);
            battle.step(&record);
        }
        battle.save(&mut right);
        left.clone_from(&right);
        let registry = battle.world().registry();
        let planted = testing::plant_divergence(&mut left, registry, &mut rng);
        assert_eq!(planted.tick, battle.tick());
        assert_ne!(planted.left, planted.right);
        assert_eq!(left.first_divergence(&right, registry).as_ref(), Some(&planted));
        let parts = left.hashes().parts().iter().zip(right.hashes().parts());
        assert_eq!(parts.filter(|(a, b)| a != b).count(), 1, "{planted}");
    }
}

/// Setups beyond the modes, commands of the game's own and inputs that no node lets in are part of what skirmish is
/// fuzzed with. None of its inputs can be no number: they are integers.
#[test]
fn skirmish_is_fuzzed_with_what_nobody_plays() {
    let mut sum = Tally::default();
    let mut rng = Rng::new(1, 0, 0, 0);
    let modes = Skirmish::modes();
    let setups: Vec<_> = (0..100).map(|_| Skirmish::random_setup(modes[0].setup, &mut rng)).collect();
    assert!(setups.iter().filter(|setup| **setup != modes[0].setup).count() > 30);
    for seed in 100..110 {
        let mut history = History::<Skirmish>::random(seed).expect("it starts");
        while history.go_on().expect("no difference") {}
        sum += history.tally();
    }
    assert!(sum.acts > 10 && sum.unchecked > 10, "{sum:?}");
}
