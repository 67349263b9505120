//! The task of one stream: whole packets from its socket to the shell, and from the shell to its socket.
//!
//! ```text
//! TCP: length 2 | packet, again and again; a length of 0 or beyond the largest packet ends the stream
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::Path;
use crate::limits::UDP_PAYLOAD_MAX;

/// Packets that wait for a stream to take them; the session waits when there are so many.
pub(super) const PACKETS_WAITING_MAX: usize = 64;

/// How long a stream may take nothing of what it was given before it is cut.
pub(super) const STALLED: Duration = Duration::from_secs(10);

/// What the kernel may hold of what the peer has not read: the newest must not wait behind seconds of the past.
const KERNEL_BUFFER: usize = 128 * 1024;

/// Bytes that are read at once.
const READ_BUFFER: usize = 4 * 1024;

/// What the task of a stream tells the shell.
pub(super) enum FromStream {
    /// It may be written to. The permit is given back when the stream has shown a session, or ends.
    Opened { path: Path, outlet: Outlet, permit: super::acceptor::Permit },
    /// A packet.
    Packet { stream: u64, bytes: Vec<u8> },
    /// It is no more.
    Lost { stream: u64, end: StreamEnd },
}

/// Why a stream is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// It was closed, by either side, or broke.
    Closed,
    /// What came was not made of packets.
    Malformed,
    /// It took nothing for too long.
    Stalled,
}

/// Where the shell writes packets for a stream.
pub(super) struct Outlet {
    pub(super) packets: mpsc::Sender<Vec<u8>>,
    /// Whether the shell waits to hear of room.
    pub(super) is_full: Arc<AtomicBool>,
}

/// The task's end of a stream.
pub(super) struct Carrier {
    pub(super) stream: u64,
    pub(super) to_shell: mpsc::Sender<FromStream>,
    pub(super) outgoing: Outgoing,
}

/// What the shell wrote and the peer has not got.
pub(super) struct Outgoing {
    packets: mpsc::Receiver<Vec<u8>>,
    is_full: Arc<AtomicBool>,
    room: Arc<Notify>,
}

/// The two ends of a stream between the shell and its task; `room` is what a shell hears that waits.
pub(super) fn pipe(stream: u64, to_shell: mpsc::Sender<FromStream>, room: Arc<Notify>) -> (Outlet, Carrier) {
    let (sender, packets) = mpsc::channel(PACKETS_WAITING_MAX);
    let is_full = Arc::new(AtomicBool::new(false));
    let outlet = Outlet { packets: sender, is_full: Arc::clone(&is_full) };
    (outlet, Carrier { stream, to_shell, outgoing: Outgoing { packets, is_full, room } })
}

/// Sets a fresh socket up for packets.
pub(super) fn set_up(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    SockRef::from(tcp).set_send_buffer_size(KERNEL_BUFFER)
}

impl Carrier {
    /// Carries packets over TCP until either side is done, and tells the shell.
    pub(super) async fn carry_tcp(mut self, mut tcp: TcpStream) {
        let end = {
            let (from_peer, to_peer) = tcp.split();
            let inwards = read_packets(from_peer, self.stream, &self.to_shell);
            let outwards = write_packets(to_peer, &mut self.outgoing);
            tokio::select! {
                end = inwards => end,
                end = outwards => end,
            }
        };
        self.tell_end(end).await;
    }

    /// Tells the shell that the stream is no more.
    pub(super) async fn tell_end(self, end: StreamEnd) {
        // A shell that is gone needs to hear nothing.
        let _ = self.to_shell.send(FromStream::Lost { stream: self.stream, end }).await;
    }
}

impl Outgoing {
    /// Waits for packets and gives all that wait; `false` when the shell has let go of the stream.
    pub(super) async fn next(&mut self, batch: &mut Vec<Vec<u8>>) -> bool {
        let came = self.packets.recv_many(batch, PACKETS_WAITING_MAX).await > 0;
        if self.is_full.swap(false, Ordering::AcqRel) {
            self.room.notify_one();
        }
        came
    }
}

async fn read_packets(
    from_peer: impl AsyncRead + Unpin,
    stream: u64,
    to_shell: &mpsc::Sender<FromStream>,
) -> StreamEnd {
    let mut from_peer = BufReader::with_capacity(READ_BUFFER, from_peer);
    loop {
        let Ok(len) = from_peer.read_u16_le().await else { return StreamEnd::Closed };
        let len = usize::from(len);
        if len == 0 || len > UDP_PAYLOAD_MAX {
            return StreamEnd::Malformed;
        }
        let mut bytes = vec![0; len];
        if from_peer.read_exact(&mut bytes).await.is_err() {
            return StreamEnd::Closed;
        }
        if to_shell.send(FromStream::Packet { stream, bytes }).await.is_err() {
            return StreamEnd::Closed;
        }
    }
}

async fn write_packets(mut to_peer: impl AsyncWrite + Unpin, outgoing: &mut Outgoing) -> StreamEnd {
    let (mut batch, mut bytes) = (Vec::with_capacity(PACKETS_WAITING_MAX), Vec::new());
    while outgoing.next(&mut batch).await {
        bytes.clear();
        for packet in batch.drain(..) {
            let len = u16::try_from(packet.len()).expect("a packet is shorter than a datagram");
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(&packet);
        }
        match timeout(STALLED, to_peer.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return StreamEnd::Closed,
            Err(_) => return StreamEnd::Stalled,
        }
    }
    // The shell has let go of it: all is said.
    let _ = timeout(STALLED, to_peer.shutdown()).await;
    StreamEnd::Closed
}
