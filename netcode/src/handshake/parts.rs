//! The sealed parts of CONNECT and ACCEPT.
//!
//! ```text
//! client part, 64 bytes                     accepted, 48 bytes
//!  0   4  resume tick                        0   8  connection id
//!  4   1  1 = resume tick is given           8   8  battle
//!  5   1  feed: 0 snapshot, 1 frame         16   4  epoch
//!  6   1  lane: 0 auto, 1 kcp, 2 datagram   20   4  tick
//!  7   1  1 = self-test hash is given       24   2  rate, Hz
//!  8   8  self-test hash of the math        26   2  seat
//! 16  16  protocol hash                     28   1  team
//! 32  32  reserved, 0                       29   1  role: 0 player, 1 spectator, 2 bot
//!                                           30   1  feed
//!                                           31   1  lane
//!                                           32  16  reserved, 0
//! ```

use crate::token::Role;
use crate::wire::{Put, Reader, Short};
use crate::{BattleId, ConnectionId, Epoch, Feed, LaneWish};

pub(crate) const CLIENT_PART_LEN: usize = 64;
pub(crate) const ACCEPTED_LEN: usize = 48;

/// What the client says of itself, sealed in the CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientPart {
    pub(crate) resume_tick: Option<u32>,
    pub(crate) feed: Feed,
    pub(crate) lane: LaneWish,
    pub(crate) math_hash: Option<u64>,
    pub(crate) protocol_hash: [u8; 16],
}

/// What the server says of the battle, sealed in the ACCEPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) connection: ConnectionId,
    pub(crate) battle: BattleId,
    pub(crate) epoch: Epoch,
    pub(crate) tick: u32,
    pub(crate) rate_hz: u16,
    pub(crate) seat: u16,
    pub(crate) team: u8,
    pub(crate) role: Role,
    pub(crate) feed: Feed,
    pub(crate) lane: LaneWish,
}

impl ClientPart {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.resume_tick.unwrap_or(0));
        out.put_u8(u8::from(self.resume_tick.is_some()));
        out.put_u8(self.feed.to_wire());
        out.put_u8(self.lane.to_wire());
        out.put_u8(u8::from(self.math_hash.is_some()));
        out.put_u64(self.math_hash.unwrap_or(0));
        out.put(&self.protocol_hash);
        out.put(&[0; 32]);
    }

    /// Reads a part of the right length; `None` for what no client of this version writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let read = |reader: &mut Reader<'_>| -> Result<Option<Self>, Short> {
            let tick = reader.u32()?;
            let has_tick = reader.u8()?;
            let (feed, lane) = (Feed::from_wire(reader.u8()?), LaneWish::from_wire(reader.u8()?));
            let has_math = reader.u8()?;
            let math = reader.u64()?;
            let protocol_hash = reader.array()?;
            let zeros: [u8; 32] = reader.array()?;
            let (Some(feed), Some(lane)) = (feed, lane) else { return Ok(None) };
            if has_tick > 1 || has_math > 1 || zeros != [0; 32] || !reader.is_empty() {
                return Ok(None);
            }
            Ok(Some(Self {
                resume_tick: (has_tick == 1).then_some(tick),
                feed,
                lane,
                math_hash: (has_math == 1).then_some(math),
                protocol_hash,
            }))
        };
        read(&mut reader).ok().flatten()
    }
}

impl Accepted {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.connection.0);
        out.put_u64(self.battle.0);
        out.put_u32(self.epoch.0);
        out.put_u32(self.tick);
        out.put_u16(self.rate_hz);
        out.put_u16(self.seat);
        out.put_u8(self.team);
        out.put_u8(self.role.to_wire());
        out.put_u8(self.feed.to_wire());
        out.put_u8(self.lane.to_wire());
        out.put(&[0; 16]);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let read = |reader: &mut Reader<'_>| -> Result<Option<Self>, Short> {
            let connection = ConnectionId(reader.u64()?);
            let battle = BattleId(reader.u64()?);
            let epoch = Epoch(reader.u32()?);
            let tick = reader.u32()?;
            let rate_hz = reader.u16()?;
            let seat = reader.u16()?;
            let team = reader.u8()?;
            let role = Role::from_wire(reader.u8()?);
            let (feed, lane) = (Feed::from_wire(reader.u8()?), LaneWish::from_wire(reader.u8()?));
            let _reserved: [u8; 16] = reader.array()?;
            let (Some(role), Some(feed), Some(lane)) = (role, feed, lane) else { return Ok(None) };
            Ok(Some(Self { connection, battle, epoch, tick, rate_hz, seat, team, role, feed, lane }))
        };
        read(&mut reader).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_part_comes_back_and_its_reserved_bytes_must_be_zero() {
        let part = ClientPart {
            resume_tick: Some(77),
            feed: Feed::Frame,
            lane: LaneWish::Datagram,
            math_hash: Some(0xDEAD),
            protocol_hash: [3; 16],
        };
        let mut bytes = Vec::new();
        part.encode(&mut bytes);
        assert_eq!(bytes.len(), CLIENT_PART_LEN);
        assert_eq!(ClientPart::decode(&bytes), Some(part));
        for (at, value) in [(4, 2), (5, 2), (6, 3), (7, 2), (40, 1)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(ClientPart::decode(&wrong), None, "byte {at}");
        }
        assert_eq!(ClientPart::decode(&bytes[..63]), None);
    }
}
