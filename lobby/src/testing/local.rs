//! A lobby without sockets: sessions over channels, so that it runs under paused time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tiltyard_api::{ClientMessage, GateMessage};
use tiltyard_cluster::Clock;
use tiltyard_cluster::control::{LobbyHandler, NodeCalls, SessionCalls, SessionHandler, SessionLink};
use tiltyard_cluster::directory::Directory;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use crate::config::{ConfigError, LobbyConfig};
use crate::gate::{Front, GateConfig, Incoming, Linked, Socket, carry, run_session};
use crate::house::House;
use crate::keys::MasterKeys;
use crate::lobby::background;
use crate::settle::ResultSink;
use crate::shares::Origin;
use crate::store::Store;

/// Frames that fit between a local client and its session in either direction.
const FRAMES_MAX: usize = 16;

/// A lobby in this process, with everything but listeners and its own registration.
pub struct LocalLobby {
    house: Arc<House>,
    tasks: Vec<JoinHandle<()>>,
    linked: Arc<LinkedTasks>,
}

/// Sessions that come by way of a gate, until the lobby dies.
struct LinkedTasks {
    house: Arc<House>,
    tasks: Mutex<Option<Vec<AbortHandle>>>,
}

impl SessionHandler for LinkedTasks {
    fn take(&self, link: SessionLink, from: IpAddr) -> bool {
        let mut tasks = self.tasks.lock().expect("nobody panics while holding it");
        let Some(tasks) = tasks.as_mut().filter(|_| !self.house.is_closing()) else { return false };
        let session = run_session(Arc::clone(&self.house), Linked(link), Origin::of(from));
        tasks.push(tokio::spawn(session).abort_handle());
        true
    }
}

/// A gate in this process, with everything but a listener and its own registration.
pub struct LocalGate {
    front: Arc<Front>,
    /// Dropping it closes the gate's sessions.
    _stop: watch::Sender<bool>,
}

/// A client of a [`LocalLobby`]; dropping it closes the connection.
pub struct LocalClient {
    outgoing: mpsc::Sender<String>,
    incoming: mpsc::Receiver<String>,
}

impl LocalLobby {
    /// Starts the lobby. Needs a tokio runtime.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn start(
        config: LobbyConfig,
        directory: Arc<dyn Directory>,
        store: Arc<dyn Store>,
        nodes: Arc<dyn NodeCalls>,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let house = Arc::new(House::new(config, directory, store, nodes, clock));
        let tasks = background(&house);
        let linked = LinkedTasks { house: Arc::clone(&house), tasks: Mutex::new(Some(Vec::new())) };
        Ok(Self { house, tasks, linked: Arc::new(linked) })
    }

    /// Opens a connection from this machine.
    pub fn connect(&self) -> LocalClient {
        self.connect_from(Ipv4Addr::LOCALHOST.into())
    }

    /// Opens a connection from an address.
    pub fn connect_from(&self, address: IpAddr) -> LocalClient {
        let (client, socket) = LocalClient::with_socket();
        tokio::spawn(run_session(Arc::clone(&self.house), socket, Origin::of(address)));
        client
    }

    /// Takes the sessions that gates open.
    pub fn sessions(&self) -> Arc<dyn SessionHandler> {
        Arc::clone(&self.linked) as Arc<dyn SessionHandler>
    }

    /// Ends without a word, as a process that is killed: the sessions of gates break, new ones are refused.
    pub fn die(&self) {
        let tasks = self.linked.tasks.lock().expect("nobody panics while holding it").take();
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }

    /// Closes in order: the sessions of gates go on elsewhere.
    pub fn close(&self) {
        self.house.close();
        self.house.presence().close_all();
    }

    /// Signs and mints with other keys from now on.
    pub fn change_keys(&self, keys: MasterKeys) {
        self.house.change_keys(keys);
    }

    /// Where nodes settle.
    pub fn result_sink(&self) -> Arc<dyn LobbyHandler> {
        Arc::new(ResultSink(Arc::clone(&self.house)))
    }

    /// One of the lobby's counters.
    ///
    /// # Panics
    /// There is no counter of that name.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.house.counters.list();
        counters.into_iter().find(|(known, _)| *known == name).expect("a counter of that name").1
    }

    /// Whether its store has not answered lately.
    pub fn misses_its_store(&self) -> bool {
        self.house.store_heard.is_away()
    }

    /// How many nodes the lobby knows.
    pub fn nodes(&self) -> usize {
        self.house.nodes.current().records.len()
    }
}

impl Drop for LocalLobby {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl LocalGate {
    /// Starts the gate. Needs a tokio runtime.
    pub fn start(config: &GateConfig, directory: Arc<dyn Directory>, calls: Arc<dyn SessionCalls>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { front: Arc::new(Front::new(config, directory, calls, stopped)), _stop: stop }
    }

    /// Opens a connection from an address.
    pub fn connect_from(&self, address: IpAddr) -> LocalClient {
        let (client, socket) = LocalClient::with_socket();
        tokio::spawn(carry(Arc::clone(&self.front), socket, address));
        client
    }

    /// How many lobbies the gate knows.
    pub fn lobbies(&self) -> usize {
        self.front.lobbies()
    }
}

impl LocalClient {
    fn with_socket() -> (Self, LocalSocket) {
        let (outgoing, from_client) = mpsc::channel(FRAMES_MAX);
        let (to_client, incoming) = mpsc::channel(FRAMES_MAX);
        (Self { outgoing, incoming }, LocalSocket { from_client, to_client })
    }

    /// Sends a message; answers whether the session is still there to take it.
    pub async fn send(&self, message: ClientMessage) -> bool {
        self.send_text(message.to_json()).await
    }

    /// Sends a text frame, whatever is in it.
    pub async fn send_text(&self, text: String) -> bool {
        self.outgoing.send(text).await.is_ok()
    }

    /// Waits for the next message; nothing once the connection is closed.
    ///
    /// # Panics
    /// The gate sends something that is no message.
    pub async fn receive(&mut self) -> Option<GateMessage> {
        let text = self.incoming.recv().await?;
        Some(GateMessage::parse(&text).expect("the gate speaks its own protocol"))
    }
}

struct LocalSocket {
    from_client: mpsc::Receiver<String>,
    to_client: mpsc::Sender<String>,
}

#[async_trait]
impl Socket for LocalSocket {
    async fn receive(&mut self) -> Incoming {
        self.from_client.recv().await.map_or(Incoming::Closed, Incoming::Text)
    }

    async fn send(&mut self, text: String) -> bool {
        self.to_client.send(text).await.is_ok()
    }

    async fn ping(&mut self) -> bool {
        // A channel has no pong; a client that is idle is idle.
        !self.to_client.is_closed()
    }

    async fn close(&mut self) {
        self.from_client.close();
    }
}
