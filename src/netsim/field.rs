//! A battle in a box: one worker and its players, each over a bad link of its own, in virtual time, by seed.
//!
//! The parts are the real ones: the node's worker, room and endpoint, the client's endpoint and pilot. Only sockets and
//! clocks are missing. Time goes from one moment in which something is due to the next, so that a quiet network costs
//! nothing; the same seed is the same run, to the last datagram.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tiltyard_battle::{EndedBattle, Room, RoomSettings, Worker};
use tiltyard_client::{Bot, Latencies, Player, PlayerSettings, client_config};
use tiltyard_engine::{BattleSpec, Game, Registry, Roster, SeatRole, StartError, StateHash, Tick, math};
use tiltyard_netcode::link::{Link, LinkConfig, LinkStats};
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{BattleId, Epoch, HostedBattle, Millis, Server, ServerConfig};

const BATTLE: BattleId = BattleId(77);
const NODE: ([u8; 4], u16) = ([127, 0, 0, 1], 9000);
/// When a field begins: not at 0, which would hide what counts from there.
const BEGIN: Millis = Millis(10_000);

/// A worker with one battle, and its players.
pub struct Field<G: Game> {
    now: Millis,
    server: Server,
    worker: Worker<G>,
    homes: Vec<Home<G>>,
    /// Who sends from an address, or did.
    addresses: BTreeMap<SocketAddr, usize>,
    /// When each tick was made and the node's state hash after it; tick 1 comes first.
    made: Vec<(Millis, StateHash)>,
    ended: Option<EndedBattle<G>>,
    state_age: Latencies,
    differing: u64,
    link: LinkConfig,
    seed: u64,
}

/// A player, and the way to it.
struct Home<G: Game> {
    player: Player<G>,
    address: SocketAddr,
    /// How often the address has changed.
    moves: u16,
    up: Link<SocketAddr>,
    down: Link<SocketAddr>,
    /// When the player wants to be called next.
    due: Option<Millis>,
    /// The newest state that was compared with the node's.
    compared: Tick,
}

/// A battle of the game's first mode for so many players: the mode's other seats are scripted, and where it has too few
/// there are more of the same.
#[must_use]
pub fn spec_for<G: Game>(players: u16, ticks: u32, seed: u64) -> BattleSpec<G> {
    let mode = &G::modes()[0];
    let mut spec = BattleSpec::<G>::bots(mode, seed);
    spec.terms.ticks_max = ticks;
    if spec.roster.len() < usize::from(players) {
        spec.roster = Roster::bots(mode.teams, players.div_ceil(u16::from(mode.teams.max(1))));
    }
    for seat in spec.roster.seats.iter_mut().take(usize::from(players)) {
        seat.role = SeatRole::Human;
    }
    spec
}

impl<G: Game> Field<G> {
    /// A battle that waits for its players; every link is like `link` until told otherwise.
    ///
    /// # Errors
    /// If the battle cannot start from its spec.
    pub fn new(spec: BattleSpec<G>, link: LinkConfig, seed: u64) -> Result<Self, StartError> {
        let settings = RoomSettings {
            wait_ms: 5000,
            countdown_ms: 500,
            keyframe_ticks: 300,
            snapshot_ticks: 0,
            catch_up_max: 5,
        };
        let config = ServerConfig { worker: 0, connections_max: 4096, unix_offset_ms: 0, skew_ms: 1000 };
        let hosted = HostedBattle {
            keys: vec![master().battle_key(BATTLE)],
            epoch: Epoch(1),
            protocol_hash: protocol_hash::<G>(),
            rate_hz: spec.terms.rate.hz(),
            math_hash: math::self_test_hash(),
            hides: spec.hides(),
        };
        let mut room = Room::new(BATTLE, Epoch(1), spec, settings)?;
        room.draw_from(bytes(seed, 2));
        let mut server = Server::new(config, bytes(seed, 1));
        let mut worker = Worker::new(|| 0);
        worker.open(&mut server, BEGIN.0 * 1000, room, hosted);
        Ok(Self {
            now: BEGIN,
            server,
            worker,
            homes: Vec::new(),
            addresses: BTreeMap::new(),
            made: Vec::new(),
            ended: None,
            state_age: Latencies::default(),
            differing: 0,
            link,
            seed,
        })
    }

    /// A player of the game's script takes a seat; gives its number.
    pub fn join(&mut self, seat: u16, settings: PlayerSettings) -> usize {
        let number = self.homes.len();
        let stream = number as u64;
        let mut config = client_config::<G>(token(seat, protocol_hash::<G>()), &settings);
        config.connect_sequence = stream + 1;
        let player = Player::new(config, settings, Box::new(Bot), self.now, bytes(self.seed, 100 + stream));
        let address = SocketAddr::from(([127, 0, 0, 2], 1000 + number as u16));
        self.addresses.insert(address, number);
        self.homes.push(Home {
            player,
            address,
            moves: 0,
            up: Link::new(self.link, link_seed(self.seed, 2 * stream)),
            down: Link::new(self.link, link_seed(self.seed, 2 * stream + 1)),
            due: Some(self.now),
            compared: Tick::ZERO,
        });
        number
    }

    /// From now on the player's datagrams come from another address.
    pub fn move_player(&mut self, number: usize) {
        let home = &mut self.homes[number];
        home.moves += 1;
        let [high, low] = home.moves.to_be_bytes();
        home.address.set_ip([127, 1, high, low].into());
        self.addresses.insert(home.address, number);
    }

    /// Makes all links better or worse, those of players to come too.
    pub fn set_links(&mut self, link: LinkConfig) {
        self.link = link;
        for number in 0..self.homes.len() {
            self.set_link(number, link);
        }
    }

    /// Makes one player's link better or worse.
    pub fn set_link(&mut self, number: usize, link: LinkConfig) {
        self.homes[number].up.set_config(link);
        self.homes[number].down.set_config(link);
    }

    /// Runs for a time, milliseconds.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.step(until);
        }
    }

    /// Runs until the battle and all its players are through, or until the field's clock shows `until`. Whether they are.
    pub fn run_to_end(&mut self, until: Millis) -> bool {
        let is_over = |field: &Self| field.ended.is_some() && field.players().all(Player::is_over);
        while !is_over(self) && self.now < until {
            self.step(until);
        }
        is_over(self)
    }

    /// What the field's clock shows.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// How long the field has been running, milliseconds.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        self.now.since(BEGIN)
    }

    /// The players, in the order in which they joined.
    pub fn players(&self) -> impl Iterator<Item = &Player<G>> {
        self.homes.iter().map(|home| &home.player)
    }

    /// The node's worker.
    #[must_use]
    pub fn worker(&self) -> &Worker<G> {
        &self.worker
    }

    /// The node's endpoint.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The battle as it ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<&EndedBattle<G>> {
        self.ended.as_ref()
    }

    /// The node's state hash after each tick, from tick 1 on.
    pub fn hashes(&self) -> impl Iterator<Item = StateHash> {
        self.made.iter().map(|(_, hash)| *hash)
    }

    /// How old the newest state was that each player had, in every millisecond from the first one that it had until the
    /// battle's last tick.
    #[must_use]
    pub fn state_age(&self) -> &Latencies {
        &self.state_age
    }

    /// How many states of players were not the node's at the same tick.
    #[must_use]
    pub fn differing(&self) -> u64 {
        self.differing
    }

    /// What the links did so far: from the players, and to them.
    #[must_use]
    pub fn link_stats(&self) -> (LinkStats, LinkStats) {
        let sum = |link: fn(&Home<G>) -> LinkStats| {
            self.homes.iter().map(link).fold(LinkStats::default(), |sum, stats| sum + stats)
        };
        (sum(|home| home.up.stats()), sum(|home| home.down.stats()))
    }

    /// Goes to the next moment in which something is due, `until` at the latest, and does it.
    fn step(&mut self, until: Millis) {
        let next = self.next_due().unwrap_or(until).max(self.now + 1).min(until);
        self.count_ages(next);
        self.now = next;
        let mut datagram = Vec::new();
        for home in &mut self.homes {
            while let Some(from) = home.up.receive(next, &mut datagram) {
                self.server.handle_datagram(next, from, &mut datagram);
            }
        }
        self.server.handle_timeout(next);
        self.worker.poll(&mut self.server, next.0 * 1000);
        self.note_tick();
        while let Some(transmit) = self.server.poll_transmit(next, &mut datagram) {
            if let Some(number) = self.addresses.get(&transmit.to.address) {
                self.homes[*number].down.send(next, transmit.to.address, &datagram);
            }
        }
        for home in &mut self.homes {
            let mut is_due = home.due.is_some_and(|due| due <= next);
            while let Some(to) = home.down.receive(next, &mut datagram) {
                // What was sent to an address that the player has left gets lost.
                if to == home.address {
                    home.player.handle_datagram(next, SocketAddr::from(NODE), &mut datagram);
                    is_due = true;
                }
            }
            if is_due {
                home.player.handle_timeout(next);
                while home.player.poll_transmit(next, &mut datagram).is_some() {
                    home.up.send(next, home.address, &datagram);
                }
                home.due = home.player.poll_timeout(next);
                self.differing += u64::from(!home.compare(&self.made));
            }
        }
    }

    fn next_due(&self) -> Option<Millis> {
        let tick = self.worker.next_us();
        let tick = (tick < u64::MAX).then(|| Millis(tick.div_ceil(1000)));
        let of_homes = self.homes.iter().flat_map(|home| {
            [home.due, home.up.next_arrival(), home.down.next_arrival()].into_iter().flatten()
        });
        of_homes.chain(tick).chain(self.server.poll_timeout()).min()
    }

    fn note_tick(&mut self) {
        if let Some(ended) = self.worker.poll_ended() {
            self.made.extend(
                (ended.end.tick.0 as usize == self.made.len() + 1)
                    .then_some((self.now, ended.end.final_hash)),
            );
            self.ended = Some(ended);
        }
        if let Some(room) = self.worker.rooms().next() {
            let battle = room.battle();
            if battle.tick().0 as usize == self.made.len() + 1 {
                self.made.push((self.now, battle.state_hash()));
            }
            assert_eq!(battle.tick().0 as usize, self.made.len(), "each tick is made on time");
        }
    }

    /// Counts how old the players' states are in each millisecond from now until `next`.
    fn count_ages(&mut self, next: Millis) {
        if self.ended.is_some() {
            return;
        }
        for home in &self.homes {
            let shown = home.player.pilot().newest_tick().and_then(|tick| tick.0.checked_sub(1));
            let Some((made, _)) = shown.and_then(|index| self.made.get(index as usize)) else { continue };
            for ms in self.now.0..next.0 {
                self.state_age.record(Millis(ms).since(*made));
            }
        }
    }
}

impl<G: Game> Home<G> {
    /// Whether what the player has is what the node had at that tick.
    fn compare(&mut self, made: &[(Millis, StateHash)]) -> bool {
        let Some(mirror) = self.player.pilot().mirror() else { return true };
        if mirror.tick() == self.compared {
            return true;
        }
        self.compared = mirror.tick();
        if mirror.battle().spec().hides() || !mirror.is_whole() {
            // What a view shows, or a snapshot that had no room for all, has a hash of its own, which the player compared as it came.
            return true;
        }
        let index = mirror.tick().0.checked_sub(1);
        let node = index.and_then(|index| made.get(index as usize));
        node.is_none_or(|(_, hash)| *hash == mirror.state_hash())
    }
}

fn protocol_hash<G: Game>() -> [u8; 16] {
    let registry = Registry::of::<G>().unwrap_or_else(|problem| panic!("{}: {problem}", G::NAME));
    registry.protocol_hash::<G>().0
}

fn master() -> MasterKey {
    MasterKey::from_bytes(1, [8; 32])
}

/// A token file for a seat of the field's battle; asking again gives the same one.
fn token(seat: u16, protocol_hash: [u8; 16]) -> TokenFile {
    let secret = SessionSecret::from_bytes(bytes(u64::from(seat), 3));
    let claims = Claims {
        player: u64::from(seat),
        seat,
        team: 0,
        role: Role::Player,
        protocol_hash,
        issued_unix_ms: 0,
        session_secret: secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let mut id = [0; 16];
    id[..2].copy_from_slice(&seat.to_le_bytes());
    let token = mint(&master().battle_key(BATTLE), id, 10_000_000, &claims);
    TokenFile { token, session_secret: secret, addresses: vec![SocketAddr::from(NODE)] }
}

/// Different for every stream of every seed.
fn link_seed(seed: u64, stream: u64) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03)
}

fn bytes(seed: u64, stream: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    bytes
}
