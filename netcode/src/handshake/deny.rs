//! Why a CONNECT with a proven token was refused: 48 sealed bytes, a code and its numbers.

use thiserror::Error;

use crate::wire::{Put, Reader, Short};

pub(crate) const DENY_PART_LEN: usize = 48;

/// Why the node refuses a client whose token is genuine (or, for `NotHere`, cannot be judged).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DenyReason {
    /// The first CONNECT came after the token's expiry.
    #[error("token expired {late_ms} ms ago")]
    Expired {
        /// By how much.
        late_ms: u64,
    },
    /// The token was issued in the future, beyond the allowed skew of clocks.
    #[error("token is not valid for another {early_ms} ms")]
    NotYetValid {
        /// By how much.
        early_ms: u64,
    },
    /// This node does not host the battle; ask a gate where it is. The one reason that is not sealed.
    #[error("the battle is not on this node")]
    NotHere,
    /// Client or token speak another protocol than the battle.
    #[error("the battle's protocol hash is {}, the client's or its token's is {}", hex(.here), hex(.theirs))]
    ProtocolHash {
        /// The battle's.
        here: [u8; 16],
        /// The client's, or that of its token.
        theirs: [u8; 16],
    },
    /// The client's arithmetic gave another self-test hash: it would desync.
    #[error("the math self-test gives {here:016x} at the node and {theirs:016x} at the client")]
    MathDiffers {
        /// The node's.
        here: u64,
        /// The client's; 0 when a frame-feed client gave none.
        theirs: u64,
    },
    /// The battle has ended.
    #[error("the battle is over")]
    BattleOver,
    /// A connection with a higher sequence, or a newer token, holds the seat.
    #[error("a newer connection holds the seat")]
    Superseded,
    /// No slot is free.
    #[error("the node has no free slot")]
    Full,
    /// The battle hides something from its players, so that nobody may compute it: it is shown by snapshots alone.
    #[error("the battle gives no frame feed, since it hides things: take the snapshot feed")]
    NoFrameFeed,
}

impl DenyReason {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (code, number) = match *self {
            Self::Expired { late_ms } => (1, late_ms),
            Self::NotYetValid { early_ms } => (2, early_ms),
            Self::NotHere => (3, 0),
            Self::ProtocolHash { .. } => (4, 0),
            Self::MathDiffers { here, .. } => (5, here),
            Self::BattleOver => (6, 0),
            Self::Superseded => (7, 0),
            Self::Full => (8, 0),
            Self::NoFrameFeed => (9, 0),
        };
        out.put_u8(code);
        match *self {
            Self::ProtocolHash { here, theirs } => {
                out.put(&here);
                out.put(&theirs);
            }
            Self::MathDiffers { theirs, .. } => {
                out.put_u64(number);
                out.put_u64(theirs);
            }
            _ => out.put_u64(number),
        }
        out.resize(start + DENY_PART_LEN, 0);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let read = |reader: &mut Reader<'_>| -> Result<Option<Self>, Short> {
            Ok(Some(match reader.u8()? {
                1 => Self::Expired { late_ms: reader.u64()? },
                2 => Self::NotYetValid { early_ms: reader.u64()? },
                3 => Self::NotHere,
                4 => Self::ProtocolHash { here: reader.array()?, theirs: reader.array()? },
                5 => Self::MathDiffers { here: reader.u64()?, theirs: reader.u64()? },
                6 => Self::BattleOver,
                7 => Self::Superseded,
                8 => Self::Full,
                9 => Self::NoFrameFeed,
                _ => return Ok(None),
            }))
        };
        read(&mut reader).ok().flatten()
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_with_its_numbers() {
        let reasons = [
            DenyReason::Expired { late_ms: 17 },
            DenyReason::NotYetValid { early_ms: u64::MAX },
            DenyReason::NotHere,
            DenyReason::ProtocolHash { here: [1; 16], theirs: [2; 16] },
            DenyReason::MathDiffers { here: 3, theirs: 4 },
            DenyReason::BattleOver,
            DenyReason::Superseded,
            DenyReason::Full,
            DenyReason::NoFrameFeed,
        ];
        for reason in reasons {
            let mut bytes = Vec::new();
            reason.encode(&mut bytes);
            assert_eq!(bytes.len(), DENY_PART_LEN);
            assert_eq!(DenyReason::decode(&bytes), Some(reason));
        }
        assert_eq!(DenyReason::decode(&[0; DENY_PART_LEN]), None);
        assert_eq!(DenyReason::decode(&[10; DENY_PART_LEN]), None);
    }

    #[test]
    fn a_differing_protocol_names_both_hashes() {
        let text = DenyReason::ProtocolHash { here: [0x0A; 16], theirs: [0xB0; 16] }.to_string();
        assert!(text.contains(&"0a".repeat(16)) && text.contains(&"b0".repeat(16)), "{text}");
    }
}
