//! Divergence reports: a part of a recording around its first difference, with what was found written into it.
//!
//! A report is a recording: it has the last good keyframe, the records and the recorded hashes up to where the
//! difference was named, and whoever verifies it sees the difference again for as long as it is there. One more block
//! says what the build found that wrote it.
//!
//! ```text
//! at  size  field
//!  0     4  the first tick that differs
//!  4     1  1 if a hash of it is recorded, else 0
//!  5     8  the recorded hash, or 0
//! 13     8  the hash that was computed
//! 21    16  content hash of the tables of the build that computed it
//! 37     1  length of its name, at most 64
//! 38     …  its name, UTF-8
//!  …     …  what was found, in words: UTF-8 without control characters, at most 4,096 bytes
//! ```

use std::io::{Read, Seek, Write};

use crate::bytes::Cursor;
use crate::cut::{Cut, CutError, cut_with};
use crate::divergence::{Finding, FirstDivergence};
use crate::header::BUILD_NAME_BYTES_MAX;

/// The most bytes of words in a report.
pub const REPORT_TEXT_BYTES_MAX: usize = 4096;

/// What a build found when it verified a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first tick that differs.
    pub tick: u32,
    /// Its recorded hash, where one is recorded.
    pub recorded_hash: Option<u64>,
    /// The hash that was computed.
    pub simulated_hash: u64,
    /// Content hash of the tables of the build that computed it; zeros if its game has none.
    pub tables_hash: [u8; 16],
    /// The build that computed it.
    pub build: String,
    /// What it found, in words.
    pub text: String,
}

impl Report {
    /// What to say of a first difference.
    #[must_use]
    pub fn of(first: &FirstDivergence, tables_hash: [u8; 16], build: &str) -> Self {
        let FirstDivergence { tick, recorded_hash, simulated_hash, .. } = *first;
        let (build, text) = (build.to_owned(), first.to_string());
        Self { tick, recorded_hash, simulated_hash, tables_hash, build, text }
    }

    /// Reads a payload, or nothing if it is above a cap, no text, or text that would move a terminal's cursor.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let tick = cursor.u32()?;
        let recorded_hash = match (cursor.u8()?, cursor.u64()?) {
            (0, 0) => None,
            (1, hash) => Some(hash),
            _ => return None,
        };
        let (simulated_hash, tables_hash) = (cursor.u64()?, cursor.array()?);
        let length = usize::from(cursor.u8()?);
        let build = cursor.bytes(length).filter(|_| length <= BUILD_NAME_BYTES_MAX)?;
        let text = Some(cursor.rest()).filter(|text| text.len() <= REPORT_TEXT_BYTES_MAX)?;
        let words = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            (!text.contains(char::is_control)).then(|| text.to_owned())
        };
        let (build, text) = (words(build)?, words(text)?);
        Some(Self { tick, recorded_hash, simulated_hash, tables_hash, build, text })
    }

    /// The payload; texts above their caps, and control characters in them, are left out.
    fn to_payload(&self) -> Vec<u8> {
        let words = |text: &str, max: usize| {
            let mut text: String = text.chars().filter(|letter| !letter.is_control()).collect();
            text.truncate(text.floor_char_boundary(max));
            text
        };
        let build = words(&self.build, BUILD_NAME_BYTES_MAX);
        let mut out = self.tick.to_le_bytes().to_vec();
        out.push(u8::from(self.recorded_hash.is_some()));
        out.extend_from_slice(&self.recorded_hash.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.simulated_hash.to_le_bytes());
        out.extend_from_slice(&self.tables_hash);
        out.push(u8::try_from(build.len()).expect("it was cut to its cap"));
        out.extend_from_slice(build.as_bytes());
        out.extend_from_slice(words(&self.text, REPORT_TEXT_BYTES_MAX).as_bytes());
        out
    }
}

/// Writes the report of a recording's first difference. Nothing is simulated.
///
/// # Errors
/// As [`cut`](crate::cut).
pub fn write_report<W: Write>(
    source: impl Read + Seek,
    first: &FirstDivergence,
    report: &Report,
    sink: W,
) -> Result<(Cut, W), CutError> {
    // Up to where the difference was named or taken back, so that a verification comes to the same words.
    let to = match &first.finding {
        Finding::State(address) | Finding::Keyframe(address) => address.tick.0.max(first.tick),
        Finding::HashAlone { agrees_at } => *agrees_at,
        // What follows is the end, or stands behind ticks that were played twice.
        Finding::HashOnly | Finding::Takeover | Finding::End | Finding::Outcome => u32::MAX,
    };
    cut_with(source, first.tick, to, sink, Some(&report.to_payload()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_their_bytes_and_others_are_refused() {
        let report = Report {
            tick: 7,
            recorded_hash: Some(3),
            simulated_hash: 4,
            tables_hash: [5; 16],
            build: "a build".to_owned(),
            text: "é".repeat(REPORT_TEXT_BYTES_MAX / 2),
        };
        let payload = report.to_payload();
        assert_eq!(Report::parse(&payload), Some(report.clone()));
        assert_eq!(Report::parse(&[&payload[..], b"x"].concat()), None, "a byte more than the cap");
        (0..38 + report.build.len()).for_each(|cut| assert_eq!(Report::parse(&payload[..cut]), None));
        let long = Report { text: "é".repeat(REPORT_TEXT_BYTES_MAX) + "\u{1b}[2J", ..report.clone() };
        assert_eq!(Report::parse(&long.to_payload()), Some(report.clone()));
        let odd = Report { recorded_hash: None, text: "one\ntwo".to_owned(), ..report };
        assert_eq!(Report::parse(&odd.to_payload()).map(|read| read.text), Some("onetwo".to_owned()));
        let mut escape = odd.to_payload();
        *escape.last_mut().expect("words") = 0x1b;
        assert_eq!(Report::parse(&escape), None);
    }
}
