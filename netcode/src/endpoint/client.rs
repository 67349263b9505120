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

use super::{SendError, Transmit};
use crate::connection::{CloseReason, ConnectionStats, Entry, Fate, Inbox, ReliableError, Room, Session};
use crate::crypto::{KeyShare, SecretStream};
use crate::handshake::{Accepted, CONNECT_LEN, ClientNonce, DenyReason, put_hello};
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

pub(super) enum State {
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
    Connected {
        session: Box<Session>,
        to: Path,
    },
    Over,
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
    pub(super) state: State,
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
            state: State::Over,
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
            Some(first) if first & SEALED_BIT != 0 => self.counters.wrong_side += 1,
            Some(_) => self.handle_handshake(now, from, datagram),
        }
    }

    /// Lets every timer act that is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        match &mut self.state {
            State::Greeting { give_up_at: Some(at), .. } if now >= *at => self.try_next(now),
            State::Greeting { retry, .. } | State::Connecting { retry, .. }
                if now >= retry.at && retry.times >= RETRY_MS.len() =>
            {
                self.try_next(now);
            }
            State::Connected { session, .. } => {
                match session.service(now, &mut self.inbox, &mut self.counters) {
                    Fate::Lives => {}
                    Fate::Ended(reason) => self.end(reason),
                    Fate::Gone => self.state = State::Over,
                }
            }
            _ => {}
        }
    }

    /// Writes the next datagram for the socket into `out` (what was in it is gone); `None` when all is said.
    pub fn poll_transmit(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.next_datagram(now, out)?;
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += out.len() as u64;
        let connection = match &self.state {
            State::Connected { session, .. } => Some(session.id()),
            _ => None,
        };
        Some(Transmit { to, connection })
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
        match &self.state {
            State::Greeting { retry, give_up_at, .. } => {
                Some(give_up_at.map_or(retry.at, |at| at.min(retry.at)))
            }
            State::Connecting { retry, .. } => Some(retry.at),
            State::Connected { session, .. } => Some(session.next_deadline(now)),
            State::Over => None,
        }
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
        match &mut self.state {
            State::Connected { session, .. } if session.is_open() => {
                session.close(now, reason);
                self.inbox.push_notice(Notice::Closed(reason));
            }
            State::Greeting { .. } | State::Connecting { .. } => {
                self.state = State::Over;
                self.inbox.push_notice(Notice::Closed(reason));
            }
            State::Connected { .. } | State::Over => {}
        }
    }

    /// Tells whether the session's stream takes more; see [`Server::set_room`](crate::Server::set_room).
    pub fn set_room(&mut self, room: Room) {
        if let State::Connected { session, .. } = &mut self.state {
            session.set_room(room);
        }
    }

    /// Tells that a stream is no more, or never came to be. What depends on it goes on otherwise: a handshake on the next
    /// transport, a session not at all.
    pub fn handle_lost_stream(&mut self, now: Millis, stream: u64) {
        if self.to().is_none_or(|to| to.stream != stream) {
            return;
        }
        match &mut self.state {
            State::Greeting { .. } | State::Connecting { .. } => self.try_next(now),
            State::Connected { session, .. } => {
                let was_open = session.is_open();
                self.state = State::Over;
                if was_open {
                    self.end(CloseReason::Unreachable);
                }
            }
            State::Over => {}
        }
    }

    /// What carries the session, if there is one.
    pub fn transport_in_use(&self) -> Option<Transport> {
        match &self.state {
            State::Connected { to, .. } => Some(to.transport),
            _ => None,
        }
    }

    /// Whether the session is open.
    pub fn is_connected(&self) -> bool {
        matches!(&self.state, State::Connected { session, .. } if session.is_open())
    }

    /// Whether nothing more will happen unless `reconnect` is called: all is said, a CLOSE too.
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Connected { session, .. } => session.is_closed_and_silent(),
            State::Over => true,
            State::Greeting { .. } | State::Connecting { .. } => false,
        }
    }

    /// What happened and was refused so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers of the session, if there is one.
    pub fn stats(&self, now: Millis) -> Option<ConnectionStats> {
        match &self.state {
            State::Connected { session, .. } => Some(session.stats(now)),
            _ => None,
        }
    }

    /// The way that is being tried, or was the last.
    pub(super) fn to(&self) -> Option<Path> {
        let address = *self.config.token_file.addresses.get(self.address)?;
        let transport = self.transport()?;
        Some(Path { address, transport, stream: if transport.is_stream() { self.streams } else { 0 } })
    }

    fn transport(&self) -> Option<Transport> {
        self.config.transport.transports().get(self.transport).copied()
    }

    /// Begins a handshake. Each has its own sequence: the node may have accepted the one before, and its word was lost.
    pub(super) fn greet(&mut self, now: Millis) {
        self.sequence = self.sequence.saturating_add(1);
        let nonce = self.random.take();
        if self.transport().is_some_and(Transport::is_stream) {
            self.streams += 1;
        }
        let is_last = self.transport + 1 >= self.config.transport.transports().len();
        let give_up_at = (!is_last).then(|| now + ANSWER_MS);
        self.state = State::Greeting { nonce, retry: Retry { times: 0, at: now }, give_up_at };
    }

    /// Nobody answers this way: goes on to the next transport of the address, then to the next address.
    fn try_next(&mut self, now: Millis) {
        self.transport += 1;
        if self.transport().is_some() {
            return self.greet(now);
        }
        self.try_next_address(now);
    }

    pub(super) fn try_next_address(&mut self, now: Millis) {
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
        self.state = State::Over;
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
        let Self { state, inbox, counters, .. } = self;
        let State::Connected { session, to } = state else {
            counters.unknown_connection += 1;
            return;
        };
        if from != *to && (from.is_stream() || to.is_stream()) {
            counters.wrong_path += 1;
            return;
        }
        let was_open = session.is_open();
        match session.receive(now, datagram, inbox, counters, |_| true) {
            Ok(received) => {
                if let Fate::Ended(reason) = received.fate
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

    fn next_datagram(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Path> {
        let to = self.to();
        match &mut self.state {
            State::Greeting { nonce, retry, .. } => {
                retry.poll(now)?;
                put_hello(out, nonce);
                to
            }
            State::Connecting { connect, retry, .. } => {
                retry.poll(now)?;
                out.clear();
                out.extend_from_slice(connect.as_slice());
                to
            }
            State::Connected { session, to } => session.poll_packet(now, out).then_some(*to),
            State::Over => None,
        }
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
        let State::Connected { session, .. } = &mut self.state else {
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
        if let State::Connected { session, .. } = &mut self.state {
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
