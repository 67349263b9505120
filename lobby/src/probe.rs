//! Whether the store answers. One task asks, so that a store in trouble is not asked more often by those who look.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tiltyard_cluster::BattleId;
use tokio::time::Instant;

use crate::house::House;
use crate::store::StoreError;

/// The pause between two questions; there is never more than one open.
const PAUSE: Duration = Duration::from_secs(1);
/// A store that was not heard for so long is away.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// When the store answered last; nothing if it failed since.
#[derive(Debug)]
pub(crate) struct StoreHeard(Mutex<Option<Instant>>);

impl StoreHeard {
    /// It was opened just now.
    pub(crate) fn now() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    pub(crate) fn is_away(&self) -> bool {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_none_or(|heard| heard.elapsed() > SILENCE_MAX)
    }

    fn set(&self, heard: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }
}

/// Asks for as long as the lobby lives. A question has the store's own deadline, or none: it is judged by its silence.
pub(crate) async fn run(house: Arc<House>) {
    loop {
        // A battle that need not be there: any answer about it is one.
        let answers = house.store.battle(BattleId(0)).await != Err(StoreError::Unavailable);
        if !answers {
            house.counters.store_errors.one();
        }
        house.store_heard.set(answers.then(Instant::now));
        tokio::time::sleep(PAUSE).await;
    }
}
