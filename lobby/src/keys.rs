//! The lobby's keys, and the session tokens that they sign.
//!
//! ```text
//! session token = base64url( version u8 = 2 | kid u32 | player u64 | generation u32 | issued_unix_ms u64
//!                            | expires_unix_ms u64 | name, 1 to 32 bytes of UTF-8
//!                            | HMAC-SHA256 over all of it 32 )                  66 to 97 bytes, little-endian
//! key of kid    = HMAC-SHA256(master[kid], "tiltyard gate session 1")
//! ```
//! The label keeps session tokens apart from battle tokens, whose keys come from the same masters by HKDF under
//! labels of their own: a token of one kind never opens as the other. The token carries the name because a guest who
//! has not fought yet is stored nowhere else.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use tiltyard_api::limits::NAME_BYTES_MAX;
use tiltyard_netcode::token::MasterKey;

const LABEL: &[u8] = b"tiltyard gate session 1";
const VERSION: u8 = 2;
const FIXED_BYTES: usize = 33;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES_MAX: usize = FIXED_BYTES + NAME_BYTES_MAX + MAC_BYTES;

/// The master keys that are valid: the first signs and mints, both open. Two at a time, for rotation.
#[derive(Clone)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Option<MasterKey>,
}

impl MasterKeys {
    /// Mints with `current`; opens with both. The previous one is dropped if it has the same key id.
    pub fn new(current: MasterKey, previous: Option<MasterKey>) -> Self {
        let previous = previous.filter(|key| key.kid() != current.kid());
        Self { current, previous }
    }

    /// The key that mints.
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The valid key of this number.
    pub fn find(&self, kid: u32) -> Option<&MasterKey> {
        self.all().find(|key| key.kid() == kid)
    }

    /// Every valid key, the one that mints first.
    pub fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(MasterKey::kid)).finish()
    }
}

/// The keys that a lobby goes by at a moment; a rotation makes it go by others.
pub(crate) struct Keyring {
    pub(crate) masters: MasterKeys,
    pub(crate) sessions: SessionKeys,
}

impl Keyring {
    pub(crate) fn new(masters: MasterKeys) -> Self {
        Self { sessions: SessionKeys::new(&masters), masters }
    }
}

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionClaims {
    pub(crate) player: u64,
    pub(crate) name: String,
    pub(crate) generation: u32,
    pub(crate) issued_unix_ms: u64,
    pub(crate) expires_unix_ms: u64,
}

/// Why a session token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionTokenError {
    #[error("no session token of ours")]
    Forged,
    #[error("session token expired {late_ms} ms ago")]
    Expired { late_ms: u64 },
}

/// Signs session tokens and reads them back.
pub(crate) struct SessionKeys(Vec<(u32, hmac::Key)>);

impl SessionKeys {
    pub(crate) fn new(masters: &MasterKeys) -> Self {
        let derive = |master: &MasterKey| {
            let from = hmac::Key::new(hmac::HMAC_SHA256, master.as_bytes());
            (master.kid(), hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&from, LABEL).as_ref()))
        };
        Self(masters.all().map(derive).collect())
    }

    pub(crate) fn sign(&self, claims: &SessionClaims) -> String {
        let (kid, key) = self.0.first().expect("there is always a current key");
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_MAX);
        bytes.push(VERSION);
        bytes.extend_from_slice(&kid.to_le_bytes());
        bytes.extend_from_slice(&claims.player.to_le_bytes());
        bytes.extend_from_slice(&claims.generation.to_le_bytes());
        bytes.extend_from_slice(&claims.issued_unix_ms.to_le_bytes());
        bytes.extend_from_slice(&claims.expires_unix_ms.to_le_bytes());
        bytes.extend_from_slice(claims.name.as_bytes());
        let mac = hmac::sign(key, &bytes);
        bytes.extend_from_slice(mac.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn open(&self, token: &str, now_unix_ms: u64) -> Result<SessionClaims, SessionTokenError> {
        let claims = self.verify(token).ok_or(SessionTokenError::Forged)?;
        if claims.expires_unix_ms <= now_unix_ms {
            return Err(SessionTokenError::Expired { late_ms: now_unix_ms - claims.expires_unix_ms });
        }
        Ok(claims)
    }

    fn verify(&self, token: &str) -> Option<SessionClaims> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_last_chunk::<MAC_BYTES>()?;
        let (version, rest) = signed.split_first()?;
        let (kid, rest) = rest.split_first_chunk()?;
        let (player, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (expires, name) = rest.split_first_chunk()?;
        let (_, key) = self.0.iter().find(|(known, _)| *known == u32::from_le_bytes(*kid))?;
        hmac::verify(key, signed, mac).ok()?;
        let name = std::str::from_utf8(name).ok()?;
        (*version == VERSION && (1..=NAME_BYTES_MAX).contains(&name.len())).then(|| SessionClaims {
            player: u64::from_le_bytes(*player),
            name: name.to_owned(),
            generation: u32::from_le_bytes(*generation),
            issued_unix_ms: u64::from_le_bytes(*issued),
            expires_unix_ms: u64::from_le_bytes(*expires),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tiltyard_netcode::token::MasterKey;

    use super::{MasterKeys, SessionClaims, SessionKeys, SessionTokenError};

    fn claims(name: &str) -> SessionClaims {
        let name = name.to_owned();
        SessionClaims { player: u64::MAX, name, generation: 3, issued_unix_ms: 5, expires_unix_ms: 1_000 }
    }

    fn keys(kid: u32, letter: u8) -> MasterKeys {
        MasterKeys::new(MasterKey::from_bytes(kid, [letter; 32]), None)
    }

    #[test]
    fn a_session_token_reads_back_until_it_expires() {
        let keys = SessionKeys::new(&keys(1, 1));
        for name in ["A", "Zoë", &"x".repeat(32)] {
            let token = keys.sign(&claims(name));
            assert!(token.len() <= tiltyard_api::limits::SESSION_BYTES_MAX);
            assert_eq!(keys.open(&token, 999), Ok(claims(name)));
            assert_eq!(keys.open(&token, 1_000), Err(SessionTokenError::Expired { late_ms: 0 }));
        }
        for name in ["", &"x".repeat(33)] {
            assert_eq!(keys.open(&keys.sign(&claims(name)), 0), Err(SessionTokenError::Forged));
        }
    }

    #[test]
    fn any_flipped_bit_and_any_other_length_is_a_forgery() {
        let keys = SessionKeys::new(&keys(1, 1));
        let bytes = URL_SAFE_NO_PAD.decode(keys.sign(&claims("Ada"))).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = keys.open(&URL_SAFE_NO_PAD.encode(flipped), 0);
            assert_eq!(refused, Err(SessionTokenError::Forged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(keys.open(&URL_SAFE_NO_PAD.encode(&bytes[..length]), 0).is_err());
        }
        assert!(keys.open(&format!("{}A", keys.sign(&claims("Ada"))), 0).is_err());
        assert!(keys.open("no base64!", 0).is_err());
    }

    #[test]
    fn after_a_rotation_old_sessions_stay_good_and_after_two_they_do_not() {
        let token = SessionKeys::new(&keys(1, 1)).sign(&claims("Ada"));
        let (one, two) = (MasterKey::from_bytes(1, [1; 32]), MasterKey::from_bytes(2, [2; 32]));
        let rotated = SessionKeys::new(&MasterKeys::new(two, Some(one)));
        assert_eq!(rotated.open(&token, 0), Ok(claims("Ada")));
        assert!(SessionKeys::new(&keys(2, 2)).open(&token, 0).is_err());
    }

    #[test]
    fn a_session_is_not_signed_with_the_master_itself_nor_with_a_battle_key() {
        let master = MasterKey::from_bytes(1, [1; 32]);
        let battle = master.battle_key(tiltyard_netcode::BattleId(u64::MAX));
        let battle = MasterKeys::new(MasterKey::from_bytes(1, *battle.as_bytes()), None);
        let token = SessionKeys::new(&battle).sign(&claims("Ada"));
        assert!(SessionKeys::new(&keys(1, 1)).open(&token, 0).is_err());
        let raw = SessionKeys(vec![(1, ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[1; 32]))]);
        assert!(SessionKeys::new(&keys(1, 1)).open(&raw.sign(&claims("Ada")), 0).is_err());
    }
}
