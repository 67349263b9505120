//! Over real sockets: few, and each for what virtual time cannot show.

use std::time::{Duration, Instant};

use tiltyard_api::{BattleOver, Ended, ErrorCode, Hex64};
use tiltyard_client::{
    BattleSession, Bot, BotSettings, LobbyError, LobbySession, LobbySettings, Over, PlayerSettings,
    SwarmReport, SwarmSettings, run_swarm,
};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_netcode::token::TokenFile;
use tiltyard_netcode::{CloseReason, Feed, LaneWish, Millis};
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::gate::{Gate, MODE};
use crate::host::Host;
use crate::world::{BATTLE, battle};

/// Runs a battle on a UDP socket of the loopback; gives its tokens, and the host once the battle is over.
async fn node(seconds: u32, players: usize) -> (Vec<TokenFile>, oneshot::Receiver<Host<Skirmish>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut host, files) = battle(seconds, 7, players, socket.local_addr().unwrap());
    let (over, host_back) = oneshot::channel();
    tokio::spawn(async move {
        let began = Instant::now();
        let (mut buffer, mut out) = (vec![0; 2048], Vec::new());
        let mut ended: Option<Instant> = None;
        // The goodbyes are answered for a while.
        while ended.is_none_or(|at| at.elapsed() < Duration::from_millis(500)) {
            let pause = Duration::from_millis(1);
            if let Ok(Ok((len, from))) = timeout(pause, socket.recv_from(&mut buffer)).await {
                let now = Millis(1_000_000 + began.elapsed().as_millis() as u64);
                host.server.handle_datagram(now, from, &mut buffer[..len]);
            }
            let now = Millis(1_000_000 + began.elapsed().as_millis() as u64);
            host.turn(now);
            while let Some(transmit) = host.server.poll_transmit(now, &mut out) {
                socket.send_to(&out, transmit.to.address).await.unwrap();
            }
            if ended.is_none() && host.battle.outcome().is_some() {
                ended = Some(Instant::now());
            }
        }
        // A test that failed meanwhile waits for it no more.
        let _ = over.send(host);
    });
    (files, host_back)
}

fn result_of(host: &Host<Skirmish>) -> BattleOver {
    let outcome = host.battle.outcome().expect("it is over");
    let scores: Vec<_> = outcome.scores.iter().map(|score| i64::from(*score)).collect();
    BattleOver {
        battle: Hex64(BATTLE.0),
        ended: Ended::Finished,
        winner: outcome.winner.map(|team| team.0),
        scores: scores.try_into().unwrap(),
        ticks: host.battle.tick().0,
        final_hash: Hex64(host.battle.state_hash().0),
    }
}

async fn swarm(players: usize, lane: LaneWish) -> (SwarmReport, Gate) {
    let (files, host) = node(3, players).await;
    let gate = Gate::open(files).await;
    let mut bot = BotSettings::new(&gate.address.to_string());
    bot.player.lane = lane;
    let settings = SwarmSettings { bot, players, battles: 1, name: "bot-".to_owned() };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run_swarm::<Skirmish>(settings, stopped));
    let host = host.await.expect("the battle ends");
    gate.settle(&result_of(&host));
    let report = running.await.expect("the swarm ends");
    drop(stop);
    assert!(report.is_flawless(), "{report:?}");
    for bot in &report.bots {
        let result = bot.result.as_ref().expect("it waited for it");
        assert_eq!(result.final_hash.0, host.battle.state_hash().0);
        let ended = bot.report.ended().expect("it heard the end");
        assert_eq!(ended.final_hash, host.battle.state_hash());
    }
    (report, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_go_from_login_to_result_over_real_sockets_on_each_lane() {
    for lane in [LaneWish::Auto, LaneWish::Kcp, LaneWish::Datagram] {
        let (report, _) = swarm(4, lane).await;
        let counts = (report.logged_in, report.joined, report.finished, report.results);
        assert_eq!(counts, (4, 4, 4, 1), "{lane:?}: {report:?}");
        assert_eq!((report.reconnects, report.battles.len(), report.ticks_max), (0, 1, 90));
        let names: Vec<_> = report.bots.iter().map(|bot| bot.name.as_str()).collect();
        assert_eq!(names, ["bot-1", "bot-2", "bot-3", "bot-4"]);
        for (seat, bot) in report.bots.iter().enumerate() {
            // Who queued first sits first.
            assert_eq!(bot.report.place.map(|place| usize::from(place.seat)), Some(seat));
        }
        assert!(report.up_per_player_s > 100.0 && report.down_per_player_s > 100.0, "{report:?}");
        assert!(report.input_to_state.count() > 4 * 60, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_resumes_after_its_connection_broke_over_a_real_socket() {
    let (files, _host) = node(60, 2).await;
    let gate = Gate::open(files).await;
    let settings =
        LobbySettings { name: Some("ada".to_owned()), ..LobbySettings::new(&gate.address.to_string()) };
    let mut ada = LobbySession::log_in(settings.clone()).await.unwrap();
    assert_eq!((ada.name(), ada.player()), ("ada", 1));
    assert_eq!(ada.modes().await.unwrap()[0].name.as_str(), MODE);

    // Broken while nothing is asked: the next question takes it up again.
    gate.cut_all();
    assert!(ada.where_is_my_battle().await.unwrap().is_none());
    assert_eq!((ada.resumed(), gate.resumes()), (1, 1));

    // Broken while waiting in the queue: the ticket is still there.
    ada.queue(MODE, 0).await.unwrap();
    gate.cut_all();
    let waiting = tokio::spawn(async move { (ada.wait_for_battle(Duration::from_secs(20)).await, ada) });
    let mut grace = LobbySession::log_in(settings).await.unwrap();
    grace.queue(MODE, 0).await.unwrap();
    let (ticket, ada) = waiting.await.unwrap();
    assert_eq!(ticket.unwrap().seat, 0);
    assert_eq!(grace.wait_for_battle(Duration::from_secs(20)).await.unwrap().seat, 1);
    assert!(ada.resumed() >= 1);
    let again = grace.where_is_my_battle().await.unwrap().expect("it is in a battle");
    assert_eq!((again.battle, again.seat), (BATTLE, 1));
    ada.log_out().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_comes_back_by_itself_while_its_player_fights_over_a_real_socket() {
    let (files, _host) = node(60, 2).await;
    let gate = Gate::open(files).await;
    // Of several gates the first that answers is taken.
    let gates = format!("127.0.0.1:1,{}", gate.address);
    let mut ada = LobbySession::log_in(LobbySettings::new(&gates)).await.unwrap();
    gate.cut_all();
    let back = async {
        while gate.resumes() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let staying = async {
        tokio::select! {
            gone = ada.stay() => panic!("{gone}"),
            () = back => {}
        }
    };
    timeout(Duration::from_secs(30), staying).await.expect("it comes back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_gate_have_code_and_sentence_over_a_real_socket() {
    let (files, _host) = node(60, 2).await;
    let gate = Gate::open(files).await;
    let mut ada = LobbySession::log_in(LobbySettings::new(&format!("ws://{}/", gate.address))).await.unwrap();
    let error = ada.queue("chess", 0).await.unwrap_err();
    assert!(matches!(error, LobbyError::NoSuchMode { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the gate has no mode `chess`; it has skirmish");
    assert!(matches!(ada.queue(&"x".repeat(33), 0).await, Err(LobbyError::ModeName)));
    ada.queue(MODE, 0).await.unwrap();
    let again = ada.queue(MODE, 0).await.unwrap_err();
    assert!(matches!(again, LobbyError::Refused { code: ErrorCode::AlreadyQueued, .. }), "{again:?}");
    assert_eq!(again.to_string(), "the gate refuses queue: already_queued");
    let waited = ada.wait_for_battle(Duration::from_millis(50)).await;
    assert!(matches!(waited, Err(LobbyError::TimedOut { what: "battle_ready", ms: 50 })), "{waited:?}");
    ada.cancel().await.unwrap();

    let nobody = LobbySession::log_in(LobbySettings::new("127.0.0.1:1")).await;
    let error = nobody.err().expect("nobody listens there");
    assert!(matches!(error, LobbyError::Socket(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_battle_session_runs_for_a_time_and_leaves_over_a_real_socket() {
    let (files, _host) = node(60, 1).await;
    let settings = PlayerSettings { feed: Feed::Frame, ..PlayerSettings::default() };
    let mut session =
        BattleSession::<Skirmish>::connect(files[0].clone(), settings, Box::new(Bot)).await.unwrap();
    let report = session.run_for(Duration::from_millis(1_500)).await.unwrap();
    assert_eq!((report.over, report.desyncs), (Some(Over::Left), 0));
    assert!(report.ticks > 15 && report.place.is_some(), "{report:?}");

    // The same token comes back, and a stopped player says goodbye fast.
    let mut session =
        BattleSession::<Skirmish>::connect(files[0].clone(), settings, Box::new(Bot)).await.unwrap();
    let began = Instant::now();
    let report = session.run(tokio::time::sleep(Duration::from_millis(500))).await.unwrap();
    assert!(report.place.is_some() && report.newest_tick.is_some_and(|tick| tick.0 > 20), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_that_is_stopped_ends_in_order_over_real_sockets() {
    let (files, _host) = node(60, 2).await;
    let gate = Gate::open(files).await;
    let bot = BotSettings::new(&gate.address.to_string());
    let settings = SwarmSettings { bot, players: 2, battles: 1, name: "bot-".to_owned() };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run_swarm::<Skirmish>(settings, stopped));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stop.send(true).unwrap();
    let report = timeout(Duration::from_secs(5), running).await.expect("it stops soon").unwrap();
    assert_eq!((report.joined, report.finished, report.desyncs), (2, 0, 0), "{report:?}");
    for bot in &report.bots {
        assert_eq!(bot.report.over, Some(Over::Left), "{bot:?}");
        assert_ne!(bot.report.over, Some(Over::Closed(CloseReason::TimedOut)));
    }
}

#[tokio::test]
async fn an_account_is_registered_and_entered_by_its_password_over_a_real_socket() {
    let gate = Gate::open(vec![]).await;
    let settings = LobbySettings::new(&gate.address.to_string());
    let code = |entered: Result<LobbySession, LobbyError>| match entered.err() {
        Some(LobbyError::Refused { code, of, .. }) => (code, of.into_string()),
        other => panic!("{other:?}"),
    };
    let ada = LobbySession::register(settings.clone(), "Ada", "correct horse").await.unwrap();
    let again = LobbySession::register(settings.clone(), "Ada", "another one").await;
    assert_eq!(code(again), (ErrorCode::NameTaken, "register".to_owned()));
    let wrong = LobbySession::log_in_as(settings.clone(), "Ada", "another one").await;
    assert_eq!(code(wrong), (ErrorCode::Credentials, "login".to_owned()));
    let back = LobbySession::log_in_as(settings.clone(), "Ada", "correct horse").await.unwrap();
    assert_eq!((back.player(), back.name()), (ada.player(), "Ada"));
    let long = LobbySession::register(settings.clone(), "Ben", &"x".repeat(129)).await;
    assert!(matches!(long.err(), Some(LobbyError::TooLong { bytes_max: 128 })));
    let long = LobbySession::log_in_as(settings, &"x".repeat(33), "correct horse").await;
    assert!(matches!(long.err(), Some(LobbyError::TooLong { bytes_max: 32 })));
}
