//! Whether a node's battles are still its own, asked of the directory after the node was away.
//!
//! A node that stood still, or whose lease has ended, may have been taken for dead, and its battles been given to
//! others under a higher epoch. Those it ends without a result; the others go on meanwhile. A directory that does not
//! answer ends nothing and is asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::epoch::{self, ClaimError};
use tiltyard_cluster::node::{NodeRecord, Registration};
use tiltyard_cluster::{BattleId, Epoch};
use tiltyard_engine::Game;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::placement::Placement;

/// How often it is looked whether the node was away.
const LOOK: Duration = Duration::from_millis(250);
/// A node that did nothing for longer was away.
const GAP: Duration = Duration::from_secs(1);
/// How long the directory may take to answer.
const CALL_MAX: Duration = Duration::from_secs(1);

/// Ends battles that others own by now, for as long as the node lives.
pub(crate) async fn give_up_superseded<G: Game>(
    placement: Arc<Placement<G>>,
    registration: Arc<Registration<NodeRecord>>,
    directory: Arc<dyn Directory>,
) {
    let leases_lost = || registration.counters().leases_lost.value();
    let (mut lost, mut looked) = (leases_lost(), Instant::now());
    let mut doubted: BTreeMap<BattleId, Epoch> = BTreeMap::new();
    loop {
        sleep(LOOK).await;
        let lost_now = leases_lost();
        if lost_now != lost || looked.elapsed() > GAP {
            lost = lost_now;
            doubted = placement.epochs();
        }
        while let Some((battle, epoch)) = doubted.first_key_value().map(|(battle, epoch)| (*battle, *epoch)) {
            let keyspace = &placement.config().keyspace;
            let current = timeout(CALL_MAX, epoch::current(&*directory, keyspace, battle)).await;
            match current {
                Ok(Ok(Some(standing))) if standing.epoch > epoch => {
                    warn!(%battle, epoch = epoch.0, by = %standing.owner, "a battle is another's by now, and ends here");
                    placement.give_up(battle, epoch).await;
                }
                // One that was not claimed while the directory was away is nobody else's.
                Ok(Ok(_) | Err(ClaimError::Unreadable | ClaimError::Superseded(_))) => {}
                Ok(Err(ClaimError::Directory(_))) | Err(_) => break,
            }
            doubted.remove(&battle);
        }
        looked = Instant::now();
    }
}
