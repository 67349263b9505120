//! Many lobbies that place battles on many nodes at once, as lobbies do, with nodes that are nothing but seats.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::DirectCalls;
use crate::claims::Claims;
use crate::control::{
    BattleKeyGrant, DrainAnswer, NodeCalls as _, NodeHandler, NodeStatus, Refusal, Release, ReleaseAnswer,
    Reservation, ReserveAnswer, ReservedSeat,
};
use crate::directory::Directory;
use crate::epoch::{self, Ownership};
use crate::id::{BattleId, Epoch, NodeId};
use crate::node::select::{Demand, Ledger, select};
use crate::node::{Keyspace, Load, NodeRecord, Registration, RegistrationConfig, View, ViewConfig};

/// The game that all nodes run.
const HASH: [u8; 16] = [7; 16];
/// Seats of a battle.
const SEATS: u16 = 10;
/// Most nodes that a lobby asks for one battle.
const NODES_ASKED_MAX: usize = 3;
/// Nodes that report so seldom have not done so while the battles of one moment are placed.
const NEVER: Duration = Duration::from_secs(3_600);
/// How long battles last at most.
const KEPT: Duration = Duration::from_secs(300);

/// What is placed where.
#[derive(Debug, Clone, Copy)]
pub struct Placing {
    /// Nodes.
    pub nodes: u32,
    /// Seats of each node; a battle takes ten.
    pub seats_max: u32,
    /// Lobbies, which know nothing of each other but what the nodes report.
    pub lobbies: usize,
    /// Battles, all of which are there from the start.
    pub battles: u64,
    /// Battles that one lobby places at the same time.
    pub at_once: usize,
    /// How often the nodes report their load.
    pub report: Duration,
    /// Whether each battle's first epoch is claimed in the directory too.
    pub claims: bool,
}

/// How it went.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Seats given on each node.
    pub seats: Vec<u32>,
    /// Battles for which no node was found.
    pub without_node: u64,
    /// Nodes that were asked and refused.
    pub refusals: u64,
    /// How long each placement took, in order of length.
    pub took: Vec<Duration>,
    /// From the first to the last.
    pub all: Duration,
}

impl Placed {
    /// Seats on the fullest node over those on the average one.
    pub fn max_over_mean(&self) -> f64 {
        let mean = f64::from(self.seats.iter().sum::<u32>()) / self.seats.len() as f64;
        f64::from(self.seats.iter().copied().max().unwrap_or(0)) / mean
    }
}

/// A node that takes battles while it has seats. Asked again for one it gives the same answer.
struct Host {
    record: NodeRecord,
    battles: Mutex<BTreeMap<BattleId, u32>>,
    seats_max: u32,
}

impl Host {
    fn seats(&self) -> u32 {
        self.battles.lock().expect("nobody panics while holding it").values().sum()
    }

    fn load(&self) -> Load {
        let battles = self.battles.lock().expect("nobody panics while holding it");
        Load {
            seats_max: self.seats_max,
            seats_reserved: battles.values().sum(),
            battles_max: u32::MAX,
            battles: u32::try_from(battles.len()).unwrap_or(u32::MAX),
            ..Load::default()
        }
    }
}

#[async_trait]
impl NodeHandler for Host {
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer {
        let mut battles = self.battles.lock().expect("nobody panics while holding it");
        let seats = reservation.seats.len() as u32;
        let here = battles.contains_key(&reservation.battle);
        if !here && battles.values().sum::<u32>() + seats > self.seats_max {
            return ReserveAnswer::Refused(Refusal::Full);
        }
        battles.insert(reservation.battle, seats);
        ReserveAnswer::Reserved { addresses: vec![self.record.control] }
    }

    async fn release(&self, release: Release) -> ReleaseAnswer {
        let mut battles = self.battles.lock().expect("nobody panics while holding it");
        battles.remove(&release.battle).map_or(ReleaseAnswer::NotHere, |_| ReleaseAnswer::Released)
    }

    async fn drain(&self) -> DrainAnswer {
        DrainAnswer { battles: 0 }
    }

    async fn status(&self) -> NodeStatus {
        NodeStatus { node: self.record.id.clone(), draining: false, load: self.load(), battles: vec![] }
    }
}

struct Lobby {
    nodes: View<NodeRecord>,
    ledger: Mutex<Ledger>,
    calls: Arc<DirectCalls>,
    claims: Option<Claims>,
    began: Instant,
}

enum Outcome {
    Placed,
    NoNode,
}

impl Lobby {
    /// Places a battle; answers too how many nodes refused.
    async fn place(&self, battle: BattleId) -> (Outcome, u64) {
        let seats = u32::from(SEATS);
        let demand = Demand { battle, protocol_hash: HASH, seats, cost_permille: 0 };
        let mut asked: Vec<NodeId> = Vec::new();
        while asked.len() < NODES_ASKED_MAX {
            let refusals = asked.len() as u64;
            let Some(node) = self.pick_and_charge(&demand, &asked) else { break };
            match self.reserve(&node, battle).await {
                ReserveAnswer::Reserved { .. } => {
                    if let Some(claims) = &self.claims {
                        let owned = Ownership { epoch: Epoch::FIRST, owner: node.id };
                        claims.claim(battle, owned).await.expect("nobody else claims it");
                    }
                    return (Outcome::Placed, refusals);
                }
                ReserveAnswer::Refused(_) => {
                    self.ledger.lock().expect("nobody panics while holding it").discharge(&node.id, battle);
                    asked.push(node.id);
                }
            }
        }
        (Outcome::NoNode, asked.len() as u64)
    }

    /// Asks again when an answer was too late, as it may be on a busy machine.
    async fn reserve(&self, node: &NodeRecord, battle: BattleId) -> ReserveAnswer {
        loop {
            if let Ok(answer) = self.calls.reserve(&node.peer(), &reservation(battle)).await {
                return answer;
            }
        }
    }

    fn pick_and_charge(&self, demand: &Demand, asked: &[NodeId]) -> Option<NodeRecord> {
        let listed = self.nodes.current();
        let mut ledger = self.ledger.lock().expect("nobody panics while holding it");
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let picked = select(listed.records.values(), &ledger, demand, asked, now_ms).ok()?.clone();
        ledger.charge(&picked, demand, now_ms);
        Some(picked)
    }
}

fn reservation(battle: BattleId) -> Reservation {
    let seat = |seat| ReservedSeat {
        seat,
        team: u8::from(seat >= SEATS / 2),
        player: battle.0 << 8 | u64::from(seat),
        name: "somebody".to_owned(),
        bot: false,
        loadout: 0,
    };
    Reservation {
        battle,
        epoch: Epoch::FIRST,
        mode: "five".to_owned(),
        protocol_hash: HASH,
        setup: vec![],
        seed: battle.0,
        rate_hz: 30,
        ticks_max: 1_000,
        seats: (0..SEATS).map(seat).collect(),
        keys: vec![BattleKeyGrant { kid: 1, key: [1; 32] }],
        deadline_ms: 60_000,
    }
}

impl Placing {
    /// Registers the nodes in the directory, waits until every lobby sees them, and places all battles.
    ///
    /// # Panics
    /// The directory does not work.
    pub async fn run(self, directory: &Arc<dyn Directory>, keyspace: &Keyspace) -> Placed {
        let calls = Arc::new(DirectCalls::default());
        let mut hosts = Vec::new();
        let mut reporting = Vec::new();
        for number in 0..self.nodes {
            let host = Arc::new(self.host(number));
            calls.add_node(host.record.id.clone(), Arc::clone(&host) as Arc<dyn NodeHandler>);
            reporting.push(report(directory, keyspace, &host, self.report).await);
            hosts.push(host);
        }
        let mut lobbies = Vec::new();
        for _ in 0..self.lobbies {
            lobbies.push(Arc::new(self.lobby(directory, keyspace, &calls).await));
        }
        let mut placed =
            Placed { seats: vec![], without_node: 0, refusals: 0, took: Vec::new(), all: Duration::ZERO };
        let began = Instant::now();
        let mut placing = JoinSet::new();
        for (number, lobby) in lobbies.iter().enumerate() {
            let free = Arc::new(Semaphore::new(self.at_once));
            for battle in (number as u64..self.battles).step_by(self.lobbies) {
                let (lobby, free) = (Arc::clone(lobby), Arc::clone(&free));
                placing.spawn(async move {
                    let _place = free.acquire_owned().await.expect("nobody closes it");
                    let started = Instant::now();
                    let (outcome, refusals) = lobby.place(BattleId(battle + 1)).await;
                    (outcome, refusals, started.elapsed())
                });
            }
        }
        while let Some(done) = placing.join_next().await {
            let (outcome, refusals, took) = done.expect("no placement panics");
            placed.refusals += refusals;
            match outcome {
                Outcome::Placed => placed.took.push(took),
                Outcome::NoNode => placed.without_node += 1,
            }
        }
        placed.all = began.elapsed();
        placed.took.sort_unstable();
        placed.seats = hosts.iter().map(|host| host.seats()).collect();
        for task in reporting {
            task.abort();
        }
        placed
    }

    fn host(&self, number: u32) -> Host {
        let id = NodeId::parse(&format!("node-{number}")).expect("a name");
        let control = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut record = NodeRecord::new(id, u64::from(number) + 1, control, vec![control], HASH, "test");
        record.load = Load { seats_max: self.seats_max, battles_max: u32::MAX, ..Load::default() };
        Host { record, battles: Mutex::default(), seats_max: self.seats_max }
    }

    async fn lobby(
        &self,
        directory: &Arc<dyn Directory>,
        keyspace: &Keyspace,
        calls: &Arc<DirectCalls>,
    ) -> Lobby {
        let lobby = Lobby {
            nodes: View::start(Arc::clone(directory), keyspace, ViewConfig::default()),
            ledger: Mutex::default(),
            calls: Arc::clone(calls),
            claims: self.claims.then(|| Claims::start(Arc::clone(directory), keyspace.clone(), KEPT)),
            began: Instant::now(),
        };
        let mut listed = lobby.nodes.subscribe();
        let all = listed.wait_for(|listed| listed.records.len() == self.nodes as usize);
        timeout(Duration::from_secs(60), all).await.expect("every node is listed").expect("the view lives");
        lobby
    }
}

/// Keeps a node registered and its load reported until the task is aborted.
async fn report(
    directory: &Arc<dyn Directory>,
    keyspace: &Keyspace,
    host: &Arc<Host>,
    interval: Duration,
) -> JoinHandle<()> {
    let config =
        RegistrationConfig { start_timeout: Duration::from_secs(60), ..RegistrationConfig::default() };
    let registration =
        Registration::start(Arc::clone(directory), keyspace.clone(), host.record.clone(), config);
    let registration = registration.await.expect("the directory answers");
    let host = Arc::clone(host);
    tokio::spawn(async move {
        loop {
            sleep(interval).await;
            registration.update(|record| {
                record.load = host.load();
                record.report += 1;
            });
        }
    })
}

/// Holds placement on this directory to its promises: 1,000 battles of 8 lobbies at the same moment spread evenly
/// over the nodes, and where there is no room for all of them no node takes more than it has seats.
///
/// # Panics
/// A promise is broken.
pub async fn placements(directory: Arc<dyn Directory>, keyspace: &Keyspace) {
    let roomy = Placing {
        nodes: 10,
        seats_max: 1_200,
        lobbies: 8,
        battles: 1_000,
        at_once: 1_000,
        report: NEVER,
        claims: true,
    };
    let placed = roomy.run(&directory, keyspace).await;
    assert_eq!((placed.took.len(), placed.without_node), (1_000, 0));
    assert_eq!(placed.seats.iter().sum::<u32>(), 10_000);
    let ratio = placed.max_over_mean();
    assert!(ratio <= 1.5, "{ratio}: {:?}", placed.seats);
    for battle in [1, 1_000] {
        let claimed = epoch::current(&*directory, keyspace, BattleId(battle)).await;
        let claimed = claimed.expect("it can be read").expect("it is claimed");
        assert_eq!(claimed.epoch, Epoch::FIRST);
        assert!(claimed.owner.as_str().starts_with("node-"));
    }
}

/// Holds nodes that have no room for all battles to their seats.
///
/// # Panics
/// A node takes more than it has seats, or much less while battles find no node.
pub async fn capacity(directory: Arc<dyn Directory>, keyspace: &Keyspace) {
    let tight = Placing {
        nodes: 10,
        seats_max: 505,
        lobbies: 8,
        battles: 1_000,
        at_once: 1_000,
        report: NEVER,
        claims: false,
    };
    let placed = tight.run(&directory, keyspace).await;
    assert!(placed.seats.iter().all(|seats| *seats <= 500), "{:?}", placed.seats);
    assert_eq!(placed.took.len() as u64 + placed.without_node, 1_000);
    assert_eq!(placed.seats.iter().sum::<u32>() as usize, 10 * placed.took.len());
    assert!(placed.took.len() >= 475, "{:?}", placed.seats);
}
