//! `tiltyard netsim`: battle and players over a seeded bad link, in virtual time.

mod field;
mod picture;
mod run;
mod tables;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_client::Latencies;
use tiltyard_engine::{Game, SEATS_MAX, TickRate};

pub use self::field::{Field, spec_for};
use self::run::{Figures, Plan};
use crate::bots::{PREDICTION_ROW, prediction_json, prediction_text};
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};
use crate::wishes::{FeedName, LaneName, LinkArgs};

/// What to simulate.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetsimArgs {
    /// How many players; the seats of the game's first mode that are left over are scripted
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=SEATS_MAX as i64))]
    players: u16,
    #[command(flatten)]
    link: LinkArgs,
    /// Minutes of play, in as many battles as it takes
    #[arg(long, value_name = "M", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// Everything follows from it: the battles, what players decide, what the links do
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How messages travel
    #[arg(long, value_enum, default_value_t)]
    lane: LaneName,
    /// The feed
    #[arg(long, value_enum, default_value_t)]
    feed: FeedName,
    /// Let the players predict what their inputs do, and tell how far off that was
    #[arg(long)]
    predict: bool,
    /// Go through all feeds, lanes and losses of 0, 1, 5, 10 and 20 percent over 40 to 60 ms, and print the tables of
    /// docs/netcode.md
    #[arg(long, conflicts_with_all = ["loss", "delay", "jitter", "reorder", "duplicate", "lane", "feed", "predict"])]
    tables: bool,
    /// With `--tables`: draw how old the players' states are over what the link loses
    #[arg(long, value_name = "FILE", requires = "tables")]
    svg: Option<PathBuf>,
}

impl NetsimArgs {
    /// Simulates and says what came out.
    pub(crate) fn run<G: Game>(&self, output: Output, rate_hz: u16) -> anyhow::Result<Exit> {
        let rate = TickRate::new(rate_hz).ok_or_else(|| Usage(format!("battle.rate_hz: {rate_hz}")))?;
        if self.tables {
            return self.tables::<G>(output, rate);
        }
        let plan = Plan {
            players: self.players,
            rate,
            link: self.link.link().unwrap_or_default(),
            lane: self.lane.into(),
            feed: self.feed.into(),
            minutes: self.minutes,
            seed: self.seed,
            predicts: self.predict,
        };
        let bar = output.progress("simulating", u64::from(self.minutes) * 60);
        let figures = plan.run::<G>(|second| bar.set_position(second)).context("the battle")?;
        bar.finish_and_clear();
        output.say(describe(&figures));
        if let Some(problem) = problem(&figures) {
            output.say(format!("PROBLEM {problem}"));
        }
        output.result(&object(&figures));
        Ok(if figures.is_fine() { Exit::Fine } else { Exit::Failed })
    }

    fn tables<G: Game>(&self, output: Output, rate: TickRate) -> anyhow::Result<Exit> {
        let bar = output.progress("simulating", tables::CELLS);
        let cells = tables::run::<G>(self.players, rate, self.minutes, self.seed, || bar.inc(1));
        bar.finish_and_clear();
        let cells = cells.context("the battle")?;
        output.say(tables::markdown(&cells));
        if let Some(path) = &self.svg {
            let place = || format!("writing {}", path.display());
            std::fs::write(path, picture::draw(&cells)).with_context(place)?;
        }
        let is_fine = cells.iter().all(|cell| cell.figures.is_fine());
        for cell in &cells {
            if let Some(problem) = problem(&cell.figures) {
                output.say(format!("PROBLEM {}: {problem}", cell.name()));
            }
        }
        let list: Vec<Value> = cells.iter().map(tables::Cell::object).collect();
        output.result(&json!({ "cells": list, "svg": self.svg }));
        Ok(if is_fine { Exit::Fine } else { Exit::Failed })
    }
}

fn problem(figures: &Figures) -> Option<String> {
    let Figures { unfinished, desyncs, .. } = figures;
    (!figures.is_fine())
        .then(|| format!("{unfinished} battles were not played to the end, {desyncs} states differed"))
}

fn quantiles(times: &Latencies) -> Value {
    json!({ "p50": times.quantile_ms(0.5), "p99": times.quantile_ms(0.99), "max": times.max_ms() })
}

fn object(figures: &Figures) -> Value {
    let (up, down) = figures.bytes_per_player_s();
    json!({
        "battles": figures.battles,
        "unfinished": figures.unfinished,
        "ticks": figures.ticks,
        "state_age_ms": quantiles(&figures.state_age),
        "input_to_state_ms": quantiles(&figures.input_to_state),
        "bytes_per_player_s": { "up": up, "down": down },
        "lane_bytes": { "kcp": figures.lane_bytes.kcp, "datagram": figures.lane_bytes.datagram },
        "link": {
            "datagrams": figures.up.sent + figures.down.sent,
            "lost": figures.up.lost + figures.down.lost,
            "crowded_out": figures.up.crowded_out + figures.down.crowded_out,
        },
        "prediction": prediction_json(figures.prediction.as_ref()),
        "desyncs": figures.desyncs,
        "reconnects": figures.reconnects,
        "inputs_missed": figures.inputs_missed,
        "inputs_due": figures.inputs_due,
        "final_hash": figures.final_hash.map(|hash| hash.to_string()),
        "virtual_seconds": figures.virtual_ms as f64 / 1000.0,
        "seconds": figures.seconds,
        "times_realtime": figures.times_realtime(),
    })
}

fn describe(figures: &Figures) -> String {
    let mut table = Table::new(["netsim", ""]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    let spread = |times: &Latencies| {
        let [p50, p99] = [0.5, 0.99].map(|share| times.quantile_ms(share));
        format!("{p50} / {p99} / {}", times.max_ms())
    };
    let (up, down) = figures.bytes_per_player_s();
    row("battles", figures.battles.to_string());
    row("ticks", figures.ticks.to_string());
    row("age of the newest state, ms, half / 99 of 100 / all within", spread(&figures.state_age));
    row("from input to its effect, ms, the same", spread(&figures.input_to_state));
    row("inputs that ticks did without", format!("{} of {}", figures.inputs_missed, figures.inputs_due));
    if let Some(prediction) = &figures.prediction {
        row(PREDICTION_ROW, prediction_text(prediction));
    }
    row("bytes a player and second, up / down", format!("{up} / {down}"));
    row(
        "bytes of messages, reliable / datagram lane",
        format!("{} / {}", figures.lane_bytes.kcp, figures.lane_bytes.datagram),
    );
    row("datagrams lost", (figures.up.lost + figures.down.lost).to_string());
    row("states that differed", figures.desyncs.to_string());
    row("sessions taken up again", figures.reconnects.to_string());
    row("last state", figures.final_hash.map_or("none".to_owned(), |hash| hash.to_string()));
    format!("{table}\n\n{:.0} times real time", figures.times_realtime())
}

#[cfg(test)]
mod tests {
    use tiltyard_client::FeedWish;
    use tiltyard_engine::skirmish::Skirmish;
    use tiltyard_netcode::LaneWish;
    use tiltyard_netcode::link::LinkConfig;

    use super::*;

    fn plan(seed: u64) -> Plan {
        let link = LinkConfig { delay_ms: 40, jitter_ms: 20, loss: 500, ..LinkConfig::default() };
        let rate = TickRate::DEFAULT;
        Plan {
            players: 4,
            rate,
            link,
            lane: LaneWish::Auto,
            feed: FeedWish::Mixed,
            minutes: 1,
            seed,
            predicts: true,
        }
    }

    #[test]
    fn by_seed_the_same_run_to_the_last_count() {
        let run = |seed| {
            let mut figures = object(&plan(seed).run::<Skirmish>(|_| {}).expect("it starts"));
            for wall_clock in ["seconds", "times_realtime"] {
                figures.as_object_mut().expect("an object").remove(wall_clock);
            }
            figures
        };
        let first = run(5);
        assert_eq!(first, run(5));
        assert_ne!(first, run(6));
        assert_eq!((&first["desyncs"], &first["ticks"]), (&json!(0), &json!(1800)));
        let age = first["state_age_ms"]["p50"].as_u64().expect("a number");
        assert!((40..200).contains(&age), "{first}");
    }

    #[test]
    fn without_loss_no_input_is_missed_and_with_five_percent_one_in_a_thousand_at_most() {
        for feed in [FeedWish::Snapshot, FeedWish::Frame] {
            let missed = |loss| {
                let of_plan = plan(7);
                let link = LinkConfig { loss, ..of_plan.link };
                let plan = Plan { players: 10, link, lane: LaneWish::Datagram, feed, ..of_plan };
                plan.run::<Skirmish>(|_| {}).expect("it starts").missed_percent()
            };
            assert_eq!(missed(0), 0.0, "{feed:?}: the first ticks of a battle have their inputs too");
            let missed = missed(500);
            assert!(missed < 0.1, "{feed:?}: {missed} %");
        }
    }

    #[test]
    fn own_poses_are_predicted_to_the_centimetre_over_a_link_that_loses_five_percent() {
        let figures = plan(9).run::<Skirmish>(|_| {}).expect("it starts");
        let prediction = figures.prediction.expect("the players predict");
        assert_eq!((prediction.faults, prediction.too_far), (0, 0));
        assert!(prediction.confirmed() > 6_000, "{}", prediction.confirmed());
        assert!(prediction.error_mean_m() < 0.01, "{} m", prediction.error_mean_m());
        // Each state that comes is gone on from, by no more ticks than a round trip and the lead have.
        let ticks = prediction.ticks as f64 / figures.inputs_due as f64;
        assert!((2.0..8.0).contains(&ticks), "{ticks} ticks computed a tick");
    }

    #[test]
    fn battles_run_at_the_rate_that_is_asked_for() {
        let plan = Plan { rate: TickRate::new(60).expect("a rate"), ..plan(5) };
        let figures = object(&plan.run::<Skirmish>(|_| {}).expect("it starts"));
        assert_eq!((&figures["desyncs"], &figures["ticks"]), (&json!(0), &json!(3600)));
        let seconds = figures["virtual_seconds"].as_f64().expect("a number");
        assert!((60.0..75.0).contains(&seconds), "{figures}");
    }

    #[test]
    fn more_players_than_the_mode_has_seats_find_one_each() {
        let spec = spec_for::<Skirmish>(25, 30, 1);
        assert!(spec.roster.len() >= 25);
        let players = spec.roster.seats.iter().filter(|seat| seat.role == tiltyard_engine::SeatRole::Human);
        assert_eq!(players.count(), 25);
    }
}
