//! Workers: many rooms behind one endpoint, still without sockets.

use std::net::SocketAddr;

use tiltyard_battle::{REPORT_EXTENSION, Recorder, Room, RoomSettings, Worker};
use tiltyard_engine::{Tick, math};
use tiltyard_netcode::message::Inputs;
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, Client, ClientConfig, ClientEvent, CloseReason, Epoch, Feed, HostedBattle, LaneWish, Millis,
    Server, ServerConfig, Transport, TransportWish,
};
use tiltyard_replay::{Ended, OnDamage, PlayError, Settings, SimulateError, verify};

use crate::game::{Pushing, WORD_PANIC, WORD_PANIC_AT_CHECK, bytes, spec};
use crate::recording::header;

const PROTOCOL: [u8; 16] = [3; 16];
const SETTINGS: RoomSettings = RoomSettings {
    wait_ms: 2000,
    countdown_ms: 100,
    keyframe_ticks: 300,
    snapshot_ticks: 0,
    catch_up_max: 5,
};

/// A worker with its endpoint, and clients beside it: datagrams pass by hand, a millisecond at a time.
struct Bench {
    now: Millis,
    server: Server,
    worker: Worker<Pushing>,
    clients: Vec<Client>,
    accepted: Vec<bool>,
    heard: Vec<usize>,
    closed: Vec<Option<CloseReason>>,
    ended: Vec<(BattleId, Ended, Tick)>,
    results: usize,
}

fn master() -> MasterKey {
    MasterKey::from_bytes(1, [8; 32])
}

impl Bench {
    fn new() -> Self {
        let config = ServerConfig { worker: 0, connections_max: 16, unix_offset_ms: 0, skew_ms: 1000 };
        let (server, worker) = (Server::new(config, [1; 32]), Worker::new(|| 0));
        let (clients, accepted, heard) = (Vec::new(), Vec::new(), Vec::new());
        let (closed, ended) = (Vec::new(), Vec::new());
        Self { now: Millis(1000), server, worker, clients, accepted, heard, closed, ended, results: 0 }
    }

    fn open(&mut self, battle: u64, ticks_max: u32) {
        self.open_room(Room::new(BattleId(battle), Epoch(1), spec(1, ticks_max), SETTINGS).unwrap());
    }

    fn open_room(&mut self, room: Room<Pushing>) {
        let id = room.id();
        let hosted = HostedBattle {
            keys: vec![master().battle_key(id)],
            epoch: Epoch(1),
            protocol_hash: PROTOCOL,
            rate_hz: 30,
            math_hash: math::self_test_hash(),
            hides: false,
        };
        self.worker.open(&mut self.server, self.now.0 * 1000, room, hosted);
    }

    /// A client with a token for seat 0 of a battle.
    fn join(&mut self, battle: u64, role: Role) -> usize {
        let number = self.clients.len();
        let secret = SessionSecret::from_bytes([number as u8; 32]);
        let claims = Claims {
            player: number as u64,
            seat: 0,
            team: 0,
            role,
            protocol_hash: PROTOCOL,
            issued_unix_ms: 0,
            session_secret: secret.clone(),
            bytes_per_second_max: 0,
            inputs_per_second_max: 0,
            loadout_hash: [0; 32],
            user_data: Vec::new(),
        };
        let token = mint(&master().battle_key(BattleId(battle)), [number as u8; 16], 1_000_000, &claims);
        let addresses = vec!["127.0.0.1:9".parse().unwrap()];
        let config = ClientConfig {
            token_file: TokenFile { token, session_secret: secret, addresses },
            feed: Feed::Frame,
            lane: LaneWish::Auto,
            protocol_hash: PROTOCOL,
            math_hash: Some(math::self_test_hash()),
            resume_tick: None,
            transport: TransportWish::Only(Transport::Udp),
            connect_sequence: number as u64 + 1,
        };
        self.clients.push(Client::new(config, self.now, [number as u8 + 1; 32]));
        self.accepted.push(false);
        self.heard.push(0);
        self.closed.push(None);
        number
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + 1;
            let mut datagram = Vec::new();
            for (number, client) in self.clients.iter_mut().enumerate() {
                client.handle_timeout(self.now);
                let from: SocketAddr = format!("127.0.0.1:{}", 1000 + number).parse().unwrap();
                while client.poll_transmit(self.now, &mut datagram).is_some() {
                    self.server.handle_datagram(self.now, from, &mut datagram);
                }
            }
            self.server.handle_timeout(self.now);
            self.worker.poll(&mut self.server, self.now.0 * 1000);
            while let Some(ended) = self.worker.poll_ended() {
                self.results += usize::from(ended.is_result);
                self.ended.push((ended.room.id(), ended.end.ended, ended.end.tick));
            }
            while let Some(transmit) = self.server.poll_transmit(self.now, &mut datagram) {
                let number = usize::from(transmit.to.address.port()) - 1000;
                let node: SocketAddr = "127.0.0.1:9".parse().unwrap();
                self.clients[number].handle_datagram(self.now, node, &mut datagram);
            }
            for (number, client) in self.clients.iter_mut().enumerate() {
                while let Some(event) = client.poll_event() {
                    match event {
                        ClientEvent::Accepted { .. } => self.accepted[number] = true,
                        ClientEvent::Closed { reason } => self.closed[number] = Some(reason),
                        ClientEvent::Message { .. } => self.heard[number] += 1,
                        ClientEvent::Denied { .. } => {}
                    }
                }
            }
        }
    }

    fn say(&mut self, client: usize, tick: u32, word: u32) {
        let mut message = Vec::new();
        Inputs::encode(&mut message, 0, None, tick, [&bytes(0.5, word)[..]].into_iter());
        self.clients[client].send_feed(self.now, &message).unwrap();
    }

    fn tick_of(&self, battle: u64) -> Option<Tick> {
        self.worker.rooms().find(|room| room.id() == BattleId(battle)).map(|room| room.battle().tick())
    }
}

/// Two battles with a player each, some ticks old.
fn two_battles() -> Bench {
    let mut bench = Bench::new();
    bench.open(1, 10_000);
    bench.open(2, 10_000);
    bench.join(1, Role::Player);
    bench.join(2, Role::Player);
    bench.run(500);
    assert_eq!(bench.accepted, [true, true]);
    assert!(bench.tick_of(1).unwrap() > Tick(5));
    bench
}

fn only_the_first_battle_ends_by(word: u32) {
    let mut bench = two_battles();
    let before = bench.tick_of(2).unwrap();
    let next = bench.tick_of(1).unwrap().0 + 10;
    bench.say(0, next, word);
    bench.run(2000);
    assert_eq!(bench.ended.len(), 1);
    assert_eq!((bench.ended[0].0, bench.ended[0].1), (BattleId(1), Ended::Aborted));
    assert_eq!(bench.closed, [Some(CloseReason::Aborted), None]);
    assert_eq!((bench.worker.panics(), bench.results), (1, 1));
    let made = bench.tick_of(2).unwrap().since(before);
    assert!((59..=61).contains(&made), "the other battle made {made} ticks in two seconds");
}

#[test]
fn a_panic_in_a_tick_ends_that_battle_only() {
    only_the_first_battle_ends_by(WORD_PANIC);
}

#[test]
fn a_panic_while_judging_an_input_ends_that_battle_only() {
    only_the_first_battle_ends_by(WORD_PANIC_AT_CHECK);
}

/// The report of a battle that a word made panic, as bytes.
fn report_of_a_panic_by(word: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    let mut bench = Bench::new();
    let mut room = Room::new(BattleId(1), Epoch(2), spec(1, 120), SETTINGS).unwrap();
    room.record(recorder.handle().open(header(1, 1), Settings::new(2, 30)));
    bench.open_room(room);
    bench.join(1, Role::Player);
    bench.run(500);
    let next = bench.tick_of(1).unwrap().0 + 10;
    bench.say(0, next, word);
    bench.run(2000);
    assert_eq!(bench.worker.panics(), 1);
    recorder.stop();
    let reports: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let reports: Vec<_> =
        reports.iter().filter(|path| path.extension().unwrap() == REPORT_EXTENSION).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    std::fs::read(reports[0]).unwrap()
}

#[test]
fn a_panic_in_a_tick_leaves_a_report_that_panics_in_the_same_tick() {
    let report = report_of_a_panic_by(WORD_PANIC);
    let verdict = verify::<Pushing>(&report[..], OnDamage::Stop, |_| {}).unwrap();
    let told = verdict.report.unwrap();
    assert_eq!(verdict.stopped, Some(PlayError::Simulate(SimulateError::Panicked { tick: told.tick })));
    assert_eq!((verdict.last_tick, verdict.ticks_compared), (told.tick - 1, u64::from(told.tick - 1)));
    assert!(!verdict.verified && told.recorded_hash.is_none() && told.simulated_hash.is_none());
    assert!(told.text.contains("the game's own mistake"), "{}", told.text);
}

#[test]
fn a_panic_while_judging_an_input_leaves_a_report_with_the_input() {
    let report = report_of_a_panic_by(WORD_PANIC_AT_CHECK);
    let verdict = verify::<Pushing>(&report[..], OnDamage::Stop, |_| {}).unwrap();
    assert!(verdict.verified && verdict.complete, "{verdict:?}");
    let text = verdict.report.unwrap().text;
    let word: String = bytes(0.5, WORD_PANIC_AT_CHECK).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(text.contains("the game does not like this word") && text.contains(&word), "{text}");
}

#[test]
fn a_finished_battle_closes_its_sessions_and_leaves_the_worker() {
    let mut bench = Bench::new();
    bench.open(1, 30);
    bench.join(1, Role::Player);
    bench.run(3000);
    assert_eq!(bench.ended, [(BattleId(1), Ended::Finished, Tick(30))]);
    assert_eq!(bench.closed, [Some(CloseReason::Finished)]);
    assert_eq!(bench.worker.rooms().count(), 0);
}

#[test]
fn a_released_battle_is_gone_and_an_older_epoch_releases_nothing() {
    let mut bench = two_battles();
    let now_us = bench.now.0 * 1000;
    assert!(!bench.worker.release(&mut bench.server, now_us, BattleId(1), Epoch(0)));
    assert!(!bench.worker.release(&mut bench.server, now_us, BattleId(9), Epoch(9)));
    assert!(bench.worker.release(&mut bench.server, now_us, BattleId(1), Epoch(1)));
    bench.run(1000);
    assert_eq!((bench.ended.len(), bench.results), (1, 0), "what is released leaves no result");
    assert_eq!(bench.closed[0], Some(CloseReason::Draining), "its clients ask where it is now");
    assert_eq!(bench.worker.rooms().count(), 1);
}

#[test]
fn the_same_token_takes_its_seat_back_and_the_older_connection_is_told() {
    let mut bench = two_battles();
    let again = bench.join(1, Role::Player);
    bench.run(500);
    assert!(bench.accepted[again]);
    assert_eq!(bench.closed[0], Some(CloseReason::Replaced));
    assert_eq!(bench.closed[again], None);
}

#[test]
fn a_spectator_hears_the_feed_and_moves_nobody() {
    let mut bench = two_battles();
    let spectator = bench.join(1, Role::Spectator);
    bench.run(500);
    assert_eq!((bench.accepted[spectator], bench.closed[spectator]), (true, None));
    let (heard, foreign) = (bench.heard[spectator], bench.worker.room_counters().inputs_foreign);
    let next = bench.tick_of(1).unwrap().0 + 5;
    bench.say(spectator, next, 0);
    bench.run(1000);
    // Thirty ticks; several records may come in one message.
    assert!(bench.heard[spectator] >= heard + 25, "{} after {heard}", bench.heard[spectator]);
    assert_eq!(bench.worker.room_counters().inputs_foreign, foreign + 1);
    let used: Vec<_> = bench.worker.rooms().map(Room::seats_used).collect();
    assert_eq!((used, &bench.closed[..]), (vec![1, 1], &[None, None, None][..]));
    // The same player again is the same spectator, and a player is none.
    bench.clients[spectator].close(bench.now, CloseReason::Left);
    bench.run(500);
    assert_eq!(bench.closed[..2], [None, None]);
}

#[test]
fn battles_that_begin_together_share_out_the_time_between_two_ticks() {
    let mut bench = Bench::new();
    for battle in 1..=8 {
        let room = Room::new(BattleId(battle), Epoch(1), spec(0, 60), SETTINGS).unwrap();
        bench.open_room(room);
    }
    let ticks = |bench: &Bench| bench.worker.rooms().map(|room| room.battle().tick().0).sum::<u32>();
    bench.run(u64::from(SETTINGS.wait_ms) - 1);
    assert_eq!(ticks(&bench), 0);
    let mut before = 0;
    for ms in 0..500 {
        bench.run(1);
        let after = ticks(&bench);
        assert!(after - before <= 1, "{} battles tick in millisecond {ms}", after - before);
        before = after;
    }
    // None of them was held back for more than a period.
    assert!(bench.worker.rooms().all(|room| (14..=15).contains(&room.battle().tick().0)));
    assert_eq!(bench.worker.room_counters().late_ticks, 0);
}
