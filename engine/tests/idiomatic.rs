//! Skirmish as one writes it with hecs alone ends every tick in the engine's state: what it is measured against has the
//! same rules.

#[path = "../examples/ticks/idiomatic.rs"]
mod idiomatic;

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Battle, BattleSpec, Game, Hashes, Tick, TickRecord};

use self::idiomatic::Idiomatic;

#[test]
fn skirmish_with_hecs_alone_ends_every_tick_in_the_same_state() {
    let modes = Skirmish::modes().into_iter().chain(Skirmish::scenes());
    for (name, seed, ticks) in
        [("skirmish", 7, 900), ("melee", 8, 400), ("10x30", 1, 500), ("100x300", 2, 300)]
    {
        let mode = modes.clone().find(|mode| mode.name == name).expect("the mode exists");
        let spec = BattleSpec::bots(&mode, seed);
        let mut battle = Battle::<Skirmish>::new(spec.clone()).expect("it starts");
        let (mut alone, mut hashes) = (Idiomatic::new(&spec), Hashes::default());
        assert_eq!(alone.state_hash(&mut hashes), battle.state_hash(), "{name}: before the first tick");
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        for _ in 0..ticks {
            battle.bot_record(&mut record);
            let expected = battle.step(&record);
            alone.step(&record);
            assert_eq!(alone.state_hash(&mut hashes), expected, "{name}: tick {}", record.tick);
        }
        let deaths: u32 = battle.world().singleton::<tiltyard_engine::skirmish::Score>().kills.iter().sum();
        assert!(deaths > 0, "{name}: nobody died, which proves little");
    }
}
