//! What every store must do, whichever it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use tiltyard_cluster::control::BattleEnd;
use tiltyard_cluster::{BattleId, Epoch, NodeId};

use crate::store::{
    APPLIED_MAX, Account, AccountLogin, Avatar, AvatarChange, BattleResult, BattleRow, BattleState, Ordinal,
    PasswordHash, RowSeat, Settled, Store,
};

/// Holds a store against the contract of [`Store`]. Uses the numbers from `first` to `first + 999` for players
/// and battles, which must be free.
///
/// # Panics
/// The store breaks the contract.
pub async fn store_conformance(store: Arc<dyn Store>, first: u64) {
    ordinals_are_given_once(&store).await;
    who_is_placed_gets_an_account_once(&store, first).await;
    a_battle_is_created_once(&store, first + 1).await;
    an_epoch_is_raised_by_one_of_many(&store, first + 2).await;
    a_place_is_noted_under_the_right_epoch_alone(&store, first + 3).await;
    a_dissolved_battle_is_never_settled(&store, first + 4).await;
    a_result_is_stored_once_where_the_epoch_matches(&store, first + 5).await;
    one_of_many_settlements_is_accepted(&store, first + 6).await;
    a_player_has_the_newest_battle_until_its_result(&store, first + 7).await;
    a_result_is_applied_to_each_avatar_once(&store, first + 200).await;
    a_login_is_taken_by_one_account(&store, first + 400).await;
}

fn row(battle: u64, player: u64) -> BattleRow {
    let seat =
        |seat, player, bot| RowSeat { seat, team: 0, player, name: "n".into(), bot, loadout: u32::MAX };
    BattleRow {
        battle: BattleId(battle),
        epoch: Epoch::FIRST,
        state: BattleState::Placing,
        mode: "mode".into(),
        protocol_hash: [255; 16],
        seed: u64::MAX,
        rate_hz: 30,
        ticks_max: u32::MAX,
        seats: vec![seat(0, player, false), seat(1, u64::MAX, true)],
        created_unix_ms: 1,
        kid: 1,
        node: None,
        addresses: vec![],
        result: None,
    }
}

fn result(ticks: u32) -> BattleResult {
    BattleResult {
        node: node(),
        ticks,
        winner: Some(1),
        scores: vec![i64::MIN, i64::MAX],
        final_hash: u64::MAX,
        recording_hash: [7; 32],
        ended: BattleEnd::Aborted,
        settled_unix_ms: 9,
        changes: vec![],
    }
}

fn node() -> NodeId {
    NodeId::parse("node").expect("a plain name")
}

async fn ordinals_are_given_once(store: &Arc<dyn Store>) {
    let takes = (0..16).map(|_| store.take_ordinals(Ordinal::Battle, 3));
    let firsts = futures_util::future::join_all(takes).await;
    let taken: BTreeSet<u64> = firsts
        .into_iter()
        .flat_map(|first| {
            let first = first.unwrap();
            first..first + 3
        })
        .collect();
    assert_eq!(taken.len(), 48);
    store.take_ordinals(Ordinal::Player, 1).await.unwrap();
    let next = store.take_ordinals(Ordinal::Battle, 1).await.unwrap();
    assert!(taken.iter().all(|earlier| *earlier < next));
}

async fn who_is_placed_gets_an_account_once(store: &Arc<dyn Store>, number: u64) {
    let player = number;
    let before = store.counts().await.unwrap().accounts;
    store.create_battle(&row(number, player)).await.unwrap();
    assert_eq!(store.account(player).await.unwrap(), None, "being matched is no account");
    assert!(!store.end_sessions(player, 0).await.unwrap());
    store.place(BattleId(number), Epoch(1), &node(), &[]).await.unwrap();
    let account = Account {
        player,
        name: "n".into(),
        created_unix_ms: 1,
        session_generation: 0,
        avatar: Avatar::default(),
        login: None,
    };
    assert_eq!(store.account(player).await.unwrap(), Some(account));
    assert_eq!(store.account(u64::MAX).await.unwrap(), None, "a bot has no account");
    for (generation, expected) in [(3, 4), (2, 4), (4, 5), (4, 5)] {
        assert!(store.end_sessions(player, generation).await.unwrap());
        assert_eq!(store.account(player).await.unwrap().unwrap().session_generation, expected);
    }
    store.create_battle(&row(number + 100, player)).await.unwrap();
    store.place(BattleId(number + 100), Epoch(1), &node(), &[]).await.unwrap();
    assert_eq!(store.account(player).await.unwrap().unwrap().session_generation, 5, "it stays as it is");
    assert_eq!(store.counts().await.unwrap().accounts, before + 1);
}

async fn a_battle_is_created_once(store: &Arc<dyn Store>, number: u64) {
    let before = store.counts().await.unwrap();
    assert!(store.create_battle(&row(number, number)).await.unwrap());
    assert!(!store.create_battle(&BattleRow { seed: 1, ..row(number, number) }).await.unwrap());
    assert_eq!(store.battle(BattleId(number)).await.unwrap(), Some(row(number, number)));
    assert_eq!(store.battle(BattleId(number + 500)).await.unwrap(), None);
    assert_eq!(store.counts().await.unwrap().battles, before.battles + 1);
}

async fn an_epoch_is_raised_by_one_of_many(store: &Arc<dyn Store>, number: u64) {
    let battle = BattleId(number);
    assert_eq!(store.raise_epoch(battle, Epoch(1)).await.unwrap(), None);
    store.create_battle(&row(number, number)).await.unwrap();
    let raises = futures_util::future::join_all((0..8).map(|_| store.raise_epoch(battle, Epoch(1)))).await;
    assert_eq!(raises.into_iter().filter(|raised| *raised == Ok(Some(Epoch(2)))).count(), 1);
    assert_eq!(store.raise_epoch(battle, Epoch(2)).await.unwrap(), Some(Epoch(3)));
    assert_eq!(store.raise_epoch(battle, Epoch(9)).await.unwrap(), None);
}

async fn a_place_is_noted_under_the_right_epoch_alone(store: &Arc<dyn Store>, number: u64) {
    let battle = BattleId(number);
    let addresses = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
    store.create_battle(&row(number, number)).await.unwrap();
    assert!(!store.place(battle, Epoch(2), &node(), &addresses).await.unwrap());
    assert_eq!(store.battle_of(number).await.unwrap(), None);
    assert!(store.place(battle, Epoch(1), &node(), &addresses).await.unwrap());
    assert!(store.place(battle, Epoch(1), &node(), &addresses).await.unwrap(), "asking again is fine");
    let other = NodeId::parse("other").expect("a plain name");
    assert!(!store.place(battle, Epoch(1), &other, &addresses).await.unwrap());
    let placed = store.battle_of(number).await.unwrap().unwrap();
    assert_eq!(
        (placed.state, placed.node, placed.addresses),
        (BattleState::Running, Some(node()), addresses.to_vec())
    );
    assert_eq!(store.battle_of(u64::MAX).await.unwrap(), None, "a bot has no battle");
}

async fn a_dissolved_battle_is_never_settled(store: &Arc<dyn Store>, number: u64) {
    let battle = BattleId(number);
    store.create_battle(&row(number, number)).await.unwrap();
    assert!(!store.dissolve(battle, Epoch(2)).await.unwrap());
    assert!(store.dissolve(battle, Epoch(1)).await.unwrap());
    assert!(!store.place(battle, Epoch(1), &node(), &[]).await.unwrap());
    let settled = store.settle(battle, Epoch(1), &result(1)).await.unwrap();
    assert_eq!(settled, Settled::Stale { current: Epoch(2) });
    assert!(!store.dissolve(battle, Epoch(2)).await.unwrap(), "once");

    let (placed, player) = (BattleId(number + 100), number);
    store.create_battle(&row(placed.0, player)).await.unwrap();
    store.place(placed, Epoch(1), &node(), &[]).await.unwrap();
    assert!(store.dissolve(placed, Epoch(1)).await.unwrap());
    assert_eq!(store.battle_of(player).await.unwrap(), None);
    let settled = store.settle(placed, Epoch(1), &result(1)).await.unwrap();
    assert_eq!(settled, Settled::Stale { current: Epoch(2) });

    let settled = BattleId(number + 101);
    store.create_battle(&row(settled.0, player)).await.unwrap();
    store.settle(settled, Epoch(1), &result(1)).await.unwrap();
    assert!(!store.dissolve(settled, Epoch(1)).await.unwrap(), "a result stays");
}

async fn a_result_is_stored_once_where_the_epoch_matches(store: &Arc<dyn Store>, number: u64) {
    let battle = BattleId(number);
    let before = store.counts().await.unwrap().results;
    assert_eq!(store.settle(battle, Epoch(1), &result(1)).await.unwrap(), Settled::Unknown);
    store.create_battle(&row(number, number)).await.unwrap();
    store.raise_epoch(battle, Epoch(1)).await.unwrap();
    store.place(battle, Epoch(2), &node(), &[]).await.unwrap();
    let stale = store.settle(battle, Epoch(1), &result(1)).await.unwrap();
    assert_eq!(stale, Settled::Stale { current: Epoch(2) });
    assert_eq!(store.settle(battle, Epoch(3), &result(3)).await.unwrap(), Settled::Unknown);
    assert_eq!(store.battle(battle).await.unwrap().unwrap().result, None);
    let Settled::Accepted(row) = store.settle(battle, Epoch(2), &result(2)).await.unwrap() else {
        panic!("the owner's result was not accepted")
    };
    assert_eq!((row.state, row.result.clone()), (BattleState::Settled, Some(result(2))));
    assert_eq!(store.settle(battle, Epoch(2), &result(4)).await.unwrap(), Settled::Duplicate);
    assert_eq!(store.battle(battle).await.unwrap(), Some(*row));
    assert_eq!(
        store.raise_epoch(battle, Epoch(2)).await.unwrap(),
        None,
        "a settled battle is not taken over"
    );
    assert_eq!(store.counts().await.unwrap().results, before + 1);
}

async fn one_of_many_settlements_is_accepted(store: &Arc<dyn Store>, number: u64) {
    store.create_battle(&row(number, number)).await.unwrap();
    let results: Vec<_> = (0..16).map(result).collect();
    let settles = results.iter().map(|result| store.settle(BattleId(number), Epoch(1), result));
    let outcomes = futures_util::future::join_all(settles).await;
    let accepted: Vec<_> =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(Settled::Accepted(_)))).collect();
    assert_eq!(accepted.len(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(Settled::Duplicate)).count(), 15);
}

async fn a_player_has_the_newest_battle_until_its_result(store: &Arc<dyn Store>, number: u64) {
    let player = number;
    for battle in [number, number + 1] {
        store.create_battle(&row(battle, player)).await.unwrap();
        store.place(BattleId(battle), Epoch(1), &node(), &[]).await.unwrap();
        assert_eq!(store.battle_of(player).await.unwrap().unwrap().battle, BattleId(battle));
    }
    store.settle(BattleId(number), Epoch(1), &result(1)).await.unwrap();
    assert_eq!(store.battle_of(player).await.unwrap().unwrap().battle, BattleId(number + 1));
    store.settle(BattleId(number + 1), Epoch(1), &result(1)).await.unwrap();
    assert_eq!(store.battle_of(player).await.unwrap(), None);
}

async fn a_result_is_applied_to_each_avatar_once(store: &Arc<dyn Store>, number: u64) {
    let (winner, loser) = (number, number + 1);
    let change = |player, sign: i64| AvatarChange {
        player,
        won: player == winner,
        rating_micro: sign * 2_000_000,
        uncertainty_micro: -100_000,
    };
    let played = async |battle: u64| {
        let mut row = row(battle, winner);
        row.seats.push(RowSeat { seat: 2, team: 1, player: loser, name: "m".into(), bot: false, loadout: 0 });
        store.create_battle(&row).await.unwrap();
        // The node settled before the place was noted; who fought has an account all the same.
        if battle != number {
            assert!(store.place(BattleId(battle), Epoch(1), &node(), &[]).await.unwrap());
        }
        let result = BattleResult { changes: vec![change(winner, 1), change(loser, -1)], ..result(1) };
        let settled = store.settle(BattleId(battle), Epoch(1), &result).await.unwrap();
        assert!(matches!(settled, Settled::Accepted(row) if row.result.as_ref() == Some(&result)));
        let other = BattleResult { changes: vec![change(loser, 1)], ..result };
        assert_eq!(store.settle(BattleId(battle), Epoch(1), &other).await.unwrap(), Settled::Duplicate);
    };
    let avatar = async |player| store.account(player).await.unwrap().unwrap().avatar;
    played(number).await;
    assert_eq!(store.unapplied(64).await.unwrap(), [BattleId(number)]);
    let applied = futures_util::future::join_all((0..16).map(|_| store.apply(BattleId(number)))).await;
    assert!(applied.iter().all(Result::is_ok));
    assert_eq!(store.unapplied(64).await.unwrap(), []);
    store.apply(BattleId(number)).await.unwrap();
    for (player, wins, rating_micro) in [(winner, 1, 2_000_000), (loser, 0, -2_000_000)] {
        let applied = vec![BattleId(number)];
        let expected = Avatar { battles: 1, wins, rating_micro, uncertainty_micro: -100_000, applied };
        assert_eq!(avatar(player).await, expected);
    }

    // It remembers a bounded number of battles, the last ones.
    let more = u64::try_from(APPLIED_MAX).expect("a small number") + 1;
    for battle in number + 1..=number + more {
        played(battle).await;
    }
    assert_eq!(store.unapplied(3).await.unwrap().len(), 3);
    for battle in store.unapplied(64).await.unwrap() {
        store.apply(battle).await.unwrap();
    }
    let loser = avatar(loser).await;
    assert_eq!((u64::from(loser.battles), loser.wins, loser.applied.len()), (more + 1, 0, APPLIED_MAX));
    assert!(!loser.applied.contains(&BattleId(number)));

    // What changes nobody, and what has no result, waits for nothing.
    store.create_battle(&row(number + 100, winner)).await.unwrap();
    store.apply(BattleId(number + 100)).await.unwrap();
    store.settle(BattleId(number + 100), Epoch(1), &result(1)).await.unwrap();
    assert_eq!(store.unapplied(64).await.unwrap(), []);
    assert_eq!(u64::from(avatar(winner).await.battles), more + 1);
}

async fn a_login_is_taken_by_one_account(store: &Arc<dyn Store>, number: u64) {
    let registered = |player: u64, key: &str| Account {
        player,
        name: key.to_uppercase(),
        created_unix_ms: 3,
        session_generation: 0,
        avatar: Avatar::default(),
        login: Some(AccountLogin {
            key: key.into(),
            password: PasswordHash { salt: [u8::MAX; 16], hash: [128; 32] },
        }),
    };
    let before = store.counts().await.unwrap().accounts;
    assert_eq!(store.account_of_login("ada").await.unwrap(), None);
    let accounts: Vec<_> = (number..number + 8).map(|player| registered(player, "ada")).collect();
    let made = futures_util::future::join_all(accounts.iter().map(|account| store.register(account))).await;
    assert_eq!(made.iter().filter(|made| **made == Ok(true)).count(), 1, "{made:?}");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let ada = store.account_of_login("ada").await.unwrap().unwrap();
    assert_eq!(store.account(ada.player).await.unwrap().as_ref(), Some(&ada));
    assert!(accounts.contains(&ada));
    // A number is taken by one account too, and other logins are free.
    assert!(!store.register(&registered(ada.player, "ben")).await.unwrap());
    assert_eq!(store.account_of_login("ben").await.unwrap(), None);
    assert!(store.register(&registered(number + 8, "ben")).await.unwrap());
    assert_eq!(store.counts().await.unwrap().accounts, before + 2);
    // A battle makes no other account of it, and ends no login.
    store.create_battle(&row(number, ada.player)).await.unwrap();
    assert!(store.place(BattleId(number), Epoch(1), &node(), &[]).await.unwrap());
    assert!(store.end_sessions(ada.player, 0).await.unwrap());
    let later = Account { session_generation: 1, ..ada };
    assert_eq!(store.account_of_login("ada").await.unwrap(), Some(later));
}
