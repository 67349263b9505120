//! The engine by its public face: a small game of splitting and dying cells.

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Command, Game, Mode, Outcome, Registry, Roster, Save, Schedule, Seat, Stage,
    Step, Terms, Tick, TickRate, TickRecord, World, decode_keyframe, encode_keyframe, kind, record, testing,
};

record! {
    struct Place { at: glam::Vec2 => grid(4096) }
    struct Life { left: u32, parent: ActorId }
    struct Tally { born: u32, joined: u32 }
    struct Push { x: f32, y: f32 }
    struct Rules { cells: u32, fault: u32 }
}
kind! {
    struct Cell { place: Place, life: Life }
    struct Spore { life: Life, place: Place }
}

/// What the game does wrong on purpose.
const FAULT_NONE: u32 = 0;
const FAULT_NAN: u32 = 1;

struct Cells;

impl Game for Cells {
    const NAME: &'static str = "cells";
    type Input = Push;
    type Event = Tally;
    type Setup = Rules;
    type Scratch = Vec<(usize, ActorId)>;

    fn components(registry: &mut Registry) {
        registry.kind::<Cell>().kind::<Spore>().singleton::<Tally>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("drift", drift).add("live", live).apply_changes().add("count", count);
    }

    fn modes() -> Vec<Mode<Rules>> {
        vec![Mode {
            name: "cells",
            teams: 2,
            seats_per_team: 3,
            seconds: 20,
            setup: Rules { cells: 20, fault: 0 },
        }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for number in 0..stage.setup.cells {
            let at = glam::vec2(stage.rng(0, ActorId(number)).range(-50.0, 50.0), 0.0);
            stage.spawn(Cell { place: Place { at }, life: Life { left: 5 + number, parent: ActorId::NONE } });
        }
    }

    fn missing(last: &Push, age: u16) -> Push {
        if age > 2 { Push::default() } else { *last }
    }

    fn check(input: &Push) -> bool {
        input.x.abs() <= 1.0 && input.y.abs() <= 1.0
    }

    fn bot(_: &World, _: Seat, rng: &mut Rng) -> Push {
        Push { x: rng.range(-1.0, 1.0), y: rng.range(-1.0, 1.0) }
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn drift(step: &mut Step<'_, Cells>) {
    let push =
        step.inputs.iter().fold(glam::Vec2::ZERO, |sum, seat| sum + glam::vec2(seat.input.x, seat.input.y));
    for place in step.world.rows::<Cell>().write::<Place>().iter_mut() {
        place.at += push * 0.1;
        if step.setup.fault == FAULT_NAN && step.tick == Tick(7) {
            place.at.y = f32::NAN;
        }
    }
}

/// Walks the cells backwards on purpose: the change list brings spawns into the order of their causes.
fn live(step: &mut Step<'_, Cells>) {
    let cells = step.world.rows::<Cell>();
    let (ids, places, mut lives) = (cells.ids(), cells.read::<Place>(), cells.write::<Life>());
    for row in (0..cells.len()).rev() {
        let (id, life) = (ids[row], &mut lives[row]);
        life.left -= 1;
        if life.left == 0 {
            step.changes.despawn(id);
            let mut rng = step.rng(1, id);
            for _ in 0..rng.below(4) {
                let life = Life { left: 1 + rng.below(40), parent: id };
                step.changes.spawn(id, Cell { place: places[row], life });
                step.changes.spawn(id, Spore { place: places[row], life });
            }
        }
    }
    for (id, life) in
        step.world.rows::<Spore>().ids().iter().zip(step.world.rows::<Spore>().read::<Life>().iter())
    {
        if step.rng(2, *id).one_in(1 + life.left) {
            step.changes.despawn(*id);
        }
    }
}

fn count(step: &mut Step<'_, Cells>) {
    let mut tally = step.world.singleton_mut::<Tally>();
    tally.born = step.world.rows::<Cell>().ids().last().map_or(tally.born, |id| id.0);
    tally.joined +=
        step.commands.iter().filter(|command| matches!(command, Command::Joined(_))).count() as u32;
    step.events.tell(*tally);
}

fn spec(fault: u32) -> BattleSpec<Cells> {
    let mut spec = BattleSpec::<Cells>::bots(&Cells::modes()[0], 7);
    spec.setup.fault = fault;
    spec
}

#[test]
fn save_step_roll_back_step_agree() {
    testing::sync_test(&spec(FAULT_NONE), 400);
}

#[test]
fn restored_battle_goes_on_bit_for_bit_at_every_tick() {
    testing::restore_and_continue(&spec(FAULT_NONE), 400);
}

#[test]
fn rows_stand_in_actor_order_and_children_in_the_order_of_their_parents() {
    let mut battle = Battle::new(spec(FAULT_NONE)).unwrap();
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    for _ in 0..300 {
        let next = battle.world().rows::<Cell>().ids().iter().map(|id| id.0).max().unwrap_or(0);
        battle.bot_record(&mut record);
        battle.step(&record);
        let cells = battle.world().rows::<Cell>();
        let (ids, lives) = (cells.ids(), cells.read::<Life>());
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(battle.world().rows::<Spore>().ids().is_sorted_by(|a, b| a < b));
        let born = ids.iter().zip(lives.iter()).filter(|(id, _)| id.0 > next);
        assert!(born.map(|(_, life)| life.parent).is_sorted());
    }
    assert!(battle.world().singleton::<Tally>().born > 100, "the battle is lively");
}

#[test]
#[cfg(debug_assertions)]
fn a_nan_is_reported_with_tick_actor_component_and_field() {
    let mut battle = Battle::new(spec(FAULT_NAN)).unwrap();
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..10 {
            battle.bot_record(&mut record);
            battle.step(&record);
        }
    }));
    let text = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(text.starts_with("tick 7, Cell #"), "{text}");
    assert!(text.contains("Place.at"), "{text}");
}

#[test]
fn keyframes_survive_their_bytes_and_damaged_ones_are_refused_or_sound() {
    let mut battle = Battle::new(spec(FAULT_NONE)).unwrap();
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    for _ in 0..50 {
        battle.bot_record(&mut record);
        battle.step(&record);
    }
    let mut save = Save::default();
    battle.save(&mut save);
    let bytes = encode_keyframe(&save, &record);
    let registry = Registry::of::<Cells>().unwrap();
    let (read, inputs) = decode_keyframe::<Push>(&bytes, &registry, 6).unwrap();
    assert_eq!(read, save);
    assert!(inputs.inputs.iter().zip(&record.inputs).all(|(a, b)| a.input == b.input));
    assert!(decode_keyframe::<Push>(&bytes, &registry, 5).is_err());
    for cut in 0..bytes.len() {
        assert!(decode_keyframe::<Push>(&bytes[..cut], &registry, 6).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok((save, _)) = decode_keyframe::<Push>(&flipped, &registry, 6) {
            battle.restore(&save);
        }
    }
}

#[test]
fn specs_survive_their_bytes_and_others_are_refused() {
    let spec = spec(FAULT_NONE);
    let bytes = spec.encode();
    let read = BattleSpec::<Cells>::decode(&bytes).unwrap();
    assert_eq!((read.terms, read.setup, &read.roster), (spec.terms, spec.setup, &spec.roster));
    for cut in 0..bytes.len() {
        assert!(BattleSpec::<Cells>::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let empty = BattleSpec::<Cells> { roster: Roster::default(), ..spec };
    assert!(Battle::new(empty).is_err());
    let endless =
        BattleSpec::<Cells> { terms: Terms { seed: 0, rate: TickRate::DEFAULT, ticks_max: 0 }, ..spec };
    assert!(BattleSpec::<Cells>::decode(&endless.encode()).is_err());
}
