//! `tiltyard battle`, `lobby` and `gate`: one role of the house as its own process. They find each other in the
//! directory, so it has to be one that every process reaches.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_battle::{Node, NodeConfig, NodeMonitor};
use tiltyard_cluster::control::ControlClient;
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::{Clock, NodeId};
use tiltyard_engine::Game;
use tiltyard_lobby::{Gate, GateStatus, Lobby, LobbyStatus, StatusPage, StatusServer, WritePage};

use crate::config::{Config, Flag, live};
use crate::exit::{Exit, Usage};
use crate::house::{self, Plan, SETTLE_GRACE, StorePlace};
use crate::keys;
use crate::output::Output;
use crate::stop::{Ending, Stop, serve_until_done};

/// How a role is set up.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoleArgs {
    /// Its name in the cluster, instead of the configuration's cluster.name; no two of a role share one
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder for everything that is kept, instead of the configuration's data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The members of etcd, instead of the configuration's cluster.etcd; comma separated
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
}

impl RoleArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let name = self.name.as_ref().map(|name| Flag::new("--name", "cluster.name", name.as_str()));
        let data = self.data.as_ref().map(|data| Flag::new("--data", "data", data.to_string_lossy()));
        let etcd = self.etcd.as_ref().map(|urls| Flag::new("--etcd", "cluster.etcd", urls.as_str()));
        name.into_iter().chain(data).chain(etcd).collect()
    }
}

/// A battle node, until SIGINT, or until it has drained after SIGTERM.
pub(crate) fn battle<G: Game>(output: Output, config: &Config) -> anyhow::Result<Exit> {
    let directory = shared_directory(config, "a battle node")?;
    check_control(config)?;
    let secret = keys::cluster_secret(config).context("reading the cluster secret")?;
    let id = name(config, "node-1");
    let outbox = config.data_folder().join("outbox");
    let node = house::node_config(config, &secret, id, &config.recordings_folder(), &outbox);
    let node = NodeConfig { websocket: house::certificate(config)?, ..node };
    serve_until_done(|stop| async move {
        let followed = Arc::clone(&directory);
        let started = Arc::new(OnceLock::new());
        let status = serve_status(config, &started, |monitor: &NodeMonitor<G>, page| {
            if let Some(why) = monitor.not_ready() {
                page.not_ready(why);
            }
            house::write_node(monitor, page);
        });
        let status = status.await?;
        let node = Node::<G>::start(node, directory).await.context("starting the node")?;
        let live = node.monitor();
        started.get_or_init(|| node.monitor());
        let live = live::follow(followed, config.clone(), move |config| {
            live.change_battles_max(config.battle.battles_max);
        });
        let (id, control, http) = (node.id().to_string(), node.control(), status.address());
        let addresses: Vec<_> = node.addresses().iter().map(ToString::to_string).collect();
        output.say(format!(
            "{id} {}\ncontrol {control}\nhttp   http://{http}\nthe node is up; Ctrl-C ends it in order",
            addresses.join(" ")
        ));
        output.result(&json!({
            "id": id,
            "address": addresses[0],
            "addresses": addresses,
            "control": control.to_string(),
            "http": format!("http://{http}"),
        }));
        tokio::select! {
            () = live => {}
            () = stop.asked() => {}
        }
        note_ending(output, &stop, config, node.battles());
        if stop.ending() == Some(Ending::Drained) {
            node.drain();
            house::until_none(|| node.battles(), drain_grace(config)).await;
        }
        node.shutdown(SETTLE_GRACE).await;
        Ok(Exit::Fine)
    })
}

/// A lobby whose players come by way of gates, until SIGINT or SIGTERM.
pub(crate) fn lobby<G: Game>(output: Output, config: Config) -> anyhow::Result<Exit> {
    let directory = shared_directory(&config, "a lobby")?;
    check_control(&config)?;
    StorePlace::of(&config).check_built()?;
    let keys = keys::read(&config.keys_file()).context("reading keys")?;
    let id = name(&config, "lobby-1");
    let plan = Plan::new(config, keys);
    let mut settings = plan.lobby_config::<G>()?;
    (settings.id, settings.gate) = (id, None);
    serve_until_done(|stop| async move {
        let store = plan.store.open().await?;
        let calls = Arc::new(ControlClient::new(plan.cluster_keys(), Clock::system()));
        let name = settings.id.to_string();
        let followed = Arc::clone(&directory);
        let started = Arc::new(OnceLock::new());
        let status =
            serve_status(&plan.config, &started, |lobby: &Arc<LobbyStatus>, page| lobby.write(page)).await?;
        let lobby = Lobby::start(settings, directory, store, calls, Clock::system());
        let lobby = lobby.await.context("starting the lobby")?;
        started.get_or_init(|| lobby.status());
        house::until_ready(|| lobby.not_ready()).await?;
        let (control, http) = (lobby.control(), status.address());
        output
            .say(format!("{name} {control}\nhttp   http://{http}\nthe lobby is up; Ctrl-C ends it in order"));
        output.result(&json!({
            "id": name,
            "control": control.to_string(),
            "http": format!("http://{http}"),
        }));
        let (path, changed) = (plan.config.keys_file(), lobby.status());
        let following = keys::follow(path, plan.keys.clone(), stop.clone(), |keys| changed.change_keys(keys));
        let live = live::follow(followed, plan.config.clone(), |config| {
            changed.change_limits(house::gate_limits(config));
        });
        tokio::select! {
            () = following => {}
            () = live => {}
            () = stop.asked() => {}
        }
        output.note("ending in order; once more ends at once");
        lobby.shutdown().await;
        Ok(Exit::Fine)
    })
}

/// A gate, until SIGINT or SIGTERM.
pub(crate) fn gate(output: Output, config: &Config) -> anyhow::Result<Exit> {
    let directory = shared_directory(config, "a gate")?;
    let secret = keys::cluster_secret(config).context("reading the cluster secret")?;
    let settings = house::gate_config(config, name(config, "gate-1"));
    serve_until_done(|stop| async move {
        let calls = Arc::new(ControlClient::new(house::control_keys(&secret), Clock::system()));
        let name = settings.id.to_string();
        let started = Arc::new(OnceLock::new());
        let status = serve_status(config, &started, |gate: &Arc<GateStatus>, page| gate.write(page)).await?;
        let gate = Gate::start(settings, directory, calls).await.context("starting the gate")?;
        started.get_or_init(|| gate.status());
        let (address, http) = (gate.address(), status.address());
        output.say(format!(
            "gate   ws://{address}\nhttp   http://{http}\nthe gate is up; Ctrl-C ends it in order"
        ));
        output.result(&json!({
            "id": name,
            "gate": format!("ws://{address}"),
            "http": format!("http://{http}"),
        }));
        stop.asked().await;
        output.note("ending in order; once more ends at once");
        gate.shutdown().await;
        Ok(Exit::Fine)
    })
}

/// The directory that the processes of a cluster share.
///
/// # Errors
/// The configuration names none, or what leads to it is wrong.
pub(crate) fn shared_directory(config: &Config, who: &str) -> anyhow::Result<Arc<dyn Directory>> {
    if config.cluster.etcd.is_empty() {
        let up = format!("`{} up` has everything in one process", crate::program::name());
        let text = format!(
            "{who} needs a directory that other processes reach: name etcd with --etcd or cluster.etcd"
        );
        return Err(Usage(format!("{text}; {up}")).into());
    }
    house::open_directory(config)
}

fn name(config: &Config, default: &str) -> NodeId {
    config.cluster.name.0.clone().unwrap_or_else(|| NodeId::parse(default).expect("the defaults are names"))
}

/// Others are told where we listen for control calls, so it has to be an address that leads here.
fn check_control(config: &Config) -> Result<(), Usage> {
    let listen = config.control.listen;
    if listen.ip().is_unspecified() {
        return Err(Usage(format!(
            "control.listen: others cannot call {listen}: name an address that they reach"
        )));
    }
    Ok(())
}

/// Serves the page of a role, which is not ready until it has started. This comes first, so that nobody is told of a
/// process that cannot listen.
async fn serve_status<R: Send + Sync + 'static>(
    config: &Config,
    started: &Arc<OnceLock<R>>,
    write: impl Fn(&R, &mut StatusPage) + Send + Sync + 'static,
) -> anyhow::Result<StatusServer> {
    let (http, started): (SocketAddr, _) = (config.http.listen, Arc::clone(started));
    let write: WritePage = Arc::new(move |page| match started.get() {
        Some(role) => write(role, page),
        None => page.not_ready("starting"),
    });
    StatusServer::start(http, write).await.with_context(|| format!("http.listen: cannot listen at {http}"))
}

fn drain_grace(config: &Config) -> Duration {
    Duration::from_secs(config.battle.drain_seconds.into())
}

/// Says how a house or a node ends.
pub(crate) fn note_ending(output: Output, stop: &Stop, config: &Config, battles: usize) {
    if stop.ending() == Some(Ending::Drained) {
        let seconds = config.battle.drain_seconds;
        output
            .note(format!("draining: {battles} battles have {seconds} s to finish; once more ends at once"));
    } else {
        output.note("ending in order; once more ends at once");
    }
}
