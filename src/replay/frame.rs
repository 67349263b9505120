//! One picture of a replay: the game's own, what was told, where it is.

use std::io::{Read, Seek};

use tiltyard_engine::Game;
use tiltyard_engine::screen::{Canvas, Ink};

use super::deck::{Deck, HELP};
use super::film::Film;

/// Lines about events below the picture.
const LINES: u16 = 5;
/// Columns that the bar has at least; where there are fewer it is left out.
const BAR_MIN: u16 = 8;

/// What stands on the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foot<'a> {
    /// What keys do.
    Help,
    /// Something that has to be known.
    Alarm(&'a str),
    /// There is no such line.
    None,
}

/// Draws what the film shows; it stands where the deck wants it.
pub(super) fn draw<G: Game, S: Read + Seek>(
    film: &Film<G, S>,
    deck: &Deck,
    foot: Foot<'_>,
    (columns, rows): (u16, u16),
) -> Canvas {
    let mut canvas = Canvas::new(columns, rows);
    let foot_rows = LINES + 1 + u16::from(foot != Foot::None);
    let picture_rows = rows.saturating_sub(foot_rows);
    let mut picture = Canvas::new(columns, picture_rows);
    film.draw(deck.seat, &mut picture);
    canvas.paste(0, 0, &picture);
    let shown: Vec<_> = film.lines().rev().take(usize::from(LINES)).collect();
    for (row, line) in (picture_rows..).zip(shown.iter().rev()) {
        let fresh = film.tick().saturating_sub(line.tick) < u32::from(deck.rate_hz);
        let next = canvas.text(0, row, &time(line.tick, deck.rate_hz), Ink::Faint);
        canvas.text(next + 2, row, &line.text, if fresh { Ink::Strong } else { Ink::Plain });
    }
    bar(deck, film.tick(), picture_rows + LINES, &mut canvas);
    let last = picture_rows + LINES + 1;
    match (foot, film.diverged()) {
        (Foot::Alarm(text), _) => drop(canvas.text(0, last, text, Ink::Alarm)),
        (Foot::Help, Some(tick)) => {
            let text =
                format!("DIVERGED at tick {tick}: this build computes another state than was recorded");
            canvas.text(0, last, &text, Ink::Alarm);
        }
        (Foot::Help, None) => drop(canvas.text(0, last, HELP, Ink::Faint)),
        (Foot::None, _) => {}
    }
    canvas
}

/// Where it is: how it plays, tick, time, and both as a bar.
fn bar(deck: &Deck, tick: u32, row: u16, canvas: &mut Canvas) {
    let state = match (deck.playing, deck.live) {
        (false, _) => "‖",
        (true, false) => "▶",
        (true, true) => "●",
    };
    let mut left = format!(
        "{state} {:<3} tick {tick}/{}  {}/{} ",
        deck.speed.name(),
        deck.last,
        time(tick, deck.rate_hz),
        time(deck.last, deck.rate_hz)
    );
    let mut right = deck.seat.map_or(String::new(), |seat| format!(" following #{}", seat.0));
    if let Some(typed) = deck.typed {
        right.push_str(&format!(" {typed}_"));
    }
    let width = |text: &str| text.chars().count() as u16;
    let places = canvas.columns().saturating_sub(width(&left) + width(&right));
    if places >= BAR_MIN {
        let span = u64::from(deck.last - deck.first).max(1);
        let gone = u64::from(tick.saturating_sub(deck.first)) * u64::from(places - 1) / span;
        left.extend((0..u64::from(places)).map(|place| match place.cmp(&gone) {
            std::cmp::Ordering::Less => '━',
            std::cmp::Ordering::Equal => '●',
            std::cmp::Ordering::Greater => '─',
        }));
    }
    let next = canvas.text(0, row, &left, Ink::Plain);
    canvas.text(next, row, &right, Ink::Strong);
}

/// The time of a tick in minutes and seconds.
fn time(tick: u32, rate_hz: u16) -> String {
    let tenths = u64::from(tick) * 10 / u64::from(rate_hz.max(1));
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}
