//! The pilot: what a player does with a session. It reads the feed into a mirror, lets a script decide, sends inputs
//! and acknowledgements, asks for what is missing, and comes back with the same token when the session breaks.
//!
//! ```text
//! Joining ──ACCEPT──▶ Joined ──END──▶ Ending ──CLOSE, or nothing more for a moment──▶ Over
//!    │                  │ ▲
//!    │    broken or stuck │ ACCEPT
//!    │                  ▼ │
//!    └──DENY, nobody──▶ Lost ──DENY, or too long──▶ Over
//! ```
//! It has no socket and no clock; the session that it works with is passed in, so that the same pilot serves
//! [`Player`](crate::Player) and a shell with a socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiltyard_engine::{Battle, Game, Seat, Tick};
use tiltyard_netcode::message::{Ask, INPUTS_RUN_MAX, InputReport};
use tiltyard_netcode::tick_sync::TickSync;
use tiltyard_netcode::token::Role;
use tiltyard_netcode::{Client, ClientEvent, CloseReason, DenyReason, Lane, Millis};

use crate::decisions::{Decisions, LEAD_TICKS_MAX, Pace};
use crate::mirror::Mirror;
use crate::prediction::Prediction;
use crate::predictor::Predictor;
use crate::reader::{FeedReader, Follows};
use crate::script::Script;
use crate::settings::PlayerSettings;
use crate::statistics::{Over, Place, Report, Traffic};

/// Unconfirmed inputs in each message on the datagram lane: with four, one message in a hundred thousand is missed
/// at 5 % loss. On the reliable lane each input is sent once.
const REDUNDANCY: usize = 4;

/// How long after a loss inputs are said twice, the second time half a tick later. A lost input that came again with the
/// next one alone would be too late for its tick, one time in five; so it has two more chances. The price is bytes, and
/// no latency: leading by a tick instead would miss more.
const LOSSY_MS: u64 = 10_000;

/// How long the pilot waits before it says again what may not have arrived while the node feeds nothing.
const SAY_AGAIN_MS: u64 = 100;

/// Pause between two asks for a keyframe, and the time that a node has to send the first by itself.
const ASK_KEYFRAME_MS: u64 = 2_000;

/// Pause between two asks for frames.
const ASK_FRAMES_MS: u64 = 300;

/// How long after END the session's close, and states still on their way, are waited for.
const LINGER_MS: u64 = 1_000;

/// How long a player bears that its session lives and shows nothing new, before it begins another one. KCP waits half as
/// long again before each resend: after seconds of a bad link what the feed waits for may be tens of seconds away, and a
/// new session has it within a round trip.
const STUCK_MS: u64 = 4_000;

/// The first pause before a session is taken up again; it doubles up to the largest.
const RETRY_MS: u64 = 250;

/// The largest pause between two tries.
const RETRY_MS_MAX: u64 = 2_000;

/// An own clock that is so many ticks ahead of what the node shows is set anew: the node stood still.
const AHEAD_TICKS_MAX: u32 = 45;

#[derive(Debug)]
enum Phase {
    Joining,
    Joined,
    Lost { until: Millis, retry_at: Option<Millis>, pause_ms: u64 },
    Ending { until: Millis },
    Over,
}

/// What a player does with a session.
pub struct Pilot<G: Game> {
    settings: PlayerSettings,
    began: Millis,
    phase: Phase,
    place: Option<Place>,
    /// A spectator decides nothing.
    plays: bool,
    reader: FeedReader<G>,
    decisions: Decisions<G>,
    sync: Option<TickSync>,
    predictor: Predictor<G>,
    /// A message is due, be it an acknowledgement alone.
    speaks: bool,
    spoke_at: Millis,
    joined_at: Millis,
    /// When the node last showed something new.
    shown_at: Millis,
    keyframe_asked_at: Option<Millis>,
    frames_asked_at: Option<Millis>,
    first_joined: Option<Millis>,
    /// The report's numbers, as far as they are kept here.
    report: Report,
    message: Vec<u8>,
    /// Packets of the session that the node missed.
    packets_lost: u64,
    /// Until when the link counts as one that loses.
    lossy_until: Millis,
    /// When the newest inputs are said a second time.
    repeat_at: Option<Millis>,
}

impl<G: Game> Pilot<G> {
    /// A pilot that waits for its session to be accepted.
    #[must_use]
    pub fn new(settings: PlayerSettings, script: Box<dyn Script<G>>, now: Millis) -> Self {
        Self {
            settings,
            began: now,
            phase: Phase::Joining,
            place: None,
            plays: false,
            reader: FeedReader::new(settings.feed),
            decisions: Decisions::new(script, settings.pace),
            sync: None,
            predictor: Predictor::new(settings.predicts && settings.pace == Pace::Prompt),
            speaks: false,
            spoke_at: Millis(0),
            joined_at: Millis(0),
            shown_at: Millis(0),
            keyframe_asked_at: None,
            frames_asked_at: None,
            first_joined: None,
            report: Report::default(),
            message: Vec::new(),
            packets_lost: 0,
            lossy_until: Millis(0),
            repeat_at: None,
        }
    }

    /// Takes what the session has to tell, and says what follows from it.
    pub fn handle_events(&mut self, now: Millis, client: &mut Client) {
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Accepted { battle, epoch, seat, team, role, rate_hz, .. } => {
                    let place = Place { battle, epoch, role, seat, team, rate_hz };
                    self.report.transport = client.transport_in_use();
                    self.accepted(now, place);
                }
                ClientEvent::Denied { reason } => self.denied(now, reason),
                ClientEvent::Message { lane, bytes } => self.hear(now, lane, bytes),
                ClientEvent::Closed { reason } => self.closed(now, reason),
            }
        }
        if let Some(stats) = client.stats(now) {
            self.report.rtt_ms = stats.round_trip_ms.or(self.report.rtt_ms);
            self.report.jitter_ms = stats.jitter_ms;
            if stats.packets_lost > self.packets_lost {
                self.lossy_until = now + LOSSY_MS;
            }
            self.packets_lost = stats.packets_lost;
        }
        if self.reader.unreadable().is_some() && self.report.over.is_none() {
            self.end(now, Over::Unreadable);
            client.close(now, CloseReason::Left);
        }
        self.speak(now, client);
    }

    /// Does what is due: decisions by the clock, saying things again, coming back.
    pub fn handle_timeout(&mut self, now: Millis, client: &mut Client) {
        let is_stuck = self.stuck_at().is_some_and(|at| now >= at);
        match &mut self.phase {
            Phase::Lost { until, .. } if now >= *until => {
                let joined = self.first_joined.is_some();
                let reason = if joined { CloseReason::TimedOut } else { CloseReason::Unreachable };
                self.end(now, Over::Closed(reason));
                client.close(now, CloseReason::Left);
            }
            Phase::Lost { retry_at, pause_ms, .. } if retry_at.is_some_and(|at| now >= at) => {
                *retry_at = None;
                *pause_ms = (*pause_ms * 2).min(RETRY_MS_MAX);
                client.reconnect(now, self.reader.acknowledged().map(|tick| tick.0));
            }
            Phase::Joined if is_stuck => {
                let until = now + self.settings.reconnect_for_ms;
                self.phase = Phase::Lost { until, retry_at: None, pause_ms: RETRY_MS };
                client.reconnect(now, self.reader.acknowledged().map(|tick| tick.0));
            }
            Phase::Ending { until } if now >= *until => self.settle(now, client),
            _ => {}
        }
        self.decide_by_clock(now);
        self.speak(now, client);
    }

    /// When [`Pilot::handle_timeout`] wants to be called next; nothing when all is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        let told = match &self.phase {
            Phase::Joining => None,
            Phase::Joined => {
                let again = self.spoke_at + SAY_AGAIN_MS;
                Some(self.stuck_at().map_or(again, |at| at.min(again)))
            }
            Phase::Lost { until, retry_at, .. } => Some(retry_at.map_or(*until, |at| at.min(*until))),
            Phase::Ending { until } => Some(*until),
            Phase::Over => None,
        };
        let decision = match (&self.phase, &self.sync) {
            (Phase::Joined, Some(sync)) => Some(sync.next_input_at()),
            _ => None,
        };
        [told, decision, self.repeat_at].into_iter().flatten().min()
    }

    /// Leaves the battle, which goes on; the token is good for coming back.
    pub fn leave(&mut self, now: Millis, client: &mut Client) {
        if self.report.over.is_none() {
            self.end(now, Over::Left);
        }
        client.close(now, CloseReason::Left);
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Who the player is, once a node took it.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The mirrored battle; nothing before START, and after a fault of the game.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror<G>> {
        self.reader.mirror()
    }

    /// What the player sees: the predicted battle while there is one, else the mirrored one.
    #[must_use]
    pub fn battle(&self) -> Option<&Battle<G>> {
        let predicted = self.prediction().and_then(Prediction::battle);
        predicted.or_else(|| Some(self.reader.mirror()?.battle()))
    }

    /// The prediction, of a player that predicts and plays.
    #[must_use]
    pub fn prediction(&self) -> Option<&Prediction<G>> {
        self.predictor.prediction()
    }

    /// The newest tick that the node showed; nothing before the first.
    #[must_use]
    pub fn newest_tick(&self) -> Option<Tick> {
        self.reader.shown()
    }

    /// What was seen and done so far.
    #[must_use]
    pub fn report(&self, now: Millis, client: &Client) -> Report {
        let counters = self.reader.counters;
        let mirror = self.reader.shown().and(self.reader.mirror());
        Report {
            place: self.place,
            over: self.report.over,
            ticks: counters.states,
            newest_tick: self.reader.shown(),
            state_hash: mirror.map(Mirror::state_hash),
            agrees: self.is_over().then(|| self.reader.agrees()).flatten(),
            desyncs: counters.desyncs,
            first_desync: self.reader.first_desync(),
            inputs: self.decisions.made(),
            input_to_state: self.decisions.input_to_state().clone(),
            traffic: Traffic { up: client.counters().bytes_out, down: client.counters().bytes_in },
            joined_ms: match self.first_joined {
                Some(since) if self.report.over.is_none() => now.since(since),
                Some(_) => self.report.joined_ms,
                None => 0,
            },
            prediction: self.predictor.report(),
            misread: counters.misread,
            outdated: counters.outdated,
            faults: counters.faults,
            ..self.report.clone()
        }
    }

    fn accepted(&mut self, now: Millis, place: Place) {
        if self.first_joined.is_some() {
            self.report.reconnects += 1;
        }
        self.first_joined.get_or_insert(now);
        if self.reader.follow(place.epoch) == Some(Follows::Anew) {
            self.start_over();
        }
        self.place = Some(place);
        self.plays = place.role != Role::Spectator;
        self.phase = Phase::Joined;
        self.sync = None;
        self.decisions.say_all_again();
        self.joined_at = now;
        self.shown_at = now;
        self.spoke_at = now;
        self.keyframe_asked_at = None;
    }

    fn denied(&mut self, now: Millis, reason: DenyReason) {
        self.end(now, Over::Refused(reason));
    }

    fn closed(&mut self, now: Millis, reason: CloseReason) {
        match (&mut self.phase, self.reader.ended()) {
            (Phase::Over, _) => {}
            (_, Some(ended)) => self.end(now, Over::Ended(ended)),
            (Phase::Lost { retry_at, pause_ms, .. }, None) => *retry_at = Some(now + *pause_ms),
            (Phase::Joining | Phase::Joined | Phase::Ending { .. }, None) => self.lost(now, reason),
        }
    }

    /// The session broke; whether coming back can help depends on why.
    fn lost(&mut self, now: Millis, reason: CloseReason) {
        let helps = matches!(
            reason,
            CloseReason::TimedOut
                | CloseReason::SlowReader
                | CloseReason::Draining
                | CloseReason::Lifetime
                | CloseReason::Unreachable
        );
        let until = match self.first_joined {
            Some(_) => now + self.settings.reconnect_for_ms,
            None => self.began + self.settings.connect_for_ms,
        };
        if !helps || now >= until {
            return self.end(now, Over::Closed(reason));
        }
        self.phase = Phase::Lost { until, retry_at: Some(now), pause_ms: RETRY_MS };
    }

    /// When the session counts as stuck, if the battle runs and sessions are taken up again at all.
    fn stuck_at(&self) -> Option<Millis> {
        let runs = self.reader.shown().is_some_and(|tick| tick > Tick::ZERO) && self.reader.ended().is_none();
        (runs && self.settings.reconnect_for_ms > 0).then(|| self.shown_at + STUCK_MS)
    }

    fn hear(&mut self, now: Millis, lane: Lane, bytes: &[u8]) {
        self.report.lane_bytes_down.add(lane, bytes.len());
        let Some((message, follows)) = self.reader.judge(bytes) else { return };
        if follows == Follows::Anew {
            self.start_over();
        }
        let (before, seat) = (self.reader.counters.states, self.seat());
        let decisions = &mut self.decisions;
        let report = self.reader.read(&message, |battle| {
            if let Some(seat) = seat {
                decisions.see(battle, seat);
            }
        });
        if let Some(report) = report {
            self.steer(now, report);
        }
        if self.reader.counters.states > before
            && let Some(tick) = self.reader.shown()
        {
            self.shown_at = now;
            self.decisions.shown(now, tick.0);
            self.keep_time(now, tick);
            if let (Some(seat), Some(mirror)) = (seat, self.reader.mirror()) {
                self.predictor.confirm(seat, mirror);
            }
            // With a clock, acknowledgements ride with the inputs: one message a tick.
            self.speaks |= self.sync.is_none() || !self.plays;
        }
        if self.reader.ended().is_some() && matches!(self.phase, Phase::Joined) {
            self.phase = Phase::Ending { until: now + LINGER_MS };
        }
    }

    fn steer(&mut self, now: Millis, report: InputReport) {
        let Some(newest) = report.newest_tick else { return };
        self.decisions.confirm(newest);
        if let Some(sync) = &mut self.sync {
            let round_trip_ms = self.report.rtt_ms.unwrap_or(0);
            sync.handle_report(now, report.lead_ms, round_trip_ms, self.report.jitter_ms);
        }
    }

    /// Sets the clock for decisions by the first tick that the node shows running, and again when it stood still.
    fn keep_time(&mut self, now: Millis, shown: Tick) {
        let (Pace::Prompt, Some(place)) = (self.decisions.pace(), &self.place) else { return };
        if shown == Tick::ZERO || place.rate_hz == 0 {
            return;
        }
        let ahead = self.sync.as_mut().map(|sync| i64::from(sync.input_tick(now)) - i64::from(shown.0));
        let round_trip_ticks = self.report.rtt_ms.unwrap_or(0) * u64::from(place.rate_hz) / 1000;
        let ahead_max = i64::from(AHEAD_TICKS_MAX) + i64::try_from(round_trip_ticks).unwrap_or(0);
        if ahead.is_none_or(|ahead| !(0..=ahead_max).contains(&ahead)) {
            let round_trip_ms = self.report.rtt_ms.unwrap_or(0);
            self.sync = Some(TickSync::new(now, shown.0, place.rate_hz, round_trip_ms));
        }
    }

    fn decide_by_clock(&mut self, now: Millis) {
        let (Phase::Joined, Some(seat)) = (&self.phase, self.seat()) else { return };
        let Some(mirror) = self.reader.mirror() else { return };
        let ticks = match &mut self.sync {
            Some(sync) => {
                let tick = sync.input_tick(now);
                tick..=tick
            }
            None => 1..=self.first_ticks(),
        };
        if self.decisions.is_decided(*ticks.end()) {
            return;
        }
        // Before the battle begins there is nothing to be seen of what comes.
        let until = self.sync.as_ref().map(|_| *ticks.end());
        if let Some(tick) = until {
            self.predictor.predict(now, tick.saturating_sub(1));
        }
        let (decisions, predictor) = (&mut self.decisions, &mut self.predictor);
        let decide = || {
            for tick in ticks {
                let predicted = predictor.prediction().and_then(Prediction::battle);
                if let Some(input) = decisions.decide(predicted.unwrap_or(mirror.battle()), seat, tick) {
                    predictor.say(tick, input);
                }
            }
        };
        if catch_unwind(AssertUnwindSafe(decide)).is_err() {
            self.reader.mirror_failed();
            self.predictor.forget();
        }
        if let Some(tick) = until {
            self.predictor.predict(now, tick);
        }
        self.speaks = true;
    }

    /// How many ticks will be made before the player can have seen the first of them and answered. Who is there before
    /// the battle begins decides for them in advance, or their inputs would be missing.
    fn first_ticks(&self) -> u32 {
        let (Pace::Prompt, Some(place), Some(Tick::ZERO)) =
            (self.decisions.pace(), &self.place, self.reader.shown())
        else {
            return 0;
        };
        let round_trip_ms = self.report.rtt_ms.unwrap_or(0);
        TickSync::new(Millis(0), 1, place.rate_hz.max(1), round_trip_ms)
            .input_tick(Millis(0))
            .min(LEAD_TICKS_MAX)
    }

    /// Says to the node what there is to say.
    fn speak(&mut self, now: Millis, client: &mut Client) {
        if !matches!(self.phase, Phase::Joined) || !client.is_connected() {
            return;
        }
        self.ask(now, client);
        let on_datagrams = client.stats(now).is_some_and(|stats| stats.feed_lane == Lane::Datagram);
        let quiet = now.since(self.spoke_at) >= SAY_AGAIN_MS;
        let again = quiet && on_datagrams && self.decisions.is_unconfirmed();
        let repeats = self.repeat_at.take_if(|at| now >= *at).is_some() && self.decisions.is_unconfirmed();
        if !self.speaks && !self.decisions.has_news() && !again && !repeats {
            if quiet {
                self.spoke_at = now;
            }
            return;
        }
        let redundancy = match (again, on_datagrams) {
            (true, _) => INPUTS_RUN_MAX,
            (false, true) => REDUNDANCY,
            (false, false) => 0,
        };
        let seat = self.place.map_or(0, |place| place.seat);
        let acknowledged = self.reader.acknowledged().map(|tick| tick.0);
        if on_datagrams && now < self.lossy_until && self.decisions.has_news() {
            let rate_hz = self.place.filter(|_| self.sync.is_some()).map_or(0, |place| place.rate_hz);
            self.repeat_at = 500_u64.checked_div(rate_hz.into()).map(|half_tick_ms| now + half_tick_ms);
        }
        self.decisions.encode(now, &mut self.message, seat, acknowledged, redundancy);
        // A session that takes no more says so by its own event.
        if let Ok(lane) = client.send_feed(now, &self.message) {
            self.report.lane_bytes_up.add(lane, self.message.len());
        }
        self.speaks = false;
        self.spoke_at = now;
    }

    /// Reports a desync; asks for a keyframe or for frames, not more often than it helps.
    fn ask(&mut self, now: Millis, client: &mut Client) {
        let wishes = std::mem::take(&mut self.reader.wishes);
        if let Some(desync) = wishes.desync {
            desync.encode(&mut self.message);
            self.send_reliably(now, client);
        }
        let is_lately = |asked: Option<Millis>, ms: u64| asked.is_some_and(|at| now.since(at) < ms);
        let waited = self.reader.is_out_of_step() && now.since(self.joined_at) >= ASK_KEYFRAME_MS;
        if (wishes.keyframe || waited) && !is_lately(self.keyframe_asked_at, ASK_KEYFRAME_MS) {
            let from_tick = self.reader.shown().map_or(0, |tick| tick.0);
            Ask::Keyframe { from_tick }.encode(&mut self.message);
            self.send_reliably(now, client);
            self.keyframe_asked_at = Some(now);
        }
        if let Some(from_tick) = wishes.frames_from
            && !is_lately(self.frames_asked_at, ASK_FRAMES_MS)
        {
            Ask::Frames { from_tick }.encode(&mut self.message);
            self.send_reliably(now, client);
            self.frames_asked_at = Some(now);
        }
    }

    fn send_reliably(&mut self, now: Millis, client: &mut Client) {
        if client.send_reliable(now, &self.message).is_ok() {
            self.report.lane_bytes_up.add(Lane::Reliable, self.message.len());
        }
    }

    /// END was heard and the session said nothing more.
    fn settle(&mut self, now: Millis, client: &mut Client) {
        if let Some(ended) = self.reader.ended() {
            self.end(now, Over::Ended(ended));
        }
        client.close(now, CloseReason::Left);
    }

    fn end(&mut self, now: Millis, over: Over) {
        self.phase = Phase::Over;
        self.sync = None;
        self.report.over = Some(over);
        self.report.joined_ms = self.first_joined.map_or(0, |since| now.since(since));
    }

    fn start_over(&mut self) {
        self.predictor.forget();
        self.decisions.start_over();
        self.sync = None;
    }

    fn seat(&self) -> Option<Seat> {
        self.place.filter(|_| self.plays).map(|place| Seat(place.seat))
    }
}
