//! What the engine says to a game's author who made a mistake: what, where, and what to do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, Step, Terms, Tick,
    TickRecord, World, kind, record,
};

record! {
    struct Place { at: glam::Vec2 => grid(4096) }
    struct Life { left: u32 }
    struct Tally { born: u32 }
    struct Stray { value: u32 }
    struct Speed { by: glam::Vec2 => grid(4096) }
    struct Rise { by: glam::Vec3 => grid(64) }
}
kind! {
    struct Bird { place: Place, speed: Speed, rise: Rise, life: Life }
    struct Cell { place: Place, life: Life }
    struct Twin { a: Place, b: Place }
    struct Ghost { place: Place }
    struct Shadow { place: elsewhere::Place }
}

mod elsewhere {
    tiltyard_engine::record! {
        pub(super) struct Place { pub(super) cell: u32 }
    }
}

/// A game with the mistake of this name.
struct Wrong<const MISTAKE: u8>;

const NONE: u8 = 0;
const KIND_TWICE: u8 = 1;
const SINGLETON_TWICE: u8 = 2;
const RECORD_TWICE_IN_A_KIND: u8 = 3;
const TWO_RECORDS_OF_ONE_NAME: u8 = 4;
const STAGE_SETS_A_STRANGER: u8 = 5;
const STAGE_SPAWNS_A_STRANGER: u8 = 6;
const SYSTEM_WRITES_A_STRANGER: u8 = 7;
const SYSTEM_READS_A_STRANGER: u8 = 8;
const SYSTEM_SPAWNS_A_STRANGER: u8 = 9;
const SYSTEM_WALKS_A_STRANGER: u8 = 10;
const SYSTEM_WRITES_ANOTHER_KINDS_RECORD: u8 = 11;
const SYSTEM_READS_ANOTHER_KINDS_RECORD: u8 = 12;

const MOVES_A_STRANGER: u8 = 13;
const MOVES_WHAT_THE_KIND_HAS_NOT: u8 = 14;
const MOVES_BY_ANOTHER_NUMBER_OF_ELEMENTS: u8 = 15;
const MOVES_WHAT_IS_ON_NO_GRID: u8 = 16;
const MOVES_TWICE: u8 = 17;
const MOVES_ROUND: u8 = 18;
const MOVES_ITSELF: u8 = 19;

impl<const MISTAKE: u8> Game for Wrong<MISTAKE> {
    const NAME: &'static str = "wrong";
    type Input = Life;
    type Event = Life;
    type Setup = Life;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Cell>().singleton::<Tally>();
        match MISTAKE {
            KIND_TWICE => registry.kind::<Cell>(),
            SINGLETON_TWICE => registry.singleton::<Tally>(),
            RECORD_TWICE_IN_A_KIND => registry.kind::<Twin>(),
            TWO_RECORDS_OF_ONE_NAME => registry.kind::<Shadow>(),
            MOVES_A_STRANGER => registry.moves::<Bird, Place, Speed>(),
            MOVES_WHAT_THE_KIND_HAS_NOT => registry.moves::<Cell, Place, Speed>(),
            MOVES_BY_ANOTHER_NUMBER_OF_ELEMENTS => registry.kind::<Bird>().moves::<Bird, Place, Rise>(),
            MOVES_WHAT_IS_ON_NO_GRID => registry.kind::<Bird>().moves::<Bird, Life, Life>(),
            MOVES_TWICE => {
                registry.kind::<Bird>().moves::<Bird, Place, Speed>().moves::<Bird, Place, Speed>()
            }
            MOVES_ROUND => {
                registry.kind::<Bird>().moves::<Bird, Place, Speed>().moves::<Bird, Speed, Place>()
            }
            MOVES_ITSELF => registry.kind::<Bird>().moves::<Bird, Place, Place>(),
            _ => registry,
        };
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("act", act::<MISTAKE>);
    }

    fn modes() -> Vec<Mode<Life>> {
        vec![Mode { name: "wrong", teams: 1, seats_per_team: 1, seconds: 1, setup: Life::default() }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        stage.spawn(Cell::default());
        match MISTAKE {
            STAGE_SETS_A_STRANGER => stage.set(Stray::default()),
            STAGE_SPAWNS_A_STRANGER => _ = stage.spawn(Ghost::default()),
            _ => {}
        }
    }

    fn missing(last: &Life, _: u16) -> Life {
        *last
    }

    fn check(_: &Life) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, _: &mut Rng) -> Life {
        Life::default()
    }

    fn outcome(_: &World, _: &Terms) -> Option<Outcome> {
        None
    }
}

fn act<const MISTAKE: u8>(step: &mut Step<'_, Wrong<MISTAKE>>) {
    match MISTAKE {
        SYSTEM_WRITES_A_STRANGER => step.world.singleton_mut::<Stray>().value = 1,
        SYSTEM_READS_A_STRANGER => _ = step.world.singleton::<Stray>().value,
        SYSTEM_SPAWNS_A_STRANGER => step.changes.spawn(ActorId::NONE, Ghost::default()),
        SYSTEM_WALKS_A_STRANGER => _ = step.world.rows::<Ghost>().len(),
        SYSTEM_WRITES_ANOTHER_KINDS_RECORD => _ = step.world.rows::<Cell>().write::<Stray>().len(),
        SYSTEM_READS_ANOTHER_KINDS_RECORD => _ = step.world.rows::<Cell>().read::<Stray>().len(),
        _ => {}
    }
}

fn start<const MISTAKE: u8>() -> Result<Battle<Wrong<MISTAKE>>, String> {
    let spec = BattleSpec::<Wrong<MISTAKE>>::bots(&Wrong::<MISTAKE>::modes()[0], 1);
    Battle::new(spec).map_err(|problem| problem.to_string())
}

/// Why a battle of the game does not start.
fn at_start<const MISTAKE: u8>() -> String {
    start::<MISTAKE>().expect_err("it does not start")
}

/// With what words its first tick ends.
fn in_a_tick<const MISTAKE: u8>() -> String {
    let mut battle = start::<MISTAKE>().expect("it starts");
    let panic = catch_unwind(AssertUnwindSafe(|| battle.step(&TickRecord::neutral(Tick(1), 1)))).unwrap_err();
    *panic.downcast::<String>().expect("a panic with a text")
}

#[test]
fn a_game_without_a_mistake_starts_and_steps() {
    start::<NONE>().expect("it starts").step(&TickRecord::neutral(Tick(1), 1));
}

#[test]
fn what_is_registered_wrongly_is_an_error_at_start() {
    let own_name = "is registered twice: give each kind and singleton a name of its own and register it once";
    assert_eq!(at_start::<KIND_TWICE>(), format!("Game::components: Cell {own_name}"));
    assert_eq!(at_start::<SINGLETON_TWICE>(), format!("Game::components: Tally {own_name}"));
    assert_eq!(
        at_start::<RECORD_TWICE_IN_A_KIND>(),
        "Game::components: kind Twin has two fields of record Place: declare a record of its own for one of them"
    );
    assert_eq!(
        at_start::<TWO_RECORDS_OF_ONE_NAME>(),
        "Game::components: two different records are called Place: rename one, names are what desync reports go by"
    );
    let registry = Registry::of::<Wrong<KIND_TWICE>>().unwrap_err().to_string();
    assert_eq!(registry, format!("Cell {own_name}"), "the registry alone says the same");
}

#[test]
fn a_motion_that_there_cannot_be_is_an_error_at_start() {
    let motion = |kind: &str, record: &str, by: &str| {
        format!(
            "Game::components: kind {kind} cannot move {record} by {by}: register the kind first, give it both \
             records, all of their fields on one grid and as many elements in one as in the other, four at most, and let no \
             record be moved twice, nor by what is moved itself"
        )
    };
    assert_eq!(at_start::<MOVES_A_STRANGER>(), motion("Bird", "Place", "Speed"));
    assert_eq!(at_start::<MOVES_WHAT_THE_KIND_HAS_NOT>(), motion("Cell", "Place", "Speed"));
    assert_eq!(at_start::<MOVES_BY_ANOTHER_NUMBER_OF_ELEMENTS>(), motion("Bird", "Place", "Rise"));
    assert_eq!(at_start::<MOVES_WHAT_IS_ON_NO_GRID>(), motion("Bird", "Life", "Life"));
    assert_eq!(at_start::<MOVES_TWICE>(), motion("Bird", "Place", "Speed"));
    assert_eq!(at_start::<MOVES_ROUND>(), motion("Bird", "Speed", "Place"));
    assert_eq!(at_start::<MOVES_ITSELF>(), motion("Bird", "Place", "Place"));
}

#[test]
fn what_the_stage_uses_and_nobody_registered_is_an_error_at_start() {
    assert_eq!(
        at_start::<STAGE_SETS_A_STRANGER>(),
        "Game::spawn: Stray is no singleton: add registry.singleton::<Stray>() to Game::components"
    );
    assert_eq!(
        at_start::<STAGE_SPAWNS_A_STRANGER>(),
        "Game::spawn: kind Ghost is not registered: add registry.kind::<Ghost>() to Game::components"
    );
}

#[test]
fn what_a_system_uses_and_nobody_registered_ends_its_battle_with_the_way_out() {
    let singleton = "Stray is no singleton: add registry.singleton::<Stray>() to Game::components";
    assert_eq!(in_a_tick::<SYSTEM_WRITES_A_STRANGER>(), singleton);
    assert_eq!(in_a_tick::<SYSTEM_READS_A_STRANGER>(), singleton);
    let kind = "kind Ghost is not registered: add registry.kind::<Ghost>() to Game::components";
    assert_eq!(in_a_tick::<SYSTEM_SPAWNS_A_STRANGER>(), kind);
    assert_eq!(in_a_tick::<SYSTEM_WALKS_A_STRANGER>(), kind);
    let record = "kind Cell has no record Stray: give it a field of that record where kind! declares it";
    assert_eq!(in_a_tick::<SYSTEM_WRITES_ANOTHER_KINDS_RECORD>(), record);
    assert_eq!(in_a_tick::<SYSTEM_READS_ANOTHER_KINDS_RECORD>(), record);
}
