//! Headless client: a player without a screen.
//!
//! [`Player`] is the player as a state machine, [`BattleSession`] puts it on a socket. [`Mirror`] is its copy of the
//! battle, kept by either feed; a [`Script`] decides what it does.
#![forbid(unsafe_code)]

mod decisions;
mod latencies;
mod mirror;
mod pilot;
mod player;
mod reader;
mod script;
mod session;
mod statistics;

pub use decisions::{LEAD_TICKS, LEAD_TICKS_MAX, Pace};
pub use latencies::Latencies;
pub use mirror::{BASELINES_MAX, Mirror, MirrorError};
pub use pilot::{Pilot, PlayerSettings, client_config};
pub use player::Player;
pub use reader::{Ended, SeenDesync};
pub use script::{Bot, Idle, SCRIPTS, Script, View, script};
pub use session::BattleSession;
pub use statistics::{LaneBytes, Over, Place, Report, Traffic};
