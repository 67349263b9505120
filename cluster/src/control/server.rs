//! Serves control messages: opens the seal, parses the body, asks the room's trait, seals the answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::client::CALL_TIMEOUT;
use super::message::{LobbyHandler, NodeHandler, Release, Reservation, Settlement};
use super::proto::Sealed;
use super::proto::lobby_control_server::{LobbyControl, LobbyControlServer};
use super::proto::node_control_server::{NodeControl, NodeControlServer};
use super::proto::session_control_server::{SessionControl, SessionControlServer};
use super::seal::{ClusterKeys, Opener, SealError};
use super::session::{ChannelFrames, FRAMES_MAX, SessionHandler, SessionLink, received};
use super::wire::{Body, Empty, MESSAGE_BYTES_MAX};
use crate::clock::Clock;
use crate::id::NodeId;

/// Most calls at a time on one connection; further ones wait. A session counts until it is opened.
const CALLS_PER_CONNECTION_MAX: usize = 64;
/// Most sessions at a time on one connection.
const SESSIONS_PER_CONNECTION_MAX: u32 = 32 * 1024;
/// Most sessions whose first message has not come yet; a further one is refused and counted.
const UNOPENED_MAX: usize = 1024;
/// A connection whose peer does not answer HTTP/2 pings is closed after this and [`PING_TIMEOUT`], at both ends: as soon
/// as the lease of a process that hangs would end, so that its sessions go on elsewhere when it leaves the lists.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(2);
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(3);

crate::counters! {
    /// What a control server counts.
    pub struct ControlCounters {
        /// Calls whose seal held and whose body was read.
        control_calls,
        /// Calls of another version or without a proper nonce.
        control_refused_form,
        /// Calls whose MAC does not hold.
        control_refused_forged,
        /// Calls meant for somebody else.
        control_refused_not_for_us,
        /// Calls whose time is too far from ours.
        control_refused_out_of_time,
        /// Calls that were here already.
        control_refused_replayed,
        /// Calls refused because too many were remembered.
        control_refused_window_full,
        /// Calls with a good seal around a malformed body.
        control_refused_malformed,
        /// Sessions refused because too many others had not said yet what they are.
        control_refused_unopened,
        /// Sessions opened by gates.
        control_sessions,
    }
}

/// Who answers which calls; a service without one answers "unimplemented".
#[derive(Clone, Default)]
pub struct Handlers {
    /// Answers calls to a node.
    pub node: Option<Arc<dyn NodeHandler>>,
    /// Answers calls to a lobby.
    pub lobby: Option<Arc<dyn LobbyHandler>>,
    /// Takes the sessions that gates open.
    pub sessions: Option<Arc<dyn SessionHandler>>,
}

/// A running control server. Dropping it closes the listener at once and each connection after its running calls.
#[derive(Debug)]
pub struct ControlServer {
    address: SocketAddr,
    counters: Arc<ControlCounters>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl ControlServer {
    /// Listens at `bind` (port 0 for a free one) and serves calls that are meant for `own_name`. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(
        bind: SocketAddr,
        own_name: &NodeId,
        keys: ClusterKeys,
        clock: Clock,
        handlers: Handlers,
    ) -> io::Result<Self> {
        let incoming = TcpIncoming::bind(bind)?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let counters = Arc::new(ControlCounters::default());
        let door = Arc::new(Door {
            opener: Opener::new(keys, own_name.as_str()),
            clock,
            counters: Arc::clone(&counters),
        });
        let node = handlers.node.map(|handler| {
            NodeControlServer::new(NodeService { door: Arc::clone(&door), handler })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });
        let lobby = handlers.lobby.map(|handler| {
            LobbyControlServer::new(LobbyService { door: Arc::clone(&door), handler })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });
        let sessions = handlers.sessions.map(|handler| {
            SessionControlServer::new(SessionService {
                door,
                handler,
                unopened: Semaphore::new(UNOPENED_MAX),
            })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Server::builder()
            .timeout(CALL_TIMEOUT)
            .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
            .max_concurrent_streams(Some(SESSIONS_PER_CONNECTION_MAX))
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .add_optional_service(node)
            .add_optional_service(lobby)
            .add_optional_service(sessions)
            .serve_with_incoming_shutdown(incoming, async move { drop(stopped.await) });
        let task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, %address, "control server ended");
            }
        });
        Ok(Self { address, counters, stop: Some(stop), task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted.
    pub fn counters(&self) -> &Arc<ControlCounters> {
        &self.counters
    }

    /// Takes no new calls, lets running ones end for at most [`CALL_TIMEOUT`], and stops.
    pub async fn shutdown(mut self) {
        self.stop().await;
    }

    /// Does what [`ControlServer::shutdown`] does, for a server that is part of something else. Once stopped it
    /// stays so.
    pub async fn stop(&mut self) {
        if self.stop.take().is_some() {
            // Calls that take longer are left unanswered, as by a process that ends.
            let _ = tokio::time::timeout(CALL_TIMEOUT, &mut self.task).await;
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What both services share: seal and counters.
struct Door {
    opener: Opener,
    clock: Clock,
    counters: Arc<ControlCounters>,
}

impl Door {
    fn open<B: Body>(&self, method: &str, sealed: &Sealed) -> Result<B, Status> {
        self.opener.open(method, self.clock.unix_ms(), sealed).map_err(|error| {
            self.count(error);
            // A stranger is not told which check failed.
            Status::unauthenticated("refused")
        })?;
        let body = B::parse(&sealed.body).map_err(|error| {
            self.counters.control_refused_malformed.one();
            tracing::warn!(method, %error, "malformed call under a good seal");
            Status::invalid_argument(error.to_string())
        })?;
        self.counters.control_calls.one();
        Ok(body)
    }

    fn answer<B: Body>(&self, method: &str, nonce: Vec<u8>, answer: &B) -> Response<Sealed> {
        let keys = self.opener.keys();
        Response::new(keys.seal_answer(method, self.clock.unix_ms(), nonce, answer.to_bytes()))
    }

    fn count(&self, error: SealError) {
        match error {
            SealError::Form => self.counters.control_refused_form.one(),
            SealError::Forged => self.counters.control_refused_forged.one(),
            SealError::NotForUs => self.counters.control_refused_not_for_us.one(),
            SealError::OutOfTime => self.counters.control_refused_out_of_time.one(),
            SealError::Replayed => self.counters.control_refused_replayed.one(),
            SealError::WindowFull => self.counters.control_refused_window_full.one(),
        }
    }
}

/// Names of the calls under the MAC.
pub(super) mod method {
    pub(in crate::control) const RESERVE: &str = "NodeControl/Reserve";
    pub(in crate::control) const RELEASE: &str = "NodeControl/Release";
    pub(in crate::control) const DRAIN: &str = "NodeControl/Drain";
    pub(in crate::control) const STATUS: &str = "NodeControl/Status";
    pub(in crate::control) const SETTLE: &str = "LobbyControl/Settle";
    pub(in crate::control) const OPEN: &str = "SessionControl/Open";
}

struct NodeService {
    door: Arc<Door>,
    handler: Arc<dyn NodeHandler>,
}

#[async_trait::async_trait]
impl NodeControl for NodeService {
    async fn reserve(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let sealed = request.into_inner();
        let reservation: Reservation = self.door.open(method::RESERVE, &sealed)?;
        let answer = self.handler.reserve(reservation).await;
        Ok(self.door.answer(method::RESERVE, sealed.nonce, &answer))
    }

    async fn release(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let sealed = request.into_inner();
        let release: Release = self.door.open(method::RELEASE, &sealed)?;
        let answer = self.handler.release(release).await;
        Ok(self.door.answer(method::RELEASE, sealed.nonce, &answer))
    }

    async fn drain(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let sealed = request.into_inner();
        let _: Empty = self.door.open(method::DRAIN, &sealed)?;
        let answer = self.handler.drain().await;
        Ok(self.door.answer(method::DRAIN, sealed.nonce, &answer))
    }

    async fn status(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let sealed = request.into_inner();
        let _: Empty = self.door.open(method::STATUS, &sealed)?;
        let answer = self.handler.status().await;
        Ok(self.door.answer(method::STATUS, sealed.nonce, &answer))
    }
}

struct LobbyService {
    door: Arc<Door>,
    handler: Arc<dyn LobbyHandler>,
}

#[async_trait::async_trait]
impl LobbyControl for LobbyService {
    async fn settle(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let sealed = request.into_inner();
        let settlement: Settlement = self.door.open(method::SETTLE, &sealed)?;
        let answer = self.handler.settle(settlement).await;
        Ok(self.door.answer(method::SETTLE, sealed.nonce, &answer))
    }
}

struct SessionService {
    door: Arc<Door>,
    handler: Arc<dyn SessionHandler>,
    /// One permit for each session whose first message has not come yet.
    unopened: Semaphore,
}

#[async_trait::async_trait]
impl SessionControl for SessionService {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<Sealed, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<Sealed>>) -> Result<Response<Self::OpenStream>, Status> {
        let Ok(_unopened) = self.unopened.try_acquire() else {
            self.door.counters.control_refused_unopened.one();
            return Err(Status::resource_exhausted("too many sessions at once"));
        };
        let mut incoming = request.into_inner();
        let opening = tokio::time::timeout(CALL_TIMEOUT, incoming.message()).await;
        let opening = opening.map_err(|_| Status::deadline_exceeded("nothing came"))??;
        let opening = opening.ok_or_else(|| Status::invalid_argument("nothing came"))?;
        let from: IpAddr = self.door.open(method::OPEN, &opening)?;
        let key = self.door.opener.keys().session_key(opening.kid);
        let key = key.ok_or_else(|| Status::unauthenticated("refused"))?;
        let (outgoing, sent) = mpsc::channel(FRAMES_MAX);
        let link = SessionLink::of_lobby(key, &opening.nonce, outgoing, received(incoming));
        if !self.handler.take(link, from) {
            return Err(Status::unavailable("this lobby takes no sessions"));
        }
        self.door.counters.control_sessions.one();
        Ok(Response::new(Box::pin(ChannelFrames { first: None, rest: sent }.map(Ok))))
    }
}
