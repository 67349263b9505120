//! Playing by keyboard in a terminal: the picture of the game above, what happened below.
//!
//! `keyboard` says which keys are held, `screen` has the terminal, the game draws and steers (`Game::picture`,
//! `Game::steer`); here they are brought together with a battle session.

mod keyboard;
mod screen;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::Event;
use tiltyard_client::{BattleSession, Pilot, PlayerSettings, Report, Script, View};
use tiltyard_engine::screen::{Canvas, Ink};
use tiltyard_engine::{Battle, Game, Seat};
use tiltyard_netcode::token::TokenFile;
use tokio::time::{MissedTickBehavior, interval};

use self::keyboard::Keyboard;
pub(crate) use self::keyboard::{Said, read, understand};
pub(crate) use self::screen::{Screen, give_back, lend, take_again};
use crate::exit::Usage;
use crate::output::Output;
use crate::stop::Stop;

/// Pictures a second: more than a battle's ticks show nothing new.
const PICTURES_HZ: u64 = 30;
/// Lines about events that are shown.
const LINES: u16 = 4;
/// Rows below the picture: those lines, who one is, what keys do.
const FOOT: u16 = LINES + 2;

/// What the hands and the picture share.
#[derive(Default)]
struct Table {
    keyboard: Keyboard,
    /// The last lines about events, oldest first; at most [`LINES`].
    lines: VecDeque<String>,
}

/// Whoever sits at the keyboard, as a script.
struct Hands(Arc<Mutex<Table>>);

impl<G: Game> Script<G> for Hands {
    fn see(&mut self, battle: &Battle<G>, seat: Seat) {
        let mut table = lock(&self.0);
        for event in battle.events() {
            let Some(line) = G::describe(battle.world(), Some(seat), event) else { continue };
            if table.lines.len() >= usize::from(LINES) {
                table.lines.pop_front();
            }
            table.lines.push_back(line);
        }
    }

    fn decide(&mut self, view: &mut View<'_, G>) -> Option<G::Input> {
        let keys = lock(&self.0).keyboard.keys(Instant::now());
        Some(G::steer(view.battle.world(), view.seat, &keys))
    }
}

/// Whether the game can be played here and now.
///
/// # Errors
/// The game brings no keyboard play, or there is no terminal.
pub(crate) fn ensure_playable<G: Game>(output: Output) -> Result<(), Usage> {
    if G::KEYS.is_empty() {
        let text = "brings no keyboard play (`Game::KEYS` is empty); without --interactive its script plays";
        return Err(Usage(format!("--interactive: the game {} {text}", G::NAME)));
    }
    Screen::ensure_terminal(output.reader()).map_err(|problem| Usage(format!("--interactive: {problem}")))
}

/// Plays a battle until it is over, the player leaves, or the process is asked to end. The terminal is as it was
/// when this returns, however it returns.
pub(crate) async fn play<G: Game>(
    output: Output,
    file: TokenFile,
    settings: PlayerSettings,
    time: Option<Duration>,
    stop: &Stop,
) -> anyhow::Result<Report> {
    let table = Arc::new(Mutex::new(Table::default()));
    let hands = Box::new(Hands(Arc::clone(&table)));
    let mut session = BattleSession::<G>::connect(file, settings, hands).await.context("opening a socket")?;
    let mut screen = Screen::take(output.reader()).context("taking the terminal")?;
    let mut events = read();
    let mut pictures = interval(Duration::from_millis(1_000 / PICTURES_HZ));
    pictures.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let time_is_up = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_up);
    let mut panicked = false;
    while !session.pilot().is_over() {
        tokio::select! {
            turn = session.turn() => turn.context("the socket")?,
            event = events.recv() => match event.as_ref().map(understand) {
                // A keyboard that is gone can press nothing any more.
                None | Some(Some(Said::Leave)) => session.leave(),
                Some(Some(Said::Pressed(key))) => lock(&table).keyboard.press(Instant::now(), key),
                Some(Some(Said::Released(key))) => lock(&table).keyboard.release(key),
                Some(None) => if let Some(Event::Resize(columns, rows)) = event { screen.resize(columns, rows) },
            },
            _ = pictures.tick() => {
                if !screen.is_taken() {
                    panicked = true;
                    session.leave();
                    continue;
                }
                let (columns, rows) = screen.size();
                let mut picture = Canvas::new(columns, rows.saturating_sub(FOOT));
                let mut foot = Canvas::new(columns, FOOT.min(rows));
                draw(session.pilot(), &mut picture);
                describe::<G>(&session, &lock(&table).lines, &mut foot);
                screen.show(&[&picture, &foot]).context("the terminal")?;
            }
            () = stop.asked() => session.leave(),
            () = &mut time_is_up => session.leave(),
        }
    }
    drop(screen);
    session.say_goodbye().await.context("the socket")?;
    anyhow::ensure!(!panicked, "the game panicked; its place is named above");
    Ok(session.report())
}

fn draw<G: Game>(pilot: &Pilot<G>, picture: &mut Canvas) {
    let seat = pilot.place().map(|place| Seat(place.seat));
    match pilot.battle() {
        Some(battle) if pilot.newest_tick().is_some() => G::picture(battle, seat, picture),
        _ => {
            let text = if seat.is_some() { "waiting for the battle" } else { "waiting for the node" };
            picture.text(0, 0, text, Ink::Strong);
        }
    }
}

fn describe<G: Game>(session: &BattleSession<G>, lines: &VecDeque<String>, foot: &mut Canvas) {
    for (row, line) in (0..).zip(lines) {
        foot.text(0, row, line, Ink::Plain);
    }
    let report = session.report();
    if let Some(place) = session.pilot().place() {
        let tick = report.newest_tick.map_or(0, |tick| tick.0);
        let rtt = report.rtt_ms.map_or("–".to_owned(), |ms| ms.to_string());
        let text = format!("seat {} of team {}, tick {tick}, round trip {rtt} ms", place.seat, place.team);
        foot.text(0, LINES, &text, Ink::Faint);
    }
    let keys = G::KEYS.iter().map(|(keys, meaning)| format!("   {keys}: {meaning}"));
    let help: String = ["q or Esc: leave".to_owned()].into_iter().chain(keys).collect();
    foot.text(0, LINES + 1, &help, Ink::Faint);
}

fn lock(table: &Mutex<Table>) -> std::sync::MutexGuard<'_, Table> {
    // Whoever panicked in it left whole keys and lines behind.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
