//! A battle node: its workers, its recordings, its outbox, and what it says to lobbies and the directory.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hdrhistogram::Histogram;
use tiltyard_cluster::control::{
    BattleEnd, ClusterKeys, ControlClient, ControlServer, DrainAnswer, Handlers, NodeHandler, NodeStatus,
    Refusal, Release, ReleaseAnswer, Reservation, ReserveAnswer, Settlement,
};
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{
    Keyspace, Load, LobbyRecord, NodeRecord, RegisterError, Registration, RegistrationConfig, View,
    ViewConfig,
};
use tiltyard_cluster::{BattleId, Clock, Epoch, NodeId};
use tiltyard_engine::{
    BattleSpec, Game, Record, Registry, RegistryError, Roster, RosterSeat, SeatRole, Team, Terms, TickRate,
    math,
};
use tiltyard_netcode::token::BattleKey;
use tiltyard_netcode::{HostedBattle, ServerConfig, system_random};
use tiltyard_replay::{Ended, Header, Settings};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::outbox::Outbox;
use crate::recording::{Recorder, RecorderHandle};
use crate::room::{Room, RoomCounters, RoomSettings};
use crate::settle::settle_for_ever;
use crate::shell::{Order, WorkerStatus, WorkerThread};
use crate::worker::EndedBattle;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name, unique in the cluster.
    pub id: NodeId,
    /// Where players reach it: with port 0 each worker takes a free one, else the ports from this one upwards.
    pub listen: SocketAddr,
    /// Where lobbies reach it.
    pub control: SocketAddr,
    /// Worker threads, 1 to 256.
    pub workers: u16,
    /// Battles at once; one more reservation is refused.
    pub battles_max: u32,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// Folder of results that wait for a lobby.
    pub outbox: PathBuf,
    /// Seconds between two keyframes of a recording.
    pub keyframe_seconds: u32,
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
    /// The directory does not take the node.
    #[error("registering: {0}")]
    Register(#[from] RegisterError),
}

/// A running node.
pub struct Node<G: Game> {
    shared: Arc<Shared<G>>,
    control: ControlServer,
    registration: Arc<Registration<NodeRecord>>,
    recorder: Recorder,
    tasks: Vec<JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    settled: Arc<Notify>,
}

/// Numbers of a node since its start.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The rooms' counters.
    pub rooms: RoomCounters,
    /// The endpoints' counters, summed over the workers.
    pub sessions: BTreeMap<&'static str, u64>,
    /// Battles that ended by a panic of their own.
    pub panics: u64,
    /// Recordings that are incomplete.
    pub recordings_incomplete: u64,
    /// Ticks made, and how long they took with their feeds, in nanoseconds.
    pub tick_ns: Histogram<u64>,
}

struct Shared<G: Game> {
    config: NodeConfig,
    protocol_hash: [u8; 16],
    workers: Vec<Worker<G>>,
    placed: Mutex<BTreeMap<BattleId, Placed>>,
    draining: AtomicBool,
    recorder: RecorderHandle,
}

/// The node's end of a worker.
struct Worker<G: Game> {
    orders: tokio::sync::mpsc::Sender<Order<G>>,
    address: SocketAddr,
    status: Arc<Mutex<WorkerStatus>>,
}

/// Where a battle is.
#[derive(Clone, Copy, Debug)]
struct Placed {
    epoch: Epoch,
    worker: usize,
    seats: u32,
}

/// Sessions of one worker at once.
const CONNECTIONS_MAX: u32 = 8192;

/// Time between the last player's coming and the first tick, in milliseconds.
const COUNTDOWN_MS: u32 = 500;

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
        let protocol_hash = Registry::of::<G>()?.protocol_hash::<G>().0;
        let outbox = Outbox::open(&config.outbox).map_err(io("the outbox's folder"))?;
        let recorder = Recorder::start(&config.recordings).map_err(io("the recordings' folder"))?;
        let settled = Arc::new(Notify::new());
        let (shared, threads) = Shared::start(config, protocol_hash, &recorder, &outbox, &settled).await?;
        let config = &shared.config;
        let handlers = Handlers { node: Some(shared.clone()), ..Handlers::default() };
        let control =
            ControlServer::start(config.control, &config.id, config.keys.clone(), Clock::system(), handlers)
                .map_err(io("the control address"))?;
        let instance = u64::from_le_bytes(system_random());
        let addresses = shared.workers.iter().map(|worker| worker.address).collect();
        let record = NodeRecord::new(
            config.id.clone(),
            instance,
            control.address(),
            addresses,
            protocol_hash,
            &config.build,
        );
        let lease = RegistrationConfig { ttl: config.lease, ..RegistrationConfig::default() };
        let registration = Registration::start(directory.clone(), Keyspace::default(), record, lease).await?;
        let registration = Arc::new(registration);
        let lobbies = View::<LobbyRecord>::start(directory, &Keyspace::default(), ViewConfig::default());
        let calls = Arc::new(ControlClient::new(config.keys.clone(), Clock::system()));
        let tasks = vec![
            tokio::spawn(report_load(shared.clone(), registration.clone())),
            tokio::spawn(settle_for_ever(outbox, lobbies, calls, settled.clone())),
        ];
        info!(node = %config.id, control = %control.address(), "node is up");
        Ok(Self { shared, control, registration, recorder, tasks, threads, settled })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.shared.config.id
    }

    /// Where players reach its workers.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.workers.iter().map(|worker| worker.address).collect()
    }

    /// Numbers since the start.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        let mut statuses = self.shared.statuses();
        let first = statuses.next().expect("a node has a worker");
        let mut report = NodeReport {
            rooms: first.rooms,
            sessions: first.sessions.iter().copied().collect(),
            panics: first.panics,
            recordings_incomplete: self.recorder.counters().incomplete.load(Ordering::Relaxed),
            tick_ns: first.tick_ns,
        };
        for status in statuses {
            report.rooms = report.rooms + status.rooms;
            report.panics += status.panics;
            report.tick_ns.add(&status.tick_ns).expect("all workers measure alike");
            for (name, count) in &status.sessions {
                *report.sessions.entry(name).or_default() += count;
            }
        }
        report
    }

    /// Takes no new battles from now on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.registration.update(|record| record.draining = true);
    }

    /// How many battles are reserved or running.
    #[must_use]
    pub fn battles(&self) -> usize {
        self.shared.placed().len()
    }

    /// The battles that are reserved or running, each with the socket of the worker that serves it.
    #[must_use]
    pub fn running(&self) -> Vec<(BattleId, SocketAddr)> {
        let address = |placed: &Placed| self.shared.workers[placed.worker].address;
        self.shared.placed().iter().map(|(battle, placed)| (*battle, address(placed))).collect()
    }

    /// Ends in order: leaves the directory, ends the battles, closes their recordings, brings their results out for
    /// at most `grace`. What is not settled by then stays in the outbox.
    pub async fn shutdown(self, grace: Duration) {
        self.drain();
        for worker in &self.shared.workers {
            // A worker that is gone already needs no order.
            let _ = worker.orders.send(Order::Stop).await;
        }
        let threads = self.threads;
        let recorder = self.recorder;
        let closed = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    warn!("a worker's thread panicked");
                }
            }
            recorder.stop();
        });
        if closed.await.is_err() {
            warn!("closing the recordings panicked");
        }
        self.settled.notify_one();
        let outbox = Outbox::open(&self.shared.config.outbox);
        let until = tokio::time::Instant::now() + grace;
        while tokio::time::Instant::now() < until
            && outbox.as_ref().is_ok_and(|outbox| outbox.waiting().is_ok_and(|waiting| !waiting.is_empty()))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for task in self.tasks {
            task.abort();
        }
        self.registration.revoke().await;
        self.control.shutdown().await;
    }
}

impl<G: Game> Shared<G> {
    async fn start(
        config: NodeConfig,
        protocol_hash: [u8; 16],
        recorder: &Recorder,
        outbox: &Outbox,
        settled: &Arc<Notify>,
    ) -> Result<(Arc<Self>, Vec<std::thread::JoinHandle<()>>), NodeError> {
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        // The workers tell the node of battles that ended, and are made before it.
        let late: Arc<std::sync::OnceLock<Arc<Self>>> = Arc::new(std::sync::OnceLock::new());
        for number in 0..config.workers.clamp(1, 256) {
            let port = if config.listen.port() == 0 { 0 } else { config.listen.port().wrapping_add(number) };
            let listen = SocketAddr::new(config.listen.ip(), port);
            let server = ServerConfig {
                worker: number as u8,
                connections_max: CONNECTIONS_MAX,
                unix_offset_ms: 0,
                skew_ms: SKEW_MS,
            };
            let (late, outbox, settled) = (late.clone(), outbox.clone(), settled.clone());
            let on_ended = move |ended| {
                if let Some(shared) = late.get() {
                    shared.ended(ended, outbox.clone(), settled.clone());
                }
            };
            let worker = WorkerThread::start(listen, server, Box::new(on_ended)).await;
            let worker = worker
                .map_err(|source| NodeError::Io { what: format!("the worker's socket {listen}"), source })?;
            workers.push(Worker { orders: worker.orders, address: worker.address, status: worker.status });
            threads.push(worker.thread);
        }
        let (placed, draining) = (Mutex::new(BTreeMap::new()), AtomicBool::new(false));
        let shared =
            Arc::new(Self { config, protocol_hash, workers, placed, draining, recorder: recorder.handle() });
        assert!(late.set(shared.clone()).is_ok(), "it is set here only");
        Ok((shared, threads))
    }

    /// A battle ended: its recording is closed, then its result goes to the outbox, both on the recording thread.
    fn ended(self: &Arc<Self>, mut ended: EndedBattle<G>, outbox: Outbox, settled: Arc<Notify>) {
        let (battle, epoch) = (BattleId(ended.room.id().0), Epoch(ended.room.epoch().0));
        let end = ended.end.clone();
        let mut settlement = Settlement {
            battle,
            epoch,
            node: self.config.id.clone(),
            ticks: end.tick.0,
            winner: end.outcome.and_then(|outcome| outcome.winner).map(|team| team.0),
            scores: end.outcome.map(|outcome| outcome.scores.map(i64::from).to_vec()).unwrap_or_default(),
            final_hash: end.final_hash.0,
            recording_hash: [0; 32],
            ended: match end.ended {
                Ended::Finished => BattleEnd::Finished,
                Ended::Aborted => BattleEnd::Aborted,
                Ended::Abandoned => BattleEnd::Abandoned,
            },
        };
        let shared = self.clone();
        let is_result = ended.is_result;
        let then = Box::new(move |sealed: Option<tiltyard_replay::Sealed>| {
            settlement.recording_hash = sealed.map_or([0; 32], |sealed| sealed.recording_hash);
            if !is_result {
                // The battle is somebody else's now: neither its result nor its recording is ours to tell.
                if let Err(error) = std::fs::remove_file(shared.recorder.path(battle.0, epoch.0)) {
                    warn!(%battle, %error, "the recording of a released battle could not be removed");
                }
            } else if let Err(error) = outbox.deposit(&settlement) {
                warn!(%battle, %error, "the result could not be written to the outbox");
            }
            let mut placed = shared.placed();
            if placed.get(&battle).is_some_and(|placed| placed.epoch == epoch) {
                placed.remove(&battle);
            }
            drop(placed);
            settled.notify_one();
        });
        // Closing waits for the recording thread's queue, which a worker must not.
        tokio::task::spawn_blocking(move || ended.room.close_recording(&end, then));
    }

    fn placed(&self) -> MutexGuard<'_, BTreeMap<BattleId, Placed>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn statuses(&self) -> impl Iterator<Item = WorkerStatus> {
        self.workers.iter().map(|worker| worker.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn load(&self) -> Load {
        let (mut used, mut share) = (0_u32, 0_u32);
        for status in self.statuses() {
            used += status.battles.iter().map(|battle| u32::from(battle.seats_used)).sum::<u32>();
            share = share.max(u32::from(status.load_permille));
        }
        let placed = self.placed();
        let seats: u32 = placed.values().map(|placed| placed.seats).sum();
        Load {
            tick_share_permille: share,
            seats_max: CONNECTIONS_MAX * self.workers.len() as u32,
            seats_reserved: seats.saturating_sub(used),
            seats_used: used,
            battles_max: self.config.battles_max,
            battles: placed.len() as u32,
        }
    }

    /// The worker with the fewest battles, the first of equals.
    fn emptiest(&self, placed: &BTreeMap<BattleId, Placed>) -> usize {
        let battles = |worker: usize| placed.values().filter(|placed| placed.worker == worker).count();
        (0..self.workers.len()).min_by_key(|worker| battles(*worker)).expect("a node has a worker")
    }

    fn room(&self, reservation: &Reservation) -> Result<Box<Room<G>>, Refusal> {
        let spec = spec::<G>(reservation).ok_or(Refusal::Invalid)?;
        let rate_hz = spec.terms.rate.hz();
        let header = Header {
            rate_hz,
            protocol_hash: self.protocol_hash,
            tables_hash: [0; 16],
            battle: reservation.battle.0,
            seed: reservation.seed,
            start_unix_ms: unix_ms(),
            part: 0,
            build: self.config.build.clone(),
            seat_names: reservation.seats.iter().map(|seat| seat.name.clone()).collect(),
            spec: spec.encode(),
        };
        let settings = RoomSettings {
            wait_ms: reservation.deadline_ms,
            countdown_ms: COUNTDOWN_MS,
            keyframe_ticks: self.config.keyframe_seconds.max(1) * u32::from(rate_hz),
            catch_up_max: self.config.catch_up_max.max(1),
        };
        let (id, epoch) =
            (tiltyard_netcode::BattleId(reservation.battle.0), tiltyard_netcode::Epoch(reservation.epoch.0));
        // A setup that makes the game panic must not take the node with it.
        let made = catch_unwind(AssertUnwindSafe(|| Room::new(id, epoch, spec, settings)));
        match made {
            Ok(Ok(mut room)) => {
                room.record(self.recorder.open(header, Settings::new(reservation.epoch.0, rate_hz)));
                Ok(Box::new(room))
            }
            Ok(Err(error)) => {
                warn!(battle = %reservation.battle, %error, "a battle cannot start");
                Err(Refusal::Invalid)
            }
            Err(_) => {
                warn!(battle = %reservation.battle, "the game panicked at a battle's start");
                Err(Refusal::Invalid)
            }
        }
    }

    async fn release(&self, battle: BattleId, epoch: Epoch) -> ReleaseAnswer {
        let Some(placed) = self.placed().get(&battle).copied() else { return ReleaseAnswer::NotHere };
        if placed.epoch > epoch {
            return ReleaseAnswer::Stale;
        }
        let (done, released) = oneshot::channel();
        let (id, under) = (tiltyard_netcode::BattleId(battle.0), tiltyard_netcode::Epoch(epoch.0));
        let order = Order::Release { battle: id, epoch: under, done };
        if self.workers[placed.worker].orders.send(order).await.is_err() {
            return ReleaseAnswer::NotHere;
        }
        match released.await {
            Ok(true) => ReleaseAnswer::Released,
            _ => ReleaseAnswer::NotHere,
        }
    }
}

#[async_trait]
impl<G: Game> NodeHandler for Shared<G> {
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer {
        let refused = |why| ReserveAnswer::Refused(why);
        if reservation.protocol_hash != self.protocol_hash {
            return refused(Refusal::ProtocolHash);
        }
        let (battle, epoch) = (reservation.battle, reservation.epoch);
        let before = self.placed().get(&battle).copied();
        match before {
            Some(placed) if placed.epoch == epoch => {
                return ReserveAnswer::Reserved { addresses: vec![self.workers[placed.worker].address] };
            }
            Some(placed) if placed.epoch > epoch => return refused(Refusal::StaleEpoch),
            Some(placed) => {
                self.release(battle, placed.epoch).await;
            }
            None => {}
        }
        if self.draining.load(Ordering::Relaxed) {
            return refused(Refusal::Draining);
        }
        let worker = {
            let mut placed = self.placed();
            if placed.len() >= self.config.battles_max as usize {
                return refused(Refusal::Full);
            }
            let worker = self.emptiest(&placed);
            placed.insert(battle, Placed { epoch, worker, seats: reservation.seats.len() as u32 });
            worker
        };
        let room = match self.room(&reservation) {
            Ok(room) => room,
            Err(why) => {
                self.placed().remove(&battle);
                return refused(why);
            }
        };
        let id = tiltyard_netcode::BattleId(battle.0);
        let keys =
            reservation.keys.iter().map(|grant| BattleKey::from_bytes(grant.kid, id, grant.key)).collect();
        let hosted = HostedBattle {
            keys,
            epoch: tiltyard_netcode::Epoch(epoch.0),
            protocol_hash: self.protocol_hash,
            rate_hz: reservation.rate_hz,
            math_hash: math::self_test_hash(),
        };
        if self.workers[worker].orders.send(Order::Open { room, hosted }).await.is_err() {
            self.placed().remove(&battle);
            return refused(Refusal::Internal);
        }
        info!(%battle, epoch = epoch.0, worker, seats = reservation.seats.len(), mode = %reservation.mode, "battle reserved");
        ReserveAnswer::Reserved { addresses: vec![self.workers[worker].address] }
    }

    async fn release(&self, release: Release) -> ReleaseAnswer {
        Self::release(self, release.battle, release.epoch).await
    }

    async fn drain(&self) -> DrainAnswer {
        self.draining.store(true, Ordering::Relaxed);
        DrainAnswer { battles: self.placed().len() as u32 }
    }

    async fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.config.id.clone(),
            draining: self.draining.load(Ordering::Relaxed),
            load: self.load(),
            battles: self.statuses().flat_map(|status| status.battles).collect(),
        }
    }
}

/// The spec that a reservation describes, if it is one of this game.
fn spec<G: Game>(reservation: &Reservation) -> Option<BattleSpec<G>> {
    let rate = TickRate::new(reservation.rate_hz)?;
    let terms = Terms { seed: reservation.seed, rate, ticks_max: reservation.ticks_max };
    let setup = G::Setup::parse(&reservation.setup).ok()?;
    let seats = reservation.seats.iter().map(|seat| RosterSeat {
        player: seat.player,
        team: Team(seat.team),
        role: if seat.bot { SeatRole::Bot } else { SeatRole::Human },
        loadout: seat.loadout,
    });
    let spec = BattleSpec { terms, setup, roster: Roster { seats: seats.collect() } };
    spec.check().ok().map(|()| spec)
}

/// Reports load and draining for as long as the node lives.
async fn report_load<G: Game>(shared: Arc<Shared<G>>, registration: Arc<Registration<NodeRecord>>) {
    let mut interval = tokio::time::interval(shared.config.load_report.max(Duration::from_millis(10)));
    loop {
        interval.tick().await;
        let (load, draining) = (shared.load(), shared.draining.load(Ordering::Relaxed));
        registration.update(|record| {
            record.load = load;
            record.draining = draining;
            record.report += 1;
        });
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
