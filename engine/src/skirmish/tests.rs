//! Claims about skirmish.

use super::*;
use crate::kit::motion::Velocity;
use crate::{Battle, BattleSpec, StateHash, Tick, TickRecord, testing};

fn mode(name: &str) -> Mode<Setup> {
    let all = Skirmish::modes().into_iter().chain(Skirmish::scenes());
    all.into_iter().find(|mode| mode.name == name).expect("the mode exists")
}

fn battle(name: &str, seed: u64) -> Battle<Skirmish> {
    Battle::new(BattleSpec::bots(&mode(name), seed)).expect("the mode starts")
}

/// Lets bots play one tick.
fn play(battle: &mut Battle<Skirmish>, record: &mut TickRecord<Input>) -> StateHash {
    battle.bot_record(record);
    assert!(record.inputs.iter().all(|seat| Skirmish::check(&seat.input)), "a bot's input is a legal one");
    battle.step(record)
}

#[test]
fn a_battle_of_bots_ends_with_an_outcome_and_kills_on_both_sides() {
    for (name, seed) in [("skirmish", 1), ("duel", 2), ("melee", 3)] {
        let mut battle = battle(name, seed);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let outcome = loop {
            if let Some(outcome) = battle.outcome() {
                break outcome;
            }
            play(&mut battle, &mut record);
        };
        let teams = usize::from(mode(name).teams);
        assert!(outcome.scores[..teams].iter().all(|kills| *kills > 0), "{name}: {:?}", outcome.scores);
        assert!(outcome.scores[teams..].iter().all(|kills| *kills == 0));
        let best = outcome.scores.iter().max().copied();
        assert_eq!(outcome.winner.map(|team| outcome.scores[usize::from(team.0)]), outcome.winner.and(best));
        let puppets = battle.world().rows::<Puppet>();
        let tallies = puppets.read::<Tally>();
        let kills: i32 = tallies.iter().map(|tally| i32::from(tally.kills)).sum();
        let deaths: i32 = tallies.iter().map(|tally| i32::from(tally.deaths)).sum();
        assert_eq!((kills, deaths), (outcome.scores.iter().sum(), kills), "every death is somebody's kill");
    }
}

#[test]
fn bots_walk_shoot_hit_and_blast() {
    let mut battle = battle("skirmish", 7);
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    let (mut moving, mut living, mut shots, mut hits, mut blasts) = (0, 0, 0, 0, 0);
    for _ in 0..1800 {
        play(&mut battle, &mut record);
        let puppets = battle.world().rows::<Puppet>();
        for (life, velocity) in puppets.read::<Life>().iter().zip(&*puppets.read::<Velocity>()) {
            living += u32::from(life.alive);
            moving += u32::from(life.is_alive() && velocity.per_second.length() > 1.0);
        }
        let told = |kinds: &[EventKind]| {
            let of_kind = |event: &&Event| event.kind().is_some_and(|kind| kinds.contains(&kind));
            battle.events().iter().filter(of_kind).count()
        };
        hits += told(&[EventKind::Hit, EventKind::Death]);
        blasts += told(&[EventKind::Blast]);
        let rules = battle.world().singleton::<Rules>();
        let ends_at = Tick(battle.tick().0 + rules.flyer_ticks);
        let flights = battle.world().rows::<Flyer>().read::<Flight>();
        shots += flights.iter().filter(|flight| flight.ends_at == ends_at).count();
    }
    assert!(moving * 10 > living * 9, "they move {moving} of {living} ticks");
    assert!(shots > 500 && hits * 10 > shots && hits * 2 < shots, "{shots} shots, {hits} hits");
    assert!(blasts >= 10, "{blasts} blasts");
}

#[test]
fn bots_do_not_get_stuck() {
    for (name, seed) in [("duel", 0), ("duel", 1), ("skirmish", 2), ("melee", 3)] {
        let mut battle = battle(name, seed);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let places = |battle: &Battle<Skirmish>| battle.world().rows::<Puppet>().read::<Position>().to_vec();
        let (mut before, mut stuck, mut seen) = (places(&battle), 0, 0);
        while battle.outcome().is_none() {
            for _ in 0..60 {
                play(&mut battle, &mut record);
            }
            let now = places(&battle);
            let lives = battle.world().rows::<Puppet>().read::<Life>().to_vec();
            for ((was, is), _) in before.iter().zip(&now).zip(&lives).filter(|(_, life)| life.is_alive()) {
                seen += 1;
                stuck += i32::from((is.at - was.at).length() < 0.5);
            }
            before = now;
        }
        assert!(stuck * 5 < seen, "{name} {seed}: {stuck} of {seen} times in one place for two seconds");
    }
}

/// Among these seeds are bases in which a puppet comes to life touching an obstacle, or in a gap of its own width.
#[test]
fn bots_of_a_duel_meet_wherever_they_come_to_life() {
    for seed in [16, 19, 24, 28, 84, 155, 245, 496] {
        let mut battle = battle("duel", seed);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let mut last_hit = 0;
        while battle.outcome().is_none() {
            play(&mut battle, &mut record);
            let now = battle.tick().0;
            if battle.events().iter().any(|event| event.kind() == Some(EventKind::Hit)) {
                last_hit = now;
            }
            assert!(now - last_hit < 900, "seed {seed}: nobody was hit for half a minute, tick {now}");
        }
    }
}

#[test]
fn no_puppet_is_ever_in_an_obstacle_or_out_of_the_arena() {
    for seed in 0..6 {
        let mut battle = battle(["skirmish", "melee", "100x300"][seed as usize % 3], seed);
        let bounds = battle.world().singleton::<Rules>().bounds();
        let obstacles: Vec<_> =
            battle.world().rows::<Obstacle>().read::<Block>().iter().map(Block::rect).collect();
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        for _ in 0..200 {
            play(&mut battle, &mut record);
            let tick = battle.tick();
            for position in &*battle.world().rows::<Puppet>().read::<Position>() {
                assert!(
                    bounds.grown(-PUPPET_RADIUS).contains(position.at),
                    "seed {seed} tick {tick}: {position:?}"
                );
                let free = |rect: &crate::space::Rect| {
                    rect.distance_squared(position.at) >= PUPPET_RADIUS * PUPPET_RADIUS
                };
                assert!(obstacles.iter().all(free), "seed {seed} tick {tick}: {position:?}");
            }
            for position in &*battle.world().rows::<Flyer>().read::<Position>() {
                assert!(bounds.contains(position.at), "seed {seed} tick {tick}: {position:?}");
            }
        }
    }
}

#[test]
fn walls_hold_flyers_of_every_speed_in_arenas_of_every_size() {
    for half in 8..40 {
        for flyer_speed in [0.0, 5.0, 20.0, 24.0, 58.0, 200.0] {
            let mut mode = mode("duel");
            mode.setup = Setup { arena_half: half as f32, flyer_speed, strays: 20, ..mode.setup };
            let mut battle = Battle::new(BattleSpec::bots(&mode, half)).unwrap();
            let bounds = battle.world().singleton::<Rules>().bounds();
            let mut record = TickRecord::neutral(Tick::ZERO, 0);
            for _ in 0..60 {
                play(&mut battle, &mut record);
                for flyer in &*battle.world().rows::<Flyer>().read::<Position>() {
                    // The muzzle of who stands at a wall is behind it.
                    assert!(bounds.grown(0.2).contains(flyer.at), "{half} m, {flyer_speed} m/s: {flyer:?}");
                }
            }
        }
    }
}

#[test]
fn strays_stay_as_many_as_they_were() {
    let mut battle = battle("10x30", 4);
    let mut record = TickRecord::neutral(Tick::ZERO, battle.spec().roster.len());
    for tick in 1..600 {
        record.tick = Tick(tick);
        battle.step(&record);
        assert_eq!(battle.world().rows::<Flyer>().len(), 25);
    }
    let hurt = battle.world().rows::<Puppet>().read::<Tally>().iter().map(|tally| tally.deaths).sum::<u16>();
    assert!(hurt > 0, "strays kill who stands still");
    assert_eq!(battle.world().singleton::<Score>().kills, [0; 7], "and that is nobody's kill");
}

#[test]
fn a_restored_battle_goes_on_bit_for_bit_at_every_tick() {
    testing::restore_and_continue(&BattleSpec::<Skirmish>::bots(&mode("skirmish"), 11), 600);
}

#[test]
fn rollbacks_over_spawns_and_despawns_change_nothing() {
    testing::sync_test(&BattleSpec::<Skirmish>::bots(&mode("skirmish"), 12), 300);
    testing::sync_test(&BattleSpec::<Skirmish>::bots(&mode("10x30"), 13), 300);
}

#[test]
fn the_same_seed_gives_the_same_hashes_and_another_seed_others() {
    let chain = |seed| -> Vec<StateHash> {
        let spec = BattleSpec::<Skirmish>::bots(&mode("skirmish"), seed);
        testing::play(&spec, 100).into_iter().map(|(_, hash)| hash).collect()
    };
    assert_eq!(chain(5), chain(5));
    assert_ne!(chain(5), chain(6));
}

/// A duel whose two seats do what the test says.
struct Duel {
    battle: Battle<Skirmish>,
    record: TickRecord<Input>,
}

impl Duel {
    fn new() -> Self {
        let mut mode = mode("duel");
        mode.setup.obstacles = 0;
        let battle = Battle::new(BattleSpec::bots(&mode, 3)).expect("the mode starts");
        Self { battle, record: TickRecord::neutral(Tick::ZERO, 2) }
    }

    fn step(&mut self, first: Input, second: Input) {
        self.record.tick = self.record.tick.next();
        self.record.inputs[0].input = first;
        self.record.inputs[1].input = second;
        self.battle.step(&self.record);
    }

    fn life(&self, seat: usize) -> Life {
        self.battle.world().rows::<Puppet>().read::<Life>()[seat]
    }

    fn place(&self, seat: usize) -> Vec2 {
        self.battle.world().rows::<Puppet>().read::<Position>()[seat].at
    }

    /// What the first seat does to walk to the second and aim at it.
    fn chase(&self, buttons: u16) -> Input {
        let towards = self.place(1) - self.place(0);
        Input::new(towards.normalize_or_zero(), math::angle_of(towards), buttons)
    }
}

#[test]
fn the_dead_return_after_their_time_in_full_health() {
    let mut duel = Duel::new();
    while duel.life(1).is_alive() {
        duel.step(duel.chase(FIRE), Input::default());
        assert!(duel.record.tick < Tick(600), "a standing enemy dies");
    }
    let (died, back) = (duel.record.tick, duel.life(1).returns_at);
    assert_eq!(back.since(died), 90, "three seconds");
    assert_eq!(duel.battle.world().singleton::<Score>().kills[..2], [1, 0]);
    while duel.record.tick.next() < back {
        duel.step(Input::default(), Input { move_x: 127, buttons: FIRE | BLAST, ..Input::default() });
        assert!(!duel.life(1).is_alive());
        assert!(duel.battle.events().is_empty(), "the dead do nothing");
    }
    duel.step(Input::default(), Input::default());
    assert_eq!(duel.life(1), Life::new(100, 1));
    assert_eq!(duel.battle.events()[0].kind(), Some(EventKind::Respawn));
}

#[test]
fn weapon_and_blast_wait_for_their_cooldowns() {
    let mut duel = Duel::new();
    let mut blasts = 0;
    for _ in 0..27 {
        let press = Input { buttons: FIRE | BLAST, aim: AIM_MAX, ..Input::default() };
        duel.step(press, Input::default());
        blasts += duel.battle.events().iter().filter(|event| event.kind() == Some(EventKind::Blast)).count();
    }
    let arms = duel.battle.world().rows::<Puppet>().read::<Arms>()[0];
    assert_eq!(blasts, 1);
    assert_eq!(arms.weapon.0, Tick(19 + 9), "shots at 1, 10 and 19");
    assert_eq!(arms.blast.0, Tick(1 + 180));
}

#[test]
fn a_blast_hurts_enemies_within_its_radius_and_not_its_maker() {
    let mut duel = Duel::new();
    while (duel.place(0) - duel.place(1)).length() > 2.0 {
        duel.step(duel.chase(0), Input::default());
    }
    let distance = (duel.place(0) - duel.place(1)).length();
    duel.step(Input { buttons: BLAST, ..Input::default() }, Input::default());
    let lost = 100 - duel.life(1).health;
    assert!((40..=60).contains(&lost), "{lost} lost at {distance} m");
    assert_eq!(duel.life(0).health, 100);
}

#[test]
fn a_battle_ends_at_its_last_tick_or_at_the_score_limit() {
    let mut spec = BattleSpec::<Skirmish>::bots(&mode("duel"), 3);
    spec.terms.ticks_max = 5;
    let mut battle = Battle::new(spec).unwrap();
    let mut record = TickRecord::neutral(Tick::ZERO, 2);
    for _ in 0..5 {
        assert_eq!(battle.outcome(), None);
        play(&mut battle, &mut record);
    }
    assert_eq!(battle.outcome().unwrap().winner, None, "nobody has killed yet");

    let mut short = mode("skirmish");
    short.setup.score_limit = 1;
    let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(&short, 3)).unwrap();
    let mut record = TickRecord::neutral(Tick::ZERO, 10);
    while battle.outcome().is_none() {
        play(&mut battle, &mut record);
    }
    assert!(battle.tick().0 < battle.spec().terms.ticks_max);
    assert!(battle.outcome().unwrap().scores.contains(&1));
}

#[test]
fn inputs_out_of_their_bounds_are_refused() {
    let good = Input { move_x: 127, move_y: -127, aim: AIM_MAX, buttons: FIRE | BLAST };
    assert!(Skirmish::check(&good));
    assert!(Skirmish::check(&Input { aim: -AIM_MAX, ..good }));
    assert!(Skirmish::check(&Input::default()));
    assert!(!Skirmish::check(&Input { move_x: i8::MIN, ..good }));
    assert!(!Skirmish::check(&Input { move_y: i8::MIN, ..good }));
    for bad in [i16::MIN, -AIM_MAX - 1, AIM_MAX + 1, i16::MAX] {
        assert!(!Skirmish::check(&Input { aim: bad, ..good }), "aim {bad}");
    }
    for bad in [4, u16::MAX] {
        assert!(!Skirmish::check(&Input { buttons: bad, ..good }), "buttons {bad}");
    }
}

#[test]
fn inputs_made_from_floats_are_legal_and_come_near() {
    let nonsense = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, f32::MIN_POSITIVE];
    for value in nonsense {
        let input = Input::new(Vec2::new(value, -value), value, FIRE);
        assert!(Skirmish::check(&input), "{value}: {input:?}");
    }
    for step in -100..=100 {
        let part = step as f32 / 100.0;
        let input = Input::new(Vec2::new(part, -part), part * math::PI, 0);
        assert!(Skirmish::check(&input));
        assert!((input.movement() - Vec2::new(part, -part)).abs().max_element() <= 0.5 / 127.0 + 1e-6);
        assert!((input.angle() - part * math::PI).abs() <= 0.5 / 4096.0 + 1e-6);
        let again = Input::new(input.movement(), input.angle(), 0);
        assert_eq!(again, input, "what is on the grid stays");
    }
}

#[test]
fn facings_keep_an_aim_exactly() {
    let mut duel = Duel::new();
    for aim in (-AIM_MAX..=AIM_MAX).step_by(37).chain([AIM_MAX]) {
        duel.step(Input { aim, ..Input::default() }, Input::default());
        let facing = duel.battle.world().rows::<Puppet>().read::<Facing>()[0].angle;
        assert_eq!(Input::new(Vec2::ZERO, facing, 0).aim, aim);
    }
}

/// A recording made by a stranger may hold any input; intake never lets one through.
#[test]
fn wild_inputs_in_a_record_do_no_harm() {
    let mut battle = battle("duel", 9);
    let mut record = TickRecord::neutral(Tick::ZERO, 2);
    let wild = [i16::MIN, i16::MAX, -1, 128, AIM_MAX + 1];
    for tick in 1..400 {
        record.tick = Tick(tick);
        let [x, y, aim] = [tick, tick / 5, tick / 25].map(|place| wild[place as usize % wild.len()]);
        let (move_x, move_y) = ((x >> 8) as i8, (y >> 8) as i8);
        record.inputs[0].input = Input { move_x, move_y, aim, buttons: u16::MAX };
        record.inputs[1].input = Input { move_x: move_y, move_y: move_x, aim: y, buttons: tick as u16 };
        battle.step(&record);
        let bounds = battle.world().singleton::<Rules>().bounds();
        assert!(
            battle
                .world()
                .rows::<Puppet>()
                .read::<Position>()
                .iter()
                .all(|puppet| bounds.contains(puppet.at))
        );
    }
}

#[test]
fn neither_side_is_favoured() {
    let mut score = [0; 2];
    for seed in 0..16 {
        let mut battle = battle("duel", seed);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        while battle.outcome().is_none() {
            play(&mut battle, &mut record);
        }
        let kills = battle.world().singleton::<Score>().kills;
        score = [score[0] + kills[0], score[1] + kills[1]];
    }
    assert!(score[0] * 3 > score[1] * 2 && score[1] * 3 > score[0] * 2, "{score:?}");
}

#[test]
fn a_silent_seat_walks_on_for_a_moment_and_never_shoots() {
    let last = Input { move_x: 127, move_y: 64, aim: 8192, buttons: FIRE | BLAST };
    let walking = Input { buttons: 0, ..last };
    assert_eq!(Skirmish::missing(&last, 1), walking);
    assert_eq!(Skirmish::missing(&walking, REPEAT_TICKS), walking);
    assert_eq!(Skirmish::missing(&walking, REPEAT_TICKS + 1), Input { aim: 8192, ..Input::default() });
}

#[test]
fn a_setup_of_nonsense_still_makes_a_battle() {
    let mut wild = Setup::for_puppets(10);
    let floats = [f32::MAX, f32::MIN, 0.0, -0.0, f32::MIN_POSITIVE];
    for value in floats {
        (wild.arena_half, wild.spread, wild.speed, wild.acceleration) =
            (value.min(500.0), value, value, value);
        (wild.flyer_speed, wild.flyer_seconds, wild.weapon_seconds) = (value, value, value);
        (wild.return_seconds, wild.blast_radius, wild.blast_seconds) = (value, value, value);
        (wild.health, wild.flyer_damage, wild.blast_damage, wild.flyer_bounces) =
            (0, u32::MAX, u32::MAX, u32::MAX);
        (wild.obstacles, wild.strays, wild.minions) = (u32::MAX, 50, 20);
        let spec = BattleSpec::<Skirmish>::bots(&Mode { setup: wild, ..mode("duel") }, 1);
        let mut battle = Battle::new(spec).unwrap();
        let mut record = TickRecord::neutral(Tick::ZERO, 2);
        for _ in 0..50 {
            play(&mut battle, &mut record);
        }
    }
}

#[test]
fn every_scene_has_as_many_actors_as_its_name_says() {
    for scene in Skirmish::scenes() {
        let (puppets, flyers) = scene.name.split_once('x').unwrap();
        let (puppets, flyers) = (puppets.parse::<usize>().unwrap(), flyers.parse::<usize>().unwrap());
        let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(&scene, 1)).unwrap();
        assert_eq!(battle.world().rows::<Puppet>().len(), puppets);
        if puppets > 1000 {
            continue;
        }
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let mut sum = 0;
        for tick in 0..120 {
            play(&mut battle, &mut record);
            sum += if tick < 60 { 0 } else { battle.world().rows::<Flyer>().len() };
        }
        let mean = sum / 60;
        assert!(mean * 10 > flyers * 8 && mean * 10 < flyers * 12, "{}: {mean} flyers", scene.name);
    }
}

#[test]
fn the_crowd_of_a_large_scene_fights() {
    let mut battle = battle("1000x3000", 5);
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    for _ in 0..90 {
        play(&mut battle, &mut record);
    }
    let flyers = battle.world().rows::<Flyer>().len();
    assert!((2_700..3_300).contains(&flyers), "{flyers} flyers");
    let deaths: u32 =
        battle.world().rows::<Puppet>().read::<Tally>().iter().map(|tally| u32::from(tally.deaths)).sum();
    assert!(deaths > 20, "{deaths} deaths");
}
