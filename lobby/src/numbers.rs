//! Numbers of players and battles, and seeds of battles: a function of the configured seed and a counter.
//!
//! For one seed the function from counter to number is one to one, so no number comes twice as long as the
//! store keeps the counter. Counters are taken in blocks; what a restart leaves of a block is skipped.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::store::{Ordinal, Store, StoreError};

/// Numbers taken from the store at a time.
const BLOCK: u32 = 32;
/// Set in the numbers of bots, clear in those of players.
pub(crate) const BOT_BIT: u64 = 1 << 63;

/// Gives out numbers.
pub(crate) struct Numbers {
    store: Arc<dyn Store>,
    seed: u64,
    players: Mutex<Block>,
    battles: Mutex<Block>,
}

#[derive(Default)]
struct Block {
    next: u64,
    left: u32,
}

impl Numbers {
    pub(crate) fn new(store: Arc<dyn Store>, seed: u64) -> Self {
        Self { store, seed, players: Mutex::default(), battles: Mutex::default() }
    }

    /// A player's number; its highest bit is clear.
    pub(crate) async fn player(&self) -> Result<u64, StoreError> {
        let ordinal = take(&*self.store, Ordinal::Player, &self.players).await?;
        Ok(player_number(self.seed, ordinal))
    }

    /// A battle's number and its seed.
    pub(crate) async fn battle(&self) -> Result<(u64, u64), StoreError> {
        let ordinal = take(&*self.store, Ordinal::Battle, &self.battles).await?;
        let battle = mix(ordinal ^ mix(self.seed ^ 0x6261_7474_6c65));
        Ok((battle, mix(battle ^ mix(self.seed ^ 0x73_6565_6464))))
    }
}

async fn take(store: &dyn Store, ordinal: Ordinal, block: &Mutex<Block>) -> Result<u64, StoreError> {
    let mut block = block.lock().await;
    if block.left == 0 {
        block.next = store.take_ordinals(ordinal, BLOCK).await?;
        block.left = BLOCK;
    }
    let taken = block.next;
    block.next = block.next.wrapping_add(1);
    block.left -= 1;
    Ok(taken)
}

/// One to one over 63 bits: an odd multiplier, and rounds of which each can be undone.
fn player_number(seed: u64, ordinal: u64) -> u64 {
    const MASK: u64 = BOT_BIT - 1;
    let mut number = (ordinal ^ mix(seed ^ 0x706c_6179_6572)) & MASK;
    for multiplier in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        number = number.wrapping_mul(multiplier) & MASK;
        number ^= number >> 32;
    }
    number
}

/// The number of a battle's bot on a seat.
pub(crate) fn bot_number(battle: u64, seat: u16) -> u64 {
    mix(battle.wrapping_add(u64::from(seat) + 1)) | BOT_BIT
}

/// SplitMix64's finisher, one to one over 64 bits.
fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::{BOT_BIT, Numbers, bot_number};
    use crate::store::EmbeddedStore;

    #[tokio::test]
    async fn one_seed_gives_one_sequence_and_another_seed_another() {
        let sequence = async |seed| {
            let numbers = Numbers::new(Arc::new(EmbeddedStore::in_memory()), seed);
            let mut taken = Vec::new();
            for _ in 0..100 {
                taken.push((numbers.player().await.unwrap(), numbers.battle().await.unwrap()));
            }
            taken
        };
        assert_eq!(sequence(7).await, sequence(7).await);
        assert_ne!(sequence(7).await, sequence(8).await);
    }

    #[tokio::test]
    async fn a_kept_store_never_gives_a_number_twice() {
        let store = Arc::new(EmbeddedStore::in_memory());
        let (mut players, mut battles) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..20 {
            // Each round is a restart, or another lobby on the same store.
            let numbers = Numbers::new(store.clone(), 7);
            for _ in 0..40 {
                let player = numbers.player().await.unwrap();
                assert_eq!(player & BOT_BIT, 0);
                assert!(players.insert(player));
                let (battle, seed) = numbers.battle().await.unwrap();
                assert!(battles.insert(battle));
                assert_ne!(battle, seed);
            }
        }
    }

    #[test]
    fn bots_of_a_battle_have_numbers_of_their_own() {
        let numbers: BTreeSet<_> = (0..1024).map(|seat| bot_number(9, seat)).collect();
        assert_eq!(numbers.len(), 1024);
        assert!(numbers.iter().all(|number| number & BOT_BIT != 0));
    }
}
