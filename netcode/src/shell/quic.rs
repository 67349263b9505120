//! Packets as QUIC datagrams (RFC 9221), at the address and port of our own datagrams.
//!
//! ```text
//! first byte   01...... and 11......   QUIC: its fixed bit is set
//!              10...... and 0000....   packets and handshakes of our own
//! ```
//! The worker tells the two apart by that bit and hands QUIC's datagrams, through a bounded queue, to a task that has the
//! QUIC endpoint: what strangers do to it costs that task's threads. Who has not shown by a Retry that he hears us gets no
//! memory. QUIC carries and guards nothing more than a packet each; KCP and the session are as over UDP.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig,
    TokioRuntime, TransportConfig, UdpPoller, VarInt,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::acceptor::{Permit, StreamDoor};
use super::carry::{Carrier, FromStream, Outgoing, PACKETS_WAITING_MAX, StreamEnd};
use super::streams::UNPROVEN_MS;
use super::websocket::{Certificate, trusting};
use crate::Transport;
use crate::limits::{TIMEOUT_MS, UDP_PAYLOAD_MAX};

/// What both sides call the protocol inside (ALPN).
const PROTOCOL: &[u8] = b"tiltyard";

/// UDP payload of QUIC's packets: our largest packet and what QUIC puts around it. It passes wherever Ethernet does.
const MTU: u16 = 1_280;

/// Datagrams that wait for the endpoint's task; a further one is dropped and counted.
const FROM_SHELL_MAX: usize = 1_024;

/// Bytes of packets that wait in QUIC, each way; older ones give way.
const WAITING_MAX: usize = PACKETS_WAITING_MAX * UDP_PAYLOAD_MAX;

/// Handshakes at once that have shown an address and wait for their place, and bytes that these may have said.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES_MAX: u64 = 1024 * 1024;

/// How long the last packets of a session may take to leave, and how often they are looked for.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LAST_WORDS_LOOK: Duration = Duration::from_millis(10);

/// The way into a worker over QUIC.
pub struct QuicDoor {
    socket: Arc<SharedSocket>,
    door: StreamDoor,
}

/// The shell's end: where it hands QUIC's datagrams.
pub(super) struct QuicInlet(mpsc::Sender<(SocketAddr, Vec<u8>)>);

/// The worker's socket as QUIC sees it: what comes has come through the shell, what goes leaves by the same socket.
struct SharedSocket {
    socket: UdpSocket,
    datagrams: Mutex<mpsc::Receiver<(SocketAddr, Vec<u8>)>>,
}

impl QuicInlet {
    /// Both ends; `socket` is another handle of the worker's own socket, which does not block.
    pub(super) fn new(socket: UdpSocket, door: StreamDoor) -> (Self, QuicDoor) {
        let (sender, datagrams) = mpsc::channel(FROM_SHELL_MAX);
        let socket = Arc::new(SharedSocket { socket, datagrams: Mutex::new(datagrams) });
        (Self(sender), QuicDoor { socket, door })
    }

    /// Whether a datagram is QUIC's.
    pub(super) fn is_quic(datagram: &[u8]) -> bool {
        datagram.first().is_some_and(|first| first & 0x40 != 0)
    }

    /// Hands a datagram over; `false` if there was no room.
    pub(super) fn give(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let Ok(room) = self.0.try_reserve() else { return false };
        room.send((from, datagram.to_vec()));
        true
    }
}

impl QuicDoor {
    /// Accepts QUIC connections for as long as it is polled. Needs a tokio runtime, best another one than the worker's.
    ///
    /// # Errors
    /// When the certificate is of no use in QUIC, or the socket is broken.
    pub async fn serve(self, certificate: Certificate) -> io::Result<()> {
        let mut config = EndpointConfig::default();
        // The bit tells QUIC's datagrams from ours.
        config.grease_quic_bit(false);
        let (server, runtime) = (server_config(&certificate)?, Arc::new(TokioRuntime));
        let endpoint = Endpoint::new_with_abstract_socket(config, Some(server), self.socket, runtime)?;
        while let Some(incoming) = endpoint.accept().await {
            if !incoming.remote_address_validated() {
                // One that was asked for it already and still has not shown it can only be left.
                if incoming.may_retry() && incoming.retry().is_err() {
                    self.door.cut();
                }
                continue;
            }
            match self.door.enter(incoming.remote_address().ip()) {
                Some(permit) => drop(tokio::spawn(welcome(self.door.clone(), incoming, permit))),
                None => {
                    self.door.refuse();
                    incoming.ignore();
                }
            }
        }
        Ok(())
    }
}

async fn welcome(door: StreamDoor, incoming: Incoming, permit: Permit) {
    let accepting = async { incoming.accept()?.await };
    let accepted = timeout(Duration::from_millis(UNPROVEN_MS), accepting).await;
    let Ok(Ok(connection)) = accepted else { return door.cut() };
    if let Some(carrier) = door.open(connection.remote_address(), Transport::Quic, permit).await {
        carrier.carry_quic(connection).await;
    }
}

/// Begins a QUIC connection from a socket of its own.
pub(super) async fn connect(address: SocketAddr) -> io::Result<Connection> {
    let home: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let mut tls = trusting(&[&tokio_rustls::rustls::version::TLS13])?;
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    let connecting =
        Endpoint::client(home)?.connect_with(config, address, "node").map_err(io::Error::other)?;
    Ok(connecting.await?)
}

impl Carrier {
    /// Carries packets over QUIC until either side is done, and tells the shell.
    pub(super) async fn carry_quic(mut self, connection: Connection) {
        let end = {
            let inwards = read_packets(&connection, self.stream, &self.to_shell);
            let outwards = write_packets(&connection, &mut self.outgoing);
            tokio::select! {
                end = inwards => end,
                end = outwards => end,
            }
        };
        connection.close(VarInt::from_u32(0), &[]);
        self.tell_end(end).await;
    }
}

async fn read_packets(
    connection: &Connection,
    stream: u64,
    to_shell: &mpsc::Sender<FromStream>,
) -> StreamEnd {
    loop {
        let Ok(datagram) = connection.read_datagram().await else { return StreamEnd::Closed };
        if datagram.is_empty() || datagram.len() > UDP_PAYLOAD_MAX {
            return StreamEnd::Malformed;
        }
        if to_shell.send(FromStream::Packet { stream, bytes: datagram.to_vec() }).await.is_err() {
            return StreamEnd::Closed;
        }
    }
}

async fn write_packets(connection: &Connection, outgoing: &mut Outgoing) -> StreamEnd {
    let mut batch = Vec::with_capacity(PACKETS_WAITING_MAX);
    let room = connection.datagram_send_buffer_space();
    while outgoing.next(&mut batch).await {
        for packet in batch.drain(..) {
            // Where it does not fit, or the peer takes none, it is lost like any other; a peer that takes none never
            // answers, and has no session.
            if connection.send_datagram(packet.into()).is_err() && connection.close_reason().is_some() {
                return StreamEnd::Closed;
            }
        }
    }
    // The shell has let go of it. What it said last waits in QUIC, which does not tell when it has left.
    let leaving = async {
        while connection.close_reason().is_none() && connection.datagram_send_buffer_space() < room {
            tokio::time::sleep(LAST_WORDS_LOOK).await;
        }
    };
    // Whether it left in time does not matter to anybody here.
    let _ = timeout(LAST_WORDS, leaving).await;
    StreamEnd::Closed
}

fn server_config(certificate: &Certificate) -> io::Result<ServerConfig> {
    let mut tls = certificate.config();
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport()))
        // The session is bound to the way on which it began; a client that moves begins another one.
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX / INCOMING_MAX as u64)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    let timeout_ms = u32::try_from(TIMEOUT_MS).expect("ten seconds are few milliseconds");
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(timeout_ms))))
        .initial_mtu(MTU)
        .min_mtu(MTU)
        .mtu_discovery_config(None)
        .datagram_receive_buffer_size(Some(WAITING_MAX))
        .datagram_send_buffer_size(WAITING_MAX);
    config
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSocket")
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // What the kernel has no room for is lost; QUIC is made for that, and so is what it carries.
        let _ = self.socket.send_to(transmit.contents, transmit.destination);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), metas.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut datagrams = self.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // A shell that is gone hands nothing over any more; who serves the door ends with it.
            let Some((from, datagram)) = std::task::ready!(datagrams.poll_recv(context)) else {
                return Poll::Pending;
            };
            // One that is longer than any of QUIC's is none of QUIC's.
            let Some(room) = buffer.get_mut(..datagram.len()) else { continue };
            room.copy_from_slice(&datagram);
            let len = datagram.len();
            *meta = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            return Poll::Ready(Ok(1));
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The kernel is never waited for.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::ServerShell;

    #[tokio::test]
    async fn real_socket_quic_connections_that_carry_no_packets_are_closed() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let config = crate::ServerConfig { worker: 0, connections_max: 4, unix_offset_ms: 0, skew_ms: 0 };
        let mut shell = ServerShell::bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
        let address = shell.local_address().unwrap();
        tokio::spawn(shell.quic_door().unwrap().serve(certificate));
        let strangers = async {
            for malformed in [Vec::new(), vec![1; UDP_PAYLOAD_MAX + 1]] {
                let connection = connect(address).await.unwrap();
                assert!(connection.max_datagram_size().is_some_and(|size| size > UDP_PAYLOAD_MAX));
                connection.send_datagram(malformed.into()).unwrap();
                connection.closed().await;
            }
        };
        let node = async {
            while shell.server.counters().streams_malformed < 2 {
                shell.wait_until(shell.now() + 1_000).await.unwrap();
            }
        };
        // One that is lost on the way is lost for good, which loopback does not do to so few.
        let both = async { tokio::join!(strangers, node) };
        timeout(Duration::from_secs(60), both).await.expect("they are closed");
        assert_eq!(shell.server.counters().streams_opened, 2);
        assert_eq!(shell.server.counters().datagrams_in, 0);
    }

    #[test]
    fn datagrams_of_our_own_to_a_node_are_none_of_quic() {
        use crate::handshake::{KIND_CONNECT, KIND_HELLO};
        for first in [crate::packet::TO_SERVER, KIND_HELLO, KIND_CONNECT] {
            assert!(!QuicInlet::is_quic(&[first, 1, 2]));
        }
        assert!(!QuicInlet::is_quic(&[]));
        // Long and short headers.
        assert!(QuicInlet::is_quic(&[0xC3]) && QuicInlet::is_quic(&[0x41]));
    }
}
