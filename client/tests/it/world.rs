//! One host, some players, two bad links, one clock.

use std::net::SocketAddr;

use tiltyard_client::{Bot, Pace, Player, PlayerSettings, Script, client_config};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{BattleSpec, Game, Registry, SeatRole, math};
use tiltyard_netcode::link::{Link, LinkConfig};
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{BattleId, Epoch, Feed, HostedBattle, LaneWish, Millis, ServerConfig};

use crate::host::Host;

const UNIX_AT_ZERO: u64 = 1_700_000_000_000;
pub(crate) const BATTLE: BattleId = BattleId(77);
const NODE: &str = "192.0.2.200:4000";

/// How a player of a test takes part.
pub(crate) struct Setup {
    pub(crate) settings: PlayerSettings,
    pub(crate) script: Box<dyn Script<Skirmish>>,
}

impl Setup {
    pub(crate) fn bot(feed: Feed, lane: LaneWish) -> Self {
        let settings = PlayerSettings { feed, lane, ..PlayerSettings::default() };
        Self { settings, script: Box::new(Bot) }
    }

    pub(crate) fn prompt(feed: Feed, lane: LaneWish) -> Self {
        let settings = PlayerSettings { feed, lane, pace: Pace::Prompt, ..PlayerSettings::default() };
        Self { settings, script: Box::new(Bot) }
    }
}

pub(crate) struct House {
    pub(crate) now: Millis,
    pub(crate) host: Host<Skirmish>,
    pub(crate) players: Vec<Player<Skirmish>>,
    pub(crate) up: Link<(SocketAddr, SocketAddr)>,
    pub(crate) down: Link<(SocketAddr, SocketAddr)>,
    buffer: Vec<u8>,
}

pub(crate) fn server_config() -> ServerConfig {
    ServerConfig {
        worker: 0,
        connections_max: 100,
        unix_offset_ms: UNIX_AT_ZERO as i64 - 1_000_000,
        skew_ms: 0,
    }
}

/// A battle of two teams of two seats that players may take at `node`, and a token for each of the first seats; the
/// other seats are played by the host.
pub(crate) fn battle(
    seconds: u32,
    seed: u64,
    players: usize,
    node: SocketAddr,
) -> (Host<Skirmish>, Vec<TokenFile>) {
    let mut mode = Skirmish::modes().remove(0);
    (mode.seats_per_team, mode.seconds) = (2, seconds);
    let mut spec = BattleSpec::<Skirmish>::bots(&mode, seed);
    for seat in spec.roster.seats.iter_mut().take(players) {
        seat.role = SeatRole::Human;
    }
    let registry = Registry::of::<Skirmish>().unwrap();
    let protocol_hash = registry.protocol_hash::<Skirmish>().0;
    let key = MasterKey::from_bytes(1, [1; 32]).battle_key(BATTLE);
    let file = |seat: u16| {
        let claims = Claims {
            player: 1_000 + u64::from(seat),
            seat,
            team: (seat % 2) as u8,
            role: Role::Player,
            protocol_hash,
            issued_unix_ms: UNIX_AT_ZERO,
            session_secret: SessionSecret::from_bytes([seat as u8; 32]),
            bytes_per_second_max: 0,
            inputs_per_second_max: 0,
            loadout_hash: [0; 32],
            user_data: Vec::new(),
        };
        TokenFile {
            token: mint(&key, [seat as u8; 16], UNIX_AT_ZERO + 60_000, &claims),
            session_secret: claims.session_secret,
            addresses: vec![node],
        }
    };
    let files = (0..players as u16).map(file).collect();
    let hosted = HostedBattle {
        keys: vec![key.clone()],
        epoch: Epoch(5),
        protocol_hash,
        rate_hz: 30,
        math_hash: math::self_test_hash(),
        hides: false,
    };
    (Host::new(server_config(), BATTLE, hosted, spec), files)
}

impl House {
    pub(crate) fn new(seconds: u32, link: LinkConfig, seed: u64, setups: Vec<Setup>) -> Self {
        let now = Millis(1_000_000);
        let (host, files) = battle(seconds, seed, setups.len(), NODE.parse().unwrap());
        let players = setups.into_iter().zip(files).enumerate().map(|(number, (setup, file))| {
            let mut config = client_config::<Skirmish>(file, &setup.settings);
            config.connect_sequence = 1;
            Player::new(config, setup.settings, setup.script, now, [number as u8; 32])
        });
        Self {
            now,
            players: players.collect(),
            host,
            up: Link::new(link, seed),
            down: Link::new(link, seed ^ 0xFFFF),
            buffer: Vec::new(),
        }
    }

    fn address(number: usize) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, number as u8 + 1], 5_000))
    }

    /// Runs for a time.
    pub(crate) fn run_for(&mut self, ms: u64) {
        for _ in 0..ms {
            self.turn();
        }
    }

    /// Runs until all players are through, for a time at most.
    pub(crate) fn run_to_the_end(&mut self, ms_max: u64) {
        for _ in 0..ms_max {
            if self.players.iter().all(|player| player.pilot().is_over()) {
                return;
            }
            self.turn();
        }
        let reports: Vec<_> = self.players.iter().map(|player| player.report(self.now).over).collect();
        panic!("not over after {ms_max} ms at tick {:?}: {reports:?}", self.host.battle.tick());
    }

    fn turn(&mut self) {
        self.now = self.now + 1;
        let now = self.now;
        while let Some((from, _)) = self.up.receive(now, &mut self.buffer) {
            self.host.server.handle_datagram(now, from, &mut self.buffer);
        }
        self.host.turn(now);
        while let Some(transmit) = self.host.server.poll_transmit(now, &mut self.buffer) {
            self.down.send(now, (NODE.parse().unwrap(), transmit.to.address), &self.buffer);
        }
        while let Some((from, to)) = self.down.receive(now, &mut self.buffer) {
            let number = usize::from(match to {
                SocketAddr::V4(to) => to.ip().octets()[3] - 1,
                SocketAddr::V6(_) => unreachable!("players live on version 4"),
            });
            self.players[number].handle_datagram(now, from, &mut self.buffer);
        }
        for (number, player) in self.players.iter_mut().enumerate() {
            if player.poll_timeout(now).is_some_and(|at| at <= now) {
                player.handle_timeout(now);
            }
            while let Some(transmit) = player.poll_transmit(now, &mut self.buffer) {
                self.up.send(now, (Self::address(number), transmit.to.address), &self.buffer);
            }
        }
    }

    /// Everybody heard the end, and no state differed.
    pub(crate) fn assert_in_step(&self) {
        for (seat, player) in self.players.iter().enumerate() {
            let report = player.report(self.now);
            let ended = report.ended().unwrap_or_else(|| panic!("seat {seat}: {:?}", report.over));
            assert_eq!(ended.final_hash, self.host.battle.state_hash(), "seat {seat}");
            assert_eq!(ended.outcome, self.host.battle.outcome(), "seat {seat}");
        }
        self.assert_states_agree();
    }

    /// No state differed from the host's, and the newest is the host's of that tick.
    pub(crate) fn assert_states_agree(&self) {
        for (seat, player) in self.players.iter().enumerate() {
            let report = player.report(self.now);
            let troubles = (report.desyncs, report.misread, report.faults, report.outdated);
            assert_eq!(troubles, (0, 0, 0, 0), "seat {seat}: {report:?}");
            assert_ne!(report.agrees, Some(false), "seat {seat}");
            let (Some(newest), Some(here)) = (report.newest_tick, report.state_hash) else {
                panic!("seat {seat} saw no state: {report:?}");
            };
            assert_eq!(here, self.host.hashes[newest.0 as usize - 1], "seat {seat}, tick {}", newest.0);
        }
    }
}
