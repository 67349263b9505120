//! From queue to battle to result, with fake nodes, under paused time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::house::{Client, HASH, House, Plan, config, opened, queue, settlement};
use tiltyard_api::{ClientMessage, Ended, GateMessage, Issue, WhereIsMyBattle};
use tiltyard_cluster::control::{Refusal, Reservation, SettleAnswer};
use tiltyard_cluster::directory::MemoryDirectory;
use tiltyard_cluster::epoch;
use tiltyard_cluster::node::Keyspace;
use tiltyard_cluster::testing::{Fault, Faulty};
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_lobby::store::BattleState;
use tiltyard_lobby::testing::LocalLobby;
use tiltyard_lobby::{MasterKeys, Waits};
use tiltyard_netcode::token::MasterKey;

const SECOND: Duration = Duration::from_secs(1);

fn issue() -> ClientMessage {
    ClientMessage::Issue(Issue { mode: "five".try_into().unwrap(), loadout: 3 })
}

async fn where_is(client: &mut Client) -> Option<tiltyard_api::BattleReady> {
    client.send(ClientMessage::WhereIsMyBattle(WhereIsMyBattle {})).await;
    match client.next().await {
        GateMessage::YourBattle(yours) => yours.battle.map(|battle| *battle),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn ten_players_get_seats_of_their_own_and_tokens_that_the_node_can_open() {
    let house = House::new(2).await;
    let mut clients = house.queued(10, "five").await;
    let mut seats = BTreeSet::new();
    for client in &mut clients {
        let GateMessage::MatchFound(found) = client.next().await else { panic!("no match") };
        assert_eq!((found.players, found.bots), (10, 0));
        let ready = client.ready().await;
        let (reservation, _) = &house.reserved()[0];
        let claims = opened(&ready, reservation);
        let seat = &reservation.seats[usize::from(ready.seat)];
        assert_eq!((claims.player, claims.seat, claims.team), (seat.player, ready.seat, ready.team));
        assert_eq!(claims.session_secret.as_bytes(), ready.secret.as_bytes());
        assert_eq!((claims.protocol_hash, seat.loadout, seat.bot), (HASH, 3, false));
        assert_eq!(ready.addresses.as_slice().len(), 1);
        assert_eq!(ready.battle.0, reservation.battle.0);
        seats.insert((ready.team, ready.seat));
    }
    assert_eq!(seats.len(), 10);
    assert_eq!(seats.iter().filter(|(team, _)| *team == 0).count(), 5);
    assert_eq!(house.reserved().len(), 1, "one match, one reservation");
}

#[tokio::test(start_paused = true)]
async fn the_battles_row_is_written_before_a_node_is_asked() {
    let house = House::new(1).await;
    let mut clients = house.queued(2, "duel").await;
    let ready = clients[0].ready().await;
    let (reservation, row) = house.reserved().remove(0);
    let row = row.expect("the row was there when the node was asked");
    assert_eq!((row.state, row.epoch, row.battle), (BattleState::Placing, Epoch(1), reservation.battle));
    assert_eq!(row.seed, reservation.seed);
    let row = house.store.battle(BattleId(ready.battle.0)).await.unwrap().unwrap();
    assert_eq!(row.state, BattleState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_refused_battle_goes_to_the_next_node_with_the_same_players() {
    for refusing in 1..=2 {
        let house = House::new(3).await;
        // Whoever is asked first refuses.
        let refusals = Arc::new(std::sync::Mutex::new(vec![Refusal::Full; refusing]));
        for node in &house.nodes {
            node.refuse_from(&refusals);
        }
        let mut clients = house.queued(2, "duel").await;
        let battle = clients[0].ready().await.battle;
        assert_eq!(clients[1].ready().await.battle, battle);
        let reserved = house.reserved();
        assert_eq!(reserved.len(), 1);
        assert_eq!(reserved[0].0.epoch, Epoch(1), "a clear refusal leaves the epoch alone");
        assert_eq!(house.lobby.counter("reservations_refused"), refusing as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn after_three_refusals_the_tickets_return_with_their_age_and_are_placed_later() {
    let house = House::new(4).await;
    house.plan(Plan::Refuse(Refusal::Overloaded));
    let mut clients = house.queued(2, "duel").await;
    let queued_at = tokio::time::Instant::now();
    assert!(matches!(clients[0].next().await, GateMessage::MatchFound(_)));
    let GateMessage::Requeued(requeued) = clients[0].next().await else { panic!("not requeued") };
    assert_eq!(requeued.reason.as_str(), "try_later");
    assert_eq!(house.lobby.counter("reservations_refused"), 3, "at most two more nodes are asked");
    let row_count = house.store.counts().await.unwrap().battles;
    let ready = clients[0].ready().await;
    assert!(queued_at.elapsed() >= config().waits.placement_pause);
    assert!(house.store.counts().await.unwrap().battles > row_count, "the next try is another battle");
    assert_eq!(clients[1].ready().await.battle, ready.battle);
}

#[tokio::test(start_paused = true)]
async fn of_a_long_queue_without_a_node_only_the_first_are_told_of_a_match() {
    let mut house = House::new(0).await;
    house.add_node("drains", |record| record.draining = true).await;
    let mut clients = house.queued(400, "duel").await;
    tokio::time::sleep(config().waits.placement_pause + SECOND / 2).await;
    assert!(house.lobby.counter("matches") >= 200);
    let told = house.lobby.counter("matches_returned");
    assert!((2..=70).contains(&told), "{told} of 200");
    // None of them is lost.
    house.add_node("good", |record| record.load.battles_max = 1_000).await;
    for client in &mut clients {
        client.ready().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_returned_ticket_is_served_before_those_that_came_later() {
    let house = House::new(1).await;
    house.plan(Plan::Refuse(Refusal::Full));
    let mut old = house.queued(2, "duel").await;
    for client in &mut old {
        assert!(matches!(client.next().await, GateMessage::MatchFound(_)));
        assert!(matches!(client.next().await, GateMessage::Requeued(_)));
    }
    tokio::time::sleep(SECOND / 10).await;
    let mut new = house.queued(1, "duel").await;
    let battle = old[0].ready().await.battle;
    assert_eq!(old[1].ready().await.battle, battle);
    assert!(new[0].silent(5 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_the_next_node_gets_a_higher_epoch_and_the_first_cannot_settle() {
    let house = House::new(2).await;
    let mut clients = house.queued(2, "duel").await;
    for node in &house.nodes {
        node.plans.lock().unwrap().push_back(Plan::TakeAndLoseAnswer);
    }
    // The first node asked loses its answer; before the second is asked it is told to take it.
    tokio::time::sleep(SECOND).await;
    for node in &house.nodes {
        node.plans.lock().unwrap().clear();
    }
    let ready = clients[0].ready().await;
    assert_eq!(ready.epoch, 2);
    let mut epochs: Vec<_> = house.reserved().iter().map(|(reservation, _)| reservation.epoch).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [Epoch(1), Epoch(2)]);
    let released: Vec<_> = house
        .nodes
        .iter()
        .flat_map(|node| node.released.lock().unwrap().clone())
        .map(|it| it.epoch)
        .collect();
    assert_eq!(released, [Epoch(1)]);
    let owner = epoch::current(&*house.directory, &Keyspace::default(), BattleId(ready.battle.0)).await;
    let owner = owner.unwrap().expect("it is claimed");
    assert_eq!(owner.epoch, Epoch(2), "the first node learns from it that the battle is another's");
    let second = |(reservation, _): &(Reservation, _)| reservation.epoch == Epoch(2);
    assert!(
        house
            .nodes
            .iter()
            .any(|node| { node.id == owner.owner && node.reserved.lock().unwrap().iter().any(second) })
    );
    let sink = house.lobby.result_sink();
    let battle = BattleId(ready.battle.0);
    let stale = sink.settle(settlement(battle, Epoch(1))).await;
    assert_eq!(stale, SettleAnswer::Stale { current: Epoch(2) });
    assert_eq!(house.store.counts().await.unwrap().results, 0);
    assert_eq!(sink.settle(settlement(battle, Epoch(2))).await, SettleAnswer::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_player_who_cancels_while_being_placed_is_refused_and_the_match_holds() {
    let house = House::new(1).await;
    house.plan(Plan::TakeSlowly(SECOND));
    let mut clients = house.queued(2, "duel").await;
    assert!(matches!(clients[0].next().await, GateMessage::MatchFound(_)));
    clients[0].send(ClientMessage::Cancel(tiltyard_api::Cancel {})).await;
    assert_eq!(clients[0].code().await, "already_matched");
    assert_eq!(clients[0].ready().await.battle, clients[1].ready().await.battle);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_ticket_is_not_matched() {
    let house = House::new(1).await;
    let mut clients = house.queued(1, "duel").await;
    clients[0].send(ClientMessage::Cancel(tiltyard_api::Cancel {})).await;
    assert!(matches!(clients[0].next().await, GateMessage::Cancelled(_)));
    let mut late = house.queued(1, "duel").await;
    assert!(late[0].silent(5 * SECOND).await);
    clients[0].send(ClientMessage::Cancel(tiltyard_api::Cancel {})).await;
    assert_eq!(clients[0].code().await, "not_queued");
}

#[tokio::test(start_paused = true)]
async fn bots_fill_a_match_after_the_modes_wait() {
    let house = House::new(1).await;
    let mut clients = house.queued(3, "bots").await;
    assert!(clients[0].silent(9 * SECOND).await);
    let GateMessage::MatchFound(found) = clients[0].next().await else { panic!("no match") };
    assert_eq!((found.players, found.bots), (3, 7));
    clients[0].ready().await;
    let (reservation, _) = house.reserved().remove(0);
    let humans = |team| reservation.seats.iter().filter(|seat| seat.team == team && !seat.bot).count();
    assert_eq!((humans(0), humans(1)), (2, 1));
    let players: BTreeSet<_> = reservation.seats.iter().map(|seat| seat.player).collect();
    assert_eq!(players.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_issued_battle_seats_one_player_among_bots_and_one_at_a_time() {
    let house = House::new(1).await;
    let (mut client, _) = house.player("Ada").await;
    client.send(issue()).await;
    let ready = client.ready().await;
    let (reservation, _) = house.reserved().remove(0);
    assert_eq!(reservation.seats.iter().filter(|seat| seat.bot).count(), 9);
    assert_eq!((ready.seat, ready.team), (0, 0));
    assert_eq!(reservation.setup, [1, 2, 3]);
    client.send(issue()).await;
    assert_eq!(client.code().await, "in_battle");
    client.send(queue("duel")).await;
    assert_eq!(client.code().await, "in_battle");
    let battle = BattleId(ready.battle.0);
    house.lobby.result_sink().settle(settlement(battle, Epoch(1))).await;
    assert!(matches!(client.next().await, GateMessage::BattleOver(_)));
    client.send(issue()).await;
    assert_ne!(client.ready().await.battle, ready.battle);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_stored_once_and_the_players_are_told_once() {
    let house = House::new(1).await;
    let mut clients = house.queued(2, "duel").await;
    let battle = BattleId(clients[0].ready().await.battle.0);
    clients[1].ready().await;
    let sink = house.lobby.result_sink();
    assert_eq!(sink.settle(settlement(BattleId(1), Epoch(1))).await, SettleAnswer::Unknown);
    assert_eq!(sink.settle(settlement(battle, Epoch(1))).await, SettleAnswer::Accepted);
    assert_eq!(sink.settle(settlement(battle, Epoch(1))).await, SettleAnswer::Duplicate);
    for client in &mut clients {
        let GateMessage::BattleOver(over) = client.next().await else { panic!("not told") };
        assert_eq!((over.ended, over.winner, over.ticks), (Ended::Finished, Some(1), 900));
        assert_eq!((over.scores.as_slice(), over.final_hash.0), (&[3, 4][..], 77));
        assert!(client.silent(SECOND).await);
        client.queue("duel").await;
    }
    assert_eq!(house.store.counts().await.unwrap().results, 1);
    assert_eq!(house.lobby.counter("results_duplicate"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_player_finds_the_battle_again_after_a_drop() {
    let house = House::new(1).await;
    let (mut client, session) = house.player("Ada").await;
    assert_eq!(where_is(&mut client).await, None);
    client.send(issue()).await;
    let ready = client.ready().await;
    assert_eq!(where_is(&mut client).await, Some(ready.clone()));
    drop(client);
    let (mut client, logged_in) = house.resumed(&session).await;
    assert!(logged_in.in_battle);
    assert_eq!(where_is(&mut client).await, Some(ready.clone()), "the same token");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_lobby_hands_out_the_same_seat_under_a_fresh_token() {
    let mut house = House::new(1).await;
    let (mut client, session) = house.player("Ada").await;
    client.send(issue()).await;
    let ready = client.ready().await;
    drop(client);
    let (store, calls) = (house.store.clone(), house.calls.clone());
    house.lobby =
        LocalLobby::start(config(), house.directory.clone(), store, calls, house.clock.clone()).unwrap();
    let (mut client, logged_in) = house.resumed(&session).await;
    assert!(logged_in.in_battle);
    let again = where_is(&mut client).await.unwrap();
    assert_eq!((again.battle, again.seat, again.epoch), (ready.battle, ready.seat, ready.epoch));
    assert_eq!(again.addresses, ready.addresses);
    let (reservation, _) = house.reserved().remove(0);
    assert_eq!(opened(&again, &reservation).player, opened(&ready, &reservation).player);
    let settled = house.lobby.result_sink().settle(settlement(reservation.battle, Epoch(1))).await;
    assert_eq!(settled, SettleAnswer::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_battle_whose_node_never_settles_keeps_its_players_for_a_bounded_time() {
    let house = House::new(1).await;
    let (mut client, session) = house.player("Ada").await;
    client.send(issue()).await;
    client.ready().await;
    drop(client);
    let waits = config().waits;
    tokio::time::sleep(30 * SECOND + waits.token_ttl + waits.result_grace + SECOND).await;
    let (mut client, logged_in) = house.resumed(&session).await;
    assert!(!logged_in.in_battle);
    client.queue("duel").await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_drain_are_full_or_of_another_game_get_no_battle() {
    let mut house = House::new(0).await;
    house.add_node("drains", |record| record.draining = true).await;
    house.add_node("full", |record| record.load.seats_max = 1).await;
    house.add_node("other", |record| record.protocol_hash = [8; 16]).await;
    let mut clients = house.queued(2, "duel").await;
    assert!(matches!(clients[0].next().await, GateMessage::MatchFound(_)));
    assert!(matches!(clients[0].next().await, GateMessage::Requeued(_)));
    assert_eq!(house.store.counts().await.unwrap().battles, 0, "nobody to ask, no row");
    house.add_node("good", |_| ()).await;
    let ready = clients[0].ready().await;
    let (reservation, _) = house.reserved().remove(0);
    assert_eq!(reservation.battle.0, ready.battle.0);
    assert_eq!(house.nodes[3].reserved.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn placement_outlives_the_directory_for_one_ttl_and_heals_by_itself() {
    let way = Arc::new(Faulty::new(Arc::new(MemoryDirectory::new())));
    let house = House::with(1, config(), way.clone()).await;
    way.set(Fault::Away);
    tokio::time::sleep(config().registration.ttl - 2 * SECOND).await;
    let (mut client, _) = house.player("Ada").await;
    client.send(issue()).await;
    client.ready().await;
    tokio::time::sleep(3 * SECOND).await;
    let (mut late, _) = house.player("Bob").await;
    late.send(issue()).await;
    assert_eq!(late.code().await, "try_later");
    way.set(Fault::None);
    tokio::time::sleep(3 * SECOND).await;
    late.send(issue()).await;
    late.ready().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_players_battles_and_seeds() {
    let run = async || {
        let house = House::new(2).await;
        let mut clients = house.queued(4, "duel").await;
        for client in &mut clients {
            client.ready().await;
        }
        let mut battles: Vec<_> = house
            .reserved()
            .into_iter()
            .map(|(it, _)| (it.battle, it.seed, it.seats.iter().map(|seat| seat.player).collect::<Vec<_>>()))
            .collect();
        battles.sort_unstable();
        battles
    };
    let first = run().await;
    assert_eq!(first.len(), 2);
    assert_eq!(first, run().await);
}

#[tokio::test(start_paused = true)]
async fn battles_spread_over_the_nodes_before_any_load_is_reported() {
    let house = House::new(4).await;
    let mut clients = house.queued(40, "duel").await;
    for client in &mut clients {
        client.ready().await;
    }
    let counts: Vec<_> = house.nodes.iter().map(|node| node.reserved.lock().unwrap().len()).collect();
    assert_eq!(counts, [5, 5, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_it_runs_leaves_old_battles_their_key_and_gives_new_ones_the_new() {
    let house = House::new(1).await;
    let (mut ada, session) = house.player("Ada").await;
    ada.send(issue()).await;
    let first = ada.ready().await;
    let key = |kid, letter| MasterKey::from_bytes(kid, [letter; 32]);
    house.lobby.change_keys(MasterKeys::new(key(2, 2), Some(key(1, 9))));

    // When the first token has expired, the new one is sealed with the key that the node has.
    tokio::time::sleep(Waits::default().token_ttl + Duration::from_secs(1)).await;
    let (mut ada, logged_in) = house.resumed(&session).await;
    assert!(logged_in.in_battle && logged_in.session.as_str() != session);
    let again = where_is(&mut ada).await.expect("a battle");
    assert!(again.battle == first.battle && again.token != first.token);
    let kids =
        |index: usize| -> Vec<u32> { house.reserved()[index].0.keys.iter().map(|grant| grant.kid).collect() };
    assert_eq!(kids(0), [1]);
    opened(&again, &house.reserved()[0].0);

    // A new battle has both keys, and its tokens are of the new one.
    let (mut eve, _) = house.player("Eve").await;
    eve.send(issue()).await;
    let ready = eve.ready().await;
    assert_eq!(kids(1), [2, 1]);
    opened(&ready, &house.reserved()[1].0);
}
