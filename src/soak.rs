//! `tiltyard soak`: the engine's history fuzz on all cores, for as many ticks as one likes.
//!
//! Each battle follows from its seed alone: whatever is found is found again by that one seed. Which battles are
//! begun follows from the first seed, how far the last of them come depends on the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tiltyard_engine::testing::{Desync, History, Tally};
use tiltyard_engine::{ActorId, Game, StartError};

use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::stop::{Stop, run_until_done};

/// How long to fuzz.
#[derive(Clone, Debug, Args)]
pub(crate) struct SoakArgs {
    /// Ticks to make and compare, on all cores together
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    ticks: u64,
    /// The seed of the first battle; each further one has the next seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// What was done, and the first thing that went wrong.
#[derive(Default)]
struct Soaked {
    tally: Tally,
    battles: u64,
    /// Seconds of play in the ticks that were compared.
    play_seconds: f64,
    finding: Option<Finding>,
}

/// What ends a soak before its time.
enum Finding {
    Desync(Box<Desync>),
    Panic { seed: u64, text: String },
    Start { seed: u64, problem: StartError },
}

/// What the workers share.
struct Work<'a> {
    goal: u64,
    next_seed: AtomicU64,
    ticks: AtomicU64,
    stop: &'a Stop,
    bar: &'a ProgressBar,
    soaked: Mutex<Soaked>,
}

impl SoakArgs {
    /// Fuzzes until the ticks are made, something differs, or it is asked to end.
    pub(crate) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bar = output.progress("soaking", self.ticks);
        let (goal, seed, shown) = (self.ticks, self.seed, bar.clone());
        let began = Instant::now();
        let soaked = run_until_done(|stop| async move {
            let work = move || soak::<G>(goal, seed, cores, &stop, &shown);
            tokio::task::spawn_blocking(work).await.context("soaking")
        })?;
        let seconds = began.elapsed().as_secs_f64();
        bar.finish_and_clear();
        output.say(soaked.describe(seconds, cores));
        if let Some(finding) = &soaked.finding {
            output.say(format!("PROBLEM {finding}"));
        }
        output.result(&soaked.to_json(seed, seconds, cores));
        Ok(if soaked.finding.is_none() { Exit::Fine } else { Exit::Failed })
    }
}

fn soak<G: Game>(goal: u64, seed: u64, cores: usize, stop: &Stop, bar: &ProgressBar) -> Soaked {
    let (next_seed, ticks) = (AtomicU64::new(seed), AtomicU64::new(0));
    let work = Work { goal, next_seed, ticks, stop, bar, soaked: Mutex::default() };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work.fuzz::<G>());
        }
    });
    work.soaked.into_inner().expect(WHOLE)
}

const WHOLE: &str = "nobody panics while holding it";

impl Work<'_> {
    /// Fuzzes one battle after the other.
    fn fuzz<G: Game>(&self) {
        while !self.is_over() {
            let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
            // A game that panics is a finding with a seed, like a state that differs.
            let finding = match catch_unwind(AssertUnwindSafe(|| self.fuzz_battle::<G>(seed))) {
                Ok(Ok(())) => continue,
                Ok(Err(finding)) => finding,
                Err(panic) => {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                    Finding::Panic { seed, text: text.unwrap_or_else(|| "no message".to_owned()) }
                }
            };
            self.soaked.lock().expect(WHOLE).finding.get_or_insert(finding);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_asked()
            || self.ticks.load(Ordering::Relaxed) >= self.goal
            || self.soaked.lock().expect(WHOLE).finding.is_some()
    }

    fn fuzz_battle<G: Game>(&self, seed: u64) -> Result<(), Finding> {
        let mut history = History::<G>::random(seed).map_err(|problem| Finding::Start { seed, problem })?;
        let mut counted = 0;
        let result = loop {
            let more = history.go_on();
            let ticks = history.tally().ticks;
            self.ticks.fetch_add(ticks - counted, Ordering::Relaxed);
            self.bar.inc(ticks - counted);
            counted = ticks;
            match more {
                Ok(true) if !self.is_over() => {}
                Ok(_) => break Ok(()),
                Err(desync) => break Err(Finding::Desync(desync)),
            }
        };
        let mut soaked = self.soaked.lock().expect(WHOLE);
        soaked.tally += history.tally();
        soaked.battles += 1;
        soaked.play_seconds += counted as f64 / f64::from(history.rate().hz());
        result
    }
}

impl Soaked {
    fn describe(&self, seconds: f64, cores: usize) -> String {
        let Tally { ticks, straight_ticks, rollbacks, restores, permutations, acts, unchecked, refused } =
            self.tally;
        let mut table = Table::new(["soak", ""]);
        let rows = [
            ("ticks made after another history and compared", ticks),
            ("ticks played straight, besides", straight_ticks),
            ("battles", self.battles),
            ("rollbacks", rollbacks),
            ("restores from bytes or into a new battle", restores),
            ("permutations of rows", permutations),
            ("commands of the game's own", acts),
            ("inputs that the game refuses, played nevertheless", unchecked),
            ("records with what is no number, refused", refused),
            ("desyncs", self.desyncs()),
        ];
        for (what, count) in rows {
            table.row([what.to_owned(), count.to_string()]);
        }
        let [rate, times] = [ticks as f64, self.play_seconds].map(|amount| amount / seconds);
        format!(
            "{table}\n\n{seconds:.1} s on {cores} cores, {rate:.0} ticks a second, {times:.0} times real time"
        )
    }

    fn to_json(&self, seed: u64, seconds: f64, cores: usize) -> Value {
        let report = self.finding.as_ref().map(ToString::to_string);
        let mut result = json!({
            "ticks": self.tally.ticks,
            "straight_ticks": self.tally.straight_ticks,
            "battles": self.battles,
            "rollbacks": self.tally.rollbacks,
            "restores": self.tally.restores,
            "permutations": self.tally.permutations,
            "acts": self.tally.acts,
            "unchecked": self.tally.unchecked,
            "refused": self.tally.refused,
            "desyncs": self.desyncs(),
            "first_divergence": null,
            "problem": report,
            "seed": seed,
            "cores": cores,
            "seconds": seconds,
            "times_realtime": self.play_seconds / seconds,
        });
        if let Some(Finding::Desync(desync)) = &self.finding {
            let divergence = desync.divergence.as_ref();
            let actor = divergence.map(|divergence| divergence.actor);
            result["first_divergence"] = json!({
                "seed": desync.seed,
                "tick": desync.tick.0,
                "component": divergence.map(|divergence| divergence.component),
                "actor": actor.filter(|actor| *actor != ActorId::NONE).map(|actor| actor.0),
                "field": divergence.map(|divergence| &divergence.field),
                "left": divergence.map(|divergence| &divergence.left),
                "right": divergence.map(|divergence| &divergence.right),
            });
        }
        result
    }

    fn desyncs(&self) -> u64 {
        u64::from(matches!(self.finding, Some(Finding::Desync(_))))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Desync(desync) => write!(f, "{desync}"),
            Self::Panic { seed, text } => write!(f, "SEED={seed}: the battle panicked: {text}"),
            Self::Start { seed, problem } => write!(f, "SEED={seed}: the battle does not start: {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::skirmish::Skirmish;

    use super::*;
    use crate::stop::Ending;

    #[test]
    fn a_soak_goes_on_until_its_ticks_are_made() {
        let soaked = soak::<Skirmish>(5_000, 1, 2, &Stop::default(), &ProgressBar::hidden());
        assert!(soaked.finding.is_none());
        assert!(soaked.tally.ticks >= 5_000 && soaked.battles > 0 && soaked.play_seconds > 0.0);
        let result = soaked.to_json(1, 1.0, 2);
        assert_eq!((&result["desyncs"], &result["first_divergence"]), (&json!(0), &Value::Null));
    }

    #[test]
    fn a_soak_that_is_asked_to_end_tells_what_was_done() {
        let stop = Stop::default();
        stop.ask(Ending::InOrder);
        let soaked = soak::<Skirmish>(u64::MAX, 1, 1, &stop, &ProgressBar::hidden());
        assert!(soaked.finding.is_none());
        assert_eq!(soaked.battles, 0);
        assert!(soaked.describe(1.0, 1).contains("desyncs"));
    }
}
