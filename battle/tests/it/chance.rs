//! Games that ask for chance: the room puts it into each record, and nobody knows it before.

use tiltyard_battle::{Outgoing, Room, RoomSettings};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    Battle, BattleSpec, Command, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, StateHash, Step,
    Terms, Tick, TickRecord, World, kind, record,
};
use tiltyard_netcode::{BattleId, Epoch};

record! {
    struct Nothing { unused: u32 }
    struct Luck { drawn: u32 }
}
kind! {
    struct Wheel { luck: Luck }
}

struct Spinning;

impl Game for Spinning {
    const NAME: &'static str = "spinning";
    const CHANCE: bool = true;
    type Input = Nothing;
    type Event = Nothing;
    type Setup = Nothing;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Wheel>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("spin", |step: &mut Step<'_, Self>| {
            let wheels = step.world.rows::<Wheel>();
            for (id, luck) in wheels.ids().iter().zip(wheels.write::<Luck>().iter_mut()) {
                luck.drawn = step.chance(1, *id).next_u32();
            }
        });
    }

    fn modes() -> Vec<Mode<Nothing>> {
        let setup = Nothing::default();
        vec![Mode { name: "spinning", teams: 1, seats_per_team: 1, seconds: 2, setup }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        stage.spawn(Wheel::default());
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

fn play(secret: Option<[u8; 32]>) -> Vec<StateHash> {
    let spec = BattleSpec::<Spinning>::bots(&Spinning::modes()[0], 3);
    let settings = RoomSettings {
        wait_ms: 1000,
        countdown_ms: 100,
        keyframe_ticks: 300,
        snapshot_ticks: 0,
        catch_up_max: 5,
    };
    let mut room = Room::new(BattleId(7), Epoch(1), spec, settings).expect("it starts");
    if let Some(secret) = secret {
        room.draw_from(secret);
    }
    room.open(0);
    let (mut out, mut states) = (Outgoing::default(), Vec::new());
    while !room.is_over() {
        out.clear();
        room.poll(room.next_us(), &mut out);
        states.push(room.battle().state_hash());
    }
    states
}

#[test]
fn chance_is_the_rooms_secret() {
    let (one, other) = (play(None), play(None));
    assert_eq!(one.len(), other.len());
    let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(same <= 1, "two battles of one seed have {same} states in common; at most one by accident");
    assert_eq!(play(Some([7; 32])), play(Some([7; 32])), "a battle that is given its secret is repeated");

    // Nobody can compute it ahead: scripted records of the same seed lead elsewhere.
    let mut battle = Battle::new(BattleSpec::<Spinning>::bots(&Spinning::modes()[0], 3)).expect("it starts");
    let mut record = TickRecord::neutral(Tick::ZERO, 1);
    battle.bot_record(&mut record);
    assert!(matches!(record.commands[..], [Command::Chance(_)]));
    let guessed = battle.step(&record);
    assert_ne!([one[0], one[1]], [guessed, guessed]);
}
