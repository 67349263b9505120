//! The program for the barest of games, without actors: what needs no more is there for it too, and soak finds its flaw.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tiltyard::bench::Played;
use tiltyard::exit::Exit;
use tiltyard_engine::rng::Rng;
use tiltyard_engine::{Game, Mode, Outcome, Registry, Schedule, Seat, Stage, Terms, World};

use crate::program::{Program, wait};
use crate::terminal::{LEAVE_SCREEN, Terminal};

tiltyard_engine::record! {
    /// How long the candle still burns.
    pub struct Candle { pub ticks: u32 }
}

/// A game of waiting: a candle burns down, and nobody wins. The flawed one counts in a place of its own, which no
/// rollback takes back.
struct Waiting<const FLAWED: bool>;

/// The variable that makes it panic in tick 50.
const BURNT_OUT: &str = "BURNT_OUT";

static BURNED: AtomicU32 = AtomicU32::new(0);

impl<const FLAWED: bool> Game for Waiting<FLAWED> {
    const NAME: &'static str = "waiting";
    type Input = Candle;
    type Event = Candle;
    type Setup = Candle;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.singleton::<Candle>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("burn", |step| {
            assert!(step.tick.0 < 50 || std::env::var_os(BURNT_OUT).is_none(), "burnt out");
            let burned = if FLAWED { BURNED.fetch_add(1, Ordering::Relaxed) } else { 1 };
            let mut candle = step.world.singleton_mut::<Candle>();
            candle.ticks = candle.ticks.wrapping_sub(burned);
        });
    }

    fn modes() -> Vec<Mode<Candle>> {
        let mode =
            |name, ticks| Mode { name, teams: 1, seats_per_team: 1, seconds: 10, setup: Candle { ticks } };
        vec![mode("short", 100), mode("long", 300)]
    }

    fn spawn(_: &mut Stage<'_, Self>) {}

    fn missing(last: &Candle, _: u16) -> Candle {
        *last
    }

    fn check(_: &Candle) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, _: &mut Rng) -> Candle {
        Candle::default()
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn run(config: &Path, line: &str) -> Exit {
    let config = config.to_str().expect("UTF-8");
    run_of::<false>(&format!("--config {config} {line}"))
}

fn run_of<const FLAWED: bool>(line: &str) -> Exit {
    let line = format!("waiting {line}");
    tiltyard::run_with::<Waiting<FLAWED>>(line.split_whitespace().map(Into::into))
}

#[test]
fn an_own_game_gets_the_whole_program_with_its_own_modes() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("own.toml");
    let check = |text: &str, expected: Exit| {
        fs::write(&config, text).expect("written");
        assert_eq!(run(&config, "config check"), expected, "{text}");
    };
    check("queue.modes = [\"long\", \"short\"]", Exit::Fine);
    check("queue.modes = []", Exit::Fine);
    check("queue.modes = [\"skirmish\"]", Exit::Usage);
    check("", Exit::Fine);
    let keys = folder.path().join("keys.toml");
    assert_eq!(run(&config, &format!("keys new --file {}", keys.display())), Exit::Fine);
    assert_eq!(run(&config, &format!("keys new --file {}", keys.display())), Exit::Failed);
    assert_eq!(run(&config, "fly"), Exit::Usage);
    // It lists no keys.
    assert_eq!(run(&config, "connect --token t.token --interactive"), Exit::Usage);
    // It is measured too, although there is nothing by hand to compare it with.
    assert_eq!(run(&config, "bench --scene long --seconds 1"), Exit::Fine);
    assert_eq!(run(&config, "bench --scene many --seconds 1"), Exit::Fine);
    let drawing = folder.path().join("cost.svg");
    assert_eq!(
        run(&config, &format!("bench --scene all --seconds 1 --svg {}", drawing.display())),
        Exit::Fine
    );
    assert!(fs::read_to_string(drawing).is_ok_and(|svg| svg.matches("<circle").count() == 2));
}

#[test]
fn the_program_that_waits() {
    // The next test starts this one as a process of its own, which then is the program.
    let line = std::env::var(Program::LINE).unwrap_or("--version".to_owned());
    let exit = run_of::<false>(&line);
    if std::env::var_os(Program::LINE).is_some() {
        std::process::exit(exit.code().into());
    }
    assert_eq!(exit, Exit::Fine);
}

#[test]
fn a_replay_of_a_game_without_a_picture_lists_what_there_is() {
    let program = Program::of_test("bare_game::the_program_that_waits");
    let played = Played::<Waiting<false>>::of(&Waiting::<false>::modes()[0], 1, 0, 90).expect("it is played");
    let recording = played.recording().expect("it is recorded");
    fs::write(program.path().join("a.replay"), recording).expect("written");
    let (code, text, error) = program.person("replay play a.replay --ticks 60..60 --size 60x9");
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("waiting, tick 60\n"), "{text}");
    assert!(text.contains("tick 60/90  0:02.0/0:03.0 ━"), "{text}");
    assert_eq!(program.json("replay play a.replay --follow 1").0, 2);

    // Of a game that panics the ticks before are shown, in both directions.
    let mut terminal = Terminal::open();
    let before = terminal.modes();
    let mut child = terminal.start(program.command("replay play a.replay --from 45").env(BURNT_OUT, "1"));
    terminal.wait_for("the game panicked in tick 50");
    terminal.press(",");
    terminal.wait_for("tick 48/90");
    terminal.press("60g");
    terminal.wait_for("the game panicked in tick 50");
    terminal.press("q");
    assert!(terminal.wait_for("a.replay: the game panicked in tick 50").contains(LEAVE_SCREEN));
    assert_eq!(wait(&mut child), Some(1));
    assert!(terminal.is_as(&before));
}

#[test]
fn a_soak_passes_a_sound_game_and_fails_one_that_keeps_state_elsewhere() {
    assert_eq!(run_of::<false>("soak --ticks 2000"), Exit::Fine);
    assert_eq!(run_of::<true>("soak --ticks 2000"), Exit::Failed);
    assert_eq!(run_of::<false>("soak --ticks 0"), Exit::Usage);
}
