//! Why something did not work at the gate.

use thiserror::Error;
use tiltyard_api::limits::{MODE_BYTES_MAX, SENTENCE_BYTES_MAX};
use tiltyard_api::{ErrorCode, GateError, ParseError, Text};

use super::ticket::TicketError;

/// Why something did not work at the gate.
#[derive(Debug, Error)]
pub enum LobbyError {
    /// There is no connection to the gate, or it broke.
    #[error("gate: {0}")]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The gate closed the connection.
    #[error("the gate closed the connection")]
    Closed,
    /// The gate was silent longer than it said it would be, or did not answer in time.
    #[error("the gate did not say {what} within {ms} ms")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long, milliseconds.
        ms: u64,
    },
    /// The gate refused a message.
    #[error("the gate refuses {of}: {}{}", code.as_str(), sentence(message))]
    Refused {
        /// The message's type.
        of: Text<MODE_BYTES_MAX>,
        /// Why, as a stable code.
        code: ErrorCode,
        /// The gate's sentence about it; may be empty.
        message: Text<SENTENCE_BYTES_MAX>,
        /// When to try again, milliseconds; 0 if that changes nothing.
        retry_after_ms: u64,
    },
    /// The gate has no mode of that name.
    #[error("the gate has no mode `{mode}`; it has {}", listed(modes))]
    NoSuchMode {
        /// The name that was asked for.
        mode: Text<MODE_BYTES_MAX>,
        /// The names that there are.
        modes: Vec<Text<MODE_BYTES_MAX>>,
    },
    /// A newer session of the same player took over.
    #[error("a newer session of this player took over")]
    Replaced,
    /// The gate said what is no message.
    #[error("the gate's message: {0}")]
    Message(#[from] ParseError),
    /// The gate said something that does not answer the question.
    #[error("the gate answers {of} with another message")]
    OutOfPlace {
        /// The question's type.
        of: &'static str,
    },
    /// What the gate gave is no way into a battle.
    #[error("the gate's battle: {0}")]
    Ticket(#[from] TicketError),
    /// The ticket vanished while the connection was broken.
    #[error("the ticket is not in the queue any more, and no battle came of it")]
    TicketLost,
    /// The battle's result came while the connection was broken.
    #[error("the battle is over; its result was told while the connection was broken")]
    ResultMissed,
    /// The mode's name is longer than a mode's name may be.
    #[error("the name of a mode has at most {MODE_BYTES_MAX} bytes")]
    ModeName,
    /// A name or a password is longer than it may be.
    #[error("it has more than {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: usize,
    },
}

impl LobbyError {
    /// Whether another connection may help: the gate is gone, closes, or was silent.
    pub(crate) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Socket(_) | Self::Closed | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => matches!(code, ErrorCode::Closing | ErrorCode::TimedOut),
            _ => false,
        }
    }

    /// When the gate wants to be asked again, milliseconds, if it may help.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Refused { retry_after_ms, .. } if *retry_after_ms > 0 => Some(*retry_after_ms),
            _ => None,
        }
    }
}

impl From<GateError> for LobbyError {
    fn from(error: GateError) -> Self {
        let GateError { code, of, message, retry_after_ms } = error;
        Self::Refused { of, code, message, retry_after_ms }
    }
}

fn listed(modes: &[Text<MODE_BYTES_MAX>]) -> String {
    let names: Vec<_> = modes.iter().map(Text::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn sentence(message: &Text<SENTENCE_BYTES_MAX>) -> String {
    if message.as_str().is_empty() { String::new() } else { format!(" ({message})") }
}
