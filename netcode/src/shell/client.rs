//! A client on a UDP socket, or on the stream that it takes when nobody answers there.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bad_path::BadPath;
use super::batch::BatchSocket;
use super::carry::FromStream;
use super::clock::{Clock, unix_ms};
use super::streams::{Sent, Streams};
use crate::link::{LinkConfig, LinkStats};
use crate::time::Millis;
use crate::{Client, ClientConfig, Room, Transmit, system_random};

/// A player's feed comes one datagram a tick; a keyframe comes in a burst.
const BATCH: usize = 4;
const STUCK_MS: u64 = 1;

/// A socket, perhaps a stream, a clock and a client.
pub struct ClientShell {
    /// The state machine; events are polled and messages queued here.
    pub client: Client,
    socket: BatchSocket,
    streams: Streams,
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
        let wants_v6 = config.token_file.addresses.first().is_some_and(SocketAddr::is_ipv6);
        let family: SocketAddr = match wants_v6 {
            true => (Ipv6Addr::UNSPECIFIED, 0).into(),
            false => (Ipv4Addr::UNSPECIFIED, 0).into(),
        };
        let socket = BatchSocket::bind(family, BATCH).await?;
        let client = Client::new(config, clock.now(), system_random());
        Ok(Self { client, socket, streams: Streams::new(), clock, family, bad_path: None })
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
    /// clients. Streams do not. What is on its way over an earlier link is lost.
    pub fn set_link(&mut self, config: LinkConfig, seed: u64) {
        self.bad_path = Some(Box::new(BadPath::new(config, seed)));
    }

    /// What the bad link did, both ways together; all 0 without one.
    pub fn link_stats(&self) -> LinkStats {
        self.bad_path.as_ref().map(|path| path.stats()).unwrap_or_default()
    }

    /// Whether something that was said is still on its way over the bad link to the socket, or waits for a stream.
    pub fn is_under_way(&self) -> bool {
        self.bad_path.as_ref().is_some_and(|path| path.next_up().is_some()) || self.streams.is_under_way()
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
            let (socket, streams) = (&self.socket, &mut self.streams);
            let ready = async {
                tokio::select! {
                    _ = socket.readable() => {}
                    () = streams.ready() => {}
                }
            };
            let _ = tokio::time::timeout_at(self.clock.instant(until).into(), ready).await;
        }
    }

    /// Takes in what socket and stream hold, without waiting; gives how many packets reached the client.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<usize> {
        let now = self.now();
        let of_streams = self.drain_streams(now);
        let Some(path) = &mut self.bad_path else {
            let came =
                self.socket.drain(|from, datagram| self.client.handle_datagram(now, from, datagram))?;
            return Ok(of_streams + came);
        };
        self.socket.drain(|from, datagram| path.take_in(now, from, datagram))?;
        Ok(of_streams + path.deliver(now, &mut self.client))
    }

    /// Sends what the client has to say; gives how many datagrams went. Needs a tokio runtime: streams are begun here.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn flush(&mut self) -> io::Result<usize> {
        let now = self.now();
        let Self { client, socket, streams, bad_path, .. } = self;
        let mut next = |out: &mut Vec<u8>| loop {
            let transmit = client.poll_transmit(now, out)?;
            if !transmit.to.is_carried() {
                return Some(transmit.to.address);
            }
            send_on_stream(now, client, streams, &transmit, out);
        };
        let Some(path) = bad_path else { return socket.flush(next) };
        let mut datagram = Vec::new();
        while let Some(to) = next(&mut datagram) {
            path.set_out(now, to, &datagram);
        }
        socket.flush(|out| path.poll_up(now, out))
    }

    fn drain_streams(&mut self, now: Millis) -> usize {
        let mut told = self.streams.take();
        let came = told.len();
        for told in told.drain(..) {
            match told {
                // Nobody begins streams to a client.
                FromStream::Opened { .. } => {}
                FromStream::Packet { stream, mut bytes } => {
                    if let Some(path) = self.streams.get(stream).map(|stream| stream.path) {
                        self.client.handle_datagram(now, path, &mut bytes);
                    }
                }
                FromStream::Lost { stream, .. } => {
                    self.streams.remove(stream);
                    self.client.handle_lost_stream(now, stream);
                }
            }
        }
        self.streams.recycle(told);
        while self.streams.poll_room().is_some() {
            self.client.set_room(Room::Free);
        }
        came
    }
}

/// Hands a packet to its stream, which is begun with the first one; the one before it is let go of.
fn send_on_stream(
    now: Millis,
    client: &mut Client,
    streams: &mut Streams,
    transmit: &Transmit,
    packet: &[u8],
) {
    let stream = transmit.to.stream;
    if streams.newest() < stream {
        streams.keep_only(stream);
        streams.begin(now, transmit.to);
    }
    match streams.send(&transmit.to, transmit.connection, packet) {
        Sent::Gone => {}
        Sent::Last => client.set_room(Room::None),
        Sent::Lost => client.handle_lost_stream(now, stream),
    }
}
