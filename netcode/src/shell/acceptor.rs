//! Where streams come in: a small task beside the worker, which accepts them and hands whole packets over, so that no
//! stranger's connection costs the worker more than a stranger's datagram.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::carry::{FromStream, pipe, set_up};
use crate::{Path, Transport};

/// Streams that have shown no session yet, of one worker; a further one is closed at once.
pub const UNPROVEN_STREAMS_MAX: usize = 512;

/// The same of one address (of one network of 64 bits, with IPv6).
pub const UNPROVEN_STREAMS_PER_ADDRESS_MAX: usize = 64;

/// Pause after the system could not accept: it has no more files.
const BREATH: Duration = Duration::from_millis(50);

/// The way into a worker for streams.
#[derive(Clone)]
pub struct StreamDoor {
    to_shell: mpsc::Sender<FromStream>,
    room: Arc<Notify>,
    next_stream: Arc<AtomicU64>,
    unproven: Arc<Mutex<Unproven>>,
    refused: Arc<AtomicU64>,
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
            refused: Arc::default(),
        }
    }

    /// Streams that were closed at once because there were too many, since the last time.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Accepts streams for as long as it is polled. Needs a tokio runtime, best another one than the worker's: what
    /// strangers do costs its threads, and the worker only whole packets.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((tcp, from)) => match self.enter(from.ip()) {
                    Some(permit) => drop(tokio::spawn(self.clone().welcome(tcp, permit))),
                    None => {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                },
                // That of a peer that is gone already; or there are no files left, which takes a while to change.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }

    async fn welcome(self, tcp: TcpStream, permit: Permit) {
        let Ok(from) = tcp.peer_addr().and_then(|from| set_up(&tcp).map(|()| from)) else { return };
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let (outlet, carrier) = pipe(stream, self.to_shell.clone(), self.room);
        let path = Path { address: from, transport: Transport::Tcp, stream };
        if self.to_shell.send(FromStream::Opened { path, outlet, permit }).await.is_ok() {
            carrier.carry_tcp(tcp).await;
        }
    }

    /// A place for a stream from `address`, if one is free.
    fn enter(&self, address: IpAddr) -> Option<Permit> {
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
