//! Playing by keyboard: the real binary on a pseudo-terminal, and where there is none.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::program::{Program, Up, wait};

const ENTER_SCREEN: &str = "\u{1b}[?1049h";
const LEAVE_SCREEN: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// A terminal with somebody in front of it.
struct Terminal {
    keyboard: File,
    line: OwnedFd,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let front = openpt(flags).expect("a pseudo-terminal");
        grantpt(&front).expect("granted");
        unlockpt(&front).expect("unlocked");
        let line = ioctl_tiocgptpeer(&front, flags).expect("its other end");
        tcsetwinsize(&line, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let keyboard = File::from(front);
        let mut screen = keyboard.try_clone().expect("a second handle");
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails once nobody holds the other end any more.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                if show.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, line, shown, text: String::new() }
    }

    fn start(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.line.try_clone().expect("a handle"));
        command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary runs")
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.line).expect("a terminal has modes")
    }

    fn is_raw(&self) -> bool {
        !self.modes().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until something was shown since the last call; gives all up to now.
    #[track_caller]
    fn wait_for(&mut self, what: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.text.contains(what) {
            let left = until.saturating_duration_since(Instant::now());
            let bytes =
                self.shown.recv_timeout(left).unwrap_or_else(|_| panic!("no {what:?} in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        std::mem::take(&mut self.text)
    }
}

#[test]
fn a_player_at_the_keyboard_gets_the_terminal_back_over_real_sockets() {
    let program = Program::new();
    let up = Up::start(&program, "--set battle.seconds=600 up --nodes 1");
    assert_eq!(program.json(&format!("token issue --gate {} --mode duel --out t.token", up.gate())).0, 0);
    let mut terminal = Terminal::open();
    let before = terminal.modes();
    let is_as_before = |now: &Termios| {
        now.local_modes == before.local_modes
            && now.input_modes == before.input_modes
            && now.output_modes == before.output_modes
    };
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
    assert!(is_as_before(&terminal.modes()));

    // By Ctrl-C, which is a key there, and by a signal.
    for ctrl_c in [true, false] {
        let mut child = terminal.start(&mut connect());
        terminal.wait_for("you are ");
        assert!(terminal.is_raw());
        if ctrl_c {
            terminal.press("\u{3}");
        } else {
            let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            assert!(killed.expect("kill runs").success());
        }
        assert!(terminal.wait_for("states differed").contains(LEAVE_SCREEN));
        assert_eq!(wait(&mut child), Some(0));
        assert!(is_as_before(&terminal.modes()));
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
