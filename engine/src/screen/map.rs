//! A piece of land on a canvas: metres become columns and rows, north is up.

use glam::Vec2;

use super::canvas::{Canvas, Ink};
use crate::space::Rect;

/// A row of a map around somebody shows at most so many metres; where all of the land would need more, a part is shown.
pub const METRES_PER_ROW_MAX: f32 = 2.0;

/// A row of characters is about as high as two columns are wide.
const COLUMNS_PER_ROW: f32 = 2.0;

/// A piece of land on a canvas.
#[derive(Debug)]
pub struct Map<'a> {
    canvas: &'a mut Canvas,
    first_row: u16,
    /// The place of the canvas's left edge and of `first_row`'s upper edge, in metres.
    corner: Vec2,
    /// Metres of a column and of a row.
    cell: Vec2,
}

impl<'a> Map<'a> {
    pub(super) fn new(canvas: &'a mut Canvas, first_row: u16, land: &Rect, around: Option<Vec2>) -> Self {
        let (columns, rows) = (canvas.columns(), canvas.rows().saturating_sub(first_row));
        let grid = Vec2::new(f32::from(columns), f32::from(rows));
        // The outline takes a place on each side.
        let inner = (grid - Vec2::splat(2.0)).max(Vec2::ONE);
        let size = (land.max - land.min).max(Vec2::splat(0.001));
        let whole = (size.y / inner.y).max(size.x / inner.x * COLUMNS_PER_ROW);
        let metres = if around.is_some() { whole.min(METRES_PER_ROW_MAX) } else { whole };
        let cell = Vec2::new(metres / COLUMNS_PER_ROW, metres);
        let shown = grid * cell;
        // The middle of what is shown: of the land where all of it is, else as near to `around` as its edge allows.
        let middle = land.center();
        let room = ((size + cell * 2.0 - shown) * 0.5).max(Vec2::ZERO);
        let wanted = around.filter(|at| at.is_finite()).unwrap_or(middle);
        let middle = wanted.clamp(middle - room, middle + room);
        let corner = Vec2::new(middle.x - shown.x * 0.5, middle.y + shown.y * 0.5);
        Self { canvas, first_row, corner, cell }
    }

    /// Puts a character at a place of the land.
    pub fn put(&mut self, at: Vec2, glyph: char, ink: Ink) {
        let place = self.place(at).floor();
        self.put_at(place.x, place.y, glyph, ink);
    }

    /// Fills a rectangle; one that is smaller than a character gets one. Costs the cells that are covered and on the
    /// map.
    pub fn fill(&mut self, rect: &Rect, glyph: char, ink: Ink) {
        let (first, last) = self.span(rect);
        if first.x > last.x || first.y > last.y {
            self.put(rect.center(), glyph, ink);
            return;
        }
        for row in first.y as u16..=last.y as u16 {
            for column in first.x as u16..=last.x as u16 {
                self.put_at(f32::from(column), f32::from(row), glyph, ink);
            }
        }
    }

    /// Draws a line around a rectangle. Costs the cells of the outline that are on the map.
    pub fn outline(&mut self, rect: &Rect, ink: Ink) {
        let (upper_left, lower_right) = (
            self.place(Vec2::new(rect.min.x, rect.max.y)).round() - Vec2::ONE,
            self.place(Vec2::new(rect.max.x, rect.min.y)).round(),
        );
        let (columns, rows) = (f32::from(self.canvas.columns()), f32::from(self.canvas.rows()));
        for column in upper_left.x.max(0.0) as u16..=lower_right.x.clamp(0.0, columns) as u16 {
            self.put_at(f32::from(column), upper_left.y, '─', ink);
            self.put_at(f32::from(column), lower_right.y, '─', ink);
        }
        for row in upper_left.y.max(0.0) as u16..=lower_right.y.clamp(0.0, rows) as u16 {
            self.put_at(upper_left.x, f32::from(row), '│', ink);
            self.put_at(lower_right.x, f32::from(row), '│', ink);
        }
        self.put_at(upper_left.x, upper_left.y, '┌', ink);
        self.put_at(lower_right.x, upper_left.y, '┐', ink);
        self.put_at(upper_left.x, lower_right.y, '└', ink);
        self.put_at(lower_right.x, lower_right.y, '┘', ink);
    }

    /// A place of the land in columns and rows of the map, parts of them included.
    fn place(&self, at: Vec2) -> Vec2 {
        Vec2::new(at.x - self.corner.x, self.corner.y - at.y) / self.cell
    }

    /// The first and last column and row, within the canvas, whose middles lie in a rectangle.
    fn span(&self, rect: &Rect) -> (Vec2, Vec2) {
        let upper_left = self.place(Vec2::new(rect.min.x, rect.max.y));
        let lower_right = self.place(Vec2::new(rect.max.x, rect.min.y));
        let end = Vec2::new(f32::from(self.canvas.columns()), f32::from(self.canvas.rows()));
        let half = Vec2::splat(0.5);
        ((upper_left - half).ceil().max(Vec2::ZERO), (lower_right - half).floor().min(end))
    }

    fn put_at(&mut self, column: f32, row: f32, glyph: char, ink: Ink) {
        let within = |value: f32| (0.0..65_536.0).contains(&value).then_some(value as u16);
        if let (Some(column), Some(row)) = (within(column), within(row)) {
            self.canvas.put(column, row.saturating_add(self.first_row), glyph, ink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn land(half: f32) -> Rect {
        Rect::around(Vec2::ZERO, Vec2::splat(half))
    }

    #[test]
    fn all_of_a_small_land_is_shown_with_its_outline_and_north_is_up() {
        let mut canvas = Canvas::new(12, 7);
        canvas.text(0, 0, "title", Ink::Plain);
        let mut map = canvas.map(1, &land(2.0), Some(Vec2::new(2.0, 2.0)));
        map.outline(&land(2.0), Ink::Faint);
        map.fill(&Rect::new(Vec2::new(0.0, -2.0), Vec2::new(2.0, -1.0)), '#', Ink::Faint);
        map.put(Vec2::new(-1.9, 1.9), 'n', Ink::Plain);
        map.put(Vec2::new(1.9, -1.9), 's', Ink::Plain);
        let expected =
            "title\n ┌────────┐\n │n       │\n │        │\n │        │\n │    ###s│\n └────────┘\n";
        assert_eq!(canvas.to_string(), expected);
    }

    #[test]
    fn of_a_large_land_what_lies_around_somebody_is_shown() {
        let shown = |around: Option<Vec2>, at: Vec2| {
            let mut canvas = Canvas::new(40, 20);
            let mut map = canvas.map(0, &land(100.0), around);
            map.put(at, 'x', Ink::Plain);
            let lines: Vec<String> = canvas.to_string().lines().map(str::to_owned).collect();
            lines.iter().enumerate().find_map(|(row, line)| line.find('x').map(|column| (column, row)))
        };
        let near = Vec2::new(30.0, -40.0);
        assert_eq!(shown(Some(near), near), Some((20, 10)));
        assert_eq!(shown(Some(near), Vec2::new(80.0, -40.0)), None);
        // At the edge the land stays in view, with its outline.
        assert_eq!(shown(Some(Vec2::splat(99.9)), Vec2::splat(99.9)), Some((38, 1)));
        assert!(shown(None, Vec2::splat(99.9)).is_some());
    }

    #[test]
    fn nothing_that_is_drawn_can_panic() {
        let wild = [f32::NAN, f32::INFINITY, f32::MIN, f32::MAX, 0.0, -1e9, 1e9];
        for (columns, rows) in [(0, 0), (1, 1), (3, 2), (400, 200)] {
            for a in wild {
                for b in wild {
                    let mut canvas = Canvas::new(columns, rows);
                    let rect = Rect::new(Vec2::new(a, b), Vec2::new(b, a));
                    for around in [None, Some(Vec2::new(a, b))] {
                        for seen in [rect, land(10.0)] {
                            let mut map = canvas.map(1, &seen, around);
                            map.put(Vec2::new(a, b), 'x', Ink::Plain);
                            map.fill(&rect, 'x', Ink::Plain);
                            map.outline(&rect, Ink::Plain);
                        }
                    }
                }
            }
        }
    }
}
