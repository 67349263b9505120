//! Numbers of players and battles, and seeds of battles: a function of a secret and a counter.
//!
//! For one secret the function from counter to number is one to one, so no number comes twice as long as the
//! store keeps the counter. Counters are taken in blocks; what a restart leaves of a block is skipped.
//!
//! Numbers are known to players, and tell nothing of the secret but what makes the next numbers of their own kind. A
//! battle's seed follows from its number by a keyed hash, so who knows any numbers and seeds knows no other seed: a
//! battle that hides something hides its seed too.

use std::sync::Arc;

use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use tokio::sync::Mutex;

use crate::store::{Ordinal, Store, StoreError};

/// Numbers taken from the store at a time.
const BLOCK: u32 = 32;
/// Set in the numbers of bots, clear in those of players.
pub(crate) const BOT_BIT: u64 = 1 << 63;

/// Gives out numbers.
pub(crate) struct Numbers {
    store: Arc<dyn Store>,
    secret: hmac::Key,
    players: Mutex<Block>,
    battles: Mutex<Block>,
}

#[derive(Default)]
struct Block {
    next: u64,
    left: u32,
}

impl Numbers {
    /// Numbers that follow from a seed, or from a secret of the operating system's making.
    ///
    /// # Panics
    /// If the operating system has no random numbers.
    pub(crate) fn new(store: Arc<dyn Store>, seed: Option<u64>) -> Self {
        let secret = match seed {
            Some(seed) => hmac::Key::new(HMAC_SHA256, &seed.to_le_bytes()),
            None => hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())
                .expect("the operating system has random numbers"),
        };
        Self { store, secret, players: Mutex::default(), battles: Mutex::default() }
    }

    /// A player's number; its highest bit is clear.
    pub(crate) async fn player(&self) -> Result<u64, StoreError> {
        let ordinal = take(&*self.store, Ordinal::Player, &self.players).await?;
        Ok(player_number(self.hash("player", 0), ordinal))
    }

    /// A battle's number and its seed.
    pub(crate) async fn battle(&self) -> Result<(u64, u64), StoreError> {
        let ordinal = take(&*self.store, Ordinal::Battle, &self.battles).await?;
        let battle = mix(ordinal ^ self.hash("battle", 0));
        Ok((battle, self.hash("seed of battle", battle)))
    }

    /// A number that only who has the secret can tell from any other, whatever others are known.
    fn hash(&self, what: &str, number: u64) -> u64 {
        let hashed = hmac::sign(&self.secret, &[what.as_bytes(), &number.to_le_bytes()].concat());
        u64::from_le_bytes(*hashed.as_ref().first_chunk().expect("a hash has 32 bytes"))
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
fn player_number(key: u64, ordinal: u64) -> u64 {
    const MASK: u64 = BOT_BIT - 1;
    let mut number = (ordinal ^ key) & MASK;
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
            let numbers = Numbers::new(Arc::new(EmbeddedStore::in_memory()), Some(seed));
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
            let numbers = Numbers::new(store.clone(), Some(7));
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

    #[tokio::test]
    async fn a_battles_number_leads_neither_to_its_seed_nor_to_what_makes_other_seeds() {
        let take = async |seed| {
            let numbers = Numbers::new(Arc::new(EmbeddedStore::in_memory()), seed);
            [numbers.battle().await.unwrap(), numbers.battle().await.unwrap()]
        };
        // As numbers and seeds once were: undone as far as anybody can, a number led to the secret of all seeds.
        let [(first, first_seed), (second, second_seed)] = take(None).await;
        let key = unmix(first) ^ unmix(second);
        assert!(key < u64::from(super::BLOCK), "numbers of battles are told apart by their ordinals alone");
        for guess in 0..u64::from(super::BLOCK) {
            let secret = unmix(unmix(first) ^ guess) ^ 0x6261_7474_6c65;
            assert_ne!(super::mix(first ^ super::mix(secret ^ 0x73_6565_6464)), first_seed);
            assert_ne!(super::mix(second ^ super::mix(secret ^ 0x73_6565_6464)), second_seed);
        }
        let again = take(None).await;
        assert_ne!([(first, first_seed), (second, second_seed)], again);
        // What seeds two battles of one house have in common is not what their numbers have.
        assert_ne!(unmix(first_seed) ^ unmix(first), unmix(second_seed) ^ unmix(second));
    }

    /// Undoes `mix`, as anybody can.
    fn unmix(mut value: u64) -> u64 {
        let shifted_back = |value: u64, by: u32| (0..64 / by).fold(value, |known, _| value ^ known >> by);
        let inverse = |odd: u64| {
            (0..6).fold(odd, |known, _| known.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(known))))
        };
        value = shifted_back(value, 31).wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
        value = shifted_back(value, 27).wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
        shifted_back(value, 30).wrapping_sub(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn bots_of_a_battle_have_numbers_of_their_own() {
        let numbers: BTreeSet<_> = (0..1024).map(|seat| bot_number(9, seat)).collect();
        assert_eq!(numbers.len(), 1024);
        assert!(numbers.iter().all(|number| number & BOT_BIT != 0));
    }
}
