//! Divergence reports: the part of a recording in which something went wrong, with what was found written into it.
//!
//! A report is a recording: it has the last good keyframe, the records and the recorded hashes up to where the mistake
//! was named, and whoever verifies it sees it again for as long as it is there. One more block says what was found:
//! by a build that verified the recording, by a client whose state differed, or by a node whose game panicked. The
//! report of a panic has the record of the tick that was never finished, without a hash, and no end.
//!
//! ```text
//! at  size  field
//!  0     4  the first tick that differs
//!  4     1  1 if a hash of it is recorded, and 2 more if none was computed
//!  5     8  the recorded hash, or 0
//! 13     8  the hash that was computed, or 0
//! 21     1  length of the name of who computed it, at most 64
//! 22     …  the name, UTF-8: a build, a client, a node
//!  …     …  what was found, in words: UTF-8 without control characters, at most 4,096 bytes
//! ```

use std::io::{Read, Seek, Write};

use crate::bytes::{Cursor, length_u32, put_varint};
use crate::cut::{CutError, Part};
use crate::divergence::{Finding, FirstDivergence};
use crate::format::{Kind, Label};
use crate::header::BUILD_NAME_BYTES_MAX;

/// The most bytes of words in a report.
pub const REPORT_TEXT_BYTES_MAX: usize = 4096;

/// A hash of the tick is recorded.
const RECORDED: u8 = 1;
/// No hash of the tick was computed.
const NOT_COMPUTED: u8 = 2;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first tick that differs.
    pub tick: u32,
    /// Its recorded hash, where one is recorded.
    pub recorded_hash: Option<u64>,
    /// The hash that was computed; nothing if the tick could not be.
    pub simulated_hash: Option<u64>,
    /// Who computed it: a build, or what is known of a client or a node.
    pub build: String,
    /// What it found, in words.
    pub text: String,
}

impl Report {
    /// What to say of a first difference.
    #[must_use]
    pub fn of(first: &FirstDivergence, build: &str) -> Self {
        let FirstDivergence { tick, recorded_hash, simulated_hash, .. } = *first;
        let (build, text, simulated_hash) = (build.to_owned(), first.to_string(), Some(simulated_hash));
        Self { tick, recorded_hash, simulated_hash, build, text }
    }

    /// Reads a payload, or nothing if it is above a cap, no text, or text that would move a terminal's cursor.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let tick = cursor.u32()?;
        let known = cursor.u8()?;
        let hash = |is_known: bool, hash: u64| match (is_known, hash) {
            (true, hash) => Some(Some(hash)),
            (false, 0) => Some(None),
            (false, _) => None,
        };
        let recorded_hash = hash(known & RECORDED != 0, cursor.u64()?)?;
        let simulated_hash = hash(known & NOT_COMPUTED == 0, cursor.u64()?)?;
        if known & !(RECORDED | NOT_COMPUTED) != 0 {
            return None;
        }
        let length = usize::from(cursor.u8()?);
        let build = cursor.bytes(length).filter(|_| length <= BUILD_NAME_BYTES_MAX)?;
        let text = Some(cursor.rest()).filter(|text| text.len() <= REPORT_TEXT_BYTES_MAX)?;
        let words = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            (!text.contains(char::is_control)).then(|| text.to_owned())
        };
        let (build, text) = (words(build)?, words(text)?);
        Some(Self { tick, recorded_hash, simulated_hash, build, text })
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
        let recorded = if self.recorded_hash.is_some() { RECORDED } else { 0 };
        out.push(recorded | if self.simulated_hash.is_some() { 0 } else { NOT_COMPUTED });
        out.extend_from_slice(&self.recorded_hash.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.simulated_hash.unwrap_or(0).to_le_bytes());
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
pub fn write_divergence<W: Write>(
    source: impl Read + Seek,
    first: &FirstDivergence,
    report: &Report,
    sink: W,
) -> Result<W, CutError> {
    // Up to where the difference was named or taken back, so that a verification comes to the same words.
    let to = match &first.finding {
        Finding::State(address) | Finding::Keyframe(address) => address.tick.0.max(first.tick),
        Finding::HashAlone { agrees_at } => *agrees_at,
        // What follows is the end, or stands behind ticks that were played twice.
        Finding::HashOnly | Finding::Takeover | Finding::End | Finding::Outcome => u32::MAX,
    };
    close(Part::copy(source, first.tick, to, sink)?, report)
}

/// Writes a report on a tick that is recorded with its hash. Nothing is simulated.
///
/// # Errors
/// As [`cut`](crate::cut).
pub fn write_report<W: Write>(source: impl Read + Seek, report: &Report, sink: W) -> Result<W, CutError> {
    close(Part::copy(source, report.tick, report.tick, sink)?, report)
}

/// Writes what a client came to that has another state after `tick` than the recording; nothing if it is the
/// recorded one after all. `client` stands for the build, which a node does not know.
///
/// # Errors
/// As [`cut`](crate::cut).
pub fn write_claim<W: Write>(
    source: impl Read + Seek,
    (tick, claimed_hash): (u32, u64),
    client: &str,
    sink: W,
) -> Result<Option<W>, CutError> {
    let part = Part::copy(source, tick, tick, sink)?;
    let recorded_hash = part.final_hash()?;
    if recorded_hash == claimed_hash {
        return Ok(None);
    }
    let text = format!("tick {tick}, recorded hash {recorded_hash:016x}, {client} says {claimed_hash:016x}");
    let report = Report {
        tick,
        recorded_hash: Some(recorded_hash),
        simulated_hash: Some(claimed_hash),
        build: client.to_owned(),
        text,
    };
    close(part, &report).map(Some)
}

/// Writes a report on the tick after the recording's last, which has `record` and was never finished.
///
/// # Errors
/// As [`cut`](crate::cut), and if the recording has another last tick.
pub fn write_unfinished<W: Write>(
    source: impl Read + Seek,
    record: &[u8],
    report: &Report,
    sink: W,
) -> Result<W, CutError> {
    let first_tick = report.tick;
    let Part { mut writer, .. } = Part::copy_rest(source, first_tick.saturating_sub(1), sink)?;
    let mut payload = Vec::new();
    put_varint(&mut payload, length_u32(record.len()));
    payload.extend_from_slice(record);
    let epoch = writer.epoch();
    writer.copy(Label { kind: Kind::TickRecords, epoch, first_tick, tick_count: 1 }, &payload)?;
    writer.report(&report.to_payload())?;
    Ok(writer.into_sink())
}

fn close<W: Write>(mut part: Part<W>, report: &Report) -> Result<W, CutError> {
    part.writer.report(&report.to_payload())?;
    part.close().map(|(_, sink)| sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_their_bytes_and_others_are_refused() {
        let report = Report {
            tick: 7,
            recorded_hash: Some(3),
            simulated_hash: Some(4),
            build: "a build".to_owned(),
            text: "é".repeat(REPORT_TEXT_BYTES_MAX / 2),
        };
        let payload = report.to_payload();
        assert_eq!(Report::parse(&payload), Some(report.clone()));
        assert_eq!(Report::parse(&[&payload[..], b"x"].concat()), None, "a byte more than the cap");
        (0..22 + report.build.len()).for_each(|cut| assert_eq!(Report::parse(&payload[..cut]), None));
        let long = Report { text: "é".repeat(REPORT_TEXT_BYTES_MAX) + "\u{1b}[2J", ..report.clone() };
        assert_eq!(Report::parse(&long.to_payload()), Some(report.clone()));
        let uncomputed = Report { simulated_hash: None, ..report.clone() };
        assert_eq!(Report::parse(&uncomputed.to_payload()), Some(uncomputed));
        let mut unknown = payload;
        unknown[4] |= 4;
        assert_eq!(Report::parse(&unknown), None, "a flag of a later version");
        let odd = Report { recorded_hash: None, text: "one\ntwo".to_owned(), ..report };
        assert_eq!(Report::parse(&odd.to_payload()).map(|read| read.text), Some("onetwo".to_owned()));
        let mut escape = odd.to_payload();
        *escape.last_mut().expect("words") = 0x1b;
        assert_eq!(Report::parse(&escape), None);
    }
}
