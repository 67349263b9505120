//! A running lobby.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::Clock;
use tiltyard_cluster::control::{
    ControlCounters, ControlServer, Handlers, LobbyHandler, NodeCalls, SessionHandler,
};
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{LobbyRecord, RegisterError, Registration, RegistrationCounters, ViewCounters};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::avatars;
use crate::config::{ConfigError, GateLimits, LobbyConfig};
use crate::counters::DoorCounters;
use crate::gate::{LinkedSessions, Listener, gate_routes, run_session, serve};
use crate::house::{House, PLACEMENTS_MAX};
use crate::keys::MasterKeys;
use crate::matching;
use crate::probe;
use crate::settle::ResultSink;
use crate::shares::Origin;
use crate::status::StatusPage;
use crate::store::Store;

/// How long an orderly end waits for matches that are being placed.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Why a lobby did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be bound.
    #[error("{what} cannot listen at {address}")]
    Bind {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The directory did not take the registration.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// A lobby that runs. Dropping it stops it at once; [`Lobby::shutdown`] in order.
pub struct Lobby {
    status: Arc<LobbyStatus>,
    gate: Option<SocketAddr>,
    control: ControlServer,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What an operator sees of a lobby and may change of it, for as long as it runs and afterwards.
pub struct LobbyStatus {
    house: Arc<House>,
    registration: Registration<LobbyRecord>,
    registration_counters: Arc<RegistrationCounters>,
    view_counters: Arc<ViewCounters>,
    control_counters: Arc<ControlCounters>,
    doors: Arc<DoorCounters>,
}

impl Lobby {
    /// Binds its addresses, registers, and serves. Needs a tokio runtime.
    ///
    /// # Errors
    /// The configuration is wrong, an address is taken, or the directory does not answer in time.
    pub async fn start(
        config: LobbyConfig,
        directory: Arc<dyn Directory>,
        store: Arc<dyn Store>,
        nodes: Arc<dyn NodeCalls>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        config.check()?;
        let bound = |what, address| move |source| StartError::Bind { what, address, source };
        let gate = match config.gate {
            Some(address) => Some(Listener::bind(address).await.map_err(bound("gate", address))?),
            None => None,
        };
        let gate_address = gate.as_ref().map(Listener::address);

        let limits = config.gate_limits;
        let house = Arc::new(House::new(config, Arc::clone(&directory), store, nodes, clock.clone()));
        let view_counters = Arc::clone(house.nodes.counters());
        let config = &house.config;

        let sink: Arc<dyn LobbyHandler> = Arc::new(ResultSink(Arc::clone(&house)));
        let sessions: Arc<dyn SessionHandler> = Arc::new(LinkedSessions(Arc::clone(&house)));
        let handlers = Handlers { lobby: Some(sink), sessions: Some(sessions), ..Handlers::default() };
        let control =
            ControlServer::start(config.control, &config.id, config.cluster_keys.clone(), clock, handlers)
                .map_err(bound("control", config.control))?;
        let record = LobbyRecord::new(config.id.clone(), config.instance, control.address(), &config.program);
        let registration =
            Registration::start(directory, config.keyspace.clone(), record, config.registration).await?;
        let status = Arc::new(LobbyStatus {
            registration_counters: Arc::clone(registration.counters()),
            registration,
            view_counters,
            control_counters: Arc::clone(control.counters()),
            doors: Arc::default(),
            house: Arc::clone(&house),
        });

        let (stop, stopped) = watch::channel(false);
        let mut tasks = background(&house);
        if let Some(gate) = gate {
            let routes =
                gate_routes(move |socket, from| run_session(Arc::clone(&house), socket, Origin::of(from)));
            tasks.push(tokio::spawn(serve(gate, routes, limits, Arc::clone(&status.doors), stopped)));
        }
        tracing::info!(gate = ?gate_address, control = %control.address(), "lobby is up");
        Ok(Self { status, gate: gate_address, control, stop, tasks })
    }

    /// Where clients connect with a WebSocket, if they do in this process.
    pub fn gate(&self) -> Option<SocketAddr> {
        self.gate
    }

    /// Where nodes settle results.
    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Every counter of the lobby with its name, those of the control server, the registration and the view
    /// included.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.status.counters()
    }

    /// What operators are shown.
    pub fn status(&self) -> Arc<LobbyStatus> {
        Arc::clone(&self.status)
    }

    /// Why the lobby takes no players just now, if it does not.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.status.not_ready()
    }

    /// Takes no new players and tickets from now on; battles that run are told of as before.
    pub fn drain(&self) {
        self.status.house.close();
    }

    /// Takes no new players and matches, waits for matches that are being placed, tells the clients, leaves the
    /// directory, and ends.
    pub async fn shutdown(mut self) {
        let house = Arc::clone(&self.status.house);
        house.close();
        let all = u32::try_from(PLACEMENTS_MAX).unwrap_or(u32::MAX);
        let placed = tokio::time::timeout(SHUTDOWN_WAIT, house.placements.acquire_many(all)).await;
        if placed.is_err() {
            tracing::warn!("matches were still being placed at the end");
        }
        self.stop.send_replace(true);
        house.presence().close_all();
        let emptied = async {
            while house.presence().count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Who has not gone by then goes with the tasks.
        let _ = tokio::time::timeout(house.config.gate_limits.write_timeout, emptied).await;
        for task in self.tasks.drain(..) {
            task.abort();
            if task.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("a task of the lobby had panicked");
            }
        }
        // First out of the lists, then deaf: no node is left with an address where nobody listens.
        self.status.registration.revoke().await;
        self.control.stop().await;
    }
}

/// What a lobby does unasked.
pub(crate) fn background(house: &Arc<House>) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(matching::run(Arc::clone(house))),
        tokio::spawn(probe::run(Arc::clone(house))),
        tokio::spawn(avatars::run(Arc::clone(house))),
    ]
}

impl Drop for Lobby {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        self.status.house.presence().close_all();
    }
}

impl LobbyStatus {
    /// Goes by other limits from now on: those by address and, for new sessions, their pace. Those of connections
    /// stay.
    pub fn change_limits(&self, limits: GateLimits) {
        self.house.change_limits(limits);
    }

    /// Signs and mints with other keys from now on, and opens what they open.
    pub fn change_keys(&self, keys: MasterKeys) {
        self.house.change_keys(keys);
    }

    /// Writes readiness, counters and gauges.
    pub fn write(&self, page: &mut StatusPage) {
        if let Some(why) = self.not_ready() {
            page.not_ready(why);
        }
        for (name, value) in self.counters() {
            page.counter(name, None, value);
        }
        for (name, value) in self.gauges() {
            page.gauge(name, None, value);
        }
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.house.counters.list();
        all.extend(self.doors.list());
        all.extend(self.control_counters.list());
        all.extend(self.registration_counters.list());
        all.extend(self.view_counters.list());
        all
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let tickets: u64 =
            (0..self.house.config.modes.len()).map(|mode| u64::from(self.house.queue().waiting(mode))).sum();
        vec![
            ("players_online", self.house.presence().count() as u64),
            ("tickets_waiting", tickets),
            ("players_in_battle", self.house.current().len() as u64),
            ("nodes_listed", self.house.nodes.current().records.len() as u64),
        ]
    }

    fn not_ready(&self) -> Option<&'static str> {
        if self.house.is_closing() {
            return Some("closing");
        }
        if self.registration.certain_until().is_none() {
            return Some("not registered in the directory");
        }
        if self.house.nodes.age().is_none_or(|age| age > self.house.config.registration.ttl) {
            return Some("the directory is away");
        }
        if self.house.store_heard.is_away() {
            return Some("the store does not answer");
        }
        None
    }
}
