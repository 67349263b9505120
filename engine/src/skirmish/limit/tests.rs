//! Claims about the limit: it ends every tick in the hash that skirmish ends in.

use super::Limit;
use crate::rng::Rng;
use crate::skirmish::{Input, Setup, Skirmish};
use crate::{
    Battle, BattleSpec, Game, Roster, RosterSeat, SeatRole, Team, Terms, Tick, TickRate, TickRecord,
};

/// Plays both side by side; `bend` may change what the scripted players do.
fn compare(
    spec: &BattleSpec<Skirmish>,
    ticks: u32,
    mut bend: impl FnMut(&mut TickRecord<Input>),
    name: &str,
) {
    let mut battle = Battle::new(spec.clone()).expect("it starts");
    let mut limit = Limit::new(spec);
    assert_eq!(limit.state_hash(), battle.state_hash(), "{name}: before the first tick");
    let mut record = TickRecord::neutral(Tick::ZERO, spec.roster.len());
    for _ in 0..ticks {
        battle.bot_record(&mut record);
        bend(&mut record);
        let expected = battle.step(&record);
        assert_eq!(limit.step(&record), expected, "{name}: tick {}", record.tick);
    }
}

fn compare_mode(name: &str, seed: u64, ticks: u32) {
    let mode = Skirmish::modes().into_iter().chain(Skirmish::scenes()).find(|mode| mode.name == name);
    compare(&BattleSpec::bots(&mode.expect("the mode exists"), seed), ticks, |_| {}, name);
}

#[test]
fn the_stock_mode_ends_every_tick_in_the_same_state() {
    compare_mode("skirmish", 2026, 2000);
    compare_mode("melee", 5, 600);
}

#[test]
fn small_scenes_end_every_tick_in_the_same_state() {
    compare_mode("10x30", 1, 600);
    compare_mode("100x300", 2, 600);
}

#[test]
fn a_large_scene_ends_every_tick_in_the_same_state() {
    compare_mode("1000x3000", 3, 60);
}

fn around(rng: &mut Rng, usual: f32) -> f32 {
    usual * [0.0, 0.1, 1.0, 1.0, 1.0, 1.7, 10.0][rng.below(7) as usize]
}

fn random_spec(seed: u64) -> BattleSpec<Skirmish> {
    let rng = &mut Rng::new(seed, 0, 0, 0);
    let seats = 1 + rng.below(30);
    let usual = Setup::for_puppets(seats);
    let setup = Setup {
        arena_half: [8.0, usual.arena_half, usual.arena_half * 2.0, 40.3, 2000.0][rng.below(5) as usize],
        obstacles: rng.below(60),
        minions: rng.below(40),
        strays: rng.below(120),
        spread: rng.range(-0.2, 1.2),
        score_limit: rng.below(5),
        speed: around(rng, usual.speed),
        acceleration: around(rng, usual.acceleration),
        health: [0, 1, 50, 100, u32::MAX][rng.below(5) as usize],
        return_seconds: around(rng, 1.0),
        flyer_speed: around(rng, usual.flyer_speed),
        flyer_seconds: around(rng, usual.flyer_seconds),
        flyer_damage: [0, 20, 20, 1000, u32::MAX][rng.below(5) as usize],
        flyer_bounces: [0, 1, 3, 255][rng.below(4) as usize],
        weapon_seconds: around(rng, usual.weapon_seconds),
        blast_radius: around(rng, usual.blast_radius),
        blast_damage: [0, 60, 60, u32::MAX][rng.below(4) as usize],
        blast_edge_damage: [0, 10, 80][rng.below(3) as usize],
        blast_seconds: around(rng, 2.0),
    };
    let rate = TickRate::new([1, 10, 30, 60, 240][rng.below(5) as usize]).expect("the rate is possible");
    let mut seat =
        || RosterSeat { player: 0, team: Team(rng.below(16) as u8), role: SeatRole::Bot, loadout: 0 };
    let roster = Roster { seats: (0..seats).map(|_| seat()).collect() };
    BattleSpec { terms: Terms { seed, rate, ticks_max: 10_000 }, setup, roster }
}

/// `SEED=7 cargo test limit` plays that one setup; `BATTLES=10000` plays so many.
#[test]
fn random_setups_end_every_tick_in_the_same_state() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let play = |seed| {
        let mut rng = Rng::new(seed, 1, 0, 0);
        let bend = |record: &mut TickRecord<Input>| {
            for seat in &mut record.inputs {
                if rng.one_in(8) {
                    let movement = glam::Vec2::new(rng.signed(), rng.signed());
                    seat.input = Input::new(movement, rng.signed() * 3.0, rng.below(4) as u16);
                }
            }
        };
        compare(&random_spec(seed), 120, bend, &format!("SEED={seed}"));
    };
    match number("SEED") {
        Some(seed) => play(seed),
        None => (0..number("BATTLES").unwrap_or(60)).for_each(play),
    }
}
