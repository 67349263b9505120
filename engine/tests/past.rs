//! Lag compensation: a shot is judged by what its shooter saw, within bounds, and the same whenever it is computed.

use tiltyard_engine::glam::{Vec2, vec2};
use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::kit::past::{self, PAST_TICKS, Past};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    Battle, BattleSpec, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, Step, Terms, Tick, TickRate,
    TickRecord, World, kind, record, testing,
};

record! {
    /// Walks along a line, and shoots at a place on it.
    struct Input {
        aim: f32,
        /// In tenths of a metre a second; 100 at most.
        walk: i16,
        shoots: u8,
        back: u8,
    }
    struct Hits { taken: u32 }
    struct Nothing { unused: u32 }
}
kind! {
    struct Body { position: Position, past: Past, hits: Hits }
}

/// How near a shot has to come: less than anybody walks in a tick.
const RADIUS: f32 = 0.02;
/// Who runs does it so fast, in metres a second.
const SPEED: f32 = 10.0;

/// Bodies on a line, one a seat, that shoot at each other at once.
struct Range;

impl Game for Range {
    const NAME: &'static str = "range";
    type Input = Input;
    type Event = Nothing;
    type Setup = Nothing;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Body>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("walk", walk);
        schedule.add("shoot", shoot);
    }

    fn modes() -> Vec<Mode<Nothing>> {
        vec![Mode { name: "range", teams: 2, seats_per_team: 1, seconds: 20, setup: Nothing::default() }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for seat in 0..stage.roster.len() {
            let at = vec2(seat as f32 * 5.0, 0.0);
            stage.spawn(Body { position: Position { at }, past: Past::new(at), hits: Hits::default() });
        }
    }

    fn missing(last: &Input, _: u16) -> Input {
        Input { shoots: 0, ..*last }
    }

    fn check(input: &Input) -> bool {
        u32::from(input.back) < PAST_TICKS && input.walk.unsigned_abs() <= 100 && input.shoots <= 1
    }

    /// Runs, and shoots at where it sees the next one.
    fn bot(world: &World, seat: Seat, _: &mut Rng) -> Input {
        let bodies = world.rows::<Body>();
        let positions = bodies.read::<Position>();
        let next = positions[(seat.index() + 1) % positions.len()];
        Input { aim: next.at.x, walk: 100, shoots: 1, back: 0 }
    }

    fn aimed(input: Input, seen: Tick, tick: Tick) -> Input {
        Input { back: past::back(seen, tick), ..input }
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn walk(step: &mut Step<'_, Range>) {
    let bodies = step.world.rows::<Body>();
    let (mut positions, mut pasts) = (bodies.write::<Position>(), bodies.write::<Past>());
    let seconds = step.terms.rate.seconds_per_tick();
    for ((position, past), seat) in positions.iter_mut().zip(pasts.iter_mut()).zip(step.inputs) {
        position.at.x += f32::from(seat.input.walk.clamp(-100, 100)) / 10.0 * seconds;
        past.remember(step.tick, position.at);
    }
}

fn shoot(step: &mut Step<'_, Range>) {
    let bodies = step.world.rows::<Body>();
    let (pasts, mut hits) = (bodies.read::<Past>(), bodies.write::<Hits>());
    for (shooter, seat) in step.inputs.iter().enumerate().filter(|(_, seat)| seat.input.shoots == 1) {
        for (row, past) in pasts.iter().enumerate().filter(|(row, _)| *row != shooter) {
            let at = past.at(step.tick, u32::from(seat.input.back), step.terms.rate);
            hits[row].taken += u32::from((at.x - seat.input.aim).abs() < RADIUS);
        }
    }
}

fn spec(hz: u16) -> BattleSpec<Range> {
    let mut spec = BattleSpec::<Range>::bots(&Range::modes()[0], 3);
    spec.terms.rate = TickRate::new(hz).expect("a rate");
    spec
}

fn target(battle: &Battle<Range>) -> (Vec2, u32) {
    let bodies = battle.world().rows::<Body>();
    (bodies.read::<Position>()[1].at, bodies.read::<Hits>()[1].taken)
}

/// Whether seat 0 hits the runner by a shot at where it was so many ticks ago, as the input says or would have it.
fn hits(hz: u16, ago: u32, back: u8) -> bool {
    let mut battle = Battle::new(spec(hz)).expect("it starts");
    let mut record = TickRecord::<Input>::neutral(Tick::ZERO, 2);
    record.inputs[1].input.walk = (SPEED * 10.0) as i16;
    let mut places = vec![target(&battle).0];
    for tick in 1..=99 {
        record.tick = Tick(tick);
        battle.step(&record);
        places.push(target(&battle).0);
    }
    record.tick = Tick(100);
    record.inputs[0].input = Input { aim: places[100 - ago as usize].x, walk: 0, shoots: 1, back };
    battle.step(&record);
    target(&battle).1 == 1
}

#[test]
fn a_shot_at_where_the_target_was_for_the_shooter_hits() {
    for hz in [30, 60, 128] {
        for back in 1..=past::back_max(TickRate::new(hz).expect("a rate")) {
            assert!(hits(hz, back, back as u8), "{hz} Hz, {back} ticks back");
            assert!(!hits(hz, back, 0), "{hz} Hz: without compensation the target was gone");
        }
    }
}

#[test]
fn beyond_200_ms_the_target_had_reached_cover() {
    for hz in [30, 60, 128] {
        let back_max = past::back_max(TickRate::new(hz).expect("a rate"));
        assert!(back_max * 1000 <= 200 * u32::from(hz) && (back_max + 1) * 1000 > 200 * u32::from(hz));
        let beyond = back_max + 1;
        assert!(!hits(hz, beyond, beyond as u8), "{hz} Hz");
        // It is judged by the oldest place that counts.
        assert!(hits(hz, back_max, beyond as u8), "{hz} Hz");
    }
}

#[test]
fn an_input_that_claims_more_than_is_remembered_is_refused() {
    let claims = |back| Range::check(&Input { back, ..Input::default() });
    assert!(claims(31) && !claims(32) && !claims(u8::MAX));
    // What the client notes passes, however old the picture is.
    assert!(Range::check(&Range::aimed(Input::default(), Tick(0), Tick(u32::MAX))));
    // The systems bear what a recording may hold all the same.
    assert!(hits(30, 6, u8::MAX));
}

#[test]
fn scripted_players_hit_what_they_saw() {
    let mut battle = Battle::new(spec(30)).expect("it starts");
    let mut record = TickRecord::<Input>::neutral(Tick::ZERO, 2);
    for tick in 1..=50 {
        battle.bot_record(&mut record);
        assert_eq!(record.inputs[0].input.back, 1);
        battle.step(&record);
        assert_eq!(target(&battle).1, tick);
    }
}

#[test]
fn the_past_is_state_and_comes_out_the_same_after_every_rollback_restore_and_trip_through_bytes() {
    testing::sync_test(&spec(30), 120);
    testing::restore_and_continue(&spec(30), 60);
    testing::history_fuzz::<Range>(20);
}
