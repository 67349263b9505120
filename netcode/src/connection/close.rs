//! Why a connection ended.

use std::fmt;

/// Why a connection ended, as both sides learn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The battle is over.
    Finished,
    /// The client left.
    Left,
    /// A newer connection took the seat.
    Replaced,
    /// The peer fell silent.
    TimedOut,
    /// The peer did not take what was sent to it.
    SlowReader,
    /// The peer sent what the protocol does not allow.
    Misbehaved,
    /// The node shuts down or hands the battle over; asking a gate tells where it is.
    Draining,
    /// The battle was aborted.
    Aborted,
    /// The connection has lived as long as one may; connecting again helps.
    Lifetime,
    /// An administrator's decision.
    Removed,
    /// No address of the token file answered.
    Unreachable,
    /// A reason of a later version.
    Unknown,
}

const WIRE: [CloseReason; 12] = [
    CloseReason::Unknown,
    CloseReason::Finished,
    CloseReason::Left,
    CloseReason::Replaced,
    CloseReason::TimedOut,
    CloseReason::SlowReader,
    CloseReason::Misbehaved,
    CloseReason::Draining,
    CloseReason::Aborted,
    CloseReason::Lifetime,
    CloseReason::Removed,
    CloseReason::Unreachable,
];

impl CloseReason {
    pub(crate) fn to_wire(self) -> u8 {
        let at = WIRE.iter().position(|&reason| reason == self).expect("the table holds every reason");
        u8::try_from(at).expect("the table is short")
    }

    pub(crate) fn from_wire(byte: u8) -> Self {
        WIRE.get(usize::from(byte)).copied().unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "the battle is over",
            Self::Left => "the client left",
            Self::Replaced => "replaced by a newer connection",
            Self::TimedOut => "timed out",
            Self::SlowReader => "does not read",
            Self::Misbehaved => "broke the protocol",
            Self::Draining => "the node is draining",
            Self::Aborted => "the battle was aborted",
            Self::Lifetime => "the connection lived its full time",
            Self::Removed => "removed by an administrator",
            Self::Unreachable => "no address answered",
            Self::Unknown => "a reason of a later version",
        })
    }
}
