//! A battle node's life: what it starts, what it reports, how it ends. Which battles it takes is [`crate::placement`]'s.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tiltyard_cluster::control::{ClusterKeys, ControlClient, ControlServer, Handlers};
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{
    Keyspace, LobbyRecord, NodeRecord, RegisterError, Registration, RegistrationConfig, View, ViewConfig,
};
use tiltyard_cluster::{BattleId, Clock, NodeId};
use tiltyard_engine::{Game, Registry, RegistryError};
use tiltyard_netcode::shell::{Certificate, StreamOffer};
use tiltyard_netcode::{ServerConfig, system_random};
use tiltyard_replay::Signer;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
#[cfg(feature = "quic")]
use tracing::error;
use tracing::{info, warn};

use crate::identity::{IdentityError, signer};
use crate::monitor::NodeMonitor;
use crate::outbox::Outbox;
use crate::ownership::give_up_superseded;
use crate::placement::{CONNECTIONS_MAX, Placed, Placement, Worker};
use crate::recording::Recorder;
use crate::recovery::recover;
use crate::settle::settle_for_ever;
use crate::shell::{Offered, Order, WorkerThread};

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name, unique in the cluster.
    pub id: NodeId,
    /// Where players reach it: with port 0 each worker takes a free one, else the ports from this one upwards.
    pub listen: SocketAddr,
    /// The address that players are told, with the ports of `listen`; that of `listen` if nothing.
    pub advertise: Option<IpAddr>,
    /// Whether players whose datagrams do not come through may come over TCP, at the same addresses and ports.
    pub tcp: bool,
    /// What the node shows in TLS, if players whose TCP does not come through either may come over WebSockets in TLS,
    /// at the same addresses and ports.
    pub websocket: Option<Certificate>,
    /// Whether they may also come over QUIC, there too and with that certificate; without one, or in a build without the
    /// feature `quic`, they may not.
    pub quic: bool,
    /// Where lobbies reach it.
    pub control: SocketAddr,
    /// Where the cluster lives in the directory.
    pub keyspace: Keyspace,
    /// Worker threads, 1 to 256.
    pub workers: u16,
    /// Battles at once, at the start; one more reservation is refused.
    pub battles_max: u32,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// File of the node's own key, which signs its recordings and is made at the first start; nothing to leave them
    /// without a seal.
    pub signing_key: Option<PathBuf>,
    /// Folder of results that wait for a lobby.
    pub outbox: PathBuf,
    /// Seconds between two keyframes of a recording.
    pub keyframe_seconds: u32,
    /// Ticks between two pictures in a recording; 0 for none.
    pub snapshot_ticks: u32,
    /// Ticks that a late battle may catch up at once.
    pub catch_up_max: u32,
    /// How long the node's lease lives without a sign of life.
    pub lease: Duration,
    /// How often the load is reported.
    pub load_report: Duration,
    /// The cluster's secret.
    pub keys: ClusterKeys,
    /// The name of the build, for recordings and the directory.
    pub build: String,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The game's registration has a mistake.
    #[error("the game: {0}")]
    Game(#[from] RegistryError),
    /// A socket, a folder or a thread cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was to be made.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// It has no key to sign with.
    #[error("the signing key: {0}")]
    Identity(#[from] IdentityError),
    /// Players would be told an address that leads nowhere.
    #[error("players cannot connect to {0}: advertise an address that they can reach")]
    Unspecified(IpAddr),
    /// The directory does not take the node.
    #[error("registering: {0}")]
    Register(#[from] RegisterError),
}

/// A running node.
pub struct Node<G: Game> {
    placement: Arc<Placement<G>>,
    control: ControlServer,
    registration: Arc<Registration<NodeRecord>>,
    recorder: Recorder,
    tasks: Vec<JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    settled: Arc<Notify>,
}

/// How far clocks of lobby and node may differ, in milliseconds.
const SKEW_MS: u64 = 5000;

impl<G: Game> Node<G> {
    /// Starts workers, control server, outbox and registration. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If something cannot be made, or the directory does not take the node within its time.
    pub async fn start(config: NodeConfig, directory: Arc<dyn Directory>) -> Result<Self, NodeError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| NodeError::Io { what, source }
        };
        let told = config.advertise.unwrap_or(config.listen.ip());
        if told.is_unspecified() {
            return Err(NodeError::Unspecified(told));
        }
        let protocol_hash = Registry::of::<G>()?.protocol_hash::<G>().0;
        let outbox = Outbox::open(&config.outbox).map_err(io("the outbox's folder"))?;
        let signer = config.signing_key.as_deref().map(|path| signer(path, &config.id)).transpose()?;
        let public_key = signer.as_ref().map(Signer::public_key);
        let recorder = Recorder::start(&config.recordings, signer).map_err(io("the recordings' folder"))?;
        let (left, handle, name) = (outbox.clone(), recorder.handle(), config.id.clone());
        let recovering = tokio::task::spawn_blocking(move || recover(&left, &handle, &name));
        recovering.await.map_err(io::Error::other).and_then(|done| done).map_err(io("the outbox"))?;
        let settled = Arc::new(Notify::new());
        let (placement, threads, mut tasks) =
            start_workers::<G>(config, protocol_hash, &recorder, &outbox, &settled).await?;
        let config = placement.config();
        let handlers = Handlers { node: Some(placement.clone()), ..Handlers::default() };
        let control =
            ControlServer::start(config.control, &config.id, config.keys.clone(), Clock::system(), handlers)
                .map_err(io("the control address"))?;
        let instance = u64::from_le_bytes(system_random());
        let addresses = placement.workers().iter().map(|worker| worker.address).collect();
        let record = NodeRecord::new(
            config.id.clone(),
            instance,
            control.address(),
            addresses,
            protocol_hash,
            &config.build,
        )
        .signing_with(public_key);
        let times = RegistrationConfig::default();
        // A node that is started again waits for the lease of the one before it to end.
        let start_timeout = times.start_timeout.max(config.lease * 2);
        let lease = RegistrationConfig { ttl: config.lease, start_timeout, ..times };
        let registering = Registration::start(directory.clone(), config.keyspace.clone(), record, lease);
        let registration = Arc::new(registering.await?);
        let lobbies = View::<LobbyRecord>::start(directory.clone(), &config.keyspace, ViewConfig::default());
        let calls = Arc::new(ControlClient::new(config.keys.clone(), Clock::system()));
        tasks.push(tokio::spawn(report_load(placement.clone(), registration.clone())));
        tasks.push(tokio::spawn(give_up_superseded(placement.clone(), registration.clone(), directory)));
        tasks.push(tokio::spawn(settle_for_ever(outbox, lobbies, calls, settled.clone())));
        info!(node = %config.id, control = %control.address(), "node is up");
        Ok(Self { placement, control, registration, recorder, tasks, threads, settled })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.placement.config().id
    }

    /// Where players reach its workers.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.placement.workers().iter().map(|worker| worker.address).collect()
    }

    /// What looks at it, for operators.
    #[must_use]
    pub fn monitor(&self) -> NodeMonitor<G> {
        NodeMonitor {
            placement: self.placement.clone(),
            registration: self.registration.clone(),
            recordings: self.recorder.counters().clone(),
        }
    }

    /// Where lobbies call it.
    #[must_use]
    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Takes no new battles from now on.
    pub fn drain(&self) {
        self.placement.drain();
        self.registration.update(|record| record.draining = true);
    }

    /// How many battles are reserved or running.
    #[must_use]
    pub fn battles(&self) -> usize {
        self.placement.placed().len()
    }

    /// The battles that are reserved or running, each with the socket of the worker that serves it.
    #[must_use]
    pub fn running(&self) -> Vec<(BattleId, SocketAddr)> {
        let address = |placed: &Placed| self.placement.workers()[placed.worker].address;
        self.placement.placed().iter().map(|(battle, placed)| (*battle, address(placed))).collect()
    }

    /// Ends in order: leaves the directory, ends the battles, closes their recordings, brings their results out for
    /// at most `grace`. What is not settled by then stays in the outbox.
    pub async fn shutdown(self, grace: Duration) {
        self.drain();
        for worker in self.placement.workers() {
            // A worker that is gone already needs no order.
            let _ = worker.orders.send(Order::Stop).await;
        }
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        if joined.await.map_or(true, |panicked| panicked > 0) {
            warn!("a worker's thread panicked");
        }
        self.placement.closed().await;
        let recorder = self.recorder;
        if tokio::task::spawn_blocking(move || recorder.stop()).await.is_err() {
            warn!("closing the recordings panicked");
        }
        self.settled.notify_one();
        let until = tokio::time::Instant::now() + grace;
        while tokio::time::Instant::now() < until && self.placement.results_waiting().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for task in self.tasks {
            task.abort();
        }
        self.registration.revoke().await;
        self.control.shutdown().await;
    }
}

/// Workers and what goes with them: their battles, their threads, and the tasks that accept streams for them.
type Started<G> = (Arc<Placement<G>>, Vec<std::thread::JoinHandle<()>>, Vec<JoinHandle<()>>);

/// Starts the workers' threads around a placement of their battles.
async fn start_workers<G: Game>(
    config: NodeConfig,
    protocol_hash: [u8; 16],
    recorder: &Recorder,
    outbox: &Outbox,
    settled: &Arc<Notify>,
) -> Result<Started<G>, NodeError> {
    let mut workers = Vec::new();
    let mut threads = Vec::new();
    let mut tasks = Vec::new();
    let offer = StreamOffer { tcp: config.tcp, websocket: config.websocket.clone() };
    let quic = config.websocket.clone().filter(|_| config.quic);
    let offered = Offered { streams: !offer.is_empty(), quic: quic.is_some() };
    // The workers tell the placement of battles that ended, and are made before it.
    let late: Arc<OnceLock<Arc<Placement<G>>>> = Arc::new(OnceLock::new());
    for number in 0..config.workers.clamp(1, 256) {
        let port = if config.listen.port() == 0 { 0 } else { config.listen.port().wrapping_add(number) };
        let listen = SocketAddr::new(config.listen.ip(), port);
        let server = ServerConfig {
            worker: number as u8,
            connections_max: CONNECTIONS_MAX,
            unix_offset_ms: 0,
            skew_ms: SKEW_MS,
        };
        let told = late.clone();
        let on_ended = move |ended| {
            if let Some(placement) = told.get() {
                placement.close(ended);
            }
        };
        let thread = WorkerThread::start(listen, offered, server, Box::new(on_ended)).await;
        let thread = thread
            .map_err(|source| NodeError::Io { what: format!("the worker's socket {listen}"), source })?;
        if let Some((door, listener)) = thread.streams {
            let listener = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
            let listener =
                listener.map_err(|source| NodeError::Io { what: format!("streams at {listen}"), source })?;
            tasks.push(tokio::spawn(door.serve(listener, offer.clone())));
        }
        #[cfg(feature = "quic")]
        if let (Some(door), Some(certificate)) = (thread.quic, &quic) {
            let serving = door.serve(certificate.clone());
            tasks.push(tokio::spawn(async move {
                if let Err(error) = serving.await {
                    error!(%listen, %error, "no players over QUIC");
                }
            }));
        }
        // Players are told the address; what comes to the socket is the router's business.
        let address = SocketAddr::new(config.advertise.unwrap_or(listen.ip()), thread.address.port());
        workers.push(Worker { orders: thread.orders, address, status: thread.status });
        threads.push(thread.thread);
    }
    let placement =
        Placement::new(config, protocol_hash, workers, recorder.handle(), outbox.clone(), settled.clone());
    assert!(late.set(placement.clone()).is_ok(), "it is set here only");
    Ok((placement, threads, tasks))
}

/// Reports load and draining for as long as the node lives.
async fn report_load<G: Game>(placement: Arc<Placement<G>>, registration: Arc<Registration<NodeRecord>>) {
    let mut interval = tokio::time::interval(placement.config().load_report.max(Duration::from_millis(10)));
    loop {
        interval.tick().await;
        placement.give_up_dead_workers().await;
        let (load, draining) = (placement.load(), placement.is_draining());
        registration.update(|record| {
            record.load = load;
            record.draining = draining;
            record.report += 1;
        });
    }
}
