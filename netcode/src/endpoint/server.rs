//! The server's end: one per socket, thousands of connections, no clock and no socket of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::battles::{Battles, HostedBattle};
use super::server_event::{Notice, ServerConfig, ServerEvent};
use super::slot::Slot;
use super::{SendError, Transmit};
use crate::connection::{CloseReason, ConnectionStats, Entry, Fate, Inbox, ReliableError, Room, Session};
use crate::crypto::{CookieKey, SecretStream};
use crate::handshake::{
    CHALLENGE_LEN, Cookie, HELLO_LEN, KIND_CONNECT, KIND_HELLO, RESET_LEN, parse_start, put_challenge,
    put_reset,
};
use crate::limits::{ANSWERS_PENDING_MAX, MESSAGE_MAX, RESETS_PER_SECOND_MAX, UDP_PAYLOAD_MAX};
use crate::packet::{PACKET_LEN_MIN, PacketError, SEALED_BIT, TO_SERVER, connection_of};
use crate::time::Millis;
use crate::wheel::Wheel;
use crate::{BattleId, ConnectionId, Counters, Lane, Path};

/// Longest answer to a handshake datagram.
pub(super) const ANSWER_MAX: usize = 128;

const _: () = assert!(CHALLENGE_LEN <= ANSWER_MAX && crate::handshake::ACCEPT_LEN <= ANSWER_MAX);
const _: () = assert!(crate::handshake::DENY_LEN <= ANSWER_MAX);

const _: () = assert!(RESET_LEN < PACKET_LEN_MIN);

/// An answer to a handshake datagram, waiting for the socket.
pub(super) struct Answer {
    to: Path,
    len: usize,
    bytes: [u8; ANSWER_MAX],
}

/// The server's end of all sessions on one socket.
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) cookie_key: CookieKey,
    pub(super) random: SecretStream,
    pub(super) battles: Battles,
    pub(super) slots: Vec<Option<Box<Slot>>>,
    pub(super) free: Vec<u32>,
    ready: VecDeque<u32>,
    wheel: Wheel,
    expired: Vec<u32>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) scratch: Vec<u8>,
    pub(super) inbox: Inbox<Notice>,
    pub(super) counters: Counters,
    connections: u32,
    /// RESETs that were said, in which second.
    resets: (u64, u32),
}

impl Server {
    /// A server without battles. `seed` must come from a cryptographic generator: cookies, connection ids and
    /// nonces are drawn from it.
    ///
    /// # Panics
    /// When `connections_max` is above 2^24.
    pub fn new(config: ServerConfig, seed: [u8; 32]) -> Self {
        assert!(config.connections_max <= 1 << 24, "connections_max {}", config.connections_max);
        let mut random = SecretStream::new(&seed, b"server");
        Self {
            config,
            cookie_key: CookieKey::new(&random.take()),
            random,
            battles: Battles::default(),
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            wheel: Wheel::new(),
            expired: Vec::new(),
            answers: VecDeque::with_capacity(ANSWERS_PENDING_MAX),
            scratch: Vec::with_capacity(UDP_PAYLOAD_MAX),
            inbox: Inbox::new(),
            counters: Counters::default(),
            connections: 0,
            resets: (0, 0),
        }
    }

    /// Admits players of a battle from now on. For a battle that is here already keys, epoch, hashes and rate are
    /// replaced (key rotation), its connections stay.
    pub fn host(&mut self, id: BattleId, battle: HostedBattle) {
        self.battles.host(id, battle);
    }

    /// Tells the tick that ACCEPTs name. Does nothing for a battle that is not here.
    pub fn set_tick(&mut self, id: BattleId, tick: u32) {
        if let Some(hosted) = self.battles.get_mut(id) {
            hosted.tick = tick;
        }
    }

    /// Ends a battle here: its connections close with `why` once their reliable lane is empty. Late clients hear
    /// `BattleOver` if `why` is `Finished` or `Aborted`, else `NotHere`.
    pub fn forget(&mut self, now: Millis, id: BattleId, why: CloseReason) {
        let over = matches!(why, CloseReason::Finished | CloseReason::Aborted);
        let Some(hosted) = self.battles.forget(id, over) else { return };
        for holder in hosted.holders.values() {
            if let Some(connection) = holder.connection {
                self.close(now, connection, why);
            }
        }
    }

    /// Follows the wall clock: what to add to the caller's `Millis` to have Unix milliseconds.
    pub fn set_unix_offset(&mut self, offset_ms: i64) {
        self.config.unix_offset_ms = offset_ms;
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
            Some(&TO_SERVER) => self.handle_packet(now, from, datagram),
            Some(first) if first & SEALED_BIT != 0 => self.counters.wrong_side += 1,
            Some(_) => self.handle_handshake(now, from, datagram),
        }
    }

    /// Lets every timer act that is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now, &mut expired);
        for slot in expired.drain(..) {
            self.service(now, slot);
        }
        self.expired = expired;
    }

    /// Writes the next datagram for the socket into `out` (what was in it is gone); `None` when all is said.
    pub fn poll_transmit(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        let transmit = self.next_datagram(now, out)?;
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += out.len() as u64;
        Some(transmit)
    }

    /// The next event. Message bytes live in the server until the next call.
    pub fn poll_event(&mut self) -> Option<ServerEvent<'_>> {
        Some(match self.inbox.pop()? {
            Entry::Notice(Notice::Connected(client)) => ServerEvent::Connected(client),
            Entry::Notice(Notice::Disconnected { connection, battle, seat, reason }) => {
                ServerEvent::Disconnected { connection, battle, seat, reason }
            }
            Entry::Message { connection, lane, start, end } => {
                ServerEvent::Message { connection, lane, bytes: self.inbox.bytes_of(start, end) }
            }
        })
    }

    /// When `handle_timeout` wants to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.wheel.next()
    }

    /// Queues a message on the reliable lane.
    ///
    /// # Errors
    /// When the connection is not open, the message is longer than `MESSAGE_MAX`, or so much waits already that the
    /// connection was closed for it.
    pub fn send_reliable(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.send(now, connection, message, |session, _| session.send_reliable(now, message))
    }

    /// Queues a feed message on the lane that the session's policy names; one longer than `DATAGRAM_MESSAGE_MAX` goes
    /// reliably. Gives the lane that it took.
    ///
    /// # Errors
    /// As `send_reliable`.
    pub fn send_feed(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        message: &[u8],
    ) -> Result<Lane, SendError> {
        self.send(now, connection, message, |session, counters| session.send_feed(now, message, counters))
    }

    /// Closes a connection once its reliable lane is empty (or after two seconds); `Disconnected` comes at once.
    pub fn close(&mut self, now: Millis, connection: ConnectionId, reason: CloseReason) {
        let Some(slot) = self.slot_mut(connection) else { return };
        if !slot.session.is_open() {
            return;
        }
        slot.session.close(now, reason);
        self.announce_end(connection, reason);
        self.touch(now, connection);
    }

    /// Tells that the stream of a connection is no more, and the connection with it.
    pub fn handle_lost_stream(&mut self, now: Millis, connection: ConnectionId) {
        self.set_room(now, connection, Room::None);
        self.close_now(now, connection, CloseReason::Unreachable);
    }

    #[cfg(feature = "shell")]
    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// What happened and was refused so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers of one connection.
    pub fn stats(&self, now: Millis, connection: ConnectionId) -> Option<ConnectionStats> {
        self.slot(connection).map(|slot| slot.session.stats(now))
    }

    /// Where a connection is, as far as it is proven.
    pub fn path(&self, connection: ConnectionId) -> Option<SocketAddr> {
        self.slot(connection).map(|slot| slot.path.address)
    }

    /// Tells whether the stream of a connection takes more. While it does not, nothing of it comes from
    /// `poll_transmit`: the newest messages wait in the datagram lane, and all in the reliable one, to their bounds.
    pub fn set_room(&mut self, now: Millis, connection: ConnectionId, room: Room) {
        if let Some(slot) = self.slot_mut(connection) {
            slot.session.set_room(room);
            self.touch(now, connection);
        }
    }

    /// Connections that hold a slot, those that linger after their end included.
    pub fn connections(&self) -> u32 {
        self.connections
    }

    pub(super) fn slot(&self, connection: ConnectionId) -> Option<&Slot> {
        let slot = self.slots.get(connection.slot())?.as_deref()?;
        (slot.session.id() == connection).then_some(slot)
    }

    pub(super) fn slot_mut(&mut self, connection: ConnectionId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(connection.slot())?.as_deref_mut()?;
        (slot.session.id() == connection).then_some(slot)
    }

    /// Puts `slot` at the place that its connection id names.
    pub(super) fn insert(&mut self, now: Millis, index: u32, slot: Box<Slot>) {
        let id = slot.session.id();
        let at = id.slot();
        if at == self.slots.len() {
            self.slots.push(None);
        }
        assert!(at == index as usize && self.slots[at].is_none(), "slot {at} is taken");
        self.slots[at] = Some(slot);
        self.connections += 1;
        self.touch(now, id);
    }

    /// A slot number for a new connection.
    pub(super) fn take_free_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let next = u32::try_from(self.slots.len()).ok()?;
        (next < self.config.connections_max).then_some(next)
    }

    /// Queues an answer; when the socket cannot keep up it is dropped, and the client asks again.
    pub(super) fn answer(&mut self, to: Path) {
        if self.answers.len() == ANSWERS_PENDING_MAX {
            self.counters.answers_dropped += 1;
            return;
        }
        let mut bytes = [0; ANSWER_MAX];
        let len = self.scratch.len();
        bytes[..len].copy_from_slice(&self.scratch);
        self.answers.push_back(Answer { to, len, bytes });
    }

    /// Ends a connection at once and says so.
    pub(super) fn close_now(&mut self, now: Millis, connection: ConnectionId, reason: CloseReason) {
        let Some(slot) = self.slot_mut(connection) else { return };
        let was_open = slot.session.is_open();
        slot.session.close_now(now, reason);
        if was_open {
            self.announce_end(connection, reason);
        }
        self.touch(now, connection);
    }

    /// Arms the connection's timer and queues it for sending if it has something to say.
    pub(super) fn touch(&mut self, now: Millis, connection: ConnectionId) {
        let index = connection.slot();
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_deref_mut) else { return };
        let number = (connection.0 & 0xFF_FFFF) as u32;
        let deadline = slot.next_deadline(now);
        if slot.armed.is_none_or(|armed| deadline < armed) {
            slot.armed = Some(deadline);
            self.wheel.arm(now, number, deadline);
        }
        if !slot.is_ready && slot.has_output(now) {
            slot.is_ready = true;
            self.ready.push_back(number);
        }
    }

    fn handle_handshake(&mut self, now: Millis, from: Path, datagram: &[u8]) {
        let Some((kind, nonce, reader)) = parse_start(datagram) else {
            match datagram.first() {
                Some(1..=7) => self.counters.bad_handshake += 1,
                _ => self.counters.unknown_kind += 1,
            }
            return;
        };
        match (kind, datagram.len()) {
            (KIND_HELLO, HELLO_LEN) => {
                self.counters.hellos += 1;
                let cookie = Cookie::bake(&self.cookie_key, now, from.address, &nonce);
                put_challenge(&mut self.scratch, &nonce, &cookie);
                self.answer(from);
            }
            (KIND_CONNECT, crate::handshake::CONNECT_LEN) => {
                self.handle_connect(now, from, nonce, reader, datagram);
            }
            (KIND_HELLO | KIND_CONNECT, _) => self.counters.bad_handshake += 1,
            (2 | 4..=7, _) => self.counters.wrong_side += 1,
            _ => self.counters.unknown_kind += 1,
        }
    }

    fn handle_packet(&mut self, now: Millis, from: Path, datagram: &mut [u8]) {
        let Some(id) = connection_of(datagram) else {
            self.counters.short += 1;
            return;
        };
        let Self { slots, inbox, counters, random, .. } = self;
        let slot = slots.get_mut(id.slot()).and_then(Option::as_deref_mut);
        let Some(slot) = slot.filter(|slot| slot.session.id() == id) else {
            counters.unknown_connection += 1;
            self.hint(now, from, id, datagram.len());
            return;
        };
        // A session lives and ends with its stream; datagrams may come from anywhere.
        if from != slot.path && (from.is_carried() || slot.path.is_carried()) {
            counters.wrong_path += 1;
            return;
        }
        let was_open = slot.session.is_open();
        let len = datagram.len();
        let Slot { session, budget, .. } = slot;
        let received = session.receive(now, datagram, inbox, counters, |load| budget.admit(now, load));
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                match error {
                    PacketError::Short => counters.short += 1,
                    PacketError::Replayed => counters.replayed += 1,
                    PacketError::Forged => counters.forged_packet += 1,
                }
                return;
            }
        };
        slot.accept = None;
        if from == slot.path {
            slot.handle_own_path(received.newest);
        } else {
            slot.handle_other_path(now, from.address, len, received.newest, || random.take(), counters);
        }
        if let Some(answer) = received.path_response {
            slot.handle_path_response(from.address, answer, counters);
        }
        if let (Fate::Ended(reason), true) = (received.fate, was_open) {
            self.announce_end(id, reason);
        }
        self.touch(now, id);
    }

    /// Says that a connection is not here, to somebody who may have it from before this node was started again. A stream
    /// does not outlive its node.
    fn hint(&mut self, now: Millis, to: Path, id: ConnectionId, len: usize) {
        let second = now.0 / 1_000;
        if self.resets.0 != second {
            self.resets = (second, 0);
        }
        if len < PACKET_LEN_MIN || to.is_carried() || self.resets.1 >= RESETS_PER_SECOND_MAX {
            return;
        }
        self.resets.1 += 1;
        self.counters.resets += 1;
        put_reset(&mut self.scratch, id);
        self.answer(to);
    }

    fn service(&mut self, now: Millis, number: u32) {
        let Self { slots, inbox, counters, .. } = self;
        let Some(slot) = slots.get_mut(number as usize).and_then(Option::as_deref_mut) else { return };
        // A deadline that was replaced by an earlier one, or moved: the one that counts is still to come.
        if slot.armed.is_none_or(|armed| armed > now) {
            return;
        }
        slot.armed = None;
        let id = slot.session.id();
        let was_open = slot.session.is_open();
        match slot.session.service(now, inbox, counters) {
            Fate::Lives => {}
            Fate::Ended(reason) => {
                if was_open {
                    self.announce_end(id, reason);
                }
            }
            Fate::Gone => {
                self.slots[number as usize] = None;
                self.free.push(number);
                self.connections -= 1;
                return;
            }
        }
        self.touch(now, id);
    }

    fn next_datagram(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(answer) = self.answers.pop_front() {
            out.clear();
            out.extend_from_slice(&answer.bytes[..answer.len]);
            return Some(Transmit { to: answer.to, connection: None });
        }
        while let Some(&number) = self.ready.front() {
            let slot = self.slots.get_mut(number as usize).and_then(Option::as_deref_mut);
            if let Some(slot) = slot {
                let id = slot.session.id();
                if let Some(to) = slot.poll_probe(now, out) {
                    return Some(Transmit { to: to.into(), connection: Some(id) });
                }
                if slot.session.poll_packet(now, out) {
                    return Some(Transmit { to: slot.path, connection: Some(id) });
                }
                slot.is_ready = false;
                self.ready.pop_front();
                self.touch(now, id);
            } else {
                self.ready.pop_front();
            }
        }
        None
    }

    fn send<T>(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        message: &[u8],
        put: impl FnOnce(&mut Session, &mut Counters) -> Result<T, ReliableError>,
    ) -> Result<T, SendError> {
        if message.len() > MESSAGE_MAX {
            return Err(SendError::TooLong { len: message.len(), max: MESSAGE_MAX });
        }
        let Self { slots, counters, .. } = self;
        let slot = slots.get_mut(connection.slot()).and_then(Option::as_deref_mut);
        let slot = slot
            .filter(|slot| slot.session.id() == connection && slot.session.is_open())
            .ok_or(SendError::NotOpen { connection })?;
        match put(&mut slot.session, counters) {
            Ok(taken) => {
                self.touch(now, connection);
                Ok(taken)
            }
            Err(_) => {
                self.close_now(now, connection, CloseReason::SlowReader);
                Err(SendError::SlowReader { connection })
            }
        }
    }

    /// Tells the application, and frees the seat for `check_claim` (its sequence stays).
    fn announce_end(&mut self, connection: ConnectionId, reason: CloseReason) {
        let Some(slot) = self.slot(connection) else { return };
        let (battle, seat, holder) = (slot.battle, slot.seat, slot.holder);
        match reason {
            CloseReason::TimedOut => self.counters.timed_out += 1,
            CloseReason::SlowReader => self.counters.slow_readers += 1,
            CloseReason::Replaced => self.counters.replaced += 1,
            _ => {}
        }
        if let Some(hosted) = self.battles.get_mut(battle)
            && let Some(holder) = hosted.holders.get_mut(&holder)
            && holder.connection == Some(connection)
        {
            holder.connection = None;
        }
        self.inbox.push_notice(Notice::Disconnected { connection, battle, seat, reason });
    }
}
