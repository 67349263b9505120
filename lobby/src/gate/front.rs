//! A gate as a process of its own: takes WebSockets and carries their frames to a lobby and back.
//!
//! ```text
//! client ══ WebSocket ══ gate ══ sealed session ══ lobby
//! ```
//! Of a session it knows no more than it takes to go on at another lobby when its own is gone: what the client said
//! first, the session token, and whether an answer is owed. If one is, nobody knows whether the question arrived, so
//! the client's connection is closed and the client comes back with its token, as after any broken connection.
//! Otherwise the gate itself resumes the session, and the client gets the `logged_in` of the other lobby unasked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tiltyard_api::limits::SESSION_BYTES_MAX;
use tiltyard_api::{ClientMessage, ErrorCode, GateError, GateMessage, Resume, Text};
use tiltyard_cluster::NodeId;
use tiltyard_cluster::control::{Frame, SessionCalls, SessionLink};
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{
    GateRecord, Keyspace, LobbyRecord, Registration, RegistrationConfig, View, ViewConfig,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::listener::{Listener, serve};
use super::session::{Incoming, Socket};
use super::websocket::gate_routes;
use crate::config::GateLimits;
use crate::counters::{DoorCounters, RelayCounters};
use crate::lobby::StartError;
use crate::status::StatusPage;

/// How long a session may be without a lobby before its client's connection is closed.
const HOMELESS_MAX: Duration = Duration::from_secs(10);
/// Pause after every lobby refused.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a lobby may take to answer when a session is introduced to it.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Everything a gate is told.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// Its name in the directory.
    pub id: NodeId,
    /// A random number of this process.
    pub instance: u64,
    /// Name and version of the program.
    pub program: String,
    /// Where it listens for WebSockets; port 0 for a free one.
    pub listen: SocketAddr,
    /// Where the cluster lives in the directory.
    pub keyspace: Keyspace,
    /// Limits for connections.
    pub limits: GateLimits,
    /// Times of the gate's own registration.
    pub registration: RegistrationConfig,
    /// Times of the gate's view of the lobbies.
    pub view: ViewConfig,
}

/// A gate that runs. Dropping it stops it at once.
pub struct Gate {
    status: Arc<GateStatus>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What an operator sees of a gate, for as long as it runs and afterwards.
pub struct GateStatus {
    front: Arc<Front>,
    registration: Registration<GateRecord>,
    doors: Arc<DoorCounters>,
}

impl Gate {
    /// Binds its address, registers, and serves. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or the directory does not answer in time.
    pub async fn start(
        config: GateConfig,
        directory: Arc<dyn Directory>,
        calls: Arc<dyn SessionCalls>,
    ) -> Result<Self, StartError> {
        let (address, limits) = (config.listen, config.limits);
        let bound = |source| StartError::Bind { what: "gate", address, source };
        let listener = Listener::bind(address).await.map_err(bound)?;
        let address = listener.address();
        let record = GateRecord::new(config.id.clone(), config.instance, address, &config.program);
        let registering =
            Registration::start(Arc::clone(&directory), config.keyspace.clone(), record, config.registration);
        let registration = registering.await?;
        let (stop, stopped) = watch::channel(false);
        let front = Arc::new(Front::new(&config, directory, calls, stopped.clone()));
        let doors = Arc::<DoorCounters>::default();
        let carrying = Arc::clone(&front);
        let routes = gate_routes(move |socket, from| carry(Arc::clone(&carrying), socket, from));
        let task = tokio::spawn(serve(listener, routes, limits, Arc::clone(&doors), stopped));
        tracing::info!(gate = %address, "gate is up");
        Ok(Self { status: Arc::new(GateStatus { front, registration, doors }), address, stop, task })
    }

    /// Where clients connect with a WebSocket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What operators are shown.
    pub fn status(&self) -> Arc<GateStatus> {
        Arc::clone(&self.status)
    }

    /// Leaves the directory and closes all connections; the clients go on at another gate.
    pub async fn shutdown(self) {
        self.status.registration.revoke().await;
        self.stop.send_replace(true);
        let counters = &self.status.front.counters;
        let emptied = async {
            while counters.relays_ended.value() < counters.relays.value() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        // Who has not gone by then is cut.
        let _ = timeout(self.status.front.limits.write_timeout, emptied).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}

impl GateStatus {
    /// Writes readiness, counters and gauges.
    pub fn write(&self, page: &mut StatusPage) {
        if let Some(why) = self.not_ready() {
            page.not_ready(why);
        }
        let counters = self.doors.list().into_iter().chain(self.front.counters.list());
        let counters = counters.chain(self.registration.counters().list());
        for (name, value) in counters.chain(self.front.lobbies.counters().list()) {
            page.counter(name, None, value);
        }
        page.gauge("lobbies_listed", None, self.front.lobbies.current().records.len() as u64);
    }

    /// Why the gate takes no players just now, if it does not. While the directory is away it goes on by what it
    /// knows.
    pub fn not_ready(&self) -> Option<&'static str> {
        if *self.front.stopped.borrow() {
            return Some("closing");
        }
        self.front.lobbies.current().records.is_empty().then_some("no lobby is listed")
    }
}

/// What all sessions of a gate share.
pub(crate) struct Front {
    lobbies: View<LobbyRecord>,
    calls: Arc<dyn SessionCalls>,
    limits: GateLimits,
    counters: RelayCounters,
    stopped: watch::Receiver<bool>,
    /// Which lobby is asked first by the next session.
    turn: AtomicUsize,
}

impl Front {
    pub(crate) fn new(
        config: &GateConfig,
        directory: Arc<dyn Directory>,
        calls: Arc<dyn SessionCalls>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            lobbies: View::start(directory, &config.keyspace, config.view),
            calls,
            limits: config.limits,
            counters: RelayCounters::default(),
            stopped,
            turn: AtomicUsize::new(0),
        }
    }

    /// How many lobbies are known.
    pub(crate) fn lobbies(&self) -> usize {
        self.lobbies.current().records.len()
    }

    /// The lobbies, each of which comes first in its turn; one that was just lost comes last.
    fn in_turn(&self, lost: Option<&LobbyRecord>) -> Vec<LobbyRecord> {
        let mut lobbies: Vec<_> = self.lobbies.current().records.values().cloned().collect();
        if !lobbies.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % lobbies.len();
            lobbies.rotate_left(turn);
        }
        let is_lost = |lobby: &LobbyRecord| {
            lost.is_some_and(|lost| (&lost.id, lost.instance) == (&lobby.id, lobby.instance))
        };
        lobbies.sort_by_key(is_lost);
        lobbies
    }

    /// Finds a lobby for a session, and tells it what the one before knew.
    async fn place(&self, relay: &mut Relay, from: IpAddr, lost: Option<&LobbyRecord>) -> Placed {
        let until = Instant::now() + HOMELESS_MAX;
        loop {
            for lobby in self.in_turn(lost) {
                let Ok(mut link) = self.calls.open(&lobby.peer(), from).await else { continue };
                match timeout(ANSWER_MAX, relay.introduce(&mut link)).await {
                    Ok(Introduced::Taken(said)) => return Placed::At(Box::new((lobby, link)), said),
                    Ok(Introduced::Refused(said)) => return Placed::Refused(said),
                    Ok(Introduced::Lost) | Err(_) => {}
                }
            }
            if Instant::now() + PAUSE > until {
                return Placed::Nowhere;
            }
            sleep(PAUSE).await;
        }
    }
}

enum Placed {
    /// At this lobby; the client is told this.
    At(Box<(LobbyRecord, SessionLink)>, Option<String>),
    /// The lobby does not know the session any more, and says so.
    Refused(String),
    Nowhere,
}

enum Introduced {
    Taken(Option<String>),
    Refused(String),
    Lost,
}

/// What a gate knows of a session.
#[derive(Debug, Default)]
struct Relay {
    /// What the client said first.
    hello: Option<String>,
    /// What resumes the session.
    token: Option<Text<SESSION_BYTES_MAX>>,
    /// Questions without an answer, and how many of them ask for a fresh battle.
    owed: u32,
    owed_battles: u32,
}

impl Relay {
    /// The client says something.
    fn asked(&mut self, text: &str) {
        self.owed += 1;
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Hello(_)) if self.hello.is_none() => self.hello = Some(text.to_owned()),
            Ok(ClientMessage::Issue(_)) => self.owed_battles += 1,
            // What is wrong with a message is for the lobby to say.
            _ => {}
        }
    }

    /// The lobby says something.
    fn told(&mut self, text: &str) {
        match GateMessage::parse(text) {
            Ok(GateMessage::LoggedIn(logged_in)) => self.token = Some(logged_in.session),
            Ok(GateMessage::BattleReady(_)) if self.owed_battles > 0 => self.owed_battles -= 1,
            Ok(GateMessage::Error(error)) if error.of.as_str() == "issue" => {
                self.owed_battles = self.owed_battles.saturating_sub(1);
            }
            Ok(
                GateMessage::BattleReady(_)
                | GateMessage::MatchFound(_)
                | GateMessage::Requeued(_)
                | GateMessage::BattleOver(_)
                | GateMessage::Replaced(_),
            ) => return,
            _ => {}
        }
        self.owed = self.owed.saturating_sub(1);
    }

    /// Tells a lobby what the session is; the answer to a resumed session is for the client.
    async fn introduce(&mut self, link: &mut SessionLink) -> Introduced {
        let Some(hello) = &self.hello else { return Introduced::Taken(None) };
        match ask(link, hello.clone()).await {
            Some((_, GateMessage::Welcome(_))) => {}
            Some((text, GateMessage::Error(_))) => return Introduced::Refused(text),
            _ => return Introduced::Lost,
        }
        let Some(session) = self.token.clone() else { return Introduced::Taken(None) };
        match ask(link, ClientMessage::Resume(Resume { session }).to_json()).await {
            Some((text, GateMessage::LoggedIn(logged_in))) => {
                self.token = Some(logged_in.session);
                Introduced::Taken(Some(text))
            }
            Some((text, GateMessage::Error(error))) => match error.code {
                // Another lobby may be better off.
                ErrorCode::Closing | ErrorCode::Internal => Introduced::Lost,
                _ => Introduced::Refused(text),
            },
            _ => Introduced::Lost,
        }
    }
}

async fn ask(link: &mut SessionLink, text: String) -> Option<(String, GateMessage)> {
    if !link.send(Frame::Text(text)).await {
        return None;
    }
    loop {
        match link.receive().await? {
            Frame::Text(text) => {
                let message = GateMessage::parse(&text).ok()?;
                return Some((text, message));
            }
            Frame::Ping => {}
            _ => return None,
        }
    }
}

/// What a session waits for.
enum Came {
    Stop,
    FromLobby(Option<Frame>),
    FromClient(Incoming),
}

/// What follows from a frame.
enum Next {
    Stay,
    /// The lobby is gone.
    Move,
    Close,
}

/// Carries a session until it is over; the client's socket is closed then.
pub(crate) async fn carry(front: Arc<Front>, mut client: impl Socket, from: IpAddr) {
    front.counters.relays.one();
    carry_on(&front, &mut client, from).await;
    // A client that does not answer the closing handshake is not waited for.
    let _ = timeout(front.limits.write_timeout, client.close()).await;
    front.counters.relays_ended.one();
}

async fn carry_on(front: &Front, client: &mut impl Socket, from: IpAddr) {
    let mut relay = Relay::default();
    let mut stopped = front.stopped.clone();
    let mut lost: Option<LobbyRecord> = None;
    loop {
        let (lobby, mut link) = match front.place(&mut relay, from, lost.as_ref()).await {
            Placed::At(at, said) => {
                if lost.is_some() {
                    front.counters.relays_moved.one();
                }
                if let Some(said) = said
                    && !tell(front, client, said).await
                {
                    return;
                }
                *at
            }
            Placed::Refused(said) => {
                tell(front, client, said).await;
                return;
            }
            Placed::Nowhere => {
                front.counters.relays_without_lobby.one();
                if lost.is_none() {
                    tell(front, client, try_later()).await;
                }
                return;
            }
        };
        loop {
            let came = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => Came::Stop,
                frame = link.receive() => Came::FromLobby(frame),
                incoming = client.receive() => Came::FromClient(incoming),
            };
            let next = match came {
                Came::Stop => Next::Close,
                Came::FromLobby(frame) => from_lobby(front, &mut relay, client, frame).await,
                Came::FromClient(incoming) => from_client(front, &mut relay, &mut link, incoming).await,
            };
            match next {
                Next::Stay => {}
                Next::Close => {
                    // The lobby learns it from the link that is dropped, if not by this.
                    let _ = timeout(PAUSE, link.send(Frame::Closed)).await;
                    return;
                }
                Next::Move if relay.owed > 0 => {
                    front.counters.relays_cut.one();
                    return;
                }
                Next::Move => break,
            }
        }
        lost = Some(lobby);
    }
}

async fn from_lobby(
    front: &Front,
    relay: &mut Relay,
    client: &mut impl Socket,
    frame: Option<Frame>,
) -> Next {
    let taken = match frame {
        Some(Frame::Text(text)) => {
            relay.told(&text);
            tell(front, client, text).await
        }
        Some(Frame::Ping) => matches!(timeout(front.limits.write_timeout, client.ping()).await, Ok(true)),
        Some(Frame::Gone) | None => return Next::Move,
        Some(Frame::Alive | Frame::TooLong | Frame::Malformed | Frame::Closed) => false,
    };
    if taken { Next::Stay } else { Next::Close }
}

async fn from_client(front: &Front, relay: &mut Relay, link: &mut SessionLink, incoming: Incoming) -> Next {
    let frame = match incoming {
        Incoming::Text(text) => {
            relay.asked(&text);
            Frame::Text(text)
        }
        Incoming::Alive => Frame::Alive,
        Incoming::TooLong => Frame::TooLong,
        Incoming::Malformed => Frame::Malformed,
        Incoming::Closed => return Next::Close,
    };
    match timeout(front.limits.write_timeout, link.send(frame)).await {
        Ok(true) => Next::Stay,
        Ok(false) | Err(_) => Next::Move,
    }
}

/// Sends a text to the client; answers whether it was taken in time.
async fn tell(front: &Front, client: &mut impl Socket, text: String) -> bool {
    matches!(timeout(front.limits.write_timeout, client.send(text)).await, Ok(true))
}

fn try_later() -> String {
    let (of, message) = (Text::cut(""), Text::cut("no lobby takes sessions just now"));
    GateMessage::Error(GateError { code: ErrorCode::TryLater, of, message, retry_after_ms: 1_000 }).to_json()
}

#[cfg(test)]
mod tests {
    use tiltyard_api::{Hello, Issue, Login, ModesWanted, Queue, VERSION};

    use super::*;

    #[test]
    fn a_relay_owes_what_was_asked_and_not_answered() {
        let mut relay = Relay::default();
        let hello = ClientMessage::Hello(Hello { version: VERSION, client: Text::cut("test") }).to_json();
        relay.asked(&hello);
        assert_eq!((relay.owed, relay.hello.as_deref()), (1, Some(hello.as_str())));
        relay.told(&try_later());
        assert_eq!(relay.owed, 0);
        let mode = Text::cut("duel");
        for message in [
            ClientMessage::Login(Login::default()),
            ClientMessage::Modes(ModesWanted {}),
            ClientMessage::Queue(Queue { mode: mode.clone(), loadout: 0, party: None }),
            ClientMessage::Issue(Issue { mode, loadout: 0 }),
        ] {
            relay.asked(&message.to_json());
        }
        relay.asked("no message");
        assert_eq!((relay.owed, relay.owed_battles), (5, 1));
        let replaced = GateMessage::Replaced(tiltyard_api::Replaced {}).to_json();
        relay.told(&replaced);
        assert_eq!(relay.owed, 5, "nobody asked for it");
        let refused = |of: &str| {
            let code = ErrorCode::Full;
            let error = GateError { code, of: Text::cut(of), message: Text::cut(""), retry_after_ms: 0 };
            GateMessage::Error(error).to_json()
        };
        relay.told(&refused("issue"));
        assert_eq!((relay.owed, relay.owed_battles), (4, 0));
    }
}
