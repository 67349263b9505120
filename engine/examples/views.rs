//! What it takes to show a seat its own area of interest, in a battle of 100 puppets and 300 flyers: the look, the
//! part of the newest state with its hash, the part of the baseline four ticks before, and the encode. Beside it the
//! encode of the full view, which all seats would share.
//!
//!     cargo run --release -p tiltyard-engine --example views

// Measuring and saying so is what this is for; the engine itself has no clock.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tiltyard_engine::glam::Vec2;
use tiltyard_engine::kit::motion::Position;
use tiltyard_engine::kit::reach::Reach;
use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::{Flyer, Puppet, Skirmish};
use tiltyard_engine::{
    ActorId, Audience, Battle, BattleSpec, Game, Lookout, Mode, Outcome, Registry, Save, Schedule, Seat,
    Seen, Sight, Stage, Terms, TickRecord, World, snapshot,
};

/// How far a puppet sees, in metres.
const REACH: Reach = Reach { enter: 20.0, leave: 23.0 };

/// Skirmish as far as it is looked at: the view of a number is what the puppet in that row sees.
struct Near;

impl Game for Near {
    const NAME: &'static str = "near";
    type Input = <Skirmish as Game>::Input;
    type Event = <Skirmish as Game>::Event;
    type Setup = <Skirmish as Game>::Setup;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        Skirmish::components(registry);
    }
    fn systems(_: &mut Schedule<Self>) {}
    fn modes() -> Vec<Mode<Self::Setup>> {
        Skirmish::modes()
    }
    fn spawn(_: &mut Stage<'_, Self>) {}
    fn missing(last: &Self::Input, age: u16) -> Self::Input {
        Skirmish::missing(last, age)
    }
    fn check(input: &Self::Input) -> bool {
        Skirmish::check(input)
    }
    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Self::Input {
        Skirmish::bot(world, seat, rng)
    }
    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        Skirmish::outcome(world, terms)
    }
    fn puppet(world: &World, seat: Seat) -> Option<ActorId> {
        world.rows::<Puppet>().ids().get(seat.index()).copied()
    }
    fn sight(world: &World, view: u16, sight: &mut Sight<'_>) {
        let eye: Vec2 = world.rows::<Puppet>().read::<Position>()[usize::from(view)].at;
        REACH.see::<Puppet>(world, &[eye], sight);
        REACH.see::<Flyer>(world, &[eye], sight);
    }
}

fn main() {
    let scene = &Skirmish::scenes()[1];
    let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(scene, 1)).expect("the scene starts");
    let mut record = TickRecord::neutral(battle.tick(), battle.spec().roster.len());
    let mut step = |battle: &mut Battle<Skirmish>| {
        battle.bot_record(&mut record);
        battle.step(&record);
    };
    (0..90).for_each(|_| step(&mut battle));
    let registry = Registry::of::<Near>().expect("it is skirmish's");
    let rate = battle.spec().terms.rate;
    let seats: Vec<_> = (0..100_u16).collect();
    let mut lookouts: Vec<_> = seats.iter().map(|_| Lookout::new(&registry)).collect();
    let (mut baselines, mut seen) = (vec![Seen::default(); seats.len()], Seen::default());
    let (mut old, mut now) = (Save::default(), Save::default());
    battle.save(&mut old);
    for (seat, (lookout, seen)) in lookouts.iter_mut().zip(&mut baselines).enumerate() {
        lookout.look::<Near>(battle.world(), seat as u16, &[Seat(seat as u16)], seen);
    }
    (0..4).for_each(|_| step(&mut battle));
    battle.save(&mut now);

    let (mut part, mut base, mut body) = (Save::default(), Save::default(), Vec::new());
    // The fastest round of many: what else the machine did is not in it.
    let mut fastest = [Duration::MAX; 4];
    let (mut bytes, mut rows) = (0, 0);
    for _ in 0..500 {
        let mut parts = [Duration::ZERO; 4];
        (bytes, rows) = (0, 0);
        for (seat, (lookout, before)) in lookouts.iter_mut().zip(&baselines).enumerate() {
            let begin = Instant::now();
            lookout.look::<Near>(battle.world(), seat as u16, &[Seat(seat as u16)], &mut seen);
            let looked = Instant::now();
            now.select(&registry, &seen, Audience::Everybody, &mut part);
            part.rehash(&registry);
            let selected = Instant::now();
            old.select(&registry, before, Audience::Everybody, &mut base);
            let based = Instant::now();
            body.clear();
            snapshot::encode(&registry, rate, black_box(&part), Some(black_box(&base)), &mut body);
            let end = Instant::now();
            let times = [looked - begin, selected - looked, based - selected, end - based];
            parts.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
            bytes += body.len();
            rows += part.rows(&registry);
        }
        for (fastest, part) in fastest.iter_mut().zip(parts) {
            *fastest = part.min(*fastest);
        }
    }
    let mut full = Duration::MAX;
    for _ in 0..2000 {
        let begin = Instant::now();
        body.clear();
        snapshot::encode(&registry, rate, black_box(&now), Some(black_box(&old)), &mut body);
        full = full.min(begin.elapsed());
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("a seat's own view: {:.2} us", us(fastest.iter().sum()) / seats.len() as f64);
    for (name, part) in ["look", "select and hash", "select baseline", "encode"].iter().zip(fastest) {
        println!("  {name}: {:.2} us", us(part) / seats.len() as f64);
    }
    println!("  {} rows, {} bytes", rows / seats.len(), bytes / seats.len());
    println!("the full view: {:.2} us, {} rows, {} bytes", us(full), now.rows(&registry), body.len());
}
