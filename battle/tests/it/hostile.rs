//! Inputs of bad players, told apart by a room. The numbers are those of the table in docs/netcode.md.

use tiltyard_battle::{Client, Outgoing, Room, RoomCounters, RoomSettings};
use tiltyard_engine::{Seat, Tick};
use tiltyard_netcode::message::{Ask, Inputs, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};

use crate::game::{Pushing, WORD_NONSENSE, bytes, spec};

const SETTINGS: RoomSettings = RoomSettings {
    wait_ms: 1000,
    countdown_ms: 100,
    keyframe_ticks: 300,
    snapshot_ticks: 0,
    catch_up_max: 5,
};
/// The tick that was made last when the bad player speaks.
const NOW: u32 = 100;

/// A room with a bad player in seat 0 and an honest one in seat 1, each with a connection of the seat's number.
struct Bench {
    room: Room<Pushing>,
    out: Outgoing,
}

impl Bench {
    fn new() -> Self {
        let mut room = Room::new(BattleId(7), Epoch(3), spec(2, 10_000), SETTINGS).expect("it starts");
        let mut out = Outgoing::default();
        room.open(0);
        for seat in 0..2 {
            assert!(room.join(Seat(seat), Client::new(connection(seat), Feed::Frame), 0, &mut out));
        }
        let mut bench = Self { room, out };
        bench.make(NOW);
        bench
    }

    fn make(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.out.clear();
            self.room.poll(self.room.next_us(), &mut self.out);
        }
    }

    fn say(&mut self, message: &[u8]) {
        if let Ok(message) = ToServer::parse(message) {
            self.room.message(Seat(0), connection(0), &message);
        }
    }

    /// The bad player sends one input for a tick of a seat.
    fn send(&mut self, seat: u16, tick: u32, input: &[u8]) {
        let mut message = Vec::new();
        Inputs::encode(&mut message, seat, None, tick, [input].into_iter());
        self.say(&message);
    }

    /// What was counted of inputs besides those that were missing.
    fn counted(&self) -> RoomCounters {
        RoomCounters { inputs_missing: 0, ..self.room.counters() }
    }

    /// The battle goes on, and the honest player's inputs count.
    fn assert_plays_on(&mut self) {
        let (tick, taken) = (self.room.battle().tick(), self.room.counters().inputs_taken);
        let mut message = Vec::new();
        Inputs::encode(&mut message, 1, None, tick.0 + 1, [&bytes(0.5, 1)[..]].into_iter());
        let message = ToServer::parse(&message).expect("an honest message");
        self.room.message(Seat(1), connection(1), &message);
        self.make(1);
        assert_eq!(self.room.battle().tick(), tick.next());
        assert_eq!(self.room.counters().inputs_taken, taken + 1);
    }
}

fn connection(seat: u16) -> ConnectionId {
    ConnectionId(u64::from(seat))
}

#[test]
fn b33_floats_that_are_no_numbers_are_refused_and_small_ones_taken() {
    let mut bench = Bench::new();
    for float in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7F80_0001)] {
        bench.send(0, NOW + 1, &bytes(float, 0));
    }
    assert_eq!(bench.counted(), RoomCounters { inputs_bad: 5, ..RoomCounters::default() });
    // The largest and the smallest floats are numbers; what they mean is the game's to judge.
    for (tick, float) in [f32::MAX, f32::MIN, f32::from_bits(1), -0.0].into_iter().enumerate() {
        bench.send(0, NOW + 1 + tick as u32, &bytes(float, 0));
    }
    assert_eq!(bench.counted().inputs_taken, 4);
    bench.make(4);
    bench.assert_plays_on();
}

#[test]
fn b34_inputs_for_ticks_that_are_made_or_far_away_are_dropped() {
    let mut bench = Bench::new();
    for tick in [0, 1, NOW - 1, NOW] {
        bench.send(0, tick, &bytes(0.5, 1));
    }
    for tick in [NOW + 65, NOW + 1000, u32::MAX - 1, u32::MAX] {
        bench.send(0, tick, &bytes(0.5, 1));
    }
    let expected = RoomCounters { inputs_late: 4, inputs_early: 4, ..RoomCounters::default() };
    assert_eq!(bench.counted(), expected);
    bench.send(0, NOW + 64, &bytes(0.5, 1));
    assert_eq!(bench.counted().inputs_taken, 1, "the farthest tick that an input may be for");
    bench.assert_plays_on();
}

#[test]
fn b35_of_two_inputs_for_a_tick_the_first_counts() {
    let play = |second: Option<[u8; 8]>| {
        let mut bench = Bench::new();
        bench.send(0, NOW + 1, &bytes(0.25, 1));
        if let Some(second) = second {
            bench.send(0, NOW + 1, &second);
            assert_eq!(bench.counted().inputs_double, 1);
        }
        bench.make(1);
        bench.room.battle().state_hash()
    };
    assert_eq!(play(Some(bytes(0.75, 2))), play(None));
}

#[test]
fn b36_an_input_for_another_players_seat_moves_nobody() {
    let play = |foreign: bool| {
        let mut bench = Bench::new();
        if foreign {
            bench.send(1, NOW + 1, &bytes(0.75, 1));
            assert_eq!(bench.counted(), RoomCounters { inputs_foreign: 1, ..RoomCounters::default() });
        }
        bench.make(1);
        bench.room.battle().state_hash()
    };
    assert_eq!(play(true), play(false));
}

#[test]
fn b38_commands_that_the_game_does_not_know_are_refused() {
    let mut bench = Bench::new();
    for tick in 1..=10 {
        bench.send(0, NOW + tick, &bytes(0.5, WORD_NONSENSE));
    }
    assert_eq!(bench.counted(), RoomCounters { inputs_bad: 10, ..RoomCounters::default() });
    bench.assert_plays_on();
}

#[test]
fn b39_seats_and_ticks_that_do_not_exist_are_refused_or_mean_nothing() {
    let mut bench = Bench::new();
    // The scripted seat, the first behind the roster, and the last number of all.
    for seat in [2, 3, u16::MAX] {
        bench.send(seat, NOW + 1, &bytes(0.5, 1));
    }
    assert_eq!(bench.counted(), RoomCounters { inputs_foreign: 3, ..RoomCounters::default() });
    let mut message = Vec::new();
    for tick in [NOW + 1, NOW + 1000, u32::MAX] {
        Inputs::encode(&mut message, 0, Some(tick), 0, [].into_iter());
        bench.say(&message);
        Ask::Frames { from_tick: tick }.encode(&mut message);
        bench.say(&message);
        Ask::Keyframe { from_tick: tick }.encode(&mut message);
        bench.say(&message);
    }
    Ask::Frames { from_tick: 0 }.encode(&mut message);
    bench.say(&message);
    bench.assert_plays_on();
    // Somebody who is no longer here, with the id of a seat that is.
    let stale = ConnectionId(999);
    Inputs::encode(&mut message, 1, None, NOW + 5, [&bytes(0.5, 1)[..]].into_iter());
    let before = bench.counted();
    bench.room.message(Seat(1), stale, &ToServer::parse(&message).expect("it is one"));
    assert_eq!(bench.counted(), before);
    assert!(bench.room.battle().tick() > Tick(NOW));
}

#[test]
fn b40_inputs_of_another_length_than_the_games_are_refused() {
    let mut bench = Bench::new();
    for len in [0, 1, 7, 9, 64, 255] {
        bench.send(0, NOW + 1, &vec![1; len]);
    }
    assert_eq!(bench.counted(), RoomCounters { inputs_bad: 6, ..RoomCounters::default() });
    bench.assert_plays_on();
}
