//! What every game should ask of itself, what this one promises, and a client that is not the house's own.

use std::time::Duration;

use tiltyard::config::Config;
use tiltyard::exit::Exit;
use tiltyard::house::{House, Plan, StorePlace};
use tiltyard::keys::ClusterKeys;
use tiltyard_client::{BattleSession, LobbySession, LobbySettings, PlayerSettings, Report, Script, View};
use tiltyard_engine::glam::Vec2;
use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::math::{PI, angle_of};
use tiltyard_engine::screen::{Canvas, Ink, Key, Keys};
use tiltyard_engine::space::Rect;
use tiltyard_engine::{Battle, BattleSpec, Game, Seat, Team, TickRecord, World, testing};

use super::{Duel, Flyer, Input, Puppet, Rules, Score};

fn spec(seed: u64) -> BattleSpec<Duel> {
    BattleSpec::bots(&Duel::modes()[0], seed)
}

#[test]
fn rolling_back_changes_nothing() {
    testing::sync_test(&spec(7), 600);
}

#[test]
fn a_restored_battle_goes_on_bit_for_bit() {
    testing::restore_and_continue(&spec(7), 600);
}

#[test]
fn no_state_depends_on_its_history() {
    testing::history_fuzz::<Duel>(50);
}

#[test]
fn every_machine_comes_to_the_golden_state() {
    let (_, hash) = *testing::play(&spec(7), 600).last().expect("600 ticks");
    assert_eq!(hash.to_string(), "0873792f76e66942", "the rules have changed");
}

/// The input of one who stands, aims at the other puppet and shoots.
fn shoot_at_the_other(world: &World, row: usize) -> Input {
    let puppets = world.rows::<Puppet>();
    let places = puppets.read::<Position>();
    let aim = angle_of(places[1 - row].at - places[row].at) / PI;
    Input { aim: (aim * 32_768.0) as i16, shoot: 1, ..Input::default() }
}

#[test]
fn three_hits_fell_five_falls_win_and_flyers_end() {
    let mut battle = Battle::new(spec(7)).expect("the duel starts");
    let mut record = TickRecord::neutral(battle.tick(), 2);
    let (mut hits, mut flyers_max) = (0, 0);
    while battle.outcome().is_none() {
        record.tick = battle.tick().next();
        record.inputs[0].input = shoot_at_the_other(battle.world(), 0);
        battle.step(&record);
        hits += battle.events().len();
        flyers_max = flyers_max.max(battle.world().rows::<Flyer>().len());
    }
    assert_eq!((hits, battle.world().singleton::<Score>().kills), (15, [5, 0]));
    assert_eq!(battle.outcome().expect("it is over").winner, Some(Team(0)));
    // One every 0.4 s, each for 1.5 s at most.
    assert!((1..=4).contains(&flyers_max), "{flyers_max}");
}

#[test]
fn bots_fight_until_somebody_wins() {
    for seed in 0..20 {
        let mut battle = Battle::new(spec(seed)).expect("the duel starts");
        let mut record = TickRecord::neutral(battle.tick(), 2);
        while battle.outcome().is_none() {
            battle.bot_record(&mut record);
            assert!(record.inputs.iter().all(|seat| Duel::check(&seat.input)), "seed {seed}");
            battle.step(&record);
        }
        let kills = battle.world().singleton::<Score>().kills;
        assert!(kills.iter().sum::<u32>() > 2, "seed {seed}: {kills:?}");
    }
}

#[test]
fn senseless_inputs_are_refused() {
    let fine = Input { walk: [-100, 100], aim: i16::MIN, shoot: 1 };
    assert!(Duel::check(&fine));
    assert!(!Duel::check(&Input { walk: [-101, 0], ..fine }));
    assert!(!Duel::check(&Input { walk: [0, 101], ..fine }));
    assert!(!Duel::check(&Input { shoot: 2, ..fine }));
}

#[test]
fn the_whole_program_is_there() {
    let run = |line: &str| tiltyard::run_with::<Duel>(format!("duel {line}").split(' ').map(Into::into));
    // Whoever walks this example's page starts this test as a process of its own, which then is the program.
    if let Ok(line) = std::env::var("PROGRAM_LINE") {
        std::process::exit(run(&line).code().into());
    }
    assert_eq!(run("--version"), Exit::Fine);
    assert_eq!(run("fly"), Exit::Usage);
}

/// What keys do.
const KEYS: &[(&str, &str)] = &[("wasd or arrows", "walk"), ("space", "shoot at the other")];

/// Walks by the keys, and shoots at the other while the space bar is held.
fn steer(world: &World, seat: Seat, keys: &Keys) -> Input {
    let x = keys.axis(&[Key::Char('a'), Key::Left], &[Key::Char('d'), Key::Right]);
    let y = keys.axis(&[Key::Char('s'), Key::Down], &[Key::Char('w'), Key::Up]);
    let walk = [x, y].map(|wish| (wish * 100.0) as i8);
    let shot = shoot_at_the_other(world, seat.index());
    Input { walk, shoot: u16::from(keys.is_held(Key::Char(' '))), ..shot }
}

/// Draws the score, and below it the square with puppets and flyers.
fn picture(battle: &Battle<Duel>, seat: Option<Seat>, canvas: &mut Canvas) {
    let world = battle.world();
    let [left, right] = world.singleton::<Score>().kills;
    canvas.text(0, 0, &format!("{left} : {right}"), Ink::Strong);
    let square = Rect::around(Vec2::ZERO, Vec2::splat(world.singleton::<Rules>().half));
    let puppets = world.rows::<Puppet>();
    let places = puppets.read::<Position>();
    let mut map = canvas.map(1, &square, seat.map(|seat| places[seat.index()].at));
    map.outline(&square, Ink::Faint);
    for flyer in world.rows::<Flyer>().read::<Position>().iter() {
        map.put(flyer.at, '*', Ink::Plain);
    }
    for (row, place) in places.iter().enumerate() {
        let ink = if seat.is_some_and(|seat| seat.index() == row) { Ink::Strong } else { Ink::Plain };
        map.put(place.at, '@', ink);
    }
}

type Picture = fn(&Battle<Duel>, Option<Seat>, &mut Canvas);

#[test]
fn a_player_at_the_keyboard_walks_shoots_and_sees_it() {
    let mut battle = Battle::new(spec(7)).expect("the duel starts");
    let mut record = TickRecord::neutral(battle.tick(), 2);
    // What is shown beside the game is what its trait asks for.
    let steer: [fn(&World, Seat, &Keys) -> Input; 2] = [steer, Duel::steer];
    let picture: [Picture; 2] = [picture, Duel::picture];
    let same_type = [KEYS, Duel::KEYS];
    assert_eq!(same_type.map(<[_]>::len), [2, 0], "the duel itself does without");
    let keys = Keys::new([Key::Left, Key::Char('w'), Key::Char(' ')]);
    record.tick = battle.tick().next();
    record.inputs[0].input = steer[0](battle.world(), Seat(0), &keys);
    assert!(Duel::check(&record.inputs[0].input));
    assert_eq!((record.inputs[0].input.walk, record.inputs[0].input.shoot), ([-100, 100], 1));
    battle.step(&record);
    for _ in 0..5 {
        record.tick = battle.tick().next();
        battle.step(&record);
    }
    let mut canvas = Canvas::new(40, 20);
    picture[0](&battle, Some(Seat(0)), &mut canvas);
    let seen = canvas.to_string();
    assert!(seen.starts_with("0 : 0\n") && seen.contains('*'), "{seen}");
    assert_eq!(seen.matches('@').count(), 2, "{seen}");
}

/// A player of one's own: stands, and shoots.
struct Turret;

impl Script<Duel> for Turret {
    fn decide(&mut self, view: &mut View<'_, Duel>) -> Option<Input> {
        Some(shoot_at_the_other(view.battle.world(), view.seat.index()))
    }
}

/// Asks the gate for a fresh duel against a bot and plays it to its end.
async fn play(gate: &str) -> anyhow::Result<Report> {
    let mut lobby = LobbySession::log_in(LobbySettings::new(gate)).await?;
    let ticket = lobby.issue("duel", 0).await?;
    let settings = PlayerSettings::default();
    let mut session = BattleSession::<Duel>::connect(ticket.token_file, settings, Box::new(Turret)).await?;
    Ok(session.run_for(Duration::from_secs(100)).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_ones_own_plays_on_real_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.battle.seconds = 2;
    for listen in [&mut config.gate.listen, &mut config.http.listen, &mut config.control.listen] {
        listen.set_port(0);
    }
    let plan = Plan {
        store: StorePlace::Memory,
        recordings: folder.path().join("replays"),
        outbox: folder.path().join("outbox"),
        ..Plan::new(config, ClusterKeys::generate(0).expect("random keys"))
    };
    let house = House::<Duel>::start(&plan).await.expect("the house starts");
    let report = play(&house.gate()).await.expect("the duel is played");
    house.close().await;
    assert_eq!((report.desyncs, report.agrees), (0, Some(true)), "{report:?}");
    assert!(report.ticks > 0 && report.inputs > 0, "{report:?}");
}
