//! A rolling upgrade: nodes and lobbies of two versions of a game in one directory, while players come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_api::GateMessage;
use tiltyard_cluster::NodeId;
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::node::Load;
use tiltyard_lobby::LobbyConfig;
use tiltyard_lobby::store::EmbeddedStore;
use tiltyard_lobby::testing::LocalLobby;

use crate::house::{Client, FakeNode, HASH, House, config, hello};

const SECOND: Duration = Duration::from_secs(1);
const NEXT: [u8; 16] = [8; 16];
/// Players who come in each wave.
const WAVE: usize = 200;

/// A lobby of the next version.
fn next() -> LobbyConfig {
    let mut config =
        LobbyConfig { id: NodeId::parse("lobby-2").unwrap(), instance: 2, seed: Some(43), ..config() };
    config.modes.iter_mut().for_each(|mode| mode.protocol_hash = NEXT);
    config
}

/// Two versions side by side; the nodes of the first come first.
struct Upgrade {
    house: House,
    next: LocalLobby,
}

impl Upgrade {
    async fn new(nodes: usize) -> Self {
        let (directory, store) = (Arc::new(MemoryDirectory::new()), Arc::new(EmbeddedStore::in_memory()));
        let mut house = House::over(store, 0, config(), directory).await;
        let load = Load { seats_max: 100_000, battles_max: 10_000, ..Load::default() };
        for (version, hash) in [("old", HASH), ("new", NEXT)] {
            for number in 0..nodes {
                let change = |record: &mut tiltyard_cluster::node::NodeRecord| {
                    (record.protocol_hash, record.load) = (hash, load);
                };
                house.add_node(&format!("{version}-{number}"), change).await;
            }
        }
        let House { directory, store, calls, clock, .. } = &house;
        let next = LocalLobby::start(next(), directory.clone(), store.clone(), calls.clone(), clock.clone());
        let next = next.unwrap();
        while next.nodes() < 2 * nodes {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { house, next }
    }

    /// Players who queue for a duel with the lobby of their version.
    async fn come(&self, lobby: &LocalLobby) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..WAVE {
            let mut client = Client(lobby.connect());
            client.send(hello()).await;
            assert!(matches!(client.next().await, GateMessage::Welcome(_)));
            client.send(tiltyard_api::ClientMessage::Login(tiltyard_api::Login::default())).await;
            assert!(matches!(client.next().await, GateMessage::LoggedIn(_)));
            client.queue("duel").await;
            clients.push(client);
        }
        clients
    }

    /// How many battles each version's nodes have, none of which may be of the other one.
    fn placed(&self) -> [usize; 2] {
        [("old-", HASH), ("new-", NEXT)].map(|(name, hash)| {
            let of_version = |node: &&Arc<FakeNode>| node.id.as_str().starts_with(name);
            let nodes = self.house.nodes.iter().filter(of_version);
            let battles = nodes.flat_map(|node| node.reserved.lock().unwrap().clone());
            let of_these: Vec<_> = battles.map(|(reservation, _)| reservation).collect();
            assert!(of_these.iter().all(|reservation| reservation.protocol_hash == hash));
            of_these.iter().map(|reservation| reservation.battle).collect::<BTreeSet<_>>().len()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_version_follows_the_other_no_node_gets_a_battle_of_the_other_one() {
    let upgrade = Upgrade::new(3).await;
    let mut players = upgrade.come(&upgrade.house.lobby).await;
    players.extend(upgrade.come(&upgrade.next).await);
    for player in &mut players {
        player.ready().await;
    }
    assert_eq!(upgrade.placed(), [WAVE / 2, WAVE / 2]);

    // The old nodes drain while players of both versions come: one after the other, under load.
    for node in 0..3 {
        let (old, new) = tokio::join!(upgrade.come(&upgrade.house.lobby), upgrade.come(&upgrade.next));
        upgrade.house.registrations[node].update(|record| record.draining = true);
        for mut player in new {
            player.ready().await;
        }
        players.extend(old);
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(upgrade.placed()[1], 4 * WAVE / 2, "the next version goes on");

    // Whoever comes with the old version now waits; nothing of his goes to the new nodes.
    let late = upgrade.come(&upgrade.house.lobby).await;
    let before = upgrade.placed();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(upgrade.placed(), before);

    // A node of the old version comes back, and those who waited play.
    let rescued = upgrade.come(&upgrade.next).await;
    upgrade.house.registrations[1].update(|record| record.draining = false);
    tokio::time::sleep(5 * SECOND).await;
    let [old_now, new_now] = upgrade.placed();
    assert!(old_now > before[0] && new_now == before[1] + WAVE / 2, "{old_now} {new_now}");
    drop((late, rescued));
}
