//! The sealed part of a token.
//!
//! ```text
//! offset  bytes  field
//!      0      8  player
//!      8      2  seat
//!     10      1  team
//!     11      1  role                  0 player, 1 spectator, 2 bot
//!     12     16  protocol hash
//!     28      8  issued_unix_ms
//!     36     32  session secret
//!     68      4  bytes_per_second_max  0 = the node's default
//!     72      4  inputs_per_second_max 0 = the node's default
//!     76     32  loadout hash
//!    108      1  length of user data   0..=64
//!    109     64  user data, zeros behind its length
//!    173     23  reserved, 0
//! ```

use super::SessionSecret;
use crate::wire::{Put, Reader, Short};

/// Bytes of user data that fit into a token.
pub const USER_DATA_MAX: usize = 64;

pub(super) const SEALED_LEN: usize = 196;
const RESERVED_LEN: usize = 23;

const _: () = assert!(108 + 1 + USER_DATA_MAX + RESERVED_LEN == SEALED_LEN);

/// What the bearer of a token may be in the battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A human player on a seat.
    Player,
    /// Watches; holds no seat.
    Spectator,
    /// A program on a seat.
    Bot,
}

/// What a token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The player's identity.
    pub player: u64,
    /// The seat in the battle's roster; means nothing for a spectator.
    pub seat: u16,
    /// The team of that seat.
    pub team: u8,
    /// What the bearer may be.
    pub role: Role,
    /// The protocol that the battle speaks.
    pub protocol_hash: [u8; 16],
    /// When the token was minted, Unix milliseconds.
    pub issued_unix_ms: u64,
    /// The secret that the client holds beside the token.
    pub session_secret: SessionSecret,
    /// Bytes that the client may send in a second; 0 takes the node's default.
    pub bytes_per_second_max: u32,
    /// Messages that the client may send in a second; 0 takes the node's default.
    pub inputs_per_second_max: u32,
    /// Hash of the loadout that the reservation named.
    pub loadout_hash: [u8; 32],
    /// At most `USER_DATA_MAX` bytes of the minter's own; what is longer is cut.
    pub user_data: Vec<u8>,
}

impl Claims {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let user_data = &self.user_data[..self.user_data.len().min(USER_DATA_MAX)];
        out.put_u64(self.player);
        out.put_u16(self.seat);
        out.put_u8(self.team);
        out.put_u8(self.role.to_wire());
        out.put(&self.protocol_hash);
        out.put_u64(self.issued_unix_ms);
        out.put(self.session_secret.as_bytes());
        out.put_u32(self.bytes_per_second_max);
        out.put_u32(self.inputs_per_second_max);
        out.put(&self.loadout_hash);
        out.put_u8(u8::try_from(user_data.len()).expect("cut to 64 above"));
        out.put(user_data);
        out.put(&[0; USER_DATA_MAX + RESERVED_LEN][user_data.len()..]);
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::read(&mut Reader(bytes)).ok().flatten()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Short> {
        let player = reader.u64()?;
        let seat = reader.u16()?;
        let team = reader.u8()?;
        let Some(role) = Role::from_wire(reader.u8()?) else { return Ok(None) };
        let protocol_hash = reader.array()?;
        let issued_unix_ms = reader.u64()?;
        let session_secret = SessionSecret::from_bytes(reader.array()?);
        let bytes_per_second_max = reader.u32()?;
        let inputs_per_second_max = reader.u32()?;
        let loadout_hash = reader.array()?;
        let user_len = usize::from(reader.u8()?);
        let tail = reader.bytes(USER_DATA_MAX + RESERVED_LEN)?;
        if user_len > USER_DATA_MAX || !reader.is_empty() {
            return Ok(None);
        }
        let (user_data, zeros) = tail.split_at(user_len);
        if zeros.iter().any(|&byte| byte != 0) {
            return Ok(None);
        }
        Ok(Some(Self {
            player,
            seat,
            team,
            role,
            protocol_hash,
            issued_unix_ms,
            session_secret,
            bytes_per_second_max,
            inputs_per_second_max,
            loadout_hash,
            user_data: user_data.to_vec(),
        }))
    }
}
