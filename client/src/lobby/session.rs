//! A player's session at the gate: one question at a time, what comes unasked is kept, a broken connection is taken
//! up again with the session token.

use std::collections::VecDeque;
use std::time::Duration;

use tiltyard_api::limits::MODE_BYTES_MAX;
use tiltyard_api::{
    BattleOver, Cancel, ClientMessage, ErrorCode, GateMessage, Hello, Issue, LoggedIn, Login, Logout,
    ModeInfo, ModesWanted, Queue, Register, Resume, Text, VERSION, WhereIsMyBattle,
};
use tiltyard_netcode::BattleId;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::error::LobbyError;
use super::ticket::BattleTicket;
use super::wire::{Wire, timed_out};

/// Unasked messages that are kept; the oldest gives way.
const KEPT_MAX: usize = 64;

/// Tries to take up a broken connection again, with pauses that double from the first.
const RESUME_TRIES: u32 = 6;
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// Longer than a wire is silent before it counts as broken by itself.
const STAY_MAX: Duration = Duration::from_secs(600);

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct LobbySettings {
    /// The gate, as `ws://host:port/`; without a scheme `ws://` is meant. Several, with commas between, are tried in
    /// their order, the first time and after every break.
    pub gate: String,
    /// The wanted display name, at most 32 bytes; without one the house gives one.
    pub name: Option<String>,
    /// Name and version of the client program, for the operator's eyes.
    pub client: String,
    /// How long the gate may take to answer.
    pub answer_timeout: Duration,
}

impl LobbySettings {
    /// Settings for a gate: ten seconds to answer, a name from the house.
    #[must_use]
    pub fn new(gate: &str) -> Self {
        Self {
            gate: gate.to_owned(),
            name: None,
            client: concat!("tiltyard ", env!("CARGO_PKG_VERSION")).to_owned(),
            answer_timeout: Duration::from_secs(10),
        }
    }

    /// The gates' addresses with their schemes.
    fn urls(&self) -> impl Iterator<Item = String> {
        let gates = self.gate.split(',').map(str::trim);
        gates.map(|gate| if gate.contains("://") { gate.to_owned() } else { format!("ws://{gate}") })
    }
}

/// A logged-in player at the gate.
pub struct LobbySession {
    settings: LobbySettings,
    wire: Wire,
    player: u64,
    name: String,
    /// What resumes the session; a secret.
    session: Text<{ tiltyard_api::limits::SESSION_BYTES_MAX }>,
    kept: VecDeque<GateMessage>,
    resumed: u64,
}

impl LobbySession {
    /// Says hello and logs in as a guest.
    ///
    /// # Errors
    /// If the gate cannot be reached or refuses.
    pub async fn log_in(settings: LobbySettings) -> Result<Self, LobbyError> {
        let name = settings.name.as_deref().map(Text::cut);
        Self::enter(settings, ClientMessage::Login(Login { name, password: None })).await
    }

    /// Says hello and logs in with an account's name and password.
    ///
    /// # Errors
    /// If the gate cannot be reached or refuses, or if either is longer than it may be.
    pub async fn log_in_as(settings: LobbySettings, name: &str, password: &str) -> Result<Self, LobbyError> {
        let (name, password) = (fitting(name)?, fitting(password)?);
        let login = Login { name: Some(name), password: Some(password) };
        Self::enter(settings, ClientMessage::Login(login)).await
    }

    /// Says hello, makes an account with a name and a password, and is logged in with it.
    ///
    /// # Errors
    /// If the gate cannot be reached or refuses, or if either is longer than it may be.
    pub async fn register(settings: LobbySettings, name: &str, password: &str) -> Result<Self, LobbyError> {
        let register = Register { name: fitting(name)?, password: fitting(password)? };
        Self::enter(settings, ClientMessage::Register(register)).await
    }

    async fn enter(settings: LobbySettings, message: ClientMessage) -> Result<Self, LobbyError> {
        let of = message.name();
        let mut wire = greet(&settings).await?;
        wire.send(message).await?;
        let logged_in = logged_in(&mut wire, of, settings.answer_timeout).await?;
        debug!(player = %logged_in.player, name = %logged_in.name, "logged in");
        Ok(Self {
            settings,
            wire,
            player: logged_in.player.0,
            name: logged_in.name.into_string(),
            session: logged_in.session,
            kept: VecDeque::new(),
            resumed: 0,
        })
    }

    /// The player's number.
    #[must_use]
    pub fn player(&self) -> u64 {
        self.player
    }

    /// The player's display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often a broken connection was taken up again.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// The modes that can be queued for.
    ///
    /// # Errors
    /// If the gate is gone for good or refuses.
    pub async fn modes(&mut self) -> Result<Vec<ModeInfo>, LobbyError> {
        match self.ask(ClientMessage::Modes(ModesWanted {})).await? {
            GateMessage::Modes(modes) => Ok(modes.modes.into_vec()),
            _ => Err(LobbyError::OutOfPlace { of: "modes" }),
        }
    }

    /// Queues for a mode, with a loadout (0: the game's default).
    ///
    /// # Errors
    /// If the gate is gone for good or refuses.
    pub async fn queue(&mut self, mode: &str, loadout: u32) -> Result<(), LobbyError> {
        let mode = Text::try_from(mode).map_err(|_| LobbyError::ModeName)?;
        // Ways into earlier battles lead nowhere any more.
        self.kept.retain(|message| !matches!(message, GateMessage::BattleReady(_)));
        let before = self.resumed;
        match self.ask(ClientMessage::Queue(Queue { mode: mode.clone(), loadout, party: None })).await {
            Ok(GateMessage::Queued(_)) => Ok(()),
            Ok(_) => Err(LobbyError::OutOfPlace { of: "queue" }),
            // The connection broke after the question; it had arrived.
            Err(LobbyError::Refused { code: ErrorCode::AlreadyQueued | ErrorCode::InBattle, .. })
                if self.resumed > before =>
            {
                Ok(())
            }
            Err(error) => Err(self.with_modes(error, mode).await),
        }
    }

    /// Takes the ticket back.
    ///
    /// # Errors
    /// If the gate is gone for good or refuses, as when the match is being made already.
    pub async fn cancel(&mut self) -> Result<(), LobbyError> {
        match self.ask(ClientMessage::Cancel(Cancel {})).await? {
            GateMessage::Cancelled(_) => Ok(()),
            _ => Err(LobbyError::OutOfPlace { of: "cancel" }),
        }
    }

    /// Asks for a fresh battle in which all other seats are bots.
    ///
    /// # Errors
    /// If the gate is gone for good or refuses.
    pub async fn issue(&mut self, mode: &str, loadout: u32) -> Result<BattleTicket, LobbyError> {
        let mode = Text::try_from(mode).map_err(|_| LobbyError::ModeName)?;
        match self.ask(ClientMessage::Issue(Issue { mode: mode.clone(), loadout })).await {
            Ok(GateMessage::BattleReady(ready)) => Ok(BattleTicket::parse(&ready)?),
            Ok(_) => Err(LobbyError::OutOfPlace { of: "issue" }),
            Err(error) => Err(self.with_modes(error, mode).await),
        }
    }

    /// Asks for the battle that the player is in.
    ///
    /// # Errors
    /// If the gate is gone for good or refuses.
    pub async fn where_is_my_battle(&mut self) -> Result<Option<BattleTicket>, LobbyError> {
        match self.ask(ClientMessage::WhereIsMyBattle(WhereIsMyBattle {})).await? {
            GateMessage::YourBattle(yours) => {
                Ok(yours.battle.as_deref().map(BattleTicket::parse).transpose()?)
            }
            _ => Err(LobbyError::OutOfPlace { of: "where_is_my_battle" }),
        }
    }

    /// Waits until the queue has led to a battle; a ticket that is put back is waited for again.
    ///
    /// # Errors
    /// If it takes longer than `time`, the ticket vanished, or the gate is gone for good.
    pub async fn wait_for_battle(&mut self, time: Duration) -> Result<BattleTicket, LobbyError> {
        let until = Instant::now() + time;
        loop {
            let is_ready = |message: &GateMessage| matches!(message, GateMessage::BattleReady(_));
            if let Some(GateMessage::BattleReady(ready)) = self.take_kept(is_ready) {
                return Ok(BattleTicket::parse(&ready)?);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.wire.receive("battle_ready", left).await {
                Ok(GateMessage::Requeued(again)) => {
                    info!(
                        player = format_args!("{:016x}", self.player),
                        reason = again.reason.as_str(),
                        "the match was not placed"
                    );
                }
                Ok(GateMessage::Error(error)) => return Err(error.into()),
                Ok(GateMessage::LoggedIn(logged_in)) => {
                    self.moved(&logged_in);
                    if let Some(ticket) = self.battle_after(&logged_in).await? {
                        return Ok(ticket);
                    }
                }
                Ok(message) => self.keep(message)?,
                Err(LobbyError::TimedOut { .. }) if until <= Instant::now() => {
                    return Err(timed_out("battle_ready", time));
                }
                Err(error) if error.is_of_the_connection() => {
                    let logged_in = self.resume(error).await?;
                    if let Some(ticket) = self.battle_after(&logged_in).await? {
                        return Ok(ticket);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the result of a battle is stored.
    ///
    /// # Errors
    /// If it takes longer than `time`, it was told while the connection was broken, or the gate is gone for good.
    pub async fn wait_for_result(
        &mut self,
        battle: BattleId,
        time: Duration,
    ) -> Result<BattleOver, LobbyError> {
        let until = Instant::now() + time;
        loop {
            let is_it = |message: &GateMessage| matches!(message, GateMessage::BattleOver(over) if over.battle.0 == battle.0);
            if let Some(GateMessage::BattleOver(over)) = self.take_kept(is_it) {
                return Ok(over);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.wire.receive("battle_over", left).await {
                Ok(GateMessage::LoggedIn(logged_in)) => {
                    self.moved(&logged_in);
                    self.still_in(battle).await?;
                }
                Ok(message) => self.keep(message)?,
                Err(LobbyError::TimedOut { .. }) if until <= Instant::now() => {
                    return Err(timed_out("battle_over", time));
                }
                Err(error) if error.is_of_the_connection() => {
                    self.resume(error).await?;
                    self.still_in(battle).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The battle that a ticket may have led to while the session was broken. The ticket waits on if it did not.
    async fn battle_after(&mut self, logged_in: &LoggedIn) -> Result<Option<BattleTicket>, LobbyError> {
        if logged_in.in_battle
            && let Some(ticket) = self.where_is_my_battle().await?
        {
            return Ok(Some(ticket));
        }
        if logged_in.queued { Ok(None) } else { Err(LobbyError::TicketLost) }
    }

    /// Whether the result of a battle may still come, after the session was broken.
    async fn still_in(&mut self, battle: BattleId) -> Result<(), LobbyError> {
        let here = self.where_is_my_battle().await?;
        if here.is_none_or(|ticket| ticket.battle != battle) {
            return Err(LobbyError::ResultMissed);
        }
        Ok(())
    }

    /// Keeps what comes, and takes a broken connection up again, while its player does something else: who comes back
    /// only afterwards misses what was told meanwhile. Returns once the gate is gone for good. May be dropped while
    /// waiting without losing anything.
    pub async fn stay(&mut self) -> LobbyError {
        loop {
            let broken = match self.wire.receive("anything", STAY_MAX).await {
                Ok(GateMessage::Error(error)) => error.into(),
                Ok(message) => match self.keep(message) {
                    Ok(()) => continue,
                    Err(error) => return error,
                },
                Err(error) => error,
            };
            if !broken.is_of_the_connection() {
                return broken;
            }
            if let Err(error) = self.resume(broken).await {
                return error;
            }
        }
    }

    /// Ends the session for good.
    ///
    /// # Errors
    /// If the gate is gone or refuses.
    pub async fn log_out(mut self) -> Result<(), LobbyError> {
        match self.ask_once(&ClientMessage::Logout(Logout {})).await? {
            GateMessage::LoggedOut(_) => Ok(()),
            _ => Err(LobbyError::OutOfPlace { of: "logout" }),
        }
    }

    /// Breaks the connection without a word, as a network does. What is asked next takes it up again.
    pub fn break_connection(&mut self) {
        self.wire.cut();
    }

    /// Finds out which modes there are if the gate has not this one.
    async fn with_modes(&mut self, error: LobbyError, mode: Text<MODE_BYTES_MAX>) -> LobbyError {
        if !matches!(error, LobbyError::Refused { code: ErrorCode::NoSuchMode, .. }) {
            return error;
        }
        match self.modes().await {
            Ok(modes) => {
                LobbyError::NoSuchMode { mode, modes: modes.into_iter().map(|mode| mode.name).collect() }
            }
            Err(_) => error,
        }
    }

    /// Asks, and asks again over a new connection if this one breaks.
    async fn ask(&mut self, question: ClientMessage) -> Result<GateMessage, LobbyError> {
        match self.ask_once(&question).await {
            Err(error) if error.is_of_the_connection() => {
                self.resume(error).await?;
                self.ask_once(&question).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&mut self, question: &ClientMessage) -> Result<GateMessage, LobbyError> {
        self.wire.send(question.clone()).await?;
        let until = Instant::now() + self.settings.answer_timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.wire.receive(question.name(), left).await?;
            match message {
                GateMessage::Error(error) => return Err(error.into()),
                message if answers(question, &message) => return Ok(message),
                message => self.keep(message)?,
            }
        }
    }

    /// Takes a broken connection up again with the session token.
    async fn resume(&mut self, broken: LobbyError) -> Result<LoggedIn, LobbyError> {
        info!(player = format_args!("{:016x}", self.player), %broken, "the gate is gone, coming back");
        let (mut error, mut pause) = (broken, RESUME_PAUSE);
        for _ in 0..RESUME_TRIES {
            match self.resume_once().await {
                Ok(logged_in) => return Ok(logged_in),
                Err(again) if again.is_of_the_connection() => error = again,
                Err(refused) => return Err(refused),
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(error)
    }

    async fn resume_once(&mut self) -> Result<LoggedIn, LobbyError> {
        let mut wire = greet(&self.settings).await?;
        wire.send(ClientMessage::Resume(Resume { session: self.session.clone() })).await?;
        let logged_in = logged_in(&mut wire, "resume", self.settings.answer_timeout).await?;
        self.wire = wire;
        self.session = logged_in.session.clone();
        self.resumed += 1;
        Ok(logged_in)
    }

    /// The gate took the session up again at another lobby.
    fn moved(&mut self, logged_in: &LoggedIn) {
        self.session = logged_in.session.clone();
        self.resumed += 1;
    }

    /// Keeps what came unasked; that a newer session took over ends this one.
    fn keep(&mut self, message: GateMessage) -> Result<(), LobbyError> {
        match &message {
            GateMessage::Replaced(_) => return Err(LobbyError::Replaced),
            // What is asked next is answered by the lobby where the session is now.
            GateMessage::LoggedIn(logged_in) => {
                self.moved(logged_in);
                return Ok(());
            }
            _ => {}
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(message);
        Ok(())
    }

    /// Takes the first kept message that `is_wanted`.
    fn take_kept(&mut self, is_wanted: impl Fn(&GateMessage) -> bool) -> Option<GateMessage> {
        let index = self.kept.iter().position(is_wanted)?;
        self.kept.remove(index)
    }
}

/// Whether a message is of the kind that answers a question.
fn answers(question: &ClientMessage, message: &GateMessage) -> bool {
    matches!(
        (question, message),
        (ClientMessage::Modes(_), GateMessage::Modes(_))
            | (ClientMessage::Queue(_), GateMessage::Queued(_))
            | (ClientMessage::Cancel(_), GateMessage::Cancelled(_))
            | (ClientMessage::Issue(_), GateMessage::BattleReady(_))
            | (ClientMessage::WhereIsMyBattle(_), GateMessage::YourBattle(_))
            | (ClientMessage::Logout(_), GateMessage::LoggedOut(_))
    )
}

/// Connects to the first gate that answers, and says hello.
async fn greet(settings: &LobbySettings) -> Result<Wire, LobbyError> {
    let mut greeted = Err(LobbyError::Closed);
    for url in settings.urls() {
        greeted = greet_at(&url, settings).await;
        if greeted.as_ref().err().is_none_or(|error| !error.is_of_the_connection()) {
            break;
        }
    }
    greeted
}

async fn greet_at(url: &str, settings: &LobbySettings) -> Result<Wire, LobbyError> {
    let mut wire = Wire::connect(url, settings.answer_timeout).await?;
    let hello = Hello { version: VERSION, client: Text::cut(&settings.client) };
    wire.send(ClientMessage::Hello(hello)).await?;
    match wire.receive("welcome", settings.answer_timeout).await? {
        GateMessage::Welcome(_) => Ok(wire),
        GateMessage::Error(error) => Err(error.into()),
        _ => Err(LobbyError::OutOfPlace { of: "hello" }),
    }
}

fn fitting<const MAX: usize>(text: &str) -> Result<Text<MAX>, LobbyError> {
    Text::try_from(text).map_err(|_| LobbyError::TooLong { bytes_max: MAX })
}

async fn logged_in(wire: &mut Wire, of: &'static str, time: Duration) -> Result<LoggedIn, LobbyError> {
    match wire.receive("logged_in", time).await? {
        GateMessage::LoggedIn(logged_in) => Ok(logged_in),
        GateMessage::Error(error) => Err(error.into()),
        _ => Err(LobbyError::OutOfPlace { of }),
    }
}
