//! A house of fake nodes around a lobby.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tiltyard_api::{BattleReady, ClientMessage, GateMessage, Hello, Login, Queue, Resume, VERSION};
use tiltyard_cluster::control::{
    BattleEnd, ClusterKeys, ClusterSecret, DrainAnswer, NodeHandler, NodeStatus, Refusal, Release,
    ReleaseAnswer, Reservation, ReserveAnswer, Settlement,
};
use tiltyard_cluster::directory::{Directory, MemoryDirectory};
use tiltyard_cluster::node::{Keyspace, Load, NodeRecord, Registration, RegistrationConfig, ViewConfig};
use tiltyard_cluster::testing::DirectCalls;
use tiltyard_cluster::{BattleId, Clock, Epoch, NodeId};
use tiltyard_lobby::board::MemoryBoard;
use tiltyard_lobby::store::{BattleRow, EmbeddedStore, Store};
use tiltyard_lobby::testing::{LocalClient, LocalLobby};
use tiltyard_lobby::{GateLimits, LobbyConfig, MasterKeys, ModeConfig, Waits};
use tiltyard_netcode::token::{BattleToken, Claims, MasterKey, open};

/// When the tests' clock starts.
pub(crate) const START_UNIX_MS: u64 = 1_700_000_000_000;
/// Protocol hash of the tests' game.
pub(crate) const HASH: [u8; 16] = [7; 16];

/// What a fake node does with a reservation; it accepts when nothing is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Refuses it.
    Refuse(Refusal),
    /// Takes it, and its answer is lost.
    TakeAndLoseAnswer,
    /// Takes it after a while.
    TakeSlowly(Duration),
}

/// A node that reserves nothing but remembers what it was asked.
pub(crate) struct FakeNode {
    pub(crate) id: NodeId,
    address: SocketAddr,
    store: Arc<dyn Store>,
    pub(crate) plans: Mutex<VecDeque<Plan>>,
    refusals: Mutex<Arc<Mutex<Vec<Refusal>>>>,
    pub(crate) reserved: Mutex<Vec<(Reservation, Option<BattleRow>)>>,
    pub(crate) released: Mutex<Vec<Release>>,
}

impl FakeNode {
    /// Takes its refusals from a store that several nodes share, as long as there are any.
    pub(crate) fn refuse_from(&self, refusals: &Arc<Mutex<Vec<Refusal>>>) {
        *self.refusals.lock().unwrap() = Arc::clone(refusals);
    }
}

#[async_trait]
impl NodeHandler for FakeNode {
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer {
        let shared = Arc::clone(&self.refusals.lock().unwrap());
        if let Some(refusal) = shared.lock().unwrap().pop() {
            return ReserveAnswer::Refused(refusal);
        }
        let plan = self.plans.lock().unwrap().pop_front();
        if let Some(Plan::Refuse(refusal)) = plan {
            return ReserveAnswer::Refused(refusal);
        }
        let row = self.store.battle(reservation.battle).await.unwrap();
        self.reserved.lock().unwrap().push((reservation, row));
        match plan {
            Some(Plan::TakeAndLoseAnswer) => tokio::time::sleep(Duration::from_secs(3600)).await,
            Some(Plan::TakeSlowly(wait)) => tokio::time::sleep(wait).await,
            Some(Plan::Refuse(_)) | None => {}
        }
        ReserveAnswer::Reserved { addresses: vec![self.address] }
    }

    async fn release(&self, release: Release) -> ReleaseAnswer {
        self.released.lock().unwrap().push(release);
        ReleaseAnswer::Released
    }

    async fn drain(&self) -> DrainAnswer {
        DrainAnswer { battles: 0 }
    }

    async fn status(&self) -> NodeStatus {
        NodeStatus { node: self.id.clone(), draining: false, load: Load::default(), battles: vec![] }
    }
}

/// A directory, a store, fake nodes and a lobby without sockets.
pub(crate) struct House {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) calls: Arc<DirectCalls>,
    pub(crate) clock: Clock,
    pub(crate) nodes: Vec<Arc<FakeNode>>,
    pub(crate) registrations: Vec<Registration<NodeRecord>>,
    pub(crate) lobby: LocalLobby,
}

pub(crate) fn master_keys() -> MasterKeys {
    MasterKeys::new(MasterKey::from_bytes(1, [9; 32]), None)
}

pub(crate) fn cluster_keys() -> ClusterKeys {
    ClusterKeys::new(ClusterSecret::new(1, &[5; 32]).unwrap(), None)
}

pub(crate) fn mode(name: &str, seats_per_team: u16, bots_after: Option<Duration>) -> ModeConfig {
    ModeConfig {
        name: name.to_owned(),
        teams: 2,
        seats_per_team,
        rate_hz: 30,
        ticks_max: 900,
        protocol_hash: HASH,
        setup: vec![1, 2, 3],
        bots_after,
        cost_permille: 1,
    }
}

pub(crate) fn config() -> LobbyConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    LobbyConfig {
        id: NodeId::parse("lobby-1").unwrap(),
        instance: 1,
        program: "tiltyard test".to_owned(),
        gate: Some(any),
        control: any,
        keyspace: Keyspace::default(),
        master_keys: master_keys(),
        cluster_keys: cluster_keys(),
        seed: Some(42),
        modes: vec![
            mode("five", 5, None),
            mode("duel", 1, None),
            mode("bots", 5, Some(Duration::from_secs(10))),
        ],
        gate_limits: GateLimits::default(),
        waits: Waits::default(),
        board: Arc::new(MemoryBoard::default()),
        registration: RegistrationConfig::default(),
        view: ViewConfig::default(),
    }
}

impl House {
    /// A house with so many nodes, known to the lobby.
    pub(crate) async fn new(nodes: usize) -> Self {
        Self::with(nodes, config(), Arc::new(MemoryDirectory::new())).await
    }

    pub(crate) async fn with(nodes: usize, config: LobbyConfig, directory: Arc<dyn Directory>) -> Self {
        Self::over(Arc::new(EmbeddedStore::in_memory()), nodes, config, directory).await
    }

    /// A house over a store of its own.
    pub(crate) async fn over(
        store: Arc<dyn Store>,
        nodes: usize,
        config: LobbyConfig,
        directory: Arc<dyn Directory>,
    ) -> Self {
        let calls = Arc::new(DirectCalls::default());
        let clock = Clock::from_tokio(START_UNIX_MS);
        let lobby = LocalLobby::start(config, directory.clone(), store.clone(), calls.clone(), clock.clone())
            .unwrap();
        let mut house = Self { directory, store, calls, clock, nodes: vec![], registrations: vec![], lobby };
        for index in 0..nodes {
            house.add_node(&format!("node-{index}"), |_| ()).await;
        }
        house
    }

    /// Adds a node and waits until the lobby knows it.
    pub(crate) async fn add_node(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut NodeRecord),
    ) -> Arc<FakeNode> {
        let id = NodeId::parse(name).unwrap();
        let port = u16::try_from(5_000 + self.nodes.len()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let node = Arc::new(FakeNode {
            id: id.clone(),
            address,
            store: self.store.clone(),
            plans: Mutex::default(),
            refusals: Mutex::default(),
            reserved: Mutex::default(),
            released: Mutex::default(),
        });
        self.calls.add_node(id.clone(), node.clone());
        let mut record = NodeRecord::new(id, 1, address, vec![address], HASH, "test");
        record.load = Load { seats_max: 1_000, battles_max: 100, ..Load::default() };
        change(&mut record);
        let known = self.lobby.nodes();
        let keyspace = Keyspace::default();
        let registration =
            Registration::start(self.directory.clone(), keyspace, record, RegistrationConfig::default());
        self.registrations.push(registration.await.unwrap());
        self.nodes.push(node.clone());
        while self.lobby.nodes() == known {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        node
    }

    /// Plans the same for the next reservation at every node.
    pub(crate) fn plan(&self, plan: Plan) {
        for node in &self.nodes {
            node.plans.lock().unwrap().push_back(plan);
        }
    }

    /// All reservations that were taken, with the battle's row as it stood when the node was asked.
    pub(crate) fn reserved(&self) -> Vec<(Reservation, Option<BattleRow>)> {
        self.nodes.iter().flat_map(|node| node.reserved.lock().unwrap().clone()).collect()
    }

    /// A client that has said hello.
    pub(crate) async fn greeted(&self) -> Client {
        self.greeted_from("127.0.0.1").await
    }

    /// A client that has said hello, from an address.
    pub(crate) async fn greeted_from(&self, address: &str) -> Client {
        let mut client = Client(self.lobby.connect_from(address.parse().unwrap()));
        client.send(hello()).await;
        assert!(matches!(client.next().await, GateMessage::Welcome(_)));
        client
    }

    /// A client that has logged in, with its session token.
    pub(crate) async fn player(&self, name: &str) -> (Client, String) {
        let mut client = self.greeted().await;
        client
            .send(ClientMessage::Login(Login { name: Some(name.try_into().unwrap()), password: None }))
            .await;
        let GateMessage::LoggedIn(logged_in) = client.next().await else { panic!("no login") };
        assert_eq!(logged_in.name.as_str(), name);
        (client, logged_in.session.into_string())
    }

    /// A guest from an address.
    pub(crate) async fn guest_from(&self, address: &str) -> Client {
        let mut client = self.greeted_from(address).await;
        client.send(ClientMessage::Login(Login::default())).await;
        assert!(matches!(client.next().await, GateMessage::LoggedIn(_)));
        client
    }

    /// A client that has come back with a session token.
    pub(crate) async fn resumed(&self, session: &str) -> (Client, tiltyard_api::LoggedIn) {
        let mut client = self.greeted().await;
        client.send(resume(session)).await;
        let GateMessage::LoggedIn(logged_in) = client.next().await else { panic!("no resume") };
        (client, logged_in)
    }

    /// So many players, all in the queue of a mode.
    pub(crate) async fn queued(&self, count: usize, mode: &str) -> Vec<Client> {
        let mut clients = Vec::new();
        for index in 0..count {
            let (mut client, _) = self.player(&format!("player {index}")).await;
            client.queue(mode).await;
            clients.push(client);
        }
        clients
    }
}

pub(crate) fn hello() -> ClientMessage {
    ClientMessage::Hello(Hello { version: VERSION, client: "test".try_into().unwrap() })
}

pub(crate) fn resume(session: &str) -> ClientMessage {
    ClientMessage::Resume(Resume { session: session.try_into().unwrap() })
}

pub(crate) fn queue(mode: &str) -> ClientMessage {
    ClientMessage::Queue(Queue { mode: mode.try_into().unwrap(), loadout: 3, party: None })
}

/// A client that expects an answer to what it says.
pub(crate) struct Client(pub(crate) LocalClient);

impl Client {
    pub(crate) async fn send(&mut self, message: ClientMessage) {
        assert!(self.0.send(message).await, "the session is there");
    }

    pub(crate) async fn text(&mut self, text: &str) {
        assert!(self.0.send_text(text.to_owned()).await, "the session is there");
    }

    pub(crate) async fn next(&mut self) -> GateMessage {
        let received = tokio::time::timeout(Duration::from_secs(120), self.0.receive()).await;
        received.expect("the gate answers").expect("the connection is open")
    }

    /// The code of the refusal that comes next.
    pub(crate) async fn code(&mut self) -> &'static str {
        self.refusal().await.0
    }

    /// The code of the refusal that comes next, and after how many milliseconds to try again.
    pub(crate) async fn refusal(&mut self) -> (&'static str, u64) {
        match self.next().await {
            GateMessage::Error(error) => (error.code.as_str(), error.retry_after_ms),
            other => panic!("{other:?} is no error"),
        }
    }

    pub(crate) async fn closed(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(120), self.0.receive()).await.expect("it closes").is_none()
    }

    pub(crate) async fn silent(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.0.receive()).await.is_err()
    }

    pub(crate) async fn queue(&mut self, mode: &str) {
        self.send(queue(mode)).await;
        assert!(matches!(self.next().await, GateMessage::Queued(_)));
    }

    /// Reads on until the battle is ready.
    pub(crate) async fn ready(&mut self) -> BattleReady {
        loop {
            match self.next().await {
                GateMessage::BattleReady(ready) => return *ready,
                GateMessage::MatchFound(_) | GateMessage::Requeued(_) => {}
                other => panic!("{other:?} instead of a battle"),
            }
        }
    }
}

/// Opens a battle token with the key that the node was given.
pub(crate) fn opened(ready: &BattleReady, reservation: &Reservation) -> Claims {
    let battle = tiltyard_netcode::BattleId(reservation.battle.0);
    let grant = &reservation.keys[0];
    let key = tiltyard_netcode::token::BattleKey::from_bytes(grant.kid, battle, grant.key);
    open(&key, &BattleToken::from_bytes(ready.token.as_bytes()).unwrap()).unwrap().1
}

pub(crate) fn settlement(battle: BattleId, epoch: Epoch) -> Settlement {
    Settlement {
        battle,
        epoch,
        node: NodeId::parse("node-0").unwrap(),
        ticks: 900,
        winner: Some(1),
        scores: vec![3, 4],
        final_hash: 77,
        recording_hash: [1; 32],
        ended: BattleEnd::Finished,
    }
}
