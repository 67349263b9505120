//! A battle in a box: one worker and its players over a bad network, in virtual time, by seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tiltyard_battle::{EndedBattle, Room, RoomSettings, Worker};
use tiltyard_client::{Bot, Player, PlayerSettings, client_config};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{BattleSpec, Game, Registry, SeatRole, StateHash, math};
use tiltyard_netcode::link::{Link, LinkConfig};
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{BattleId, Epoch, HostedBattle, Millis, Server, ServerConfig};

const BATTLE: BattleId = BattleId(77);
const NODE: ([u8; 4], u16) = ([127, 0, 0, 1], 9000);

/// A worker with one battle, and its players.
pub(crate) struct Field {
    pub(crate) now: Millis,
    pub(crate) server: Server,
    pub(crate) worker: Worker<Skirmish>,
    pub(crate) players: Vec<Player<Skirmish>>,
    /// The node's state hash after each tick.
    pub(crate) hashes: BTreeMap<u32, StateHash>,
    pub(crate) ended: Option<EndedBattle<Skirmish>>,
    addresses: Vec<SocketAddr>,
    up: Link<SocketAddr>,
    down: Link<SocketAddr>,
    seed: u64,
}

impl Field {
    /// A battle of the stock mode with `players` players, the other seats scripted, of `ticks` ticks.
    pub(crate) fn new(players: u16, ticks: u32, link: LinkConfig, seed: u64) -> Self {
        let mut spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], seed);
        spec.terms.ticks_max = ticks;
        for seat in spec.roster.seats.iter_mut().take(usize::from(players)) {
            seat.role = SeatRole::Human;
        }
        let settings =
            RoomSettings { wait_ms: 5000, countdown_ms: 500, keyframe_ticks: 300, catch_up_max: 5 };
        let config = ServerConfig { worker: 0, connections_max: 64, unix_offset_ms: 0, skew_ms: 1000 };
        let mut field = Self {
            now: Millis(10_000),
            server: Server::new(config, bytes(seed, 1)),
            worker: Worker::new(|| 0),
            players: Vec::new(),
            hashes: BTreeMap::new(),
            ended: None,
            addresses: Vec::new(),
            up: Link::new(link, seed ^ 0xa),
            down: Link::new(link, seed ^ 0xb),
            seed,
        };
        let hosted = HostedBattle {
            keys: vec![master().battle_key(BATTLE)],
            epoch: Epoch(1),
            protocol_hash: Registry::of::<Skirmish>()
                .expect("skirmish is sound")
                .protocol_hash::<Skirmish>()
                .0,
            rate_hz: spec.terms.rate.hz(),
            math_hash: math::self_test_hash(),
        };
        let room = Room::new(BATTLE, Epoch(1), spec, settings).expect("skirmish starts");
        field.worker.open(&mut field.server, field.now.0 * 1000, room, hosted);
        field
    }

    /// A player takes a seat; gives its number.
    pub(crate) fn join(&mut self, seat: u16, settings: PlayerSettings) -> usize {
        let number = self.players.len();
        let mut config = client_config::<Skirmish>(token(seat), &settings);
        config.connect_sequence = number as u64 + 1;
        let player =
            Player::new(config, settings, Box::new(Bot), self.now, bytes(self.seed, 100 + number as u64));
        self.players.push(player);
        self.addresses.push(SocketAddr::from(([127, 0, 0, 2], 1000 + number as u16)));
        number
    }

    /// From now on the player's datagrams come from another port.
    pub(crate) fn move_player(&mut self, number: usize) {
        let port = self.addresses[number].port() + 1000;
        self.addresses[number].set_port(port);
    }

    /// Makes the network better or worse.
    pub(crate) fn set_link(&mut self, link: LinkConfig) {
        self.up.set_config(link);
        self.down.set_config(link);
    }

    pub(crate) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    /// Runs until the battle and all its players are through, or for a virtual minute at most.
    pub(crate) fn run_to_end(&mut self) {
        for _ in 0..60_000 {
            self.step();
            if self.ended.is_some() && self.players.iter().all(Player::is_over) {
                return;
            }
        }
        panic!("the battle or a player did not come to an end");
    }

    fn step(&mut self) {
        self.now = self.now + 1;
        let mut datagram = Vec::new();
        for (player, from) in self.players.iter_mut().zip(&self.addresses) {
            player.handle_timeout(self.now);
            while player.poll_transmit(self.now, &mut datagram).is_some() {
                self.up.send(self.now, *from, &datagram);
            }
        }
        while let Some(from) = self.up.receive(self.now, &mut datagram) {
            self.server.handle_datagram(self.now, from, &mut datagram);
        }
        self.server.handle_timeout(self.now);
        self.worker.poll(&mut self.server, self.now.0 * 1000);
        if let Some(ended) = self.worker.poll_ended() {
            self.hashes.insert(ended.end.tick.0, ended.end.final_hash);
            self.ended = Some(ended);
        }
        for room in self.worker.rooms() {
            self.hashes.insert(room.battle().tick().0, room.battle().state_hash());
        }
        while let Some(transmit) = self.server.poll_transmit(self.now, &mut datagram) {
            self.down.send(self.now, transmit.to, &datagram);
        }
        while let Some(to) = self.down.receive(self.now, &mut datagram) {
            if let Some(number) = self.addresses.iter().position(|address| *address == to) {
                self.players[number].handle_datagram(self.now, SocketAddr::from(NODE), &mut datagram);
            }
        }
        self.compare();
    }

    /// Whatever a player shows is what the node had at that tick.
    fn compare(&self) {
        for (number, player) in self.players.iter().enumerate() {
            let Some(mirror) = player.pilot().mirror() else { continue };
            if let Some(expected) = self.hashes.get(&mirror.tick().0) {
                assert_eq!(mirror.state_hash(), *expected, "player {number} at tick {}", mirror.tick());
            }
        }
    }
}

fn master() -> MasterKey {
    MasterKey::from_bytes(1, [8; 32])
}

/// A token file for a seat of the field's battle; asking again gives the same one.
fn token(seat: u16) -> TokenFile {
    let secret = SessionSecret::from_bytes([seat as u8; 32]);
    let claims = Claims {
        player: u64::from(seat),
        seat,
        team: 0,
        role: Role::Player,
        protocol_hash: Registry::of::<Skirmish>().expect("skirmish is sound").protocol_hash::<Skirmish>().0,
        issued_unix_ms: 0,
        session_secret: secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let token = mint(&master().battle_key(BATTLE), [seat as u8; 16], 10_000_000, &claims);
    TokenFile { token, session_secret: secret, addresses: vec![SocketAddr::from(NODE)] }
}

fn bytes(seed: u64, stream: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    bytes
}
