//! The other end: a netcode server that hosts one battle the way a node does, as short as it can be said.

use std::collections::BTreeMap;

use tiltyard_engine::{
    Battle, BattleSpec, Game, Reason, Record, Save, Seat, SeatInput, StateHash, Tick, TickRecord,
    encode_keyframe, snapshot,
};
use tiltyard_netcode::message::{
    Ask, End, FRAME_RUN_MAX, Frame, InputReport, Keyframe, Snapshot, Start, ToServer,
};
use tiltyard_netcode::{
    BattleId, CloseReason, ConnectedClient, ConnectionId, Epoch, Feed, HostedBattle, Lane, Millis, Server,
    ServerConfig, ServerEvent,
};

/// How many ticks before their use inputs may come.
const AHEAD_MAX: u32 = 64;

/// How many states are kept as baselines.
const BASELINES: u32 = 32;

struct Guest {
    connection: ConnectionId,
    feed: Feed,
    acknowledged: Option<u32>,
    keyframe_wanted: bool,
}

/// What a host counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) inputs_in_time: u64,
    pub(crate) inputs_late: u64,
    pub(crate) inputs_missing: u64,
    pub(crate) desyncs: u64,
    pub(crate) keyframes_asked: u64,
    pub(crate) feeds_on_kcp: u64,
    pub(crate) feeds_on_datagrams: u64,
    pub(crate) joins: u64,
}

/// What a host does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The state hash of this tick is told wrongly.
    WrongHash(u32),
    /// Every feed message from this tick on comes as noise.
    Noise(u32),
}

pub(crate) struct Host<G: Game> {
    pub(crate) server: Server,
    pub(crate) battle: Battle<G>,
    pub(crate) hashes: Vec<StateHash>,
    /// The resolved inputs of every tick.
    pub(crate) played: Vec<Vec<SeatInput<G::Input>>>,
    pub(crate) heard: Heard,
    pub(crate) fault: Fault,
    pub(crate) epoch: Epoch,
    id: BattleId,
    hosted: HostedBattle,
    guests: BTreeMap<u16, Guest>,
    humans: usize,
    inputs: BTreeMap<(u16, u32), G::Input>,
    reports: BTreeMap<u16, InputReport>,
    last: Vec<(G::Input, u16)>,
    newest: TickRecord<G::Input>,
    records: Vec<Vec<u8>>,
    saves: Vec<Save>,
    begins: Option<Millis>,
    message: Vec<u8>,
}

impl<G: Game> Host<G> {
    pub(crate) fn new(config: ServerConfig, id: BattleId, hosted: HostedBattle, spec: BattleSpec<G>) -> Self {
        let mut server = Server::new(config, [7; 32]);
        server.host(id, hosted.clone());
        let seats = spec.roster.len();
        let human = |seat: &tiltyard_engine::RosterSeat| seat.role == tiltyard_engine::SeatRole::Human;
        Self {
            server,
            hashes: Vec::new(),
            played: Vec::new(),
            heard: Heard::default(),
            fault: Fault::None,
            epoch: hosted.epoch,
            id,
            hosted,
            guests: BTreeMap::new(),
            humans: spec.roster.seats.iter().filter(|seat| human(seat)).count(),
            inputs: BTreeMap::new(),
            reports: BTreeMap::new(),
            last: vec![(G::Input::default(), 0); seats],
            newest: TickRecord::neutral(Tick::ZERO, seats),
            records: Vec::new(),
            saves: vec![Save::default(); BASELINES as usize],
            begins: None,
            message: Vec::new(),
            battle: Battle::new(spec).expect("the spec is sound"),
        }
    }

    /// Takes in what the server has to tell, and makes the ticks that are due.
    pub(crate) fn turn(&mut self, now: Millis) {
        self.server.handle_timeout(now);
        while self.take_event(now) {}
        while self.begins.is_some_and(|begins| {
            let rate = u64::from(self.battle.spec().terms.rate.hz());
            now.0 >= begins.0 + u64::from(self.battle.tick().0) * 1000 / rate
        }) {
            self.make_tick();
            self.feed(now);
            if self.battle.outcome().is_some() {
                self.end(now);
            }
        }
    }

    /// Goes on as another copy of the battle, under a higher epoch, from an earlier state.
    pub(crate) fn take_over(&mut self, now: Millis, back: u32) {
        let keep = self.battle.tick().0.saturating_sub(back);
        let spec = self.battle.spec().clone();
        self.battle = Battle::new(spec).expect("it started once");
        self.newest = TickRecord::neutral(Tick::ZERO, self.last.len());
        self.records.truncate(keep as usize);
        self.hashes.truncate(keep as usize);
        self.played.truncate(keep as usize);
        for record in &self.records {
            self.newest.advance(record).expect("an own record");
            self.battle.step(&self.newest);
        }
        self.begins = Some(Millis(now.0 - u64::from(keep) * 1000 / 30));
        self.inputs.clear();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.hosted.epoch = self.epoch;
        self.server.host(self.id, self.hosted.clone());
        for seat in self.guests.keys().copied().collect::<Vec<_>>() {
            self.welcome(now, seat);
        }
    }

    /// Says a message to everybody as a feed says it.
    pub(crate) fn say_to_all(&mut self, now: Millis, message: &[u8]) {
        for guest in self.guests.values() {
            // As at a node: a session that is ending, or has no room, goes without.
            let _ = self.server.send_feed(now, guest.connection, message);
        }
    }

    /// Hosts a battle of another version of the game.
    pub(crate) fn speak_another_protocol(&mut self) {
        self.hosted.protocol_hash = [0xEE; 16];
        self.server.host(self.id, self.hosted.clone());
    }

    /// Gives up the sessions without a word, as a node that was killed.
    pub(crate) fn lose_memory(&mut self, config: ServerConfig) {
        self.server = Server::new(config, [8; 32]);
        self.server.host(self.id, self.hosted.clone());
        self.guests.clear();
    }

    fn take_event(&mut self, now: Millis) -> bool {
        let mut joined = None;
        match self.server.poll_event() {
            None => return false,
            Some(ServerEvent::Connected(client)) => joined = Some(*client),
            Some(ServerEvent::Disconnected { connection, seat, .. }) => {
                if self.guests.get(&seat).is_some_and(|guest| guest.connection == connection) {
                    self.guests.remove(&seat);
                }
            }
            Some(ServerEvent::Message { connection, bytes, .. }) => {
                let made = self.battle.tick().0;
                let found = self.guests.iter_mut().find(|(_, guest)| guest.connection == connection);
                let Some((&seat, guest)) = found else { return true };
                match ToServer::parse(bytes).expect("a client of ours") {
                    ToServer::Inputs(inputs) => {
                        assert_eq!(inputs.seat, seat);
                        // What was acknowledged to a copy of the battle that was further counts for nothing.
                        let held = inputs.acknowledged.filter(|tick| *tick <= made);
                        guest.acknowledged = guest.acknowledged.max(held);
                        for (tick, bytes) in inputs.run() {
                            let input = G::Input::parse(bytes).expect("an input");
                            assert!(G::check(&input));
                            let report = self.reports.entry(seat).or_default();
                            let lead = (i64::from(tick) - i64::from(made) - 1) as i16;
                            if tick <= made {
                                let known = self.played[tick as usize - 1][usize::from(seat)];
                                if known.reason != Reason::Arrived {
                                    self.heard.inputs_late += 1;
                                    report.lead_ms = report.lead_ms.min(lead * 33);
                                }
                                continue;
                            }
                            assert!(tick - made <= AHEAD_MAX, "an input for {tick} at {made}");
                            let known = self.inputs.insert((seat, tick), input);
                            if known.is_none() {
                                self.heard.inputs_in_time += 1;
                                report.lead_ms = lead * 33;
                                report.newest_tick = report.newest_tick.max(Some(tick));
                            }
                            assert!(known.is_none_or(|known| known == input), "an input changed");
                        }
                    }
                    ToServer::Ask(Ask::Keyframe { .. }) => {
                        self.heard.keyframes_asked += 1;
                        guest.keyframe_wanted = true;
                    }
                    ToServer::Ask(Ask::Frames { from_tick }) => {
                        guest.acknowledged = Some(from_tick.saturating_sub(1));
                    }
                    ToServer::Desync(_) => self.heard.desyncs += 1,
                }
            }
        }
        if let Some(client) = joined {
            self.join(now, &client);
        }
        true
    }

    fn join(&mut self, now: Millis, client: &ConnectedClient) {
        self.heard.joins += 1;
        let guest = Guest {
            connection: client.connection,
            feed: client.feed,
            acknowledged: None,
            keyframe_wanted: false,
        };
        self.guests.insert(client.seat, guest);
        self.welcome(now, client.seat);
        if self.guests.len() == self.humans && self.begins.is_none() {
            // Half a second, so that the first inputs of the last one are here in time.
            self.begins = Some(now + 500);
        }
    }

    fn welcome(&mut self, now: Millis, seat: u16) {
        let spec = self.battle.spec().encode();
        let start = Start { epoch: self.epoch, tick: self.battle.tick().0, rate_hz: 30, spec: &spec };
        start.encode(&mut self.message);
        let guest = self.guests.get_mut(&seat).expect("it just came");
        guest.acknowledged = None;
        // As at a node: a session that is ending gets no more.
        let _ = self.server.send_reliable(now, guest.connection, &self.message);
        if guest.feed == Feed::Frame {
            self.send_keyframe(now, seat);
        }
    }

    fn send_keyframe(&mut self, now: Millis, seat: u16) {
        let mut save = Save::default();
        self.battle.save(&mut save);
        let (tick, state) = (self.battle.tick().0, encode_keyframe(&save, &self.newest));
        let state_hash = self.battle.state_hash().0;
        Keyframe { epoch: self.epoch, tick, state_hash, inputs: &[], state: &state }
            .encode(&mut self.message);
        let guest = self.guests.get_mut(&seat).expect("it is here");
        guest.acknowledged = Some(tick);
        guest.keyframe_wanted = false;
        // As at a node: a session that is ending gets no more.
        let _ = self.server.send_reliable(now, guest.connection, &self.message);
    }

    fn make_tick(&mut self) {
        let tick = self.battle.tick().next();
        let mut record = TickRecord::neutral(tick, 0);
        for (seat, entry) in self.battle.spec().roster.iter() {
            if entry.role == tiltyard_engine::SeatRole::Bot {
                record.inputs.push(SeatInput { input: self.battle.bot_input(seat), reason: Reason::Bot });
                continue;
            }
            let (last, silent) = &mut self.last[seat.index()];
            let reason = match self.inputs.remove(&(seat.0, tick.0)) {
                Some(input) => {
                    (*last, *silent) = (input, 0);
                    Reason::Arrived
                }
                None => {
                    self.heard.inputs_missing += 1;
                    *silent += 1;
                    *last = G::missing(last, *silent);
                    Reason::Repeated
                }
            };
            record.inputs.push(SeatInput { input: *last, reason });
        }
        let mut bytes = Vec::new();
        record.encode(&self.newest, &mut bytes);
        self.hashes.push(self.battle.step(&record));
        self.played.push(record.inputs.clone());
        self.records.push(bytes);
        self.newest = record;
        self.battle.save(&mut self.saves[(tick.0 % BASELINES) as usize]);
        self.server.set_tick(self.id, tick.0);
    }

    fn feed(&mut self, now: Millis) {
        let tick = self.battle.tick().0;
        let told = match self.fault {
            Fault::WrongHash(at) if at == tick => StateHash(!self.battle.state_hash().0),
            _ => self.battle.state_hash(),
        };
        for seat in self.guests.keys().copied().collect::<Vec<_>>() {
            let guest = &self.guests[&seat];
            let report = self.reports.get(&seat).copied().unwrap_or_default();
            match guest.feed {
                Feed::Snapshot => {
                    let held = |at: &u32| {
                        let save = &self.saves[(at % BASELINES) as usize];
                        *at < tick && save.tick().0 == *at && !save.is_empty()
                    };
                    let baseline = guest.acknowledged.filter(held);
                    let save = |at: u32| &self.saves[(at % BASELINES) as usize];
                    let mut shared = Vec::new();
                    let (registry, rate) = (self.battle.world().registry(), self.battle.spec().terms.rate);
                    snapshot::encode(registry, rate, save(tick), baseline.map(save), &mut shared);
                    Snapshot {
                        epoch: self.epoch,
                        tick,
                        baseline,
                        view: 0,
                        view_hash: told.0,
                        report,
                        stale: &[],
                        shared: &shared,
                        private: &[],
                    }
                    .encode(&mut self.message);
                }
                Feed::Frame => {
                    let held = guest.acknowledged.unwrap_or(0);
                    if guest.keyframe_wanted || (tick - held) as usize > FRAME_RUN_MAX {
                        self.send_keyframe(now, seat);
                        continue;
                    }
                    let run = self.records[held as usize..].iter().map(Vec::as_slice);
                    Frame::encode(&mut self.message, self.epoch, tick, told.0, report, run);
                }
            }
            if matches!(self.fault, Fault::Noise(from) if tick >= from) {
                for (index, byte) in self.message.iter_mut().enumerate().skip(9) {
                    *byte = byte.wrapping_mul(31).wrapping_add((tick as usize + index) as u8);
                }
            }
            match self.server.send_feed(now, self.guests[&seat].connection, &self.message) {
                Ok(Lane::Reliable) => self.heard.feeds_on_kcp += 1,
                Ok(Lane::Datagram) => self.heard.feeds_on_datagrams += 1,
                Err(_) => {}
            }
        }
    }

    fn end(&mut self, now: Millis) {
        self.begins = None;
        let outcome = self.battle.outcome().expect("it is over").to_bytes();
        let (tick, state_hash) = (self.battle.tick().0, self.battle.state_hash().0);
        End { epoch: self.epoch, tick, state_hash, outcome: &outcome }.encode(&mut self.message);
        for guest in self.guests.values() {
            // As at a node: a session that is ending gets no more.
            let _ = self.server.send_reliable(now, guest.connection, &self.message);
        }
        self.server.forget(now, self.id, CloseReason::Finished);
    }

    /// What a seat did in a tick.
    pub(crate) fn input(&self, seat: Seat, tick: u32) -> Option<SeatInput<G::Input>> {
        self.played.get(tick.checked_sub(1)? as usize)?.get(seat.index()).copied()
    }
}
