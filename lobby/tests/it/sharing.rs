//! Several lobbies at one board: their players are matched with each other, once, whatever becomes of the board.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tiltyard_api::{BattleReady, ClientMessage, GateMessage, Login};
use tiltyard_cluster::NodeId;
use tiltyard_cluster::control::Refusal;
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::node::Load;
use tiltyard_lobby::board::{Board, BoardAway, Letter, MemoryBoard, Met, Offer};
use tiltyard_lobby::store::{BattleState, EmbeddedStore};
use tiltyard_lobby::testing::LocalLobby;
use tiltyard_lobby::{GateLimits, LobbyConfig};

use crate::house::{Client, House, Plan, config, resume, settlement};

/// What a board does wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// It does not answer.
    Away,
    /// It takes what is brought, and its answer is lost.
    Deaf,
    /// Letters of this kind are lost.
    Loses(fn(&Letter) -> bool),
}

/// A board in memory that does what a test wants to go wrong.
#[derive(Debug, Default)]
struct FaultyBoard {
    inner: MemoryBoard,
    wrong: Mutex<Option<Wrong>>,
}

impl FaultyBoard {
    fn set(&self, wrong: Option<Wrong>) {
        *self.wrong.lock().unwrap() = wrong;
    }
}

#[async_trait]
impl Board for FaultyBoard {
    async fn meet(&self, mut offer: Offer) -> Result<Met, BoardAway> {
        let wrong = *self.wrong.lock().unwrap();
        match wrong {
            Some(Wrong::Away) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return Err(BoardAway);
            }
            Some(Wrong::Loses(lost)) => offer.letters.retain(|(_, letter)| !lost(letter)),
            Some(Wrong::Deaf) | None => {}
        }
        let met = self.inner.meet(offer).await;
        if matches!(wrong, Some(Wrong::Deaf)) { Err(BoardAway) } else { met }
    }
}

/// So many lobbies at one board, over one store and the nodes of the first.
pub(crate) struct Lobbies {
    pub(crate) house: House,
    others: Vec<LocalLobby>,
    board: Arc<FaultyBoard>,
}

fn at(board: Arc<dyn Board>, number: u64) -> LobbyConfig {
    let id = NodeId::parse(&format!("lobby-{number}")).unwrap();
    // Who waits for a match in these tests says nothing meanwhile.
    let gate_limits = GateLimits { idle_timeout: Duration::from_secs(600), ..GateLimits::default() };
    LobbyConfig { id, instance: number, board, gate_limits, ..config() }
}

/// A node for thousands of battles.
async fn add_large_node(house: &mut House) {
    let large = Load { seats_max: 1_000_000, battles_max: 100_000, ..Load::default() };
    house.add_node("node-0", |record| record.load = large).await;
}

impl Lobbies {
    async fn new(lobbies: u64) -> Self {
        let board = Arc::new(FaultyBoard::default());
        let directory = Arc::new(MemoryDirectory::new());
        let store = Arc::new(EmbeddedStore::in_memory());
        let mut house = House::over(store, 0, at(board.clone(), 1), directory).await;
        add_large_node(&mut house).await;
        let mut this = Self { house, others: Vec::new(), board };
        for number in 2..=lobbies {
            let lobby = this.started(number, this.board.clone());
            this.others.push(lobby);
        }
        // They know each other, and the nodes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        this
    }

    /// Two lobbies that reach one board by ways of their own.
    #[cfg(feature = "redis")]
    pub(crate) async fn at_boards([first, second]: [Arc<dyn Board>; 2]) -> Self {
        let store = Arc::new(EmbeddedStore::in_memory());
        let mut house = House::over(store, 0, at(first, 1), Arc::new(MemoryDirectory::new())).await;
        add_large_node(&mut house).await;
        let mut this = Self { house, others: Vec::new(), board: Arc::default() };
        let lobby = this.started(2, second);
        this.others.push(lobby);
        while this.others[0].nodes() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        this
    }

    fn started(&self, number: u64, board: Arc<dyn Board>) -> LocalLobby {
        let House { directory, store, calls, clock, .. } = &self.house;
        let config = at(board, number);
        LocalLobby::start(config, directory.clone(), store.clone(), calls.clone(), clock.clone()).unwrap()
    }

    fn lobby(&self, number: usize) -> &LocalLobby {
        if number == 0 { &self.house.lobby } else { &self.others[number - 1] }
    }

    /// A guest at a lobby, with the session token.
    async fn guest(&self, lobby: usize) -> (Client, String) {
        let mut client = Client(self.lobby(lobby).connect());
        client.send(crate::house::hello()).await;
        assert!(matches!(client.next().await, GateMessage::Welcome(_)));
        client.send(ClientMessage::Login(Login::default())).await;
        let GateMessage::LoggedIn(logged_in) = client.next().await else { panic!("no login") };
        (client, logged_in.session.into_string())
    }

    pub(crate) async fn queued(&self, lobby: usize, mode: &str) -> Client {
        let (mut client, _) = self.guest(lobby).await;
        client.queue(mode).await;
        client
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        (0..=self.others.len()).map(|number| self.lobby(number).counter(name)).sum()
    }

    /// Every person is in exactly one battle that was placed.
    pub(crate) async fn all_placed_once(&self, battles: &[BattleReady]) {
        let mut seats = BTreeSet::new();
        for ready in battles {
            assert!(seats.insert((ready.battle, ready.seat)), "a seat was given twice");
        }
        let mut players: BTreeMap<u64, usize> = BTreeMap::new();
        let asked: BTreeSet<_> =
            self.house.reserved().iter().map(|(reservation, _)| reservation.battle).collect();
        for battle in asked {
            let row = self.house.store.battle(battle).await.unwrap().unwrap();
            if row.state == BattleState::Running {
                for seat in row.humans() {
                    *players.entry(seat.player).or_default() += 1;
                }
            }
        }
        assert!(players.values().all(|battles| *battles == 1), "{players:?}");
        assert_eq!(players.len(), battles.len());
    }
}

#[tokio::test(start_paused = true)]
async fn players_of_two_lobbies_are_matched_with_each_other() {
    let lobbies = Lobbies::new(2).await;
    for (first, second) in [(0, 1), (1, 0)] {
        let mut ada = lobbies.queued(first, "duel").await;
        let mut ben = lobbies.queued(second, "duel").await;
        let GateMessage::MatchFound(found) = ben.next().await else { panic!("no match") };
        assert_eq!((found.players, found.bots), (2, 0));
        let (ada, ben) = (ada.ready().await, ben.ready().await);
        assert_eq!((ada.battle, ada.epoch), (ben.battle, ben.epoch));
        assert_eq!([ada.seat, ben.seat].into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1]));
    }
    assert_eq!((lobbies.counter("matches_shared"), lobbies.counter("battles_placed")), (2, 2));
    // What they bring arrives with them.
    let reserved = lobbies.house.reserved();
    assert!(reserved.iter().flat_map(|(asked, _)| &asked.seats).all(|seat| seat.loadout == 3 && !seat.bot));
}

#[tokio::test(start_paused = true)]
async fn a_match_of_three_lobbies_takes_all_or_none() {
    let lobbies = Lobbies::new(3).await;
    lobbies.house.plan(Plan::Refuse(Refusal::Full));
    let mut clients = Vec::new();
    for index in 0..10 {
        clients.push(lobbies.queued(index % 3, "five").await);
    }
    // The only node refuses once: all wait again, with their age, and are placed in the next round.
    let mut ready = Vec::new();
    for client in &mut clients {
        ready.push(client.ready().await);
    }
    lobbies.all_placed_once(&ready).await;
    assert_eq!(lobbies.counter("matches_returned"), 1);
    assert_eq!(ready.iter().map(|ready| ready.battle).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_board_is_away_each_lobby_matches_its_own_and_afterwards_all_again() {
    let lobbies = Lobbies::new(2).await;
    lobbies.board.set(Some(Wrong::Away));
    let mut alone = [lobbies.queued(1, "duel").await, lobbies.queued(1, "duel").await];
    let mut ready = Vec::new();
    for client in &mut alone {
        ready.push(client.ready().await);
    }
    assert_eq!(ready[0].battle, ready[1].battle);
    let mut apart = [lobbies.queued(0, "duel").await, lobbies.queued(1, "duel").await];
    assert!(apart[0].silent(Duration::from_secs(9)).await);
    lobbies.board.inner.forget();
    lobbies.board.set(None);
    for client in &mut apart {
        ready.push(client.ready().await);
    }
    lobbies.all_placed_once(&ready).await;
}

#[tokio::test(start_paused = true)]
async fn whichever_letter_is_lost_nobody_is_placed_twice_or_forgotten() {
    let kinds: [fn(&Letter) -> bool; 4] = [
        |letter| matches!(letter, Letter::Take { .. }),
        |letter| matches!(letter, Letter::Taken { .. }),
        |letter| matches!(letter, Letter::Placed { .. }),
        |letter| matches!(letter, Letter::Returned { .. }),
    ];
    for (lost, refuses) in kinds.into_iter().flat_map(|lost| [(lost, false), (lost, true)]) {
        let lobbies = Lobbies::new(2).await;
        if refuses {
            lobbies.house.plan(Plan::Refuse(Refusal::Full));
        }
        lobbies.board.set(Some(Wrong::Loses(lost)));
        let mut clients = [lobbies.queued(0, "duel").await, lobbies.queued(1, "duel").await];
        tokio::time::sleep(Duration::from_secs(5)).await;
        lobbies.board.set(None);
        let mut ready = Vec::new();
        for client in &mut clients {
            ready.push(client.ready().await);
        }
        lobbies.all_placed_once(&ready).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_in_the_middle_of_a_match_costs_others_nothing_but_time() {
    for (plan, stands) in [(Plan::TakeSlowly(Duration::from_secs(1)), true), (Plan::TakeAndLoseAnswer, false)]
    {
        let mut lobbies = Lobbies::new(2).await;
        lobbies.house.plan(plan);
        let _ada = lobbies.queued(0, "duel").await;
        let mut ben = lobbies.queued(1, "duel").await;
        assert!(matches!(ben.next().await, GateMessage::MatchFound(_)));
        while lobbies.house.reserved().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Nobody is there any more to write that it was placed, or was not.
        let next = lobbies.started(3, lobbies.board.clone());
        drop(std::mem::replace(&mut lobbies.house.lobby, next));
        let first = lobbies.house.reserved()[0].0.battle;
        let mut cid = lobbies.queued(0, "duel").await;
        let of_ben = ben.ready().await;
        let row = lobbies.house.store.battle(first).await.unwrap().unwrap();
        if stands {
            assert_eq!((of_ben.battle.0, row.state), (first.0, BattleState::Running));
            let mut dan = lobbies.queued(1, "duel").await;
            assert_eq!(cid.ready().await.battle, dan.ready().await.battle);
        } else {
            assert_eq!(row.state, BattleState::Dissolved);
            assert_eq!(cid.ready().await.battle, of_ben.battle);
        }
        assert_eq!(lobbies.counter("matches_unheard"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_battle_that_its_leader_never_wrote_cannot_be_written_once_its_tickets_wait_again() {
    let lobbies = Lobbies::new(1).await;
    let mut ben = lobbies.queued(0, "duel").await;
    // A lobby leads that asks for the ticket and falls silent.
    let name: tiltyard_lobby::board::LobbyName = "leader".try_into().unwrap();
    let offer = |letters| Offer { lobby: name.clone(), tickets: vec![], letters, can_lead: true };
    let met = lobbies.board.meet(offer(vec![])).await.unwrap();
    let (owner, _) = met.others[0].clone();
    let battle = tiltyard_api::Hex64(77);
    let take = |tickets: &[u64]| Letter::Take {
        battle,
        from: name.clone(),
        mode: "duel".try_into().unwrap(),
        tickets: tickets.to_vec().try_into().unwrap(),
        humans: 2,
        bots: 0,
    };
    let answered = async |letter| {
        lobbies.board.meet(offer(vec![(owner.clone(), letter)])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        lobbies.board.meet(offer(vec![])).await.unwrap().letters
    };
    // Its number is the first that a queue gives.
    assert!(matches!(&answered(take(&[1, 2])).await[..], [Letter::NotTaken { .. }]));
    let taken = answered(take(&[1])).await;
    let [Letter::Taken { tickets, .. }] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((tickets.as_slice()[0].id, tickets.as_slice()[0].members.as_slice().len()), (1, 1));
    assert!(matches!(&answered(take(&[1])).await[..], [Letter::NotTaken { .. }]), "it is held");

    assert!(matches!(ben.next().await, GateMessage::MatchFound(_)));
    let GateMessage::Requeued(requeued) = ben.next().await else { panic!("not given back") };
    assert!(requeued.waited_ms >= 10_000, "{requeued:?}");
    let row = lobbies.house.store.battle(tiltyard_cluster::BattleId(77)).await.unwrap().unwrap();
    assert_eq!(row.state, BattleState::Dissolved);
    assert!(!lobbies.house.store.create_battle(&row).await.unwrap());
    let mut ada = lobbies.queued(0, "duel").await;
    assert_eq!(ben.ready().await.battle, ada.ready().await.battle);
}

#[tokio::test(start_paused = true)]
async fn the_newest_session_wins_at_whichever_lobby_and_takes_the_ticket_along() {
    let lobbies = Lobbies::new(2).await;
    let (mut first, session) = lobbies.guest(0).await;
    first.queue("duel").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = Client(lobbies.lobby(1).connect());
    second.send(crate::house::hello()).await;
    second.next().await;
    second.send(resume(&session)).await;
    assert!(matches!(second.next().await, GateMessage::LoggedIn(_)));
    assert!(matches!(first.next().await, GateMessage::Replaced(_)));
    assert!(first.closed().await);
    second.queue("duel").await;
    let mut other = lobbies.queued(0, "duel").await;
    let ready = [second.ready().await, other.ready().await];
    lobbies.all_placed_once(&ready).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_has_one_share_at_all_lobbies() {
    let lobbies = Lobbies::new(2).await;
    let mut granted = 0;
    for round in 0..100 {
        let mut client = Client(lobbies.lobby(round % 2).connect_from("10.0.0.1".parse().unwrap()));
        client.send(crate::house::hello()).await;
        client.next().await;
        client.send(ClientMessage::Login(Login::default())).await;
        granted += usize::from(matches!(client.next().await, GateMessage::LoggedIn(_)));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Two minutes of 30, and 20 s at 30 a minute; what was told too late counts at both.
    assert!((68..=74).contains(&granted), "{granted}");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_one_lobby_stores_is_told_to_the_players_of_all() {
    let lobbies = Lobbies::new(2).await;
    let mut clients = [lobbies.queued(0, "duel").await, lobbies.queued(1, "duel").await];
    let ready = clients[0].ready().await;
    clients[1].ready().await;
    let battle = tiltyard_cluster::BattleId(ready.battle.0);
    let settled = settlement(battle, tiltyard_cluster::Epoch(ready.epoch));
    lobbies.lobby(1).result_sink().settle(settled).await;
    for client in &mut clients {
        let GateMessage::BattleOver(over) = client.next().await else { panic!("no result") };
        assert_eq!(over.battle, ready.battle);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tickets_at_two_lobbies_and_a_board_with_every_fault() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("SEED={seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let lobbies = Lobbies::new(2).await;
    let mut clients = Vec::new();
    for index in 0..1_000 {
        clients.push(lobbies.queued(index % 2, "duel").await);
        if index % 20 == 0 {
            lobbies.board.set(match random(6) {
                0 => Some(Wrong::Away),
                1 => Some(Wrong::Deaf),
                2 => Some(Wrong::Loses(|letter| matches!(letter, Letter::Placed { .. }))),
                3 => Some(Wrong::Loses(|_| true)),
                _ => None,
            });
            if random(4) == 0 {
                lobbies.board.inner.forget();
            }
            tokio::time::sleep(Duration::from_millis(random(400))).await;
        }
    }
    lobbies.board.set(None);
    let mut ready = Vec::new();
    for client in &mut clients {
        ready.push(client.ready().await);
    }
    lobbies.all_placed_once(&ready).await;
    assert!(lobbies.counter("matches_shared") > 0);
}
