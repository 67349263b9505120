//! Stable codes of what the gate refuses. A code is never renamed; a client may branch on it.

use serde::{Deserialize, Serialize};

/// Why the gate refused something; the string in JSON is the variant in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The hello names a version that this gate does not speak. The connection is closed.
    Version,
    /// The frame is none of the messages. The connection is closed.
    Malformed,
    /// The message is longer than allowed. The connection is closed.
    TooLong,
    /// The message does not fit the state of the session: no hello yet, no login yet, a second login.
    OutOfPlace,
    /// The session token is forged, or of another cluster.
    SessionRefused,
    /// The session token has expired: log in again.
    SessionExpired,
    /// The name is empty or too long, or has letters that names may not have.
    Name,
    /// An account has the name already.
    NameTaken,
    /// The password is too short.
    Password,
    /// No account has this name and password.
    Credentials,
    /// There is no mode of that name.
    NoSuchMode,
    /// There is no such party, or the player is not in it.
    NoSuchParty,
    /// The player has a ticket already.
    AlreadyQueued,
    /// The player has no ticket.
    NotQueued,
    /// The ticket is being matched right now and cannot be cancelled any more.
    AlreadyMatched,
    /// The player is in a battle; ask where it is.
    InBattle,
    /// No node has room, or nothing is known about the nodes just now: try later.
    TryLater,
    /// The queue or the house is full: try later.
    Full,
    /// Messages came faster than allowed; this one was dropped.
    RateLimited,
    /// The house is closing.
    Closing,
    /// The hello or the login took too long, or nothing was heard for the idle time. The connection is closed.
    TimedOut,
    /// Something in the house did not work; the same message may be sent again.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self::Version,
        Self::Malformed,
        Self::TooLong,
        Self::OutOfPlace,
        Self::SessionRefused,
        Self::SessionExpired,
        Self::Name,
        Self::NameTaken,
        Self::Password,
        Self::Credentials,
        Self::NoSuchMode,
        Self::NoSuchParty,
        Self::AlreadyQueued,
        Self::NotQueued,
        Self::AlreadyMatched,
        Self::InBattle,
        Self::TryLater,
        Self::Full,
        Self::RateLimited,
        Self::Closing,
        Self::TimedOut,
        Self::Internal,
    ];

    /// The code as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::OutOfPlace => "out_of_place",
            Self::SessionRefused => "session_refused",
            Self::SessionExpired => "session_expired",
            Self::Name => "name",
            Self::NameTaken => "name_taken",
            Self::Password => "password",
            Self::Credentials => "credentials",
            Self::NoSuchMode => "no_such_mode",
            Self::NoSuchParty => "no_such_party",
            Self::AlreadyQueued => "already_queued",
            Self::NotQueued => "not_queued",
            Self::AlreadyMatched => "already_matched",
            Self::InBattle => "in_battle",
            Self::TryLater => "try_later",
            Self::Full => "full",
            Self::RateLimited => "rate_limited",
            Self::Closing => "closing",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }
}
