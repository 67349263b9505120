//! A bad path between a client and its socket, for test clients: two seeded links in real time.
//!
//! ```text
//! endpoint ──▶ up   ──▶ socket
//! endpoint ◀── down ◀── socket
//! ```

use std::net::SocketAddr;

use crate::Client;
use crate::link::{Link, LinkConfig, LinkStats};
use crate::time::Millis;

pub(super) struct BadPath {
    up: Link<SocketAddr>,
    down: Link<SocketAddr>,
    datagram: Vec<u8>,
}

impl BadPath {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        // The two directions of one seed lose different datagrams.
        let (up, down) = (Link::new(config, seed), Link::new(config, !seed));
        Self { up, down, datagram: Vec::new() }
    }

    /// What came out of the socket sets out for the client.
    pub(super) fn take_in(&mut self, now: Millis, from: SocketAddr, datagram: &[u8]) {
        self.down.send(now, from, datagram);
    }

    /// Hands the client what has arrived; gives how many datagrams.
    pub(super) fn deliver(&mut self, now: Millis, client: &mut Client) -> usize {
        let mut count = 0;
        while let Some(from) = self.down.receive(now, &mut self.datagram) {
            client.handle_datagram(now, from, &mut self.datagram);
            count += 1;
        }
        count
    }

    /// A datagram of the client's sets out for the socket.
    pub(super) fn set_out(&mut self, now: Millis, to: SocketAddr, datagram: &[u8]) {
        self.up.send(now, to, datagram);
    }

    /// The next datagram that has come as far as the socket, in `out`.
    pub(super) fn poll_up(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<SocketAddr> {
        self.up.receive(now, out)
    }

    /// When the next datagram arrives at either end.
    pub(super) fn next_arrival(&self) -> Option<Millis> {
        [self.up.next_arrival(), self.down.next_arrival()].into_iter().flatten().min()
    }

    /// When the next datagram arrives at the socket.
    pub(super) fn next_up(&self) -> Option<Millis> {
        self.up.next_arrival()
    }

    pub(super) fn stats(&self) -> LinkStats {
        self.up.stats() + self.down.stats()
    }
}
