//! What a house is built from: the configuration, keys, and what a subcommand wants otherwise.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tiltyard_battle::NodeConfig;
use tiltyard_cluster::NodeId;
use tiltyard_cluster::control::{ClusterKeys as ControlKeys, ClusterSecret};
use tiltyard_cluster::node::{RegistrationConfig, ViewConfig};
use tiltyard_engine::{Game, Registry, TickRate};
use tiltyard_lobby::{GateConfig, GateLimits, LobbyConfig, ModeConfig, Waits};
use tiltyard_netcode::shell::Certificate;
use tiltyard_netcode::system_random;
use tiltyard_netcode::token::MasterKey as TokenKey;

use crate::config::Config;
use crate::exit::Usage;
use crate::keys::{ClusterKeys, MasterKey, Secret};

use super::board::board;
use super::store::StorePlace;

/// What a battle is expected to use of a node's tick budget, in thousandths, until the node reports what it does.
const COST_PERMILLE: u32 = 5;

/// Everything that a house is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// The keys of its cluster.
    pub keys: ClusterKeys,
    /// How many battle nodes.
    pub nodes: u16,
    /// Where the store is.
    pub store: StorePlace,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// Folder of the nodes' outboxes.
    pub outbox: PathBuf,
    /// Folder of the nodes' own keys.
    pub signing: PathBuf,
    /// The modes; nothing for those of the configuration.
    pub modes: Option<Vec<ModeConfig>>,
}

impl Plan {
    /// A house as the configuration has it.
    pub fn new(config: Config, keys: ClusterKeys) -> Self {
        let data = config.data_folder().to_owned();
        Self {
            keys,
            nodes: config.battle.nodes,
            store: StorePlace::of(&config),
            recordings: config.recordings_folder(),
            signing: config.signing_folder(),
            outbox: data.join("outbox"),
            modes: None,
            config,
        }
    }

    /// The modes of the game that the configuration chooses, as the lobby knows them.
    ///
    /// # Errors
    /// If the game's registration has a mistake, or the tick rate is none that it can have.
    pub fn modes_of<G: Game>(config: &Config) -> anyhow::Result<Vec<ModeConfig>> {
        let protocol_hash = protocol_hash::<G>()?;
        let rate_hz = config.battle.rate_hz;
        let rate = TickRate::new(rate_hz).ok_or_else(|| Usage(format!("battle.rate_hz: {rate_hz}")))?;
        let bots_after_seconds = u64::from(config.queue.bots_after_seconds);
        let chosen = |name: &str| {
            config.queue.modes.is_empty() || config.queue.modes.iter().any(|chosen| chosen == name)
        };
        let modes = G::modes().into_iter().filter(|mode| chosen(mode.name)).map(|mode| {
            let seconds = if config.battle.seconds > 0 { config.battle.seconds } else { mode.seconds };
            ModeConfig {
                name: mode.name.to_owned(),
                teams: mode.teams,
                seats_per_team: mode.seats_per_team,
                rate_hz,
                ticks_max: seconds.saturating_mul(u32::from(rate.hz())).max(1),
                protocol_hash,
                setup: tiltyard_engine::bytemuck::bytes_of(&mode.setup).to_vec(),
                bots_after: (bots_after_seconds > 0).then(|| Duration::from_secs(bots_after_seconds)),
                cost_permille: COST_PERMILLE,
            }
        });
        Ok(modes.collect())
    }

    pub(crate) fn cluster_keys(&self) -> ControlKeys {
        control_keys(&self.keys.cluster_secret)
    }

    /// Hands the results that wait in outboxes of nodes that this house does not have to its first node.
    pub(super) fn take_over_outboxes(&self) -> io::Result<()> {
        let nodes: Vec<_> = (1..=self.nodes).map(|number| self.node_config(number).outbox).collect();
        let Some(heir) = nodes.first().filter(|_| self.outbox.is_dir()) else { return Ok(()) };
        fs::create_dir_all(heir)?;
        for entry in fs::read_dir(&self.outbox)? {
            let folder = entry?.path();
            if nodes.contains(&folder) || !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                fs::rename(entry.path(), heir.join(entry.file_name()))?;
            }
            fs::remove_dir(&folder)?;
            tracing::info!(folder = %folder.display(), "results of a node that is no more taken over");
        }
        Ok(())
    }

    /// Refuses what would go wrong later, when more is under way: addresses that are taken, and a seed that would give
    /// the numbers of recorded battles again.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let config = &self.config;
        let listeners = [
            ("gate.listen", config.gate.listen),
            ("http.listen", config.http.listen),
            ("control.listen", config.control.listen),
        ];
        for (setting, address) in listeners {
            TcpListener::bind(address).with_context(|| format!("{setting}: cannot listen at {address}"))?;
        }
        let Some(store) = self.store.file().filter(|store| config.seed != 0 && !store.exists()) else {
            return Ok(());
        };
        let of_a_battle = |entry: fs::DirEntry| entry.path().extension().is_some_and(|it| it == "replay");
        if fs::read_dir(&self.recordings).is_ok_and(|entries| entries.flatten().any(of_a_battle)) {
            let (recordings, store, seed) = (self.recordings.display(), store.display(), config.seed);
            bail!(
                "{recordings} has recordings of battles, and {store} is not there: with seed = {seed} their numbers \
                 would be given again. Restore the store, move the recordings away, or set no seed"
            );
        }
        Ok(())
    }

    pub(super) fn node_config(&self, number: u16) -> NodeConfig {
        let config = &self.config;
        let id = NodeId::parse(&format!("node-{number}")).expect("letters, a dash and a number are a name");
        let of_one = node_config(config, &self.keys.cluster_secret, id, &self.recordings, &self.outbox);
        NodeConfig {
            listen: ports_for(config.battle.listen, u32::from(number - 1) * u32::from(of_one.workers)),
            control: SocketAddr::new(config.control.listen.ip(), 0),
            signing_key: Some(self.signing.join(format!("node-{number}.key"))),
            ..of_one
        }
    }

    pub(crate) fn lobby_config<G: Game>(&self) -> anyhow::Result<LobbyConfig> {
        let config = &self.config;
        let seconds = |count: u32| Duration::from_secs(count.into());
        let modes = match &self.modes {
            Some(modes) => modes.clone(),
            None => Self::modes_of::<G>(config)?,
        };
        Ok(LobbyConfig {
            id: NodeId::parse("lobby-1").expect("letters, a dash and a digit are a name"),
            board: board(config, protocol_hash::<G>()?)?,
            instance: u64::from_le_bytes(system_random()),
            program: crate::BUILD.to_owned(),
            gate: Some(config.gate.listen),
            control: config.control.listen,
            keyspace: config.cluster.prefix.clone(),
            master_keys: self.keys.masters(),
            cluster_keys: self.cluster_keys(),
            seed: (config.seed != 0).then_some(config.seed),
            modes,
            gate_limits: gate_limits(config),
            waits: Waits {
                match_interval: Duration::from_millis(config.queue.interval_ms.into()),
                session_ttl: seconds(config.token.session_expiry_seconds),
                token_ttl: seconds(config.token.expiry_seconds),
                tickets_max: config.queue.tickets_max as usize,
                ..Waits::default()
            },
            registration: registration(config),
            view: ViewConfig::default(),
        })
    }
}

/// What tells this version of the game from others.
pub(crate) fn protocol_hash<G: Game>() -> anyhow::Result<[u8; 16]> {
    Ok(Registry::of::<G>().context(G::NAME)?.protocol_hash::<G>().0)
}

/// The secret of control calls, as the cluster has it.
pub(crate) fn control_keys(secret: &Secret) -> ControlKeys {
    let secret = ClusterSecret::new(1, secret.as_bytes());
    ControlKeys::new(secret.expect("32 bytes are enough for a secret"), None)
}

/// What nodes show in TLS, if the configuration has it.
///
/// # Errors
/// If a file cannot be read, holds something else, or only one of the two is set; if QUIC is asked for without them, or
/// of a build that has none.
pub(crate) fn certificate(config: &Config) -> anyhow::Result<Option<Certificate>> {
    let read = |setting: &str, path: &Path| {
        fs::read(path).with_context(|| format!("{setting}: reading {}", path.display()))
    };
    let battle = &config.battle;
    if battle.quic && !cfg!(feature = "quic") {
        return Err(Usage("battle.quic needs a build with `--features quic`".to_owned()).into());
    }
    match (battle.certificate.path(), battle.certificate_key.0.path()) {
        (None, None) if battle.quic => {
            let why = "battle.quic needs battle.certificate and battle.certificate_key";
            Err(Usage(why.to_owned()).into())
        }
        (None, None) => Ok(None),
        (Some(chain), Some(key)) => {
            let chain = read("battle.certificate", chain)?;
            let key = read("battle.certificate_key", key)?;
            let certificate = Certificate::from_pem(&chain, &key);
            Ok(Some(certificate.context("battle.certificate and battle.certificate_key")?))
        }
        _ => {
            let both = "battle.certificate and battle.certificate_key go together: set both or neither";
            Err(Usage(both.to_owned()).into())
        }
    }
}

/// A node as the configuration has it, but for its certificate; its outbox is a folder of its own, and so is its key a file of its own.
pub(crate) fn node_config(
    config: &Config,
    secret: &Secret,
    id: NodeId,
    recordings: &Path,
    outbox: &Path,
) -> NodeConfig {
    NodeConfig {
        outbox: outbox.join(id.as_str()),
        signing_key: Some(config.signing_folder().join(format!("{id}.key"))),
        id,
        listen: config.battle.listen,
        advertise: config.battle.advertise.0,
        tcp: config.battle.tcp,
        websocket: None,
        quic: config.battle.quic,
        control: config.control.listen,
        keyspace: config.cluster.prefix.clone(),
        workers: config.workers(),
        battles_max: config.battle.battles_max,
        recordings: recordings.to_owned(),
        keyframe_seconds: config.recording.keyframe_seconds,
        snapshot_ticks: config.recording.snapshot_ticks,
        catch_up_max: u32::from(config.battle.catch_up_ticks_max),
        lease: Duration::from_secs(config.cluster.lease_seconds.into()),
        load_report: Duration::from_millis(config.cluster.load_report_ms.into()),
        keys: control_keys(secret),
        build: crate::BUILD.to_owned(),
    }
}

/// A gate of its own as the configuration has it.
pub(crate) fn gate_config(config: &Config, id: NodeId) -> GateConfig {
    GateConfig {
        id,
        instance: u64::from_le_bytes(system_random()),
        program: crate::BUILD.to_owned(),
        listen: config.gate.listen,
        keyspace: config.cluster.prefix.clone(),
        limits: gate_limits(config),
        registration: registration(config),
        view: ViewConfig::default(),
    }
}

pub(crate) fn gate_limits(config: &Config) -> GateLimits {
    let idle = Duration::from_secs(config.gate.idle_seconds.into());
    GateLimits {
        connections_per_address_max: config.gate.connections_per_address_max as usize,
        idle_timeout: idle,
        // Three signs of life are asked for before a client counts as gone.
        ping_interval: idle / 3,
        messages_per_second: config.gate.messages_per_second_max,
        messages_burst: config.gate.messages_per_second_max.saturating_mul(2),
        logins_per_minute: config.gate.logins_per_minute_max,
        tickets_per_minute: config.gate.tickets_per_minute_max,
        fresh_battles_per_minute: config.gate.fresh_battles_per_minute_max,
        fresh_battles_max: config.gate.fresh_battles_max as usize,
        limit_loopback: config.gate.limit_loopback,
        ..GateLimits::default()
    }
}

fn registration(config: &Config) -> RegistrationConfig {
    let ttl = Duration::from_secs(config.cluster.lease_seconds.into());
    RegistrationConfig {
        ttl,
        start_timeout: RegistrationConfig::default().start_timeout.max(ttl * 2),
        ..RegistrationConfig::default()
    }
}

/// The key that seals battle tokens, as netcode has it.
pub(crate) fn token_key(key: &MasterKey) -> TokenKey {
    TokenKey::from_bytes(key.kid, *key.key.as_bytes())
}

/// An address so many ports on; port 0 stays any free one.
fn ports_for(listen: SocketAddr, further: u32) -> SocketAddr {
    let port = match listen.port() {
        0 => 0,
        port => u16::try_from(u32::from(port) + further).unwrap_or(u16::MAX),
    };
    SocketAddr::new(listen.ip(), port)
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::skirmish::Skirmish;

    use super::*;

    #[test]
    fn modes_are_those_of_the_game_that_were_chosen() {
        let mut config = Config::default();
        let names = |config: &Config| -> Vec<String> {
            Plan::modes_of::<Skirmish>(config).unwrap().into_iter().map(|mode| mode.name).collect()
        };
        assert_eq!(names(&config), ["skirmish", "duel", "melee", "war"]);
        config.queue.modes = vec!["duel".into()];
        config.battle.seconds = 7;
        config.battle.rate_hz = 60;
        config.queue.bots_after_seconds = 0;
        let modes = Plan::modes_of::<Skirmish>(&config).unwrap();
        assert_eq!(names(&config), ["duel"]);
        assert_eq!((modes[0].ticks_max, modes[0].rate_hz, modes[0].bots_after), (420, 60, None));
    }

    #[test]
    fn results_of_a_node_that_is_no_more_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(Config::default(), ClusterKeys::generate(0).unwrap());
        (plan.outbox, plan.nodes) = (folder.path().join("outbox"), 2);
        plan.take_over_outboxes().unwrap();
        for (number, result) in [(1, "a.json"), (2, "b.json"), (3, "c.json")] {
            let outbox = plan.node_config(number).outbox;
            fs::create_dir_all(&outbox).unwrap();
            fs::write(outbox.join(result), result).unwrap();
        }
        plan.take_over_outboxes().unwrap();
        let place = |number, result| plan.node_config(number).outbox.join(result);
        assert!(place(1, "a.json").exists() && place(2, "b.json").exists());
        assert_eq!(fs::read_to_string(place(1, "c.json")).unwrap(), "c.json");
        assert!(!plan.node_config(3).outbox.exists());
    }

    #[test]
    fn a_seed_that_would_give_numbers_again_and_a_taken_port_are_refused_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(Config::default(), ClusterKeys::generate(0).unwrap());
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        (plan.config.gate.listen, plan.config.http.listen) = (free, free);
        (plan.config.control.listen, plan.config.seed) = (free, 5);
        plan.recordings = folder.path().to_owned();
        plan.store = StorePlace::File(folder.path().join("lobby.redb"));
        plan.check().unwrap();
        fs::write(folder.path().join("0000000000000001-1.replay"), "").unwrap();
        let said = plan.check().unwrap_err().to_string();
        assert!(said.contains("lobby.redb is not there: with seed = 5"), "{said}");
        plan.config.seed = 0;
        plan.check().unwrap();
        plan.config.seed = 5;
        fs::write(folder.path().join("lobby.redb"), "").unwrap();
        plan.check().unwrap();
        let taken = TcpListener::bind(free).unwrap();
        plan.config.http.listen = taken.local_addr().unwrap();
        let said = plan.check().unwrap_err().to_string();
        assert_eq!(said, format!("http.listen: cannot listen at {}", plan.config.http.listen));
    }

    #[test]
    fn a_house_without_a_seed_has_none_that_could_be_known() {
        let mut plan = Plan::new(Config::default(), ClusterKeys::generate(0).unwrap());
        let seed = |plan: &Plan| plan.lobby_config::<Skirmish>().unwrap().seed;
        assert_eq!(seed(&plan), None);
        plan.config.seed = 7;
        assert_eq!(seed(&plan), Some(7));
    }

    #[test]
    fn each_node_has_ports_of_its_own() {
        let mut config = Config::default();
        config.battle.workers = 3;
        let keys = ClusterKeys::generate(0).unwrap();
        let ports = |config: &Config| {
            let plan = Plan::new(config.clone(), keys.clone());
            [1, 2].map(|number| plan.node_config(number).listen.port())
        };
        assert_eq!(ports(&config), [0, 0]);
        config.battle.listen.set_port(7710);
        assert_eq!(ports(&config), [7710, 7713]);
    }
}
