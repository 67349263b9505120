//! A bot: one player through the whole house, from the login to the result.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tiltyard_api::BattleOver;
use tiltyard_engine::{BattleSpec, Game};
use tiltyard_netcode::link::{LinkConfig, Random};
use tiltyard_netcode::{BattleId, CloseReason, DenyReason, Feed};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::lobby::{BattleTicket, LobbyError, LobbySession, LobbySettings};
use crate::script::script;
use crate::session::BattleSession;
use crate::settings::PlayerSettings;
use crate::statistics::{Over, Report};

/// Sessions of one battle at most: after the first, the gate is asked where the battle is now.
const SESSIONS_MAX: usize = 3;

/// Pause before the gate is asked again where a battle is.
const MOVED_PAUSE: Duration = Duration::from_millis(500);

/// Pause before a full queue is tried again when the gate does not say how long.
const QUEUE_PAUSE: Duration = Duration::from_millis(500);

/// Which feed a bot takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeedWish {
    /// Snapshots.
    Snapshot,
    /// Frames.
    Frame,
    /// Snapshots on even seats, frames on odd ones; snapshots alone of a game that [hides](may_hide) something.
    #[default]
    Mixed,
}

impl FeedWish {
    /// The feed of a seat.
    #[must_use]
    pub fn feed<G: Game>(self, seat: u16) -> Feed {
        match self {
            Self::Snapshot => Feed::Snapshot,
            Self::Frame => Feed::Frame,
            Self::Mixed if seat.is_multiple_of(2) || may_hide::<G>() => Feed::Snapshot,
            Self::Mixed => Feed::Frame,
        }
    }
}

/// Whether a mode of the game hides something from its players: such a battle gives no frame feed.
#[must_use]
pub fn may_hide<G: Game>() -> bool {
    G::modes().iter().any(|mode| BattleSpec::<G>::bots(mode, 0).hides())
}

/// How a bot goes through the house.
#[derive(Clone, Debug)]
pub struct BotSettings {
    /// The gate.
    pub gate: String,
    /// The mode to queue for; without one the first that the gate lists.
    pub mode: Option<String>,
    /// The loadout to bring; 0 is the game's default.
    pub loadout: u32,
    /// Which feed to take; it stands above `player.feed`.
    pub feed: FeedWish,
    /// How to take part in battles.
    pub player: PlayerSettings,
    /// A bad link for the battle sessions, with its seed.
    pub link: Option<(LinkConfig, u64)>,
    /// Who decides, by the names of [`script`](crate::script()).
    pub script: String,
    /// How long a match is waited for, tries to enter a full queue included.
    pub match_timeout: Duration,
    /// How long the stored result is waited for after the battle.
    pub result_timeout: Duration,
    /// How long a battle is played at most; then the bot leaves.
    pub battle_time_max: Duration,
}

impl BotSettings {
    /// Settings for a gate: mixed feeds, repeatable scripted play, a minute to be matched, half a minute for the
    /// result, an hour of battle.
    #[must_use]
    pub fn new(gate: &str) -> Self {
        Self {
            gate: gate.to_owned(),
            mode: None,
            loadout: 0,
            feed: FeedWish::Mixed,
            player: PlayerSettings::default(),
            link: None,
            script: "bot".to_owned(),
            match_timeout: Duration::from_secs(60),
            result_timeout: Duration::from_secs(30),
            battle_time_max: Duration::from_secs(3_600),
        }
    }
}

/// Why a bot did not come to the end.
#[derive(Debug, Error)]
pub enum BotError {
    /// The gate.
    #[error(transparent)]
    Lobby(#[from] LobbyError),
    /// The socket of the battle session.
    #[error("battle socket: {0}")]
    Socket(#[from] io::Error),
    /// The gate lists no modes.
    #[error("the gate has no modes")]
    NoModes,
    /// There is no script of that name.
    #[error("no script is called so")]
    NoSuchScript,
    /// The node refused the token.
    #[error("the node refuses the token: {0}")]
    Refused(DenyReason),
    /// The session ended before the battle did.
    #[error("the battle session ended: {0}")]
    SessionEnded(CloseReason),
    /// The battle ended without an outcome.
    #[error("the battle was aborted")]
    Aborted,
    /// The battle is of another game or version.
    #[error("the battle's start cannot be read: the node runs another game or version")]
    Unreadable,
    /// It was told to stop, or the battle took longer than allowed.
    #[error("left before the battle ended")]
    Left,
}

/// What came of one battle of a bot.
#[derive(Debug, Default)]
pub struct BotReport {
    /// Display name.
    pub name: String,
    /// The player's number.
    pub player: u64,
    /// The battle, if it came to one.
    pub battle: Option<BattleId>,
    /// What it saw and did there.
    pub report: Report,
    /// The stored result.
    pub result: Option<BattleOver>,
    /// Why it did not come to the end, if it did not.
    pub error: Option<BotError>,
}

/// A bot that is logged in.
pub struct BotPlayer<G: Game> {
    settings: BotSettings,
    mode: String,
    lobby: LobbySession,
    game: std::marker::PhantomData<fn() -> G>,
}

impl<G: Game> BotPlayer<G> {
    /// Logs in and finds the mode; a gate that asks for patience is asked again.
    ///
    /// # Errors
    /// If the gate cannot be reached, refuses, or has no modes; if there is no script of that name.
    pub async fn log_in(settings: BotSettings, name: &str) -> Result<Self, BotError> {
        if script::<G>(&settings.script).is_none() {
            return Err(BotError::NoSuchScript);
        }
        let lobby = LobbySettings { name: Some(name.to_owned()), ..LobbySettings::new(&settings.gate) };
        let until = Instant::now() + settings.match_timeout;
        let mut lobby = loop {
            match LobbySession::log_in(lobby.clone()).await {
                Ok(session) => break session,
                Err(error) => wait_to_ask_again(error, until).await?,
            }
        };
        let mode = match &settings.mode {
            Some(mode) => mode.clone(),
            None => lobby.modes().await?.first().ok_or(BotError::NoModes)?.name.as_str().to_owned(),
        };
        Ok(Self { settings, mode, lobby, game: std::marker::PhantomData })
    }

    /// Queues; a house that is full is asked again.
    ///
    /// # Errors
    /// If the gate refuses for good, or for longer than a match may take.
    pub async fn queue(&mut self) -> Result<(), BotError> {
        let until = Instant::now() + self.settings.match_timeout;
        loop {
            match self.lobby.queue(&self.mode, self.settings.loadout).await {
                Ok(()) => return Ok(()),
                Err(error) => wait_to_ask_again(error, until).await?,
            }
        }
    }

    /// Waits for the match, plays the battle, waits for the result. A `stop` that turns true ends it.
    pub async fn play(&mut self, mut stop: watch::Receiver<bool>) -> BotReport {
        let mut report = BotReport {
            name: self.lobby.name().to_owned(),
            player: self.lobby.player(),
            ..BotReport::default()
        };
        let stopped = stop.clone();
        let played = tokio::select! {
            played = self.play_through(&mut report, stopped) => played,
            () = stopped_outside_battle(&mut stop) => Err(BotError::Left),
        };
        report.error = played.err();
        report
    }

    /// A report of a bot that did not get so far as to play.
    #[must_use]
    pub fn failed(&self, error: BotError) -> BotReport {
        let (name, player) = (self.lobby.name().to_owned(), self.lobby.player());
        BotReport { name, player, error: Some(error), ..BotReport::default() }
    }

    /// Ends the session at the gate.
    ///
    /// # Errors
    /// If the gate is gone or refuses.
    pub async fn log_out(self) -> Result<(), BotError> {
        Ok(self.lobby.log_out().await?)
    }

    async fn play_through(
        &mut self,
        report: &mut BotReport,
        stop: watch::Receiver<bool>,
    ) -> Result<(), BotError> {
        let ticket = self.lobby.wait_for_battle(self.settings.match_timeout).await?;
        let battle = ticket.battle;
        report.battle = Some(battle);
        self.fight(ticket, report, stop).await?;
        report.result = Some(self.lobby.wait_for_result(battle, self.settings.result_timeout).await?);
        Ok(())
    }

    /// Plays a battle to its end, at another node if it moves.
    async fn fight(
        &mut self,
        mut ticket: BattleTicket,
        report: &mut BotReport,
        stop: watch::Receiver<bool>,
    ) -> Result<(), BotError> {
        for session in 1..=SESSIONS_MAX {
            let mut player = self.settings.player;
            player.feed = self.settings.feed.feed::<G>(ticket.seat);
            let script = script::<G>(&self.settings.script).ok_or(BotError::NoSuchScript)?;
            let mut battle = BattleSession::<G>::connect(ticket.token_file.clone(), player, script).await?;
            if let Some((link, seed)) = self.settings.link {
                // Each session of a player has datagrams of its own to lose.
                battle.set_link(link, Random::new(seed ^ ticket.battle.0).next_u64() ^ session as u64);
            }
            // A gate that is gone for good is no reason to leave a battle.
            let stays = async {
                self.lobby.stay().await;
                std::future::pending::<()>().await;
            };
            let seen = tokio::select! {
                seen = battle.run(ends(stop.clone(), self.settings.battle_time_max)) => seen?,
                () = stays => unreachable!("it waits for ever"),
            };
            let earlier = std::mem::replace(&mut report.report, seen);
            if session > 1 {
                report.report.goes_on_from(&earlier);
            }
            let error = match report.report.over {
                Some(Over::Ended(ended)) if ended.outcome.is_some() => return Ok(()),
                Some(Over::Ended(_)) => return Err(BotError::Aborted),
                // END was lost on the way, or the player came back too late; the gate knows the result.
                Some(Over::Closed(CloseReason::Finished)) => return Ok(()),
                Some(Over::Refused(DenyReason::BattleOver)) if report.report.place.is_some() => return Ok(()),
                Some(Over::Refused(reason)) => BotError::Refused(reason),
                Some(Over::Closed(reason)) => BotError::SessionEnded(reason),
                Some(Over::Unreadable) => BotError::Unreadable,
                Some(Over::Left) | None => BotError::Left,
            };
            let may_have_moved = matches!(
                error,
                BotError::Refused(DenyReason::NotHere)
                    | BotError::SessionEnded(
                        CloseReason::Draining | CloseReason::Unreachable | CloseReason::TimedOut
                    )
            );
            if !may_have_moved || session == SESSIONS_MAX {
                return Err(error);
            }
            warn!(battle = %ticket.battle, seat = ticket.seat, %error, "asking the gate where the battle is");
            sleep(MOVED_PAUSE).await;
            match self.lobby.where_is_my_battle().await? {
                Some(now) if now.battle == ticket.battle => ticket = now,
                _ => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ready when `stop` turns true, or the time is over.
async fn ends(mut stop: watch::Receiver<bool>, time: Duration) {
    tokio::select! {
        () = sleep(time) => {}
        () = turned_true(&mut stop) => {}
    }
}

/// Waits as long as the gate asks for, unless it refuses for good or the time is over.
async fn wait_to_ask_again(error: LobbyError, until: Instant) -> Result<(), BotError> {
    let Some(ms) = error.retry_after_ms().filter(|_| Instant::now() < until) else {
        return Err(error.into());
    };
    sleep(Duration::from_millis(ms).min(QUEUE_PAUSE)).await;
    Ok(())
}

/// Ready when `stop` turned true and the battle session had time to say goodbye.
async fn stopped_outside_battle(stop: &mut watch::Receiver<bool>) {
    turned_true(stop).await;
    sleep(Duration::from_secs(2)).await;
}

/// Ready when the value is true; never if its sender is gone before.
async fn turned_true(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
