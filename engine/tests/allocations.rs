//! No heap allocation per tick once a battle is warm: counted by an allocator of our own.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Battle, BattleSpec, Game, Save, Tick, TickRecord};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract that we hand on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract that we hand on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract that we hand on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of ticks 301 to 600 of a battle of bots, each with a save, after a first life of the same 600 ticks.
fn allocations_of(scene: &str) -> u64 {
    let modes = Skirmish::modes().into_iter().chain(Skirmish::scenes());
    let mode = modes.into_iter().find(|mode| mode.name == scene).expect("the mode exists");
    let mut battle = Battle::<Skirmish>::new(BattleSpec::bots(&mode, 5)).expect("the mode starts");
    let (mut start, mut save) = (Save::default(), Save::default());
    battle.save(&mut start);
    let mut record = TickRecord::neutral(Tick::ZERO, 0);
    let mut before = 0;
    for life in 0..2 {
        battle.restore(&start);
        for tick in 0..600 {
            if life == 1 && tick == 300 {
                before = ALLOCATIONS.get();
            }
            battle.bot_record(&mut record);
            battle.step(&record);
            battle.save(&mut save);
        }
    }
    ALLOCATIONS.get() - before
}

#[test]
fn a_warm_tick_with_bots_and_save_allocates_nothing() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");
    for scene in ["skirmish", "melee", "100x300"] {
        assert_eq!(allocations_of(scene), 0, "{scene}");
    }
}
