//! Settling: results leave the outbox for a lobby's store, again and again until one says that it is done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::control::{LobbyCalls, SettleAnswer, Settlement};
use tiltyard_cluster::node::{LobbyRecord, View};
use tiltyard_cluster::{BattleId, Epoch};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::outbox::Outbox;

/// The first pause after results that nobody took.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Brings results out for as long as the node lives; `deposited` wakes it.
pub(crate) async fn settle_for_ever(
    outbox: Outbox,
    lobbies: View<LobbyRecord>,
    calls: Arc<dyn LobbyCalls>,
    deposited: Arc<Notify>,
) {
    let mut pause = RETRY_MIN;
    let mut unknown = BTreeSet::new();
    let mut listed = lobbies.subscribe();
    loop {
        let left = settle_waiting(&outbox, &lobbies, &*calls, &mut unknown).await;
        if left == 0 {
            pause = RETRY_MIN;
            deposited.notified().await;
        } else {
            // A new deposit is worth a try at once, as the lobby may be back; so is a lobby that was not there.
            tokio::select! {
                () = deposited.notified() => {}
                Ok(()) = listed.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

/// Tries every result that waits once; returns how many still wait.
async fn settle_waiting(
    outbox: &Outbox,
    lobbies: &View<LobbyRecord>,
    calls: &dyn LobbyCalls,
    unknown: &mut BTreeSet<(BattleId, Epoch)>,
) -> usize {
    let folder = outbox.clone();
    let waiting = match tokio::task::spawn_blocking(move || folder.waiting()).await {
        Ok(Ok(waiting)) => waiting,
        Ok(Err(error)) => {
            warn!(%error, "the outbox cannot be read");
            return 1;
        }
        Err(_) => return 1,
    };
    let mut left = 0;
    for settlement in waiting {
        if !settle(&settlement, lobbies, calls, unknown).await {
            left += 1;
            continue;
        }
        let folder = outbox.clone();
        let forgotten =
            tokio::task::spawn_blocking(move || folder.forget(settlement.battle, settlement.epoch)).await;
        if !matches!(forgotten, Ok(Ok(()))) {
            // It is settled again later, which changes nothing.
            left += 1;
        }
    }
    left
}

/// Whether the outbox may forget a result.
async fn settle(
    settlement: &Settlement,
    lobbies: &View<LobbyRecord>,
    calls: &dyn LobbyCalls,
    unknown: &mut BTreeSet<(BattleId, Epoch)>,
) -> bool {
    let battle = settlement.battle;
    for lobby in lobbies.current().records.values() {
        match calls.settle(&lobby.peer(), settlement).await {
            Ok(SettleAnswer::Accepted | SettleAnswer::Duplicate) => {
                info!(%battle, lobby = %lobby.id, "result settled");
                return true;
            }
            Ok(SettleAnswer::Stale { current }) => {
                warn!(%battle, epoch = settlement.epoch.0, current = current.0, "result of an older owner dropped");
                return true;
            }
            Ok(SettleAnswer::Unknown) => {
                // Once for each: it is asked again for as long as the node lives.
                if unknown.insert((battle, settlement.epoch)) {
                    warn!(%battle, lobby = %lobby.id, "no lobby row for this battle yet");
                }
            }
            Ok(SettleAnswer::TryLater) => {
                debug!(%battle, lobby = %lobby.id, "the store is away");
            }
            Err(error) => {
                debug!(%battle, lobby = %lobby.id, %error, "result not settled");
            }
        }
    }
    false
}
