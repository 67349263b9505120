//! `tiltyard bots`: test clients through a whole lobby.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use tiltyard_client::{
    BotSettings, Latencies, Pace, PlayerSettings, PredictionReport, SwarmReport, SwarmSettings, run_swarm,
};
use tiltyard_engine::Game;
use tokio::sync::watch;

use crate::config::{Config, Flag};
use crate::exit::Exit;
use crate::output::{Output, Table};
use crate::stop::{Stop, run_until_done};
use crate::token::gate_of;
use crate::wishes::{FeedName, LaneName, LinkArgs, TransportName};

/// How many bots go where.
#[derive(Clone, Debug, Args)]
pub(crate) struct BotsArgs {
    /// The gate; without it the configuration's gate.listen
    #[arg(long, value_name = "URL")]
    gate: Option<String>,
    /// How many bots
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    players: u32,
    /// How many battles each of them plays, one after the other
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    battles: u32,
    /// The mode to queue for; without it the gate's first
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// The feed
    #[arg(long, value_enum, default_value_t)]
    feed: FeedName,
    /// How messages travel
    #[arg(long, value_enum, default_value_t)]
    lane: LaneName,
    /// What carries the packets
    #[arg(long, value_enum, default_value_t)]
    transport: TransportName,
    /// Let them predict what their inputs do, and tell how far off that was; costs a round trip's worth of ticks a tick
    #[arg(long)]
    predict: bool,
    #[command(flatten)]
    link: LinkArgs,
    /// What the bad link loses and delays follows from it, instead of the configuration's seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl BotsArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.seed.iter().map(|seed| Flag::new("--seed", "seed", seed.to_string())).collect()
    }

    /// Sends the bots.
    pub(crate) fn run<G: Game>(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        let gate = gate_of(self.gate.as_deref(), config)?;
        let swarm = SwarmSettings {
            bot: BotSettings {
                mode: self.mode.clone(),
                feed: self.feed.into(),
                // By the clock, so that the times from input to state are the path's and the node's.
                player: PlayerSettings {
                    lane: self.lane.into(),
                    transport: self.transport.into(),
                    pace: Pace::Prompt,
                    predicts: self.predict,
                    ..PlayerSettings::default()
                },
                link: self.link.link().map(|link| (link, config.seed)),
                ..BotSettings::new(&gate)
            },
            players: self.players as usize,
            battles: self.battles as usize,
            name: "bot-".to_owned(),
        };
        let bar = output.progress("bots are playing", 0);
        let report = run_until_done(|stop| async move {
            let asked = wish_of(&stop);
            Ok(run_swarm::<G>(swarm, asked).await)
        })?;
        bar.finish_and_clear();
        if report.logged_in > 0 {
            output.say(describe(&report));
        } else {
            output.say(nobody(&gate, &report));
        }
        output.result(&json!({
            "players": report.players,
            "logged_in": report.logged_in,
            "joined": report.joined,
            "finished": report.finished,
            "refused": report.refused,
            "desyncs": report.desyncs + report.disagreed as u64,
            "battles": report.battles.len(),
            "results": report.results,
            "input_to_state_ms": quantiles_json(&report.input_to_state),
            "prediction": prediction_json(report.prediction.as_ref()),
            "reconnects": report.reconnects,
            "transports": transports(&report),
            "bytes_per_player_s": bytes_json(&report),
            "lane_bytes": { "kcp": report.lane_bytes.kcp, "datagram": report.lane_bytes.datagram },
            "link": self.link.link().map(|_| json!({
                "datagrams": report.link.sent,
                "lost": report.link.lost,
                "crowded_out": report.link.crowded_out,
            })),
        }));
        let complete = report.finished == self.players as usize * self.battles as usize;
        Ok(if report.is_flawless() && complete { Exit::Fine } else { Exit::Failed })
    }
}

/// The wish to end, as a swarm hears it.
pub(crate) fn wish_of(stop: &Stop) -> watch::Receiver<bool> {
    let (wish, asked) = watch::channel(false);
    let stop = stop.clone();
    tokio::spawn(async move {
        stop.asked().await;
        wish.send_replace(true);
    });
    asked
}

/// The times that half, and that 99 of 100, are not above; null where none were measured.
pub(crate) fn quantiles_json(times: &Latencies) -> Value {
    let of = |share| (times.count() > 0).then(|| times.quantile_ms(share));
    json!({ "p50": of(0.5), "p99": of(0.99) })
}

/// How well poses were predicted; null of players that do not predict, and figures null where none was confirmed.
pub(crate) fn prediction_json(report: Option<&PredictionReport>) -> Value {
    let Some(report) = report else { return Value::Null };
    let of = |metres: f64| (report.confirmed() > 0).then_some(metres);
    json!({
        "confirmed": report.confirmed(),
        "corrections": report.corrections,
        "jumps": report.jumps,
        "error_m": { "mean": of(report.error_mean_m()), "p99": of(report.error_quantile_m(0.99)) },
        "ticks": report.ticks,
        "ticks_again": report.ticks_again,
        "too_far": report.too_far,
        "faults": report.faults,
    })
}

/// How many times a player's last session rode on which transport.
fn transports(report: &SwarmReport) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for transport in report.bots.iter().filter_map(|bot| bot.report.transport) {
        *counts.entry(transport.name()).or_default() += 1;
    }
    counts
}

/// Bytes of a player and second; null where nobody was in a battle.
pub(crate) fn bytes_json(report: &SwarmReport) -> Value {
    let of = |bytes: f64| (report.joined > 0).then(|| bytes.round());
    json!({ "up": of(report.up_per_player_s), "down": of(report.down_per_player_s) })
}

/// Why bots did not come to the end, each reason with how many it stopped.
pub(crate) fn failures(report: &SwarmReport) -> Vec<(String, usize)> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for error in report.bots.iter().filter_map(|bot| bot.error.as_ref()) {
        let text = error.to_string();
        match reasons.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => reasons.push((text, 1)),
        }
    }
    reasons
}

/// What a row about predicted poses is called.
pub(crate) const PREDICTION_ROW: &str = "own pose predicted wrong by, m, mean / half / 99 of 100 within";

/// How well poses were predicted, in words.
pub(crate) fn prediction_text(report: &PredictionReport) -> String {
    let mut text = if report.confirmed() > 0 {
        let [p50, p99] = [0.5, 0.99].map(|share| report.error_quantile_m(share));
        format!("{:.3} / {p50:.3} / {p99:.3}", report.error_mean_m())
    } else if report.ticks > 0 {
        "not known: the game tells no pose (`Game::pose`)".to_owned()
    } else {
        "nothing was predicted".to_owned()
    };
    if report.faults > 0 {
        text.push_str(&format!("; {} predictions ended by a panic of the game", report.faults));
    }
    text
}

fn nobody(gate: &str, report: &SwarmReport) -> String {
    let mut text = format!("no bot got in at {gate}");
    for (reason, _) in failures(report) {
        text.push_str(&format!("\n  {reason}"));
    }
    text.push_str("\nIs a house up there? `tiltyard up` starts one and prints its gate");
    text
}

fn describe(report: &SwarmReport) -> String {
    let mut table = Table::new(["bots", ""]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("logged in", format!("{} of {}", report.logged_in, report.players));
    row("joined a battle", report.joined.to_string());
    row("played it to its end", report.finished.to_string());
    row("battles", report.battles.len().to_string());
    row("states that differed", (report.desyncs + report.disagreed as u64).to_string());
    row("sessions taken up again", report.reconnects.to_string());
    let measured = |bytes: f64| if report.joined > 0 { format!("{bytes:.0}") } else { "–".to_owned() };
    let carried: Vec<_> = transports(report).iter().map(|(name, count)| format!("{name} {count}")).collect();
    row("carried by", if carried.is_empty() { "–".to_owned() } else { carried.join(", ") });
    row("bytes a player and second, up", measured(report.up_per_player_s));
    row("bytes a player and second, down", measured(report.down_per_player_s));
    if let Some(prediction) = &report.prediction {
        row(PREDICTION_ROW, prediction_text(prediction));
    }
    let link = &report.link;
    if link.sent > 0 {
        row("datagrams over the bad link", link.sent.to_string());
        row("of them lost there", (link.lost + link.crowded_out).to_string());
    }
    let times = &report.input_to_state;
    let mut text = format!("{table}\n\nfrom input to state, ms");
    for share in [0.5, 0.9, 0.99, 1.0] {
        let ms = if times.count() > 0 { times.quantile_ms(share).to_string() } else { "–".to_owned() };
        text.push_str(&format!("\n  {:>3.0} % within {ms:>5}", share * 100.0));
    }
    for (reason, count) in failures(report) {
        text.push_str(&format!("\n{count} times: {reason}"));
    }
    text
}
