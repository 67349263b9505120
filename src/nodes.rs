//! `tiltyard nodes` and `tiltyard drain`: the processes of a cluster, seen and told from outside.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use tiltyard_cluster::control::{ControlClient, NodeCalls as _};
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{GateRecord, Keyspace, LobbyRecord, NodeRecord, Record};
use tiltyard_cluster::{Clock, NodeId};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Config, Flag};
use crate::exit::{Exit, Usage};
use crate::house::control_keys;
use crate::keys;
use crate::output::{Output, Table};
use crate::roles::shared_directory;
use crate::stop::{Stop, run_until_done};
use crate::text::hex;

/// How long the directory may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often it is asked once more: of its members one may hang.
const UNANSWERED_MAX: u32 = 3;
/// How often a draining node is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodesArgs {
    /// The members of etcd, instead of the configuration's cluster.etcd; comma separated
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
}

/// Which node.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrainArgs {
    /// The node's name, as `nodes` shows it
    node: String,
    /// Seconds to wait for its battles to finish, instead of the configuration's battle.drain_seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u32>,
    #[command(flatten)]
    cluster: NodesArgs,
}

impl NodesArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.etcd.iter().map(|urls| Flag::new("--etcd", "cluster.etcd", urls.as_str())).collect()
    }

    /// Shows who is registered.
    pub(crate) fn run(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        let directory = shared_directory(config, "`nodes`")?;
        let keyspace = &config.cluster.prefix;
        run_until_done(|stop| async move {
            let listing = async {
                let nodes = list::<NodeRecord>(&*directory, keyspace).await?;
                let lobbies = list::<LobbyRecord>(&*directory, keyspace).await?;
                anyhow::Ok((nodes, lobbies, list::<GateRecord>(&*directory, keyspace).await?))
            };
            let (nodes, lobbies, gates) = tokio::select! {
                listed = listing => listed?,
                () = stop.asked() => bail!("ended before the directory answered"),
            };
            output.say(table(&nodes, &lobbies, &gates));
            output.result(&json!({
                "nodes": nodes.iter().map(to_json).collect::<Vec<_>>(),
                "lobbies": lobbies.iter().map(|lobby| json!({
                    "id": lobby.id.as_str(), "control": lobby.control.to_string(), "build": lobby.build,
                })).collect::<Vec<_>>(),
                "gates": gates.iter().map(|gate| json!({
                    "id": gate.id.as_str(), "gate": format!("ws://{}", gate.address), "build": gate.build,
                })).collect::<Vec<_>>(),
            }));
            Ok(Exit::Fine)
        })
    }
}

impl DrainArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let seconds = self.seconds;
        let seconds = seconds.map(|s| Flag::new("--seconds", "battle.drain_seconds", s.to_string()));
        self.cluster.flags().into_iter().chain(seconds).collect()
    }

    /// Drains a node, and waits until its battles are over.
    pub(crate) fn run(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        let directory = shared_directory(config, "`drain`")?;
        let id = NodeId::parse(&self.node).map_err(|error| Usage(format!("{}: {error}", self.node)))?;
        let secret = keys::cluster_secret(config).context("reading the cluster secret")?;
        let calls = ControlClient::new(control_keys(&secret), Clock::system());
        let grace = Duration::from_secs(config.battle.drain_seconds.into());
        run_until_done(|stop| async move {
            let (before, left) =
                drain(&*directory, &config.cluster.prefix, &calls, &id, grace, &stop).await?;
            let finished = before - left.min(before);
            output.say(format!("{id} takes no more battles; {finished} of {before} battles have finished"));
            // Battles do not move between nodes yet.
            output.result(&json!({ "node": id.as_str(), "moved": 0, "finished": finished, "left": left }));
            Ok(if left == 0 { Exit::Fine } else { Exit::Failed })
        })
    }
}

/// How many battles there were, and how many are left when the time is over or the wait is ended.
async fn drain(
    directory: &dyn Directory,
    keyspace: &Keyspace,
    calls: &ControlClient,
    id: &NodeId,
    grace: Duration,
    stop: &Stop,
) -> anyhow::Result<(u32, u32)> {
    let nodes = list::<NodeRecord>(directory, keyspace).await?;
    let Some(node) = nodes.iter().find(|node| node.id == *id) else {
        let known: Vec<_> = nodes.iter().map(|node| node.id.as_str()).collect();
        bail!("no node {id} is registered; there are: {}", known.join(", "));
    };
    let peer = node.peer();
    let before = calls.drain(&peer).await.with_context(|| format!("draining {id}"))?.battles;
    let until = Instant::now() + grace;
    let mut left = before;
    while left > 0 && Instant::now() < until && !stop.is_asked() {
        sleep(LOOK).await;
        left = calls.status(&peer).await.with_context(|| format!("asking {id}"))?.load.battles;
    }
    Ok((before, left))
}

/// The records of one kind; those that cannot be read are passed over.
async fn list<R: Record>(directory: &dyn Directory, keyspace: &Keyspace) -> anyhow::Result<Vec<R>> {
    let prefix = keyspace.key(&format!("{}/", R::FOLDER));
    let mut listed = timeout(ANSWER_MAX, directory.range(&prefix)).await;
    for _ in 0..UNANSWERED_MAX {
        if matches!(listed, Ok(Ok(_))) {
            break;
        }
        listed = timeout(ANSWER_MAX, directory.range(&prefix)).await;
    }
    let away = || format!("the directory at {} does not answer", directory.address());
    let listing = listed.with_context(away)?.with_context(away)?;
    Ok(listing.entries.iter().filter_map(|entry| R::parse(&entry.value).ok()).collect())
}

fn table(nodes: &[NodeRecord], lobbies: &[LobbyRecord], gates: &[GateRecord]) -> String {
    let mut table = Table::new(["name", "role", "battles", "players", "tick load", "state", "address"]);
    let mut others = |name: &NodeId, role: &str, address: String| {
        let blank = String::new;
        table.row([name.to_string(), role.to_owned(), blank(), blank(), blank(), "up".to_owned(), address]);
    };
    gates.iter().for_each(|gate| others(&gate.id, "gate", format!("ws://{}", gate.address)));
    lobbies.iter().for_each(|lobby| others(&lobby.id, "lobby", lobby.control.to_string()));
    for node in nodes {
        let load = node.load;
        table.row([
            node.id.to_string(),
            "battle".to_owned(),
            format!("{} of {}", load.battles, load.battles_max),
            load.seats_used.to_string(),
            format!("{:.1} %", f64::from(load.tick_share_permille) / 10.0),
            if node.draining { "draining" } else { "up" }.to_owned(),
            node.addresses.first().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

fn to_json(node: &NodeRecord) -> Value {
    json!({
        "id": node.id.as_str(),
        "addresses": node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "control": node.control.to_string(),
        "draining": node.draining,
        "battles": node.load.battles,
        "battles_max": node.load.battles_max,
        "seats_used": node.load.seats_used,
        "tick_share_permille": node.load.tick_share_permille,
        "build": node.build,
        "signing_key": node.signing_key.map(|key| hex(&key)),
    })
}

#[cfg(test)]
mod tests {
    use tiltyard_cluster::node::Load;

    use super::*;

    #[test]
    fn everybody_who_is_registered_has_a_row() {
        let id = |name: &str| NodeId::parse(name).unwrap();
        let address = "127.0.0.1:7702".parse().unwrap();
        let mut node = NodeRecord::new(id("node-1"), 1, address, vec![address], [0; 16], "test");
        node.load =
            Load { battles: 3, battles_max: 200, seats_used: 7, tick_share_permille: 125, ..node.load };
        node.draining = true;
        let lobby = LobbyRecord::new(id("lobby-1"), 1, address, "test");
        let gate = GateRecord::new(id("gate-1"), 1, address, "test");
        let text = table(&[node.clone()], &[lobby], &[gate]);
        let cells =
            |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(cells(1), "gate-1 gate up ws://127.0.0.1:7702");
        assert_eq!(cells(2), "lobby-1 lobby up 127.0.0.1:7702");
        assert_eq!(cells(3), "node-1 battle 3 of 200 7 12.5 % draining 127.0.0.1:7702");
        assert_eq!((&to_json(&node)["battles"], &to_json(&node)["draining"]), (&json!(3), &json!(true)));
    }
}
