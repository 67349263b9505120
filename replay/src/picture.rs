//! What a snapshot block holds: the picture of a tick, as the game that recorded it drew it for who looks on.
//!
//! ```text
//! at  size  field
//!  0     2  columns, 1 to 400
//!  2     2  rows, 1 to 200
//!  4     …  row by row, per place 4 bytes: 3 the character's number in Unicode, 1 its ink
//!           (0 plain, 1 faint, 2 strong, 3 alarm, 16 to 31 the colour of team 0 to 15)
//! ```
//!
//! A build that knows neither the rules nor the layout of that game's state can still show it. It proves nothing:
//! nobody compares it with the state.

use tiltyard_engine::screen::{COLUMNS_MAX, Canvas, Cell, Ink, ROWS_MAX};
use tiltyard_engine::{TEAMS_MAX, Team};

use crate::bytes::Cursor;

/// The longest picture in bytes.
pub const PICTURE_BYTES_MAX: usize = 4 + 4 * COLUMNS_MAX as usize * ROWS_MAX as usize;

/// Ink of the first team's colour.
const FIRST_TEAM: u8 = 16;

/// The bytes of a picture; none of an empty one, which nobody reads back. Costs a walk over all places.
#[must_use]
pub fn encode_picture(canvas: &Canvas) -> Vec<u8> {
    let places = usize::from(canvas.columns()) * usize::from(canvas.rows());
    let mut bytes = Vec::with_capacity(4 + 4 * places);
    bytes.extend_from_slice(&canvas.columns().to_le_bytes());
    bytes.extend_from_slice(&canvas.rows().to_le_bytes());
    for cell in canvas.lines().flatten() {
        let ink = match cell.ink {
            Ink::Plain => 0,
            Ink::Faint => 1,
            Ink::Strong => 2,
            Ink::Alarm => 3,
            Ink::Team(team) => FIRST_TEAM + team.0 % TEAMS_MAX as u8,
        };
        let [low, middle, high, _] = u32::from(cell.glyph).to_le_bytes();
        bytes.extend_from_slice(&[low, middle, high, ink]);
    }
    bytes
}

/// Reads a picture from bytes of a stranger; nothing if they are none.
#[must_use]
pub fn parse_picture(bytes: &[u8]) -> Option<Canvas> {
    let mut cursor = Cursor::new(bytes);
    let (columns, rows) = (cursor.u16()?, cursor.u16()?);
    let bounded = (1..=COLUMNS_MAX).contains(&columns) && (1..=ROWS_MAX).contains(&rows);
    let places = cursor.rest();
    if !bounded || places.len() != 4 * usize::from(columns) * usize::from(rows) {
        return None;
    }
    let mut canvas = Canvas::new(columns, rows);
    let mut places = places.chunks_exact(4);
    for row in 0..rows {
        for (column, place) in (0..columns).zip(&mut places) {
            let [low, middle, high, ink] = place.try_into().ok()?;
            let Cell { glyph, ink } = cell(u32::from_le_bytes([low, middle, high, 0]), ink)?;
            canvas.put(column, row, glyph, ink);
        }
    }
    Some(canvas)
}

fn cell(number: u32, ink: u8) -> Option<Cell> {
    let ink = match ink {
        0 => Ink::Plain,
        1 => Ink::Faint,
        2 => Ink::Strong,
        3 => Ink::Alarm,
        _ => Ink::Team(Team(ink.checked_sub(FIRST_TEAM).filter(|team| usize::from(*team) < TEAMS_MAX)?)),
    };
    let glyph = char::from_u32(number).filter(|glyph| !glyph.is_control())?;
    Some(Cell { glyph, ink })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "a█" in the colours of a team and of text.
    const VECTOR: [u8; 12] = [2, 0, 1, 0, 0x61, 0, 0, 17, 0x88, 0x25, 0, 0];

    #[test]
    fn pictures_survive_and_stand_still() {
        let mut canvas = Canvas::new(2, 1);
        canvas.put(0, 0, 'a', Ink::Team(Team(1)));
        canvas.put(1, 0, '█', Ink::Plain);
        assert_eq!(encode_picture(&canvas), VECTOR);
        assert_eq!(parse_picture(&VECTOR), Some(canvas));
        let mut inks = Canvas::new(COLUMNS_MAX, ROWS_MAX);
        let teams = (0..TEAMS_MAX as u8).map(|team| Ink::Team(Team(team)));
        for (column, ink) in
            (0..).zip([Ink::Plain, Ink::Faint, Ink::Strong, Ink::Alarm].into_iter().chain(teams))
        {
            inks.put(column, ROWS_MAX - 1, '\u{10ffff}', ink);
        }
        let bytes = encode_picture(&inks);
        assert_eq!(bytes.len(), PICTURE_BYTES_MAX);
        assert_eq!(parse_picture(&bytes), Some(inks));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let check = |change: fn(&mut Vec<u8>)| {
            let mut bytes = VECTOR.to_vec();
            change(&mut bytes);
            assert_eq!(parse_picture(&bytes), None, "{bytes:?}");
        };
        check(Vec::clear);
        check(|bytes| bytes.truncate(3));
        check(|bytes| bytes.truncate(11));
        check(|bytes| bytes.push(0));
        check(|bytes| bytes[0] = 1);
        check(|bytes| bytes[2] = 0);
        check(|bytes| bytes.splice(0..2, 401_u16.to_le_bytes()).for_each(drop));
        check(|bytes| bytes[4] = 0x1b);
        check(|bytes| bytes[6] = 0x11);
        check(|bytes| bytes[5] = 0xd8);
        check(|bytes| bytes[7] = 4);
        check(|bytes| bytes[7] = 15);
        check(|bytes| bytes[7] = 32);
    }
}
