//! What all sessions of a lobby share, and what they may ask of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tiltyard_api::{BattleReady, ErrorCode, GateMessage, ModeInfo};
use tiltyard_cluster::claims::Claims;
use tiltyard_cluster::control::NodeCalls;
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::select::Ledger;
use tiltyard_cluster::node::{NodeRecord, View};
use tiltyard_cluster::{BattleId, Clock};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::board::{Letter, LobbyName};
use crate::config::{GateLimits, LobbyConfig, ModeConfig};
use crate::counters::LobbyCounters;
use crate::keys::{Keyring, MasterKeys, SessionClaims, SessionTokenError};
use crate::names::checked_name;
use crate::numbers::Numbers;
use crate::passwords::Passwords;
use crate::presence::{Delivery, LoggedOut, Mailbox, Presence};
use crate::probe::StoreHeard;
use crate::queue::{Member, Queue, QueueError, Ticket};
use crate::rating;
use crate::shares::{Origin, Shares, Wish};
use crate::sharing::Desk;
use crate::store::{BattleRow, Store, StoreError};

/// Most matches that are being placed at a time; further ones wait.
pub(crate) const PLACEMENTS_MAX: usize = 64;

/// Why something was refused, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) retry_after_ms: u64,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, retry_after_ms: 0 }
    }
}

/// A player who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Player {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) generation: u32,
    /// Where the session comes from.
    pub(crate) origin: Origin,
}

/// A login as it is told to the client.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) player: Player,
    pub(crate) session: String,
    pub(crate) expires_unix_ms: u64,
    pub(crate) queued: bool,
    pub(crate) in_battle: bool,
}

/// The battle of a player.
#[derive(Debug, Clone)]
pub(crate) struct CurrentBattle {
    pub(crate) ready: BattleReady,
    /// From then on it keeps nobody from queueing any more.
    pub(crate) overdue_ms: u64,
}

/// The shared state of a lobby.
pub(crate) struct House {
    pub(crate) config: LobbyConfig,
    /// What other lobbies call it.
    pub(crate) name: LobbyName,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_heard: StoreHeard,
    pub(crate) nodes: View<NodeRecord>,
    pub(crate) claims: Claims,
    pub(crate) calls: Arc<dyn NodeCalls>,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<LobbyCounters>,
    pub(crate) numbers: Numbers,
    pub(crate) passwords: Passwords,
    pub(crate) started: Instant,
    pub(crate) placements: Arc<Semaphore>,
    /// Told when the matchmaker should look at once.
    pub(crate) wake: Notify,
    /// Told when a result waits to be applied to avatars.
    pub(crate) result_stored: Notify,
    queue: Mutex<Queue>,
    presence: Mutex<Presence>,
    ledger: Mutex<Ledger>,
    shares: Mutex<Shares>,
    logged_out: Mutex<LoggedOut>,
    keys: RwLock<Arc<Keyring>>,
    limits: RwLock<GateLimits>,
    current: Mutex<HashMap<u64, CurrentBattle>>,
    desk: Mutex<Desk>,
    next_session: AtomicU64,
    closing: AtomicBool,
}

impl House {
    pub(crate) fn new(
        config: LobbyConfig,
        directory: Arc<dyn Directory>,
        store: Arc<dyn Store>,
        calls: Arc<dyn NodeCalls>,
        clock: Clock,
    ) -> Self {
        let lasts = config.modes.iter().map(ModeConfig::duration_max).max().unwrap_or_default();
        let kept = lasts + config.waits.token_ttl + config.waits.result_grace;
        Self {
            nodes: View::start(Arc::clone(&directory), &config.keyspace, config.view),
            claims: Claims::start(directory, config.keyspace.clone(), kept),
            numbers: Numbers::new(Arc::clone(&store), config.seed),
            keys: RwLock::new(Arc::new(Keyring::new(config.master_keys.clone()))),
            limits: RwLock::new(config.gate_limits),
            name: LobbyName::cut(&format!("{}-{:016x}", config.id, config.instance)),
            queue: Mutex::new(Queue::new(config.waits.tickets_max)),
            config,
            store,
            store_heard: StoreHeard::now(),
            calls,
            clock,
            counters: Arc::default(),
            passwords: Passwords::default(),
            started: Instant::now(),
            placements: Arc::new(Semaphore::new(PLACEMENTS_MAX)),
            wake: Notify::new(),
            result_stored: Notify::new(),
            presence: Mutex::default(),
            ledger: Mutex::default(),
            shares: Mutex::default(),
            logged_out: Mutex::default(),
            current: Mutex::default(),
            desk: Mutex::default(),
            next_session: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        }
    }

    /// Milliseconds since the start, on the monotonic clock.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(&self.queue)
    }

    pub(crate) fn presence(&self) -> MutexGuard<'_, Presence> {
        unpoisoned(&self.presence)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        unpoisoned(&self.ledger)
    }

    pub(crate) fn shares(&self) -> MutexGuard<'_, Shares> {
        unpoisoned(&self.shares)
    }

    fn logged_out(&self) -> MutexGuard<'_, LoggedOut> {
        unpoisoned(&self.logged_out)
    }

    pub(crate) fn current(&self) -> MutexGuard<'_, HashMap<u64, CurrentBattle>> {
        unpoisoned(&self.current)
    }

    /// The keys of this moment.
    pub(crate) fn keys(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs and mints with other keys from now on.
    pub(crate) fn change_keys(&self, masters: MasterKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keyring::new(masters));
    }

    /// The limits of this moment.
    pub(crate) fn limits(&self) -> GateLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by other limits from now on; sessions that run keep theirs.
    pub(crate) fn change_limits(&self, limits: GateLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        unpoisoned(&self.desk)
    }

    pub(crate) fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// A match fell through: a ticket waits again, as old as it is, if its players are there.
    pub(crate) fn give_back(&self, ticket: &Ticket) {
        // Nobody comes or goes between the look and what follows from it: who holds both, locks the presence first.
        let presence = self.presence();
        let present = ticket.members.iter().all(|member| presence.is_there(member.player));
        self.queue().give_back(ticket.id, present, self.now_ms());
    }

    /// Sends a message to a player who is there.
    pub(crate) fn tell(&self, player: u64, message: GateMessage) {
        if self.presence().send(player, message) == Delivery::TooSlow {
            self.counters.messages_out_dropped.one();
        }
    }

    /// What a store's failure is to a client.
    pub(crate) fn store_failed(&self, error: StoreError) -> Refused {
        self.counters.store_errors.one();
        tracing::warn!(%error, "store");
        Refused { code: ErrorCode::Internal, retry_after_ms: 1_000 }
    }

    pub(crate) fn mode(&self, name: &str) -> Result<(usize, &ModeConfig), Refused> {
        let found = self.config.modes.iter().enumerate().find(|(_, mode)| mode.name == name);
        found.ok_or_else(|| ErrorCode::NoSuchMode.into())
    }

    /// Makes a guest, who is stored nowhere until the first battle.
    pub(crate) async fn log_in(
        &self,
        name: Option<&str>,
        origin: Origin,
        mailbox: Mailbox,
    ) -> Result<Entry, Refused> {
        if self.is_closing() {
            return Err(ErrorCode::Closing.into());
        }
        let name = name.map(checked_name).transpose()?;
        self.charge(origin, Wish::Login)?;
        let number = self.new_player_number().await?;
        self.counters.logins.one();
        let name = name.unwrap_or_else(|| format!("guest-{:06x}", number & 0xff_ffff));
        self.enter(Player { number, name, generation: 0, origin }, mailbox).await
    }

    pub(crate) async fn new_player_number(&self) -> Result<u64, Refused> {
        loop {
            let number = self.numbers.player().await.map_err(|error| self.store_failed(error))?;
            // A kept store under another seed may have the number already; then the next one is taken.
            if self.store.account(number).await.map_err(|error| self.store_failed(error))?.is_none() {
                return Ok(number);
            }
        }
    }

    /// Comes back with a session token.
    pub(crate) async fn resume(
        &self,
        token: &str,
        origin: Origin,
        mailbox: Mailbox,
    ) -> Result<Entry, Refused> {
        let claims = self.keys().sessions.open(token, self.clock.unix_ms()).map_err(|error| {
            self.counters.session_tokens_refused.one();
            match error {
                SessionTokenError::Forged => ErrorCode::SessionRefused,
                SessionTokenError::Expired { .. } => ErrorCode::SessionExpired,
            }
        })?;
        let account = self.store.account(claims.player).await.map_err(|error| self.store_failed(error))?;
        let (good, name) = match account {
            Some(account) => (account.session_generation == claims.generation, account.name),
            None => (!self.logged_out().contains(claims.player), claims.name),
        };
        if !good {
            self.counters.session_tokens_refused.one();
            return Err(ErrorCode::SessionRefused.into());
        }
        self.counters.resumes.one();
        let player = Player { number: claims.player, name, generation: claims.generation, origin };
        self.enter(player, mailbox).await
    }

    /// The player is there from now on, with a new session token.
    pub(crate) async fn enter(&self, player: Player, mailbox: Mailbox) -> Result<Entry, Refused> {
        let in_battle = self.battle_of(player.number).await?.is_some();
        let issued_unix_ms = self.clock.unix_ms();
        let mut presence = self.presence();
        if presence.enter(player.number, mailbox, issued_unix_ms).is_some() {
            self.counters.sessions_replaced.one();
        }
        self.queue().come_back(player.number);
        drop(presence);
        self.desk().send_all(&Letter::Entered { player: player.number, unix_ms: issued_unix_ms });
        let ttl_ms = u64::try_from(self.config.waits.session_ttl.as_millis()).unwrap_or(u64::MAX);
        let expires_unix_ms = issued_unix_ms.saturating_add(ttl_ms);
        let session = self.keys().sessions.sign(&SessionClaims {
            player: player.number,
            name: player.name.clone(),
            generation: player.generation,
            issued_unix_ms,
            expires_unix_ms,
        });
        let queued = self.queue().has(player.number);
        Ok(Entry { player, session, expires_unix_ms, queued, in_battle })
    }

    /// A player has logged in at another lobby: the newest session wins, and he queues there if anywhere.
    pub(crate) fn entered_elsewhere(&self, player: u64, unix_ms: u64) {
        let mut presence = self.presence();
        if presence.entered_elsewhere(player, unix_ms) {
            self.counters.sessions_replaced.one();
        } else if presence.is_there(player) {
            return;
        }
        // One that is being matched stays: its battle is his wherever he is.
        if self.queue().cancel(player).is_ok() {
            self.counters.tickets_cancelled.one();
        }
    }

    /// The session is over; a waiting ticket is kept for a while.
    pub(crate) fn leave(&self, player: u64, session: u64) {
        let mut presence = self.presence();
        if presence.leave(player, session) {
            self.queue().leave(player, self.now_ms());
        }
    }

    /// Ends all session tokens of a player.
    pub(crate) async fn log_out(&self, player: &Player) -> Result<(), Refused> {
        if self.queue().cancel(player.number).is_ok() {
            self.counters.tickets_cancelled.one();
        }
        let ended = self.store.end_sessions(player.number, player.generation).await;
        if !ended.map_err(|error| self.store_failed(error))? {
            self.logged_out().add(player.number);
        }
        Ok(())
    }

    pub(crate) fn modes(&self) -> Vec<ModeInfo> {
        let queue = self.queue();
        let of = |(index, mode): (usize, &ModeConfig)| ModeInfo {
            name: tiltyard_api::Text::cut(&mode.name),
            teams: mode.teams,
            seats_per_team: mode.seats_per_team,
            rate_hz: mode.rate_hz,
            ticks_max: mode.ticks_max,
            protocol_hash: mode.protocol_hash.as_slice().try_into().expect("a protocol hash fits"),
            waiting: queue.waiting(index),
        };
        self.config.modes.iter().enumerate().map(of).collect()
    }

    /// Queues a player; answers the ticket's number.
    pub(crate) async fn enqueue(&self, player: &Player, mode: &str, loadout: u32) -> Result<u64, Refused> {
        if self.is_closing() {
            return Err(ErrorCode::Closing.into());
        }
        let (mode, _) = self.mode(mode)?;
        if self.battle_of(player.number).await?.is_some() {
            return Err(ErrorCode::InBattle.into());
        }
        self.charge(player.origin, Wish::Ticket)?;
        let account = self.store.account(player.number).await.map_err(|error| self.store_failed(error))?;
        let rating = rating::for_matches(&account.map(|account| account.avatar).unwrap_or_default());
        let member = Member { player: player.number, name: player.name.clone(), loadout };
        let ticket = self
            .queue()
            .add(mode, vec![member], rating, self.now_ms())
            .map_err(|error| self.queue_refused(error))?;
        self.counters.tickets.one();
        self.wake.notify_one();
        Ok(ticket)
    }

    /// Takes a wish out of its address's bucket.
    pub(crate) fn charge(&self, origin: Origin, wish: Wish) -> Result<(), Refused> {
        let limits = self.limits();
        let taken = self.shares().take(&limits, origin, wish, Instant::now());
        if taken.is_ok() && limits.hold_for(origin) {
            self.desk().note_wish(origin, wish);
        }
        taken.map_err(|wait| {
            match wish {
                Wish::Login => self.counters.logins_limited.one(),
                Wish::FreshBattle => self.counters.fresh_battles_limited.one(),
                Wish::Ticket => self.counters.tickets_limited.one(),
            }
            let wait_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            Refused { code: ErrorCode::RateLimited, retry_after_ms: wait_ms }
        })
    }

    /// Takes wishes that another lobby granted out of their address's bucket here.
    pub(crate) fn charge_elsewhere(&self, origin: Origin, wish: Wish, count: u32) {
        self.shares().take_elsewhere(&self.limits(), origin, wish, count, Instant::now());
    }

    pub(crate) fn cancel(&self, player: &Player) -> Result<u64, Refused> {
        let ticket = self.queue().cancel(player.number).map_err(|error| self.queue_refused(error))?;
        self.counters.tickets_cancelled.one();
        Ok(ticket)
    }

    pub(crate) fn queue_refused(&self, error: QueueError) -> Refused {
        match error {
            QueueError::AlreadyQueued => ErrorCode::AlreadyQueued.into(),
            QueueError::NotQueued => ErrorCode::NotQueued.into(),
            QueueError::AlreadyMatched => ErrorCode::AlreadyMatched.into(),
            QueueError::Full => {
                self.counters.tickets_refused_full.one();
                Refused { code: ErrorCode::Full, retry_after_ms: 5_000 }
            }
        }
    }

    /// The battle that keeps a player busy, which the store knows, whoever placed it and whoever stored its result.
    /// While the store is away it is the one that this lobby placed.
    pub(crate) async fn battle_of(&self, player: u64) -> Result<Option<BattleReady>, Refused> {
        let stored = self.store.battle_of(player).await;
        let known = self.current().get(&player).cloned();
        let row = match stored {
            Ok(row) => row,
            Err(error) => {
                let refused = self.store_failed(error);
                let known = known.filter(|known| known.overdue_ms > self.now_ms());
                return known.map(|known| Some(known.ready)).ok_or(refused);
            }
        };
        let now_unix_ms = self.clock.unix_ms();
        let Some(row) = row.filter(|row| self.overdue_unix_ms(row) > now_unix_ms) else { return Ok(None) };
        if let Some(known) = known
            && (known.ready.battle.0, known.ready.epoch) == (row.battle.0, row.epoch.0)
            && known.ready.expires_unix_ms > now_unix_ms
        {
            return Ok(Some(known.ready));
        }
        // The token that this lobby gave out is too old for a first use, or another lobby gave it out: a new one
        // for the same seat.
        let left_ms = self.overdue_unix_ms(&row) - now_unix_ms;
        let overdue_ms = self.now_ms().saturating_add(left_ms);
        let Some(ready) = self.mint_for(&row, player) else { return Ok(None) };
        self.current().insert(player, CurrentBattle { ready: ready.clone(), overdue_ms });
        Ok(Some(ready))
    }

    /// Forgets the tokens of a battle that is over.
    pub(crate) fn end_battle(&self, battle: BattleId) {
        self.current().retain(|_, known| known.ready.battle.0 != battle.0);
    }

    /// Forgets the tokens of battles that are over at the latest by now, whoever was told.
    pub(crate) fn forget_overdue(&self) {
        let now_ms = self.now_ms();
        self.current().retain(|_, known| known.overdue_ms > now_ms);
    }

    fn overdue_unix_ms(&self, row: &BattleRow) -> u64 {
        let longest_ms = u64::from(row.ticks_max) * 1_000 / u64::from(row.rate_hz.max(1));
        let waits = &self.config.waits;
        let grace_ms = u64::try_from((waits.token_ttl + waits.result_grace).as_millis()).unwrap_or(u64::MAX);
        row.created_unix_ms.saturating_add(longest_ms).saturating_add(grace_ms)
    }
}

/// Locks what is whole between any two of its calls: a panic while it was held costs its own task alone.
fn unpoisoned<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
