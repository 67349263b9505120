//! Two lobbies at a board in a real Redis, which `REDIS_URL` names, through a relay that a test can cut and stall.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiltyard_api::BattleReady;
use tiltyard_lobby::board::{Board, Letter, Met, Offer, RedisBoard, RedisTimes, SharedTicket};

use crate::relay::{Passage, Relay};
use crate::server;
use crate::sharing::Lobbies;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Tests share one Redis and its keys.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A Redis behind a relay, for one test at a time.
struct Server {
    relay: Relay,
    url: String,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl Server {
    /// Nothing where no server is named.
    async fn new(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("REDIS_URL") else {
            eprintln!("SKIPPED {test}: REDIS_URL names no server");
            return None;
        };
        let hosts = url.strip_prefix("redis://").expect("an address of Redis").trim_end_matches('/');
        let relay = Relay::new(hosts).await;
        // Before anything is forgotten, which may be what another test stands on.
        let this = Self { relay, url, _alone: ALONE.lock().await };
        this.forget().await;
        Some(this)
    }

    fn board(&self) -> RedisBoard {
        self.board_with(RedisTimes::default())
    }

    /// A board that nothing is too slow for.
    fn patient_board(&self) -> RedisBoard {
        self.board_with(RedisTimes { call: LONG, lead: LONG, absence: LONG, letters: LONG })
    }

    fn board_with(&self, times: RedisTimes) -> RedisBoard {
        RedisBoard::new(&format!("redis://{}", self.relay.address), times).unwrap()
    }

    async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LONG))
            .set_response_timeout(Some(LONG));
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    /// Redis loses all that it knows, scripts included.
    async fn forget(&self) {
        let mut connection = self.connection().await;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
    }
}

fn ticket(id: u64) -> SharedTicket {
    SharedTicket {
        id,
        mode: "duel".try_into().unwrap(),
        players: vec![u64::MAX - id].try_into().unwrap(),
        rating: -5,
        queued_unix_ms: 1_700_000_000_000,
    }
}

fn offer(name: &str, tickets: &[u64], letters: Vec<(&str, Letter)>) -> Offer {
    Offer {
        lobby: name.try_into().unwrap(),
        tickets: tickets.iter().map(|id| ticket(*id)).collect(),
        letters: letters.into_iter().map(|(to, letter)| (to.try_into().unwrap(), letter)).collect(),
        can_lead: true,
    }
}

#[tokio::test]
async fn one_leads_sees_all_tickets_and_letters_arrive_once_on_a_real_redis() {
    let Some(server) =
        Server::new("one_leads_sees_all_tickets_and_letters_arrive_once_on_a_real_redis").await
    else {
        return;
    };
    let (first, second) = (server.patient_board(), server.patient_board());
    let met = first.meet(offer("a", &[1], vec![])).await.unwrap();
    assert_eq!((met.leads, met.others.len()), (true, 0));
    let letter = Letter::Placed { battle: tiltyard_api::Hex64(7) };
    let met =
        second.meet(offer("b", &[2, 3], vec![("a", letter.clone()), ("b", letter.clone())])).await.unwrap();
    assert_eq!((met.leads, met.letters), (false, vec![letter.clone()]));
    assert_eq!(met.others, [("a".try_into().unwrap(), vec![])], "who follows gets names alone");
    let met = first.meet(offer("a", &[], vec![])).await.unwrap();
    assert_eq!((met.leads, met.letters), (true, vec![letter]));
    assert_eq!(met.others, [("b".try_into().unwrap(), vec![ticket(2), ticket(3)])]);
    assert_eq!(first.meet(offer("a", &[], vec![])).await.unwrap().letters, []);
    // Lobbies of another game meet elsewhere.
    let other = server.patient_board().of("another");
    let met =
        other.meet(offer("c", &[4], vec![("a", Letter::Placed { battle: tiltyard_api::Hex64(8) })])).await;
    assert_eq!(met.unwrap(), Met { leads: true, letters: vec![], others: vec![] });
    assert_eq!(first.meet(offer("a", &[], vec![])).await.unwrap().others.len(), 1);
    // It gives the lead up when it closes, and what is forgotten is said again.
    first.meet(Offer { can_lead: false, ..offer("a", &[], vec![]) }).await.unwrap();
    assert!(second.meet(offer("b", &[2], vec![])).await.unwrap().leads);
    server.forget().await;
    assert!(first.meet(offer("a", &[1], vec![])).await.unwrap().leads);
    second.meet(offer("b", &[2], vec![])).await.unwrap();
    assert_eq!(first.meet(offer("a", &[1], vec![])).await.unwrap().others[0].1, [ticket(2)]);
}

#[tokio::test]
async fn what_others_wrote_into_a_real_redis_is_left_out() {
    let Some(server) = Server::new("what_others_wrote_into_a_real_redis_is_left_out").await else { return };
    let board = server.patient_board();
    board.meet(offer("a", &[], vec![])).await.unwrap();
    server.patient_board().meet(offer("b", &[2], vec![])).await.unwrap();
    let mut connection = server.connection().await;
    for (command, key, value) in [
        ("SET", "{tiltyard}:tickets:b", "[{\"id\":-1}]"),
        ("RPUSH", "{tiltyard}:letters:a", "{\"letter\":\"placed\"}"),
        ("RPUSH", "{tiltyard}:letters:a", "\u{1}"),
    ] {
        redis::cmd(command).arg(key).arg(value).exec_async(&mut connection).await.unwrap();
    }
    let met = board.meet(offer("a", &[], vec![])).await.unwrap();
    assert_eq!((met.letters, met.others), (vec![], vec![("b".try_into().unwrap(), vec![])]));
    // A key of another kind: the board is as good as away until it is gone.
    redis::cmd("DEL").arg("{tiltyard}:lobbies").exec_async(&mut connection).await.unwrap();
    redis::cmd("SET").arg("{tiltyard}:lobbies").arg("x").exec_async(&mut connection).await.unwrap();
    assert!(board.meet(offer("a", &[], vec![])).await.is_err());
    server.forget().await;
    assert!(board.meet(offer("a", &[], vec![])).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tickets_at_two_lobbies_over_a_real_redis_that_stalls_stops_and_forgets() {
    let name = "a_thousand_tickets_at_two_lobbies_over_a_real_redis_that_stalls_stops_and_forgets";
    let Some(server) = Server::new(name).await else { return };
    let lobbies =
        Lobbies::at_boards([Arc::new(server.board()) as Arc<dyn Board>, Arc::new(server.board())]).await;
    let mut clients = Vec::new();
    for index in 0..1_000 {
        clients.push(lobbies.queued(index % 2, "duel").await);
        match index {
            200 | 600 => server.relay.set(Passage::Stalled),
            300 | 850 => server.relay.set(Passage::Open),
            800 => server.relay.set(Passage::Deaf),
            400 => server.forget().await,
            500 => server.relay.set(Passage::Cut),
            550 | 700 => {
                server.relay.set(Passage::Open);
                server.forget().await;
            }
            _ => {}
        }
        if index % 100 == 0 {
            // Between two faults the lobbies come together again.
            tokio::time::sleep(Duration::from_millis(if index == 200 { 5_000 } else { 1_200 })).await;
        }
    }
    let mut ready = Vec::new();
    for client in &mut clients {
        ready.push(client.ready().await);
    }
    lobbies.all_placed_once(&ready).await;
    assert!(lobbies.counter("matches_shared") > 0);
    assert!(lobbies.counter("board_away") > 0);
}

/// A pair of players at two lobbies, with how long they waited for each other.
async fn a_pair(lobbies: &Lobbies, at: [usize; 2]) -> ([BattleReady; 2], Duration) {
    let mut pair = [lobbies.queued(at[0], "duel").await, lobbies.queued(at[1], "duel").await];
    let began = Instant::now();
    let ready = [pair[0].ready().await, pair[1].ready().await];
    assert_eq!(ready[0].battle, ready[1].battle);
    (ready, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_redis_that_hangs_dies_and_comes_back_empty_costs_two_lobbies_each_other_and_no_more() {
    let name = "a_real_redis_that_hangs_dies_and_comes_back_empty_costs_two_lobbies_each_other_and_no_more";
    if std::env::var("REDIS_URL").is_err() {
        eprintln!("SKIPPED {name}: REDIS_URL names no server, so none of its own is started");
        return;
    }
    let words = |line: String| line.split(' ').map(str::to_owned).collect();
    let mut redis = server::Server::start("redis-server", |folder, port| {
        words(format!("--bind 127.0.0.1 --port {port} --dir {folder} --save  --appendonly no"))
    })
    .await;
    let board = || RedisBoard::new(&format!("redis://{}", redis.address), RedisTimes::default()).unwrap();
    let probe = board();
    let lobbies = Lobbies::at_boards([Arc::new(board()) as Arc<dyn Board>, Arc::new(board())]).await;
    let (mut ready, mut said) = (Vec::new(), Vec::new());
    let mut meet = async |what: &str, at| {
        let (pair, waited) = a_pair(&lobbies, at).await;
        ready.extend(pair);
        said.push(format!("{what}: {} ms", waited.as_millis()));
    };
    meet("two lobbies", [0, 1]).await;
    redis.pause();
    let began = Instant::now();
    assert!(probe.meet(offer("probe", &[], vec![])).await.is_err());
    let call = began.elapsed();
    for lobby in [0, 1] {
        meet("one lobby while Redis hangs", [lobby; 2]).await;
    }
    redis.resume();
    meet("two lobbies when it goes on", [0, 1]).await;
    redis.kill();
    assert!(probe.meet(offer("probe", &[], vec![])).await.is_err());
    for lobby in [0, 1] {
        meet("one lobby while Redis is gone", [lobby; 2]).await;
    }
    redis.restart().await;
    meet("two lobbies when it is back, empty", [0, 1]).await;
    eprintln!("a call to a Redis that hangs took {} ms; {}", call.as_millis(), said.join("; "));
    // Its deadline is 150 ms; the rest is for a machine that does other things.
    assert!(call < Duration::from_secs(5), "{call:?}");
    lobbies.all_placed_once(&ready).await;
}
