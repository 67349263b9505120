//! Playing by keyboard: the real binary on a pseudo-terminal, and where there is none.

use std::time::{Duration, Instant};

use crate::program::{Program, Up, send, wait};
use crate::terminal::{ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR, Terminal};

#[test]
fn a_player_at_the_keyboard_gets_the_terminal_back_over_real_sockets() {
    let program = Program::new();
    let up = Up::start(&program, "--set battle.seconds=600 up --nodes 1");
    assert_eq!(program.json(&format!("token issue --gate {} --mode duel --out t.token", up.gate())).0, 0);
    let mut terminal = Terminal::open();
    let before = terminal.modes();
    assert!(!terminal.is_raw());
    let connect = || program.command("connect --token t.token --interactive");

    // By a key, after playing.
    let mut child = terminal.start(&mut connect());
    assert!(terminal.wait_for("you are ").contains(ENTER_SCREEN));
    assert!(terminal.is_raw());
    // Dead players make no blast, so it is asked for until it comes.
    let until = Instant::now() + Duration::from_secs(30);
    terminal.press("e");
    while !terminal.wait_for("q or Esc: leave").contains("you made a blast") {
        assert!(Instant::now() < until, "no blast comes");
        terminal.press("e");
    }
    terminal.press("q");
    let end = terminal.wait_for("states differed");
    assert!(end.contains(LEAVE_SCREEN) && end.contains(SHOW_CURSOR), "{end:?}");
    assert!(end.rfind(LEAVE_SCREEN) < end.rfind("of team"), "what is said at the end stays: {end:?}");
    assert_eq!(wait(&mut child), Some(0));
    assert!(terminal.is_as(&before));

    // By Ctrl-C, which is a key there, and by signals.
    for signal in [None, Some("-TERM"), Some("-HUP")] {
        let mut child = terminal.start(&mut connect());
        terminal.wait_for("you are ");
        assert!(terminal.is_raw());
        match signal {
            None => terminal.press("\u{3}"),
            Some(signal) => send(signal, &child),
        }
        assert!(terminal.wait_for("states differed").contains(LEAVE_SCREEN));
        assert_eq!(wait(&mut child), Some(0));
        assert!(terminal.is_as(&before));
    }

    // While the process is stopped the terminal is its owner's; then it plays on, and ends at once when told so.
    let mut child = terminal.start(&mut connect());
    terminal.wait_for("you are ");
    send("-TSTP", &child);
    terminal.wait_for(LEAVE_SCREEN);
    wait_until(|| terminal.is_as(&before));
    send("-CONT", &child);
    terminal.wait_for(ENTER_SCREEN);
    wait_until(|| terminal.is_raw());
    send("-QUIT", &child);
    terminal.wait_for(LEAVE_SCREEN);
    assert_eq!(wait(&mut child), Some(1));
    assert!(terminal.is_as(&before));
}

fn wait_until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "the terminal's modes do not change");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn playing_by_keyboard_without_a_terminal_is_refused() {
    let program = Program::new();
    let (code, object) = program.json("connect --token t.token --interactive");
    assert_eq!(code, 2, "{object}");
    let error = object["error"].as_str().expect("an error");
    assert!(error.starts_with("--interactive: standard input is not a terminal"), "{error}");
    let (code, _, error) = program.person("connect --token t.token --interactive --script idle");
    assert!(code == 2 && error.contains("cannot be used with"), "{error}");
}
