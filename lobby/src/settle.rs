//! The sink of results: what nodes settle is stored once, and the players are told.

use std::sync::Arc;

use async_trait::async_trait;
use tiltyard_api::{BattleOver, Ended, GateMessage, Hex64};
use tiltyard_cluster::control::{BattleEnd, LobbyHandler, SettleAnswer, Settlement};

use crate::avatars;
use crate::board::Letter;
use crate::house::House;
use crate::store::{BattleResult, BattleRow, Settled};

/// Answers the control calls of nodes.
pub(crate) struct ResultSink(pub(crate) Arc<House>);

#[async_trait]
impl LobbyHandler for ResultSink {
    async fn settle(&self, settlement: Settlement) -> SettleAnswer {
        let house = &self.0;
        let mut result = BattleResult::of(&settlement, house.clock.unix_ms());
        match avatars::changes(house, &settlement).await {
            Ok(changes) => result.changes = changes,
            Err(error) => {
                house.store_failed(error);
                return SettleAnswer::TryLater;
            }
        }
        match house.store.settle(settlement.battle, settlement.epoch, &result).await {
            Ok(Settled::Accepted(row)) => {
                house.counters.results_accepted.one();
                house.result_stored.notify_one();
                tracing::info!(battle = %row.battle, node = %settlement.node, ended = ?settlement.ended, "result stored");
                announce(house, &row, &settlement);
                SettleAnswer::Accepted
            }
            Ok(Settled::Duplicate) => {
                house.counters.results_duplicate.one();
                // Another lobby may have stored it, and told its own players alone.
                house.end_battle(settlement.battle);
                SettleAnswer::Duplicate
            }
            Ok(Settled::Stale { current }) => {
                house.counters.results_stale.one();
                tracing::warn!(battle = %settlement.battle, node = %settlement.node, %current, "stale result refused");
                SettleAnswer::Stale { current }
            }
            Ok(Settled::Unknown) => {
                house.counters.results_unknown.one();
                tracing::warn!(battle = %settlement.battle, node = %settlement.node, "result of an unknown battle");
                SettleAnswer::Unknown
            }
            Err(error) => {
                house.store_failed(error);
                SettleAnswer::TryLater
            }
        }
    }
}

fn announce(house: &House, row: &BattleRow, settlement: &Settlement) {
    let over = BattleOver {
        battle: Hex64(row.battle.0),
        ended: match settlement.ended {
            BattleEnd::Finished => Ended::Finished,
            BattleEnd::Aborted => Ended::Aborted,
            BattleEnd::Abandoned => Ended::Abandoned,
        },
        winner: settlement.winner,
        scores: settlement.scores.clone().try_into().unwrap_or_default(),
        ticks: settlement.ticks,
        final_hash: Hex64(settlement.final_hash),
    };
    house.end_battle(row.battle);
    let players: Vec<_> = row.humans().map(|seat| seat.player).collect();
    for player in &players {
        house.tell(*player, GateMessage::BattleOver(over.clone()));
    }
    let players = players.try_into().expect("a mode has at most 1,024 seats");
    house.desk().send_all(&Letter::Over { over, players });
}
