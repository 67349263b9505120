//! The harness: one server, some clients, two bad links, one clock.

use std::net::SocketAddr;

use crate::connection::CloseReason;
use crate::link::{Link, LinkConfig};
use crate::time::Millis;
use crate::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use crate::{
    BattleId, Client, ClientConfig, ClientEvent, ConnectedClient, ConnectionId, DenyReason, Epoch, Feed,
    HostedBattle, Lane, LaneWish, Server, ServerConfig, ServerEvent, Transport, TransportWish,
};

pub(super) const UNIX_AT_ZERO: u64 = 1_700_000_000_000;
pub(super) const PROTOCOL: [u8; 16] = [0xC3; 16];
pub(super) const MATH: u64 = 0x1234_5678_9ABC_DEF0;
pub(super) const BATTLE: BattleId = BattleId(77);

/// What the server said to its application, in order, with message bytes copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Connected(ConnectedClient),
    Message(ConnectionId, Lane, Vec<u8>),
    Disconnected(ConnectionId, u16, CloseReason),
}

/// The same of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Accepted(ConnectionId, Epoch, u32),
    Denied(DenyReason),
    Message(Lane, Vec<u8>),
    Closed(CloseReason),
}

pub(super) struct Player {
    pub(super) client: Client,
    pub(super) address: SocketAddr,
    pub(super) told: Vec<Told>,
    /// A player who does not look at what comes.
    pub(super) reads: bool,
}

pub(super) struct World {
    pub(super) now: Millis,
    pub(super) server: Server,
    pub(super) server_address: SocketAddr,
    pub(super) players: Vec<Player>,
    pub(super) heard: Vec<Heard>,
    pub(super) up: Link<(SocketAddr, SocketAddr)>,
    pub(super) down: Link<(SocketAddr, SocketAddr)>,
    buffer: Vec<u8>,
}

pub(super) fn master(kid: u32) -> MasterKey {
    MasterKey::from_bytes(kid, [kid as u8; 32])
}

pub(super) fn claims(seat: u16) -> Claims {
    Claims {
        player: 1_000 + u64::from(seat),
        seat,
        team: (seat % 2) as u8,
        role: Role::Player,
        protocol_hash: PROTOCOL,
        issued_unix_ms: UNIX_AT_ZERO,
        session_secret: SessionSecret::from_bytes([seat as u8; 32]),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    }
}

pub(super) fn hosted() -> HostedBattle {
    HostedBattle {
        keys: vec![master(1).battle_key(BATTLE), master(2).battle_key(BATTLE)],
        epoch: Epoch(5),
        protocol_hash: PROTOCOL,
        rate_hz: 30,
        math_hash: MATH,
        hides: false,
    }
}

/// A client's configuration with a token of key 1 that is good for a minute.
pub(super) fn config(claims: &Claims) -> ClientConfig {
    config_under(1, BATTLE, claims, UNIX_AT_ZERO + 60_000)
}

pub(super) fn config_under(kid: u32, battle: BattleId, claims: &Claims, expires: u64) -> ClientConfig {
    ClientConfig {
        token_file: TokenFile {
            token: mint(&master(kid).battle_key(battle), [claims.seat as u8; 16], expires, claims),
            session_secret: claims.session_secret.clone(),
            addresses: vec!["192.0.2.200:4000".parse().unwrap()],
        },
        feed: Feed::Snapshot,
        lane: LaneWish::Auto,
        protocol_hash: PROTOCOL,
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(Transport::Udp),
        connect_sequence: 1,
    }
}

impl World {
    pub(super) fn new(link: LinkConfig, seed: u64) -> Self {
        let server_config = ServerConfig {
            worker: 3,
            connections_max: 100,
            unix_offset_ms: UNIX_AT_ZERO as i64 - 1_000_000,
            skew_ms: 0,
        };
        let mut server = Server::new(server_config, [7; 32]);
        server.host(BATTLE, hosted());
        server.set_tick(BATTLE, 42);
        Self {
            now: Millis(1_000_000),
            server,
            server_address: "192.0.2.200:4000".parse().unwrap(),
            players: Vec::new(),
            heard: Vec::new(),
            up: Link::new(link, seed),
            down: Link::new(link, seed ^ 0xFFFF),
            buffer: Vec::new(),
        }
    }

    pub(super) fn join(&mut self, config: ClientConfig) -> usize {
        let number = self.players.len();
        let address = SocketAddr::from(([198, 51, 100, number as u8 + 1], 5_000));
        let client = Client::new(config, self.now, [number as u8; 32]);
        self.players.push(Player { client, address, told: Vec::new(), reads: true });
        number
    }

    /// Joins and runs until the client is taken; gives its connection.
    pub(super) fn join_and_wait(&mut self, config: ClientConfig) -> (usize, ConnectionId) {
        let player = self.join(config);
        for _ in 0..20_000 {
            self.step();
            if let Some(Told::Accepted(connection, ..)) = self.players[player].told.last() {
                return (player, *connection);
            }
        }
        panic!("not accepted: {:?}", self.players[player].told);
    }

    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    /// One millisecond.
    pub(super) fn step(&mut self) {
        self.now = self.now + 1;
        let now = self.now;
        while let Some((from, to)) = self.up.receive(now, &mut self.buffer) {
            if to == self.server_address {
                self.server.handle_datagram(now, from, &mut self.buffer);
            }
        }
        while let Some((from, to)) = self.down.receive(now, &mut self.buffer) {
            if let Some(player) = self.players.iter_mut().find(|player| player.address == to) {
                player.client.handle_datagram(now, from, &mut self.buffer);
            }
        }
        self.server.handle_timeout(now);
        while let Some(transmit) = self.server.poll_transmit(now, &mut self.buffer) {
            self.down.send(now, (self.server_address, transmit.to.address), &self.buffer);
        }
        for player in &mut self.players {
            player.client.handle_timeout(now);
            while let Some(transmit) = player.client.poll_transmit(now, &mut self.buffer) {
                self.up.send(now, (player.address, transmit.to.address), &self.buffer);
            }
            while player.reads
                && let Some(event) = player.client.poll_event()
            {
                player.told.push(match event {
                    ClientEvent::Accepted { connection, epoch, tick, .. } => {
                        Told::Accepted(connection, epoch, tick)
                    }
                    ClientEvent::Denied { reason } => Told::Denied(reason),
                    ClientEvent::Message { lane, bytes } => Told::Message(lane, bytes.to_vec()),
                    ClientEvent::Closed { reason } => Told::Closed(reason),
                });
            }
        }
        while let Some(event) = self.server.poll_event() {
            self.heard.push(match event {
                ServerEvent::Connected(client) => Heard::Connected(*client),
                ServerEvent::Message { connection, lane, bytes } => {
                    Heard::Message(connection, lane, bytes.to_vec())
                }
                ServerEvent::Disconnected { connection, seat, reason, .. } => {
                    Heard::Disconnected(connection, seat, reason)
                }
            });
        }
    }

    /// Messages that a player got on a lane.
    pub(super) fn messages(&self, player: usize, wanted: Lane) -> Vec<Vec<u8>> {
        let of_lane = |told: &Told| match told {
            Told::Message(lane, bytes) if *lane == wanted => Some(bytes.clone()),
            _ => None,
        };
        self.players[player].told.iter().filter_map(of_lane).collect()
    }

    pub(super) fn ends(&self, of: ConnectionId) -> Vec<CloseReason> {
        let end_of = |heard: &Heard| match heard {
            Heard::Disconnected(connection, _, reason) if *connection == of => Some(*reason),
            _ => None,
        };
        self.heard.iter().filter_map(end_of).collect()
    }
}
