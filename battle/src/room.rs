//! A room: one battle with its seats, its intake, its log and its feeds. It has no socket, no clock and no thread:
//! time comes in, messages go out through the worker.
//!
//! ```text
//! Waiting ──all players joined and counted down, or the wait is over──▶ Running ──outcome──▶ Over
//!    └─────nobody joined before the deadline─────────────────────────────────────────────────▲
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiltyard_engine::screen::Canvas;
use tiltyard_engine::snapshot::VIEW_FULL;
use tiltyard_engine::{Battle, BattleSpec, Game, Outcome, Seat, StateHash, Tick, TickRecord};
use tiltyard_netcode::message::{Ask, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};
use tiltyard_replay::{Ended, encode_picture};
use tracing::{Span, info_span, warn};

use crate::broadcast::{Broadcast, Outgoing, Way};
use crate::chance::Chance;
use crate::intake::{Filed, Intake};
use crate::mishap::Mishap;
use crate::pacer::Pacer;
use crate::recording::{RoomRecording, Then};
use crate::seats::{Client, Seats};

/// Columns of the pictures in a recording: a terminal's.
const SNAPSHOT_COLUMNS: u16 = 80;

/// Rows of the pictures in a recording: a terminal's, without the lines that `replay play` adds.
const SNAPSHOT_ROWS: u16 = 18;

/// How a room is run.
#[derive(Clone, Copy, Debug)]
pub struct RoomSettings {
    /// How long players are waited for, in milliseconds from the reservation; then the battle begins with those who
    /// are there, or is abandoned if nobody is.
    pub wait_ms: u32,
    /// Time between the last player's coming and the first tick, in milliseconds: enough for everybody to learn of
    /// the battle and to say what it does first.
    pub countdown_ms: u32,
    /// Ticks between two keyframes of the recording.
    pub keyframe_ticks: u32,
    /// Ticks between two pictures in the recording, for builds that cannot compute it; 0 for none. Each is drawn within
    /// its tick.
    pub snapshot_ticks: u32,
    /// Ticks that a late battle may catch up at once.
    pub catch_up_max: u32,
}

crate::tally::tally! {
    /// What is counted in a room.
    pub struct RoomCounters {
        /// Inputs that came in time and were the first for their tick.
        inputs_taken,
        /// Inputs whose tick was made already, without them.
        inputs_late,
        /// Inputs too far ahead.
        inputs_early,
        /// Inputs for a tick that had one: clients send each input more than once.
        inputs_double,
        /// Inputs that were no input, or that the game refused.
        inputs_bad,
        /// Inputs for a seat that is not the sender's; of spectators all.
        inputs_foreign,
        /// Messages that could not be read.
        messages_bad,
        /// Inputs of players that were missing when their tick was made.
        inputs_missing,
        /// Ticks made a whole period late or more.
        late_ticks,
        /// Milliseconds taken out of the schedule because the battle could not catch up.
        dropped_ms,
        /// Reports of clients whose state differed.
        desyncs,
        /// Snapshots that were sent.
        snapshots,
        /// Bodies that were encoded for them: clients of one view that acknowledged the same tick share one.
        bodies,
    }
}

/// How a battle ended, for whoever settles it.
#[derive(Clone, Debug)]
pub struct RoomEnd {
    /// How it came to its end.
    pub ended: Ended,
    /// Its outcome, if it was played to one.
    pub outcome: Option<Outcome>,
    /// Its last tick.
    pub tick: Tick,
    /// The state hash after it.
    pub final_hash: StateHash,
}

#[derive(Debug)]
enum Phase {
    Waiting { until_us: u64 },
    Running(Pacer),
    Over,
}

/// One battle on a worker.
pub struct Room<G: Game> {
    battle: Battle<G>,
    id: BattleId,
    epoch: Epoch,
    settings: RoomSettings,
    phase: Phase,
    /// The first tick is not made earlier.
    not_before_us: u64,
    /// When the clients' losses are looked at again.
    losses_at_us: u64,
    pub(crate) seats: Seats,
    intake: Intake<G::Input>,
    /// The record of the newest tick.
    newest: TickRecord<G::Input>,
    /// The record that is being made.
    next: TickRecord<G::Input>,
    chance: Chance,
    broadcast: Broadcast,
    recording: Option<RoomRecording>,
    pub(crate) counters: RoomCounters,
    span: Span,
}

impl<G: Game> Room<G> {
    /// A room for a battle; its players are waited for once [`Room::open`] was called.
    ///
    /// # Errors
    /// If the battle cannot start from its spec.
    pub fn new(
        id: BattleId,
        epoch: Epoch,
        spec: BattleSpec<G>,
        settings: RoomSettings,
    ) -> Result<Self, tiltyard_engine::StartError> {
        let seats = Seats::new(&spec.roster);
        let count = spec.roster.len();
        let battle = Battle::new(spec)?;
        let broadcast = Broadcast::new(epoch, &battle);
        Ok(Self {
            battle,
            id,
            epoch,
            settings,
            phase: Phase::Waiting { until_us: u64::MAX },
            not_before_us: 0,
            losses_at_us: 0,
            seats,
            intake: Intake::new(count),
            newest: TickRecord::neutral(Tick::ZERO, count),
            next: TickRecord::neutral(Tick::ZERO, count),
            chance: Chance::new(),
            broadcast,
            recording: None,
            counters: RoomCounters::default(),
            span: info_span!("room", battle = %id, epoch = epoch.0),
        })
    }

    /// Records the battle from its first tick on.
    ///
    /// # Panics
    /// If the battle has begun.
    pub fn record(&mut self, recording: RoomRecording) {
        assert_eq!(self.battle.tick(), Tick::ZERO, "a recording begins with the battle");
        self.recording = Some(recording);
    }

    /// Draws the battle's chance ([`Game::CHANCE`]) from this secret, so that it comes out the same again; else it is
    /// nobody's to know. Only good before the first tick.
    pub fn draw_from(&mut self, secret: [u8; 32]) {
        self.chance = Chance::of(secret);
    }

    /// Waits for players from `now_us` on.
    pub fn open(&mut self, now_us: u64) {
        if let Phase::Waiting { until_us } = &mut self.phase {
            *until_us = now_us + u64::from(self.settings.wait_ms) * 1000;
        }
    }

    /// Keeps the first tick from being made before `start_us`. Does nothing once the battle runs.
    pub(crate) fn begin_not_before(&mut self, start_us: u64) {
        self.not_before_us = start_us;
    }

    /// When the next tick is due of a battle that runs, in microseconds.
    pub(crate) fn next_tick_us(&self) -> Option<u64> {
        match &self.phase {
            Phase::Running(pacer) => Some(pacer.next_us()),
            Phase::Waiting { .. } | Phase::Over => None,
        }
    }

    /// Looks, once a second, at what share of packets gets lost on the way to each client, in thousandths, and feeds
    /// those less often who lose much.
    pub(crate) fn note_losses(&mut self, now_us: u64, loss_permille: impl Fn(ConnectionId) -> Option<u16>) {
        if now_us < self.losses_at_us {
            return;
        }
        self.losses_at_us = now_us + 1_000_000;
        for (_, client) in self.seats.clients() {
            if let Some(loss_permille) = loss_permille(client.connection) {
                client.cadence.note_second(loss_permille);
            }
        }
    }

    /// How many seats have somebody connected.
    #[must_use]
    pub fn seats_used(&self) -> u16 {
        self.seats.connected() as u16
    }

    /// What log lines about the battle stand under.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The battle's id.
    #[must_use]
    pub fn id(&self) -> BattleId {
        self.id
    }

    /// The epoch under which the battle is run here.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The battle.
    #[must_use]
    pub fn battle(&self) -> &Battle<G> {
        &self.battle
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> RoomCounters {
        let (snapshots, bodies) = self.broadcast.snapshots_and_bodies();
        let counters = RoomCounters { snapshots, bodies, ..self.counters };
        match &self.phase {
            Phase::Running(pacer) => RoomCounters {
                late_ticks: pacer.late_ticks(),
                dropped_ms: pacer.dropped_us() / 1000,
                ..counters
            },
            Phase::Waiting { .. } | Phase::Over => counters,
        }
    }

    /// Whether the battle is over and all was said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// When [`Room::poll`] wants to be called next, in microseconds.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        match &self.phase {
            Phase::Waiting { until_us } => *until_us,
            Phase::Running(pacer) => pacer.next_us(),
            Phase::Over => u64::MAX,
        }
    }

    /// A client takes its seat: it is told what the battle started from and, for the frame feed, where it stands.
    /// Returns false if no player may sit there, or the feed would tell what the battle hides.
    pub fn join(&mut self, seat: Seat, mut client: Client, now_us: u64, out: &mut Outgoing) -> bool {
        if !self.seats.is_for_player(seat) || !self.may_take(client.feed) {
            return false;
        }
        client.view = G::view(self.battle.spec(), Some(seat));
        self.broadcast.welcome(&self.battle, &self.newest, &mut client, out);
        self.seats.join(seat, client);
        if let Phase::Waiting { until_us } = &mut self.phase
            && self.seats.joined() == self.seats.humans()
        {
            *until_us = now_us + u64::from(self.settings.countdown_ms) * 1000;
        }
        true
    }

    /// A client looks on, from where the battle is, without a seat. Returns false if nobody more may.
    pub fn watch(&mut self, mut client: Client, out: &mut Outgoing) -> bool {
        if !self.seats.may_watch() || !self.may_take(client.feed) {
            return false;
        }
        client.view = G::view(self.battle.spec(), None);
        self.broadcast.welcome(&self.battle, &self.newest, &mut client, out);
        self.seats.watch(client);
        true
    }

    /// Who takes the frame feed knows everything.
    fn may_take(&self, feed: Feed) -> bool {
        feed == Feed::Snapshot || !self.hides()
    }

    /// Whether some seat may not see all of the battle: nobody gets the frame feed.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.battle.spec().hides()
    }

    /// A spectator's connection is over.
    pub fn unwatch(&mut self, connection: ConnectionId) {
        self.seats.unwatch(connection);
    }

    /// Takes a message of a spectator: it may say what it has and ask for more, and moves nobody.
    pub fn message_of_spectator(&mut self, connection: ConnectionId, message: &ToServer<'_>) {
        let newest = self.battle.tick();
        let Some(client) = self.seats.spectator(connection) else { return };
        hear(client, newest, message);
        match message {
            ToServer::Inputs(inputs) => self.counters.inputs_foreign += inputs.run().count() as u64,
            ToServer::Desync(_) => self.counters.desyncs += 1,
            ToServer::Ask(_) => {}
        }
    }

    /// A connection is over; the seat plays on by the game's rule.
    pub fn leave(&mut self, seat: Seat, connection: ConnectionId) {
        self.seats.leave(seat, connection);
    }

    /// Takes a message of the client that holds the seat `own` over `connection`.
    pub fn message(&mut self, own: Seat, connection: ConnectionId, message: &ToServer<'_>) {
        let newest = self.battle.tick();
        let Some(client) = self.seats.client(own, connection) else { return };
        hear(client, newest, message);
        // Nor has a recording the hash of what one client alone was told.
        let is_alone = client.shortage.is_some();
        match message {
            ToServer::Inputs(inputs) => {
                for (tick, bytes) in inputs.run() {
                    self.file_input(own, Seat(inputs.seat), Tick(tick), bytes);
                }
            }
            ToServer::Ask(_) => {}
            ToServer::Desync(desync) => {
                let is_first = self.seats.note_desync(own);
                self.desync(own, Tick(desync.tick), StateHash(desync.state_hash), is_first && !is_alone);
            }
        }
    }

    /// A client came to another state than we. Of each seat the first time is reported, as the next may follow from it;
    /// but not of a view that hides something, whose hashes no recording has.
    fn desync(&mut self, seat: Seat, tick: Tick, hash: StateHash, is_first: bool) {
        self.counters.desyncs += 1;
        if !is_first || tick > self.newest.tick {
            return;
        }
        self.span.in_scope(|| warn!(seat = seat.0, tick = tick.0, "a client's state differs from ours"));
        let is_whole = G::view(self.battle.spec(), Some(seat)) == VIEW_FULL;
        if let (Some(recording), true) = (&mut self.recording, is_whole) {
            recording.report(Mishap::Desync { seat, tick, hash });
        }
    }

    /// Asks for a report on a panic of the game, which said `text`.
    pub(crate) fn report_panic(&mut self, text: String) {
        let Some(recording) = &mut self.recording else { return };
        let tick = self.newest.tick;
        let unfinished = self.broadcast.record_after(tick).map(<[u8]>::to_vec);
        recording.report(Mishap::Panic { tick, unfinished, text });
    }

    /// Files one input that the client of `own` sent for `seat`.
    fn file_input(&mut self, own: Seat, seat: Seat, tick: Tick, bytes: &[u8]) {
        let counters = &mut self.counters;
        if own != seat {
            counters.inputs_foreign += 1;
            return;
        }
        let counter = match self.intake.file::<G>(self.battle.tick(), seat, tick, bytes) {
            Filed::Taken => &mut counters.inputs_taken,
            Filed::Late => &mut counters.inputs_late,
            Filed::Early => &mut counters.inputs_early,
            Filed::Double => &mut counters.inputs_double,
            Filed::Malformed | Filed::Senseless => &mut counters.inputs_bad,
        };
        *counter += 1;
    }

    /// Does what is due at `now_us`: begins, makes ticks, feeds the clients. Returns how the battle ended, in the
    /// call in which it does.
    pub fn poll(&mut self, now_us: u64, out: &mut Outgoing) -> Option<RoomEnd> {
        if let Phase::Waiting { until_us } = self.phase {
            if now_us < until_us {
                return None;
            }
            if self.seats.humans() > 0 && self.seats.joined() == 0 {
                return Some(self.end(Ended::Abandoned, out));
            }
            let rate_hz = self.battle.spec().terms.rate.hz();
            let start_us = now_us.max(self.not_before_us);
            self.phase = Phase::Running(Pacer::new(rate_hz, start_us, self.settings.catch_up_max));
        }
        let Phase::Running(pacer) = &mut self.phase else { return None };
        let due = pacer.take_due(now_us);
        for _ in 0..due.ticks {
            self.make_tick();
            let is_last = self.battle.outcome().is_some();
            // Every tick is told, also when catching up: who decides on states alone must see each of them.
            self.feed(if is_last { Way::Reliable } else { Way::Feed }, out);
            if is_last {
                return Some(self.end(Ended::Finished, out));
            }
        }
        None
    }

    /// Ends the battle before its outcome.
    pub fn abort(&mut self, out: &mut Outgoing) -> RoomEnd {
        self.end(Ended::Aborted, out)
    }

    /// Takes the recording out of the room, to be closed.
    pub fn close_recording(&mut self, end: &RoomEnd, then: Then) {
        let outcome = end.outcome.map(|outcome| outcome.to_bytes().to_vec()).unwrap_or_default();
        match self.recording.take() {
            Some(recording) => recording.finish(end.ended, outcome, end.final_hash.0, then),
            None => then(None),
        }
    }

    fn make_tick(&mut self) {
        self.next.tick = self.battle.tick().next();
        self.seats.take_commands(&mut self.next.commands);
        if G::CHANCE {
            self.next.commands.push(self.chance.at(self.next.tick));
        }
        self.counters.inputs_missing += self.intake.resolve(&self.battle, &mut self.next);
        let bytes = self.broadcast.log(&self.next, &self.newest);
        let hash = self.battle.step(&self.next);
        std::mem::swap(&mut self.newest, &mut self.next);
        let tick = self.newest.tick.0;
        if let Some(recording) = &mut self.recording {
            recording.tick(tick, bytes, hash.0);
            if tick.is_multiple_of(self.settings.keyframe_ticks) {
                let state = self.broadcast.keyframe(&self.battle, &self.newest);
                recording.keyframe(tick, state, self.battle.hashes().parts());
            }
            // No tick is a multiple of 0.
            if tick.is_multiple_of(self.settings.snapshot_ticks) {
                match catch_unwind(AssertUnwindSafe(|| picture(&self.battle))) {
                    Ok(picture) => recording.snapshot(picture),
                    Err(_) => {
                        // Who cannot be drawn can still be played.
                        self.settings.snapshot_ticks = 0;
                        self.span.in_scope(|| warn!(tick, "the game panicked in drawing: no more pictures"));
                    }
                }
            }
        }
    }

    fn feed(&mut self, way: Way, out: &mut Outgoing) {
        self.broadcast.tick(&self.battle, &self.newest, &mut self.seats, &mut self.intake, way, out);
    }

    fn end(&mut self, ended: Ended, out: &mut Outgoing) -> RoomEnd {
        self.counters = self.counters();
        self.phase = Phase::Over;
        let outcome = if ended == Ended::Finished { self.battle.outcome() } else { None };
        // The battle's own tick is one that was not finished, if the game panicked in it.
        let end = RoomEnd { ended, outcome, tick: self.newest.tick, final_hash: self.battle.state_hash() };
        self.broadcast.end(&end, &mut self.seats, out);
        end
    }
}

/// The picture of the newest tick for who looks on, as the recording takes it.
fn picture<G: Game>(battle: &Battle<G>) -> Vec<u8> {
    let mut canvas = Canvas::new(SNAPSHOT_COLUMNS, SNAPSHOT_ROWS);
    G::picture(battle, None, &mut canvas);
    encode_picture(&canvas)
}

/// What every client may say, whether it has a seat or not: how far it is, and what it lacks.
fn hear(client: &mut Client, newest: Tick, message: &ToServer<'_>) {
    match message {
        ToServer::Inputs(inputs) => {
            if let Some(held) = inputs.acknowledged {
                client.acknowledge(Tick(held), newest);
            }
        }
        ToServer::Ask(Ask::Keyframe { .. }) => client.want_whole_state(),
        // What it holds ends before the gap; the next frame begins there.
        ToServer::Ask(Ask::Frames { from_tick }) => {
            client.frames_held = Tick(from_tick.saturating_sub(1)).min(client.frames_held);
        }
        ToServer::Desync(_) => {}
    }
}
