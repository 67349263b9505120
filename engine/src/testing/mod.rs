//! Tests that every game should run on itself: one line each.
//!
//! | test | what it finds |
//! |---|---|
//! | [`sync_test`] | state that is not saved: after a rollback the same inputs lead elsewhere |
//! | [`restore_and_continue`] | the same in a battle with another past |
//! | [`history_fuzz`] | whatever depends on how a state came about: order of rows, hash maps, counters of one's own; with random modes, rosters and players |
//!
//! ```no_run
//! # use tiltyard_engine::{Game, BattleSpec, testing};
//! # fn example<MyGame: Game>() {
//! #[test]
//! fn rollbacks_change_nothing() {
//!     testing::sync_test(&BattleSpec::<MyGame>::bots(&MyGame::modes()[0], 7), 300);
//! }
//!
//! #[test]
//! fn no_state_depends_on_its_history() {
//!     testing::history_fuzz::<MyGame>(100);
//! }
//! # }
//! ```
//!
//! Each panics on the first difference and names tick, component, actor, field and both values. The program's
//! `soak` runs the history fuzz on all cores for as long as one likes.

mod history;
mod plant;
mod players;

pub use history::{Before, By, Desync, History, Tally, Way};
pub use plant::plant_divergence;

use crate::{Battle, BattleSpec, Game, Save, StateHash, Tick, TickRecord};

/// The most ticks that [`sync_test`] rolls back.
pub const ROLLBACK_MAX: u32 = 12;

/// Plays `ticks` ticks with scripted players and returns the record of each tick and the state hash at its end. Costs
/// the ticks, and room for all their records.
///
/// # Panics
/// If the battle does not start.
#[must_use]
pub fn play<G: Game>(spec: &BattleSpec<G>, ticks: u32) -> Vec<(TickRecord<G::Input>, StateHash)> {
    let mut battle = start(spec);
    (0..ticks)
        .map(|_| {
            let mut record = TickRecord::neutral(battle.tick(), 0);
            battle.bot_record(&mut record);
            let hash = battle.step(&record);
            (record, hash)
        })
        .collect()
}

/// Sync test: at every tick saves, steps, rolls back by 1 to [`ROLLBACK_MAX`] ticks, steps again, and compares all
/// hashes with those of the straight run. Costs about eight ticks and a save for each tick.
///
/// # Panics
/// On the first difference, naming tick, component, actor and field.
pub fn sync_test<G: Game>(spec: &BattleSpec<G>, ticks: u32) {
    let straight = play(spec, ticks);
    let mut battle = start(spec);
    let mut saves: Vec<Save> = vec![Save::default(); ROLLBACK_MAX as usize + 1];
    for now in 0..ticks {
        let slots = saves.len();
        battle.save(&mut saves[now as usize % slots]);
        step_checked(&mut battle, &straight, now, spec);
        let back = (now % ROLLBACK_MAX + 1).min(now + 1);
        let from = now + 1 - back;
        battle.restore(&saves[from as usize % slots]);
        for again in from..=now {
            step_checked(&mut battle, &straight, again, spec);
        }
    }
}

/// Restores a battle's state of every tick into another battle, whose world has a history of its own, and goes on
/// there for [`ROLLBACK_MAX`] ticks; all hashes must be those of the battle that was never interrupted. Costs about
/// fourteen ticks, a save and a restore for each tick.
///
/// # Panics
/// On the first difference, naming tick, component, actor and field.
pub fn restore_and_continue<G: Game>(spec: &BattleSpec<G>, ticks: u32) {
    let straight = play(spec, ticks);
    let (mut battle, mut used) = (start(spec), start(spec));
    let mut save = Save::default();
    for now in 0..ticks {
        battle.save(&mut save);
        used.restore(&save);
        assert_eq!(used.state_hash(), battle.state_hash(), "restored at tick {now}");
        for next in now..ticks.min(now + ROLLBACK_MAX) {
            step_checked(&mut used, &straight, next, spec);
        }
        battle.step(&straight[now as usize].0);
    }
}

/// History fuzz: random battles of all modes, each played straight and at the same time in another battle that is
/// rolled back, restored from bytes, led astray and dealt anew, with random players who join, leave, are replaced and
/// say odd things. See [`History`].
///
/// Plays the seeds 0 to `battles` − 1, or with `SEED=7` in the environment that one alone. Costs tens to thousands of
/// ticks a battle: the larger it is, the fewer.
///
/// # Panics
/// On the first difference, with the seed that leads to it; and if a battle does not start.
pub fn history_fuzz<G: Game>(battles: u64) {
    let seeds = match std::env::var("SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => seed..=seed,
        Ok(Err(_)) => panic!("SEED is a number"),
        Err(_) => 0..=battles.saturating_sub(1),
    };
    for seed in seeds {
        let history = History::<G>::random(seed);
        let mut history = history.unwrap_or_else(|problem| panic!("{}: SEED={seed}: {problem}", G::NAME));
        // Told now, since the game may panic before we do.
        eprintln!("{}: SEED={seed}", G::NAME);
        while history.go_on().unwrap_or_else(|desync| panic!("{}: {desync}", G::NAME)) {}
    }
}

fn start<G: Game>(spec: &BattleSpec<G>) -> Battle<G> {
    Battle::new(spec.clone()).unwrap_or_else(|problem| panic!("{}: {problem}", G::NAME))
}

/// Steps to tick `index + 1` and compares with the straight run.
fn step_checked<G: Game>(
    battle: &mut Battle<G>,
    straight: &[(TickRecord<G::Input>, StateHash)],
    index: u32,
    spec: &BattleSpec<G>,
) {
    let (record, expected) = &straight[index as usize];
    if battle.step(record) == *expected {
        return;
    }
    let mut oracle = start(spec);
    for (record, _) in &straight[..=index as usize] {
        oracle.step(record);
    }
    let (mut left, mut right) = (Save::default(), Save::default());
    battle.save(&mut left);
    oracle.save(&mut right);
    match left.first_divergence(&right, battle.world().registry()) {
        Some(divergence) => panic!("{}: {divergence} (left: after rollback, right: straight)", G::NAME),
        None => {
            panic!("{}: the straight run itself is not repeatable at tick {:?}", G::NAME, Tick(index + 1))
        }
    }
}
