//! A room's tick allocates nothing once it is warm: neither the battle's step, nor its log, nor its feeds; nor what views
//! of their own take, private sections, and snapshots that have no room for everything.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tiltyard_battle::{Client, Outgoing, Room, RoomSettings};
use tiltyard_engine::rng::Rng;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{
    ActorId, Audience, BattleSpec, Game, Mode, Outcome, Registry, Schedule, Seat, SeatRole, Sight, Stage,
    Step, Terms, World, bytemuck, kind, record, snapshot::VIEW_FULL,
};
use tiltyard_netcode::message::{Inputs, ToClient, ToServer};
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

fn room<G: Game>(spec: BattleSpec<G>) -> Room<G> {
    let settings = RoomSettings {
        wait_ms: 0,
        countdown_ms: 100,
        keyframe_ticks: 300,
        snapshot_ticks: 0,
        catch_up_max: 5,
    };
    Room::new(BattleId(1), Epoch(1), spec, settings).unwrap()
}

/// Plays a room in which these seats are humans' with these feeds, who acknowledge what they get up to three ticks late;
/// shows each message, and gives the allocations of the warm ticks.
fn play<G: Game>(mut spec: BattleSpec<G>, feeds: &[Feed], mut see: impl FnMut(usize, &[u8])) -> u64 {
    spec.terms.ticks_max = 100_000;
    spec.roster.seats[..feeds.len()].iter_mut().for_each(|seat| seat.role = SeatRole::Human);
    let (mut room, mut out) = (room(spec), Outgoing::default());
    room.open(0);
    for (seat, feed) in (0..).zip(feeds) {
        assert!(room.join(Seat(seat), Client::new(ConnectionId(seat.into()), *feed), 0, &mut out));
    }
    let (mut message, mut input, mut spent) = (Vec::new(), Vec::new(), 0);
    for tick in 0..WARM_TICKS + TICKS {
        let now = room.battle().tick().0;
        for seat in 0..feeds.len() as u16 {
            input.clear();
            let bot = room.battle().bot_input(Seat(seat));
            input.extend_from_slice(bytemuck::bytes_of(&bot));
            let held = now.saturating_sub(u32::from(seat) % 4);
            Inputs::encode(&mut message, seat, Some(held), now + 1, [&input[..]].into_iter());
            room.message(Seat(seat), ConnectionId(seat.into()), &ToServer::parse(&message).unwrap());
        }
        let count = allocations(|| {
            out.clear();
            assert!(room.poll(room.next_us(), &mut out).is_none());
        });
        assert_eq!(out.iter().count(), feeds.len());
        spent += if tick < WARM_TICKS { 0 } else { count };
        out.iter().filter(|_| tick >= WARM_TICKS).for_each(|(to, _, bytes)| see(to.0 as usize, bytes));
    }
    assert_eq!(room.counters().inputs_missing, 0);
    spent
}

#[test]
fn a_warm_tick_of_a_room_with_both_feeds_allocates_nothing() {
    let spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 3);
    let feeds: Vec<_> =
        (0..spec.roster.len()).map(|seat| if seat % 2 == 0 { Feed::Snapshot } else { Feed::Frame }).collect();
    assert_eq!(play(spec, &feeds, |_, _| {}), 0);
}

record! {
    struct Wish { word: u32 }
    struct Static { words: [u32; 16] }
    struct Purse { coins: u32 }
}
kind! {
    struct Body { noise: Static, purse: Purse }
    struct Spark { noise: Static }
}

/// A game whose bodies change beyond what a datagram holds, in every other 100 ticks; the second half of the seats sees
/// a part of them, which changes.
struct Noise;

impl Game for Noise {
    const NAME: &'static str = "noise";
    type Input = Wish;
    type Event = Wish;
    type Setup = Wish;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Body>().kind::<Spark>();
        registry.shown_to::<Body, Purse>(Audience::Owner);
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("rush", rush);
    }

    fn modes() -> Vec<Mode<Wish>> {
        vec![Mode { name: "noise", teams: 1, seats_per_team: 40, seconds: 60, setup: Wish::default() }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for _ in 0..stage.roster.len() {
            stage.spawn(Body::default());
        }
    }

    fn missing(last: &Wish, _: u16) -> Wish {
        *last
    }

    fn check(_: &Wish) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, rng: &mut Rng) -> Wish {
        Wish { word: rng.next_u32() }
    }

    fn puppet(world: &World, seat: Seat) -> Option<ActorId> {
        world.rows::<Body>().ids().get(seat.index()).copied()
    }

    fn view(_: &BattleSpec<Self>, seat: Option<Seat>) -> u16 {
        if seat.is_some_and(|seat| seat.0 % 4 >= 2) { VIEW_FULL + 1 } else { VIEW_FULL }
    }

    fn sight(world: &World, _: u16, sight: &mut Sight<'_>) {
        let turn = world.tick().0 as usize / 7;
        sight.see_rows::<Body>(|row, _| !(row + turn).is_multiple_of(5));
        sight.see_rows::<Spark>(|row, _| !(row + turn).is_multiple_of(3));
    }

    fn is_urgent(_: &World, _: Option<Seat>, actor: ActorId) -> bool {
        actor.0.is_multiple_of(5)
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

fn rush(step: &mut Step<'_, Noise>) {
    let (bodies, sparks) = (step.world.rows::<Body>(), step.world.rows::<Spark>());
    let mut noise = bodies.write::<Static>();
    let is_loud = (step.tick.0 / 100).is_multiple_of(2);
    for (row, purse) in bodies.write::<Purse>().iter_mut().enumerate() {
        purse.coins += step.inputs[row].input.word % 3;
        if is_loud || row == 0 {
            let mut rng = step.rng(0, bodies.ids()[row]);
            noise[row].words = std::array::from_fn(|_| rng.next_u32());
        }
    }
    // Sparks come and go, so that there are new rows, and such as are gone.
    step.changes.spawn(bodies.ids()[0], Spark { noise: noise[0] });
    if let (true, Some(oldest)) = (sparks.len() > 10, sparks.ids().first()) {
        step.changes.despawn(*oldest);
    }
}

#[test]
fn a_warm_tick_of_views_private_sections_and_too_little_room_allocates_nothing() {
    const PLAYERS: usize = 4;
    // In each view: snapshots that were short, and such as told everything.
    let mut told = [[0; 2]; 2];
    let spec = BattleSpec::<Noise>::bots(&Noise::modes()[0], 3);
    let spent = play(spec, &[Feed::Snapshot; PLAYERS], |seat, bytes| {
        let Ok(ToClient::Snapshot(snapshot)) = ToClient::parse(bytes) else { panic!("it is a snapshot") };
        assert_eq!((snapshot.view != 0, !snapshot.private.is_empty()), (seat >= 2, seat >= 2));
        told[usize::from(snapshot.view != 0)][usize::from(snapshot.stale.is_empty())] += 1;
    });
    assert!(told.iter().flatten().all(|count| *count > 200), "{told:?}");
    assert_eq!(spent, 0);
}
