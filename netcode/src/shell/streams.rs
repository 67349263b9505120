//! The streams of a shell: which there are, what came of them, what waits for them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::acceptor::{Permit, StreamDoor};
use super::carry::{FromStream, Outlet, PACKETS_WAITING_MAX, StreamEnd, pipe, set_up};
use super::metered::Metered;
use super::websocket::connect;
use crate::time::Millis;
use crate::{ConnectionId, Path, Transport};

/// Packets of all streams that wait for the shell; who has one more waits with it, and its peer with him.
const FROM_STREAMS_MAX: usize = 1_024;

/// What is taken from the streams in one go.
const BATCH_MAX: usize = 256;

/// How long a stream of our own may take to stand.
const CONNECT_FOR: Duration = Duration::from_secs(5);

/// How long a stream may be without a session.
pub(super) const UNPROVEN_MS: u64 = 5_000;

pub(super) struct Streams {
    from_streams: mpsc::Receiver<FromStream>,
    to_shell: mpsc::Sender<FromStream>,
    room: Arc<Notify>,
    batch: Vec<FromStream>,
    open: BTreeMap<u64, Stream>,
    /// Those that had no room when they were last written to.
    full: Vec<u64>,
    newest: u64,
}

/// One stream that is open.
pub(super) struct Stream {
    pub(super) path: Path,
    outlet: Outlet,
    /// The session on it, as soon as there is one.
    pub(super) connection: Option<ConnectionId>,
    opened_at: Millis,
    permit: Option<Permit>,
}

/// A stream of our own that stands.
enum Begun {
    Tcp(TcpStream),
    WebSocket(Box<WebSocketStream<Metered<TlsStream<TcpStream>>>>),
    #[cfg(feature = "quic")]
    Quic(quinn::Connection),
}

/// What became of a packet for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Gone,
    /// It is on its way, and the stream takes no more for now.
    Last,
    /// There is no such stream, or it had no room and was cut.
    Lost,
}

impl Streams {
    pub(super) fn new() -> Self {
        let (to_shell, from_streams) = mpsc::channel(FROM_STREAMS_MAX);
        Self {
            from_streams,
            to_shell,
            room: Arc::default(),
            batch: Vec::with_capacity(BATCH_MAX),
            open: BTreeMap::new(),
            full: Vec::new(),
            newest: 0,
        }
    }

    /// The way in for streams that others begin.
    pub(super) fn door(&self) -> StreamDoor {
        StreamDoor::new(self.to_shell.clone(), Arc::clone(&self.room))
    }

    /// Waits until a stream has something to tell or room.
    pub(super) async fn ready(&mut self) {
        if !self.batch.is_empty() {
            return;
        }
        tokio::select! {
            // The shell holds a sender itself: there is always another message to wait for.
            _ = self.from_streams.recv_many(&mut self.batch, BATCH_MAX) => {}
            () = self.room.notified() => {}
        }
    }

    /// What the streams told, at most one batch; to be given back to `recycle`.
    pub(super) fn take(&mut self) -> Vec<FromStream> {
        while self.batch.len() < BATCH_MAX
            && let Ok(told) = self.from_streams.try_recv()
        {
            self.batch.push(told);
        }
        std::mem::take(&mut self.batch)
    }

    /// Takes the memory of a batch back.
    pub(super) fn recycle(&mut self, batch: Vec<FromStream>) {
        debug_assert!(batch.is_empty());
        self.batch = batch;
    }

    /// A stream that somebody else began.
    pub(super) fn insert(&mut self, now: Millis, path: Path, outlet: Outlet, permit: Permit) {
        let stream = Stream { path, outlet, connection: None, opened_at: now, permit: Some(permit) };
        self.open.insert(path.stream, stream);
    }

    /// Begins a stream of our own; packets for it wait until it stands. Needs a tokio runtime.
    pub(super) fn begin(&mut self, now: Millis, path: Path) {
        self.newest = path.stream;
        let (outlet, carrier) = pipe(path.stream, self.to_shell.clone(), Arc::clone(&self.room));
        self.insert(now, path, outlet, Permit::own());
        tokio::spawn(async move {
            let connecting = async {
                if path.transport == Transport::Quic {
                    return begin_quic(path.address).await;
                }
                let tcp = TcpStream::connect(path.address).await?;
                set_up(&tcp)?;
                Ok(match path.transport {
                    Transport::WebSocket => Begun::WebSocket(Box::new(connect(path.address, tcp).await?)),
                    Transport::Tcp | Transport::Udp | Transport::Quic => Begun::Tcp(tcp),
                })
            };
            let connected: Result<io::Result<Begun>, _> = timeout(CONNECT_FOR, connecting).await;
            match connected {
                Ok(Ok(Begun::Tcp(tcp))) => carrier.carry_tcp(tcp).await,
                Ok(Ok(Begun::WebSocket(socket))) => carrier.carry_websocket(*socket).await,
                #[cfg(feature = "quic")]
                Ok(Ok(Begun::Quic(connection))) => carrier.carry_quic(connection).await,
                Ok(Err(_)) | Err(_) => carrier.tell_end(StreamEnd::Closed).await,
            }
        });
    }

    pub(super) fn get(&self, stream: u64) -> Option<&Stream> {
        self.open.get(&stream)
    }

    /// The highest number that a stream of our own ever had.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Lets go of a stream: what it was given goes out, then it closes.
    pub(super) fn remove(&mut self, stream: u64) -> Option<Stream> {
        self.open.remove(&stream)
    }

    /// Lets go of all streams but one.
    pub(super) fn keep_only(&mut self, stream: u64) {
        self.open.retain(|number, _| *number == stream);
    }

    /// Lets go of the streams that `is_needed` gives up; gives how many.
    pub(super) fn sweep(&mut self, now: Millis, is_needed: impl Fn(ConnectionId) -> bool) -> usize {
        let before = self.open.len();
        self.open.retain(|_, stream| match stream.connection {
            Some(connection) => is_needed(connection),
            None => now.since(stream.opened_at) < UNPROVEN_MS,
        });
        before - self.open.len()
    }

    /// Gives a packet to its stream. A stream is told to have no room in time; one that gets more all the same is cut.
    pub(super) fn send(&mut self, to: &Path, connection: Option<ConnectionId>, packet: &[u8]) -> Sent {
        let Some(stream) = self.open.get_mut(&to.stream) else { return Sent::Lost };
        if connection.is_some() {
            stream.connection = connection;
            stream.permit = None;
        }
        match stream.outlet.packets.try_send(packet.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.open.remove(&to.stream);
                return Sent::Lost;
            }
        }
        if stream.outlet.packets.capacity() > 0 {
            return Sent::Gone;
        }
        stream.outlet.is_full.store(true, Ordering::Release);
        // The task may have taken all of it before it was asked to say so.
        if stream.outlet.packets.capacity() > 0 {
            return Sent::Gone;
        }
        if !self.full.contains(&to.stream) {
            self.full.push(to.stream);
        }
        Sent::Last
    }

    /// The next session whose stream has room again.
    pub(super) fn poll_room(&mut self) -> Option<ConnectionId> {
        let open = &self.open;
        let has_room =
            |stream: &u64| open.get(stream).is_none_or(|stream| stream.outlet.packets.capacity() > 0);
        while let Some(at) = self.full.iter().position(has_room) {
            let stream = self.full.swap_remove(at);
            if let Some(connection) = self.open.get(&stream).and_then(|stream| stream.connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Whether a packet still waits for its stream.
    pub(super) fn is_under_way(&self) -> bool {
        self.open.values().any(|stream| stream.outlet.packets.capacity() < PACKETS_WAITING_MAX)
    }
}

#[cfg(feature = "quic")]
async fn begin_quic(address: SocketAddr) -> io::Result<Begun> {
    super::quic::connect(address).await.map(Begun::Quic)
}

/// This build has none.
#[cfg(not(feature = "quic"))]
async fn begin_quic(_address: SocketAddr) -> io::Result<Begun> {
    Err(io::ErrorKind::Unsupported.into())
}
