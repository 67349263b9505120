//! A gate of its own before several lobbies: sessions go on when a lobby goes, and addresses stay their players'.

use std::net::IpAddr;
use std::time::Duration;

use tiltyard_api::{ClientMessage, ErrorCode, GateMessage, Issue, LoggedIn, Login, ModesWanted};
use tiltyard_cluster::NodeId;
use tiltyard_cluster::node::{Keyspace, LobbyRecord, Registration, RegistrationConfig, ViewConfig};
use tiltyard_lobby::testing::{LocalClient, LocalGate, LocalLobby};
use tiltyard_lobby::{GateConfig, GateLimits, LobbyConfig};

use crate::house::{House, Plan, config, hello};

/// Two lobbies on the store and directory of a house, and a gate before them.
struct Doors {
    house: House,
    lobbies: Vec<(LocalLobby, Registration<LobbyRecord>)>,
    gate: LocalGate,
}

impl Doors {
    async fn new(change: impl Fn(&mut LobbyConfig)) -> Self {
        let house = House::new(1).await;
        let mut lobbies = Vec::new();
        for number in 1..=2 {
            let mut config = config();
            config.id = NodeId::parse(&format!("lobby-{number}")).unwrap();
            change(&mut config);
            let (id, directory) = (config.id.clone(), house.directory.clone());
            let record = LobbyRecord::new(id.clone(), number, "127.0.0.1:1".parse().unwrap(), "test");
            let lobby = LocalLobby::start(
                config,
                directory.clone(),
                house.store.clone(),
                house.calls.clone(),
                house.clock.clone(),
            );
            let lobby = lobby.unwrap();
            house.calls.add_sessions(id, lobby.sessions());
            let times = RegistrationConfig::default();
            let registration = Registration::start(directory, Keyspace::default(), record, times);
            lobbies.push((lobby, registration.await.unwrap()));
        }
        let gate = GateConfig {
            id: NodeId::parse("gate-1").unwrap(),
            instance: 1,
            program: "test".to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            keyspace: Keyspace::default(),
            limits: GateLimits::default(),
            registration: RegistrationConfig::default(),
            view: ViewConfig::default(),
        };
        let gate = LocalGate::start(&gate, house.directory.clone(), house.calls.clone());
        while gate.lobbies() < 2 || lobbies.iter().any(|(lobby, _)| lobby.nodes() == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { house, lobbies, gate }
    }

    async fn enter(&self, from: &str) -> (LocalClient, GateMessage) {
        let from: IpAddr = from.parse().unwrap();
        let mut client = self.gate.connect_from(from);
        assert!(client.send(hello()).await);
        assert!(matches!(client.receive().await, Some(GateMessage::Welcome(_))));
        assert!(client.send(ClientMessage::Login(Login::default())).await);
        let said = client.receive().await.unwrap();
        (client, said)
    }

    async fn log_in(&self) -> (LocalClient, LoggedIn, usize) {
        let before = self.sessions();
        let (client, said) = self.enter("192.0.2.1").await;
        let GateMessage::LoggedIn(logged_in) = said else { panic!("{said:?}") };
        let at = self.sessions().iter().zip(before).position(|(now, before)| *now > before).unwrap();
        (client, logged_in, at)
    }

    fn sessions(&self) -> [u64; 2] {
        [0, 1].map(|index| self.lobbies[index].0.counter("sessions"))
    }
}

async fn modes(client: &mut LocalClient) -> Option<GateMessage> {
    assert!(client.send(ClientMessage::Modes(ModesWanted {})).await);
    client.receive().await
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_at_another_lobby_when_its_own_dies() {
    let doors = Doors::new(|_| ()).await;
    let (mut client, logged_in, at) = doors.log_in().await;
    doors.lobbies[at].0.die();
    let Some(GateMessage::LoggedIn(again)) = client.receive().await else { panic!("it is not told") };
    assert_eq!((again.player, again.name), (logged_in.player, logged_in.name));
    assert_eq!(doors.lobbies[1 - at].0.counter("resumes"), 1);
    assert!(matches!(modes(&mut client).await, Some(GateMessage::Modes(_))));
}

#[tokio::test(start_paused = true)]
async fn a_lobby_that_closes_in_order_hands_its_sessions_on() {
    let doors = Doors::new(|_| ()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(doors.log_in().await);
    }
    let at = |lobby| clients.iter().filter(|(_, _, at)| *at == lobby).count();
    assert_eq!((at(0), at(1)), (5, 5), "they are shared out");
    doors.lobbies[0].0.close();
    for (mut client, logged_in, at) in clients {
        if at == 0 {
            let Some(GateMessage::LoggedIn(again)) = client.receive().await else { panic!("it is not told") };
            assert_eq!(again.player, logged_in.player);
        }
        assert!(matches!(modes(&mut client).await, Some(GateMessage::Modes(_))));
    }
    // And nobody new is sent there.
    let before = doors.sessions();
    doors.log_in().await;
    assert_eq!(doors.sessions(), [before[0], before[1] + 1]);
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_lobby_died_closes_the_connection_and_the_client_resumes_by_itself() {
    let doors = Doors::new(|_| ()).await;
    let (mut client, logged_in, at) = doors.log_in().await;
    // The lobby dies while it waits for a node's answer.
    doors.house.nodes[0].plans.lock().unwrap().push_back(Plan::TakeSlowly(Duration::from_secs(1)));
    let issue = Issue { mode: "five".try_into().unwrap(), loadout: 0 };
    assert!(client.send(ClientMessage::Issue(issue)).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    doors.lobbies[at].0.die();
    assert_eq!(client.receive().await, None);
    let mut client = doors.gate.connect_from("192.0.2.1".parse().unwrap());
    assert!(client.send(hello()).await);
    assert!(matches!(client.receive().await, Some(GateMessage::Welcome(_))));
    let session = logged_in.session.clone();
    assert!(client.send(ClientMessage::Resume(tiltyard_api::Resume { session })).await);
    let Some(GateMessage::LoggedIn(again)) = client.receive().await else { panic!("not resumed") };
    assert_eq!(again.player, logged_in.player);
}

#[tokio::test(start_paused = true)]
async fn without_any_lobby_a_client_is_told_to_try_later() {
    let doors = Doors::new(|_| ()).await;
    let (mut waiting, ..) = doors.log_in().await;
    doors.lobbies.iter().for_each(|(lobby, _)| lobby.die());
    assert_eq!(waiting.receive().await, None);
    let mut client = doors.gate.connect_from("192.0.2.1".parse().unwrap());
    let Some(GateMessage::Error(error)) = client.receive().await else { panic!("nothing is said") };
    assert_eq!(error.code, ErrorCode::TryLater);
    assert_eq!(client.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn limits_by_address_hold_for_the_players_address_and_not_the_gates() {
    let doors = Doors::new(|config| config.gate_limits.logins_per_minute = 1).await;
    let mut limited = 0;
    // Two at once from one address, at each of the two lobbies.
    for _ in 0..5 {
        let (_, said) = doors.enter("192.0.2.1").await;
        limited +=
            usize::from(matches!(said, GateMessage::Error(error) if error.code == ErrorCode::RateLimited));
    }
    assert_eq!(limited, 1);
    let (_, said) = doors.enter("192.0.2.2").await;
    assert!(matches!(said, GateMessage::LoggedIn(_)), "{said:?}");
}
