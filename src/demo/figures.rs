//! The demo's figures: what happened, in words and in JSON, and what went wrong.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tiltyard_client::LEAD_TICKS;
use tiltyard_cluster::control::BattleEnd;
use tiltyard_lobby::store::{BattleResult, BattleRow, StoreCounts};

use super::Played;
use crate::bots::{bytes_json, failures, quantiles_json};
use crate::output::Table;
use crate::replay::Checked;
use crate::text::hex;

/// Everything that the demo found out.
pub(super) struct Figures {
    /// Battles that were asked for.
    pub(super) battles: u64,
    /// Seats of each.
    pub(super) seats: u64,
    pub(super) played: Played,
    pub(super) checked: Vec<Checked>,
    /// The battles that were played, as the store has them after the house closed.
    pub(super) rows: Vec<BattleRow>,
    pub(super) counts: StoreCounts,
    pub(super) seconds: f64,
}

impl Figures {
    fn verified(&self) -> usize {
        self.checked.iter().filter(|file| file.is_verified()).count()
    }

    fn ticks(&self) -> u64 {
        self.rows.iter().filter_map(|row| row.result.as_ref()).map(|result| u64::from(result.ticks)).sum()
    }

    fn desyncs(&self) -> u64 {
        let swarm = &self.played.swarm;
        swarm.desyncs + swarm.disagreed as u64
    }

    fn late_ticks(&self) -> u64 {
        self.played.nodes.iter().map(|node| node.rooms.late_ticks).sum()
    }

    fn tick_ns(&self) -> Histogram<u64> {
        let mut nodes = self.played.nodes.iter().map(|node| &node.tick_ns);
        let mut all = nodes.next().expect("the house has nodes").clone();
        nodes.for_each(|node| all.add(node).expect("all nodes measure alike"));
        all
    }

    /// What was lost, diverged or is missing; nothing when all is well.
    pub(super) fn problems(&self) -> Vec<String> {
        let swarm = &self.played.swarm;
        let expected = self.battles * self.seats;
        let mut problems = Vec::new();
        let mut hold = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        hold(!self.played.interrupted, "interrupted before the end".to_owned());
        hold(
            swarm.finished as u64 == expected,
            format!("{} of {expected} bots came to the end", swarm.finished),
        );
        for (reason, count) in failures(swarm) {
            hold(false, format!("{count} bots: {reason}"));
        }
        hold(self.desyncs() == 0, format!("{} states differed from the node's", self.desyncs()));
        hold(swarm.faults == 0, format!("the game panicked {} times in a bot", swarm.faults));
        for (number, node) in self.played.nodes.iter().enumerate() {
            let name = number + 1;
            hold(node.panics == 0, format!("node {name}: {} battles panicked", node.panics));
            let incomplete = node.recordings["recordings_incomplete"];
            hold(incomplete == 0, format!("node {name}: {incomplete} recordings are incomplete"));
        }
        hold(
            self.checked.len() as u64 == self.battles,
            format!("{} recordings of {} battles", self.checked.len(), self.battles),
        );
        for file in self.checked.iter().filter(|file| !is_whole(file)) {
            hold(false, file.remark().unwrap_or_else(|| file.path.display().to_string()));
        }
        hold(
            (self.counts.battles, self.counts.results) == (self.battles, self.battles),
            format!("{} results of {} battles are stored", self.counts.results, self.counts.battles),
        );
        for row in &self.rows {
            match &row.result {
                // That results are missing is said above.
                None => {}
                Some(result) if result.ended != BattleEnd::Finished => {
                    hold(false, format!("battle {} was {}", row.battle, ended(result.ended)));
                }
                Some(_) => {
                    let text = format!("the result of battle {} is not its recording's", row.battle);
                    hold(self.is_proven(row), text);
                }
            }
        }
        let missing = self.played.refusals.missing();
        hold(missing.is_empty(), format!("not seen refused: {}", missing.join(", ")));
        problems
    }

    /// Whether a battle's stored result is what its recording computes to.
    fn is_proven(&self, row: &BattleRow) -> bool {
        row.result.as_ref().is_some_and(|result| {
            let is_its = |file: &&Checked| {
                file.verdict.as_ref().is_ok_and(|verdict| verdict.recording_hash == result.recording_hash)
            };
            let recording = self.checked.iter().find(is_its).and_then(|file| file.verdict.as_ref().ok());
            recording.is_some_and(|verdict| {
                verdict.final_hash == result.final_hash && verdict.last_tick == result.ticks
            })
        })
    }

    /// The keys of the program's contract, and `refusals`, `problems`, `results` beside them.
    pub(super) fn to_json(&self) -> Value {
        let swarm = &self.played.swarm;
        let tick = self.tick_ns();
        let us = |ns: u64| ns as f64 / 1_000.0;
        let paths = self.checked.iter().map(|file| file.path.display().to_string());
        let refusals = self.played.refusals.by_reason();
        let refusals = refusals.into_iter().map(|(reason, count)| (reason.to_owned(), count.into()));
        let results = self.rows.iter().filter_map(|row| {
            let result = row.result.as_ref()?;
            Some(json!({
                "battle": hex(&row.battle.0.to_be_bytes()),
                "node": result.node.to_string(),
                "ticks": result.ticks,
                "winner": result.winner,
                "scores": scores(row, result),
                "final_hash": hex(&result.final_hash.to_be_bytes()),
            }))
        });
        json!({
            "battles": self.battles,
            "players": swarm.joined,
            "ticks": self.ticks(),
            "tokens": self.played.tokens,
            "refused": self.played.refusals.sum(),
            "refusals": refusals.collect::<serde_json::Map<_, _>>(),
            "desyncs": self.desyncs(),
            "replays": paths.collect::<Vec<_>>(),
            "verified": self.verified(),
            "results_stored": self.counts.results,
            "results": results.collect::<Vec<_>>(),
            "tick_us": {
                "p50": us(tick.value_at_quantile(0.5)),
                "p99": us(tick.value_at_quantile(0.99)),
                "max": us(tick.max()),
            },
            "late_ticks": self.late_ticks(),
            "input_to_state_ms": quantiles_json(&swarm.input_to_state),
            "bytes_per_player_s": bytes_json(swarm),
            "lane_bytes": { "kcp": swarm.lane_bytes.kcp, "datagram": swarm.lane_bytes.datagram },
            "times_realtime": self.times_realtime(),
            "seconds": self.seconds,
            "problems": self.problems(),
        })
    }

    fn times_realtime(&self) -> f64 {
        let of = |file: &Checked| Some(file.verdict.as_ref().ok()?.times_realtime(file.seconds));
        let all: Vec<f64> = self.checked.iter().filter_map(of).collect();
        if all.is_empty() { 0.0 } else { all.iter().sum::<f64>() / all.len() as f64 }
    }

    /// The table for a person.
    pub(super) fn to_text(&self) -> String {
        let swarm = &self.played.swarm;
        let (tick, refusals) = (self.tick_ns(), &self.played.refusals);
        let us = |ns: u64| format!("{:.0} µs", ns as f64 / 1_000.0);
        let mut battles = Table::new(["battle", "node", "ticks", "won by", "score", "recording"]);
        for row in &self.rows {
            let Some(result) = &row.result else { continue };
            let scores: Vec<_> = scores(row, result).iter().map(ToString::to_string).collect();
            battles.row([
                hex(&row.battle.0.to_be_bytes()),
                result.node.to_string(),
                result.ticks.to_string(),
                match (result.ended, result.winner) {
                    (BattleEnd::Finished, Some(team)) => format!("team {team}"),
                    (BattleEnd::Finished, None) => "draw".to_owned(),
                    (end, _) => ended(end).to_owned(),
                },
                scores.join(" : "),
                if self.is_proven(row) { "verified".to_owned() } else { "NOT PROVEN".to_owned() },
            ]);
        }
        let mut table = Table::new(["what happened", ""]);
        let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
        row("bots that logged in, were matched and fought", swarm.joined.to_string());
        row("of them to the end", swarm.finished.to_string());
        row("battle tokens handed out", self.played.tokens.to_string());
        row("bad tokens and datagrams refused", refusals.sum().to_string());
        for (reason, count) in refusals.by_reason() {
            row(&format!("    {}", reason.replace('_', " ")), count.to_string());
        }
        row("ticks played", self.ticks().to_string());
        row("    time for one: median, 99 of 100, slowest", {
            let [p50, p99] = [0.5, 0.99].map(|share| us(tick.value_at_quantile(share)));
            format!("{p50}, {p99}, {}", us(tick.max()))
        });
        row("    of them late by a tick or more", self.late_ticks().to_string());
        row("states that differed between bots and node", self.desyncs().to_string());
        row(
            "from input to its effect on a bot's screen",
            match &swarm.input_to_state {
                times if times.count() == 0 => "–".to_owned(),
                times => {
                    let [p50, p99] = [0.5, 0.99].map(|share| times.quantile_ms(share));
                    format!("{p50} ms, 99 of 100 within {p99} ms")
                }
            },
        );
        row("    in it the lead by which bots decide", format!("{LEAD_TICKS} ticks"));
        row("bytes a bot and second, up and down", {
            format!("{:.0}, {:.0}", swarm.up_per_player_s, swarm.down_per_player_s)
        });
        row("bytes by KCP and by datagrams", {
            format!("{}, {}", swarm.lane_bytes.kcp, swarm.lane_bytes.datagram)
        });
        row("recordings computed again and equal", {
            format!(
                "{} of {}, at {:.0} x real time",
                self.verified(),
                self.checked.len(),
                self.times_realtime()
            )
        });
        row("results in the store", format!("{} of {}", self.counts.results, self.battles));
        row("seconds", format!("{:.1}", self.seconds));
        format!("{battles}\n\n{table}")
    }
}

/// The scores of the teams that there are.
fn scores<'a>(row: &BattleRow, result: &'a BattleResult) -> &'a [i64] {
    let teams = row.seats.iter().map(|seat| usize::from(seat.team) + 1).max().unwrap_or(0);
    result.scores.get(..teams).unwrap_or(&result.scores)
}

fn is_whole(file: &Checked) -> bool {
    file.verdict.as_ref().is_ok_and(|verdict| verdict.verified && verdict.complete)
}

/// How a battle ended, in a word.
fn ended(end: BattleEnd) -> &'static str {
    match end {
        BattleEnd::Finished => "finished",
        BattleEnd::Aborted => "aborted",
        BattleEnd::Abandoned => "abandoned",
    }
}
