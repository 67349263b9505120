//! What a client says to the gate.

use serde::{Deserialize, Serialize};

use crate::bounded::{Hex64, Text};
use crate::limits::{
    CLIENT_MESSAGE_BYTES_MAX, MODE_BYTES_MAX, NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PROGRAM_BYTES_MAX,
    SESSION_BYTES_MAX,
};
use crate::{ParseError, parse, to_json};

/// One message from a client; its `type` in JSON is the variant in snake case.
///
/// The order of a session: `hello`, then `login`, `register` or `resume`, then anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Opens the session; answered by `welcome`.
    Hello(Hello),
    /// Logs in as a new guest, or with name and password; answered by `logged_in`.
    Login(Login),
    /// Makes an account with a name and a password and logs in with it; answered by `logged_in`.
    Register(Register),
    /// Comes back with a session token; answered by `logged_in`.
    Resume(Resume),
    /// Asks for the modes; answered by `modes`.
    Modes(ModesWanted),
    /// Queues for a mode; answered by `queued`, later by `match_found` and `battle_ready`.
    Queue(Queue),
    /// Takes the ticket back; answered by `cancelled`.
    Cancel(Cancel),
    /// Asks for a fresh battle in which all other seats are bots; answered by `battle_ready`.
    Issue(Issue),
    /// Asks for the battle that the player is in; answered by `your_battle`.
    WhereIsMyBattle(WhereIsMyBattle),
    /// Ends the session for good: its token resumes nothing afterwards; answered by `logged_out`.
    Logout(Logout),
}

impl ClientMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// Anything but exactly one message of at most [`CLIENT_MESSAGE_BYTES_MAX`] bytes.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text, CLIENT_MESSAGE_BYTES_MAX)
    }

    /// Writes the message as one text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The `type` of the message.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Login(_) => "login",
            Self::Register(_) => "register",
            Self::Resume(_) => "resume",
            Self::Modes(_) => "modes",
            Self::Queue(_) => "queue",
            Self::Cancel(_) => "cancel",
            Self::Issue(_) => "issue",
            Self::WhereIsMyBattle(_) => "where_is_my_battle",
            Self::Logout(_) => "logout",
        }
    }
}

/// Opens the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Version of the messages that the client speaks, see [`crate::VERSION`].
    pub version: u16,
    /// Name and version of the client program, for the operator's eyes.
    pub client: Text<PROGRAM_BYTES_MAX>,
}

/// Logs in as a new guest, or with name and password.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A guest's wanted display name, without which the house gives one; with a password the account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<NAME_BYTES_MAX>>,
    /// The account's password; guests have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text<PASSWORD_BYTES_MAX>>,
}

/// Makes an account with a name and a password, and logs in with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The name, which no other account has.
    pub name: Text<NAME_BYTES_MAX>,
    /// The password, at least eight bytes.
    pub password: Text<PASSWORD_BYTES_MAX>,
}

/// Comes back with a session token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The token of an earlier `logged_in`.
    pub session: Text<SESSION_BYTES_MAX>,
}

/// Asks for the modes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModesWanted {}

/// Queues for a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// Loadout to bring; 0 is the game's default.
    #[serde(default)]
    pub loadout: u32,
    /// The party to queue with, whose leader the player must be; without one the player queues alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<Hex64>,
}

/// Takes the ticket back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {}

/// Asks for a fresh battle against bots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// Loadout to bring; 0 is the game's default.
    #[serde(default)]
    pub loadout: u32,
}

/// Asks for the battle that the player is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhereIsMyBattle {}

/// Ends the session for good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logout {}

#[cfg(test)]
mod tests {
    use super::ClientMessage;
    use crate::limits::CLIENT_MESSAGE_BYTES_MAX;
    use crate::{Malformed, ParseError};

    fn kind(text: &str) -> Option<Malformed> {
        match ClientMessage::parse(text) {
            Ok(message) => {
                assert_eq!(ClientMessage::parse(&message.to_json()), Ok(message));
                None
            }
            Err(ParseError::Malformed { kind, .. }) => Some(kind),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_message_reads_as_it_is_documented() {
        for text in [
            r#"{"type":"hello","version":1,"client":"x"}"#,
            r#"{"type":"login"}"#,
            r#"{"type":"login","name":"Ada"}"#,
            r#"{"type":"login","name":"Ada","password":"x"}"#,
            r#"{"type":"register","name":"Ada","password":"xxxxxxxx"}"#,
            r#"{"type":"resume","session":"abc"}"#,
            r#"{"type":"modes"}"#,
            r#"{"type":"queue","mode":"skirmish"}"#,
            r#"{"type":"queue","mode":"skirmish","loadout":7,"party":"00000000000000ff"}"#,
            r#"{"type":"cancel"}"#,
            r#"{"type":"issue","mode":"skirmish"}"#,
            r#"{"type":"where_is_my_battle"}"#,
            r#"{"type":"logout"}"#,
        ] {
            assert_eq!(kind(text), None, "{text}");
            let name = ClientMessage::parse(text).unwrap().name();
            assert!(text.starts_with(&format!(r#"{{"type":"{name}""#)));
        }
    }

    #[test]
    fn unknown_fields_types_and_doubled_keys_are_refused() {
        for text in [
            r#"{"type":"cancel","extra":1}"#,
            r#"{"type":"modes","extra":{}}"#,
            r#"{"type":"hello","version":1,"client":"x","y":0}"#,
            r#"{"type":"hello","version":1,"version":1,"client":"x"}"#,
            r#"{"type":"hello","type":"hello","version":1,"client":"x"}"#,
            r#"{"type":"hello","version":65536,"client":"x"}"#,
            r#"{"type":"hello","version":1.0,"client":"x"}"#,
            r#"{"type":"hello","version":1}"#,
            r#"{"type":"nothing"}"#,
            r#"{"version":1}"#,
            "[]",
            "null",
            "7",
        ] {
            assert_eq!(kind(text), Some(Malformed::Message), "{text}");
        }
    }

    #[test]
    fn broken_json_cut_at_any_byte_is_refused_and_never_panics() {
        let whole = r#"{"type":"queue","mode":"é","loadout":4294967295}"#;
        for cut in (0..whole.len()).filter(|&cut| whole.is_char_boundary(cut)) {
            assert_eq!(kind(&whole[..cut]), Some(Malformed::Truncated), "{cut}");
        }
        assert_eq!(kind(&format!("{whole}x")), Some(Malformed::Syntax));
        assert_eq!(kind(r#"{"type":"queue","mode":"\ud800"}"#), Some(Malformed::Syntax));
    }

    #[test]
    fn deep_nesting_is_refused_with_a_bounded_stack() {
        for (open, depth) in [("[", 4_000), ("{\"a\":", 800), ("{\"type\":[", 400)] {
            assert!(kind(&open.repeat(depth)).is_some());
        }
    }

    #[test]
    fn a_message_of_the_largest_size_is_read_and_one_byte_more_is_not() {
        let message = r#"{"type":"cancel"}"#;
        let padded = format!("{message}{}", " ".repeat(CLIENT_MESSAGE_BYTES_MAX - message.len()));
        assert_eq!(kind(&padded), None);
        let bytes = CLIENT_MESSAGE_BYTES_MAX + 1;
        assert_eq!(
            ClientMessage::parse(&format!("{padded} ")),
            Err(ParseError::TooLong { bytes, bytes_max: CLIENT_MESSAGE_BYTES_MAX })
        );
    }
}
