//! A room's tick allocates nothing once it is warm: neither the battle's step, nor its log, nor its feeds.
//!
//! One test alone in its process: the counting allocator counts everybody.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tiltyard_battle::{Client, Outgoing, Room, RoomSettings};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{BattleSpec, Game, Seat, SeatRole};
use tiltyard_netcode::message::{Inputs, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is this thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Ticks after which every buffer has had its largest size.
const WARM_TICKS: u32 = 1200;
const TICKS: u32 = 600;

#[test]
fn a_warm_tick_of_a_room_with_both_feeds_allocates_nothing() {
    let mode = &Skirmish::modes()[0];
    let mut spec = BattleSpec::<Skirmish>::bots(mode, 3);
    spec.terms.ticks_max = 100_000;
    spec.roster.seats.iter_mut().for_each(|seat| seat.role = SeatRole::Human);
    let seats = spec.roster.len() as u16;
    let settings = RoomSettings {
        wait_ms: 0,
        countdown_ms: 100,
        keyframe_ticks: 300,
        snapshot_ticks: 0,
        catch_up_max: 5,
    };
    let mut room = Room::new(BattleId(1), Epoch(1), spec, settings).unwrap();
    let mut out = Outgoing::default();
    room.open(0);
    for seat in 0..seats {
        let feed = if seat % 2 == 0 { Feed::Snapshot } else { Feed::Frame };
        assert!(room.join(Seat(seat), Client::new(ConnectionId(u64::from(seat)), feed), 0, &mut out));
    }
    let (mut message, mut input, mut spent) = (Vec::new(), Vec::new(), 0);
    for tick in 0..WARM_TICKS + TICKS {
        let now = room.battle().tick().0;
        for seat in 0..seats {
            input.clear();
            let bot = room.battle().bot_input(Seat(seat));
            input.extend_from_slice(tiltyard_engine::bytemuck::bytes_of(&bot));
            let held = now.saturating_sub(u32::from(seat) % 4);
            Inputs::encode(&mut message, seat, Some(held), now + 1, [&input[..]].into_iter());
            room.message(Seat(seat), ConnectionId(u64::from(seat)), &ToServer::parse(&message).unwrap());
        }
        let count = allocations(|| {
            out.clear();
            assert!(room.poll(room.next_us(), &mut out).is_none());
        });
        assert_eq!(out.iter().count(), usize::from(seats));
        spent += if tick < WARM_TICKS { 0 } else { count };
    }
    assert_eq!(room.counters().inputs_missing, 0);
    assert_eq!(spent, 0);
}
