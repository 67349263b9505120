//! One client's session, from hello to goodbye, over any socket that carries text frames.
//!
//! ```text
//! fresh ──hello──▶ greeted ─login, register, resume─▶ entered ──logout, replaced, idle, slow, malformed──▶ closed
//!   └───────── handshake_timeout ─────────┘
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use tiltyard_api::{
    Cancelled, ClientMessage, ErrorCode, GateError, GateMessage, Hex64, LoggedIn, LoggedOut, Modes,
    ParseError, Queued, Replaced, Text, VERSION, Welcome, YourBattle, limits,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::rate::{Bucket, Verdict};
use crate::house::{Entry, House, Player, Refused};
use crate::presence::{CloseReason, Closing, Mailbox, OUTGOING_MAX};
use crate::shares::Origin;

/// What comes in from a socket.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A whole text frame.
    Text(String),
    /// A sign of life: a pong, or a ping that the socket has answered.
    Alive,
    /// A frame above the limit of the socket.
    TooLong,
    /// Something that is no text frame, or no frame.
    Malformed,
    /// The other side has gone.
    Closed,
}

/// A socket that carries text frames. `receive` may be dropped while waiting without losing anything.
#[async_trait]
pub(crate) trait Socket: Send {
    async fn receive(&mut self) -> Incoming;
    /// Answers whether the frame was taken.
    async fn send(&mut self, text: String) -> bool;
    async fn ping(&mut self) -> bool;
    /// Lets the session go on elsewhere, as the house closes; answers whether it can.
    async fn move_on(&mut self) -> bool {
        false
    }
    async fn close(&mut self);
}

enum State {
    Fresh,
    Greeted,
    Entered(Player),
}

/// What follows from a message.
enum Next {
    Stay,
    Close,
}

struct Session<S> {
    house: Arc<House>,
    socket: S,
    number: u64,
    origin: Origin,
    state: State,
    mailbox: Mailbox,
    bucket: Bucket,
}

/// Runs a session until it is over; the socket is closed then.
pub(crate) async fn run_session(house: Arc<House>, socket: impl Socket, origin: Origin) {
    let number = house.next_session();
    let (messages, letters) = mpsc::channel(OUTGOING_MAX);
    let close = Arc::new(Closing::default());
    let limits = house.limits();
    let mut session = Session {
        socket,
        number,
        origin,
        state: State::Fresh,
        mailbox: Mailbox { session: number, messages, close: Arc::clone(&close) },
        bucket: Bucket::new(limits.messages_per_second, limits.messages_burst, Instant::now()),
        house,
    };
    session.house.counters.sessions.one();
    session.run(letters, &close).await;
    session.leave();
    // A client that does not answer the closing handshake is not waited for.
    let _ = timeout(limits.write_timeout, session.socket.close()).await;
}

impl<S> Session<S> {
    /// The player is there no more.
    fn leave(&mut self) {
        if let State::Entered(player) = std::mem::replace(&mut self.state, State::Fresh) {
            self.house.leave(player.number, self.number);
        }
    }
}

/// However a session ends, its player has left.
impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<S: Socket> Session<S> {
    async fn run(&mut self, mut letters: mpsc::Receiver<GateMessage>, close: &Closing) {
        let limits = self.house.config.gate_limits;
        let started = Instant::now();
        let mut heard = started;
        let mut pinged = started;
        loop {
            let deadline = match self.state {
                State::Fresh | State::Greeted => started + limits.handshake_timeout,
                State::Entered(_) => heard + limits.idle_timeout,
            };
            let ping_at = heard.max(pinged) + limits.ping_interval;
            tokio::select! {
                biased;
                why = close.closed() => return self.closed_by_house(why).await,
                () = tokio::time::sleep_until(deadline) => return self.timed_out().await,
                Some(letter) = letters.recv() => {
                    if !self.send(&letter).await {
                        return;
                    }
                }
                incoming = self.socket.receive() => {
                    heard = Instant::now();
                    if matches!(self.incoming(incoming).await, Next::Close) {
                        return;
                    }
                }
                () = tokio::time::sleep_until(ping_at) => {
                    pinged = Instant::now();
                    if !matches!(timeout(limits.write_timeout, self.socket.ping()).await, Ok(true)) {
                        self.house.counters.sessions_slow.one();
                        return;
                    }
                }
            }
        }
    }

    async fn incoming(&mut self, incoming: Incoming) -> Next {
        let text = match incoming {
            Incoming::Text(text) => Some(text),
            Incoming::Alive => None,
            Incoming::Closed => return Next::Close,
            Incoming::TooLong => {
                self.house.counters.messages_too_long.one();
                self.refuse("", ErrorCode::TooLong.into(), "a message has a bound").await;
                return Next::Close;
            }
            Incoming::Malformed => {
                self.house.counters.messages_malformed.one();
                self.refuse("", ErrorCode::Malformed.into(), "text frames only").await;
                return Next::Close;
            }
        };
        // Pings cost an answer, so they are limited as messages are.
        let verdict = self.bucket.message(Instant::now());
        if verdict != Verdict::Read {
            self.house.counters.messages_rate_limited.one();
        }
        if verdict == Verdict::Close {
            return Next::Close;
        }
        let Some(text) = text else { return Next::Stay };
        if verdict == Verdict::Drop {
            let refused = Refused { code: ErrorCode::RateLimited, retry_after_ms: 1_000 };
            return self.refuse("", refused, "slower, please").await;
        }
        match ClientMessage::parse(&text) {
            Ok(message) => {
                self.house.counters.messages_in.one();
                self.message(message).await
            }
            Err(error) => {
                let code = match error {
                    ParseError::TooLong { .. } => {
                        self.house.counters.messages_too_long.one();
                        ErrorCode::TooLong
                    }
                    ParseError::Malformed { .. } => {
                        self.house.counters.messages_malformed.one();
                        ErrorCode::Malformed
                    }
                };
                self.refuse("", code.into(), &error.to_string()).await;
                Next::Close
            }
        }
    }

    async fn message(&mut self, message: ClientMessage) -> Next {
        let name = message.name();
        let answered = match (message, &self.state) {
            (ClientMessage::Hello(hello), State::Fresh) => {
                if hello.version != VERSION {
                    let said = format!("this gate speaks version {VERSION}");
                    self.refuse(name, ErrorCode::Version.into(), &said).await;
                    return Next::Close;
                }
                self.state = State::Greeted;
                Ok(self.welcome())
            }
            (ClientMessage::Login(login), State::Greeted) => {
                let (wanted, mailbox) = (login.name.as_ref().map(Text::as_str), self.mailbox.clone());
                let entry = match login.password {
                    None => self.house.log_in(wanted, self.origin, mailbox).await,
                    Some(password) => {
                        let (name, password) = (wanted.unwrap_or_default(), password.as_str());
                        self.house.log_in_by_password(name, password, self.origin, mailbox).await
                    }
                };
                entry.map(|entry| self.entered(entry))
            }
            (ClientMessage::Register(register), State::Greeted) => {
                let (name, password) = (register.name.as_str(), register.password.as_str());
                let entry = self.house.register(name, password, self.origin, self.mailbox.clone()).await;
                entry.map(|entry| self.entered(entry))
            }
            (ClientMessage::Resume(resume), State::Greeted) => {
                let session = resume.session.as_str();
                let entry = self.house.resume(session, self.origin, self.mailbox.clone()).await;
                entry.map(|entry| self.entered(entry))
            }
            (ClientMessage::Modes(_), State::Greeted | State::Entered(_)) => {
                let modes = self.house.modes().try_into().expect("the configuration was checked");
                Ok(GateMessage::Modes(Modes { modes }))
            }
            (ClientMessage::Queue(queue), State::Entered(player)) => {
                if queue.party.is_some() {
                    // Tickets and matchmaker take parties; there is no way yet to form one.
                    Err(ErrorCode::NoSuchParty.into())
                } else {
                    let ticket = self.house.enqueue(player, queue.mode.as_str(), queue.loadout).await;
                    ticket
                        .map(|ticket| GateMessage::Queued(Queued { mode: queue.mode, ticket: Hex64(ticket) }))
                }
            }
            (ClientMessage::Cancel(_), State::Entered(player)) => {
                let ticket = self.house.cancel(player);
                ticket.map(|ticket| GateMessage::Cancelled(Cancelled { ticket: Hex64(ticket) }))
            }
            (ClientMessage::Issue(issue), State::Entered(player)) => {
                let ready = self.house.issue(player, issue.mode.as_str(), issue.loadout).await;
                ready.map(|ready| GateMessage::BattleReady(Box::new(ready)))
            }
            (ClientMessage::WhereIsMyBattle(_), State::Entered(player)) => {
                let battle = self.house.battle_of(player.number).await;
                battle.map(|battle| GateMessage::YourBattle(YourBattle { battle: battle.map(Box::new) }))
            }
            (ClientMessage::Logout(_), State::Entered(player)) => {
                if let Err(refused) = self.house.log_out(player).await {
                    return self.refuse(name, refused, "").await;
                }
                self.send(&GateMessage::LoggedOut(LoggedOut {})).await;
                return Next::Close;
            }
            _ => {
                self.house.counters.messages_out_of_place.one();
                Err(ErrorCode::OutOfPlace.into())
            }
        };
        match answered {
            Ok(answer) => {
                if self.send(&answer).await {
                    Next::Stay
                } else {
                    Next::Close
                }
            }
            Err(refused) => self.refuse(name, refused, "").await,
        }
    }

    fn welcome(&self) -> GateMessage {
        let idle = self.house.config.gate_limits.idle_timeout;
        GateMessage::Welcome(Welcome {
            version: VERSION,
            server: Text::cut(&self.house.config.program),
            message_bytes_max: u32::try_from(limits::CLIENT_MESSAGE_BYTES_MAX).unwrap_or(u32::MAX),
            idle_timeout_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn entered(&mut self, entry: Entry) -> GateMessage {
        tracing::info!(session = self.number, player = %Hex64(entry.player.number), "logged in");
        let logged_in = LoggedIn {
            player: Hex64(entry.player.number),
            name: Text::cut(&entry.player.name),
            session: Text::cut(&entry.session),
            expires_unix_ms: entry.expires_unix_ms,
            queued: entry.queued,
            in_battle: entry.in_battle,
        };
        self.state = State::Entered(entry.player);
        GateMessage::LoggedIn(logged_in)
    }

    async fn timed_out(&mut self) {
        match self.state {
            State::Fresh | State::Greeted => self.house.counters.sessions_unauthenticated_timeout.one(),
            State::Entered(_) => self.house.counters.sessions_idle.one(),
        }
        self.refuse("", ErrorCode::TimedOut.into(), "").await;
    }

    async fn closed_by_house(&mut self, why: CloseReason) {
        match why {
            CloseReason::Replaced => {
                self.send(&GateMessage::Replaced(Replaced {})).await;
            }
            CloseReason::House if self.socket.move_on().await => {}
            CloseReason::House => {
                self.refuse("", ErrorCode::Closing.into(), "").await;
            }
            CloseReason::Slow => self.house.counters.sessions_slow.one(),
        }
    }

    async fn refuse(&mut self, of: &str, refused: Refused, said: &str) -> Next {
        let error = GateError {
            code: refused.code,
            of: Text::cut(of),
            message: Text::cut(said),
            retry_after_ms: refused.retry_after_ms,
        };
        if self.send(&GateMessage::Error(error)).await { Next::Stay } else { Next::Close }
    }

    async fn send(&mut self, message: &GateMessage) -> bool {
        let write_timeout = self.house.config.gate_limits.write_timeout;
        match timeout(write_timeout, self.socket.send(message.to_json())).await {
            Ok(sent) => {
                self.house.counters.messages_out.add(u64::from(sent));
                sent
            }
            Err(_) => {
                self.house.counters.sessions_slow.one();
                false
            }
        }
    }
}
