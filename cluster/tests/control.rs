//! Control calls over real loopback sockets: authentication, bounds, timeouts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tiltyard_cluster::control::{
    BattleEnd, BattleKeyGrant, CALL_TIMEOUT, CallError, ClusterKeys, ClusterSecret, ControlClient,
    ControlServer, DrainAnswer, Frame, Handlers, LobbyCalls, LobbyHandler, NodeCalls, NodeHandler,
    NodeStatus, Peer, Refusal, Release, ReleaseAnswer, Reservation, ReserveAnswer, ReservedSeat,
    SessionCalls, SessionHandler, SessionLink, SettleAnswer, Settlement,
};
use tiltyard_cluster::node::Load;
use tiltyard_cluster::{BattleId, Clock, Epoch, NodeId};
use tokio::io::AsyncWriteExt as _;

#[derive(Default)]
struct Counting {
    calls: AtomicU32,
}

#[async_trait]
impl NodeHandler for Counting {
    async fn reserve(&self, reservation: Reservation) -> ReserveAnswer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match reservation.mode.as_str() {
            "slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                ReserveAnswer::Refused(Refusal::Internal)
            }
            "full" => ReserveAnswer::Refused(Refusal::Full),
            _ => ReserveAnswer::Reserved { addresses: vec!["127.0.0.1:4242".parse().unwrap()] },
        }
    }

    async fn release(&self, _: Release) -> ReleaseAnswer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        ReleaseAnswer::NotHere
    }

    async fn drain(&self) -> DrainAnswer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        DrainAnswer { battles: 3 }
    }

    async fn status(&self) -> NodeStatus {
        self.calls.fetch_add(1, Ordering::Relaxed);
        NodeStatus { node: name(), draining: false, load: Load::default(), battles: vec![] }
    }
}

impl SessionHandler for Counting {
    /// Says the player's address and then whatever it hears, until that is the end.
    fn take(&self, mut link: SessionLink, from: IpAddr) -> bool {
        if from.is_unspecified() {
            return false;
        }
        tokio::spawn(async move {
            link.send(Frame::Text(from.to_string())).await;
            while let Some(frame) = link.receive().await.filter(|frame| *frame != Frame::Closed) {
                link.send(frame).await;
            }
        });
        true
    }
}

#[async_trait]
impl LobbyHandler for Counting {
    async fn settle(&self, _: Settlement) -> SettleAnswer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        SettleAnswer::Stale { current: Epoch(2) }
    }
}

fn name() -> NodeId {
    NodeId::parse("n").unwrap()
}

fn keys(letter: u8) -> ClusterKeys {
    ClusterKeys::new(ClusterSecret::new(1, &[letter; 32]).unwrap(), None)
}

fn client(letter: u8) -> ControlClient {
    ControlClient::new(keys(letter), Clock::system())
}

fn house() -> (Arc<Counting>, ControlServer, Peer) {
    let handler = Arc::new(Counting::default());
    let handlers = Handlers {
        node: Some(handler.clone()),
        lobby: Some(handler.clone()),
        sessions: Some(handler.clone()),
    };
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = ControlServer::start(any, &name(), keys(7), Clock::system(), handlers).unwrap();
    let peer = Peer { id: name(), control: server.address() };
    (handler, server, peer)
}

fn reservation(mode: &str) -> Reservation {
    let seat = ReservedSeat { seat: 0, team: 0, player: 1, name: "a".into(), bot: false, loadout: 0 };
    Reservation {
        battle: BattleId(1),
        epoch: Epoch(1),
        mode: mode.to_owned(),
        protocol_hash: [1; 16],
        setup: vec![],
        seed: 1,
        rate_hz: 30,
        ticks_max: 10,
        seats: vec![seat],
        keys: vec![BattleKeyGrant { kid: 1, key: [1; 32] }],
        deadline_ms: 1_000,
    }
}

fn settlement() -> Settlement {
    Settlement {
        battle: BattleId(1),
        epoch: Epoch(1),
        node: name(),
        ticks: 1,
        winner: None,
        scores: vec![-1],
        final_hash: 1,
        recording_hash: [0; 32],
        ended: BattleEnd::Finished,
    }
}

fn count(server: &ControlServer, name: &str) -> u64 {
    server.counters().list().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[tokio::test]
async fn every_call_is_answered_over_a_real_socket() {
    let (_, server, peer) = house();
    let client = client(7);
    let reserved = client.reserve(&peer, &reservation("m")).await.unwrap();
    assert_eq!(reserved, ReserveAnswer::Reserved { addresses: vec!["127.0.0.1:4242".parse().unwrap()] });
    let refused = client.reserve(&peer, &reservation("full")).await.unwrap();
    assert_eq!(refused, ReserveAnswer::Refused(Refusal::Full));
    let release = Release { battle: BattleId(1), epoch: Epoch(1) };
    assert_eq!(client.release(&peer, release).await, Ok(ReleaseAnswer::NotHere));
    assert_eq!(client.drain(&peer).await, Ok(DrainAnswer { battles: 3 }));
    assert_eq!(client.status(&peer).await.unwrap().node, name());
    assert_eq!(client.settle(&peer, &settlement()).await, Ok(SettleAnswer::Stale { current: Epoch(2) }));
    assert_eq!(count(&server, "control_calls"), 6);
    server.shutdown().await;
    assert!(client.drain(&peer).await.is_err());
}

#[tokio::test]
async fn who_does_not_know_the_secret_reserves_nothing_over_a_real_socket() {
    let (handler, server, peer) = house();
    let stranger = client(8);
    let refused = Err(CallError::Unauthenticated(peer.control));
    assert_eq!(stranger.reserve(&peer, &reservation("m")).await, refused);
    assert_eq!(stranger.settle(&peer, &settlement()).await, Err(CallError::Unauthenticated(peer.control)));
    let elsewhere = Peer { id: NodeId::parse("other").unwrap(), ..peer.clone() };
    assert_eq!(client(7).reserve(&elsewhere, &reservation("m")).await, refused);
    let late = ControlClient::new(keys(7), Clock::from_tokio(1_000));
    assert_eq!(late.reserve(&peer, &reservation("m")).await, refused);
    assert_eq!(handler.calls.load(Ordering::Relaxed), 0);
    assert_eq!(count(&server, "control_refused_forged"), 2);
    assert_eq!(count(&server, "control_refused_not_for_us"), 1);
    assert_eq!(count(&server, "control_refused_out_of_time"), 1);
}

#[tokio::test]
async fn a_call_out_of_bounds_is_rejected_and_counted_over_a_real_socket() {
    let (handler, server, peer) = house();
    let mut odd = reservation("m");
    odd.seats[0].seat = 1;
    assert_eq!(client(7).reserve(&peer, &odd).await, Err(CallError::Rejected(peer.control)));
    assert_eq!(count(&server, "control_refused_malformed"), 1);
    let mut huge = reservation("m");
    huge.setup = vec![0; 1 << 20];
    assert!(client(7).reserve(&peer, &huge).await.is_err());
    assert_eq!(handler.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time_over_a_real_socket() {
    let (_, _server, peer) = house();
    let started = std::time::Instant::now();
    let lost = client(7).reserve(&peer, &reservation("slow")).await.unwrap_err();
    assert_eq!(lost, CallError::Unknown(peer.control));
    assert!(lost.may_have_happened());
    assert!(started.elapsed() < CALL_TIMEOUT * 2);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Peer { id: name(), control: nobody };
    assert_eq!(client(7).drain(&nobody).await, Err(CallError::Unreachable(nobody.control)));
}

#[tokio::test]
async fn bytes_that_are_no_http_2_disturb_nobody_over_a_real_socket() {
    let (_, _server, peer) = house();
    for garbage in [vec![0; 10_000], b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![255; 3]] {
        let mut socket = tokio::net::TcpStream::connect(peer.control).await.unwrap();
        // It may be closed on us in the middle.
        let _ = socket.write_all(&garbage).await;
    }
    assert_eq!(client(7).drain(&peer).await, Ok(DrainAnswer { battles: 3 }));
}

#[tokio::test]
async fn many_sessions_pass_over_one_connection_on_a_real_socket() {
    let (_, server, peer) = house();
    let client = client(7);
    let mut sessions = Vec::new();
    for number in 0..500_u32 {
        let from = IpAddr::from(std::net::Ipv4Addr::from_bits(0xc000_0200 + number));
        sessions.push((from, client.open(&peer, from).await.unwrap()));
    }
    for (from, session) in &mut sessions {
        assert_eq!(session.receive().await, Some(Frame::Text(from.to_string())));
        for frame in [Frame::Text("x".repeat(64 * 1024)), Frame::Alive] {
            assert!(session.send(frame.clone()).await);
            assert_eq!(session.receive().await, Some(frame));
        }
    }
    assert_eq!(count(&server, "control_sessions"), 500);
    // Either end may end it.
    let (_, mut first) = sessions.remove(0);
    assert!(first.send(Frame::Closed).await);
    assert_eq!(first.receive().await, None);
    drop(server);
    for (_, mut session) in sessions {
        // What the server's side still runs of this session ends with its connection.
        session.send(Frame::Closed).await;
        assert_eq!(session.receive().await, None);
    }
}

#[tokio::test]
async fn no_stranger_opens_a_session_over_a_real_socket() {
    let (_, server, peer) = house();
    let from = IpAddr::from([192, 0, 2, 1]);
    let refused = client(8).open(&peer, from).await.err();
    assert_eq!(refused, Some(CallError::Unauthenticated(peer.control)));
    let elsewhere = Peer { id: NodeId::parse("other").unwrap(), ..peer.clone() };
    assert!(client(7).open(&elsewhere, from).await.is_err());
    assert!(client(7).open(&peer, IpAddr::from([0, 0, 0, 0])).await.is_err(), "the handler refuses it");
    assert_eq!((count(&server, "control_refused_forged"), count(&server, "control_sessions")), (1, 0));
    let nowhere = Peer { control: "127.0.0.1:1".parse().unwrap(), ..peer };
    assert_eq!(client(7).open(&nowhere, from).await.err(), Some(CallError::Unreachable(nowhere.control)));
}
