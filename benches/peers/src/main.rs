//! Sessions at 30 Hz, 120 bytes down and 24 up each tick: what they take a server's thread on tiltyard, on other stacks,
//! and on bare UDP, side by side in one run.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml [-- --quick] [--json]
//!
//! Method, figures and what they mean stand in `docs/netcode.md`.

mod case;
mod kcp;
mod ours;
mod players;
mod quic;
mod raw;
mod renet;

use std::fmt;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tiltyard_netcode::{LaneWish, Transport};

use case::{Case, Figures, Stack};
use ours::Talk;
use players::Plan;
use raw::Reads;

/// A core holds so many sessions as long as 99 of 100 ticks begin less than this late,
const LATE_MS_MAX: f64 = 5.0;
/// and so much of what was sent comes, both ways.
const COMES_PERCENT_MIN: f64 = 99.0;
/// Beyond this the clients' core is the limit, not the server's.
const CLIENTS_PERCENT_MAX: f64 = 95.0;
/// Below this it was neither, and something else had the server's core.
const THREAD_PERCENT_MIN: f64 = 75.0;
/// Of the server's thread, where a search begins.
const FIRST_GUESS: f64 = 0.85;
const STEP: f64 = 1.15;
const PROBES_MAX: usize = 3;
const IDLE_SESSIONS: usize = 3_000;
const SESSIONS_MAX: usize = 9_000;

#[derive(Parser)]
#[command(about = "Sessions on tiltyard and on other stacks, side by side")]
struct Arguments {
    /// Fewer sessions, shorter, and without the search for what a core holds: within a minute.
    #[arg(long)]
    quick: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// These stacks alone.
    #[arg(long, value_delimiter = ',')]
    stacks: Vec<Stack>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the program starts itself as.
#[derive(Subcommand)]
enum Part {
    #[command(hide = true)]
    Serve { stack: Stack, sessions: usize, seconds: u32 },
    #[command(hide = true)]
    Play { stack: Stack, sessions: usize, server: SocketAddr, certificate: Option<String> },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Serve { stack, sessions, seconds }) => {
            case::pin(false)?;
            let figures = serve(Case { stack, sessions, seconds })?;
            println!("{}", serde_json::to_string(&figures)?);
            Ok(())
        }
        Some(Part::Play { stack, sessions, server, certificate }) => {
            case::pin(true)?;
            players::answer_on_request();
            let certificate = bytes_of(certificate.as_deref().unwrap_or_default())?;
            play(stack, &Plan { sessions, joining: joining(stack), server, certificate })
        }
        None => compare(&arguments),
    }
}

fn serve(case: Case) -> Result<Figures> {
    match case.stack {
        Stack::Raw | Stack::RawWoken => raw::serve(case, Reads::WhenSomethingComes),
        Stack::RawByTick => raw::serve(case, Reads::OnceATick),
        Stack::DatagramByTick => ours::serve(case, Reads::OnceATick, Talk::EveryTick),
        Stack::Idle => ours::serve(case, Reads::WhenSomethingComes, Talk::Nothing),
        Stack::Datagram | Stack::Kcp | Stack::Tcp | Stack::Websocket => {
            ours::serve(case, Reads::WhenSomethingComes, Talk::EveryTick)
        }
        Stack::Renet => renet::serve(case),
        Stack::Quinn => quic::serve(case),
        Stack::TokioKcp => kcp::serve(case),
    }
}

fn play(stack: Stack, plan: &Plan) -> Result<()> {
    match stack {
        Stack::Raw | Stack::RawByTick => raw::play(plan),
        Stack::RawWoken => raw::play_woken(plan),
        Stack::Datagram | Stack::DatagramByTick => {
            ours::play_datagrams(plan, LaneWish::Datagram, Talk::EveryTick)
        }
        Stack::Kcp => ours::play_datagrams(plan, LaneWish::Kcp, Talk::EveryTick),
        Stack::Idle => ours::play_datagrams(plan, LaneWish::Auto, Talk::Nothing),
        Stack::Tcp => ours::play_streams(plan, Transport::Tcp),
        Stack::Websocket => ours::play_streams(plan, Transport::WebSocket),
        Stack::Renet => renet::play(plan),
        Stack::Quinn => quic::play(plan),
        Stack::TokioKcp => kcp::play(plan),
    }
}

/// Sessions that begin in a second: as many as are taken. All streams come from one address, of which a node takes 64 at
/// once that have shown no session yet.
fn joining(stack: Stack) -> usize {
    match stack {
        Stack::Tcp | Stack::Websocket => 100,
        Stack::Quinn => 500,
        _ => 2_000,
    }
}

fn name(stack: Stack) -> &'static str {
    match stack {
        Stack::Raw => "raw UDP, recvmmsg and sendmmsg",
        Stack::RawByTick => "raw UDP, read once a tick",
        Stack::RawWoken => "raw UDP, clients wait for their sockets",
        Stack::Datagram => "tiltyard, datagram lane",
        Stack::DatagramByTick => "tiltyard, datagram lane, read once a tick",
        Stack::Kcp => "tiltyard, KCP lane",
        Stack::Idle => "tiltyard, nobody says anything",
        Stack::Tcp => "tiltyard over TCP",
        Stack::Websocket => "tiltyard over WebSocket and TLS",
        Stack::Renet => "renet + renet_netcode",
        Stack::Quinn => "quinn datagrams",
        Stack::TokioKcp => "tokio_kcp (not encrypted)",
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    let wanted = |stack: &Stack| arguments.stacks.is_empty() || arguments.stacks.contains(stack);
    let stacks = Stack::value_variants().iter().copied().filter(wanted);
    let (idle, stacks): (Vec<_>, Vec<_>) = stacks.partition(|stack| *stack == Stack::Idle);
    let (sizes, seconds): (&[usize], u32) =
        if arguments.quick { (&[300], 2) } else { (&[100, 300, 1_000], 2) };
    let mut table = Vec::new();
    for sessions in sizes {
        for stack in &stacks {
            table.extend(measure_if_it_runs(Case { stack: *stack, sessions: *sessions, seconds }));
        }
    }
    let idle = match idle.first() {
        Some(stack) => measure_if_it_runs(Case { stack: *stack, sessions: IDLE_SESSIONS, seconds: 4 }),
        None => None,
    };
    let mut held = Vec::new();
    if !arguments.quick {
        for stack in stacks.iter().filter(|stack| is_searched(**stack)) {
            if let Some(known) = table.iter().rfind(|figures| figures.stack == *stack) {
                held.push((*stack, search(known)));
            }
        }
    }
    if arguments.json {
        let held: Vec<_> = held
            .iter()
            .map(|(stack, held)| serde_json::json!({ "stack": stack, "most": held.most, "limit": held.limit, "probes": held.probes }))
            .collect();
        println!("{}", serde_json::json!({ "sessions": table, "idle": idle, "held": held }));
    } else {
        print(&stacks, sizes, &table, &held);
        if let Some(Figures { sessions, thread_percent, .. }) = idle {
            println!("\n{sessions} idle sessions of tiltyard take {thread_percent:.1} % of a core.");
        }
    }
    Ok(())
}

/// A case that does not come about, as on a machine that does other things, is told and left out.
fn measure_if_it_runs(case: Case) -> Option<Figures> {
    measure(case).inspect_err(|error| eprintln!("{error}")).ok()
}

/// Measures in a fresh process.
fn measure(case: Case) -> Result<Figures> {
    let stack = case.stack.to_possible_value().context("every stack has a name")?;
    let out = Command::new(std::env::current_exe()?)
        .args(["serve", stack.get_name(), &case.sessions.to_string(), &case.seconds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !out.status.success() {
        bail!("{} with {} sessions: {}", name(case.stack), case.sessions, out.status);
    }
    let figures: Figures = serde_json::from_slice(&out.stdout)?;
    eprintln!(
        "{:42} {:5} sessions: {:6.2} us, late p99 {:6.2} ms, came {:5.1} % up {:5.1} % down, busy {:3.0} % (process {:3.0} %), clients {:3.0} %",
        name(case.stack),
        figures.sessions,
        figures.cpu_us,
        figures.late_ms_p99,
        figures.inputs_percent,
        figures.states_percent,
        figures.thread_percent,
        figures.process_percent,
        figures.clients_percent,
    );
    Ok(figures)
}

/// Variants of the same stack, and streams, are not searched.
fn is_searched(stack: Stack) -> bool {
    matches!(stack, Stack::Raw | Stack::Datagram | Stack::Kcp | Stack::Renet | Stack::Quinn | Stack::TokioKcp)
}

/// How many sessions one core holds.
struct Held {
    most: usize,
    /// What ended the search, if it was not the server's thread.
    limit: Option<&'static str>,
    probes: Vec<Figures>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.most, self.probes.last()) {
            (0, Some(last)) => write!(f, "less than {}", last.sessions)?,
            (most, _) => write!(f, "{most}")?,
        }
        match self.limit {
            Some(limit) => write!(f, " ({limit})"),
            None => Ok(()),
        }
    }
}

/// Goes up from a first guess while it holds, and down while it does not.
fn search(known: &Figures) -> Held {
    let bound = if known.stack == Stack::Renet { renet::SESSIONS_MAX } else { SESSIONS_MAX };
    let guess = FIRST_GUESS * case::TICK.as_secs_f64() * 1e6 / known.cpu_us;
    let mut sessions = (guess / 50.0) as usize * 50;
    let mut held = Held { most: 0, limit: None, probes: Vec::new() };
    let mut went_down = false;
    for _ in 0..PROBES_MAX {
        sessions = sessions.clamp(50, bound);
        let case = Case { stack: known.stack, sessions, seconds: 4 };
        let Some(figures) = measure_if_it_runs(case) else {
            held.limit = Some("a case did not come about");
            break;
        };
        let holds = figures.late_ms_p99 < LATE_MS_MAX
            && figures.inputs_percent >= COMES_PERCENT_MIN
            && figures.states_percent >= COMES_PERCENT_MIN;
        let clients_are_full = figures.clients_percent > CLIENTS_PERCENT_MAX;
        let server_is_idle = figures.thread_percent < THREAD_PERCENT_MIN;
        held.probes.push(figures);
        if holds {
            held.most = sessions;
            held.limit = (sessions == bound).then_some("its own bound");
            if went_down || sessions == bound {
                break;
            }
            sessions = (sessions as f64 * STEP) as usize;
        } else {
            held.limit = if clients_are_full {
                Some("the clients' core is full")
            } else if server_is_idle {
                Some("other work had its core")
            } else {
                None
            };
            if held.most > 0 {
                break;
            }
            went_down = true;
            sessions = (sessions as f64 / STEP) as usize;
        }
    }
    held
}

fn print(stacks: &[Stack], sizes: &[usize], table: &[Figures], held: &[(Stack, Held)]) {
    let of = |stack: Stack, sessions: usize| {
        table.iter().find(|figures| figures.stack == stack && figures.sessions == sessions)
    };
    println!("CPU time of the server's thread for a session and tick, in µs, and against raw UDP:\n");
    print!("| stack |");
    sizes.iter().for_each(|sessions| print!(" {sessions} sessions | × raw |"));
    println!(" a core holds |");
    println!("|---|{}---:|", "---:|---:|".repeat(sizes.len()));
    for stack in stacks {
        print!("| {} |", name(*stack));
        for sessions in sizes {
            let Some(figures) = of(*stack, *sessions) else {
                print!(" | |");
                continue;
            };
            print!(" {:.2}", figures.cpu_us);
            let comes = figures.inputs_percent.min(figures.states_percent);
            if comes < COMES_PERCENT_MIN - 1.0 {
                print!(" ({comes:.0} % came)");
            }
            match of(Stack::Raw, *sessions) {
                Some(floor) => print!(" | {:.2} |", figures.cpu_us / floor.cpu_us),
                None => print!(" | |"),
            }
        }
        match held.iter().find(|(searched, _)| searched == stack) {
            Some((_, held)) => println!(" {held} |"),
            None => println!(" |"),
        }
    }
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| {
            let digits = hex.get(at..at + 2).context("hex digits come in pairs")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}
