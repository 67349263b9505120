//! The client's end: one battle, one session at a time.
//!
//! ```text
//! Greeting --CHALLENGE--> Connecting --ACCEPT--> Connected --CLOSE, silence--> Over
//!    ^  |                    |  |                    |
//!    |  +-- no answer: next transport, then next address; all asked: Over
//!    |                       |  +-- DENY ------------|----------------------> Over
//!    +-- cookie too old -----+                       |
//!    +-- reconnect() --------------------------------+
//! ```
//! A RESET says that the node does not know the session; anybody may have said so. Then a handshake goes on beside the
//! living session, which is the one that counts as soon as a packet of it arrives.

use super::{SendError, Transmit};
use crate::connection::{CloseReason, ConnectionStats, Entry, Fate, Inbox, ReliableError, Room, Session};
use crate::crypto::{KeyShare, SecretStream};
use crate::handshake::{Accepted, CONNECT_LEN, ClientNonce, DenyReason, KIND_RESET, parse_reset, put_hello};
use crate::limits::{MESSAGE_TO_SERVER_MAX, UDP_PAYLOAD_MAX};
use crate::packet::{PacketError, SEALED_BIT, TO_CLIENT};
use crate::time::Millis;
use crate::token::{Role, TokenFile};
use crate::{BattleId, ConnectionId, Counters, Epoch, Feed, Lane, LaneWish, Path, Transport, TransportWish};

/// Pauses before a HELLO or CONNECT is said again; after the last one the next address is tried. At 30 % loss each way
/// half of the tries come to nothing, and eight of them fail once in 200 handshakes.
const RETRY_MS: [u64; 8] = [150, 200, 250, 300, 400, 500, 600, 800];

/// How long a transport is waited for that has another one behind it.
const ANSWER_MS: u64 = 1_000;

/// How far apart two handshakes are that a RESET begins.
const HINTS_APART_MS: u64 = 1_000;

/// How long a session must have been silent for an ABSENT, which nobody has sealed, to count against it.
const SILENCE_MS: u64 = 1_000;

/// How often the list of addresses is gone through.
const ROUNDS_MAX: u8 = 2;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Token, secret and addresses.
    pub token_file: TokenFile,
    /// The feed that it wants.
    pub feed: Feed,
    /// How feeds and inputs shall travel, in both directions.
    pub lane: LaneWish,
    /// What may carry the packets.
    pub transport: TransportWish,
    /// The protocol that it speaks.
    pub protocol_hash: [u8; 16],
    /// Self-test hash of its arithmetic; needed for the frame feed.
    pub math_hash: Option<u64>,
    /// The last tick that it has, if it comes back.
    pub resume_tick: Option<u32>,
    /// Must be higher than in every earlier attempt with this token; Unix milliseconds do.
    /// Each further handshake of this client counts on.
    pub connect_sequence: u64,
}

/// What a client has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// The node took the client.
    Accepted {
        /// The connection.
        connection: ConnectionId,
        /// The battle.
        battle: BattleId,
        /// The epoch of the copy that it joined.
        epoch: Epoch,
        /// The battle's tick at that moment.
        tick: u32,
        /// Its tick rate, Hz.
        rate_hz: u16,
        /// The seat.
        seat: u16,
        /// The seat's team.
        team: u8,
        /// What the client may be.
        role: Role,
    },
    /// The node refused; nothing more comes.
    Denied {
        /// Why.
        reason: DenyReason,
    },
    /// A message came; `message::ToClient::parse` judges it.
    Message {
        /// How.
        lane: Lane,
        /// The message.
        bytes: &'a [u8],
    },
    /// The session is over; `reconnect` may begin another one.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

pub(super) enum Notice {
    Accepted(Box<Accepted>),
    Denied(DenyReason),
    Closed(CloseReason),
}

pub(super) enum Handshake {
    Greeting {
        nonce: ClientNonce,
        retry: Retry,
        /// When the next transport is tried, if there is one.
        give_up_at: Option<Millis>,
    },
    Connecting {
        nonce: ClientNonce,
        retry: Retry,
        /// The CONNECT, the same bytes each time.
        connect: Box<[u8; CONNECT_LEN]>,
        share: Option<KeyShare>,
        began: Millis,
    },
}

/// A session and where its packets go.
pub(super) struct Connected {
    pub(super) session: Box<Session>,
    pub(super) to: Path,
    /// When the last packet of it came.
    pub(super) heard: Millis,
}

/// When to say it again.
pub(super) struct Retry {
    pub(super) times: usize,
    pub(super) at: Millis,
}

/// The client's end of a session.
pub struct Client {
    pub(super) config: ClientConfig,
    random: SecretStream,
    /// The session, also when it is closed and lingers.
    pub(super) connected: Option<Connected>,
    /// The handshake that is under way; with a session, because of a RESET.
    pub(super) handshake: Option<Handshake>,
    /// When the last handshake because of a RESET began.
    hinted: Option<Millis>,
    /// Of the handshake that is under way, or was the last.
    pub(super) sequence: u64,
    address: usize,
    /// Which of the wished transports.
    transport: usize,
    /// Streams that were begun.
    streams: u64,
    rounds: u8,
    /// The best reason so far, if all addresses turn out to be no good.
    pub(super) absent: bool,
    pub(super) inbox: Inbox<Notice>,
    pub(super) counters: Counters,
}

impl Client {
    /// Begins a handshake with the first address. `seed` must come from a cryptographic generator.
    pub fn new(config: ClientConfig, now: Millis, seed: [u8; 32]) -> Self {
        let mut client = Self {
            // The first handshake counts up to what the caller said.
            sequence: config.connect_sequence.saturating_sub(1),
            config,
            random: SecretStream::new(&seed, b"client"),
            connected: None,
            handshake: None,
            hinted: None,
            address: 0,
            transport: 0,
            streams: 0,
            rounds: 0,
            absent: false,
            inbox: Inbox::new(),
            counters: Counters::default(),
        };
        client.greet(now);
        client
    }

    /// Begins a new session with the same token, from wherever the client is now; the old one is dropped without a
    /// word, the node replaces it.
    pub fn reconnect(&mut self, now: Millis, resume_tick: Option<u32>) {
        self.config.resume_tick = resume_tick;
        self.address = 0;
        self.transport = 0;
        self.rounds = 0;
        self.absent = false;
        self.connected = None;
        self.greet(now);
    }

    /// Takes a datagram from the socket, or a packet from a stream; it is decrypted in place. Whatever is wrong with it is counted.
    pub fn handle_datagram(&mut self, now: Millis, from: impl Into<Path>, datagram: &mut [u8]) {
        let from = from.into();
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        if datagram.len() > UDP_PAYLOAD_MAX {
            self.counters.long += 1;
            return;
        }
        match datagram.first() {
            None => self.counters.short += 1,
            Some(&TO_CLIENT) => self.handle_packet(now, from, datagram),
            Some(&KIND_RESET) => self.handle_reset(now, from, datagram),
            Some(first) if first & SEALED_BIT != 0 => self.counters.wrong_side += 1,
            Some(_) => self.handle_handshake(now, from, datagram),
        }
    }

    /// Lets every timer act that is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        let is_unanswered = match &self.handshake {
            Some(Handshake::Greeting { give_up_at: Some(at), .. }) => now >= *at,
            Some(Handshake::Greeting { retry, .. } | Handshake::Connecting { retry, .. }) => {
                now >= retry.at && retry.times >= RETRY_MS.len()
            }
            None => false,
        };
        if is_unanswered {
            self.try_next(now);
        }
        if let Some(Connected { session, .. }) = &mut self.connected {
            match session.service(now, &mut self.inbox, &mut self.counters) {
                Fate::Lives => {}
                Fate::Ended(reason) => self.end(reason),
                Fate::Gone => self.connected = None,
            }
        }
    }

    /// Writes the next datagram for the socket into `out` (what was in it is gone); `None` when all is said.
    pub fn poll_transmit(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        let transmit = self.next_datagram(now, out)?;
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += out.len() as u64;
        Some(transmit)
    }

    /// The next event. Message bytes live in the client until the next call.
    pub fn poll_event(&mut self) -> Option<ClientEvent<'_>> {
        Some(match self.inbox.pop()? {
            Entry::Notice(Notice::Accepted(accepted)) => ClientEvent::Accepted {
                connection: accepted.connection,
                battle: accepted.battle,
                epoch: accepted.epoch,
                tick: accepted.tick,
                rate_hz: accepted.rate_hz,
                seat: accepted.seat,
                team: accepted.team,
                role: accepted.role,
            },
            Entry::Notice(Notice::Denied(reason)) => ClientEvent::Denied { reason },
            Entry::Notice(Notice::Closed(reason)) => ClientEvent::Closed { reason },
            Entry::Message { lane, start, end, .. } => {
                ClientEvent::Message { lane, bytes: self.inbox.bytes_of(start, end) }
            }
        })
    }

    /// When `handle_timeout` and `poll_transmit` want to be called, at the latest; `None` when it is over.
    pub fn poll_timeout(&self, now: Millis) -> Option<Millis> {
        let handshake = self.handshake.as_ref().map(|handshake| match handshake {
            Handshake::Greeting { retry, give_up_at, .. } => {
                give_up_at.map_or(retry.at, |at| at.min(retry.at))
            }
            Handshake::Connecting { retry, .. } => retry.at,
        });
        let session = self.connected.as_ref().map(|connected| connected.session.next_deadline(now));
        [handshake, session].into_iter().flatten().min()
    }

    /// Queues a message on the reliable lane.
    ///
    /// # Errors
    /// When there is no open session, the message is longer than `MESSAGE_TO_SERVER_MAX`, or so much waits already
    /// that the session was closed for it.
    pub fn send_reliable(&mut self, now: Millis, message: &[u8]) -> Result<(), SendError> {
        self.send(now, message, |session, _| session.send_reliable(now, message))
    }

    /// Queues a message (inputs) on the lane that the session's policy names. Gives the lane that it took.
    ///
    /// # Errors
    /// As `send_reliable`.
    pub fn send_feed(&mut self, now: Millis, message: &[u8]) -> Result<Lane, SendError> {
        self.send(now, message, |session, counters| session.send_feed(now, message, counters))
    }

    /// Leaves: the session closes once its reliable lane is empty, and `Closed` comes at once.
    pub fn close(&mut self, now: Millis, reason: CloseReason) {
        let began = self.handshake.take().is_some();
        match &mut self.connected {
            Some(Connected { session, .. }) if session.is_open() => {
                session.close(now, reason);
                self.inbox.push_notice(Notice::Closed(reason));
            }
            None if began => self.inbox.push_notice(Notice::Closed(reason)),
            Some(_) | None => {}
        }
    }

    /// Tells whether the session's stream takes more; see [`Server::set_room`](crate::Server::set_room).
    pub fn set_room(&mut self, room: Room) {
        if let Some(Connected { session, .. }) = &mut self.connected {
            session.set_room(room);
        }
    }

    /// Tells that a stream is no more, or never came to be. What depends on it goes on otherwise: a handshake on the next
    /// transport, a session not at all.
    pub fn handle_lost_stream(&mut self, now: Millis, stream: u64) {
        if self.to().is_none_or(|to| to.stream != stream) {
            return;
        }
        if let Some(Connected { session, .. }) =
            self.connected.take_if(|connected| connected.to.stream == stream)
        {
            if session.is_open() {
                self.end(CloseReason::Unreachable);
            }
        } else if self.handshake.is_some() {
            self.try_next(now);
        }
    }

    /// What carries the session, if there is one.
    pub fn transport_in_use(&self) -> Option<Transport> {
        self.connected.as_ref().map(|connected| connected.to.transport)
    }

    /// Whether the session is open.
    pub fn is_connected(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.session.is_open())
    }

    /// Whether nothing more will happen unless `reconnect` is called: all is said, a CLOSE too.
    pub fn is_over(&self) -> bool {
        let is_silent = |connected: &Connected| connected.session.is_closed_and_silent();
        self.handshake.is_none() && self.connected.as_ref().is_none_or(is_silent)
    }

    /// What happened and was refused so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers of the session, if there is one.
    pub fn stats(&self, now: Millis) -> Option<ConnectionStats> {
        self.connected.as_ref().map(|connected| connected.session.stats(now))
    }

    /// The way that is being tried, or was the last.
    pub(super) fn to(&self) -> Option<Path> {
        let address = *self.config.token_file.addresses.get(self.address)?;
        let transport = self.transport()?;
        Some(Path { address, transport, stream: if transport.is_carried() { self.streams } else { 0 } })
    }

    fn transport(&self) -> Option<Transport> {
        self.config.transport.transports().get(self.transport).copied()
    }

    /// Begins a handshake. Each has its own sequence: the node may have accepted the one before, and its word was lost.
    pub(super) fn greet(&mut self, now: Millis) {
        self.sequence = self.sequence.saturating_add(1);
        let nonce = self.random.take();
        if self.transport().is_some_and(Transport::is_carried) {
            self.streams += 1;
        }
        let is_last = self.transport + 1 >= self.config.transport.transports().len();
        let give_up_at = (!is_last || self.connected.is_some()).then(|| now + ANSWER_MS);
        self.handshake = Some(Handshake::Greeting { nonce, retry: Retry { times: 0, at: now }, give_up_at });
    }

    /// Nobody answers this way: goes on to the next transport of the address, then to the next address.
    fn try_next(&mut self, now: Millis) {
        if self.connected.is_some() {
            // It was a hint that led nowhere.
            self.handshake = None;
            return;
        }
        self.transport += 1;
        if self.transport().is_some() {
            return self.greet(now);
        }
        self.try_next_address(now);
    }

    /// Nobody at this address has the battle's keys.
    pub(super) fn handle_absent(&mut self, now: Millis) {
        match &self.connected {
            Some(connected) if now.since(connected.heard) < SILENCE_MS => self.handshake = None,
            Some(_) | None => {
                self.connected = None;
                self.absent = true;
                self.try_next_address(now);
            }
        }
    }

    fn try_next_address(&mut self, now: Millis) {
        self.transport = 0;
        self.address = self.address.saturating_add(1);
        if self.to().is_some() {
            return self.greet(now);
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < ROUNDS_MAX && !self.absent {
            self.address = 0;
            return self.greet(now);
        }
        self.handshake = None;
        self.inbox.push_notice(if self.absent {
            Notice::Denied(DenyReason::NotHere)
        } else {
            Notice::Closed(CloseReason::Unreachable)
        });
    }

    fn end(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::TimedOut => self.counters.timed_out += 1,
            CloseReason::SlowReader => self.counters.slow_readers += 1,
            CloseReason::Replaced => self.counters.replaced += 1,
            _ => {}
        }
        self.inbox.push_notice(Notice::Closed(reason));
    }

    fn handle_packet(&mut self, now: Millis, from: Path, datagram: &mut [u8]) {
        let Self { connected, inbox, counters, .. } = self;
        let Some(Connected { session, to, heard }) = connected else {
            counters.unknown_connection += 1;
            return;
        };
        if from != *to && (from.is_carried() || to.is_carried()) {
            counters.wrong_path += 1;
            return;
        }
        let was_open = session.is_open();
        match session.receive(now, datagram, inbox, counters, |_| true) {
            Ok(received) => {
                *heard = now;
                let ended = if let Fate::Ended(reason) = received.fate { Some(reason) } else { None };
                match (&self.handshake, ended) {
                    // A CONNECT that was said may have been taken: then it is this client that replaced its session, and
                    // what it needs to go on is the handshake.
                    (Some(Handshake::Connecting { retry, .. }), Some(CloseReason::Replaced))
                        if retry.times > 0 =>
                    {
                        self.connected = None;
                        return;
                    }
                    (Some(Handshake::Connecting { retry, .. }), None) if retry.times > 0 => {}
                    // The node knows the session: whoever said otherwise is not believed.
                    (_, _) => self.handshake = None,
                }
                if let Some(reason) = ended
                    && was_open
                {
                    self.end(reason);
                }
            }
            Err(PacketError::Short) => counters.short += 1,
            Err(PacketError::Replayed) => counters.replayed += 1,
            Err(PacketError::Forged) => counters.forged_packet += 1,
        }
    }

    /// A word that the node does not know the session: from anybody who has seen its number.
    fn handle_reset(&mut self, now: Millis, from: Path, datagram: &[u8]) {
        let is_about = |connected: &&mut Connected| {
            let session = &connected.session;
            session.is_open() && connected.to == from && parse_reset(datagram) == Some(session.id())
        };
        if self.connected.as_mut().filter(is_about).is_none() {
            self.counters.bad_handshake += 1;
            return;
        }
        self.counters.resets += 1;
        if self.handshake.is_some() || self.hinted.is_some_and(|at| now.since(at) < HINTS_APART_MS) {
            return;
        }
        self.hinted = Some(now);
        self.absent = false;
        self.greet(now);
    }

    fn next_datagram(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.to();
        let said = match &mut self.handshake {
            Some(Handshake::Greeting { nonce, retry, .. }) => retry.poll(now).map(|()| put_hello(out, nonce)),
            Some(Handshake::Connecting { connect, retry, .. }) => retry.poll(now).map(|()| {
                out.clear();
                out.extend_from_slice(connect.as_slice());
            }),
            None => None,
        };
        if let (Some(()), Some(to)) = (said, to) {
            return Some(Transmit { to, connection: None });
        }
        let Connected { session, to, .. } = self.connected.as_mut()?;
        let connection = Some(session.id());
        session.poll_packet(now, out).then_some(Transmit { to: *to, connection })
    }

    fn send<T>(
        &mut self,
        now: Millis,
        message: &[u8],
        put: impl FnOnce(&mut Session, &mut Counters) -> Result<T, ReliableError>,
    ) -> Result<T, SendError> {
        if message.len() > MESSAGE_TO_SERVER_MAX {
            return Err(SendError::TooLong { len: message.len(), max: MESSAGE_TO_SERVER_MAX });
        }
        let Some(Connected { session, .. }) = &mut self.connected else {
            return Err(SendError::NotOpen { connection: ConnectionId(0) });
        };
        let connection = session.id();
        if !session.is_open() {
            return Err(SendError::NotOpen { connection });
        }
        put(session, &mut self.counters).map_err(|_| {
            session.close_now(now, CloseReason::SlowReader);
            self.inbox.push_notice(Notice::Closed(CloseReason::SlowReader));
            SendError::SlowReader { connection }
        })
    }
}

#[cfg(test)]
impl Client {
    /// Sends a KCP block of the test's own making in the next packet.
    pub(super) fn send_raw_kcp(&mut self, block: &[u8]) {
        if let Some(Connected { session, .. }) = &mut self.connected {
            session.push_raw_kcp(block);
        }
    }
}

impl Retry {
    /// Counts a sending if one is due.
    fn poll(&mut self, now: Millis) -> Option<()> {
        if now < self.at {
            return None;
        }
        let pause = RETRY_MS.get(self.times)?;
        self.times += 1;
        self.at = now + *pause;
        Some(())
    }
}
