//! The most users that a core holds: a search by trial, for the battle and for the hand-written loop, and both side by
//! side at what the battle holds.

use anyhow::Context as _;
use serde_json::{Value, json};
use tiltyard_engine::{ACTORS_MAX, Battle, BattleSpec, Game as _, StateHash, Tick, TickRecord};

use super::game::{Crowd, Nothing, Setup};
use crate::bench::figures::{Spread, side_by_side, spread, timed};
use crate::bench::scene::Played;
use crate::output::Table;

/// What a tick may take, in µs: the 20 ms between two ticks.
const BUDGET_US: f64 = 20_000.0;
/// Ticks before measuring starts.
const WARM_TICKS: u32 = 5;
/// Users of the first trial.
const USERS_FIRST: u32 = 1024;

/// A layout by name, and its setup for so many users.
type Layout = (&'static str, fn(u32) -> Setup);

/// How users may stand.
const LAYOUTS: [Layout; 2] = [("uniform", Setup::uniform), ("clustered", Setup::clustered)];

/// What was measured of one layout of the crowd.
pub(in crate::bench) struct Holds {
    layout: &'static str,
    users_max: u32,
    limit_users_max: u32,
    tick: Spread,
    limit: Spread,
}

/// Measures both layouts. A trial is a battle of `ticks` ticks.
///
/// # Errors
/// If battle and hand-written loop come to different states.
pub(in crate::bench) fn measure(
    ticks: u32,
    seed: u64,
    mut progress: impl FnMut(),
) -> anyhow::Result<Vec<Holds>> {
    let mut found = Vec::new();
    for (layout, setup) in LAYOUTS {
        let spec = |users| setup(users).spec(seed);
        let users_max = users_max(|users| {
            progress();
            let mut battle = Battle::<Crowd>::new(spec(users)).expect("a crowd is a battle");
            holds(ticks, |record| battle.step(record))
        });
        let limit_users_max = self::users_max(|users| {
            progress();
            holds(ticks, Crowd::oracle(&spec(users)).expect("the crowd has one"))
        });
        let (users_max, (tick, limit)) = confirm(users_max, |users| {
            progress();
            beside(spec(users), ticks)
        })?;
        found.push(Holds { layout, users_max, limit_users_max, tick, limit });
    }
    Ok(found)
}

/// What a tick takes the battle and the hand-written loop, in one run with the same states.
fn beside(spec: BattleSpec<Crowd>, ticks: u32) -> anyhow::Result<(Spread, Spread)> {
    let played = Played::of_spec("crowd", spec, WARM_TICKS, ticks)?;
    let (mut tick_ns, mut limit_ns) = (Vec::new(), Vec::new());
    side_by_side(&played, played.oracle()?, &mut tick_ns, &mut limit_ns).context("the crowd by hand")?;
    Ok((spread(&mut tick_ns), spread(&mut limit_ns)))
}

/// Whether 99 of 100 ticks stay within the budget. Stops as soon as too many did not.
fn holds(ticks: u32, mut step: impl FnMut(&TickRecord<Nothing>) -> StateHash) -> bool {
    let (mut ns, mut late) = (Vec::new(), 0);
    for tick in 1..=WARM_TICKS + ticks {
        let record = TickRecord::neutral(Tick(tick), 1);
        ns.clear();
        timed(&mut ns, || step(&record));
        late += u32::from(tick > WARM_TICKS && spread(&mut ns).p99_us > BUDGET_US);
        if late > ticks / 100 {
            return false;
        }
    }
    true
}

/// The most users that hold, to one in sixty-four; none above what a battle has room for.
fn users_max(mut holds: impl FnMut(u32) -> bool) -> u32 {
    let most = ACTORS_MAX as u32;
    let (mut good, mut bad) = (0, USERS_FIRST);
    while holds(bad) {
        good = bad;
        if good == most {
            return most;
        }
        bad = (bad * 2).min(most);
    }
    while bad - good > (good / 64).max(16) {
        let users = good.midpoint(bad);
        *if holds(users) { &mut good } else { &mut bad } = users;
    }
    good
}

/// Measures at what the search found, and at one in sixty-four fewer until 99 of 100 ticks do stay within the budget:
/// the trials may have fallen into a quieter moment. One user is the least, whatever that takes.
fn confirm(
    users_max: u32,
    mut measure: impl FnMut(u32) -> anyhow::Result<(Spread, Spread)>,
) -> anyhow::Result<(u32, (Spread, Spread))> {
    let mut users = users_max.max(1);
    loop {
        let (tick, limit) = measure(users)?;
        if tick.p99_us <= BUDGET_US || users == 1 {
            return Ok((users, (tick, limit)));
        }
        users = users.saturating_sub((users / 64).max(16)).max(1);
    }
}

pub(in crate::bench) fn describe(found: &[Holds]) -> String {
    let mut table = Table::new([
        "users at p99 ≤ 20 ms",
        "a core holds",
        "by hand",
        "tick p50",
        "p99",
        "by hand p50",
        "ratio",
    ]);
    let users = |users: u32| {
        if users as usize == ACTORS_MAX { format!("{users}, a battle's bound") } else { users.to_string() }
    };
    for holds in found {
        let ms = |us: f64| format!("{:.2} ms", us / 1_000.0);
        table.row([
            holds.layout.to_owned(),
            users(holds.users_max),
            users(holds.limit_users_max),
            ms(holds.tick.p50_us),
            ms(holds.tick.p99_us),
            ms(holds.limit.p50_us),
            format!("{:.2}", holds.tick.p50_us / holds.limit.p50_us),
        ]);
    }
    format!(
        "{table}\n\nA field of 4 km by 4 km, 50 ticks a second; clustered: sixteen crowds of 200 m by 200 m. The tick\n\
         times are those at what the battle holds; both end every tick in the same state."
    )
}

pub(in crate::bench) fn object(found: &[Holds]) -> Value {
    let of = |value: &dyn Fn(&Holds) -> Value| -> Value {
        found
            .iter()
            .map(|holds| (holds.layout.to_owned(), value(holds)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let us = |spread: &Spread| json!({ "p50": spread.p50_us, "p99": spread.p99_us });
    json!({
        "scene": "crowd",
        "users_max": of(&|holds| holds.users_max.into()),
        "limit_users_max": of(&|holds| holds.limit_users_max.into()),
        "users_bound": ACTORS_MAX,
        "tick_us": of(&|holds| us(&holds.tick)),
        "limit_us": of(&|holds| us(&holds.limit)),
        "ratio": of(&|holds| (holds.tick.p50_us / holds.limit.p50_us).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_comes_near_what_holds_and_never_above() {
        for most in [0, 15, 1023, 1024, 1025, 17_123, 65_535, 65_536, 1_000_000] {
            let mut trials = 0;
            let found = users_max(|users| {
                trials += 1;
                assert!(users as usize <= ACTORS_MAX);
                users <= most
            });
            let possible = most.min(ACTORS_MAX as u32);
            assert!(found <= possible && possible - found <= (possible / 60).max(16), "{most}: {found}");
            assert!(trials <= 16, "{most}: {trials} trials");
        }
    }

    #[test]
    fn what_is_reported_was_measured_to_hold() {
        let spread = |us: f64| Spread { p50_us: us / 2.0, p99_us: us };
        let run = |found: u32, most: u32| {
            let mut tried = Vec::new();
            let confirmed = confirm(found, |users| {
                tried.push(users);
                Ok((spread(if users <= most { 20_000.0 } else { 20_000.1 }), spread(1.0)))
            });
            let (users, (tick, _)) = confirmed.unwrap();
            (users, tick.p99_us, tried)
        };
        assert_eq!(run(6400, 6400), (6400, 20_000.0, vec![6400]));
        assert_eq!(run(6400, 6250), (6202, 20_000.0, vec![6400, 6300, 6202]));
        assert_eq!(run(20, 0), (1, 20_000.1, vec![20, 4, 1]));
        assert_eq!(run(0, 9), (1, 20_000.0, vec![1]));
    }

    #[test]
    fn both_are_measured_side_by_side() {
        let (tick, limit) = beside(Setup::clustered(500).spec(3), 40).unwrap();
        assert!(tick.p50_us > 0.0 && limit.p50_us > 0.0);
    }
}
