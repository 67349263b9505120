//! Rooms without sockets, clocks or threads.

use tiltyard_battle::{Client, Outgoing, Room, RoomSettings, Way};
use tiltyard_engine::{Battle, Reason, Seat, StateHash, Tick, TickRecord};
use tiltyard_netcode::message::{Ask, Inputs, ToClient, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};
use tiltyard_replay::Ended;

use crate::game::{Push, Pushing, WORD_NONSENSE, bytes, spec};

const PERIOD_US: u64 = 33_333;
const SETTINGS: RoomSettings = RoomSettings {
    wait_ms: 1000,
    countdown_ms: 100,
    keyframe_ticks: 300,
    snapshot_ticks: 0,
    catch_up_max: 5,
};

fn room(humans: u16, ticks_max: u32) -> Room<Pushing> {
    let mut room = Room::new(BattleId(7), Epoch(3), spec(humans, ticks_max), SETTINGS).unwrap();
    room.open(0);
    room
}

fn connection(number: u64) -> ConnectionId {
    ConnectionId(number)
}

fn join(room: &mut Room<Pushing>, seat: u16, feed: Feed, out: &mut Outgoing) {
    assert!(room.join(Seat(seat), Client::new(connection(u64::from(seat)), feed), 0, out));
}

fn send(room: &mut Room<Pushing>, own: u16, seat: u16, held: Option<u32>, tick: u32, input: &[u8]) {
    let mut message = Vec::new();
    Inputs::encode(&mut message, seat, held, tick, [input].into_iter());
    room.message(Seat(own), connection(u64::from(own)), &ToServer::parse(&message).unwrap());
}

/// Makes the room's next tick and gives what was said.
fn tick(room: &mut Room<Pushing>, out: &mut Outgoing) {
    out.clear();
    room.poll(room.next_us(), out);
}

/// Follows the frame feed of a seat: the battle that its messages make.
struct Follower {
    battle: Battle<Pushing>,
    record: TickRecord<Push>,
    keyframes: u32,
    frames: u32,
}

impl Follower {
    fn new(humans: u16, ticks_max: u32) -> Self {
        let battle = Battle::new(spec(humans, ticks_max)).unwrap();
        let record = TickRecord::neutral(Tick::ZERO, usize::from(humans) + 1);
        Self { battle, record, keyframes: 0, frames: 0 }
    }

    fn follow(&mut self, out: &Outgoing, seat: u16) {
        for (_, way, message) in out.iter().filter(|(to, ..)| *to == connection(u64::from(seat))) {
            match ToClient::parse(message).unwrap() {
                ToClient::Keyframe(keyframe) => {
                    assert_eq!(way, Way::Reliable);
                    self.keyframes += 1;
                    let registry = self.battle.world().registry();
                    let seats = self.record.inputs.len();
                    let (save, record) =
                        tiltyard_engine::decode_keyframe(keyframe.state, registry, seats).unwrap();
                    self.battle.restore(&save);
                    self.record = record;
                    assert_eq!(self.battle.state_hash(), StateHash(keyframe.state_hash));
                }
                ToClient::Frame(frame) => {
                    self.frames += 1;
                    let held = self.record.tick.0;
                    for (tick, bytes) in frame.records().filter(|(tick, _)| *tick > held) {
                        assert_eq!(tick, self.record.tick.0 + 1);
                        self.record.advance(bytes).unwrap();
                        self.battle.step(&self.record);
                    }
                    assert_eq!(self.battle.state_hash(), StateHash(frame.state_hash));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_battle_waits_for_its_players_and_begins_when_the_last_one_sits() {
    let (mut room, mut out) = (room(2, 100), Outgoing::default());
    join(&mut room, 0, Feed::Frame, &mut out);
    assert_eq!(room.next_us(), 1_000_000);
    assert!(room.poll(999_999, &mut out).is_none());
    assert_eq!(room.battle().tick(), Tick(0));
    join(&mut room, 1, Feed::Snapshot, &mut out);
    assert_eq!(room.next_us(), 100_000, "counted down");
    assert!(room.poll(100_000, &mut out).is_none());
    assert_eq!(room.battle().tick(), Tick(1));
}

#[test]
fn a_battle_begins_without_those_who_do_not_come_and_is_abandoned_if_nobody_does() {
    let (mut some, mut none, mut out) = (room(2, 100), room(2, 100), Outgoing::default());
    join(&mut some, 1, Feed::Frame, &mut out);
    assert!(some.poll(1_000_000, &mut out).is_none());
    assert_eq!(some.battle().tick(), Tick(1));
    assert!(none.poll(999_999, &mut out).is_none());
    let end = none.poll(1_000_000, &mut out).unwrap();
    assert_eq!((end.ended, end.tick, end.outcome), (Ended::Abandoned, Tick(0), None));
    assert!(none.is_over());
}

#[test]
fn nobody_takes_a_scripted_seat_or_one_that_is_not_there() {
    let (mut room, mut out) = (room(2, 100), Outgoing::default());
    for seat in [2, 3, 1000] {
        assert!(!room.join(Seat(seat), Client::new(connection(9), Feed::Frame), 0, &mut out));
    }
}

#[test]
fn unfit_inputs_are_dropped_and_counted_and_the_record_says_what_was_used() {
    let (mut room, mut out) = (room(2, 100), Outgoing::default());
    let mut follower = Follower::new(2, 100);
    join(&mut room, 0, Feed::Frame, &mut out);
    join(&mut room, 1, Feed::Frame, &mut out);
    follower.follow(&out, 0);
    for _ in 0..10 {
        tick(&mut room, &mut out);
        follower.follow(&out, 0);
    }
    let good = bytes(0.5, 1);
    send(&mut room, 0, 0, None, 11, &good);
    send(&mut room, 0, 0, None, 11, &bytes(0.9, 2));
    send(&mut room, 0, 0, None, 10, &good);
    send(&mut room, 0, 0, None, 10 + 64, &good);
    send(&mut room, 0, 0, None, 10 + 65, &good);
    send(&mut room, 0, 0, None, 12, &bytes(f32::NAN, 0));
    send(&mut room, 0, 0, None, 12, &bytes(f32::INFINITY, 0));
    send(&mut room, 0, 0, None, 12, &bytes(0.5, WORD_NONSENSE));
    send(&mut room, 0, 0, None, 12, &good[..7]);
    send(&mut room, 0, 1, None, 12, &good);
    send(&mut room, 0, 999, None, 12, &good);
    let counters = room.counters();
    assert_eq!((counters.inputs_taken, counters.inputs_double), (2, 1));
    assert_eq!((counters.inputs_late, counters.inputs_early), (1, 1));
    assert_eq!((counters.inputs_bad, counters.inputs_foreign), (4, 2));
    tick(&mut room, &mut out);
    follower.follow(&out, 0);
    let used = follower.record.inputs.clone();
    assert_eq!((used[0].reason, used[0].input), (Reason::Arrived, Push { by: 0.5, word: 1 }));
    assert_eq!(used[1].reason, Reason::Neutral);
    assert_eq!(used[2].reason, Reason::Bot);
    // An input that was used is known when it comes again: a double, not late.
    send(&mut room, 0, 0, None, 11, &good);
    assert_eq!(room.counters().inputs_late, 1);
}

#[test]
fn a_silent_seat_is_played_by_the_games_rule_and_goes_on_when_it_is_back() {
    let (mut room, mut out) = (room(1, 100), Outgoing::default());
    let mut follower = Follower::new(1, 100);
    join(&mut room, 0, Feed::Frame, &mut out);
    follower.follow(&out, 0);
    send(&mut room, 0, 0, None, 1, &bytes(0.25, 7));
    let mut reasons = Vec::new();
    for _ in 0..6 {
        tick(&mut room, &mut out);
        follower.follow(&out, 0);
        reasons.push(follower.record.inputs[0].reason);
    }
    use Reason::{Arrived, Neutral, Repeated};
    assert_eq!(reasons, [Arrived, Repeated, Repeated, Repeated, Neutral, Neutral]);
    room.leave(Seat(0), connection(0));
    tick(&mut room, &mut out);
    assert_eq!(out.iter().count(), 0, "nobody is there to be told");
    let again = Client::new(connection(0), Feed::Frame);
    out.clear();
    assert!(room.join(Seat(0), again, 0, &mut out));
    follower.follow(&out, 0);
    send(&mut room, 0, 0, None, 8, &bytes(0.125, 7));
    tick(&mut room, &mut out);
    follower.follow(&out, 0);
    assert_eq!(follower.record.inputs[0].reason, Arrived);
    assert_eq!(follower.battle.state_hash(), room.battle().state_hash());
}

#[test]
fn who_is_far_behind_gets_one_keyframe_a_second_at_most_and_goes_on_from_it() {
    let (mut room, mut out) = (room(1, 1000), Outgoing::default());
    let mut follower = Follower::new(1, 1000);
    join(&mut room, 0, Feed::Frame, &mut out);
    follower.follow(&out, 0);
    assert_eq!(follower.keyframes, 1);
    // Nothing is acknowledged, and most of what is said gets lost.
    for number in 0..300 {
        tick(&mut room, &mut out);
        if number > 290 || out.iter().any(|(_, way, _)| way == Way::Reliable) {
            follower.follow(&out, 0);
        }
        let mut ask = Vec::new();
        Ask::Frames { from_tick: 1 }.encode(&mut ask);
        room.message(Seat(0), connection(0), &ToServer::parse(&ask).unwrap());
    }
    assert!(follower.keyframes <= 1 + 300 / 30, "{} keyframes", follower.keyframes);
    assert!(follower.keyframes > 2);
    assert!(follower.battle.tick() > Tick(200));
}

#[test]
fn every_message_names_epoch_and_tick_and_the_end_tells_outcome_and_hash() {
    let (mut room, mut out) = (room(2, 20), Outgoing::default());
    join(&mut room, 0, Feed::Frame, &mut out);
    join(&mut room, 1, Feed::Snapshot, &mut out);
    let mut end = None;
    while end.is_none() {
        for (_, _, message) in out.iter() {
            assert_eq!(ToClient::parse(message).unwrap().moment(), (Epoch(3), room.battle().tick().0));
        }
        out.clear();
        end = room.poll(room.next_us(), &mut out);
    }
    let end = end.unwrap();
    assert_eq!((end.ended, end.tick), (Ended::Finished, Tick(20)));
    let told = out.iter().filter_map(|(_, _, message)| match ToClient::parse(message).unwrap() {
        ToClient::End(end) => Some((end.tick, end.state_hash, end.outcome.len())),
        _ => None,
    });
    let expected = (20, end.final_hash.0, tiltyard_engine::Outcome::BYTES);
    assert_eq!(told.collect::<Vec<_>>(), [expected, expected]);
}

#[test]
fn a_snapshot_is_against_what_was_acknowledged_until_the_client_asks_for_the_whole_state() {
    let (mut room, mut out) = (room(1, 100), Outgoing::default());
    join(&mut room, 0, Feed::Snapshot, &mut out);
    let mut baseline = |room: &mut Room<Pushing>| {
        tick(room, &mut out);
        let message = out.iter().next().expect("each tick is told").2;
        match ToClient::parse(message).unwrap() {
            ToClient::Snapshot(snapshot) => snapshot.baseline,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(baseline(&mut room), None);
    assert_eq!(baseline(&mut room), None);
    send(&mut room, 0, 0, Some(1), 90, &[]);
    assert_eq!(baseline(&mut room), Some(1));
    send(&mut room, 0, 0, Some(999), 90, &[]);
    assert_eq!(baseline(&mut room), Some(1), "a tick that was not made yet is no baseline");
    let mut ask = Vec::new();
    Ask::Keyframe { from_tick: 4 }.encode(&mut ask);
    room.message(Seat(0), connection(0), &ToServer::parse(&ask).unwrap());
    assert_eq!(baseline(&mut room), None);
}

#[test]
fn a_stalled_host_costs_bounded_catch_up_and_no_tick() {
    let (mut room, mut out) = (room(1, 400), Outgoing::default());
    join(&mut room, 0, Feed::Frame, &mut out);
    tick(&mut room, &mut out);
    let before = room.battle().tick();
    room.poll(room.next_us() + 2_000_000, &mut out);
    assert_eq!(room.battle().tick().since(before), SETTINGS.catch_up_max);
    assert_eq!(out.iter().count(), 1 + SETTINGS.catch_up_max as usize, "every tick is told");
    assert_eq!(room.counters().late_ticks, u64::from(SETTINGS.catch_up_max));
    assert!(room.next_us() > 2_000_000 && room.next_us() <= 2_100_000 + 3 * PERIOD_US);
}

#[test]
fn so_many_look_on_and_a_further_one_is_sent_away() {
    let mut out = Outgoing::default();
    let mut room = room(2, 100);
    let watchers =
        (100..).take_while(|number| room.watch(Client::new(connection(*number), Feed::Snapshot), &mut out));
    let watchers: Vec<_> = watchers.collect();
    assert_eq!(watchers.len(), 64);
    let welcomed: Vec<_> = out.iter().map(|(connection, ..)| connection).collect();
    assert_eq!(welcomed, watchers.iter().map(|number| connection(*number)).collect::<Vec<_>>());
    room.unwatch(connection(100));
    assert!(room.watch(Client::new(connection(99), Feed::Snapshot), &mut out));
    assert!(!room.watch(Client::new(connection(98), Feed::Snapshot), &mut out));
    assert_eq!((room.seats_used(), room.battle().tick()), (0, Tick::ZERO));
}
