//! A small game for a node's tests: seats push a counter of their own; one word makes the game panic.

use tiltyard_engine::rng::Rng;
use tiltyard_engine::screen::{Canvas, Ink};
use tiltyard_engine::{
    Battle, BattleSpec, Game, Mode, Outcome, Registry, Roster, RosterSeat, Schedule, Seat, SeatRole, Stage,
    Step, Team, Terms, TickRate, World, kind, record,
};

record! {
    pub(crate) struct Push { pub(crate) by: f32, pub(crate) word: u32 }
    pub(crate) struct Sum { pub(crate) total: f32 }
    pub(crate) struct Note { seat: u32 }
    pub(crate) struct Rules { pub(crate) limit: u32 }
}
kind! {
    pub(crate) struct Counter { sum: Sum }
}

// The limit of the rules is the first tick that cannot be drawn; 0 for none.

/// The word that makes a tick panic.
pub(crate) const WORD_PANIC: u32 = 13;
/// The word that makes the judging of an input panic.
pub(crate) const WORD_PANIC_AT_CHECK: u32 = 14;
/// The word that the game refuses.
pub(crate) const WORD_NONSENSE: u32 = 99;

pub(crate) struct Pushing;

impl Game for Pushing {
    const NAME: &'static str = "pushing";
    type Input = Push;
    type Event = Note;
    type Setup = Rules;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Counter>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("push", push);
    }

    fn modes() -> Vec<Mode<Rules>> {
        vec![Mode { name: "pushing", teams: 2, seats_per_team: 1, seconds: 60, setup: Rules { limit: 0 } }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for _ in 0..stage.roster.len() {
            stage.spawn(Counter::default());
        }
    }

    fn missing(last: &Push, age: u16) -> Push {
        if age > 3 { Push::default() } else { *last }
    }

    fn check(input: &Push) -> bool {
        assert_ne!(input.word, WORD_PANIC_AT_CHECK, "the game does not like this word");
        input.word != WORD_NONSENSE
    }

    fn bot(_: &World, _: Seat, rng: &mut Rng) -> Push {
        Push { by: rng.unit(), word: 0 }
    }

    fn picture(battle: &Battle<Self>, _: Option<Seat>, canvas: &mut Canvas) {
        let (tick, limit) = (battle.tick().0, battle.spec().setup.limit);
        assert!(limit == 0 || tick < limit, "the game cannot draw this");
        canvas.text(0, 0, &format!("tick {tick}"), Ink::Strong);
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn push(step: &mut Step<'_, Pushing>) {
    for (counter, seat) in step.world.rows::<Counter>().write::<Sum>().iter_mut().zip(step.inputs) {
        assert_ne!(seat.input.word, WORD_PANIC, "the game's own mistake");
        counter.total += seat.input.by;
    }
}

/// A battle of `humans` players and one scripted one.
pub(crate) fn spec(humans: u16, ticks_max: u32) -> BattleSpec<Pushing> {
    let seat = |role, number: u16| RosterSeat { player: u64::from(number), team: Team(0), role, loadout: 0 };
    let mut seats: Vec<_> = (0..humans).map(|number| seat(SeatRole::Human, number)).collect();
    seats.push(seat(SeatRole::Bot, humans));
    let terms = Terms { seed: 5, rate: TickRate::DEFAULT, ticks_max };
    BattleSpec { terms, setup: Rules { limit: 0 }, roster: Roster { seats } }
}

pub(crate) fn bytes(by: f32, word: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&by.to_le_bytes());
    bytes[4..].copy_from_slice(&word.to_le_bytes());
    bytes
}
