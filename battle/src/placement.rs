//! Placement: which battles a node takes, which worker has them, and what becomes of their ends.
//!
//! Reservations and releases are made one after the other, each in a task of its own: a caller that gives up waiting
//! leaves nothing half done, asking again finds either nothing or a room, and a release never overtakes the opening
//! that it is about.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tiltyard_cluster::control::{
    DrainAnswer, NodeHandler, NodeStatus, Refusal, Release, ReleaseAnswer, Reservation, ReserveAnswer,
};
use tiltyard_cluster::node::Load;
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_engine::{BattleSpec, Game, Record, Roster, RosterSeat, SeatRole, Team, Terms, TickRate, math};
use tiltyard_netcode::HostedBattle;
use tiltyard_netcode::token::BattleKey;
use tiltyard_replay::{Header, Sealed, Settings};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};

use crate::node::NodeConfig;
use crate::outbox::Outbox;
use crate::recording::RecorderHandle;
use crate::recovery::{nothing_played, result};
use crate::room::{Room, RoomSettings};
use crate::shell::{Order, WorkerStatus};
use crate::worker::EndedBattle;

/// Sessions of one worker at once.
pub(crate) const CONNECTIONS_MAX: u32 = 8192;

/// Time between the last player's coming and the first tick, in milliseconds.
const COUNTDOWN_MS: u32 = 500;

/// The node's end of a worker.
pub(crate) struct Worker<G: Game> {
    pub(crate) orders: mpsc::Sender<Order<G>>,
    pub(crate) address: SocketAddr,
    pub(crate) status: Arc<Mutex<WorkerStatus>>,
}

/// Where a battle is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    epoch: Epoch,
    pub(crate) worker: usize,
    seats: u32,
}

/// The battles of a node.
pub(crate) struct Placement<G: Game> {
    /// The placement itself, for tasks that outlive a call.
    own: Weak<Self>,
    config: NodeConfig,
    protocol_hash: [u8; 16],
    workers: Vec<Worker<G>>,
    placed: Mutex<BTreeMap<BattleId, Placed>>,
    /// Held by whoever reserves or releases.
    changing: tokio::sync::Mutex<()>,
    draining: AtomicBool,
    /// Battles at once, as of now.
    pub(crate) battles_max: AtomicU32,
    /// Battles that ended because others own them.
    pub(crate) superseded: AtomicU64,
    recorder: RecorderHandle,
    outbox: Outbox,
    settled: Arc<Notify>,
    runtime: Handle,
    /// One permit for each battle that is being closed.
    closing: Arc<Closing>,
}

/// Counts battles whose recording and result are still on their way to the disk.
#[derive(Default)]
struct Closing {
    count: Mutex<usize>,
    none: Notify,
}

impl<G: Game> Placement<G> {
    /// A placement without battles. Must be called inside a tokio runtime.
    pub(crate) fn new(
        config: NodeConfig,
        protocol_hash: [u8; 16],
        workers: Vec<Worker<G>>,
        recorder: RecorderHandle,
        outbox: Outbox,
        settled: Arc<Notify>,
    ) -> Arc<Self> {
        let battles_max = AtomicU32::new(config.battles_max);
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            config,
            protocol_hash,
            workers,
            placed: Mutex::new(BTreeMap::new()),
            changing: tokio::sync::Mutex::new(()),
            draining: AtomicBool::new(false),
            battles_max,
            superseded: AtomicU64::new(0),
            recorder,
            outbox,
            settled,
            runtime: Handle::current(),
            closing: Arc::default(),
        })
    }

    pub(crate) fn config(&self) -> &NodeConfig {
        &self.config
    }

    pub(crate) fn workers(&self) -> &[Worker<G>] {
        &self.workers
    }

    pub(crate) fn placed(&self) -> MutexGuard<'_, BTreeMap<BattleId, Placed>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = WorkerStatus> {
        self.workers.iter().map(|worker| worker.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The battles with their epochs.
    pub(crate) fn epochs(&self) -> BTreeMap<BattleId, Epoch> {
        self.placed().iter().map(|(battle, placed)| (*battle, placed.epoch)).collect()
    }

    /// Ends a battle that another owns by now, without a result.
    pub(crate) async fn give_up(&self, battle: BattleId, epoch: Epoch) {
        if self.release_alone(battle, epoch).await == ReleaseAnswer::Released {
            self.superseded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes no new battles from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn load(&self) -> Load {
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
            battles_max: self.battles_max.load(Ordering::Relaxed),
            battles: placed.len() as u32,
        }
    }

    /// Whether results wait for a lobby.
    pub(crate) async fn results_waiting(&self) -> bool {
        let outbox = self.outbox.clone();
        let waiting = tokio::task::spawn_blocking(move || outbox.waiting()).await;
        waiting.is_ok_and(|waiting| waiting.is_ok_and(|waiting| !waiting.is_empty()))
    }

    /// Waits until every battle that ended has its result in the outbox.
    pub(crate) async fn closed(&self) {
        loop {
            let none = self.closing.none.notified();
            if *self.closing.count.lock().unwrap_or_else(PoisonError::into_inner) == 0 {
                return;
            }
            none.await;
        }
    }

    /// A battle ended on a worker: its recording is closed and its result goes to the outbox, elsewhere.
    pub(crate) fn close(&self, ended: EndedBattle<G>) {
        let Some(own) = self.own.upgrade() else { return };
        let EndedBattle { mut room, end, is_result } = ended;
        let (battle, epoch) = (BattleId(room.id().0), Epoch(room.epoch().0));
        let told = end.clone();
        *self.closing.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let then = Box::new(move |sealed: Option<Sealed>| {
            if is_result {
                let recording_hash = sealed.map_or([0; 32], |sealed| sealed.recording_hash);
                own.outbox.deposit(&result(&own.config.id, battle, epoch, &told, recording_hash));
            } else {
                own.disown(battle, epoch);
            }
            own.forget(battle, epoch);
            own.settled.notify_one();
            let mut closing = own.closing.count.lock().unwrap_or_else(PoisonError::into_inner);
            *closing -= 1;
            if *closing == 0 {
                own.closing.none.notify_waiters();
            }
        });
        // Closing waits for the recording thread's queue, which a worker must not.
        self.runtime.spawn_blocking(move || room.close_recording(&end, then));
    }

    /// Drains the node if a worker's thread has died, and tells the lobby that its battles are aborted.
    pub(crate) async fn give_up_dead_workers(&self) {
        for (number, worker) in self.workers.iter().enumerate() {
            if !worker.orders.is_closed() || self.is_draining() {
                continue;
            }
            error!(worker = number, "a worker's thread has died: the node drains, its battles are aborted");
            self.drain();
            let lost: Vec<_> = {
                let mut placed = self.placed();
                let lost = placed.iter().filter(|(_, placed)| placed.worker == number);
                let lost: Vec<_> = lost.map(|(battle, placed)| (*battle, placed.epoch)).collect();
                placed.retain(|_, placed| placed.worker != number);
                lost
            };
            let (outbox, settled) = (self.outbox.clone(), self.settled.clone());
            let of = |(battle, epoch)| result(&self.config.id, battle, epoch, &nothing_played(), [0; 32]);
            let results: Vec<_> = lost.into_iter().map(of).collect();
            self.runtime.spawn_blocking(move || {
                results.iter().for_each(|result| outbox.deposit(result));
                settled.notify_one();
            });
        }
    }

    /// A battle that was released is somebody else's now: neither its result nor its recording is ours to tell.
    fn disown(&self, battle: BattleId, epoch: Epoch) {
        let removed =
            self.outbox.forget(battle, epoch).and_then(|()| self.recorder.remove(battle.0, epoch.0));
        if let Err(error) = removed {
            warn!(%battle, %error, "what a released battle left could not be removed");
        }
    }

    /// Frees a battle's place, unless a later epoch of it has one by now.
    fn forget(&self, battle: BattleId, epoch: Epoch) {
        let mut placed = self.placed();
        if placed.get(&battle).is_some_and(|placed| placed.epoch == epoch) {
            placed.remove(&battle);
        }
    }

    /// The worker with the fewest battles, the first of equals.
    fn emptiest(&self, placed: &BTreeMap<BattleId, Placed>) -> usize {
        let battles = |worker: usize| placed.values().filter(|placed| placed.worker == worker).count();
        (0..self.workers.len()).min_by_key(|worker| battles(*worker)).expect("a node has a worker")
    }

    async fn reserve_alone(&self, reservation: Reservation) -> Result<SocketAddr, Refusal> {
        let _changing = self.changing.lock().await;
        if reservation.protocol_hash != self.protocol_hash {
            return Err(Refusal::ProtocolHash);
        }
        let (battle, epoch) = (reservation.battle, reservation.epoch);
        let before = self.placed().get(&battle).copied();
        match before {
            Some(placed) if placed.epoch == epoch => return Ok(self.workers[placed.worker].address),
            Some(placed) if placed.epoch > epoch => return Err(Refusal::StaleEpoch),
            Some(placed) => {
                self.release_placed(battle, placed).await;
            }
            None => {}
        }
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        let worker = {
            let mut placed = self.placed();
            // A battle that comes back under a higher epoch takes its own place.
            placed.remove(&battle);
            if placed.len() >= self.battles_max.load(Ordering::Relaxed) as usize {
                return Err(Refusal::Full);
            }
            self.emptiest(&placed)
        };
        let room = self.room(&reservation)?;
        let id = tiltyard_netcode::BattleId(battle.0);
        let keys =
            reservation.keys.iter().map(|grant| BattleKey::from_bytes(grant.kid, id, grant.key)).collect();
        let hosted = HostedBattle {
            keys,
            epoch: tiltyard_netcode::Epoch(epoch.0),
            protocol_hash: self.protocol_hash,
            rate_hz: reservation.rate_hz,
            math_hash: math::self_test_hash(),
            hides: room.hides(),
        };
        let seats = reservation.seats.len() as u32;
        let outbox = self.outbox.clone();
        let noted = tokio::task::spawn_blocking(move || outbox.note_running(battle, epoch)).await;
        if let Some(error) = noted.map_err(io::Error::other).and_then(|noted| noted).err() {
            warn!(%battle, %error, "the outbox cannot be written: no battle is taken");
            return Err(Refusal::Internal);
        }
        // Before the order: the battle may end as soon as the worker has it.
        self.placed().insert(battle, Placed { epoch, worker, seats });
        if self.workers[worker].orders.send(Order::Open { room, hosted }).await.is_err() {
            self.forget(battle, epoch);
            if let Err(error) = self.outbox.forget(battle, epoch) {
                warn!(%battle, %error, "the note of a battle that is not taken could not be removed");
            }
            return Err(Refusal::Internal);
        }
        info!(%battle, epoch = epoch.0, worker, seats, mode = %reservation.mode, "battle reserved");
        Ok(self.workers[worker].address)
    }

    async fn release_alone(&self, battle: BattleId, epoch: Epoch) -> ReleaseAnswer {
        let _changing = self.changing.lock().await;
        let Some(placed) = self.placed().get(&battle).copied() else { return ReleaseAnswer::NotHere };
        if placed.epoch > epoch {
            return ReleaseAnswer::Stale;
        }
        self.release_placed(battle, placed).await
    }

    async fn release_placed(&self, battle: BattleId, placed: Placed) -> ReleaseAnswer {
        let (done, released) = oneshot::channel();
        let (id, epoch) = (tiltyard_netcode::BattleId(battle.0), tiltyard_netcode::Epoch(placed.epoch.0));
        let order = Order::Release { battle: id, epoch, done };
        if self.workers[placed.worker].orders.send(order).await.is_err() {
            return ReleaseAnswer::NotHere;
        }
        match released.await {
            Ok(true) => ReleaseAnswer::Released,
            _ => ReleaseAnswer::NotHere,
        }
    }

    fn room(&self, reservation: &Reservation) -> Result<Box<Room<G>>, Refusal> {
        let spec = spec::<G>(reservation).ok_or(Refusal::Invalid)?;
        let rate_hz = spec.terms.rate.hz();
        let header = Header {
            rate_hz,
            protocol_hash: self.protocol_hash,
            game: G::NAME.to_owned(),
            mode: reservation.mode.clone(),
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
            snapshot_ticks: self.config.snapshot_ticks,
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
}

#[async_trait]
impl<G: Game> NodeHandler for Placement<G> {
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer {
        let Some(own) = self.own.upgrade() else { return ReserveAnswer::Refused(Refusal::Internal) };
        let reserving = self.runtime.spawn(async move { own.reserve_alone(reservation).await });
        match reserving.await {
            Ok(Ok(address)) => ReserveAnswer::Reserved { addresses: vec![address] },
            Ok(Err(why)) => ReserveAnswer::Refused(why),
            Err(_) => ReserveAnswer::Refused(Refusal::Internal),
        }
    }

    async fn release(&self, release: Release) -> ReleaseAnswer {
        let Some(own) = self.own.upgrade() else { return ReleaseAnswer::NotHere };
        let releasing =
            self.runtime.spawn(async move { own.release_alone(release.battle, release.epoch).await });
        releasing.await.unwrap_or(ReleaseAnswer::NotHere)
    }

    async fn drain(&self) -> DrainAnswer {
        Self::drain(self);
        DrainAnswer { battles: self.placed().len() as u32 }
    }

    async fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.config.id.clone(),
            draining: self.is_draining(),
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

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
