//! Between protobuf and the plain types: every field checked against its bound.

use std::net::SocketAddr;

use prost::Message;

use super::message::{
    BattleEnd, BattleKeyGrant, DrainAnswer, NodeStatus, Refusal, Release, ReleaseAnswer, Reservation,
    ReserveAnswer, ReservedSeat, RunningBattle, SettleAnswer, Settlement,
};
use super::proto;
use crate::id::{BattleId, Epoch, NodeId};
use crate::node::Load;

/// Most bytes of a control message: a setup of the largest size and 1,024 named seats fit.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a mode's name.
pub const MODE_BYTES_MAX: usize = 32;
/// Most bytes of a player's display name.
pub const NAME_BYTES_MAX: usize = 32;
/// Most bytes of a game's setup.
pub const SETUP_BYTES_MAX: usize = 64 * 1024;
/// Most seats of a battle.
pub const SEATS_MAX: usize = 1024;
/// Most keys of a battle: the current and the previous key id.
pub const KEYS_MAX: usize = 2;
/// Most addresses of a node.
pub const ADDRESSES_MAX: usize = 32;
/// Most scores of a result.
pub const SCORES_MAX: usize = 1024;
/// Most battles a status answer names.
pub const BATTLES_MAX: usize = 4096;

/// What is wrong with a message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is no such message.
    #[error("no such message")]
    Encoding,
    /// The named field is missing, out of bounds or nonsense.
    #[error("field {0} is out of bounds")]
    Field(&'static str),
}

/// A plain type with a protobuf form.
pub(super) trait Body: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn parse(bytes: &[u8]) -> Result<Self, BodyError>;
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, BodyError> {
    M::decode(bytes).map_err(|_| BodyError::Encoding)
}

fn narrow<T: TryFrom<u32>>(value: u32, field: &'static str) -> Result<T, BodyError> {
    T::try_from(value).map_err(|_| BodyError::Field(field))
}

fn require(holds: bool, field: &'static str) -> Result<(), BodyError> {
    if holds { Ok(()) } else { Err(BodyError::Field(field)) }
}

/// What is asked with no argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Empty;

impl Body for Empty {
    fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        decode::<proto::Drain>(bytes).map(|_| Self)
    }
}

impl Body for Reservation {
    fn to_bytes(&self) -> Vec<u8> {
        let seats = self.seats.iter().map(|seat| proto::Seat {
            seat: seat.seat.into(),
            team: seat.team.into(),
            player: seat.player,
            name: seat.name.clone(),
            bot: seat.bot,
            loadout: seat.loadout,
        });
        let keys = self.keys.iter().map(|key| proto::Key { kid: key.kid, battle_key: key.key.to_vec() });
        proto::Reserve {
            battle: self.battle.0,
            epoch: self.epoch.0,
            mode: self.mode.clone(),
            protocol_hash: self.protocol_hash.to_vec(),
            setup: self.setup.clone(),
            seed: self.seed,
            rate_hz: self.rate_hz.into(),
            ticks_max: self.ticks_max,
            seats: seats.collect(),
            keys: keys.collect(),
            deadline_ms: self.deadline_ms,
        }
        .encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::Reserve = decode(bytes)?;
        require(wire.epoch > 0, "epoch")?;
        require((1..=MODE_BYTES_MAX).contains(&wire.mode.len()), "mode")?;
        require(wire.setup.len() <= SETUP_BYTES_MAX, "setup")?;
        require(wire.rate_hz > 0, "rate_hz")?;
        require(wire.ticks_max > 0, "ticks_max")?;
        require((1..=SEATS_MAX).contains(&wire.seats.len()), "seats")?;
        require((1..=KEYS_MAX).contains(&wire.keys.len()), "keys")?;
        let mut seats = Vec::with_capacity(wire.seats.len());
        for (expected, seat) in (0_u16..).zip(wire.seats) {
            require(seat.seat == u32::from(expected), "seats.seat")?;
            require(seat.name.len() <= NAME_BYTES_MAX, "seats.name")?;
            seats.push(ReservedSeat {
                seat: expected,
                team: narrow(seat.team, "seats.team")?,
                player: seat.player,
                name: seat.name,
                bot: seat.bot,
                loadout: seat.loadout,
            });
        }
        let mut keys: Vec<BattleKeyGrant> = Vec::with_capacity(wire.keys.len());
        for key in wire.keys {
            require(keys.iter().all(|other| other.kid != key.kid), "keys.kid")?;
            let bytes = key.battle_key.try_into().map_err(|_| BodyError::Field("keys.battle_key"))?;
            keys.push(BattleKeyGrant { kid: key.kid, key: bytes });
        }
        Ok(Self {
            battle: BattleId(wire.battle),
            epoch: Epoch(wire.epoch),
            mode: wire.mode,
            protocol_hash: wire.protocol_hash.try_into().map_err(|_| BodyError::Field("protocol_hash"))?,
            setup: wire.setup,
            seed: wire.seed,
            rate_hz: narrow(wire.rate_hz, "rate_hz")?,
            ticks_max: wire.ticks_max,
            seats,
            keys,
            deadline_ms: wire.deadline_ms,
        })
    }
}

impl Body for ReserveAnswer {
    fn to_bytes(&self) -> Vec<u8> {
        let (addresses, refusal) = match self {
            Self::Reserved { addresses } => {
                (addresses.iter().map(SocketAddr::to_string).collect(), proto::Refusal::None)
            }
            Self::Refused(refusal) => (Vec::new(), refusal_to_wire(*refusal)),
        };
        proto::ReserveAnswer { addresses, refusal: refusal.into() }.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::ReserveAnswer = decode(bytes)?;
        match proto::Refusal::try_from(wire.refusal).map_err(|_| BodyError::Field("refusal"))? {
            proto::Refusal::None => {
                require((1..=ADDRESSES_MAX).contains(&wire.addresses.len()), "addresses")?;
                let addresses = wire.addresses.iter().map(|text| text.parse());
                let addresses = addresses.collect::<Result<_, _>>();
                Ok(Self::Reserved { addresses: addresses.map_err(|_| BodyError::Field("addresses"))? })
            }
            proto::Refusal::Full => Ok(Self::Refused(Refusal::Full)),
            proto::Refusal::Overloaded => Ok(Self::Refused(Refusal::Overloaded)),
            proto::Refusal::Draining => Ok(Self::Refused(Refusal::Draining)),
            proto::Refusal::ProtocolHash => Ok(Self::Refused(Refusal::ProtocolHash)),
            proto::Refusal::StaleEpoch => Ok(Self::Refused(Refusal::StaleEpoch)),
            proto::Refusal::Invalid => Ok(Self::Refused(Refusal::Invalid)),
            proto::Refusal::Internal => Ok(Self::Refused(Refusal::Internal)),
        }
    }
}

fn refusal_to_wire(refusal: Refusal) -> proto::Refusal {
    match refusal {
        Refusal::Full => proto::Refusal::Full,
        Refusal::Overloaded => proto::Refusal::Overloaded,
        Refusal::Draining => proto::Refusal::Draining,
        Refusal::ProtocolHash => proto::Refusal::ProtocolHash,
        Refusal::StaleEpoch => proto::Refusal::StaleEpoch,
        Refusal::Invalid => proto::Refusal::Invalid,
        Refusal::Internal => proto::Refusal::Internal,
    }
}

impl Body for Release {
    fn to_bytes(&self) -> Vec<u8> {
        proto::Release { battle: self.battle.0, epoch: self.epoch.0 }.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::Release = decode(bytes)?;
        require(wire.epoch > 0, "epoch")?;
        Ok(Self { battle: BattleId(wire.battle), epoch: Epoch(wire.epoch) })
    }
}

impl Body for ReleaseAnswer {
    fn to_bytes(&self) -> Vec<u8> {
        let kind = match self {
            Self::Released => proto::release_answer::Kind::Released,
            Self::NotHere => proto::release_answer::Kind::NotHere,
            Self::Stale => proto::release_answer::Kind::Stale,
        };
        proto::ReleaseAnswer { kind: kind.into() }.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        match proto::release_answer::Kind::try_from(decode::<proto::ReleaseAnswer>(bytes)?.kind) {
            Ok(proto::release_answer::Kind::Released) => Ok(Self::Released),
            Ok(proto::release_answer::Kind::NotHere) => Ok(Self::NotHere),
            Ok(proto::release_answer::Kind::Stale) => Ok(Self::Stale),
            Ok(proto::release_answer::Kind::Unset) | Err(_) => Err(BodyError::Field("kind")),
        }
    }
}

impl Body for DrainAnswer {
    fn to_bytes(&self) -> Vec<u8> {
        proto::DrainAnswer { battles: self.battles }.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        Ok(Self { battles: decode::<proto::DrainAnswer>(bytes)?.battles })
    }
}

impl Body for NodeStatus {
    fn to_bytes(&self) -> Vec<u8> {
        let battles = self.battles.iter().take(BATTLES_MAX).map(|battle| proto::RunningBattle {
            battle: battle.battle.0,
            epoch: battle.epoch.0,
            tick: battle.tick,
            seats_used: battle.seats_used.into(),
        });
        proto::StatusAnswer {
            node: self.node.as_str().to_owned(),
            draining: self.draining,
            load: Some(proto::Load {
                tick_share_permille: self.load.tick_share_permille,
                seats_max: self.load.seats_max,
                seats_reserved: self.load.seats_reserved,
                seats_used: self.load.seats_used,
                battles_max: self.load.battles_max,
                battles: self.load.battles,
            }),
            battles: battles.collect(),
        }
        .encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::StatusAnswer = decode(bytes)?;
        require(wire.battles.len() <= BATTLES_MAX, "battles")?;
        let load = wire.load.ok_or(BodyError::Field("load"))?;
        let battles = wire.battles.iter().map(|battle| {
            Ok(RunningBattle {
                battle: BattleId(battle.battle),
                epoch: Epoch(battle.epoch),
                tick: battle.tick,
                seats_used: narrow(battle.seats_used, "battles.seats_used")?,
            })
        });
        Ok(Self {
            node: NodeId::parse(&wire.node).map_err(|_| BodyError::Field("node"))?,
            draining: wire.draining,
            load: Load {
                tick_share_permille: load.tick_share_permille,
                seats_max: load.seats_max,
                seats_reserved: load.seats_reserved,
                seats_used: load.seats_used,
                battles_max: load.battles_max,
                battles: load.battles,
            },
            battles: battles.collect::<Result<_, _>>()?,
        })
    }
}

impl Body for Settlement {
    fn to_bytes(&self) -> Vec<u8> {
        let ended = match self.ended {
            BattleEnd::Finished => proto::settle::Ended::Finished,
            BattleEnd::Aborted => proto::settle::Ended::Aborted,
            BattleEnd::Abandoned => proto::settle::Ended::Abandoned,
        };
        proto::Settle {
            battle: self.battle.0,
            epoch: self.epoch.0,
            node: self.node.as_str().to_owned(),
            ticks: self.ticks,
            winner: self.winner.map(u32::from),
            scores: self.scores.clone(),
            final_hash: self.final_hash,
            recording_hash: self.recording_hash.to_vec(),
            ended: ended.into(),
        }
        .encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::Settle = decode(bytes)?;
        require(wire.epoch > 0, "epoch")?;
        require(wire.scores.len() <= SCORES_MAX, "scores")?;
        let ended = match proto::settle::Ended::try_from(wire.ended) {
            Ok(proto::settle::Ended::Finished) => BattleEnd::Finished,
            Ok(proto::settle::Ended::Aborted) => BattleEnd::Aborted,
            Ok(proto::settle::Ended::Abandoned) => BattleEnd::Abandoned,
            Ok(proto::settle::Ended::Unset) | Err(_) => return Err(BodyError::Field("ended")),
        };
        Ok(Self {
            battle: BattleId(wire.battle),
            epoch: Epoch(wire.epoch),
            node: NodeId::parse(&wire.node).map_err(|_| BodyError::Field("node"))?,
            ticks: wire.ticks,
            winner: wire.winner.map(|team| narrow(team, "winner")).transpose()?,
            scores: wire.scores,
            final_hash: wire.final_hash,
            recording_hash: wire.recording_hash.try_into().map_err(|_| BodyError::Field("recording_hash"))?,
            ended,
        })
    }
}

impl Body for SettleAnswer {
    fn to_bytes(&self) -> Vec<u8> {
        let kind = match self {
            Self::Accepted => proto::settle_answer::Kind::Accepted,
            Self::Duplicate => proto::settle_answer::Kind::Duplicate,
            Self::Stale { .. } => proto::settle_answer::Kind::Stale,
            Self::Unknown => proto::settle_answer::Kind::Unknown,
            Self::TryLater => proto::settle_answer::Kind::TryLater,
        };
        let current_epoch = if let Self::Stale { current } = self { current.0 } else { 0 };
        proto::SettleAnswer { kind: kind.into(), current_epoch }.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let wire: proto::SettleAnswer = decode(bytes)?;
        match proto::settle_answer::Kind::try_from(wire.kind) {
            Ok(proto::settle_answer::Kind::Accepted) => Ok(Self::Accepted),
            Ok(proto::settle_answer::Kind::Duplicate) => Ok(Self::Duplicate),
            Ok(proto::settle_answer::Kind::Stale) => Ok(Self::Stale { current: Epoch(wire.current_epoch) }),
            Ok(proto::settle_answer::Kind::Unknown) => Ok(Self::Unknown),
            Ok(proto::settle_answer::Kind::TryLater) => Ok(Self::TryLater),
            Ok(proto::settle_answer::Kind::Unset) | Err(_) => Err(BodyError::Field("kind")),
        }
    }
}

impl Reservation {
    /// Checks every bound, as the receiver will.
    ///
    /// # Errors
    /// The first field out of bounds.
    pub fn check(&self) -> Result<(), BodyError> {
        let bytes = self.to_bytes();
        require(bytes.len() < MESSAGE_BYTES_MAX - 1024, "message")?;
        Self::parse(&bytes).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, BodyError, Message, proto};
    use crate::control::{
        BattleEnd, BattleKeyGrant, DrainAnswer, NodeStatus, Refusal, Release, ReleaseAnswer, Reservation,
        ReserveAnswer, ReservedSeat, RunningBattle, SETUP_BYTES_MAX, SettleAnswer, Settlement,
    };
    use crate::id::{BattleId, Epoch, NodeId};
    use crate::node::Load;

    fn reservation(seats: u16) -> Reservation {
        let seats = (0..seats).map(|seat| ReservedSeat {
            seat,
            team: u8::try_from(seat % 2).unwrap(),
            player: u64::MAX - u64::from(seat),
            name: "n".repeat(32),
            bot: seat % 3 == 0,
            loadout: u32::MAX,
        });
        Reservation {
            battle: BattleId(u64::MAX),
            epoch: Epoch(3),
            mode: "skirmish".to_owned(),
            protocol_hash: [9; 16],
            setup: vec![1; SETUP_BYTES_MAX],
            seed: 5,
            rate_hz: 30,
            ticks_max: 900,
            seats: seats.collect(),
            keys: vec![BattleKeyGrant { kid: 1, key: [1; 32] }, BattleKeyGrant { kid: 2, key: [2; 32] }],
            deadline_ms: 10_000,
        }
    }

    fn settlement() -> Settlement {
        Settlement {
            battle: BattleId(1),
            epoch: Epoch(1),
            node: NodeId::parse("n-1").unwrap(),
            ticks: 900,
            winner: Some(0),
            scores: vec![i64::MIN, 0, i64::MAX],
            final_hash: u64::MAX,
            recording_hash: [3; 32],
            ended: BattleEnd::Aborted,
        }
    }

    fn survives<B: Body + PartialEq + std::fmt::Debug>(body: &B) {
        let bytes = body.to_bytes();
        assert!(bytes.len() < super::MESSAGE_BYTES_MAX);
        assert_eq!(B::parse(&bytes).as_ref(), Ok(body));
        // Cut anywhere it is refused or means something else; it never panics.
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
            assert_ne!(B::parse(&bytes[..cut]).as_ref(), Ok(body));
        }
    }

    #[test]
    fn every_message_survives_the_wire_at_its_largest() {
        survives(&reservation(1024));
        survives(&ReserveAnswer::Reserved { addresses: vec!["[::1]:65535".parse().unwrap(); 32] });
        survives(&ReserveAnswer::Refused(Refusal::ProtocolHash));
        survives(&Release { battle: BattleId(7), epoch: Epoch(1) });
        survives(&ReleaseAnswer::Stale);
        survives(&DrainAnswer { battles: 3 });
        let load = Load { tick_share_permille: 1, seats_max: 2, ..Load::default() };
        let battle = RunningBattle { battle: BattleId(1), epoch: Epoch(2), tick: 3, seats_used: u16::MAX };
        let node = NodeId::parse("a").unwrap();
        survives(&NodeStatus { node, draining: true, load, battles: vec![battle; super::BATTLES_MAX] });
        survives(&settlement());
        survives(&SettleAnswer::Stale { current: Epoch(9) });
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_the_name_of_its_field() {
        let spoil = |change: fn(&mut proto::Reserve)| {
            let mut wire = proto::Reserve::decode(reservation(2).to_bytes().as_slice()).unwrap();
            change(&mut wire);
            Reservation::parse(&wire.encode_to_vec())
        };
        assert!(spoil(|_| ()).is_ok());
        for (change, field) in [
            ((|w| w.epoch = 0) as fn(&mut proto::Reserve), "epoch"),
            (|w| w.mode.clear(), "mode"),
            (|w| w.setup.push(0), "setup"),
            (|w| w.rate_hz = 0, "rate_hz"),
            (|w| w.rate_hz = 65_536, "rate_hz"),
            (|w| w.ticks_max = 0, "ticks_max"),
            (|w| w.seats.clear(), "seats"),
            (|w| w.seats = vec![w.seats[0].clone(); 1025], "seats"),
            (|w| w.seats.swap(0, 1), "seats.seat"),
            (|w| w.seats[1].team = 256, "seats.team"),
            (|w| w.seats[1].name.push('x'), "seats.name"),
            (|w| w.keys.clear(), "keys"),
            (|w| w.keys[1].kid = 1, "keys.kid"),
            (|w| w.keys[1].battle_key.truncate(31), "keys.battle_key"),
            (|w| w.protocol_hash.push(0), "protocol_hash"),
        ] {
            assert_eq!(spoil(change), Err(BodyError::Field(field)));
        }
    }

    #[test]
    fn answers_that_say_nothing_are_refused() {
        assert_eq!(ReserveAnswer::parse(&[]), Err(BodyError::Field("addresses")));
        assert_eq!(ReleaseAnswer::parse(&[]), Err(BodyError::Field("kind")));
        assert_eq!(SettleAnswer::parse(&[]), Err(BodyError::Field("kind")));
        assert_eq!(SettleAnswer::parse(&[255; 9]), Err(BodyError::Encoding));
    }
}
