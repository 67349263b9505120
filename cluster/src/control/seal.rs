//! The seal around every control message.
//!
//! ```text
//! mac = HMAC-SHA256(secret[kid],
//!         "tiltyard control 1\0" | direction u8 (0 request, 1 answer) | kid u32 | time_unix_ms u64 | nonce 16
//!         | length u16, method | length u16, to | body)          all numbers little-endian
//! ```
//!
//! A request is good once: its time must lie within [`SKEW_MAX_MS`] of ours and its nonce must be new. The nonces
//! are remembered until their time is out of the window; only requests whose MAC held are remembered, so a
//! stranger fills nothing. What is not remembered is what came before a restart: the calls themselves must bear
//! being repeated, and do. An answer carries its request's nonce and is good for that request alone.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Mutex;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::proto::Sealed;

/// How far a request's time may lie from the receiver's clock, in milliseconds, to either side.
pub const SKEW_MAX_MS: u64 = 30_000;
/// Most nonces remembered: 65,536 calls a minute. When full, further requests are refused.
pub const NONCES_MAX: usize = 64 * 1024;
/// Fewest bytes of a cluster secret.
const SECRET_BYTES_MIN: usize = 16;
const VERSION: u32 = 1;
const LABEL: &[u8] = b"tiltyard control 1\0";

/// A secret that all processes of a cluster share. Its `Debug` does not show it.
#[derive(Clone)]
pub struct ClusterSecret {
    kid: u32,
    key: hmac::Key,
}

impl ClusterSecret {
    /// Takes a secret with its number; `None` if it has fewer than 16 bytes.
    pub fn new(kid: u32, secret: &[u8]) -> Option<Self> {
        (secret.len() >= SECRET_BYTES_MIN)
            .then(|| Self { kid, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSecret").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The secrets that are valid: the first seals, all open. Two at a time, for rotation.
#[derive(Debug, Clone)]
pub struct ClusterKeys {
    current: ClusterSecret,
    previous: Option<ClusterSecret>,
}

impl ClusterKeys {
    /// Seals with `current`; opens with both.
    pub fn new(current: ClusterSecret, previous: Option<ClusterSecret>) -> Self {
        Self { current, previous }
    }

    fn find(&self, kid: u32) -> Option<&hmac::Key> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|secret| secret.kid == kid)
            .map(|secret| &secret.key)
    }

    /// What authenticates the frames of a session that was opened under this secret.
    pub(super) fn session_key(&self, kid: u32) -> Option<&hmac::Key> {
        self.find(kid)
    }

    /// Seals a request; the nonce is what the answer must repeat.
    pub(super) fn seal_request(&self, method: &str, to: &str, now_unix_ms: u64, body: Vec<u8>) -> Sealed {
        let mut nonce = vec![0; 16];
        SystemRandom::new().fill(&mut nonce).expect("the system's random numbers do not fail");
        self.seal(Direction::Request, method, to, now_unix_ms, nonce, body)
    }

    /// Seals the answer to a request with this nonce.
    pub(super) fn seal_answer(
        &self,
        method: &str,
        now_unix_ms: u64,
        nonce: Vec<u8>,
        body: Vec<u8>,
    ) -> Sealed {
        self.seal(Direction::Answer, method, "", now_unix_ms, nonce, body)
    }

    /// Opens the answer to the request with this nonce.
    pub(super) fn open_answer(
        &self,
        method: &str,
        nonce: &[u8],
        sealed: Sealed,
    ) -> Result<Vec<u8>, SealError> {
        self.verify(Direction::Answer, method, &sealed)?;
        if sealed.nonce != nonce {
            return Err(SealError::Replayed);
        }
        Ok(sealed.body)
    }

    fn seal(
        &self,
        direction: Direction,
        method: &str,
        to: &str,
        time_unix_ms: u64,
        nonce: Vec<u8>,
        body: Vec<u8>,
    ) -> Sealed {
        let mut sealed = Sealed {
            version: VERSION,
            kid: self.current.kid,
            to: to.to_owned(),
            time_unix_ms,
            nonce,
            body,
            mac: Vec::new(),
        };
        sealed.mac = hmac::sign(&self.current.key, &covered(direction, method, &sealed)).as_ref().to_vec();
        sealed
    }

    fn verify(&self, direction: Direction, method: &str, sealed: &Sealed) -> Result<(), SealError> {
        if sealed.version != VERSION || sealed.nonce.len() != 16 {
            return Err(SealError::Form);
        }
        let key = self.find(sealed.kid).ok_or(SealError::Forged)?;
        hmac::verify(key, &covered(direction, method, sealed), &sealed.mac).map_err(|_| SealError::Forged)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Request,
    Answer,
}

fn covered(direction: Direction, method: &str, sealed: &Sealed) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 + sealed.body.len());
    bytes.extend_from_slice(LABEL);
    bytes.push(match direction {
        Direction::Request => 0,
        Direction::Answer => 1,
    });
    bytes.extend_from_slice(&sealed.kid.to_le_bytes());
    bytes.extend_from_slice(&sealed.time_unix_ms.to_le_bytes());
    bytes.extend_from_slice(&sealed.nonce);
    for text in [method, &sealed.to] {
        // Longer texts than this exist in forgeries only; their MAC fails either way.
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&sealed.body);
    bytes
}

/// Why a sealed message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealError {
    /// Another version, or a nonce of another length.
    Form,
    /// The MAC does not hold, or no secret has that number.
    Forged,
    /// It is meant for somebody else.
    NotForUs,
    /// Its time is too far from ours.
    OutOfTime,
    /// It was here already, or answers another request.
    Replayed,
    /// Too many nonces are remembered.
    WindowFull,
}

/// Opens requests, each once.
#[derive(Debug)]
pub(super) struct Opener {
    keys: ClusterKeys,
    own_name: String,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    seen: HashSet<[u8; 16]>,
    by_time: BTreeSet<(u64, [u8; 16])>,
}

impl Opener {
    pub(super) fn new(keys: ClusterKeys, own_name: &str) -> Self {
        Self { keys, own_name: own_name.to_owned(), window: Mutex::default() }
    }

    pub(super) fn keys(&self) -> &ClusterKeys {
        &self.keys
    }

    /// Checks a request and remembers its nonce; only then may its body be looked at.
    pub(super) fn open(&self, method: &str, now_unix_ms: u64, sealed: &Sealed) -> Result<(), SealError> {
        self.keys.verify(Direction::Request, method, sealed)?;
        if sealed.to != self.own_name {
            return Err(SealError::NotForUs);
        }
        if sealed.time_unix_ms.abs_diff(now_unix_ms) > SKEW_MAX_MS {
            return Err(SealError::OutOfTime);
        }
        let nonce = <[u8; 16]>::try_from(sealed.nonce.as_slice()).map_err(|_| SealError::Form)?;
        self.window.lock().expect("no call panics while it holds the window").admit(
            now_unix_ms,
            sealed.time_unix_ms,
            nonce,
        )
    }
}

impl Window {
    fn admit(&mut self, now_unix_ms: u64, time_unix_ms: u64, nonce: [u8; 16]) -> Result<(), SealError> {
        let oldest_kept = now_unix_ms.saturating_sub(SKEW_MAX_MS);
        while let Some(&(time, old)) = self.by_time.first()
            && time < oldest_kept
        {
            self.by_time.pop_first();
            self.seen.remove(&old);
        }
        if self.seen.contains(&nonce) {
            return Err(SealError::Replayed);
        }
        if self.seen.len() >= NONCES_MAX {
            return Err(SealError::WindowFull);
        }
        self.seen.insert(nonce);
        self.by_time.insert((time_unix_ms, nonce));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ClusterKeys, ClusterSecret, NONCES_MAX, Opener, SKEW_MAX_MS, SealError, Window};

    const NOW: u64 = 1_000_000_000;

    fn keys(kid: u32, letter: u8) -> ClusterKeys {
        ClusterKeys::new(ClusterSecret::new(kid, &[letter; 32]).unwrap(), None)
    }

    #[test]
    fn a_request_opens_once_and_only_where_it_was_meant() {
        let keys = keys(1, 7);
        let sealed = keys.seal_request("A/B", "node", NOW, vec![1, 2, 3]);
        let opener = Opener::new(keys.clone(), "node");
        assert_eq!(opener.open("A/C", NOW, &sealed), Err(SealError::Forged));
        assert_eq!(Opener::new(keys, "other").open("A/B", NOW, &sealed), Err(SealError::NotForUs));
        assert_eq!(opener.open("A/B", NOW, &sealed), Ok(()));
        assert_eq!(opener.open("A/B", NOW, &sealed), Err(SealError::Replayed));
    }

    #[test]
    fn any_changed_part_of_a_request_is_a_forgery() {
        let keys = keys(1, 7);
        let sealed = keys.seal_request("A/B", "node", NOW, vec![1, 2, 3]);
        let opener = Opener::new(keys, "node");
        let mut changed = Vec::new();
        for bit in 0..sealed.body.len() * 8 {
            let mut copy = sealed.clone();
            copy.body[bit / 8] ^= 1 << (bit % 8);
            changed.push(copy);
        }
        for bit in 0..128 {
            let mut copy = sealed.clone();
            copy.nonce[bit / 8] ^= 1 << (bit % 8);
            changed.push(copy);
        }
        for bit in 0..256 {
            let mut copy = sealed.clone();
            copy.mac[bit / 8] ^= 1 << (bit % 8);
            changed.push(copy);
        }
        changed.push(super::Sealed { time_unix_ms: NOW + 1, ..sealed.clone() });
        changed.push(super::Sealed { to: "nod".to_owned(), ..sealed.clone() });
        changed.push(super::Sealed { kid: 2, ..sealed.clone() });
        changed.push(super::Sealed { mac: sealed.mac[..31].to_vec(), ..sealed.clone() });
        for copy in changed {
            assert_eq!(opener.open("A/B", NOW, &copy), Err(SealError::Forged));
        }
        assert_eq!(opener.open("A/B", NOW, &sealed), Ok(()));
    }

    #[test]
    fn the_time_window_has_two_sharp_edges() {
        let keys = keys(1, 7);
        let opener = Opener::new(keys.clone(), "node");
        for (time, expected) in [
            (NOW - SKEW_MAX_MS, Ok(())),
            (NOW + SKEW_MAX_MS, Ok(())),
            (NOW - SKEW_MAX_MS - 1, Err(SealError::OutOfTime)),
            (NOW + SKEW_MAX_MS + 1, Err(SealError::OutOfTime)),
            (u64::MAX, Err(SealError::OutOfTime)),
            (0, Err(SealError::OutOfTime)),
        ] {
            assert_eq!(
                opener.open("m", NOW, &keys.seal_request("m", "node", time, vec![])),
                expected,
                "{time}"
            );
        }
    }

    #[test]
    fn a_nonce_is_remembered_as_long_as_its_request_could_be_in_time() {
        let mut window = Window::default();
        assert_eq!(window.admit(NOW, NOW + SKEW_MAX_MS, [1; 16]), Ok(()));
        let last = NOW + 2 * SKEW_MAX_MS;
        assert_eq!(window.admit(last, NOW + SKEW_MAX_MS, [1; 16]), Err(SealError::Replayed));
    }

    #[test]
    fn a_full_window_refuses_and_forgets_with_time() {
        let mut window = Window::default();
        for number in 0..NONCES_MAX as u128 {
            assert_eq!(window.admit(NOW, NOW, number.to_le_bytes()), Ok(()));
        }
        assert_eq!(window.admit(NOW, NOW, [255; 16]), Err(SealError::WindowFull));
        let later = NOW + SKEW_MAX_MS + 1;
        assert_eq!(window.admit(later, later, [255; 16]), Ok(()));
        assert_eq!(window.seen.len(), 1);
    }

    #[test]
    fn an_answer_is_good_for_its_own_request_alone_and_no_request_is_an_answer() {
        let keys = keys(1, 7);
        let one = keys.seal_request("m", "node", NOW, vec![]);
        let two = keys.seal_request("m", "node", NOW, vec![]);
        let answer = keys.seal_answer("m", NOW, one.nonce.clone(), vec![9]);
        assert_eq!(keys.open_answer("m", &two.nonce, answer.clone()), Err(SealError::Replayed));
        assert_eq!(keys.open_answer("n", &one.nonce, answer.clone()), Err(SealError::Forged));
        assert_eq!(keys.open_answer("m", &one.nonce, one.clone()), Err(SealError::Forged));
        assert_eq!(keys.open_answer("m", &one.nonce, answer), Ok(vec![9]));
    }

    #[test]
    fn during_a_rotation_both_secrets_open_and_the_new_one_seals() {
        let old = ClusterSecret::new(1, &[1; 32]).unwrap();
        let new = ClusterSecret::new(2, &[2; 32]).unwrap();
        let before = ClusterKeys::new(old.clone(), None);
        let during = ClusterKeys::new(new.clone(), Some(old));
        let after = ClusterKeys::new(new, None);
        let from_old = before.seal_request("m", "node", NOW, vec![]);
        let from_new = during.seal_request("m", "node", NOW, vec![]);
        assert_eq!(Opener::new(during, "node").open("m", NOW, &from_old), Ok(()));
        assert_eq!(Opener::new(after.clone(), "node").open("m", NOW, &from_new), Ok(()));
        assert_eq!(Opener::new(after, "node").open("m", NOW, &from_old), Err(SealError::Forged));
    }

    #[test]
    fn a_short_secret_is_none_and_none_is_shown() {
        assert!(ClusterSecret::new(1, &[0; 15]).is_none());
        assert!(!format!("{:?}", keys(1, 7)).contains('7'));
    }
}
