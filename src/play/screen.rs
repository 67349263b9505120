//! The terminal as a screen: taken whole, and given back however the program ends.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tiltyard_engine::screen::{Canvas, Cell, Ink};

use crate::output::Reader;

/// Which stream draws on the terminal that is taken now; [`FREE`] if none is. One for the process, because a panic
/// and a second signal have to give it back, too.
static TAKEN: AtomicU8 = AtomicU8::new(FREE);
const FREE: u8 = 0;
const BY_STDOUT: u8 = 1;
const BY_STDERR: u8 = 2;
/// Set beside the stream while the process is stopped: the terminal is somebody else's, and comes back.
const AWAY: u8 = 4;

/// The size of a terminal that does not tell its own.
const SIZE: (u16, u16) = (80, 24);

/// The terminal, taken; dropping it gives it back.
pub(crate) struct Screen {
    stream: u8,
    columns: u16,
    rows: u16,
    bytes: Vec<u8>,
}

impl Screen {
    /// Whether there is a terminal to read keys from and to draw on.
    pub(crate) fn ensure_terminal(reader: Reader) -> Result<(), &'static str> {
        let draws = match stream_for(reader) {
            BY_STDERR => io::stderr().is_terminal(),
            _ => io::stdout().is_terminal(),
        };
        match (io::stdin().is_terminal(), draws) {
            (false, _) => Err("standard input is not a terminal, so there is no keyboard to play by"),
            (_, false) if reader == Reader::Script => Err("standard error is not a terminal to draw on"),
            (_, false) => Err("standard output is not a terminal to draw on"),
            (true, true) => Ok(()),
        }
    }

    /// Takes the terminal: keys come one by one and unseen, and what stood there waits for the end.
    pub(crate) fn take(reader: Reader) -> io::Result<Self> {
        let stream = stream_for(reader);
        let (columns, rows) = size().unwrap_or(SIZE);
        let screen = Self { stream, columns, rows, bytes: Vec::new() };
        take_stream(stream)?;
        Ok(screen)
    }

    /// Whether it is still taken: a panic of the game has given it back.
    pub(crate) fn is_taken(&self) -> bool {
        TAKEN.load(Ordering::SeqCst) & !AWAY == self.stream
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        (self.columns, self.rows)
    }

    /// The terminal has another size now.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
    }

    /// Shows canvases, one below the other.
    pub(crate) fn show(&mut self, canvases: &[&Canvas]) -> io::Result<()> {
        if TAKEN.load(Ordering::SeqCst) & AWAY != 0 {
            return Ok(());
        }
        self.bytes.clear();
        queue!(self.bytes, BeginSynchronizedUpdate)?;
        let lines = canvases.iter().flat_map(|canvas| canvas.lines());
        for (row, line) in (0..self.rows).zip(lines) {
            queue!(self.bytes, MoveTo(0, row))?;
            write_line(&mut self.bytes, line)?;
            queue!(self.bytes, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.bytes, EndSynchronizedUpdate)?;
        let mut writer = writer(self.stream);
        writer.write_all(&self.bytes)?;
        writer.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_stream(stream: u8) -> io::Result<()> {
    TAKEN.store(stream, Ordering::SeqCst);
    enable_raw_mode()?;
    // Terminals that cannot tell when a key is let go ignore the wish.
    let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
        | KeyboardEnhancementFlags::REPORT_EVENT_TYPES
        | KeyboardEnhancementFlags::REPORT_ALL_KEYS_AS_ESCAPE_CODES;
    execute!(
        writer(stream),
        EnterAlternateScreen,
        Hide,
        DisableLineWrap,
        Clear(ClearType::All),
        PushKeyboardEnhancementFlags(flags)
    )
}

/// Lends a taken terminal to its owner while the process is stopped.
pub(crate) fn lend() {
    let stream = TAKEN.load(Ordering::SeqCst);
    if stream != FREE {
        TAKEN.store(stream | AWAY, Ordering::SeqCst);
        leave_stream(stream);
    }
}

/// Takes a terminal that was lent again.
pub(crate) fn take_again() {
    let stream = TAKEN.load(Ordering::SeqCst);
    if stream & AWAY != 0 && take_stream(stream & !AWAY).is_err() {
        // Whoever draws sees that the terminal is not taken any more, and ends.
        give_back();
    }
}

/// Gives the terminal back as it was; does nothing when it is not taken.
pub(crate) fn give_back() {
    let stream = TAKEN.swap(FREE, Ordering::SeqCst);
    if stream != FREE && stream & AWAY == 0 {
        leave_stream(stream);
    }
}

fn leave_stream(stream: u8) {
    // A terminal that is gone needs nothing back.
    let _ = execute!(
        writer(stream),
        PopKeyboardEnhancementFlags,
        ResetColor,
        EnableLineWrap,
        Show,
        LeaveAlternateScreen
    );
    let _ = disable_raw_mode();
}

/// With `--json` standard output belongs to the one object, so the picture goes to standard error.
fn stream_for(reader: Reader) -> u8 {
    match reader {
        Reader::Person => BY_STDOUT,
        Reader::Script => BY_STDERR,
    }
}

fn writer(stream: u8) -> Box<dyn Write> {
    if stream == BY_STDERR { Box::new(io::stderr()) } else { Box::new(io::stdout()) }
}

/// Writes the characters of a line, the ink only where it changes.
fn write_line(out: &mut impl Write, line: &[Cell]) -> io::Result<()> {
    let end = line.iter().rposition(|cell| cell.glyph != ' ').map_or(0, |last| last + 1);
    let mut wet = Ink::Plain;
    for Cell { glyph, ink } in &line[..end] {
        if *ink != wet && *glyph != ' ' {
            wet = *ink;
            queue!(out, SetAttribute(Attribute::Reset))?;
            match wet {
                Ink::Plain => {}
                Ink::Faint => queue!(out, SetForegroundColor(Color::DarkGrey))?,
                Ink::Strong => queue!(out, SetAttribute(Attribute::Bold))?,
                Ink::Alarm => queue!(out, SetForegroundColor(Color::Red), SetAttribute(Attribute::Bold))?,
                Ink::Team(team) => queue!(out, SetForegroundColor(colour(team.0)))?,
            }
        }
        queue!(out, Print(glyph))?;
    }
    queue!(out, SetAttribute(Attribute::Reset))
}

/// The colours of teams, those that are told apart best first.
fn colour(team: u8) -> Color {
    const COLOURS: [Color; 6] =
        [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green, Color::Blue, Color::White];
    COLOURS[usize::from(team) % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::Team;

    use super::*;

    #[test]
    fn a_line_changes_ink_only_where_it_must_and_ends_plain() {
        let mut canvas = Canvas::new(10, 1);
        canvas.text(0, 0, "ab", Ink::Team(Team(0)));
        canvas.text(3, 0, "c", Ink::Team(Team(0)));
        canvas.text(4, 0, "d", Ink::Strong);
        let mut out = Vec::new();
        write_line(&mut out, canvas.lines().next().unwrap()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let visible = text.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "");
        assert!(visible.ends_with("ab cd"), "{text:?}");
        assert_eq!(text.matches("\u{1b}[0m").count(), 3, "{text:?}");
        assert!(text.ends_with("\u{1b}[0m"));
    }

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        give_back();
        assert_eq!(TAKEN.load(Ordering::SeqCst), FREE);
    }
}
