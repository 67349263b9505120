//! A client on a UDP socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::batch::BatchSocket;
use super::clock::{Clock, unix_ms};
use super::path::BadPath;
use crate::link::{LinkConfig, LinkStats};
use crate::time::Millis;
use crate::{Client, ClientConfig, Transport, TransportWish, system_random};

/// A player's feed comes one datagram a tick; a keyframe comes in a burst.
const BATCH: usize = 4;
const STUCK_MS: u64 = 1;

/// A socket, a clock and a client.
pub struct ClientShell {
    /// The state machine; events are polled and messages queued here.
    pub client: Client,
    socket: BatchSocket,
    clock: Clock,
    family: SocketAddr,
    bad_path: Option<Box<BadPath>>,
}

impl ClientShell {
    /// Binds a socket and begins the handshake; `Accepted` or `Denied` comes as an event. A `connect_sequence` of 0 takes
    /// Unix milliseconds, which is higher than in any earlier run.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn connect(mut config: ClientConfig) -> io::Result<Self> {
        let clock = Clock::start();
        if config.connect_sequence == 0 {
            config.connect_sequence = unix_ms();
        }
        config.transport = TransportWish::Only(Transport::Udp);
        let wants_v6 = config.token_file.addresses.first().is_some_and(SocketAddr::is_ipv6);
        let family: SocketAddr = match wants_v6 {
            true => (Ipv6Addr::UNSPECIFIED, 0).into(),
            false => (Ipv4Addr::UNSPECIFIED, 0).into(),
        };
        let socket = BatchSocket::bind(family, BATCH).await?;
        let client = Client::new(config, clock.now(), system_random());
        Ok(Self { client, socket, clock, family, bad_path: None })
    }

    /// Goes on from a new socket, as after a change of network: the session stays, the node sees a new address.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn rebind(&mut self) -> io::Result<()> {
        self.socket = BatchSocket::bind(self.family, BATCH).await?;
        Ok(())
    }

    /// From now on every datagram, both ways, takes a seeded bad link before it reaches socket or client: for test
    /// clients. What is on its way over an earlier link is lost.
    pub fn set_link(&mut self, config: LinkConfig, seed: u64) {
        self.bad_path = Some(Box::new(BadPath::new(config, seed)));
    }

    /// What the bad link did, both ways together; all 0 without one.
    pub fn link_stats(&self) -> LinkStats {
        self.bad_path.as_ref().map(|path| path.stats()).unwrap_or_default()
    }

    /// Whether something that was said is still on its way over the bad link to the socket.
    pub fn is_under_way(&self) -> bool {
        self.bad_path.as_ref().is_some_and(|path| path.next_up().is_some())
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// The shell's clock.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Waits until datagrams have come in and been handled, or until `deadline`, whichever is first. Timers and what
    /// they send are served meanwhile; what is to be sent when it returns waits for `flush`.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn wait_until(&mut self, deadline: Millis) -> io::Result<()> {
        loop {
            let came = self.drain()?;
            self.client.handle_timeout(self.now());
            if came > 0 {
                return Ok(());
            }
            self.flush()?;
            let now = self.now();
            if now >= deadline {
                return Ok(());
            }
            let mut until = self.client.poll_timeout(now).map_or(deadline, |at| at.min(deadline));
            if let Some(at) = self.bad_path.as_ref().and_then(|path| path.next_arrival()) {
                until = until.min(at);
            }
            if self.socket.is_stuck() {
                until = until.min(now + STUCK_MS);
            }
            // Running out of time is what a timer is for; readiness is looked at by `drain`.
            let _ = tokio::time::timeout_at(self.clock.instant(until).into(), self.socket.readable()).await;
        }
    }

    /// Takes in what the socket holds, without waiting; gives how many datagrams reached the client.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<usize> {
        let now = self.now();
        let Some(path) = &mut self.bad_path else {
            return self.socket.drain(|from, datagram| self.client.handle_datagram(now, from, datagram));
        };
        self.socket.drain(|from, datagram| path.take_in(now, from, datagram))?;
        Ok(path.deliver(now, &mut self.client))
    }

    /// Sends what the client has to say; gives how many datagrams went.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn flush(&mut self) -> io::Result<usize> {
        let now = self.now();
        let Some(path) = &mut self.bad_path else {
            return self
                .socket
                .flush(|out| self.client.poll_transmit(now, out).map(|transmit| transmit.to.address));
        };
        path.collect(now, &mut self.client);
        self.socket.flush(|out| path.poll_up(now, out))
    }
}
