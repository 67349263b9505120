//! Looking at a recording: in a terminal by keys, or as frames of text; whole, or while it is being written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use crossterm::event::Event;
use serde_json::json;
use tiltyard_battle::open_regular;
use tiltyard_engine::{Game, Seat};
use tiltyard_replay::PlayError;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::deck::{Ask, Deck, Speed};
use super::film::Film;
use super::frame::{Foot, draw};
use super::open::open;
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::play::{Said, Screen, read, understand};
use crate::stop::Stop;

/// Pictures a second.
const PICTURES_HZ: u64 = 30;
/// How often a recording that is being written is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is tried to show the last good tick after damage; the second try is for a game that panicked.
const TRIES: u32 = 3;

/// How it is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct ViewArgs {
    /// Begin with the view of this seat
    #[arg(long, value_name = "SEAT")]
    follow: Option<u16>,
    /// Begin at this speed: 0.25, 0.5, 1, 2, 4, 8 or 16 times real time
    #[arg(long, value_name = "X", default_value = "1")]
    speed: Speed,
    /// Print frames as text, as is done without a terminal
    #[arg(long)]
    pub(super) text: bool,
    /// Print the frame of every Nth tick as text; the default is one a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// Columns and rows of a frame of text
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "80x24", value_parser = size)]
    size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').map(|(columns, rows)| (columns.parse(), rows.parse()));
    match parsed {
        Some((Ok(columns), Ok(rows))) => Ok((columns, rows)),
        _ => Err("such as 100x30".to_owned()),
    }
}

impl ViewArgs {
    /// Whether frames of text are wanted, or nothing else is possible.
    pub(super) fn is_text(&self, output: Output) -> bool {
        self.text || self.every.is_some() || Screen::ensure_terminal(output.reader()).is_err()
    }

    /// Ticks from one frame of text to the next.
    pub(super) fn every(&self, rate_hz: u16) -> u32 {
        self.every.unwrap_or(rate_hz.into())
    }
}

/// A recording that is still being written, seen from outside.
pub(super) struct Growth {
    path: PathBuf,
    bytes: u64,
    looked: Instant,
    grew: Instant,
}

impl Growth {
    /// From what is there now.
    pub(super) fn of(path: &Path) -> Self {
        let now = Instant::now();
        Self { path: path.to_owned(), bytes: 0, looked: now, grew: now }
    }

    /// Whether there is more than at the last look; looks no more often than every [`LOOK`].
    fn look(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        // A file that is gone grows no more.
        let bytes = fs::metadata(&self.path).map_or(self.bytes, |metadata| metadata.len());
        let grew = bytes != self.bytes;
        if grew {
            (self.bytes, self.grew) = (bytes, self.looked);
        }
        grew
    }

    /// How long nothing was written.
    pub(super) fn idle(&self) -> Duration {
        self.grew.elapsed()
    }
}

/// A recording that is being looked at.
pub(super) struct Watch<'a, G: Game> {
    output: Output,
    path: &'a Path,
    args: &'a ViewArgs,
    pub(super) film: Film<G, File>,
    pub(super) deck: Deck,
    frames: u64,
    /// What was wrong last.
    fault: Option<String>,
    /// Whether that is still to be seen: until a key is pressed.
    alarm: bool,
}

impl<'a, G: Game> Watch<'a, G> {
    /// Opens a recording.
    ///
    /// # Errors
    /// It cannot be opened or computed, or has no such seat.
    pub(super) fn open(output: Output, path: &'a Path, args: &'a ViewArgs) -> anyhow::Result<Self> {
        let named = || path.display().to_string();
        let film = Film::<G, _>::open(open(path)?, || open_regular(path)).with_context(named)?;
        let seats = film.seats();
        let mut deck = Deck::new(film.first(), film.last(), film.rate_hz(), seats);
        deck.speed = args.speed;
        deck.seat = args.follow.map(Seat);
        if deck.seat.is_some_and(|seat| seat.0 >= seats) {
            let text = match seats.checked_sub(1) {
                Some(last) => format!("--follow: the battle has the seats 0 to {last}"),
                None => "--follow: there are pictures for who looks on alone".to_owned(),
            };
            return Err(Usage(text).into());
        }
        Ok(Self { output, path, args, film, deck, frames: 0, fault: None, alarm: false })
    }

    /// Plays in the terminal until the viewer leaves, or a recording that is being written has ended.
    pub(super) async fn in_terminal(
        &mut self,
        mut growth: Option<(Growth, Option<Duration>)>,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let mut screen = Screen::take(self.output.reader()).context("taking the terminal")?;
        let mut events = read();
        let mut pictures = interval(Duration::from_millis(1_000 / PICTURES_HZ));
        pictures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown_at = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => match event.as_ref().map(understand) {
                    // A keyboard that is gone can press nothing any more.
                    None | Some(Some(Said::Leave)) => return Ok(()),
                    Some(Some(Said::Pressed(key))) => {
                        self.alarm = false;
                        if let Some(ask) = self.deck.press(key) {
                            self.answer(ask)?;
                        }
                    }
                    Some(Some(Said::Released(_))) => {}
                    Some(None) => if let Some(Event::Resize(columns, rows)) = event {
                        screen.resize(columns, rows);
                    },
                },
                _ = pictures.tick() => {
                    self.deck.pass(shown_at.elapsed());
                    shown_at = Instant::now();
                    if let Some((growth, _)) = &mut growth {
                        self.take_in(growth)?;
                    }
                    self.show()?;
                    // A panic of the game gives the terminal back; what is wrong is said at the end.
                    if !screen.is_taken() {
                        return Ok(());
                    }
                    let foot = match &self.fault {
                        Some(fault) if self.alarm => Foot::Alarm(fault),
                        _ => Foot::Help,
                    };
                    let frame = draw(&self.film, &self.deck, foot, screen.size());
                    screen.show(&[&frame]).context("the terminal")?;
                    self.frames += 1;
                    if let Some((growth, idle)) = &growth
                        && self.deck.tick == self.deck.last
                    {
                        let ended = !self.deck.live && !self.deck.playing;
                        if ended || idle.is_some_and(|idle| growth.idle() > idle) {
                            return Ok(());
                        }
                    }
                }
                () = stop.asked() => return Ok(()),
            }
        }
    }

    /// Prints the frames of ticks as text.
    pub(super) fn print(&mut self, from: u32, to: u32, stop: &Stop) -> anyhow::Result<()> {
        let every = self.args.every(self.deck.rate_hz);
        let mut next = Some(from.max(self.deck.first));
        while let Some(tick) = next.filter(|tick| *tick <= to.min(self.deck.last) && !stop.is_asked()) {
            if !self.print_tick(tick)? {
                break;
            }
            next = tick.checked_add(every);
        }
        Ok(())
    }

    /// Prints the frames of ticks as they are written, and the last one.
    pub(super) async fn print_live(
        &mut self,
        mut growth: Growth,
        idle: Option<Duration>,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let every = self.args.every(self.deck.rate_hz);
        let (mut next, mut printed) = (self.deck.tick, None);
        while !stop.is_asked() {
            while next <= self.deck.last && !stop.is_asked() {
                if !self.print_tick(next)? {
                    return Ok(());
                }
                printed = Some(next);
                next = next.saturating_add(every);
            }
            if !self.deck.live || idle.is_some_and(|idle| growth.idle() > idle) {
                if printed != Some(self.deck.last) {
                    self.print_tick(self.deck.last)?;
                }
                return Ok(());
            }
            tokio::select! {
                () = sleep(LOOK) => self.take_in(&mut growth)?,
                () = stop.asked() => {}
            }
        }
        Ok(())
    }

    /// Says how it ended.
    pub(super) fn conclude(&self) -> Exit {
        let (film, path) = (&self.film, self.path.display());
        let hash = film.state_hash().map(|hash| hash.to_string());
        if let Some(tick) = film.diverged() {
            self.output.note(format!(
                "{path}: DIVERGED at tick {tick}: this build computes another state than was recorded; \
                 keyframes are shown as recorded; `{} replay verify` says where",
                crate::program::name()
            ));
        }
        if let Some(fault) = &self.fault {
            self.output.note(format!("{path}: {fault}"));
        }
        if !film.is_complete() {
            self.output.note(format!("{path}: the recording has no end after tick {}", film.last()));
        }
        self.output.result(&json!({
            "path": path.to_string(),
            "first_tick": film.first(),
            "last_tick": film.last(),
            "rate_hz": film.rate_hz(),
            "complete": film.is_complete(),
            "frames": self.frames,
            "tick": film.tick(),
            "state_hash": hash,
            "diverged_at": film.diverged(),
            "error": self.fault,
        }));
        if film.diverged().is_none() && self.fault.is_none() { Exit::Fine } else { Exit::Failed }
    }

    /// Takes in what was written since the last look.
    pub(super) fn take_in(&mut self, growth: &mut Growth) -> anyhow::Result<()> {
        if growth.look() {
            let refreshed = self.film.refresh();
            self.survive(refreshed)?;
            self.deck.extend(self.film.last());
            self.deck.live = !self.film.is_complete();
        }
        Ok(())
    }

    /// Prints one frame; says whether it was the one that was asked for.
    fn print_tick(&mut self, tick: u32) -> anyhow::Result<bool> {
        self.deck.go(tick);
        self.show()?;
        if self.fault.is_some() {
            return Ok(false);
        }
        let frame = draw(&self.film, &self.deck, Foot::None, self.args.size);
        self.output.say(frame.to_string());
        self.frames += 1;
        Ok(true)
    }

    fn answer(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.show()?;
        let found = match ask {
            Ask::Next => self.film.next_told(),
            Ask::Previous => self.film.previous_told(),
        };
        match found {
            Ok(found) => self.deck.halt(found.unwrap_or(self.deck.tick)),
            Err(error) => self.survive(Err(error))?,
        }
        Ok(())
    }

    /// Brings the film to where the deck is, or the deck to where the film can go.
    fn show(&mut self) -> anyhow::Result<()> {
        let shown = self.film.show(self.deck.tick, self.deck.seat);
        self.survive(shown)?;
        self.deck.tick = self.film.tick();
        Ok(())
    }

    /// After damage the last good tick is shown, and what is wrong is said.
    fn survive(&mut self, outcome: Result<(), PlayError>) -> anyhow::Result<()> {
        let Err(mut error) = outcome else { return Ok(()) };
        (self.fault, self.alarm) = (Some(error.to_string()), true);
        for _ in 0..TRIES {
            match self.film.show(self.film.tick(), self.deck.seat) {
                Ok(()) => {
                    self.deck.halt(self.film.tick());
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
        Err(error).with_context(|| self.path.display().to_string())
    }
}
