//! Headless client: a player without a screen.
//!
//! [`Player`] is the player as a state machine, [`BattleSession`] puts it on a socket. [`Mirror`] is its copy of the
//! battle, kept by either feed; a [`Script`] decides what it does. [`LobbySession`] is the player at the gate, [`BotPlayer`]
//! goes all the way from login to result, and [`run_swarm`] sends many of them. Times are milliseconds and ticks, as the
//! names say; whatever comes from a gate or a node is refused unless it is sound.
//!
//! A player of the reference game, from a token file to what it saw:
//! ```no_run
//! # async fn example(text: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tiltyard_client::{BattleSession, Bot, PlayerSettings};
//! use tiltyard_engine::skirmish::Skirmish;
//!
//! let settings = PlayerSettings::default();
//! let mut session = BattleSession::<Skirmish>::connect(text.parse()?, settings, Box::new(Bot)).await?;
//! let report = session.run_for(Duration::from_secs(10)).await?;
//! println!("{} states seen, {} differed, {:?}", report.ticks, report.desyncs, report.over);
//! # Ok(())
//! # }
//! ```
//!
//! A script of one's own decides from the mirrored battle:
//! ```
//! use tiltyard_client::{Script, View};
//! use tiltyard_engine::glam::Vec2;
//! use tiltyard_engine::skirmish::{FIRE, Input, Skirmish};
//!
//! struct Turret;
//!
//! impl Script<Skirmish> for Turret {
//!     fn decide(&mut self, view: &mut View<'_, Skirmish>) -> Option<Input> {
//!         let aim = view.rng.range(-3.0, 3.0);
//!         Some(Input::new(Vec2::ZERO, aim, FIRE))
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod bot;
mod decisions;
mod latencies;
mod lobby;
mod mirror;
mod pilot;
mod player;
mod prediction;
mod predictor;
mod reader;
mod script;
mod session;
mod settings;
mod statistics;
mod swarm;

pub use bot::{BotError, BotPlayer, BotReport, BotSettings, FeedWish, may_hide};
pub use decisions::{LEAD_TICKS, LEAD_TICKS_MAX, Pace};
pub use latencies::Latencies;
pub use lobby::{BattleTicket, LobbyError, LobbySession, LobbySettings, TicketError};
pub use mirror::{BASELINES_MAX, Mirror, MirrorError, Shown};
pub use pilot::Pilot;
pub use player::Player;
pub use prediction::{PREDICTED_TICKS_MAX, Prediction, PredictionReport};
pub use reader::{Ended, SeenDesync};
pub use script::{Bot, Idle, SCRIPTS, Script, View, script};
pub use session::BattleSession;
pub use settings::{PlayerSettings, client_config};
pub use statistics::{LaneBytes, Over, Place, Report, Traffic};
pub use swarm::{SwarmReport, SwarmSettings, run_swarm};
