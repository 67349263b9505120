//! A worker: the battles of one socket, on one core. It has no socket and no clock of its own: the sessions' endpoint
//! and the time come in with each call, what rooms say goes to the sessions, and battles that ended come out.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hdrhistogram::Histogram;
use tiltyard_engine::{Game, Seat};
use tiltyard_netcode::message::ToServer;
use tiltyard_netcode::token::Role;
use tiltyard_netcode::{
    BattleId, CloseReason, ConnectedClient, ConnectionId, Epoch, HostedBattle, Millis, Server, ServerEvent,
};
use tracing::{Span, info, info_span, warn};

use crate::broadcast::{Outgoing, Way};
use crate::pacer::{period_us, staggered_start_us};
use crate::room::{Room, RoomCounters, RoomEnd};
use crate::seats::Client;

/// A battle that ended on this worker.
pub struct EndedBattle<G: Game> {
    /// The room, with nothing left to do but to close its recording.
    pub room: Room<G>,
    /// How it ended.
    pub end: RoomEnd,
    /// Whether the end is a result; a battle that was released is somebody else's now.
    pub is_result: bool,
}

/// The battles of one socket.
pub struct Worker<G: Game> {
    rooms: BTreeMap<BattleId, Room<G>>,
    /// Who sits where.
    seated: BTreeMap<ConnectionId, Sitting>,
    events: Vec<Event>,
    /// Rooms that are due, by when; kept for its memory.
    due: Vec<(u64, BattleId)>,
    out: Outgoing,
    ended: Vec<EndedBattle<G>>,
    gone: RoomCounters,
    stopwatch_ns: fn() -> u64,
    tick_ns: Histogram<u64>,
    panics: u64,
    spectators_refused: u64,
}

/// Whose connection it is.
struct Sitting {
    battle: BattleId,
    /// None of a spectator.
    seat: Option<Seat>,
    span: Span,
}

/// What an endpoint told, kept until its borrow is over.
enum Event {
    Connected(Box<ConnectedClient>),
    Disconnected { connection: ConnectionId, reason: CloseReason },
    Panicked { battle: BattleId, text: String },
}

/// The longest tick that the histogram tells from longer ones: a minute, in nanoseconds.
const TICK_NS_MAX: u64 = 60_000_000_000;

/// Letters of a panic's words that are kept.
const SAID_MAX: usize = 256;

/// Bytes of a message that are shown when the game panicked at it: a datagram.
const SHOWN_BYTES_MAX: usize = 1200;

impl<G: Game> Worker<G> {
    /// A worker without battles; `stopwatch_ns` is what ticks are measured by.
    #[must_use]
    pub fn new(stopwatch_ns: fn() -> u64) -> Self {
        Self {
            rooms: BTreeMap::new(),
            seated: BTreeMap::new(),
            events: Vec::new(),
            due: Vec::new(),
            out: Outgoing::default(),
            ended: Vec::new(),
            gone: RoomCounters::default(),
            stopwatch_ns,
            tick_ns: Histogram::new_with_bounds(1, TICK_NS_MAX, 3).expect("the bounds are sound"),
            panics: 0,
            spectators_refused: 0,
        }
    }

    /// Opens a room; its players may come from now on.
    pub fn open(&mut self, server: &mut Server, now_us: u64, mut room: Room<G>, hosted: HostedBattle) {
        room.open(now_us);
        server.host(room.id(), hosted);
        self.rooms.insert(room.id(), room);
    }

    /// Gives up a battle that nobody joined. Returns whether it was here under this epoch or an older one.
    pub fn release(&mut self, server: &mut Server, now_us: u64, battle: BattleId, epoch: Epoch) -> bool {
        if self.rooms.get(&battle).is_none_or(|room| room.epoch() > epoch) {
            return false;
        }
        let is_result = false;
        self.end_room(server, now_us, battle, is_result);
        true
    }

    /// Takes what the sessions told, then makes the ticks that are due.
    pub fn poll(&mut self, server: &mut Server, now_us: u64) {
        self.take_events(server, now_us);
        let mut due = std::mem::take(&mut self.due);
        let rooms = self.rooms.values().map(|room| (room.next_us(), room.id()));
        due.extend(rooms.filter(|(next_us, _)| *next_us <= now_us));
        // Who waits longest comes first.
        due.sort_unstable();
        due.drain(..).for_each(|(_, battle)| self.poll_room(server, now_us, battle));
        self.due = due;
        self.take_events(server, now_us);
    }

    /// When [`Worker::poll`] wants to be called next, in microseconds.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        self.rooms.values().map(Room::next_us).min().unwrap_or(u64::MAX)
    }

    /// The next battle that ended.
    pub fn poll_ended(&mut self) -> Option<EndedBattle<G>> {
        self.ended.pop()
    }

    /// Ends all battles before their outcome.
    pub fn abort_all(&mut self, server: &mut Server, now_us: u64) {
        while let Some(battle) = self.rooms.keys().next().copied() {
            self.end_room(server, now_us, battle, true);
        }
    }

    /// What was counted in all rooms, those that are gone included.
    #[must_use]
    pub fn room_counters(&self) -> RoomCounters {
        self.rooms.values().fold(self.gone, |sum, room| sum + room.counters())
    }

    /// How long ticks took, with their feeds, in nanoseconds.
    #[must_use]
    pub fn tick_ns(&self) -> &Histogram<u64> {
        &self.tick_ns
    }

    /// Battles that ended by a panic of their own.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// Spectators that were sent away because their battle has too many.
    #[must_use]
    pub fn spectators_refused(&self) -> u64 {
        self.spectators_refused
    }

    /// The rooms, in the order of their battles.
    pub fn rooms(&self) -> impl Iterator<Item = &Room<G>> {
        self.rooms.values()
    }

    /// Gives a battle that is about to begin its place between the ticks of those that run.
    fn stagger(&mut self, now_us: u64, battle: BattleId) {
        let rate = |room: &Room<G>| room.battle().spec().terms.rate;
        let Some(room) = self.rooms.get(&battle).filter(|room| room.next_tick_us().is_none()) else { return };
        let own = rate(room);
        // Those of other rates pass by every phase.
        let alike = self.rooms.values().filter(|room| rate(room) == own);
        let start_us = staggered_start_us(now_us, period_us(own.hz()), alike.filter_map(Room::next_tick_us));
        if let Some(room) = self.rooms.get_mut(&battle) {
            room.begin_not_before(start_us);
        }
    }

    fn poll_room(&mut self, server: &mut Server, now_us: u64, battle: BattleId) {
        self.stagger(now_us, battle);
        let Some(room) = self.rooms.get_mut(&battle) else { return };
        let stats = |connection| server.stats(millis(now_us), connection);
        room.note_losses(now_us, |connection| stats(connection).map(|stats| stats.loss_permille));
        let started = (self.stopwatch_ns)();
        let before = room.battle().tick();
        let out = &mut self.out;
        match catch_unwind(AssertUnwindSafe(|| room.poll(now_us, out))) {
            Ok(end) => {
                let ticks = u64::from(room.battle().tick().since(before));
                let spent = (self.stopwatch_ns)().saturating_sub(started);
                if let Some(spent) = spent.checked_div(ticks) {
                    self.tick_ns.saturating_record_n(spent.clamp(1, TICK_NS_MAX), ticks);
                    server.set_tick(battle, room.battle().tick().0);
                }
                self.flush(server, now_us);
                if let Some(end) = end {
                    self.close_room(server, now_us, battle, end, true);
                }
            }
            Err(panic) => self.abort_panicked(server, now_us, battle, said(&*panic)),
        }
    }

    /// Ends a battle whose game panicked, and no other.
    fn abort_panicked(&mut self, server: &mut Server, now_us: u64, battle: BattleId, text: String) {
        self.panics += 1;
        let Some(room) = self.rooms.get_mut(&battle) else { return };
        let tick = room.battle().tick().0;
        warn!(%battle, tick, text, "the battle panicked and is aborted");
        room.report_panic(text);
        self.out.clear();
        self.end_room(server, now_us, battle, true);
    }

    /// Ends a battle before its outcome.
    fn end_room(&mut self, server: &mut Server, now_us: u64, battle: BattleId, is_result: bool) {
        let Some(room) = self.rooms.get_mut(&battle) else { return };
        let end = room.abort(&mut self.out);
        if !is_result {
            // It goes on elsewhere: nobody is told that it is over.
            self.out.clear();
        }
        self.flush(server, now_us);
        self.close_room(server, now_us, battle, end, is_result);
    }

    /// Takes a battle that is over out of the worker; its sessions close once they have what was sent.
    fn close_room(
        &mut self,
        server: &mut Server,
        now_us: u64,
        battle: BattleId,
        end: RoomEnd,
        is_result: bool,
    ) {
        let Some(room) = self.rooms.remove(&battle) else { return };
        let why = match end.ended {
            _ if !is_result => CloseReason::Draining,
            tiltyard_replay::Ended::Aborted => CloseReason::Aborted,
            tiltyard_replay::Ended::Finished | tiltyard_replay::Ended::Abandoned => CloseReason::Finished,
        };
        let ended = end.ended.name();
        room.span().in_scope(|| info!(ended, tick = end.tick.0, hash = %end.final_hash, "battle over"));
        server.forget(millis(now_us), battle, why);
        self.seated.retain(|_, sitting| sitting.battle != battle);
        self.gone = self.gone + room.counters();
        self.ended.push(EndedBattle { room, end, is_result });
    }

    fn take_events(&mut self, server: &mut Server, now_us: u64) {
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Connected(client) => self.events.push(Event::Connected(client)),
                ServerEvent::Disconnected { connection, reason, .. } => {
                    self.events.push(Event::Disconnected { connection, reason });
                }
                ServerEvent::Message { connection, bytes, .. } => {
                    // Judging an input is the game's doing, and the game may panic.
                    if let Some((battle, text)) = message(&mut self.rooms, &self.seated, connection, bytes) {
                        self.events.push(Event::Panicked { battle, text });
                    }
                }
            }
            while let Some(event) = self.events.pop() {
                match event {
                    Event::Connected(client) => self.connected(server, now_us, &client),
                    Event::Disconnected { connection, reason } => self.disconnected(connection, reason),
                    Event::Panicked { battle, text } => self.abort_panicked(server, now_us, battle, text),
                }
            }
        }
    }

    fn connected(&mut self, server: &mut Server, now_us: u64, client: &ConnectedClient) {
        let connection = client.connection;
        let Some(room) = self.rooms.get_mut(&client.battle) else { return };
        let seat = (client.role != Role::Spectator).then_some(Seat(client.seat));
        let comer = Client::new(connection, client.feed);
        let came = match seat {
            Some(seat) => room.join(seat, comer, now_us, &mut self.out),
            None => room.watch(comer, &mut self.out),
        };
        if !came {
            match seat {
                Some(seat) => {
                    warn!(battle = %client.battle, seat = seat.0, "a token names a seat that no player may take");
                }
                None => self.spectators_refused += 1,
            }
            server.close(millis(now_us), connection, CloseReason::Removed);
            return;
        }
        let player = client.player;
        let number = seat.map(|seat| seat.0);
        let span = info_span!(parent: room.span(), "connection", %connection, seat = number, player = format_args!("{player:016x}"));
        span.in_scope(
            || info!(from = %client.from, feed = ?client.feed, role = ?client.role, "client connected"),
        );
        self.seated.insert(connection, Sitting { battle: client.battle, seat, span });
        self.flush(server, now_us);
    }

    fn disconnected(&mut self, connection: ConnectionId, reason: CloseReason) {
        let Some(sitting) = self.seated.remove(&connection) else { return };
        sitting.span.in_scope(|| info!(%reason, "client disconnected"));
        if let Some(room) = self.rooms.get_mut(&sitting.battle) {
            match sitting.seat {
                Some(seat) => room.leave(seat, connection),
                None => room.unwatch(connection),
            }
        }
    }

    /// Hands what the rooms said to the sessions.
    fn flush(&mut self, server: &mut Server, now_us: u64) {
        let now = millis(now_us);
        for (connection, way, bytes) in self.out.iter() {
            // A session that takes no more was closed for it and tells so by its own event.
            let _ = match way {
                Way::Reliable => server.send_reliable(now, connection, bytes),
                Way::Feed => server.send_feed(now, connection, bytes).map(drop),
            };
        }
        self.out.clear();
    }
}

/// Gives a message to the room of its sender. Returns the battle, and what was said, if its game panicked.
fn message<G: Game>(
    rooms: &mut BTreeMap<BattleId, Room<G>>,
    seated: &BTreeMap<ConnectionId, Sitting>,
    connection: ConnectionId,
    bytes: &[u8],
) -> Option<(BattleId, String)> {
    let Sitting { battle, seat: own, .. } = *seated.get(&connection)?;
    let room = rooms.get_mut(&battle)?;
    match ToServer::parse(bytes) {
        Ok(message) => {
            let taken = catch_unwind(AssertUnwindSafe(|| match own {
                Some(own) => room.message(own, connection, &message),
                None => room.message_of_spectator(connection, &message),
            }));
            // The message is what a test of the mistake needs.
            let shown = |byte| format!("{byte:02x}");
            let shown = || bytes.iter().take(SHOWN_BYTES_MAX).map(shown).collect::<String>();
            let who = || own.map_or("a spectator".to_owned(), |seat| format!("seat {}", seat.0));
            taken.err().map(|panic| (battle, format!("{}; {} had sent {}", said(&*panic), who(), shown())))
        }
        Err(_) => {
            room.counters.messages_bad += 1;
            None
        }
    }
}

/// The words of a panic, as far as there are some.
fn said(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    words.unwrap_or("without words").chars().take(SAID_MAX).collect()
}

fn millis(now_us: u64) -> Millis {
    Millis(now_us / 1000)
}
