//! The worker's shell: a thread with a socket and a clock around a [`Worker`]. No decisions are made here: wait,
//! poll, flush, and tell the node how it is.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use hdrhistogram::Histogram;
use tiltyard_cluster::control::RunningBattle;
use tiltyard_engine::Game;
#[cfg(feature = "quic")]
use tiltyard_netcode::shell::QuicDoor;
use tiltyard_netcode::shell::{ServerShell, StreamDoor};
use tiltyard_netcode::{BattleId, Epoch, HostedBattle, Millis, ServerConfig};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::load::LoadMeter;
use crate::room::{Room, RoomCounters};
use crate::worker::{EndedBattle, Worker};

/// Orders that may wait for a worker; who has one more waits with it.
const ORDERS_MAX: usize = 256;

/// How often a worker tells how it is, in milliseconds.
const STATUS_MS: u64 = 250;

/// The longest sleep of a worker with nothing to do, in milliseconds.
const IDLE_MS: u64 = 100;

/// How long a stopping worker goes on to bring the last messages to its clients, in milliseconds.
const LINGER_MS: u64 = 300;

/// Free ports for datagrams that are tried until one is free for streams too.
const FREE_PORTS_TRIED: usize = 16;

/// What the node asks of a worker.
pub(crate) enum Order<G: Game> {
    Open { room: Box<Room<G>>, hosted: HostedBattle },
    Release { battle: BattleId, epoch: Epoch, done: oneshot::Sender<bool> },
    Stop,
}

/// How a worker is, as of a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct WorkerStatus {
    /// Share of the time between two ticks that the battles use: 99 of 100 samples stay within, in thousandths.
    pub load_permille: u16,
    /// The battles, in order.
    pub battles: Vec<RunningBattle>,
    /// The rooms' counters, of all battles so far.
    pub rooms: RoomCounters,
    /// The endpoint's counters.
    pub sessions: Vec<(&'static str, u64)>,
    /// Battles that ended by a panic of their own.
    pub panics: u64,
    /// How long ticks took, with their feeds, in nanoseconds.
    pub tick_ns: Histogram<u64>,
}

/// The node's end of a worker's thread.
pub(crate) struct WorkerThread<G: Game> {
    pub(crate) orders: mpsc::Sender<Order<G>>,
    pub(crate) address: SocketAddr,
    /// Where streams come in, if they may.
    pub(crate) streams: Option<(StreamDoor, TcpListener)>,
    /// Where QUIC comes in, if it may.
    #[cfg(feature = "quic")]
    pub(crate) quic: Option<QuicDoor>,
    pub(crate) status: Arc<Mutex<WorkerStatus>>,
    pub(crate) thread: JoinHandle<()>,
}

/// What came of the start of a worker's thread.
struct Bound {
    address: SocketAddr,
    streams: Option<(StreamDoor, TcpListener)>,
    #[cfg(feature = "quic")]
    quic: Option<QuicDoor>,
}

/// Receives the battles that end on a worker, on its thread: must not wait.
pub(crate) type OnEnded<G> = Box<dyn Fn(EndedBattle<G>) + Send>;

impl<G: Game> WorkerThread<G> {
    /// Starts a thread with its socket on `listen`; streams are listened for at the same address and port, but not
    /// accepted.
    pub(crate) async fn start(
        listen: SocketAddr,
        offered: Offered,
        config: ServerConfig,
        on_ended: OnEnded<G>,
    ) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        let (told, bound) = oneshot::channel();
        let worker = Worker::new(stopwatch_ns);
        let status = Arc::new(Mutex::new(WorkerStatus {
            load_permille: 0,
            battles: Vec::new(),
            rooms: RoomCounters::default(),
            sessions: Vec::new(),
            panics: 0,
            tick_ns: worker.tick_ns().clone(),
        }));
        let number = config.worker;
        let shared = status.clone();
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    // The node hears the error where it waits for the address.
                    let _ = told.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async {
                match bind(listen, offered, config).await {
                    Ok((shell, bound)) => {
                        if told.send(Ok(bound)).is_ok() {
                            Loop { shell, worker, load: LoadMeter::default(), status: shared, on_ended }
                                .run(queue)
                                .await;
                        }
                    }
                    Err(error) => {
                        // Nobody waits for it where the node's start was given up.
                        let _ = told.send(Err(error));
                    }
                }
            });
        })?;
        let bound = bound.await.map_err(|_| io::Error::other("the worker's thread ended at its start"))??;
        Ok(Self {
            orders,
            address: bound.address,
            streams: bound.streams,
            #[cfg(feature = "quic")]
            quic: bound.quic,
            status,
            thread,
        })
    }
}

/// What may come in beside datagrams of our own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) streams: bool,
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "this build has none"))]
    pub(crate) quic: bool,
}

/// A socket for datagrams and one for streams at the same address and port. Of free ports one is looked for that is
/// free for both.
async fn bind(
    listen: SocketAddr,
    offered: Offered,
    config: ServerConfig,
) -> io::Result<(ServerShell, Bound)> {
    let mut tries_left = if listen.port() == 0 { FREE_PORTS_TRIED } else { 1 };
    loop {
        tries_left -= 1;
        #[cfg_attr(not(feature = "quic"), expect(unused_mut, reason = "the way in over QUIC is made in it"))]
        let mut shell = ServerShell::bind(listen, config.clone()).await?;
        let address = shell.local_address()?;
        let streams = match offered.streams {
            false => None,
            true => match TcpListener::bind(address) {
                Ok(listener) => Some((shell.door(), listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries_left > 0 => continue,
                Err(error) => return Err(error),
            },
        };
        #[cfg(feature = "quic")]
        let quic = if offered.quic { Some(shell.quic_door()?) } else { None };
        let bound = Bound {
            address,
            streams,
            #[cfg(feature = "quic")]
            quic,
        };
        return Ok((shell, bound));
    }
}

struct Loop<G: Game> {
    shell: ServerShell,
    worker: Worker<G>,
    load: LoadMeter,
    status: Arc<Mutex<WorkerStatus>>,
    on_ended: OnEnded<G>,
}

/// Time that was spent working since the last sample of the load.
struct Busy {
    since: Instant,
    ns: u64,
}

impl<G: Game> Loop<G> {
    async fn run(mut self, mut orders: mpsc::Receiver<Order<G>>) {
        let mut busy = Busy { since: Instant::now(), ns: 0 };
        let mut status_at = Millis(0);
        let mut stopping: Option<Millis> = None;
        loop {
            let now = self.shell.now();
            if stopping.is_some_and(|until| now >= until) {
                break;
            }
            let deadline = Millis(self.worker.next_us().div_ceil(1000)).min(now + IDLE_MS);
            let order = tokio::select! {
                biased;
                order = orders.recv(), if stopping.is_none() => Some(order.unwrap_or(Order::Stop)),
                waited = self.shell.wait_until(deadline) => {
                    if let Err(error) = waited {
                        error!(%error, "the worker's socket is broken: its battles end");
                        stopping.get_or_insert_with(|| self.stop());
                    }
                    None
                }
            };
            let started = Instant::now();
            match order {
                Some(Order::Open { room, hosted }) => {
                    let now_us = self.now_us();
                    self.worker.open(&mut self.shell.server, now_us, *room, hosted);
                }
                Some(Order::Release { battle, epoch, done }) => {
                    let now_us = self.now_us();
                    let released = self.worker.release(&mut self.shell.server, now_us, battle, epoch);
                    // Who asked may have given up waiting.
                    let _ = done.send(released);
                }
                Some(Order::Stop) => stopping = Some(self.stop()),
                None => {}
            }
            let now_us = self.now_us();
            self.worker.poll(&mut self.shell.server, now_us);
            if let Err(error) = self.shell.flush() {
                warn!(%error, "datagrams could not be sent");
            }
            while let Some(ended) = self.worker.poll_ended() {
                (self.on_ended)(ended);
            }
            busy.ns += started.elapsed().as_nanos() as u64;
            self.note_load(&mut busy);
            if now >= status_at {
                status_at = now + STATUS_MS;
                self.tell_status();
            }
        }
        self.tell_status();
    }

    /// Ends all battles; returns when the thread may end.
    fn stop(&mut self) -> Millis {
        let now_us = self.now_us();
        self.worker.abort_all(&mut self.shell.server, now_us);
        self.shell.now() + LINGER_MS
    }

    fn now_us(&self) -> u64 {
        self.shell.now().0.saturating_mul(1000)
    }

    /// A sample of the load about thirty times a second.
    fn note_load(&mut self, busy: &mut Busy) {
        let elapsed = busy.since.elapsed();
        if elapsed.as_micros() >= 33_000 {
            self.load.note(busy.ns / 1000, elapsed.as_micros() as u64);
            *busy = Busy { since: Instant::now(), ns: 0 };
        }
    }

    /// Writes the status, unless somebody reads it at this moment: then the next one will do.
    fn tell_status(&self) {
        let Ok(mut status) = self.status.try_lock() else { return };
        status.load_permille = self.load.permille_p99();
        status.battles.clear();
        status.battles.extend(self.worker.rooms().map(|room| RunningBattle {
            battle: tiltyard_cluster::BattleId(room.id().0),
            epoch: tiltyard_cluster::Epoch(room.epoch().0),
            tick: room.battle().tick().0,
            seats_used: room.seats_used(),
        }));
        status.rooms = self.worker.room_counters();
        status.sessions.clear();
        status.sessions.extend(self.shell.server.counters().iter());
        status.panics = self.worker.panics();
        status.tick_ns.clone_from(self.worker.tick_ns());
    }
}

/// Nanoseconds since the first call in this process.
fn stopwatch_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
