//! Which names players may have.

use tiltyard_api::ErrorCode;

use crate::house::Refused;

/// A name as players may have it: 1 to 32 bytes, no blanks at its ends, nothing that is not seen or that turns what
/// stands around it.
pub(crate) fn checked_name(name: &str) -> Result<String, Refused> {
    let trimmed = name.trim();
    if trimmed.is_empty() || trimmed.chars().any(|letter| letter.is_control() || is_format(letter)) {
        return Err(ErrorCode::Name.into());
    }
    Ok(trimmed.to_owned())
}

/// Unicode's format characters (general category Cf of version 16) and its line and paragraph separators.
fn is_format(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}
