//! `tiltyard demo`: the whole house in small, with bots, trespassers and a proof at the end.

mod figures;
mod trespass;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_battle::PUBLIC_KEY_EXTENSION;
use tiltyard_client::{BotSettings, PlayerSettings, SwarmReport, SwarmSettings, run_swarm};
use tiltyard_engine::{Game, TICKS_MAX};
use tiltyard_lobby::ModeConfig;
use tiltyard_lobby::store::{BattleRow, EmbeddedStore, Store, StoreCounts};
use tiltyard_replay::OnDamage;
use tokio::time::sleep;

use self::figures::Figures;
use self::trespass::{Refusals, trespass};
use crate::bots::wish_of;
use crate::config::{Config, Flag};
use crate::exit::{Exit, Usage};
use crate::house::{House, Plan, StorePlace, token_key};
use crate::keys::ClusterKeys;
use crate::output::Output;
use crate::replay::{Checked, public_keys, verify_all};
use crate::stop::{Stop, run_until_done};
use crate::time::now_unix_ms;
use crate::wishes::{FeedName, LaneName};

/// Battle nodes of the demo.
const NODES: u16 = 2;
/// The store's file beside the recordings.
const STORE: &str = "lobby.redb";
/// The folder of the nodes' keys beside the recordings.
const SIGNING: &str = "signing";
/// How long a match, a session and a result are waited for, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the last results are waited for after the bots are through.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long nodes take to tell their last counters.
const LAST_COUNTERS: Duration = Duration::from_millis(600);

/// How large the demo is.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Bots in each battle, in equal teams; without it as many as the game's first mode has seats (skirmish: 10)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    players: Option<u16>,
    /// Battles, all at once
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=200))]
    battles: u16,
    /// Seconds that a battle lasts
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Battles and bots' decisions follow from it, instead of the configuration's seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A new or empty folder for recordings and store; without it one in the data folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How messages travel
    #[arg(long, value_enum, default_value_t)]
    lane: LaneName,
    /// Which feed the bots take
    #[arg(long, value_enum, default_value_t)]
    feed: FeedName,
}

/// What the house did.
struct Played {
    swarm: SwarmReport,
    refusals: Refusals,
    nodes: Vec<tiltyard_battle::NodeReport>,
    tokens: u64,
    interrupted: bool,
}

impl DemoArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.seed.iter().map(|seed| Flag::new("--seed", "seed", seed.to_string())).collect()
    }

    /// Runs house, bots and trespassers, then proves the recordings.
    pub(crate) fn run<G: Game>(&self, output: Output, mut config: Config) -> anyhow::Result<Exit> {
        let began = Instant::now();
        let mode = self.mode::<G>(&config)?;
        let seats = u16::from(mode.teams).saturating_mul(mode.seats_per_team);
        let out = self.out.clone().unwrap_or_else(|| fresh_folder(&config));
        ensure_unused(&out)?;
        self.suit(&mut config);
        let plan = Plan {
            nodes: NODES,
            store: StorePlace::File(out.join(STORE)),
            recordings: out.clone(),
            outbox: out.join("outbox"),
            signing: out.join(SIGNING),
            modes: Some(vec![mode]),
            // The house lives as long as this run, and so do its keys.
            ..Plan::new(config, ClusterKeys::generate(now_unix_ms()?)?)
        };
        let played = run_until_done(|stop| self.play::<G>(output, &plan, seats, stop))?;
        let checked = prove::<G>(output, &out)?;
        let (rows, counts) = read_back(&out.join(STORE), &played.swarm)?;
        tidy(&plan.outbox);
        forget_private_keys(&plan.signing);
        let figures = Figures {
            battles: u64::from(self.battles),
            seats: u64::from(seats),
            played,
            checked,
            rows,
            counts,
            seconds: began.elapsed().as_secs_f64(),
        };
        output.say(figures.to_text());
        let keys = public_keys(&plan.signing).context("the nodes' public keys")?;
        let (program, out) = (crate::program::name(), out.display());
        output.say(format!("\nrecordings and store: {out}"));
        output.say(format!(
            "to hold them against their signatures: {program} replay audit {out} --keys {out}/{SIGNING}"
        ));
        keys.iter().for_each(|(node, key)| output.say(format!("{node} signs with {key}")));
        let problems = figures.problems();
        for problem in &problems {
            output.say(format!("PROBLEM: {problem}"));
        }
        let mut result = figures.to_json();
        result["public_keys"] = keys.iter().map(|(node, key)| json!({ "node": node, "key": key })).collect();
        output.result(&result);
        Ok(if problems.is_empty() { Exit::Fine } else { Exit::Failed })
    }

    /// The game's first mode with as many seats and seconds as asked for; nobody but bots of ours takes them.
    fn mode<G: Game>(&self, config: &Config) -> anyhow::Result<ModeConfig> {
        let modes = Plan::modes_of::<G>(config)?;
        let mode = modes.into_iter().next().ok_or_else(|| Usage(format!("{} has no mode", G::NAME)))?;
        let teams = u16::from(mode.teams.max(1));
        let players = self.players.unwrap_or(teams.saturating_mul(mode.seats_per_team));
        if !players.is_multiple_of(teams) {
            return Err(Usage(format!("--players {players}: {} has {teams} equal teams", mode.name)).into());
        }
        let ticks_max = self.seconds.saturating_mul(u32::from(mode.rate_hz)).min(TICKS_MAX);
        Ok(ModeConfig { seats_per_team: players / teams, ticks_max, bots_after: None, ..mode })
    }

    /// Loopback, free ports, and room for all bots.
    fn suit(&self, config: &mut Config) {
        let free = Config::default().battle.listen;
        (config.gate.listen, config.http.listen) = (free, free);
        (config.control.listen, config.battle.listen) = (free, free);
        config.battle.advertise = Config::default().battle.advertise;
        // Without a seed of its own every demo is the same one.
        config.seed = config.seed.max(1);
        // The bots come from this machine, whatever others may.
        config.gate.limit_loopback = false;
        config.cluster.etcd.clear();
        config.token.expiry_seconds = PATIENCE.as_secs() as u32;
        config.battle.battles_max = config.battle.battles_max.max(u32::from(self.battles));
    }

    async fn play<G: Game>(
        &self,
        output: Output,
        plan: &Plan,
        seats: u16,
        stop: Stop,
    ) -> anyhow::Result<Played> {
        let house = House::<G>::start(plan).await?;
        let master = token_key(&plan.keys.current);
        let bar = output.progress("login, queue, battle: seconds", u64::from(self.seconds));
        let swarm = run_swarm::<G>(self.swarm(&house.gate(), seats), wish_of(&stop));
        let (swarm, refusals) = tokio::select! {
            both = async { tokio::join!(swarm, trespass(&house, &master, &stop)) } => both,
            () = count_seconds(&house, &bar) => unreachable!("it counts for ever"),
        };
        bar.finish_and_clear();
        let expected = swarm.battles.len() as u64;
        let settled = wait_for_results(&house, expected, &stop).await;
        // Also when something went wrong the house ends in order.
        sleep(LAST_COUNTERS).await;
        let (nodes, tokens) = (house.reports(), house.lobby_counter("tokens_minted"));
        house.close().await;
        settled?;
        Ok(Played { swarm, refusals: refusals?, nodes, tokens, interrupted: stop.is_asked() })
    }

    fn swarm(&self, gate: &str, seats: u16) -> SwarmSettings {
        let patience_ms = PATIENCE.as_millis() as u64;
        SwarmSettings {
            bot: BotSettings {
                feed: self.feed.into(),
                player: PlayerSettings {
                    lane: self.lane.into(),
                    connect_for_ms: patience_ms,
                    ..PlayerSettings::default()
                },
                match_timeout: PATIENCE,
                result_timeout: PATIENCE,
                battle_time_max: PATIENCE + Duration::from_secs(self.seconds.into()) * 2,
                ..BotSettings::new(gate)
            },
            players: usize::from(seats) * usize::from(self.battles),
            battles: 1,
            name: "bot-".to_owned(),
        }
    }
}

/// A folder named by the time, in the data folder.
fn fresh_folder(config: &Config) -> PathBuf {
    let seconds = now_unix_ms().unwrap_or_default() / 1_000;
    config.data_folder().join(format!("demo-{seconds}"))
}

/// The same seed gives the same battle numbers, so recordings of an earlier run would be in the way.
fn ensure_unused(out: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| out.display().to_string()),
    };
    if entries.count() > 0 {
        return Err(Usage(format!("--out {}: name a new or empty folder", out.display())).into());
    }
    Ok(())
}

/// Moves the bar from the first battle on; the time to log in and be matched is not foreseen.
async fn count_seconds<G: Game>(house: &House<G>, bar: &indicatif::ProgressBar) {
    loop {
        sleep(Duration::from_secs(1)).await;
        if house.battles() > 0 {
            bar.inc(1);
        }
    }
}

async fn wait_for_results<G: Game>(house: &House<G>, expected: u64, stop: &Stop) -> anyhow::Result<()> {
    let until = Instant::now() + SETTLE_TIMEOUT;
    while Instant::now() < until && !stop.is_asked() {
        let counts = house.store().counts().await.context("asking the store")?;
        if counts.results >= expected && house.battles() == 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    // What is missing shows in the figures.
    Ok(())
}

/// Computes every recording again.
fn prove<G: Game>(output: Output, out: &Path) -> anyhow::Result<Vec<Checked>> {
    let files = crate::replay::recordings(&[out.to_owned()]).unwrap_or_default();
    let bar = output.progress("verifying", crate::replay::bytes_of(&files));
    let checked = verify_all::<G>(&files, OnDamage::Stop, &bar);
    bar.finish_and_clear();
    Ok(checked)
}

/// Opens the store anew and reads what is in it of the battles that were played.
fn read_back(store: &Path, swarm: &SwarmReport) -> anyhow::Result<(Vec<BattleRow>, StoreCounts)> {
    let store = EmbeddedStore::open(store).context("reading the results back")?;
    let battles: Vec<_> = swarm.battles.iter().copied().collect();
    run_until_done(|_| async move {
        let mut rows = Vec::new();
        for battle in battles {
            let row = store.battle(tiltyard_cluster::BattleId(battle.0)).await;
            rows.extend(row.context("reading the results back")?);
        }
        Ok((rows, store.counts().await.context("reading the results back")?))
    })
}

/// Removes the outboxes, which are empty when all results are stored; others stay.
fn tidy(outbox: &Path) {
    for entry in std::fs::read_dir(outbox).into_iter().flatten().flatten() {
        // One that is not empty stays.
        let _ = std::fs::remove_dir(entry.path());
    }
    let _ = std::fs::remove_dir(outbox);
}

/// Removes what nobody signs with any more; the public halves stay, for an audit.
fn forget_private_keys(signing: &Path) {
    for entry in std::fs::read_dir(signing).into_iter().flatten().flatten() {
        if entry.path().extension().is_none_or(|extension| extension != PUBLIC_KEY_EXTENSION) {
            // A key that stays signs nothing: the node is gone, and the folder is the user's.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tiltyard_engine::skirmish::Skirmish;

    use super::*;

    fn args(line: &str) -> DemoArgs {
        match crate::cli::Cli::parse_from(["tiltyard", "demo"].into_iter().chain(line.split_whitespace()))
            .command
        {
            crate::cli::Command::Demo(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn players_are_shared_by_equal_teams() {
        let config = Config::default();
        let mode = args("--players 6 --seconds 7").mode::<Skirmish>(&config).unwrap();
        assert_eq!((mode.teams, mode.seats_per_team, mode.ticks_max, mode.bots_after), (2, 3, 210, None));
        let mode = args("").mode::<Skirmish>(&config).unwrap();
        assert_eq!((mode.teams, mode.seats_per_team), (2, 5));
        let error = args("--players 7").mode::<Skirmish>(&config).unwrap_err();
        assert_eq!(Exit::from_error(&error), Exit::Usage);
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ensure_unused(folder.path()).is_ok());
        assert!(ensure_unused(&folder.path().join("new")).is_ok());
        std::fs::write(folder.path().join("x"), "").unwrap();
        assert_eq!(Exit::from_error(&ensure_unused(folder.path()).unwrap_err()), Exit::Usage);
    }
}
