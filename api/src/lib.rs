//! What a client and the gate say to each other: JSON text frames over a WebSocket, one message a frame.
//!
//! A leaf: it knows no other room. Whatever is read from a peer is refused unless it is exactly one message:
//! unknown fields, unknown types, doubled keys and values above the bounds in [`limits`] are errors.
//! Numbers of 64 bits travel as sixteen hexadecimal digits ([`Hex64`]), because JSON readers in browsers
//! lose whatever is above 2^53; bytes travel as base64 ([`Base64`]).
//!
//! ```
//! use tiltyard_api::{ClientMessage, Hello, VERSION};
//!
//! let hello = ClientMessage::Hello(Hello { version: VERSION, client: "example 1.0".try_into().unwrap() });
//! let text = hello.to_json();
//! assert_eq!(text, r#"{"type":"hello","version":1,"client":"example 1.0"}"#);
//! assert_eq!(ClientMessage::parse(&text), Ok(hello));
//! ```
#![forbid(unsafe_code)]

mod bounded;
mod client;
mod code;
mod gate;
pub mod limits;

pub use bounded::{Base64, BoundError, Hex64, List, Text};
pub use client::{
    Cancel, ClientMessage, Hello, Issue, Login, Logout, ModesWanted, Queue, Register, Resume, WhereIsMyBattle,
};
pub use code::ErrorCode;
pub use gate::{
    BattleOver, BattleReady, Cancelled, Ended, GateError, GateMessage, LoggedIn, LoggedOut, MatchFound,
    ModeInfo, Modes, Queued, Replaced, Requeued, Welcome, YourBattle,
};

/// Version of these messages; a gate refuses a hello with another one.
pub const VERSION: u16 = 1;

/// Why a text frame is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame is longer than a message may be.
    #[error("{bytes} bytes are more than the {bytes_max} of a message")]
    TooLong {
        /// Bytes of the frame.
        bytes: usize,
        /// Most bytes of a message in this direction.
        bytes_max: usize,
    },
    /// The frame is no JSON, or JSON that is none of the messages.
    #[error("line {line}, column {column}: {kind}")]
    Malformed {
        /// Line of the first byte that does not fit, from 1.
        line: usize,
        /// Column of that byte, from 1.
        column: usize,
        /// What is wrong there.
        kind: Malformed,
    },
}

/// The kinds of malformed frames, as far as a peer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or JSON nested deeper than any message is.
    #[error("no valid JSON")]
    Syntax,
    /// The text ends before the message does.
    #[error("the message is cut off")]
    Truncated,
    /// JSON, but none of the messages: a type, a field or a value that is not ours.
    #[error("no message of this protocol")]
    Message,
}

fn parse<'de, T: serde::Deserialize<'de>>(text: &'de str, bytes_max: usize) -> Result<T, ParseError> {
    if text.len() > bytes_max {
        return Err(ParseError::TooLong { bytes: text.len(), bytes_max });
    }
    serde_json::from_str(text).map_err(|error| ParseError::Malformed {
        line: error.line(),
        column: error.column(),
        kind: match error.classify() {
            serde_json::error::Category::Eof => Malformed::Truncated,
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => Malformed::Syntax,
            serde_json::error::Category::Data => Malformed::Message,
        },
    })
}

fn to_json<T: serde::Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("messages have string keys and no failing serializer")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ClientMessage, ErrorCode, GateMessage};

    const PAGE: &str = include_str!("../../docs/GATE.md");

    #[test]
    fn every_example_of_the_documentation_is_a_message_and_every_message_has_one() {
        let mut shown = BTreeSet::new();
        for line in PAGE.lines().filter(|line| line.starts_with("{\"type\"")) {
            let client = ClientMessage::parse(line).map(|message| message.to_json());
            let gate = GateMessage::parse(line).map(|message| message.to_json());
            let read = client.or(gate).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(read, line, "an example is written as the house writes it");
            shown.extend(line.split('"').nth(3).map(str::to_owned));
        }
        // Ten from the client, thirteen from the gate; "modes" is said by both.
        assert_eq!(shown.len(), 22, "{shown:?}");
    }

    #[test]
    fn every_code_is_in_the_documentation() {
        for code in ErrorCode::ALL {
            assert!(PAGE.contains(&format!("`{}`", code.as_str())), "{}", code.as_str());
        }
    }
}
