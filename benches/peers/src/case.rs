//! One case: a stack that serves so many sessions at 30 Hz, and what that takes its thread.
//!
//! The server runs in a process of its own with one thread on one core; `Meter` is what it reports to. Its clients run in
//! another process on another core, which the meter starts and asks what it heard.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What a session gets each tick, and what it says.
pub const DOWN: [u8; 120] = [5; 120];
pub const UP: [u8; 24] = [6; 24];

pub const TICK: Duration = Duration::from_nanos(1_000_000_000 / 30);
const TICKS_PER_SECOND: u32 = 30;
const WARM_UP_TICKS: u32 = 30;
/// How long sessions may take to come, beyond a second for each hundred.
const PATIENCE: Duration = Duration::from_secs(30);
/// As tiltyard asks for its own.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    Raw,
    RawByTick,
    RawWoken,
    Datagram,
    Kcp,
    DatagramByTick,
    Idle,
    Tcp,
    Websocket,
    Renet,
    Quinn,
    TokioKcp,
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub stack: Stack,
    pub sessions: usize,
    pub seconds: u32,
}

/// What a case came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub stack: Stack,
    pub sessions: usize,
    /// CPU time of the server's thread for a session and tick.
    pub cpu_us: f64,
    /// How late a tick began.
    pub late_ms_p50: f64,
    pub late_ms_p99: f64,
    /// Of what was sent, how much came: inputs at the server, states at the clients.
    pub inputs_percent: f64,
    pub states_percent: f64,
    /// How busy the server's thread was, its whole process, and that of the clients.
    pub thread_percent: f64,
    pub process_percent: f64,
    pub clients_percent: f64,
}

pub enum Flow {
    Goes,
    Over,
}

enum Phase {
    Gathering { until: Instant },
    WarmingUp { left: u32 },
    Measuring { began: Mark, left: u32 },
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    thread: Duration,
    process: Duration,
    inputs: u64,
}

/// The server's schedule, and what is measured of it.
pub struct Meter {
    case: Case,
    phase: Phase,
    due: Instant,
    late: Vec<Duration>,
    inputs: Arc<AtomicU64>,
    clients: Clients,
    figures: Option<Figures>,
}

impl Meter {
    /// Starts the clients; ticks begin now.
    pub fn start(case: Case, server: SocketAddr, certificate: &[u8]) -> Result<Self> {
        let patience = PATIENCE + Duration::from_millis(10 * case.sessions as u64);
        Ok(Self {
            case,
            phase: Phase::Gathering { until: Instant::now() + patience },
            due: Instant::now() + TICK,
            late: Vec::with_capacity((case.seconds * TICKS_PER_SECOND) as usize),
            inputs: Arc::default(),
            clients: Clients::start(case, server, certificate)?,
            figures: None,
        })
    }

    /// When the next tick is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How long the next tick is away.
    pub fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// An input came.
    pub fn input(&self) {
        self.inputs.fetch_add(1, Relaxed);
    }

    /// A tick begins, with so many sessions.
    pub fn tick(&mut self, sessions: usize) -> Result<Flow> {
        let now = Instant::now();
        let late = now.saturating_duration_since(self.due);
        self.due += TICK;
        match &mut self.phase {
            Phase::Gathering { until } => {
                if late > TICK {
                    self.due = now + TICK;
                }
                if sessions == self.case.sessions {
                    self.phase = Phase::WarmingUp { left: WARM_UP_TICKS };
                } else {
                    ensure!(now < *until, "{sessions} of {} sessions came", self.case.sessions);
                }
            }
            Phase::WarmingUp { left: 0 } => {
                let left = self.case.seconds * TICKS_PER_SECOND;
                self.phase = Phase::Measuring { began: self.mark()?, left };
                self.clients.ask()?;
            }
            Phase::WarmingUp { left } => *left -= 1,
            Phase::Measuring { began, left } => {
                let began = *began;
                self.late.push(late);
                *left -= 1;
                if *left == 0 {
                    let ended = self.mark()?;
                    self.clients.ask()?;
                    self.figures = Some(self.sum_up(began, ended)?);
                    return Ok(Flow::Over);
                }
            }
        }
        Ok(Flow::Goes)
    }

    /// What was measured, once a tick said that it is over.
    pub fn figures(self) -> Result<Figures> {
        self.figures.context("the case is not over")
    }

    fn mark(&self) -> Result<Mark> {
        Ok(Mark {
            at: Instant::now(),
            thread: cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)?,
            process: cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)?,
            inputs: self.inputs.load(Relaxed),
        })
    }

    fn sum_up(&mut self, began: Mark, ended: Mark) -> Result<Figures> {
        self.late.sort_unstable();
        let late = |share: f64| {
            let index = (self.late.len() as f64 * share).ceil() as usize;
            self.late[index.max(1) - 1].as_secs_f64() * 1e3
        };
        let (first, second) = (self.clients.answer()?, self.clients.answer()?);
        let wall = (ended.at - began.at).as_secs_f64();
        let ticks = f64::from(self.case.seconds * TICKS_PER_SECOND);
        // By the clock, not by the ticks that the server managed.
        let expected = self.case.sessions as f64 * wall * f64::from(TICKS_PER_SECOND);
        let percent = |part: f64, whole: f64| 100.0 * part / whole;
        let clients_wall = (second.at_ns - first.at_ns) as f64;
        Ok(Figures {
            stack: self.case.stack,
            sessions: self.case.sessions,
            cpu_us: (ended.thread - began.thread).as_secs_f64() * 1e6 / ticks / self.case.sessions as f64,
            late_ms_p50: late(0.50),
            late_ms_p99: late(0.99),
            inputs_percent: percent((ended.inputs - began.inputs) as f64, expected),
            states_percent: percent(
                (second.heard - first.heard) as f64,
                self.case.sessions as f64 * clients_wall / 1e9 * f64::from(TICKS_PER_SECOND),
            ),
            thread_percent: percent((ended.thread - began.thread).as_secs_f64(), wall),
            process_percent: percent((ended.process - began.process).as_secs_f64(), wall),
            clients_percent: percent((second.cpu_ns - first.cpu_ns) as f64, clients_wall),
        })
    }
}

/// What the clients' process says of itself when it is asked.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    pub heard: u64,
    pub cpu_ns: u64,
    pub at_ns: u64,
}

struct Clients {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    fn start(case: Case, server: SocketAddr, certificate: &[u8]) -> Result<Self> {
        let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
        let stack = case.stack.to_possible_value().context("every stack has a name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["play", stack.get_name(), &case.sessions.to_string(), &server.to_string(), &hex])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (ask, answers) = (process.stdin.take(), process.stdout.take());
        let (ask, answers) = (ask.context("piped")?, BufReader::new(answers.context("piped")?));
        Ok(Self { process, ask, answers })
    }

    fn ask(&mut self) -> Result<()> {
        self.ask.write_all(b"\n").context("the clients are gone")
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the clients are gone")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn cpu(clock: ClockId) -> Result<Duration> {
    Ok(clock_gettime(clock)?.into())
}

/// Takes this thread, and what it will start, to the first or the second core that the process may use. With one core
/// both share it.
pub fn pin(to_second: bool) -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> =
        (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
    let core = cores.get(usize::from(to_second)).or(cores.first()).context("a core")?;
    let mut one = CpuSet::new();
    one.set(*core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

/// A socket that does not block, with as much room in the kernel as tiltyard asks for.
pub fn server_socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BUFFER)?;
    setsockopt(&socket, sockopt::SndBuf, &KERNEL_BUFFER)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A client's socket.
pub fn client_socket(server: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
