//! Where streams come in: a small task beside the worker, which accepts them and hands whole packets over, so that no
//! stranger's connection costs the worker more than a stranger's datagram.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::carry::{Carrier, FromStream, pipe, set_up};
use super::streams::UNPROVEN_MS;
use super::websocket::{Certificate, TLS_HANDSHAKE};
use crate::{Path, Transport};

/// Streams that have shown no session yet, of one worker; a further one is closed at once.
pub const UNPROVEN_STREAMS_MAX: usize = 512;

/// The same of one address (of one network of 64 bits, with IPv6).
pub const UNPROVEN_STREAMS_PER_ADDRESS_MAX: usize = 64;

/// Pause after the system could not accept: it has no more files.
const BREATH: Duration = Duration::from_millis(50);

/// Which streams are accepted on one socket; they tell themselves apart by their first byte.
#[derive(Clone, Debug, Default)]
pub struct StreamOffer {
    /// Packets over TCP.
    pub tcp: bool,
    /// Packets over WebSockets in TLS, with what the node shows there.
    pub websocket: Option<Certificate>,
}

impl StreamOffer {
    /// Whether there is no reason to listen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.tcp && self.websocket.is_none()
    }
}

/// The way into a worker for streams.
#[derive(Clone)]
pub struct StreamDoor {
    to_shell: mpsc::Sender<FromStream>,
    room: Arc<Notify>,
    next_stream: Arc<AtomicU64>,
    unproven: Arc<Mutex<Unproven>>,
    turned_away: Arc<TurnedAway>,
}

/// Streams that the shell never heard of.
#[derive(Default)]
struct TurnedAway {
    refused: AtomicU64,
    cut: AtomicU64,
}

/// How many streams have shown no session yet.
#[derive(Default)]
struct Unproven {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the unproven streams, given back when it is dropped; none on the side that connects.
pub(super) struct Permit(Option<(Arc<Mutex<Unproven>>, IpAddr)>);

impl StreamDoor {
    pub(super) fn new(to_shell: mpsc::Sender<FromStream>, room: Arc<Notify>) -> Self {
        Self {
            to_shell,
            room,
            next_stream: Arc::new(AtomicU64::new(1)),
            unproven: Arc::default(),
            turned_away: Arc::default(),
        }
    }

    /// How many streams were closed at once because there were too many or they are not offered, and how many were cut
    /// before they were streams of packets, since the last time.
    pub(super) fn take_turned_away(&self) -> (u64, u64) {
        let TurnedAway { refused, cut } = &*self.turned_away;
        (refused.swap(0, Ordering::Relaxed), cut.swap(0, Ordering::Relaxed))
    }

    /// Accepts the streams that are offered for as long as it is polled. Needs a tokio runtime, best another one than
    /// the worker's: what strangers do costs its threads, and the worker only whole packets.
    pub async fn serve(self, listener: TcpListener, offer: StreamOffer) {
        loop {
            match listener.accept().await {
                Ok((tcp, from)) => match self.enter(from.ip()) {
                    Some(permit) => drop(tokio::spawn(self.clone().welcome(tcp, offer.clone(), permit))),
                    None => self.refuse(),
                },
                // That of a peer that is gone already; or there are no files left, which takes a while to change.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }

    async fn welcome(self, tcp: TcpStream, offer: StreamOffer, permit: Permit) {
        let Ok(from) = tcp.peer_addr().and_then(|from| set_up(&tcp).map(|()| from)) else { return };
        let until = Instant::now() + Duration::from_millis(UNPROVEN_MS);
        let mut first = [0];
        let Ok(Ok(1)) = timeout_at(until, tcp.peek(&mut first)).await else { return self.cut() };
        match (offer.websocket, first) {
            (Some(certificate), [TLS_HANDSHAKE]) => {
                let accepted = timeout_at(until, certificate.accept(tcp)).await;
                let Ok(Ok(socket)) = accepted else { return self.cut() };
                if let Some(carrier) = self.open(from, Transport::WebSocket, permit).await {
                    carrier.carry_websocket(socket).await;
                }
            }
            (_, _) if offer.tcp => {
                if let Some(carrier) = self.open(from, Transport::Tcp, permit).await {
                    carrier.carry_tcp(tcp).await;
                }
            }
            (_, _) => self.refuse(),
        }
    }

    pub(super) fn refuse(&self) {
        self.turned_away.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn cut(&self) {
        self.turned_away.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the shell of a stream; nothing if the shell is gone.
    pub(super) async fn open(
        self,
        address: SocketAddr,
        transport: Transport,
        permit: Permit,
    ) -> Option<Carrier> {
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let (outlet, carrier) = pipe(stream, self.to_shell.clone(), self.room);
        let opened = FromStream::Opened { path: Path { address, transport, stream }, outlet, permit };
        self.to_shell.send(opened).await.ok().map(|()| carrier)
    }

    /// A place for a stream from `address`, if one is free.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Permit> {
        let network = network_of(address);
        let mut unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        if unproven.total >= UNPROVEN_STREAMS_MAX {
            return None;
        }
        let of_address = unproven.by_address.entry(network).or_default();
        if *of_address >= UNPROVEN_STREAMS_PER_ADDRESS_MAX {
            return None;
        }
        *of_address += 1;
        unproven.total += 1;
        Some(Permit(Some((Arc::clone(&self.unproven), network))))
    }
}

impl Permit {
    /// That of a stream that we began ourselves.
    pub(super) fn own() -> Self {
        Self(None)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((unproven, address)) = self.0.take() else { return };
        let mut unproven = unproven.lock().unwrap_or_else(PoisonError::into_inner);
        unproven.total = unproven.total.saturating_sub(1);
        if let Some(count) = unproven.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                unproven.by_address.remove(&address);
            }
        }
    }
}

/// What one owner holds: an address, or with IPv6 a network of 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> StreamDoor {
        StreamDoor::new(mpsc::channel(1).0, Arc::default())
    }

    #[test]
    fn an_address_and_all_together_have_so_many_places_and_get_them_back() {
        let door = door();
        let home: IpAddr = "192.0.2.1".parse().unwrap();
        let mut held: Vec<_> = std::iter::from_fn(|| door.enter(home)).collect();
        assert_eq!(held.len(), UNPROVEN_STREAMS_PER_ADDRESS_MAX);
        held.pop();
        assert!(door.enter(home).is_some(), "and it is given back at once");
        let others = (0..=255).flat_map(|number| {
            let address: IpAddr = [198, 51, 100, number].into();
            (0..3).map_while(|_| door.enter(address)).collect::<Vec<_>>()
        });
        held.extend(others.collect::<Vec<_>>());
        assert_eq!(held.len(), UNPROVEN_STREAMS_MAX);
        assert!(door.enter("203.0.113.1".parse().unwrap()).is_none());
        held.clear();
        assert!(door.unproven.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_owner_and_a_mapped_address_as_itself() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
