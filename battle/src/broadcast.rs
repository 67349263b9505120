//! Broadcast: what each client is told after a tick, on the feed it takes.
//!
//! Frame feed: the records of all ticks that the client has not acknowledged, with the newest state hash. Snapshot
//! feed: what the client's view sees of the newest state, against the newest baseline that it acknowledged. Who is too far behind, or asks,
//! gets a keyframe on the reliable lane.

use tiltyard_engine::snapshot::VIEW_FULL;
use tiltyard_engine::{Battle, Game, Record, Save, Seat, Tick, TickRecord, encode_keyframe};
use tiltyard_netcode::message::{End, FRAME_RUN_MAX, Frame, InputReport, Keyframe, Snapshot, Start};
use tiltyard_netcode::{ConnectionId, Epoch, Feed};

use crate::frame_log::FrameLog;
use crate::intake::Intake;
use crate::room::RoomEnd;
use crate::seats::{Client, Seats};
use crate::snapshots::Snapshots;

/// How a message wants to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It must arrive.
    Reliable,
    /// The newest counts; the session's policy chooses the lane.
    Feed,
}

/// Messages on their way to the sessions. The buffers are kept from tick to tick.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    messages: Vec<(ConnectionId, Way, std::ops::Range<usize>)>,
}

impl Outgoing {
    /// Adds a message.
    pub fn push(&mut self, connection: ConnectionId, way: Way, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.messages.push((connection, way, start..self.bytes.len()));
    }

    /// The messages in their order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, Way, &[u8])> {
        self.messages.iter().map(|(connection, way, bytes)| (*connection, *way, &self.bytes[bytes.clone()]))
    }

    /// Forgets all messages.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}

/// What a battle's clients are told.
#[derive(Debug)]
pub(crate) struct Broadcast {
    epoch: Epoch,
    spec: Vec<u8>,
    log: FrameLog,
    snapshots: Snapshots,
    save: Save,
    message: Vec<u8>,
}

impl Broadcast {
    /// Nothing was said yet.
    #[must_use]
    pub(crate) fn new<G: Game>(epoch: Epoch, battle: &Battle<G>) -> Self {
        let (spec, snapshots) = (battle.spec().shown().encode(), Snapshots::new(battle));
        let log = FrameLog::new(battle.spec().roster.len());
        Self { epoch, spec, log, snapshots, save: Save::default(), message: Vec::new() }
    }

    /// How many snapshots were made, and how many bodies were encoded for them.
    pub(crate) fn snapshots_and_bodies(&self) -> (u64, u64) {
        (self.snapshots.shown, self.snapshots.encoded)
    }

    /// Adds the newest tick's record to the log and returns its bytes.
    pub(crate) fn log<I: Record>(&mut self, record: &TickRecord<I>, previous: &TickRecord<I>) -> &[u8] {
        self.log.push(record, previous)
    }

    /// The record of the tick after `tick`, if there is one already.
    pub(crate) fn record_after(&self, tick: Tick) -> Option<&[u8]> {
        self.log.get(tick.next())
    }

    /// The newest state as a keyframe.
    pub(crate) fn keyframe<G: Game>(&mut self, battle: &Battle<G>, newest: &TickRecord<G::Input>) -> Vec<u8> {
        battle.save(&mut self.save);
        encode_keyframe(&self.save, newest)
    }

    /// Tells a new client what the battle started from and, for the frame feed, where it stands.
    pub(crate) fn welcome<G: Game>(
        &mut self,
        battle: &Battle<G>,
        newest: &TickRecord<G::Input>,
        client: &mut Client,
        out: &mut Outgoing,
    ) {
        if self.snapshots.was_short {
            client.not_before = battle.tick();
        }
        let rate_hz = battle.spec().terms.rate.hz();
        Start { epoch: self.epoch, tick: battle.tick().0, rate_hz, spec: &self.spec }
            .encode(&mut self.message);
        out.push(client.connection, Way::Reliable, &self.message);
        if client.feed == Feed::Frame {
            self.send_keyframe(battle, newest, client, out);
        }
    }

    /// Feeds all clients after a tick, but for those whose cadence leaves it out. After the battle's last tick no later message makes up for a lost one: that
    /// one goes [`Way::Reliable`].
    pub(crate) fn tick<G: Game>(
        &mut self,
        battle: &Battle<G>,
        newest: &TickRecord<G::Input>,
        seats: &mut Seats,
        intake: &mut Intake<G::Input>,
        way: Way,
        out: &mut Outgoing,
    ) {
        let rate = battle.spec().terms.rate;
        let mut taken = false;
        for (seat, client) in seats.clients() {
            if way == Way::Feed && !client.cadence.is_due(newest.tick) {
                continue;
            }
            let report = report(intake, seat, rate.hz());
            match client.feed {
                Feed::Snapshot => {
                    if !std::mem::replace(&mut taken, true) {
                        self.snapshots.take(battle);
                    }
                    if self.snapshot(battle, seat, client, report, way) {
                        out.push(client.connection, way, &self.message);
                    }
                }
                Feed::Frame => match self.next_for(client, rate.hz(), way) {
                    Next::Frames => {
                        self.frames(battle, client, report);
                        out.push(client.connection, way, &self.message);
                    }
                    Next::Keyframe => self.send_keyframe(battle, newest, client, out),
                    Next::Wait => {}
                },
            }
        }
    }

    /// Tells all clients that the battle is over.
    pub(crate) fn end(&mut self, end: &RoomEnd, seats: &mut Seats, out: &mut Outgoing) {
        let outcome = end.outcome.map(|outcome| outcome.to_bytes());
        let outcome = outcome.as_ref().map_or(&[][..], |bytes| bytes);
        for (_, client) in seats.clients() {
            // The whole state's hash would tell something of what a view hides.
            let state_hash = match client.told {
                (tick, hash) if tick == end.tick && client.feed == Feed::Snapshot => hash.0,
                _ if client.view == VIEW_FULL => end.final_hash.0,
                _ => 0,
            };
            End { epoch: self.epoch, tick: end.tick.0, state_hash, outcome }.encode(&mut self.message);
            out.push(client.connection, Way::Reliable, &self.message);
        }
    }

    /// Writes the snapshot for a client; says whether there is one.
    fn snapshot<G: Game>(
        &mut self,
        battle: &Battle<G>,
        seat: Option<Seat>,
        client: &mut Client,
        report: InputReport,
        way: Way,
    ) -> bool {
        let view = u32::from(client.view);
        let Some(shown) = self.snapshots.show(battle, seat, client, way) else { return false };
        let view_hash = shown.hash;
        let snapshot = Snapshot {
            epoch: self.epoch,
            tick: battle.tick().0,
            baseline: shown.baseline.map(|tick| tick.0),
            view,
            view_hash: view_hash.0,
            report,
            stale: shown.stale,
            shared: shown.shared,
            private: shown.private,
        };
        snapshot.encode(&mut self.message);
        client.told = (battle.tick(), view_hash);
        true
    }

    /// Writes the frames that a client does not hold.
    fn frames<G: Game>(&mut self, battle: &Battle<G>, client: &Client, report: InputReport) {
        let newest = self.log.newest();
        let log = &self.log;
        let missing = client.frames_held.0 + 1..newest.0 + 1;
        let run = missing.map(|tick| log.get(Tick(tick)).expect("the log goes back far enough"));
        Frame::encode(&mut self.message, self.epoch, newest.0, battle.state_hash().0, report, run);
    }

    fn send_keyframe<G: Game>(
        &mut self,
        battle: &Battle<G>,
        newest: &TickRecord<G::Input>,
        client: &mut Client,
        out: &mut Outgoing,
    ) {
        let state = self.keyframe(battle, newest);
        let (epoch, tick, state_hash) = (self.epoch, battle.tick().0, battle.state_hash().0);
        // The container holds the inputs as well.
        Keyframe { epoch, tick, state_hash, inputs: &[], state: &state }.encode(&mut self.message);
        out.push(client.connection, Way::Reliable, &self.message);
        client.frames_held = battle.tick();
        client.keyframe_sent = battle.tick();
        client.keyframe_wanted = false;
    }

    /// What a client on the frame feed gets. Keyframes are large: one a second at most, whatever the client says.
    fn next_for(&self, client: &Client, rate_hz: u16, way: Way) -> Next {
        let newest = self.log.newest();
        let behind = newest.since(client.frames_held) as usize;
        let allowed = way == Way::Reliable || newest.since(client.keyframe_sent) >= u32::from(rate_hz);
        match behind {
            0 => Next::Wait,
            _ if client.keyframe_wanted && allowed => Next::Keyframe,
            1..=FRAME_RUN_MAX => Next::Frames,
            _ if allowed => Next::Keyframe,
            _ => Next::Wait,
        }
    }
}

/// What a client on the frame feed gets.
enum Next {
    /// The records that it does not hold.
    Frames,
    /// The whole state.
    Keyframe,
    /// Nothing: it holds all there is, or had a keyframe just now.
    Wait,
}

/// What the sender of inputs is told of them; a spectator sends none.
fn report<I: Record>(intake: &mut Intake<I>, seat: Option<Seat>, rate_hz: u16) -> InputReport {
    let Some(seat) = seat else { return InputReport { newest_tick: None, lead_ms: 0 } };
    let (newest, ticks) = intake.report(seat);
    let lead_ms = i32::from(ticks) * 1000 / i32::from(rate_hz);
    let lead_ms = i16::try_from(lead_ms).unwrap_or(if lead_ms < 0 { i16::MIN } else { i16::MAX });
    InputReport { newest_tick: newest.map(|tick| tick.0), lead_ms }
}

const _: () = assert!(FRAME_RUN_MAX <= crate::frame_log::FRAMES_KEPT as usize, "the log covers every run");
