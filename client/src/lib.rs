//! Headless client: a player without a screen.
//!
//! [`Player`] is the player as a state machine, [`BattleSession`] puts it on a socket. [`Mirror`] is its copy of the
//! battle, kept by either feed; a [`Script`] decides what it does. [`LobbySession`] is the player at the gate, [`BotPlayer`]
//! goes all the way from login to result, and [`run_swarm`] sends many of them.
#![forbid(unsafe_code)]

mod bot;
mod decisions;
mod latencies;
mod lobby;
mod mirror;
mod pilot;
mod player;
mod reader;
mod script;
mod session;
mod statistics;
mod swarm;

pub use bot::{BotError, BotPlayer, BotReport, BotSettings, FeedWish};
pub use decisions::{LEAD_TICKS, LEAD_TICKS_MAX, Pace};
pub use latencies::Latencies;
pub use lobby::{BattleTicket, LobbyError, LobbySession, LobbySettings, TicketError};
pub use mirror::{BASELINES_MAX, Mirror, MirrorError};
pub use pilot::{Pilot, PlayerSettings, client_config};
pub use player::Player;
pub use reader::{Ended, SeenDesync};
pub use script::{Bot, Idle, SCRIPTS, Script, View, script};
pub use session::BattleSession;
pub use statistics::{LaneBytes, Over, Place, Report, Traffic};
pub use swarm::{SwarmReport, SwarmSettings, run_swarm};
