//! Numbers that nobody may foresee: they come with the tick's record, and from nowhere else.

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Command, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, StateHash,
    Step, Terms, Tick, TickRecord, World, kind, record, testing,
};

record! {
    struct Nothing { unused: u32 }
    struct Gold { coins: u32 }
}
kind! {
    struct Chest { gold: Gold }
}

/// Chests, of which each gets a few coins a tick.
struct Chests;

impl Game for Chests {
    const NAME: &'static str = "chests";
    const CHANCE: bool = true;
    type Input = Nothing;
    type Event = Nothing;
    type Setup = Nothing;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Chest>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("fill", fill);
    }

    fn modes() -> Vec<Mode<Nothing>> {
        let setup = Nothing::default();
        vec![Mode { name: "chests", teams: 2, seats_per_team: 2, seconds: 20, setup }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for _ in 0..5 {
            stage.spawn(Chest::default());
        }
    }

    fn missing(last: &Nothing, _: u16) -> Nothing {
        *last
    }

    fn check(_: &Nothing) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, _: &mut Rng) -> Nothing {
        Nothing::default()
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn fill(step: &mut Step<'_, Chests>) {
    let chests = step.world.rows::<Chest>();
    for (id, gold) in chests.ids().iter().zip(chests.write::<Gold>().iter_mut()) {
        gold.coins = gold.coins.wrapping_add(step.chance(0, *id).below(1_000));
    }
}

fn spec() -> BattleSpec<Chests> {
    BattleSpec::bots(&Chests::modes()[0], 7)
}

/// The states of ten ticks with these chances.
fn play(chance: impl Fn(u32) -> Option<u32>) -> Vec<StateHash> {
    let mut battle = Battle::new(spec()).expect("it starts");
    let mut record = TickRecord::neutral(Tick::ZERO, 4);
    let step = |tick| {
        record.tick = Tick(tick);
        record.commands = chance(tick).map(Command::Chance).into_iter().collect();
        battle.step(&record)
    };
    (1..=10).map(step).collect()
}

#[test]
fn the_record_alone_says_what_is_drawn() {
    let drawn = play(|tick| Some(tick * 1_000));
    assert_eq!(drawn, play(|tick| Some(tick * 1_000)));
    let other = play(|tick| Some(if tick == 6 { 6_001 } else { tick * 1_000 }));
    assert_eq!(drawn[..5], other[..5]);
    assert_ne!(drawn[5], other[5], "the chance of tick 6 is another one");
    assert_eq!(play(|_| None), play(|_| Some(0)), "a record without chance is bearable");
}

#[test]
fn actors_and_ticks_draw_numbers_of_their_own() {
    let mut battle = Battle::new(spec()).expect("it starts");
    let mut record = TickRecord::neutral(Tick::ZERO, 4);
    let coins = |battle: &Battle<Chests>| -> Vec<u32> {
        battle.world().rows::<Chest>().read::<Gold>().iter().map(|gold| gold.coins).collect()
    };
    record.commands = vec![Command::Chance(9)];
    record.tick = Tick(1);
    battle.step(&record);
    let first = coins(&battle);
    assert!(first.iter().any(|coins| *coins != first[0]));
    record.tick = Tick(2);
    battle.step(&record);
    let second: Vec<u32> = coins(&battle).iter().zip(&first).map(|(after, before)| after - before).collect();
    assert_ne!(first, second);
    assert_eq!(battle.world().rows::<Chest>().ids()[0], ActorId(1));
}

#[test]
fn scripted_battles_and_fuzzes_have_chance_too() {
    let battle = Battle::new(spec()).expect("it starts");
    let mut record = TickRecord::neutral(Tick::ZERO, 4);
    battle.bot_record(&mut record);
    assert!(matches!(record.commands[..], [Command::Chance(_)]));
    testing::sync_test(&spec(), 100);
    testing::restore_and_continue(&spec(), 100);
}

#[test]
fn who_draws_chance_does_not_understand_who_does_not() {
    let layout = Registry::of::<Chests>().expect("no mistake in it").layout::<Chests>();
    assert!(layout.ends_with("chance\n"), "{layout}");
}

#[test]
fn chance_travels_and_has_one_form() {
    let mut before = TickRecord::<Nothing>::neutral(Tick::ZERO, 4);
    let mut record = TickRecord::neutral(Tick(1), 4);
    record.commands = vec![Command::Joined(Seat(2)), Command::Chance(0xfeed_beef)];
    let mut bytes = Vec::new();
    record.encode(&before, &mut bytes);
    before.advance(&bytes).expect("its own bytes");
    assert_eq!(before, record);
    // The seat of a chance is 0.
    let seat = bytes.len() - 6;
    bytes[seat] = 1;
    assert!(TickRecord::<Nothing>::neutral(Tick::ZERO, 4).advance(&bytes).is_err());
}
