//! A server on a UDP socket and on streams, for a worker's own thread.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::acceptor::StreamDoor;
use super::batch::{BATCH_MAX, BatchSocket};
use super::carry::{FromStream, StreamEnd};
use super::clock::Clock;
#[cfg(feature = "quic")]
use super::quic::{QuicDoor, QuicInlet};
use super::streams::{Sent, Streams};
use crate::time::Millis;
use crate::{Room, Server, ServerConfig, Transmit, system_random};

/// How often the wall clock is looked at; what it says matters for tokens alone.
const WALL_CLOCK_MS: u64 = 10_000;
/// Pause before the kernel is asked again for room to send.
const STUCK_MS: u64 = 1;
/// How long what comes next is left to gather after something came: with hundreds of sessions each wake-up would bring
/// one packet, and cost more than the packet.
const GATHER: Duration = Duration::from_millis(2);

/// Streams at once, as far as there may be that many connections; a further one is closed.
const STREAMS_MAX: usize = 4_096;
/// How often streams without a session are looked for.
const SWEEP_MS: u64 = 250;

/// A socket, streams, a clock and a server. Runs on a current-thread runtime with I/O and time.
pub struct ServerShell {
    /// The state machine; events are polled and messages queued here.
    pub server: Server,
    socket: BatchSocket,
    streams: Streams,
    door: StreamDoor,
    #[cfg(feature = "quic")]
    quic: Option<QuicInlet>,
    swept_at: Millis,
    /// When something came last.
    came_at: Instant,
    clock: Clock,
    wall_clock_at: Millis,
}

impl ServerShell {
    /// Binds `address` (port 0 takes a free one). The configuration's `unix_offset_ms` is taken from the wall clock.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub async fn bind(address: SocketAddr, config: ServerConfig) -> io::Result<Self> {
        let clock = Clock::start();
        let config = ServerConfig { unix_offset_ms: clock.unix_offset_ms(), ..config };
        let socket = BatchSocket::bind(address, BATCH_MAX).await?;
        let (server, streams) = (Server::new(config, system_random()), Streams::new());
        let (door, now) = (streams.door(), clock.now());
        Ok(Self {
            server,
            socket,
            streams,
            door,
            #[cfg(feature = "quic")]
            quic: None,
            swept_at: now,
            came_at: Instant::now(),
            clock,
            wall_clock_at: now,
        })
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// The way in for streams: who serves it hands them to this worker.
    pub fn door(&self) -> StreamDoor {
        self.door.clone()
    }

    /// The way in over QUIC, at the address of the datagrams: who serves it hands its connections to this worker. An
    /// earlier one leads nowhere from then on.
    ///
    /// # Errors
    /// When the operating system gives no second handle of the socket.
    #[cfg(feature = "quic")]
    pub fn quic_door(&mut self) -> io::Result<QuicDoor> {
        let (inlet, door) = QuicInlet::new(self.socket.another_handle()?, self.door());
        self.quic = Some(inlet);
        Ok(door)
    }

    /// The shell's clock.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Waits until datagrams have come in and been handled, or until `deadline`, whichever is first; what comes within
    /// two milliseconds of what came last is taken together. Timers and what they send are served meanwhile; what
    /// is to be sent when it returns waits for `flush`.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn wait_until(&mut self, deadline: Millis) -> io::Result<()> {
        // The thread itself sleeps, as a runtime that waits for a timer wakes up for each packet. Whatever else lives on
        // the thread waits so long too, as it does while ticks are made.
        let gathered_at = (self.came_at + GATHER).min(self.clock.instant(deadline));
        let rest = gathered_at.saturating_duration_since(Instant::now());
        if !rest.is_zero() {
            std::thread::sleep(rest);
            tokio::task::yield_now().await;
        }
        loop {
            let came = self.drain()?;
            // Also when strangers keep the socket busy: what is due waits for no silence.
            self.server.handle_timeout(self.now());
            let now = self.now();
            if came > 0 {
                self.came_at = Instant::now();
                return Ok(());
            }
            self.flush()?;
            if now >= deadline {
                return Ok(());
            }
            let mut until = self.server.poll_timeout().map_or(deadline, |at| at.min(deadline));
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

    /// Takes in what socket and streams hold, without waiting; gives how many packets.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<usize> {
        let now = self.now();
        if now.since(self.wall_clock_at) >= WALL_CLOCK_MS {
            self.wall_clock_at = now;
            self.server.set_unix_offset(self.clock.unix_offset_ms());
        }
        let server = &mut self.server;
        let came = self.socket.drain(|from, datagram| {
            #[cfg(feature = "quic")]
            if let Some(quic) = self.quic.as_ref().filter(|_| QuicInlet::is_quic(datagram)) {
                server.counters_mut().quic_dropped += u64::from(!quic.give(from, datagram));
                return;
            }
            server.handle_datagram(now, from, datagram);
        })?;
        Ok(came + self.drain_streams(now))
    }

    /// Sends what the server has to say; gives how many datagrams went.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn flush(&mut self) -> io::Result<usize> {
        let now = self.now();
        let Self { server, socket, streams, .. } = self;
        socket.flush(|out| {
            loop {
                let transmit = server.poll_transmit(now, out)?;
                if !transmit.to.is_carried() {
                    return Some(transmit.to.address);
                }
                send_on_stream(now, server, streams, &transmit, out);
            }
        })
    }

    fn drain_streams(&mut self, now: Millis) -> usize {
        let Self { server, streams, .. } = self;
        let mut told = streams.take();
        let mut came = 0;
        for told in told.drain(..) {
            match told {
                FromStream::Opened { path, outlet, permit } => {
                    if streams.len() < STREAMS_MAX {
                        streams.insert(now, path, outlet, permit);
                        server.counters_mut().streams_opened += 1;
                    } else {
                        server.counters_mut().streams_refused += 1;
                    }
                }
                FromStream::Packet { stream, mut bytes } => {
                    // What a stream said that was let go of meanwhile comes to nothing.
                    if let Some(path) = streams.get(stream).map(|stream| stream.path) {
                        server.handle_datagram(now, path, &mut bytes);
                        came += 1;
                    }
                }
                FromStream::Lost { stream, end } => {
                    match end {
                        StreamEnd::Closed => {}
                        StreamEnd::Malformed => server.counters_mut().streams_malformed += 1,
                        StreamEnd::Stalled => server.counters_mut().streams_cut += 1,
                    }
                    if let Some(connection) = streams.remove(stream).and_then(|stream| stream.connection) {
                        server.handle_lost_stream(now, connection);
                        came += 1;
                    }
                }
            }
        }
        streams.recycle(told);
        while let Some(connection) = streams.poll_room() {
            server.set_room(now, connection, Room::Free);
        }
        if now.since(self.swept_at) >= SWEEP_MS {
            self.swept_at = now;
            let cut = streams.sweep(now, |connection| server.path(connection).is_some());
            let counters = server.counters_mut();
            let (refused, cut_before) = self.door.take_turned_away();
            counters.streams_cut += cut as u64 + cut_before;
            counters.streams_refused += refused;
        }
        came
    }
}

/// Hands a packet to its stream, and tells the server when the stream takes no more, or is no more.
fn send_on_stream(
    now: Millis,
    server: &mut Server,
    streams: &mut Streams,
    transmit: &Transmit,
    packet: &[u8],
) {
    match (streams.send(&transmit.to, transmit.connection, packet), transmit.connection) {
        (Sent::Gone, _) | (_, None) => {}
        (Sent::Last, Some(connection)) => server.set_room(now, connection, Room::None),
        (Sent::Lost, Some(connection)) => server.handle_lost_stream(now, connection),
    }
}
