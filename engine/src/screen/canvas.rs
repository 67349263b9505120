//! A grid of characters.

use std::fmt;

use super::map::Map;
use crate::Team;
use crate::space::Rect;
use glam::Vec2;

/// The most columns of a canvas; a wider one is cut.
pub const COLUMNS_MAX: u16 = 400;
/// The most rows of a canvas; a higher one is cut.
pub const ROWS_MAX: u16 = 200;

/// How a character looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// As text is.
    #[default]
    Plain,
    /// Less than text: walls, hints.
    Faint,
    /// More than text: oneself.
    Strong,
    /// Something is wrong or urgent.
    Alarm,
    /// In a team's colour.
    Team(Team),
}

/// One place of a canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// A character of one column's width.
    pub glyph: char,
    /// How it looks.
    pub ink: Ink,
}

impl Default for Cell {
    fn default() -> Self {
        Self { glyph: ' ', ink: Ink::Plain }
    }
}

/// A grid of characters to draw on. What lies outside of it is not drawn; drawing never fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    columns: u16,
    rows: u16,
    cells: Vec<Cell>,
}

impl Canvas {
    /// An empty canvas of [`COLUMNS_MAX`] by [`ROWS_MAX`] at most.
    #[must_use]
    pub fn new(columns: u16, rows: u16) -> Self {
        let (columns, rows) = (columns.min(COLUMNS_MAX), rows.min(ROWS_MAX));
        Self { columns, rows, cells: vec![Cell::default(); usize::from(columns) * usize::from(rows)] }
    }

    /// Puts a character; a control character becomes a question mark.
    pub fn put(&mut self, column: u16, row: u16, glyph: char, ink: Ink) {
        if column < self.columns && row < self.rows {
            let glyph = if glyph.is_control() { '?' } else { glyph };
            let place = usize::from(row) * usize::from(self.columns) + usize::from(column);
            self.cells[place] = Cell { glyph, ink };
        }
    }

    /// Writes a line from a place to the right; gives the column after it. Costs a cell a character.
    pub fn text(&mut self, column: u16, row: u16, text: &str, ink: Ink) -> u16 {
        let mut next = column;
        for glyph in text.chars() {
            self.put(next, row, glyph, ink);
            next = next.saturating_add(1);
        }
        next
    }

    /// Puts all of another canvas, its upper left corner at a place. Costs a copy of the cells that fit.
    pub fn paste(&mut self, column: u16, row: u16, other: &Self) {
        for (row, line) in (row..=u16::MAX).zip(other.lines()) {
            for (column, cell) in (column..=u16::MAX).zip(line) {
                self.put(column, row, cell.glyph, cell.ink);
            }
        }
    }

    /// The part from `first_row` down as a map of `land`: all of it where that is readable, else what lies around
    /// `around`.
    pub fn map(&mut self, first_row: u16, land: &Rect, around: Option<Vec2>) -> Map<'_> {
        Map::new(self, first_row, land, around)
    }

    /// How many columns there are.
    #[must_use]
    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u16 {
        self.rows
    }

    /// The rows from top to bottom.
    pub fn lines(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunks_exact(usize::from(self.columns).max(1))
    }
}

/// The characters alone, row by row, without blanks at the ends of rows.
impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            let text: String = line.iter().map(|cell| cell.glyph).collect();
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let mut canvas = Canvas::new(4, 2);
        assert_eq!(canvas.text(2, 0, "abcd", Ink::Plain), 6);
        canvas.text(0, 2, "below", Ink::Plain);
        canvas.text(u16::MAX, 0, "far", Ink::Plain);
        canvas.put(0, 1, '\u{1b}', Ink::Alarm);
        assert_eq!(canvas.to_string(), "  ab\n?\n");
        assert_eq!(canvas.lines().count(), 2);
    }

    #[test]
    fn a_pasted_canvas_is_cut_at_the_edges() {
        let (mut canvas, mut stamp) = (Canvas::new(4, 2), Canvas::new(3, 2));
        stamp.text(0, 0, "abc", Ink::Strong);
        stamp.text(0, 1, "def", Ink::Plain);
        canvas.paste(2, 1, &stamp);
        assert_eq!(canvas.to_string(), "\n  ab\n");
        assert_eq!(canvas.lines().last().map(|line| line[2].ink), Some(Ink::Strong));
        canvas.paste(u16::MAX, u16::MAX, &stamp);
        canvas.paste(0, 0, &Canvas::new(0, 9));
        assert_eq!(canvas.to_string(), "\n  ab\n");
    }

    #[test]
    fn a_canvas_is_bounded_and_may_be_empty() {
        let canvas = Canvas::new(u16::MAX, u16::MAX);
        assert_eq!((canvas.columns(), canvas.rows()), (COLUMNS_MAX, ROWS_MAX));
        for (columns, rows) in [(0, 0), (0, 3), (3, 0)] {
            let mut canvas = Canvas::new(columns, rows);
            canvas.text(0, 0, "x", Ink::Plain);
            assert_eq!(canvas.to_string(), "");
        }
    }
}
