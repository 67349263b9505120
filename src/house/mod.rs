//! The whole house in one process: gate, lobby, matchmaker and battle nodes on a directory and a store.
//!
//! What passes between them is what passes between processes: nodes register and report, the lobby reserves and nodes
//! settle over authenticated calls on sockets. The directory is in memory unless the configuration names etcd, the
//! store is in memory or in a file beside unless it names MongoDB.

mod board;
mod directory;
mod plan;
mod status;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tiltyard_battle::{Node, NodeConfig, NodeReport};
use tiltyard_cluster::control::{ControlClient, NodeCalls};
use tiltyard_cluster::{BattleId, Clock};
use tiltyard_engine::Game;
use tiltyard_lobby::store::Store;
use tiltyard_lobby::{Lobby, LobbyStatus, StatusPage, StatusServer};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::config::live;

pub(crate) use self::board::board;
pub use self::directory::open_directory;
pub use self::plan::Plan;
pub(crate) use self::plan::{
    certificate, control_keys, gate_config, gate_limits, node_config, protocol_hash, token_key,
};
pub(crate) use self::status::write_node;
pub use self::store::StorePlace;

/// How long a lobby may take to list the nodes after its start.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long results may take to reach the store when the house closes; later ones wait in the outbox.
pub(crate) const SETTLE_GRACE: Duration = Duration::from_secs(5);

/// A house that runs. [`House::close`] ends it in order; dropping it leaves battles unsettled.
pub struct House<G: Game> {
    lobby: Lobby,
    nodes: Vec<Node<G>>,
    store: Arc<dyn Store>,
    status: StatusServer,
    live: JoinHandle<()>,
}

impl<G: Game> House<G> {
    /// Starts everything and returns when the gate takes players. Needs a tokio runtime with more than one thread.
    ///
    /// # Errors
    /// A folder, an address or the store is refused; the message names it.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let directory = open_directory(&plan.config)?;
        let websocket = certificate(&plan.config)?;
        plan.check()?;
        let store = plan.store.open().await?;
        // Nobody else uses the data folder once the store is open.
        plan.take_over_outboxes().with_context(|| plan.outbox.display().to_string())?;
        let mut nodes = Vec::new();
        for number in 1..=plan.nodes {
            let config = NodeConfig { websocket: websocket.clone(), ..plan.node_config(number) };
            let name = config.id.clone();
            let started = Node::<G>::start(config, Arc::clone(&directory)).await;
            nodes.push(started.with_context(|| format!("starting {name}"))?);
        }
        // The nodes are listed before the lobby looks for the first time.
        let calls: Arc<dyn NodeCalls> = Arc::new(ControlClient::new(plan.cluster_keys(), Clock::system()));
        let lobby = plan.lobby_config::<G>()?;
        let followed = Arc::clone(&directory);
        let lobby = Lobby::start(lobby, directory, Arc::clone(&store), calls, Clock::system()).await;
        let lobby = lobby.context("starting the lobby")?;
        let (of_lobby, of_nodes) = (lobby.status(), nodes.iter().map(Node::monitor).collect::<Vec<_>>());
        let page = move |page: &mut StatusPage| {
            of_lobby.write(page);
            of_nodes.iter().for_each(|node| write_node(node, page));
        };
        let http = plan.config.http.listen;
        let status = StatusServer::start(http, Arc::new(page)).await;
        let status = status.with_context(|| format!("http.listen: cannot listen at {http}"))?;
        let (of_lobby, of_nodes) = (lobby.status(), nodes.iter().map(Node::monitor).collect::<Vec<_>>());
        let live = tokio::spawn(live::follow(followed, plan.config.clone(), move |config| {
            of_lobby.change_limits(gate_limits(config));
            of_nodes.iter().for_each(|node| node.change_battles_max(config.battle.battles_max));
        }));
        let house = Self { lobby, nodes, store, status, live };
        until_ready(|| house.lobby.not_ready()).await?;
        Ok(house)
    }

    /// Where players find the gate.
    pub fn gate(&self) -> String {
        format!("ws://{}", self.lobby.gate().expect("a house has its gate in it"))
    }

    /// Where health and metrics are.
    pub fn http(&self) -> String {
        format!("http://{}", self.status.address())
    }

    /// What changes the keys of tokens while the house runs.
    pub(crate) fn lobby(&self) -> Arc<LobbyStatus> {
        self.lobby.status()
    }

    /// The nodes by name, with the sockets of their workers.
    pub fn nodes(&self) -> impl Iterator<Item = (String, Vec<SocketAddr>)> {
        self.nodes.iter().map(|node| (node.id().to_string(), node.addresses()))
    }

    /// The store with accounts, battles and results.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What each node counted so far.
    pub fn reports(&self) -> Vec<NodeReport> {
        self.nodes.iter().map(|node| node.monitor().report()).collect()
    }

    /// A counter of the lobby; 0 if there is none of that name.
    pub fn lobby_counter(&self, name: &str) -> u64 {
        self.lobby.counters().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
    }

    /// Battles that are reserved or running.
    pub fn battles(&self) -> usize {
        self.nodes.iter().map(Node::battles).sum()
    }

    /// The battles that run, each with its node's number from 0 and the socket that serves it.
    pub fn running(&self) -> Vec<(BattleId, usize, SocketAddr)> {
        let of = |(number, node): (usize, &Node<G>)| {
            node.running().into_iter().map(move |(battle, address)| (battle, number, address))
        };
        self.nodes.iter().enumerate().flat_map(of).collect()
    }

    /// Takes no new players and battles from now on, and waits until those that run are over, for `grace` at most.
    pub async fn drain(&self, grace: Duration) {
        self.lobby.drain();
        self.nodes.iter().for_each(Node::drain);
        until_none(|| self.battles(), grace).await;
    }

    /// Ends in order: no new battles, running ones are ended and their recordings closed, results reach the store,
    /// then the gate closes.
    pub async fn close(self) {
        self.live.abort();
        self.nodes.iter().for_each(Node::drain);
        let mut closing = JoinSet::new();
        for node in self.nodes {
            closing.spawn(node.shutdown(SETTLE_GRACE));
        }
        while let Some(closed) = closing.join_next().await {
            if let Err(error) = closed {
                tracing::error!(%error, "closing a node");
            }
        }
        self.lobby.shutdown().await;
    }
}

/// Waits until nothing says why a lobby takes no players.
pub(crate) async fn until_ready(not_ready: impl Fn() -> Option<&'static str>) -> anyhow::Result<()> {
    let until = Instant::now() + READY_TIMEOUT;
    while let Some(why) = not_ready() {
        if Instant::now() >= until {
            bail!("the lobby is not ready after {} s: {why}", READY_TIMEOUT.as_secs());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until no battle is left, for `grace` at most.
pub(crate) async fn until_none(battles: impl Fn() -> usize, grace: Duration) {
    let until = Instant::now() + grace;
    while battles() > 0 && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
    }
}
