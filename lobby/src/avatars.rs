//! Results are applied to the avatars of their players: at once, and whatever a crash left half done a little later.
//!
//! An avatar changes in the store alone and by results alone, so there is nothing to be saved when its player goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tiltyard_cluster::control::{BattleEnd, Settlement};

use crate::house::House;
use crate::rating;
use crate::store::{Avatar, AvatarChange, StoreError};

/// How often the store is asked for results that nobody has applied.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How many of them are asked for at a time.
const BATTLES_MAX: u32 = 64;
/// How many avatars are read at a time.
const READS_MAX: usize = 16;

/// What a result changes, by what the players' avatars are now. It is stored with the result, and so is settled with it.
pub(crate) async fn changes(house: &House, settlement: &Settlement) -> Result<Vec<AvatarChange>, StoreError> {
    if settlement.ended != BattleEnd::Finished {
        return Ok(Vec::new());
    }
    let Some(row) = house.store.battle(settlement.battle).await? else { return Ok(Vec::new()) };
    let accounts: Vec<_> =
        futures_util::stream::iter(row.humans().map(|seat| seat.player).collect::<Vec<_>>())
            .map(|player| house.store.account(player))
            .buffer_unordered(READS_MAX)
            .collect()
            .await;
    let mut avatars: BTreeMap<u64, Avatar> = BTreeMap::new();
    for account in accounts {
        if let Some(account) = account? {
            avatars.insert(account.player, account.avatar);
        }
    }
    Ok(rating::changes(&row, settlement, &avatars))
}

/// Applies results for as long as the lobby lives: when one was stored, and every now and then those that were left.
pub(crate) async fn run(house: Arc<House>) {
    loop {
        tokio::select! {
            () = house.result_stored.notified() => {}
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
        }
        if let Err(error) = apply_all(&house).await {
            house.store_failed(error);
        }
    }
}

async fn apply_all(house: &House) -> Result<(), StoreError> {
    let battles = house.store.unapplied(BATTLES_MAX).await?;
    let may_be_more = u32::try_from(battles.len()).is_ok_and(|count| count == BATTLES_MAX);
    let mut applied = 0;
    for battle in battles {
        match house.store.apply(battle).await {
            Ok(()) => {
                house.counters.results_applied.one();
                applied += 1;
            }
            Err(error @ StoreError::Unavailable) => return Err(error),
            // One that cannot be read keeps no other one waiting.
            Err(error) => {
                house.store_failed(error);
            }
        }
    }
    // If none could be, all that is left for now is to try again later.
    if may_be_more && applied > 0 {
        house.result_stored.notify_one();
    }
    Ok(())
}
