//! Battles of random setups, rosters, rates and inputs: no panic, no puppet where none can be, and the same hashes
//! in a battle that is restored now and then.
//!
//! `SEED=7 cargo test --test random_battles` plays that one battle; `BATTLES=10000` plays so many.

use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::{
    Block, Flyer, Input, Obstacle, PUPPET_RADIUS, Puppet, Rules, Setup, Skirmish,
};
use tiltyard_engine::{
    Battle, BattleSpec, Game, Roster, RosterSeat, Save, SeatRole, Team, Terms, Tick, TickRate, TickRecord,
};

const TICKS: u32 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Mostly what is usual, sometimes nothing, much, little or nonsense.
fn around(rng: &mut Rng, usual: f32) -> f32 {
    match rng.below(8) {
        0 => 0.0,
        1 => usual * 10.0,
        2 => usual * 0.1,
        3 => rng.signed() * 1e9,
        4 => f32::MAX,
        _ => usual,
    }
}

fn count_around(rng: &mut Rng, usual: u32) -> u32 {
    match rng.below(6) {
        0 => 0,
        1 => usual * 10,
        2 => u32::MAX,
        _ => usual,
    }
}

fn random_spec(seed: u64) -> BattleSpec<Skirmish> {
    let rng = &mut Rng::new(seed, 0, 0, 0);
    let seats = 1 + rng.below(30);
    let usual = Setup::for_puppets(seats);
    let setup = Setup {
        arena_half: around(rng, usual.arena_half).min(200.0),
        obstacles: rng.below(60),
        minions: rng.below(40),
        strays: rng.below(60),
        spread: rng.range(-0.2, 1.2),
        score_limit: rng.below(5),
        speed: around(rng, usual.speed),
        acceleration: around(rng, usual.acceleration),
        health: count_around(rng, usual.health),
        return_seconds: around(rng, 1.0),
        flyer_speed: around(rng, usual.flyer_speed),
        flyer_seconds: around(rng, usual.flyer_seconds),
        flyer_damage: count_around(rng, usual.flyer_damage),
        flyer_bounces: count_around(rng, 1),
        weapon_seconds: around(rng, usual.weapon_seconds),
        blast_radius: around(rng, usual.blast_radius),
        blast_damage: count_around(rng, usual.blast_damage),
        blast_edge_damage: count_around(rng, usual.blast_edge_damage),
        blast_seconds: around(rng, 3.0),
    };
    let rate = TickRate::new([1, 10, 30, 60, 240][rng.below(5) as usize]).expect("the rate is possible");
    let mut seat =
        || RosterSeat { player: 0, team: Team(rng.below(16) as u8), role: SeatRole::Bot, loadout: 0 };
    let roster = Roster { seats: (0..seats).map(|_| seat()).collect() };
    BattleSpec { terms: Terms { seed, rate, ticks_max: TICKS }, setup, roster }
}

fn play(seed: u64) {
    let spec = random_spec(seed);
    let spec = BattleSpec::<Skirmish>::decode(&spec.encode()).expect("a spec survives its bytes");
    let (mut straight, mut restored) =
        (Battle::new(spec.clone()).expect("it starts"), Battle::new(spec).expect("it starts"));
    let bounds = straight.world().singleton::<Rules>().bounds();
    let obstacles: Vec<_> =
        straight.world().rows::<Obstacle>().read::<Block>().iter().map(Block::rect).collect();
    let mut rng = Rng::new(seed, 1, 0, 0);
    let (mut record, mut save) = (TickRecord::neutral(Tick::ZERO, 0), Save::default());
    for _ in 0..TICKS {
        straight.bot_record(&mut record);
        for seat in &mut record.inputs {
            assert!(Skirmish::check(&seat.input), "SEED={seed}: {:?}", seat.input);
            if rng.one_in(10) {
                let movement = glam::Vec2::new(rng.signed(), rng.signed());
                seat.input = Input::new(movement, rng.signed() * 3.0, rng.below(4) as u16);
            }
        }
        straight.save(&mut save);
        let hash = straight.step(&record);
        if rng.one_in(8) {
            restored.restore(&save);
        }
        assert_eq!(restored.step(&record), hash, "SEED={seed} tick {}", record.tick);
        for puppet in &*straight.world().rows::<Puppet>().read::<Position>() {
            assert!(
                bounds.grown(-PUPPET_RADIUS).contains(puppet.at),
                "SEED={seed} tick {}: {puppet:?}",
                record.tick
            );
            let free = |rect: &tiltyard_engine::space::Rect| {
                rect.distance_squared(puppet.at) >= PUPPET_RADIUS * PUPPET_RADIUS
            };
            assert!(obstacles.iter().all(free), "SEED={seed} tick {}: {puppet:?}", record.tick);
        }
        for flyer in &*straight.world().rows::<Flyer>().read::<Position>() {
            assert!(bounds.grown(0.2).contains(flyer.at), "SEED={seed} tick {}: {flyer:?}", record.tick);
        }
    }
    assert!(straight.outcome().is_some(), "SEED={seed}: the last tick ends every battle");
}

#[test]
fn random_battles_hold_their_rules_and_restore_exactly() {
    match number("SEED") {
        Some(seed) => play(seed),
        None => (0..number("BATTLES").unwrap_or(60)).for_each(play),
    }
}
