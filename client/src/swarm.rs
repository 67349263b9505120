//! A swarm: many bots through the whole house at once, and what came of it in numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use tiltyard_engine::Game;
use tiltyard_netcode::BattleId;
use tiltyard_netcode::link::{LinkStats, Random};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bot::{BotError, BotPlayer, BotReport, BotSettings};
use crate::latencies::Latencies;
use crate::lobby::LobbyError;
use crate::prediction::PredictionReport;
use crate::statistics::LaneBytes;

/// How a swarm goes through the house.
#[derive(Clone, Debug)]
pub struct SwarmSettings {
    /// How each bot goes; a bad link gets a seed of its own for each, drawn from the one here.
    pub bot: BotSettings,
    /// How many bots.
    pub players: usize,
    /// How many battles each plays, one after the other.
    pub battles: usize,
    /// Names are this and a number.
    pub name: String,
}

/// What came of a swarm.
#[derive(Debug, Default)]
pub struct SwarmReport {
    /// Bots that were to come.
    pub players: usize,
    /// Bots that the gate logged in.
    pub logged_in: usize,
    /// Times that a node took a bot into a battle.
    pub joined: usize,
    /// Times that a bot played a battle to its end.
    pub finished: usize,
    /// Stored results that bots were told of, each battle once.
    pub results: usize,
    /// Refusals, by gate and nodes.
    pub refused: usize,
    /// States that differed from the node's.
    pub desyncs: u64,
    /// Bots whose last state was not the one that the battle ended with.
    pub disagreed: usize,
    /// Battle sessions taken up again.
    pub reconnects: u64,
    /// Panics of the game in mirrors.
    pub faults: u64,
    /// The battles that were played.
    pub battles: BTreeSet<BattleId>,
    /// The longest battle's ticks.
    pub ticks_max: u32,
    /// From an input's sending to the first state with its effect.
    pub input_to_state: Latencies,
    /// How well their own poses were predicted; nothing if they do not predict.
    pub prediction: Option<PredictionReport>,
    /// The bots' smoothed round trips.
    pub round_trips: Latencies,
    /// Bytes of UDP payload per player and second of battle, sent.
    pub up_per_player_s: f64,
    /// Bytes of UDP payload per player and second of battle, received.
    pub down_per_player_s: f64,
    /// Bytes of messages by lane, both directions.
    pub lane_bytes: LaneBytes,
    /// What the bots' bad links did.
    pub link: LinkStats,
    /// How long it all took.
    pub time: Duration,
    /// What came of each bot in each of its battles, in the order of their numbers.
    pub bots: Vec<BotReport>,
}

impl SwarmReport {
    /// Whether every bot played every battle to its end, in step with it, and nobody was refused.
    #[must_use]
    pub fn is_flawless(&self) -> bool {
        self.bots.iter().all(|bot| bot.error.is_none())
            && (self.refused, self.desyncs, self.disagreed, self.faults) == (0, 0, 0, 0)
    }

    fn add(&mut self, bot: BotReport) {
        let report = &bot.report;
        self.joined += usize::from(report.place.is_some());
        self.finished += usize::from(bot.error.is_none());
        let refused = matches!(
            &bot.error,
            Some(
                BotError::Refused(_)
                    | BotError::Lobby(LobbyError::Refused { .. } | LobbyError::NoSuchMode { .. })
            )
        );
        self.refused += usize::from(refused);
        self.desyncs += report.desyncs;
        self.disagreed += usize::from(report.agrees == Some(false));
        self.reconnects += report.reconnects;
        self.faults += report.faults;
        if report.place.is_some() {
            self.battles.extend(bot.battle);
        }
        self.ticks_max = self.ticks_max.max(report.newest_tick.map_or(0, |tick| tick.0));
        self.input_to_state.merge(&report.input_to_state);
        if let Some(prediction) = &report.prediction {
            self.prediction.get_or_insert_default().merge(prediction);
        }
        if let Some(ms) = report.rtt_ms {
            self.round_trips.record(ms);
        }
        self.lane_bytes.merge(report.lane_bytes_up);
        self.lane_bytes.merge(report.lane_bytes_down);
        self.link = self.link + report.link;
        self.bots.push(bot);
    }

    /// Fills in what is known only when all bots are through.
    fn close(&mut self, time: Duration) {
        self.time = time;
        let told: BTreeSet<u64> =
            self.bots.iter().filter_map(|bot| Some(bot.result.as_ref()?.battle.0)).collect();
        self.results = told.len();
        let sum = |of: fn(&BotReport) -> u64| self.bots.iter().map(of).sum::<u64>() as f64;
        let seconds = sum(|bot| bot.report.joined_ms) / 1000.0;
        if seconds > 0.0 {
            self.up_per_player_s = sum(|bot| bot.report.traffic.up) / seconds;
            self.down_per_player_s = sum(|bot| bot.report.traffic.down) / seconds;
        }
    }
}

/// Runs a swarm. The bots log in and queue one after the other, so that the matchmaker sees them in the same order
/// every time; everything else they do at once. A `stop` that turns true ends it in order.
pub async fn run_swarm<G: Game>(settings: SwarmSettings, stop: watch::Receiver<bool>) -> SwarmReport {
    let began = Instant::now();
    let mut report = SwarmReport { players: settings.players, ..SwarmReport::default() };
    let mut bots = Vec::with_capacity(settings.players);
    let mut seeds = Random::new(settings.bot.link.map_or(0, |(_, seed)| seed));
    for number in 1..=settings.players {
        if *stop.borrow() {
            break;
        }
        let name = format!("{}{number}", settings.name);
        let mut bot = settings.bot.clone();
        if let Some((_, seed)) = &mut bot.link {
            *seed = seeds.next_u64();
        }
        match BotPlayer::<G>::log_in(bot, &name).await {
            Ok(bot) => bots.push((number, bot)),
            Err(error) => report.add(BotReport { name, error: Some(error), ..BotReport::default() }),
        }
    }
    report.logged_in = bots.len();
    for _ in 0..settings.battles {
        if *stop.borrow() {
            break;
        }
        bots = play_round(bots, &mut report, &stop).await;
    }
    for (_, bot) in bots {
        // The gate may be gone already; then there is no session to end.
        let _ = bot.log_out().await;
    }
    report.close(began.elapsed());
    report
}

/// One battle of every bot; gives the bots back that can play another.
async fn play_round<G: Game>(
    bots: Vec<(usize, BotPlayer<G>)>,
    report: &mut SwarmReport,
    stop: &watch::Receiver<bool>,
) -> Vec<(usize, BotPlayer<G>)> {
    let mut playing = JoinSet::new();
    let mut done = Vec::with_capacity(bots.len());
    for (number, mut bot) in bots {
        let queued = bot.queue().await;
        let stop = stop.clone();
        playing.spawn(async move {
            let played = match queued {
                Ok(()) => bot.play(stop).await,
                Err(error) => bot.failed(error),
            };
            (number, bot, played)
        });
    }
    while let Some(joined) = playing.join_next().await {
        // A panic in a bot is a mistake of ours and not to be hidden.
        done.push(joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    done.sort_by_key(|(number, ..)| *number);
    let mut back = Vec::with_capacity(done.len());
    for (number, bot, played) in done {
        if played.error.is_none() {
            back.push((number, bot));
        }
        report.add(played);
    }
    back
}
