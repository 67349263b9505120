//! The battle session: a player on a UDP socket.

use std::future::Future;
use std::io;
use std::time::Duration;

use tiltyard_engine::Game;
use tiltyard_netcode::Millis;
use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::shell::ClientShell;
use tiltyard_netcode::token::TokenFile;
use tracing::{debug, info};

use crate::pilot::Pilot;
use crate::script::Script;
use crate::settings::{PlayerSettings, client_config};
use crate::statistics::{Over, Report};

/// Longest sleep, milliseconds: what the session's own timers end is noticed so soon.
const NAP_MS: u64 = 250;

/// How long a goodbye may take, milliseconds.
const GOODBYE_MS: u64 = 1_000;

/// A player in a battle, on a socket.
pub struct BattleSession<G: Game> {
    shell: ClientShell,
    pilot: Pilot<G>,
}

impl<G: Game> BattleSession<G> {
    /// Binds a socket and begins the handshake; whether a node takes the player turns out while it runs.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn connect(
        token_file: TokenFile,
        settings: PlayerSettings,
        script: Box<dyn Script<G>>,
    ) -> io::Result<Self> {
        let shell = ClientShell::connect(client_config::<G>(token_file, &settings)).await?;
        let pilot = Pilot::new(settings, script, shell.now());
        Ok(Self { shell, pilot })
    }

    /// From now on the session goes over a seeded bad link, both ways: for test clients.
    pub fn set_link(&mut self, config: LinkConfig, seed: u64) {
        self.shell.set_link(config, seed);
    }

    /// Runs until the battle is over for the player, or `stop` is ready; then the player leaves. Gives what it saw.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> io::Result<Report> {
        tokio::pin!(stop);
        while !self.pilot.is_over() {
            tokio::select! {
                turn = self.turn() => turn?,
                () = &mut stop => self.leave(),
            }
        }
        self.say_goodbye().await?;
        let report = self.report();
        log(&report);
        Ok(report)
    }

    /// Runs as [`run`](Self::run) does, for a time at most.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn run_for(&mut self, time: Duration) -> io::Result<Report> {
        self.run(tokio::time::sleep(time)).await
    }

    /// Waits for the next datagrams or the next deadline, and does what follows: for callers that show the battle
    /// meanwhile. Returns after a quarter of a second at the latest.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn turn(&mut self) -> io::Result<()> {
        let nap = self.shell.now() + NAP_MS;
        let deadline = self.pilot.poll_timeout().map_or(nap, |at| at.min(nap));
        self.shell.wait_until(deadline).await?;
        let now = self.shell.now();
        self.pilot.handle_events(now, &mut self.shell.client);
        self.pilot.handle_timeout(now, &mut self.shell.client);
        self.shell.flush()?;
        Ok(())
    }

    /// Leaves the battle, which goes on; the token is good for coming back.
    pub fn leave(&mut self) {
        self.pilot.leave(self.shell.now(), &mut self.shell.client);
    }

    /// Says what is still to be said, the goodbye included, for a second at most.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn say_goodbye(&mut self) -> io::Result<()> {
        let until = self.shell.now() + GOODBYE_MS;
        self.shell.flush()?;
        while (!self.shell.client.is_over() || self.shell.is_under_way()) && self.shell.now() < until {
            let at = self.shell.client.poll_timeout(self.shell.now()).unwrap_or(until).min(until);
            self.shell.wait_until(at.max(self.shell.now() + 1)).await?;
            self.pilot.handle_events(self.shell.now(), &mut self.shell.client);
            self.shell.flush()?;
        }
        Ok(())
    }

    /// What the player saw and did so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { link: self.shell.link_stats(), ..self.pilot.report(self.now(), &self.shell.client) }
    }

    /// The pilot: seat, mirror, newest tick, whether it is over.
    #[must_use]
    pub fn pilot(&self) -> &Pilot<G> {
        &self.pilot
    }

    /// The session's clock.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.shell.now()
    }
}

fn log(report: &Report) {
    let seat = report.place.map(|place| place.seat);
    match report.over {
        Some(Over::Refused(reason)) => info!(?seat, %reason, "the node refused the player"),
        Some(Over::Closed(reason)) => info!(?seat, %reason, "the session ended"),
        over => debug!(?seat, ?over, ticks = report.ticks, desyncs = report.desyncs, "the battle is over"),
    }
}
