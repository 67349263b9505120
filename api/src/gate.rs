//! What the gate says to a client.

use serde::{Deserialize, Serialize};

use crate::bounded::{Base64, Hex64, List, Text};
use crate::code::ErrorCode;
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, GATE_MESSAGE_BYTES_MAX, MODE_BYTES_MAX, MODES_MAX, NAME_BYTES_MAX,
    PROGRAM_BYTES_MAX, PROTOCOL_HASH_BYTES, SCORES_MAX, SECRET_BYTES_MAX, SENTENCE_BYTES_MAX,
    SESSION_BYTES_MAX, TOKEN_BYTES_MAX,
};
use crate::{ParseError, parse, to_json};

/// One message from the gate; its `type` in JSON is the variant in snake case.
///
/// `match_found`, `battle_ready`, `requeued`, `battle_over` and `replaced` may come unasked, and `logged_in` when the
/// gate has taken the session up again at another lobby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GateMessage {
    /// Answers `hello`.
    Welcome(Welcome),
    /// Answers `login` and `resume`.
    LoggedIn(LoggedIn),
    /// Answers `modes`.
    Modes(Modes),
    /// Answers `queue`.
    Queued(Queued),
    /// Answers `cancel`.
    Cancelled(Cancelled),
    /// The ticket is part of a match; a battle is being placed.
    MatchFound(MatchFound),
    /// The battle waits for the player: connect with this.
    BattleReady(Box<BattleReady>),
    /// The match could not be placed; the ticket is in the queue again with its age.
    Requeued(Requeued),
    /// Answers `where_is_my_battle`.
    YourBattle(YourBattle),
    /// The player's battle has ended and its result is stored.
    BattleOver(BattleOver),
    /// A newer session of the same player took over; this connection is closed.
    Replaced(Replaced),
    /// Answers `logout`; the connection is closed.
    LoggedOut(LoggedOut),
    /// Something was refused.
    Error(GateError),
}

impl GateMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// Anything but exactly one message of at most [`GATE_MESSAGE_BYTES_MAX`] bytes.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text, GATE_MESSAGE_BYTES_MAX)
    }

    /// Writes the message as one text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// Answers `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// Version of the messages that the gate speaks.
    pub version: u16,
    /// Name and version of the gate's program.
    pub server: Text<PROGRAM_BYTES_MAX>,
    /// Most bytes of a message that this gate reads.
    pub message_bytes_max: u32,
    /// The connection is closed when nothing is heard for so long, in milliseconds; a WebSocket pong counts.
    pub idle_timeout_ms: u64,
}

/// Answers `login` and `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedIn {
    /// The player's number.
    pub player: Hex64,
    /// The player's display name.
    pub name: Text<NAME_BYTES_MAX>,
    /// Token to resume with; a secret.
    pub session: Text<SESSION_BYTES_MAX>,
    /// When the token ends, Unix time in milliseconds.
    pub expires_unix_ms: u64,
    /// Whether a ticket of this player waits in the queue.
    pub queued: bool,
    /// Whether the player is in a battle; ask where it is.
    pub in_battle: bool,
}

/// Answers `modes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modes {
    /// The modes, by name.
    pub modes: List<ModeInfo, MODES_MAX>,
}

/// What a client may know of a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeInfo {
    /// Its name.
    pub name: Text<MODE_BYTES_MAX>,
    /// How many teams.
    pub teams: u8,
    /// How many seats each team has.
    pub seats_per_team: u16,
    /// Ticks per second.
    pub rate_hz: u16,
    /// A battle ends at this tick at the latest.
    pub ticks_max: u32,
    /// Protocol hash of the game; a client of another one is refused by the node.
    pub protocol_hash: Base64<PROTOCOL_HASH_BYTES>,
    /// Tickets waiting just now.
    pub waiting: u32,
}

/// Answers `queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queued {
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// The ticket's number.
    pub ticket: Hex64,
}

/// Answers `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    /// The ticket's number.
    pub ticket: Hex64,
}

/// The ticket is part of a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchFound {
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// Players of flesh in the match.
    pub players: u16,
    /// Bots in the match.
    pub bots: u16,
}

/// Everything that is needed to connect to a battle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BattleReady {
    /// The battle's number.
    pub battle: Hex64,
    /// The epoch under which the battle runs.
    pub epoch: u32,
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// The player's seat.
    pub seat: u16,
    /// The player's team.
    pub team: u8,
    /// The battle token.
    pub token: Base64<TOKEN_BYTES_MAX>,
    /// The session secret that belongs to the token.
    pub secret: Base64<SECRET_BYTES_MAX>,
    /// Addresses of the node, `ip:port`, the first first.
    pub addresses: List<Text<ADDRESS_BYTES_MAX>, ADDRESSES_MAX>,
    /// Protocol hash of the game.
    pub protocol_hash: Base64<PROTOCOL_HASH_BYTES>,
    /// Ticks per second.
    pub rate_hz: u16,
    /// Until when the first connection must have been made, Unix time in milliseconds.
    pub expires_unix_ms: u64,
}

/// The ticket is in the queue again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requeued {
    /// Name of the mode.
    pub mode: Text<MODE_BYTES_MAX>,
    /// The ticket's number.
    pub ticket: Hex64,
    /// How long the ticket has waited, in milliseconds, counted from the first queueing.
    pub waited_ms: u64,
    /// Why the match could not be placed.
    pub reason: ErrorCode,
}

/// Answers `where_is_my_battle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YourBattle {
    /// The battle, or nothing if the player is in none.
    pub battle: Option<Box<BattleReady>>,
}

/// How a battle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Played to its outcome.
    Finished,
    /// Ended by a fault of the battle.
    Aborted,
    /// Ended because nobody came or everybody left.
    Abandoned,
}

/// The player's battle has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BattleOver {
    /// The battle's number.
    pub battle: Hex64,
    /// How it ended.
    pub ended: Ended,
    /// The team that won, if one did.
    pub winner: Option<u8>,
    /// Scores in the order that the game gives them (skirmish: one a team).
    pub scores: List<i64, SCORES_MAX>,
    /// The last tick.
    pub ticks: u32,
    /// State hash of the last tick.
    pub final_hash: Hex64,
}

/// A newer session took over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {}

/// Answers `logout`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedOut {}

/// Something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateError {
    /// What, as a stable code.
    pub code: ErrorCode,
    /// The `type` of the message that it answers; empty if none does.
    pub of: Text<MODE_BYTES_MAX>,
    /// A sentence for people; it may change at any time.
    pub message: Text<SENTENCE_BYTES_MAX>,
    /// When to try again, in milliseconds; 0 if trying again changes nothing.
    pub retry_after_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::{BattleOver, BattleReady, Ended, GateError, GateMessage, YourBattle};
    use crate::bounded::{Hex64, Text};
    use crate::code::ErrorCode;
    use crate::limits::{ADDRESSES_MAX, GATE_MESSAGE_BYTES_MAX, SCORES_MAX};

    fn ready(addresses: usize) -> BattleReady {
        let address = Text::try_from("x".repeat(64)).unwrap();
        BattleReady {
            battle: Hex64(u64::MAX),
            epoch: 1,
            mode: "skirmish".try_into().unwrap(),
            seat: 9,
            team: 1,
            token: vec![255; 512].try_into().unwrap(),
            secret: vec![7; 32].try_into().unwrap(),
            addresses: vec![address; addresses].try_into().unwrap(),
            protocol_hash: vec![1; 16].try_into().unwrap(),
            rate_hz: 30,
            expires_unix_ms: 1,
        }
    }

    #[test]
    fn the_largest_messages_fit_the_bound_and_read_back() {
        for message in [
            GateMessage::BattleReady(Box::new(ready(ADDRESSES_MAX))),
            GateMessage::YourBattle(YourBattle { battle: Some(Box::new(ready(1))) }),
            GateMessage::YourBattle(YourBattle { battle: None }),
            GateMessage::BattleOver(BattleOver {
                battle: Hex64(1),
                ended: Ended::Abandoned,
                winner: None,
                scores: vec![i64::MIN; SCORES_MAX].try_into().unwrap(),
                ticks: u32::MAX,
                final_hash: Hex64(u64::MAX),
            }),
        ] {
            let text = message.to_json();
            assert!(text.len() <= GATE_MESSAGE_BYTES_MAX);
            assert_eq!(GateMessage::parse(&text), Ok(message));
        }
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        assert!(!format!("{:?}", ready(1)).contains("7, 7"));
        assert!(format!("{:?}", ready(1)).contains("Base64(32 bytes)"));
    }

    #[test]
    fn the_code_in_json_is_the_code_as_a_string() {
        for code in
            [ErrorCode::Version, ErrorCode::NoSuchParty, ErrorCode::AlreadyMatched, ErrorCode::TimedOut]
        {
            let error = GateError {
                code,
                of: "queue".try_into().unwrap(),
                message: Text::default(),
                retry_after_ms: 0,
            };
            let text = GateMessage::Error(error).to_json();
            assert!(text.contains(&format!(r#""code":"{}""#, code.as_str())), "{text}");
        }
    }
}
