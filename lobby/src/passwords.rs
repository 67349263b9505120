//! Passwords are kept as argon2id hashes. They cost tens of milliseconds and 19 MiB each, so they are reckoned away
//! from the threads that serve sessions, a few at a time, and what waits for its turn is bounded.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::store::PasswordHash;

/// The least that OWASP's password storage cheat sheet (2025) asks of argon2id.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many are reckoned at a time, and how many wait for it.
const AT_ONCE: usize = 2;
const WAITING_MAX: usize = 64;

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Reckons hashes.
#[derive(Debug)]
pub(crate) struct Passwords {
    room: Semaphore,
    turns: Arc<Semaphore>,
    /// The memory of whose turn it is not; kept, for an allocator that gets blocks of this size back from ever other
    /// threads keeps gigabytes of them.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::with(AT_ONCE, WAITING_MAX)
    }
}

impl Passwords {
    fn with(at_once: usize, waiting_max: usize) -> Self {
        Self {
            room: Semaphore::new(at_once + waiting_max),
            turns: Arc::new(Semaphore::new(at_once)),
            memory: Arc::default(),
        }
    }

    /// A new hash of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, Busy> {
        let salt = tiltyard_netcode::system_random();
        Ok(PasswordHash { salt, hash: self.reckon(password, salt).await? })
    }

    /// Whether a password is that of a hash. Where there is none it is none, and that takes as long.
    pub(crate) async fn matches(&self, password: String, stored: Option<PasswordHash>) -> Result<bool, Busy> {
        let salt = stored.as_ref().map_or([0; 16], |stored| stored.salt);
        let reckoned = self.reckon(password, salt).await?;
        Ok(stored.is_some_and(|stored| {
            // Every byte is looked at, whichever differ.
            stored.hash.iter().zip(reckoned).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
        }))
    }

    async fn reckon(&self, password: String, salt: [u8; 16]) -> Result<[u8; 32], Busy> {
        let _room = self.room.try_acquire().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Busy)?;
        let memory = Arc::clone(&self.memory);
        let reckoning = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, also if nobody waits for it any more.
            let _turn = turn;
            let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).expect("within argon2's bounds");
            let mut blocks = kept(&memory).pop().unwrap_or_else(|| vec![Block::new(); params.block_count()]);
            let mut hash = [0; 32];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let done =
                argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, &mut blocks);
            kept(&memory).push(blocks);
            done.map(|()| hash)
        });
        // It fails as the runtime goes down.
        match reckoning.await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }
}

fn kept(memory: &Mutex<Vec<Vec<Block>>>) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_no_other_is() {
        let passwords = Passwords::default();
        let kept = passwords.hash("correct horse".into()).await.unwrap();
        let again = passwords.hash("correct horse".into()).await.unwrap();
        assert_ne!(kept.hash, again.hash, "each has a salt of its own");
        let matches = async |password: &str, stored| passwords.matches(password.into(), stored).await;
        assert_eq!(matches("correct horse", Some(kept.clone())).await, Ok(true));
        assert_eq!(matches("correct horsf", Some(kept.clone())).await, Ok(false));
        assert_eq!(matches("correct horse", None).await, Ok(false));
        let mut hurt = kept.clone();
        hurt.hash[31] ^= 1;
        assert_eq!(matches("correct horse", Some(hurt)).await, Ok(false));
        assert!(!format!("{kept:?}").contains(&format!("{}", kept.hash[0])), "{kept:?}");
    }

    #[tokio::test]
    async fn a_hash_is_what_another_program_reckons() {
        // By Debian's argon2: printf %s password | argon2 0123456789abcdef -id -v 13 -k 19456 -t 2 -p 1 -l 32 -r
        let reckoned = Passwords::default().reckon("password".into(), *b"0123456789abcdef").await.unwrap();
        let text: String = reckoned.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "d2ab07b39ef7f8b806227cd86fbb11aa5393066a98e17eacacd126eb26e9276d");
    }

    #[tokio::test]
    async fn more_than_may_wait_are_sent_away_at_once() {
        let passwords = Passwords::with(1, 2);
        let all = (0..5).map(|_| passwords.matches("password".into(), None));
        let outcomes = futures_util::future::join_all(all).await;
        assert_eq!(outcomes, [Ok(false), Ok(false), Ok(false), Err(Busy), Err(Busy)]);
        assert_eq!(passwords.matches("password".into(), None).await, Ok(false), "and room comes back");
        assert_eq!(kept(&passwords.memory).len(), 1, "one at a time takes the memory of one");
    }
}
