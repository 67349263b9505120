//! The clients' process: every session says 24 bytes each tick, spread evenly over the tick, and counts what it hears.
//!
//! Where the stack lets them, clients look at their sockets in turn and wait for none, so that one core carries as many
//! as the server can. Those of quinn, tokio_kcp and of streams are tasks that wait for their sockets.

use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::time::ClockId;

use crate::case::{Answer, TICK, cpu};

/// Groups of a tick that take their turn together.
const GROUPS: usize = 33;

static HEARD: AtomicU64 = AtomicU64::new(0);

/// What clients are told.
pub struct Plan {
    pub sessions: usize,
    /// How many of them begin in a second.
    pub joining: usize,
    pub server: SocketAddr,
    pub certificate: Vec<u8>,
}

/// A state came.
pub fn heard() {
    HEARD.fetch_add(1, Relaxed);
}

impl Plan {
    /// When a session begins.
    fn begins(&self, began: Instant, number: usize) -> Instant {
        began + Duration::from_micros(number as u64 * 1_000_000 / self.joining as u64)
    }
}

/// Answers the server's process for as long as it asks.
pub fn answer_on_request() {
    let began = Instant::now();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            let cpu = cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every process has this clock");
            let answer = Answer {
                heard: HEARD.load(Relaxed),
                cpu_ns: cpu.as_nanos() as u64,
                at_ns: began.elapsed().as_nanos() as u64,
            };
            println!("{}", serde_json::to_string(&answer).expect("numbers are JSON"));
        }
        std::process::exit(0);
    });
}

/// Gives every player a turn in each tick, at its place in it, for ever.
pub fn take_turns<P>(
    plan: &Plan,
    mut join: impl FnMut(usize) -> Result<P>,
    mut turn: impl FnMut(&mut P) -> Result<()>,
) -> Result<()> {
    let mut groups: Vec<Vec<P>> = (0..GROUPS).map(|_| Vec::new()).collect();
    let (began, mut joined) = (Instant::now(), 0);
    for tick in 0.. {
        for group in 0..GROUPS {
            let at = began + TICK * tick + TICK / GROUPS as u32 * group as u32;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            while joined < plan.sessions && plan.begins(began, joined) <= at {
                // One joins each group in turn, and so the groups stay even.
                groups[joined % GROUPS].push(join(joined)?);
                joined += 1;
            }
            for player in &mut groups[group] {
                turn(player)?;
            }
        }
    }
    Ok(())
}

/// Runs one task for each player.
pub fn wait_each<F: Future<Output = Result<()>> + 'static>(
    plan: &Plan,
    mut player: impl FnMut(usize) -> F,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let began = Instant::now();
        let mut players = tokio::task::JoinSet::new();
        for number in 0..plan.sessions {
            let (player, begins) = (player(number), plan.begins(began, number));
            players.spawn_local(async move {
                tokio::time::sleep_until(begins.into()).await;
                player.await
            });
        }
        while let Some(ended) = players.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// The ticks of a player who waits: one each 33 ms from now on.
pub fn ticks() -> tokio::time::Interval {
    tokio::time::interval(TICK)
}
