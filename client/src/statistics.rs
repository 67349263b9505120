//! What a player saw and did, in numbers.

use tiltyard_engine::{StateHash, Tick};
use tiltyard_netcode::link::LinkStats;
use tiltyard_netcode::token::Role;
use tiltyard_netcode::{BattleId, CloseReason, DenyReason, Epoch, Lane, Transport};

use crate::latencies::Latencies;
use crate::prediction::PredictionReport;
use crate::reader::{Ended, SeenDesync};

/// Bytes of messages by the lane that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneBytes {
    /// On the reliable lane.
    pub kcp: u64,
    /// On the datagram lane.
    pub datagram: u64,
}

impl LaneBytes {
    /// Counts a message.
    pub(crate) fn add(&mut self, lane: Lane, bytes: usize) {
        let place = match lane {
            Lane::Reliable => &mut self.kcp,
            Lane::Datagram => &mut self.datagram,
        };
        *place += bytes as u64;
    }

    /// Adds what somebody else counted.
    pub fn merge(&mut self, other: Self) {
        self.kcp += other.kcp;
        self.datagram += other.datagram;
    }
}

/// Bytes of UDP payload in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent by the player.
    pub up: u64,
    /// Received by the player.
    pub down: u64,
}

/// Who the player is in the battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The battle.
    pub battle: BattleId,
    /// The epoch of the copy that took the player last.
    pub epoch: Epoch,
    /// What the player is; a spectator has no seat and no team, whatever stands there.
    pub role: Role,
    /// The seat.
    pub seat: u16,
    /// The seat's team.
    pub team: u8,
    /// The battle's tick rate, Hz.
    pub rate_hz: u16,
}

/// Why a player's part in a battle is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The battle ended, and the node said how.
    Ended(Ended),
    /// The node refused the token.
    Refused(DenyReason),
    /// The session ended and was not, or could not be, taken up again.
    Closed(CloseReason),
    /// The battle's start is none of this game and version.
    Unreadable,
    /// The player left.
    Left,
}

/// What a player saw and did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Who the player was; nothing if no node took it.
    pub place: Option<Place>,
    /// How it ended; nothing if it goes on.
    pub over: Option<Over>,
    /// States that were seen: ticks on the frame feed, snapshots on the snapshot feed.
    pub ticks: u64,
    /// The newest tick that was seen.
    pub newest_tick: Option<Tick>,
    /// The hash of the newest state.
    pub state_hash: Option<StateHash>,
    /// Whether the own last state is the one that the battle ended with; nothing if the last tick was not seen.
    pub agrees: Option<bool>,
    /// States that differed from the node's.
    pub desyncs: u64,
    /// The first of them.
    pub first_desync: Option<SeenDesync>,
    /// Inputs decided and sent, each counted once.
    pub inputs: u64,
    /// From the first sending of an input to the first state with its effect; the lead of a repeatable player
    /// ([`Pace::Repeatable`](crate::Pace)) is part of it.
    pub input_to_state: Latencies,
    /// How well the own pose was predicted; nothing of players that do not predict.
    pub prediction: Option<PredictionReport>,
    /// Smoothed round trip, milliseconds.
    pub rtt_ms: Option<u64>,
    /// Smoothed deviation of it, milliseconds.
    pub jitter_ms: u64,
    /// What carried the newest session.
    pub transport: Option<Transport>,
    /// Sessions after the first.
    pub reconnects: u64,
    /// Bytes of UDP payload.
    pub traffic: Traffic,
    /// Bytes of messages received, by lane.
    pub lane_bytes_down: LaneBytes,
    /// Bytes of messages sent, by lane.
    pub lane_bytes_up: LaneBytes,
    /// What a bad link of the session's own did, both ways; all 0 without one.
    pub link: LinkStats,
    /// From the first session's begin to the end, or to now, milliseconds; 0 if no node took the player.
    pub joined_ms: u64,
    /// Messages that could not be read.
    pub misread: u64,
    /// Messages of an older copy of the battle, dropped.
    pub outdated: u64,
    /// Panics of the game in the mirror.
    pub faults: u64,
}

impl Report {
    /// How the battle ended, if the player heard it.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self.over {
            Some(Over::Ended(ended)) => Some(ended),
            _ => None,
        }
    }

    /// Why the token was refused, if it was.
    #[must_use]
    pub fn refused(&self) -> Option<DenyReason> {
        match self.over {
            Some(Over::Refused(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Adds this report's part of the battle to that of an earlier session of the same player, which it goes on from.
    pub(crate) fn goes_on_from(&mut self, earlier: &Self) {
        self.place = self.place.or(earlier.place);
        self.ticks += earlier.ticks;
        self.newest_tick = self.newest_tick.max(earlier.newest_tick);
        self.state_hash = self.state_hash.or(earlier.state_hash);
        self.desyncs += earlier.desyncs;
        self.first_desync = earlier.first_desync.or(self.first_desync);
        self.inputs += earlier.inputs;
        self.input_to_state.merge(&earlier.input_to_state);
        if let Some(earlier) = &earlier.prediction {
            self.prediction.get_or_insert_default().merge(earlier);
        }
        self.transport = self.transport.or(earlier.transport);
        self.rtt_ms = self.rtt_ms.or(earlier.rtt_ms);
        self.reconnects += earlier.reconnects + u64::from(earlier.place.is_some());
        self.traffic.up += earlier.traffic.up;
        self.traffic.down += earlier.traffic.down;
        self.lane_bytes_down.merge(earlier.lane_bytes_down);
        self.lane_bytes_up.merge(earlier.lane_bytes_up);
        self.link = self.link + earlier.link;
        self.joined_ms += earlier.joined_ms;
        self.misread += earlier.misread;
        self.outdated += earlier.outdated;
        self.faults += earlier.faults;
    }
}
