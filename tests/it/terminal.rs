//! A terminal for the real binary: its other end is a test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

pub(crate) const ENTER_SCREEN: &str = "\u{1b}[?1049h";
pub(crate) const LEAVE_SCREEN: &str = "\u{1b}[?1049l";
pub(crate) const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// A terminal with somebody in front of it.
pub(crate) struct Terminal {
    keyboard: File,
    line: OwnedFd,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
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

    pub(crate) fn start(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.line.try_clone().expect("a handle"));
        command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary runs")
    }

    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.line).expect("a terminal has modes")
    }

    pub(crate) fn is_raw(&self) -> bool {
        !self.modes().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Whether its modes are these.
    pub(crate) fn is_as(&self, before: &Termios) -> bool {
        let now = self.modes();
        now.local_modes == before.local_modes
            && now.input_modes == before.input_modes
            && now.output_modes == before.output_modes
    }

    /// Waits until something was shown since the last call; gives all up to now.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str) -> String {
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
