//! Battle tokens: who may take which seat of which battle, sealed for the nodes that host it.
//!
//! ```text
//! offset  bytes  field
//!      0      4  magic "TYT1"
//!      4      4  kid                   which master key
//!      8      2  suite                 1 = HKDF-SHA256 + AES-256-GCM
//!     10      2  reserved, 0
//!     12      8  expires_unix_ms       bounds the first CONNECT
//!     20     16  token id              random; the salt of this token's key
//!     36      8  battle
//!     44    196  sealed part           (see `claims`)
//!    240     16  tag
//! ```
//! All integers are little-endian. Bytes 0..44 are the associated data. Key of a token:
//! `HKDF(salt = token id, secret = battle key, info = "tiltyard battle token v1" ‖ battle)`, nonce 0; key of a
//! battle: `HKDF(salt = "tiltyard battle key v1", secret = master, info = kid ‖ battle)`. A lobby holds masters,
//! a node holds the keys of the battles that it hosts.

mod claims;
mod file;
mod keys;

pub use claims::{Claims, Role, USER_DATA_MAX};
pub use file::{TokenFile, TokenFileError};
pub use keys::{BattleKey, MasterKey, SessionSecret};

use thiserror::Error;

use crate::BattleId;
use crate::crypto::{Aead, TAG_LEN};
use crate::wire::{Put, Reader, Short};

/// Length of a battle token, bytes.
pub const TOKEN_LEN: usize = 256;

const MAGIC: [u8; 4] = *b"TYT1";
const SUITE: u16 = 1;
const PUBLIC_LEN: usize = 44;

const _: () = assert!(PUBLIC_LEN + claims::SEALED_LEN + TAG_LEN == TOKEN_LEN);

/// A battle token: opaque to the client that carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BattleToken([u8; TOKEN_LEN]);

/// The public part of a token, readable without a key and authenticated by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPublic {
    /// Which master key the token was minted under.
    pub kid: u32,
    /// The first CONNECT must come before this Unix time, milliseconds.
    pub expires_unix_ms: u64,
    /// Random identity of the token.
    pub token_id: [u8; 16],
    /// The battle it is for.
    pub battle: BattleId,
}

/// Why bytes are no token, or none that this key opens.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Tokens have exactly `TOKEN_LEN` bytes.
    #[error("a token has {TOKEN_LEN} bytes, not {len}")]
    Length {
        /// What came instead.
        len: usize,
    },
    /// The first bytes are not those of a battle token of this version.
    #[error("not a battle token of a version that is known here")]
    Unknown,
    /// The token names another key or battle than the one at hand.
    #[error("token is for key {kid} of battle {battle}")]
    OtherKey {
        /// The key id that the token names.
        kid: u32,
        /// The battle that the token names.
        battle: BattleId,
    },
    /// Altered, or minted by nobody who holds the key.
    #[error("token does not open with this key")]
    Forged,
}

/// Mints a token for `claims`, good for the first CONNECT until `expires_unix_ms`.
///
/// `token_id` is the salt of the token's own key: it must come from a cryptographic generator (`system_random`),
/// once per token.
pub fn mint(key: &BattleKey, token_id: [u8; 16], expires_unix_ms: u64, claims: &Claims) -> BattleToken {
    let mut bytes = Vec::with_capacity(TOKEN_LEN);
    bytes.put(&MAGIC);
    bytes.put_u32(key.kid());
    bytes.put_u16(SUITE);
    bytes.put_u16(0);
    bytes.put_u64(expires_unix_ms);
    bytes.put(&token_id);
    bytes.put_u64(key.battle().0);
    claims.encode(&mut bytes);
    Aead::new(&key.token_key(&token_id)).seal_tail([0; 12], &mut bytes, PUBLIC_LEN);
    BattleToken(bytes.try_into().expect("the parts of a token add up to its length"))
}

/// Reads the public part; nothing is proven by that.
///
/// # Errors
/// When the bytes are not a token of a known version.
pub fn inspect(token: &BattleToken) -> Result<TokenPublic, TokenError> {
    parse_public(&token.0).map_err(|Short| TokenError::Unknown)?.ok_or(TokenError::Unknown)
}

/// Opens a token. Expiry is for the caller to judge: it has the clock.
///
/// # Errors
/// When the token is for another key or battle, or was not minted under this key.
pub fn open(key: &BattleKey, token: &BattleToken) -> Result<(TokenPublic, Claims), TokenError> {
    let public = inspect(token)?;
    if public.kid != key.kid() || public.battle != key.battle() {
        return Err(TokenError::OtherKey { kid: public.kid, battle: public.battle });
    }
    let mut bytes = token.0;
    let (associated, sealed) = bytes.split_at_mut(PUBLIC_LEN);
    let text = Aead::new(&key.token_key(&public.token_id))
        .open([0; 12], associated, sealed)
        .map_err(|_| TokenError::Forged)?;
    // A text that opens and still does not parse was minted by a holder of the key for another version.
    let claims = Claims::decode(text).ok_or(TokenError::Unknown)?;
    Ok((public, claims))
}

impl BattleToken {
    /// Takes the bytes as they are; `inspect` and `open` judge them.
    ///
    /// # Errors
    /// When there are not exactly `TOKEN_LEN` bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        bytes.try_into().map(Self).map_err(|_| TokenError::Length { len: bytes.len() })
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8; TOKEN_LEN] {
        &self.0
    }
}

impl std::fmt::Debug for BattleToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match inspect(self) {
            Ok(public) => f.debug_tuple("BattleToken").field(&public).finish(),
            Err(_) => f.write_str("BattleToken(unknown)"),
        }
    }
}

fn parse_public(bytes: &[u8]) -> Result<Option<TokenPublic>, Short> {
    let mut reader = Reader(bytes);
    if reader.array()? != MAGIC {
        return Ok(None);
    }
    let kid = reader.u32()?;
    if reader.u16()? != SUITE || reader.u16()? != 0 {
        return Ok(None);
    }
    Ok(Some(TokenPublic {
        kid,
        expires_unix_ms: reader.u64()?,
        token_id: reader.array()?,
        battle: BattleId(reader.u64()?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            player: 0x1122_3344_5566_7788,
            seat: 7,
            team: 1,
            role: Role::Player,
            protocol_hash: [0xA5; 16],
            issued_unix_ms: 1_700_000_000_000,
            session_secret: SessionSecret::from_bytes([0x5C; 32]),
            bytes_per_second_max: 50_000,
            inputs_per_second_max: 120,
            loadout_hash: [9; 32],
            user_data: b"blue".to_vec(),
        }
    }

    fn key() -> BattleKey {
        MasterKey::from_bytes(3, [0x42; 32]).battle_key(BattleId(99))
    }

    fn token() -> BattleToken {
        mint(&key(), [0x77; 16], 1_700_000_060_000, &claims())
    }

    #[test]
    fn a_token_opens_to_what_was_minted() {
        let (public, opened) = open(&key(), &token()).unwrap();
        assert_eq!(opened, claims());
        assert_eq!(public, inspect(&token()).unwrap());
        assert_eq!(public.expires_unix_ms, 1_700_000_060_000);
        assert_eq!((public.kid, public.battle), (3, BattleId(99)));
    }

    #[test]
    fn b15_every_flipped_bit_is_refused() {
        for bit in 0..TOKEN_LEN * 8 {
            let mut bytes = *token().as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key(), &BattleToken::from_bytes(&bytes).unwrap()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn b16_truncated_and_extended_tokens_are_refused() {
        let bytes = token();
        for len in 0..TOKEN_LEN {
            let expected = Err(TokenError::Length { len });
            assert_eq!(BattleToken::from_bytes(&bytes.as_bytes()[..len]), expected);
        }
        let mut longer = bytes.as_bytes().to_vec();
        longer.push(0);
        assert_eq!(BattleToken::from_bytes(&longer), Err(TokenError::Length { len: TOKEN_LEN + 1 }));
    }

    #[test]
    fn keys_of_other_battles_kids_and_masters_open_nothing() {
        let other_battle = MasterKey::from_bytes(3, [0x42; 32]).battle_key(BattleId(98));
        let other_kid = MasterKey::from_bytes(4, [0x42; 32]).battle_key(BattleId(99));
        let other_master = MasterKey::from_bytes(3, [0x43; 32]).battle_key(BattleId(99));
        let named = TokenError::OtherKey { kid: 3, battle: BattleId(99) };
        assert_eq!(open(&other_battle, &token()), Err(named));
        assert_eq!(open(&other_kid, &token()), Err(named));
        assert_eq!(open(&other_master, &token()), Err(TokenError::Forged));
    }

    #[test]
    fn b18_a_token_cannot_be_moved_to_another_battle() {
        let mut bytes = *token().as_bytes();
        bytes[36..44].copy_from_slice(&98_u64.to_le_bytes());
        let moved = BattleToken::from_bytes(&bytes).unwrap();
        let keys_of_98 = MasterKey::from_bytes(3, [0x42; 32]).battle_key(BattleId(98));
        assert_eq!(open(&keys_of_98, &moved), Err(TokenError::Forged));
    }

    #[test]
    fn b22_a_master_key_used_as_a_battle_key_opens_nothing() {
        let confused = BattleKey::from_bytes(3, BattleId(99), [0x42; 32]);
        assert_eq!(open(&confused, &token()), Err(TokenError::Forged));
    }

    #[test]
    fn b23_no_two_of_many_tokens_share_a_key() {
        // The nonce is always 0, so the question is whether two tokens share a key: they would need one id.
        // Ids are drawn anew for each, so that a restart is nothing special.
        let mut ids: Vec<[u8; 16]> = (0..1_000_000).map(|_| crate::crypto::system_random()).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|a, b| a < b), "an id came twice");
        let mut keys: Vec<_> = ids.iter().take(20_000).map(|id| key().token_key(id)).collect();
        keys.sort_unstable();
        assert!(keys.is_sorted_by(|a, b| a < b), "two ids gave one key");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let shown = format!("{:?} {:?} {:?}", claims(), key(), MasterKey::from_bytes(3, [0x42; 32]));
        assert!(!shown.contains("92") && !shown.contains("66"), "{shown}");
        assert!(shown.contains("secret"), "{shown}");
    }
}
