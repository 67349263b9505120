//! Where packets come from and go to: an address, and what carries them there.

use std::net::SocketAddr;

/// What carries packets. The session above is the same, but for its reliable lane: KCP on datagrams, QUIC's too, nothing
/// on a stream, which is reliable already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// A datagram for each packet.
    Udp,
    /// Packets behind each other, each behind its length.
    Tcp,
    /// A binary message for each packet, in TLS.
    WebSocket,
    /// A QUIC datagram for each packet. Only in builds with the feature `quic`.
    Quic,
}

/// Which transports a client may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportWish {
    /// UDP; if that does not answer QUIC, where it is built in; then TCP; then a WebSocket.
    #[default]
    Auto,
    /// This one or none.
    Only(Transport),
}

/// One way between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The other end.
    pub address: SocketAddr,
    /// What carries the packets.
    pub transport: Transport,
    /// Which stream or QUIC connection, among all that this end ever had; 0 for UDP.
    pub stream: u64,
}

impl Transport {
    /// Whether what it carries arrives in order and whole, or not at all.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::WebSocket)
    }

    /// Whether each session has one of its own, which lives as long as the session; UDP has one socket for all.
    #[must_use]
    pub fn is_carried(self) -> bool {
        self != Self::Udp
    }

    /// Its name in reports and on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::Quic => "quic",
        }
    }
}

impl TransportWish {
    /// The transports to try, in order.
    pub(crate) fn transports(self) -> &'static [Transport] {
        match self {
            Self::Auto if cfg!(feature = "quic") => {
                &[Transport::Udp, Transport::Quic, Transport::Tcp, Transport::WebSocket]
            }
            Self::Auto => &[Transport::Udp, Transport::Tcp, Transport::WebSocket],
            Self::Only(Transport::Udp) => &[Transport::Udp],
            Self::Only(Transport::Tcp) => &[Transport::Tcp],
            Self::Only(Transport::WebSocket) => &[Transport::WebSocket],
            Self::Only(Transport::Quic) => &[Transport::Quic],
        }
    }
}

impl Path {
    pub(crate) fn is_carried(&self) -> bool {
        self.transport.is_carried()
    }
}

/// The path of datagrams from or to an address.
impl From<SocketAddr> for Path {
    fn from(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, stream: 0 }
    }
}
