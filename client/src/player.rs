//! A player as a state machine: a session and its pilot. Time and datagrams come in, datagrams go out.

use std::net::SocketAddr;

use tiltyard_engine::Game;
use tiltyard_netcode::{Client, ClientConfig, Millis, Transmit, Transport, TransportWish};

use crate::pilot::Pilot;
use crate::script::Script;
use crate::settings::PlayerSettings;
use crate::statistics::Report;

/// A player without a socket or a clock.
pub struct Player<G: Game> {
    client: Client,
    pilot: Pilot<G>,
}

impl<G: Game> Player<G> {
    /// A player that begins its handshake, over datagrams alone; `config` is best made by [`client_config`](crate::client_config), with a
    /// `connect_sequence` higher than in every earlier attempt with this token. `seed` must come from a
    /// cryptographic generator.
    #[must_use]
    pub fn new(
        mut config: ClientConfig,
        settings: PlayerSettings,
        script: Box<dyn Script<G>>,
        now: Millis,
        seed: [u8; 32],
    ) -> Self {
        config.transport = TransportWish::Only(Transport::Udp);
        Self { client: Client::new(config, now, seed), pilot: Pilot::new(settings, script, now) }
    }

    /// Takes a datagram from the socket; it is decrypted in place.
    pub fn handle_datagram(&mut self, now: Millis, from: SocketAddr, datagram: &mut [u8]) {
        self.client.handle_datagram(now, from, datagram);
        self.pilot.handle_events(now, &mut self.client);
    }

    /// Lets everything act that is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.client.handle_timeout(now);
        self.pilot.handle_events(now, &mut self.client);
        self.pilot.handle_timeout(now, &mut self.client);
    }

    /// Leaves the battle, which goes on.
    pub fn leave(&mut self, now: Millis) {
        self.pilot.leave(now, &mut self.client);
    }

    /// Writes the next datagram for the socket into `out` (what was in it is gone); nothing when all is said.
    pub fn poll_transmit(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<Transmit> {
        self.client.poll_transmit(now, out)
    }

    /// When `handle_timeout` and `poll_transmit` want to be called, at the latest; nothing when all is over.
    #[must_use]
    pub fn poll_timeout(&self, now: Millis) -> Option<Millis> {
        [self.client.poll_timeout(now), self.pilot.poll_timeout()].into_iter().flatten().min()
    }

    /// What the player saw and did so far.
    #[must_use]
    pub fn report(&self, now: Millis) -> Report {
        self.pilot.report(now, &self.client)
    }

    /// The pilot: seat, mirror, newest tick.
    #[must_use]
    pub fn pilot(&self) -> &Pilot<G> {
        &self.pilot
    }

    /// Whether the battle is over for the player and everything is said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.pilot.is_over() && self.client.is_over()
    }
}
