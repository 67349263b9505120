//! What a lobby is told at its start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::NodeId;
use tiltyard_cluster::control::{ClusterKeys, MODE_BYTES_MAX, SEATS_MAX, SETUP_BYTES_MAX};
use tiltyard_cluster::node::{Keyspace, RegistrationConfig, ViewConfig};

use crate::board::Board;
use crate::keys::MasterKeys;
use crate::shares::Origin;

/// Everything a lobby is told.
#[derive(Debug, Clone)]
pub struct LobbyConfig {
    /// Its name in the directory.
    pub id: NodeId,
    /// A random number of this process.
    pub instance: u64,
    /// Name and version of the program, shown to clients; at most 64 bytes.
    pub program: String,
    /// Where the gate listens for WebSockets, port 0 for a free one; nothing where gates are processes of their own.
    pub gate: Option<SocketAddr>,
    /// Where nodes settle results.
    pub control: SocketAddr,
    /// Where the cluster lives in the directory.
    pub keyspace: Keyspace,
    /// Keys of session and battle tokens at the start.
    pub master_keys: MasterKeys,
    /// Secrets of the control messages.
    pub cluster_keys: ClusterKeys,
    /// Numbers of players and battles, and the seeds of battles, are a function of this and of counters in the
    /// store; without it of a secret that nobody knows.
    pub seed: Option<u64>,
    /// The modes, at most [`tiltyard_api::limits::MODES_MAX`], no name twice.
    pub modes: Vec<ModeConfig>,
    /// Limits at the gate, at the start.
    pub gate_limits: GateLimits,
    /// Waits and deadlines behind the gate.
    pub waits: Waits,
    /// Where it meets the lobbies that it matches players with.
    pub board: Arc<dyn Board>,
    /// Times of the lobby's own registration.
    pub registration: RegistrationConfig,
    /// Times of the lobby's view of the nodes.
    pub view: ViewConfig,
}

/// A mode that players can queue for. The setup is the game's and opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeConfig {
    /// Its name, 1 to 32 bytes.
    pub name: String,
    /// How many teams, at least 1.
    pub teams: u8,
    /// How many seats each team has, at least 1; at most 1,024 seats in all.
    pub seats_per_team: u16,
    /// Ticks per second, at least 1.
    pub rate_hz: u16,
    /// A battle ends at this tick at the latest; at least 1.
    pub ticks_max: u32,
    /// Protocol hash of the game.
    pub protocol_hash: [u8; 16],
    /// The game's setup, at most 64 KiB.
    pub setup: Vec<u8>,
    /// After so long bots take the free seats; never, if nothing.
    pub bots_after: Option<Duration>,
    /// Share of a node's tick budget that a battle is expected to use, in thousandths.
    pub cost_permille: u32,
}

/// Limits at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Most connections in all; further ones are closed at once.
    pub connections_max: usize,
    /// Most connections from one address; further ones are closed at once.
    pub connections_per_address_max: usize,
    /// Time for the HTTP upgrade, and again for hello and login.
    pub handshake_timeout: Duration,
    /// A connection from which nothing whole is heard for so long is closed; a pong counts.
    pub idle_timeout: Duration,
    /// How often a quiet client is pinged.
    pub ping_interval: Duration,
    /// A client that does not take a message within this is closed.
    pub write_timeout: Duration,
    /// Messages a second that a session may send in the long run.
    pub messages_per_second: u32,
    /// Messages that may come at once. A client that overdraws twice as many is closed.
    pub messages_burst: u32,
    /// Logins of one address a minute in the long run, as guests or by password, and twice as many at once.
    pub logins_per_minute: u32,
    /// Tickets that one address may queue a minute in the long run, and twice as many at once.
    pub tickets_per_minute: u32,
    /// Fresh battles that one address may ask for a minute in the long run, and twice as many at once.
    pub fresh_battles_per_minute: u32,
    /// Most fresh battles of one address that run at once.
    pub fresh_battles_max: usize,
    /// Whether loopback addresses are limited as others are. If not, nothing that is said to be by address holds
    /// for them.
    pub limit_loopback: bool,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 256,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
            write_timeout: Duration::from_secs(5),
            messages_per_second: 10,
            messages_burst: 20,
            logins_per_minute: 30,
            tickets_per_minute: 30,
            fresh_battles_per_minute: 6,
            fresh_battles_max: 8,
            limit_loopback: false,
        }
    }
}

impl GateLimits {
    /// Whether what is limited by address is limited for this one.
    pub(crate) fn hold_for(&self, origin: Origin) -> bool {
        self.limit_loopback || !origin.is_loopback()
    }
}

/// Waits and deadlines behind the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// How often the matchmaker looks.
    pub match_interval: Duration,
    /// Pause of a mode after a match could not be placed.
    pub placement_pause: Duration,
    /// How long a ticket waits for its disconnected player.
    pub absence_max: Duration,
    /// How long a session token is good.
    pub session_ttl: Duration,
    /// How long a battle token is good for its first use, and how long a node holds unused seats.
    pub token_ttl: Duration,
    /// How long after its last possible tick a battle without a result still keeps its players from queueing.
    pub result_grace: Duration,
    /// Most tickets in the queue.
    pub tickets_max: usize,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            match_interval: Duration::from_millis(50),
            placement_pause: Duration::from_secs(1),
            absence_max: Duration::from_secs(10),
            session_ttl: Duration::from_secs(7 * 24 * 60 * 60),
            token_ttl: Duration::from_secs(30),
            result_grace: Duration::from_secs(30),
            tickets_max: 100_000,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There are more modes than a gate lists.
    #[error("{0} modes are too many")]
    TooManyModes(usize),
    /// Two modes have one name.
    #[error("mode {0:?} is there twice")]
    ModeTwice(String),
    /// A field of a mode is out of bounds.
    #[error("mode {mode:?}: {field} is out of bounds")]
    Mode {
        /// The mode.
        mode: String,
        /// The field.
        field: &'static str,
    },
}

impl LobbyConfig {
    /// Checks bounds.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.modes.len() > tiltyard_api::limits::MODES_MAX {
            return Err(ConfigError::TooManyModes(self.modes.len()));
        }
        for (index, mode) in self.modes.iter().enumerate() {
            if self.modes.iter().take(index).any(|earlier| earlier.name == mode.name) {
                return Err(ConfigError::ModeTwice(mode.name.clone()));
            }
            let fine = [
                ("name", (1..=MODE_BYTES_MAX).contains(&mode.name.len())),
                ("teams", mode.teams > 0),
                ("seats_per_team", mode.seats_per_team > 0 && mode.seats() <= SEATS_MAX),
                ("rate_hz", mode.rate_hz > 0),
                ("ticks_max", mode.ticks_max > 0),
                ("setup", mode.setup.len() <= SETUP_BYTES_MAX),
            ];
            if let Some((field, _)) = fine.into_iter().find(|(_, fine)| !fine) {
                return Err(ConfigError::Mode { mode: mode.name.clone(), field });
            }
        }
        Ok(())
    }
}

impl ModeConfig {
    /// Seats of a battle.
    pub fn seats(&self) -> usize {
        usize::from(self.teams) * usize::from(self.seats_per_team)
    }

    /// How long a battle may last.
    pub fn duration_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.ticks_max) * 1_000 / u64::from(self.rate_hz.max(1)))
    }
}
