//! One connection: keys, replay window, both lanes, heartbeat. The same on both sides.
//!
//! ```text
//!          close()                     reliable lane empty, or 2 s          3 s
//! Open ----------------> Draining ------------------------------> Closed -------> gone
//!   \--- close_now(), timeout, slow reader, misbehaviour -----------/
//!   \--- CLOSE from the peer ------------------------------------------------> gone
//! ```
//! A closed connection says CLOSE [`CLOSES_UNASKED`] times, because one may be lost, and again to a peer that goes on
//! talking (ten times a second at most). On a stream it says it once and is gone.

mod arq;
mod close;
mod heartbeat;
mod inbox;
mod lane_policy;
mod loss;
mod reliable;
mod stats;

pub use close::CloseReason;
pub use stats::ConnectionStats;

pub(crate) use inbox::{Entry, Inbox, Taken};
pub(crate) use reliable::{Reliable, ReliableError};

use std::collections::VecDeque;

use crate::crypto::{Aead, TAG_LEN};
use crate::handshake::SessionKeys;
use crate::limits::{
    CLOSE_DRAIN_MS, CLOSE_LINGER_MS, DATAGRAM_MESSAGE_MAX, DATAGRAMS_PENDING_MAX, LIFETIME_MAX_MS,
    MESSAGE_MAX, MESSAGE_TO_SERVER_MAX, PACKETS_MAX, UDP_PAYLOAD_MAX,
};
use crate::packet::{self, ITEM_HEADER, Item, Items, PacketError, Report, Side};
use crate::time::Millis;
use crate::{ConnectionId, Counters, Lane, LaneWish, ReplayWindow, Transport};
use arq::Input;
use heartbeat::Heartbeat;
use lane_policy::LanePolicy;
use loss::LossMeter;

/// Pause between two CLOSEs.
const CLOSE_REPEAT_MS: u64 = 100;

/// How often a CLOSE is said to a peer that says nothing. On a link that loses three in ten, one peer in 120 hears
/// none of them and waits for its timeout.
const CLOSES_UNASKED: u8 = 4;

/// Where a connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    Draining { reason: CloseReason, until: Millis },
    Closed { until: Millis },
}

/// What a packet or a moment meant for the connection as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Lives,
    /// It is over now; said once.
    Ended(CloseReason),
    /// It may be forgotten.
    Gone,
}

/// What a peer wants to be let in with; the server's budget judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// A packet of so many bytes.
    Packet(usize),
    /// A message, on either lane.
    Message,
}

/// What came of a packet that opened.
pub(crate) struct Received {
    pub(crate) newest: bool,
    pub(crate) path_response: Option<[u8; 8]>,
    pub(crate) fate: Fate,
}

pub(crate) struct Session {
    side: Side,
    transport: Transport,
    id: ConnectionId,
    born: Millis,
    sealing: Aead,
    opening: Aead,
    number: u64,
    window: ReplayWindow,
    received: u64,
    reliable: Reliable,
    resends_seen: u64,
    policy: LanePolicy,
    loss: LossMeter,
    /// Messages for the datagram lane: their lengths, and their bytes one behind the other.
    datagrams: VecDeque<usize>,
    datagram_bytes: VecDeque<u8>,
    heart: Heartbeat,
    ping: Option<u32>,
    pong: Option<u32>,
    path_response: Option<[u8; 8]>,
    stage: Stage,
    /// The CLOSE that is to be said next.
    close: Option<CloseReason>,
    close_said: Option<(CloseReason, Millis)>,
    /// CLOSEs that are still to be said unasked.
    closes_left: u8,
    held: bool,
    datagram_bytes_out: u64,
    bytes_in: u64,
    room: Room,
}

/// Whether a connection's stream takes more packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does. Where each packet is a datagram, always.
    Free,
    /// What was said before has not left yet.
    None,
}

impl Session {
    pub(crate) fn new(
        side: Side,
        transport: Transport,
        id: ConnectionId,
        keys: SessionKeys,
        wish: LaneWish,
        now: Millis,
    ) -> Self {
        let (sealing, opening, message_max) = match side {
            Side::Client => (keys.client_to_server, keys.server_to_client, MESSAGE_MAX),
            Side::Server => (keys.server_to_client, keys.client_to_server, MESSAGE_TO_SERVER_MAX),
        };
        Self {
            side,
            transport,
            id,
            born: now,
            sealing,
            opening,
            number: 0,
            window: ReplayWindow::default(),
            received: 0,
            reliable: Reliable::new(side, transport, now, message_max),
            resends_seen: 0,
            policy: LanePolicy::new(wish, transport),
            loss: LossMeter::new(now),
            datagrams: VecDeque::new(),
            datagram_bytes: VecDeque::new(),
            heart: Heartbeat::new(side, now),
            ping: None,
            pong: None,
            path_response: None,
            stage: Stage::Open,
            close: None,
            close_said: None,
            closes_left: 0,
            held: false,
            datagram_bytes_out: 0,
            bytes_in: 0,
            room: Room::Free,
        }
    }

    /// Opens a packet and takes what is in it; messages go to `inbox`.
    pub(crate) fn receive<N>(
        &mut self,
        now: Millis,
        datagram: &mut [u8],
        inbox: &mut Inbox<N>,
        counters: &mut Counters,
        mut admit: impl FnMut(Load) -> bool,
    ) -> Result<Received, PacketError> {
        let len = datagram.len();
        let opened = packet::open(datagram, self.side, &self.opening, &mut self.window)?;
        self.received += 1;
        self.bytes_in += len as u64;
        self.heart.heard(now);
        let mut received = Received { newest: opened.newest, path_response: None, fate: Fate::Lives };
        if let Stage::Closed { .. } = self.stage {
            if Items(opened.items).any(|item| matches!(item, Ok(Item::Close(_)))) {
                self.hush(now);
            } else {
                self.repeat_close(now);
            }
            return Ok(received);
        }
        if !admit(Load::Packet(len)) {
            counters.over_budget += 1;
            return Ok(received);
        }
        let (mut stream_moved, mut malformed) = (false, false);
        for item in Items(opened.items) {
            match item {
                Ok(Item::Kcp(block)) => match self.reliable.input(now, block) {
                    Input::Taken => stream_moved = true,
                    Input::Refused => counters.kcp_refused += 1,
                },
                Ok(Item::Stream(bytes)) => match self.reliable.input_stream(bytes) {
                    Input::Taken => stream_moved = true,
                    Input::Refused => malformed = true,
                },
                // Who was told to go is heard no more, except for acknowledgements.
                Ok(Item::Message(_)) if self.is_closing() => {}
                Ok(Item::Message(_)) if !admit(Load::Message) => counters.over_budget += 1,
                Ok(Item::Message(bytes)) => {
                    if let Taken::Full = inbox.push_message(self.id, Lane::Datagram, bytes) {
                        counters.events_full += 1;
                    }
                }
                Ok(Item::Ping { stamp, report }) => {
                    self.pong = Some(stamp);
                    self.handle_report(now, report);
                }
                Ok(Item::Pong { stamp, report }) => {
                    self.heart.handle_pong(now, stamp);
                    self.handle_report(now, report);
                }
                Ok(Item::PathChallenge(bytes)) => self.path_response = Some(bytes),
                Ok(Item::PathResponse(bytes)) => received.path_response = Some(bytes),
                Ok(Item::Close(reason)) => {
                    received.fate = Fate::Ended(reason);
                    self.hush(now);
                    return Ok(received);
                }
                Err(_) => malformed = true,
            }
        }
        if malformed {
            counters.malformed_packet += 1;
            received.fate = self.close_now(now, CloseReason::Misbehaved);
        } else if stream_moved && let Err(error) = self.pump(inbox, counters, admit) {
            received.fate = self.close_now(now, error.into());
        }
        Ok(received)
    }

    /// Lets timers act.
    pub(crate) fn service<N>(&mut self, now: Millis, inbox: &mut Inbox<N>, counters: &mut Counters) -> Fate {
        match self.stage {
            Stage::Closed { until } if now >= until && !self.has_ready() => return Fate::Gone,
            Stage::Closed { .. } => {
                if self.closes_left > 0 {
                    self.repeat_close(now);
                }
                return Fate::Lives;
            }
            Stage::Draining { reason, until } if now >= until || self.reliable.is_idle() => {
                self.become_closed(now, reason);
                return Fate::Lives;
            }
            Stage::Open | Stage::Draining { .. } => {}
        }
        if self.heart.is_timed_out(now) {
            return self.close_now(now, CloseReason::TimedOut);
        }
        if now.since(self.born) >= LIFETIME_MAX_MS || self.number >= PACKETS_MAX {
            return self.close_now(now, CloseReason::Lifetime);
        }
        if self.held
            && let Err(error) = self.pump(inbox, counters, |_| true)
        {
            return self.close_now(now, error.into());
        }
        if self.reliable.is_stalled(now) {
            return self.close_now(now, CloseReason::SlowReader);
        }
        self.reliable.flush_if_due(now);
        self.notice_resends(now);
        if let Some(stamp) = self.heart.poll_ping(now) {
            self.ping = Some(stamp);
        }
        Fate::Lives
    }

    /// Queues a message on the reliable lane.
    pub(crate) fn send_reliable(&mut self, now: Millis, message: &[u8]) -> Result<(), ReliableError> {
        self.heart.sent_message(now);
        self.reliable.send(now, message)
    }

    /// Queues a feed message on the lane of the policy; what is too long for a datagram goes reliably.
    pub(crate) fn send_feed(
        &mut self,
        now: Millis,
        message: &[u8],
        counters: &mut Counters,
    ) -> Result<Lane, ReliableError> {
        if message.len() > DATAGRAM_MESSAGE_MAX || self.policy.lane(now) == Lane::Reliable {
            return self.send_reliable(now, message).map(|()| Lane::Reliable);
        }
        self.heart.sent_message(now);
        if self.datagrams.len() == DATAGRAMS_PENDING_MAX {
            self.drop_datagram();
            counters.datagrams_superseded += 1;
        }
        self.datagrams.push_back(message.len());
        self.datagram_bytes.extend(message);
        Ok(Lane::Datagram)
    }

    /// Ends the connection when the reliable lane is empty, or after `CLOSE_DRAIN_MS`.
    pub(crate) fn close(&mut self, now: Millis, reason: CloseReason) {
        if self.stage != Stage::Open {
            return;
        }
        if self.reliable.is_idle() {
            self.become_closed(now, reason);
        } else {
            self.stage = Stage::Draining { reason, until: now + CLOSE_DRAIN_MS };
        }
    }

    /// Ends the connection at once.
    pub(crate) fn close_now(&mut self, now: Millis, reason: CloseReason) -> Fate {
        if let Stage::Closed { .. } = self.stage {
            return Fate::Lives;
        }
        self.become_closed(now, reason);
        Fate::Ended(reason)
    }

    /// Writes the next packet into `out`; `false` when there is nothing to say.
    pub(crate) fn poll_packet(&mut self, now: Millis, out: &mut Vec<u8>) -> bool {
        if !matches!(self.stage, Stage::Closed { .. }) {
            self.reliable.flush_if_due(now);
            if self.has_ready() {
                // Acknowledgements ride with whatever leaves anyway.
                self.reliable.flush_with_company(now);
            }
            self.notice_resends(now);
        }
        if !self.has_ready() {
            return false;
        }
        let number = self.number;
        let items_at = packet::start(out, self.side, self.id, number);
        self.put_items(now, out);
        packet::seal(out, &self.sealing, number, items_at);
        self.number += 1;
        true
    }

    /// Writes a packet that holds a path challenge alone, for an address that is not proven.
    pub(crate) fn put_probe(&mut self, challenge: [u8; 8], out: &mut Vec<u8>) {
        let number = self.number;
        let items_at = packet::start(out, self.side, self.id, number);
        Item::PathChallenge(challenge).put(out);
        packet::seal(out, &self.sealing, number, items_at);
        self.number += 1;
    }

    /// Whether `poll_packet` is worth calling.
    pub(crate) fn has_output(&self, now: Millis) -> bool {
        let is_closed = matches!(self.stage, Stage::Closed { .. });
        self.has_ready() || (!is_closed && self.reliable.next_deadline().is_some_and(|at| at <= now))
    }

    fn has_ready(&self) -> bool {
        if self.room == Room::None {
            return false;
        }
        if let Stage::Closed { .. } = self.stage {
            return self.close.is_some();
        }
        self.ping.is_some()
            || self.pong.is_some()
            || self.path_response.is_some()
            || !self.datagrams.is_empty()
            || self.reliable.peek_block().is_some()
    }

    /// When `service` wants to be called, at the latest.
    pub(crate) fn next_deadline(&self, now: Millis) -> Millis {
        match self.stage {
            Stage::Closed { until } if self.room == Room::None => return until,
            Stage::Closed { until } => {
                let again = self.close_said.filter(|_| self.closes_left > 0);
                return again.map_or(until, |(_, said)| until.min(said + CLOSE_REPEAT_MS));
            }
            Stage::Draining { until, .. } => return until.min(now + 10),
            Stage::Open => {}
        }
        let heart = self.heart.next_deadline(now);
        let lane = self.reliable.next_deadline().map_or(heart, |at| at.min(heart));
        if self.held { lane.min(now + 10) } else { lane }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether it has ended; a draining one has been told to, and counts as ended.
    pub(crate) fn is_closing(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Whether it has ended and said so.
    pub(crate) fn is_closed_and_silent(&self) -> bool {
        matches!(self.stage, Stage::Closed { .. }) && self.close.is_none() && self.closes_left == 0
    }

    pub(crate) fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    pub(crate) fn add_round_trip(&mut self, sample_ms: u64) {
        self.heart.add_sample(sample_ms);
    }

    pub(crate) fn stats(&self, now: Millis) -> ConnectionStats {
        ConnectionStats {
            round_trip_ms: self.heart.round_trip_ms(),
            jitter_ms: self.heart.jitter_ms(),
            feed_lane: self.policy.lane(now),
            packets_out: self.number,
            packets_in: self.received,
            packets_lost: self.heart.lost(),
            loss_permille: self.loss.permille(),
            resends: self.reliable.resends(),
            bytes_in: self.bytes_in,
            reliable_bytes_out: self.reliable.bytes_out,
            datagram_bytes_out: self.datagram_bytes_out,
            reliable_bytes_waiting: self.reliable.waiting_bytes(),
        }
    }

    /// Hands whole messages from the reliable lane to the inbox, as long as it has room.
    fn pump<N>(
        &mut self,
        inbox: &mut Inbox<N>,
        counters: &mut Counters,
        mut admit: impl FnMut(Load) -> bool,
    ) -> Result<(), ReliableError> {
        self.held = !inbox.has_room();
        if self.held {
            return Ok(());
        }
        let (id, open) = (self.id, self.is_open());
        self.reliable.receive(|message| {
            if !open {
                return;
            }
            if admit(Load::Message) {
                inbox.push_reliable(id, message);
            } else {
                counters.over_budget += 1;
            }
        })
    }

    fn put_items(&mut self, now: Millis, out: &mut Vec<u8>) {
        if let Some(reason) = self.close.take() {
            Item::Close(reason).put(out);
            self.close_said = Some((reason, now));
            self.closes_left = self.closes_left.saturating_sub(1);
            if self.transport.is_stream() {
                // It arrives, or the stream is no more: there is nothing to stay for, and a stream to give back.
                self.stage = Stage::Closed { until: now };
            }
            return;
        }
        if let Some(bytes) = self.path_response.take() {
            Item::PathResponse(bytes).put(out);
        }
        if let Some(stamp) = self.ping.take() {
            Item::Ping { stamp, report: self.report() }.put(out);
        }
        if let Some(stamp) = self.pong.take() {
            Item::Pong { stamp, report: self.report() }.put(out);
        }
        while let Some(&len) = self.datagrams.front() {
            if out.len() + ITEM_HEADER + len + TAG_LEN > UDP_PAYLOAD_MAX {
                break;
            }
            self.datagram_bytes.make_contiguous();
            let (bytes, _) = self.datagram_bytes.as_slices();
            Item::Message(&bytes[..len]).put(out);
            self.drop_datagram();
            self.datagram_bytes_out += len as u64;
        }
        while let Some(block) = self.reliable.peek_block() {
            if out.len() + ITEM_HEADER + block.len() + TAG_LEN > UDP_PAYLOAD_MAX {
                break;
            }
            self.reliable.item(block).put(out);
            self.reliable.pop_block(now);
        }
    }

    fn drop_datagram(&mut self) {
        if let Some(len) = self.datagrams.pop_front() {
            self.datagram_bytes.drain(..len);
        }
    }

    fn handle_report(&mut self, now: Millis, report: Report) {
        self.loss.handle_report(now, report);
        if self.heart.handle_report(report) > 0 {
            self.policy.saw_loss(now);
        }
    }

    fn notice_resends(&mut self, now: Millis) {
        if self.reliable.resends() > self.resends_seen {
            self.resends_seen = self.reliable.resends();
            self.policy.saw_loss(now);
        }
    }

    fn report(&self) -> Report {
        // The low 32 bits are what travels.
        let low = |number: u64| (number & 0xFFFF_FFFF) as u32;
        Report { next: low(self.window.next()), received: low(self.received) }
    }

    fn become_closed(&mut self, now: Millis, reason: CloseReason) {
        self.stage = Stage::Closed { until: now + CLOSE_LINGER_MS };
        self.close = Some(reason);
        self.closes_left = if self.transport.is_stream() { 1 } else { CLOSES_UNASKED };
    }

    /// The peer knows that it is over: nothing more is said, and nothing is waited for.
    fn hush(&mut self, now: Millis) {
        self.stage = Stage::Closed { until: now };
        self.close = None;
        self.closes_left = 0;
    }

    fn repeat_close(&mut self, now: Millis) {
        if let Some((reason, said)) = self.close_said
            && now.since(said) >= CLOSE_REPEAT_MS
        {
            self.close = Some(reason);
        }
    }
}

#[cfg(test)]
impl Session {
    pub(crate) fn push_raw_kcp(&mut self, block: &[u8]) {
        self.reliable.push_raw(block);
    }
}

impl From<ReliableError> for CloseReason {
    fn from(error: ReliableError) -> Self {
        match error {
            ReliableError::TooLong => Self::Misbehaved,
            ReliableError::SlowReader => Self::SlowReader,
        }
    }
}
