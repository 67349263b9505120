//! A server on a UDP socket, for a worker's own thread.

use std::io;
use std::net::SocketAddr;

use super::batch::{BATCH_MAX, BatchSocket};
use super::clock::Clock;
use crate::time::Millis;
use crate::{Server, ServerConfig, system_random};

/// How often the wall clock is looked at; what it says matters for tokens alone.
const WALL_CLOCK_MS: u64 = 10_000;
/// Pause before the kernel is asked again for room to send.
const STUCK_MS: u64 = 1;

/// A socket, a clock and a server. Runs on a current-thread runtime with I/O and time.
pub struct ServerShell {
    /// The state machine; events are polled and messages queued here.
    pub server: Server,
    socket: BatchSocket,
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
        Ok(Self { server: Server::new(config, system_random()), socket, clock, wall_clock_at: clock.now() })
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
            // Also when strangers keep the socket busy: what is due waits for no silence.
            self.server.handle_timeout(self.now());
            if came > 0 {
                return Ok(());
            }
            self.flush()?;
            let now = self.now();
            if now >= deadline {
                return Ok(());
            }
            let mut until = self.server.poll_timeout().map_or(deadline, |at| at.min(deadline));
            if self.socket.is_stuck() {
                until = until.min(now + STUCK_MS);
            }
            // Running out of time is what a timer is for; readiness is looked at by `drain`.
            let _ = tokio::time::timeout_at(self.clock.instant(until).into(), self.socket.readable()).await;
        }
    }

    /// Takes in what the socket holds, without waiting; gives how many datagrams.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<usize> {
        let now = self.now();
        if now.since(self.wall_clock_at) >= WALL_CLOCK_MS {
            self.wall_clock_at = now;
            self.server.set_unix_offset(self.clock.unix_offset_ms());
        }
        self.socket.drain(|from, datagram| self.server.handle_datagram(now, from, datagram))
    }

    /// Sends what the server has to say; gives how many datagrams went.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn flush(&mut self) -> io::Result<usize> {
        let now = self.now();
        self.socket.flush(|out| self.server.poll_transmit(now, out).map(|transmit| transmit.to.address))
    }
}
