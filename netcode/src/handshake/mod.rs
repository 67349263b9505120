//! The handshake: stateless for the server until a token is proven.
//!
//! ```text
//! client                                   server
//!   | -- HELLO   (128, padded) ------------> |   one HMAC, no memory
//!   | <- CHALLENGE (60) -------------------- |   cookie over address, nonce, time bucket
//!   | -- CONNECT (436) --------------------> |   cookie, token, expiry, battle, client part, sequence;
//!   | <- ACCEPT (116) / DENY (96) ---------- |   only then X25519 and a slot
//!   |    ABSENT (21, not sealed) ----------- |   no key for this battle here: nobody could seal a DENY
//! ```
//! Each answer is smaller than its question. A handshake datagram starts with its kind (high bit clear, which
//! tells it from a packet) and `TY1`.
//!
//! ```text
//! HELLO      kind 1 | "TY1" | client nonce 16 | zeros to 128
//! CHALLENGE  kind 2 | "TY1" | client nonce 16 | bucket 8 | cookie 32
//! CONNECT    kind 3 | "TY1" | client nonce 16 | bucket 8 | cookie 32 | client share 32 | sequence 8
//!            | token 256 | sealed client part 64 + tag 16
//! ACCEPT     kind 4 | "TY1" | client nonce 16 | server share 32 | sealed 48 + tag 16
//! DENY       kind 5 | "TY1" | client nonce 16 | AEAD nonce 12 | sealed 48 + tag 16
//! ABSENT     kind 6 | "TY1" | client nonce 16 | reason 1
//! RESET      kind 7 | "TY1" | connection id 8
//! ```

mod deny;
mod parts;
mod schedule;

pub use deny::DenyReason;
pub(crate) use parts::{Accepted, ClientPart};
pub(crate) use schedule::{ConnectKeys, SessionKeys};

use crate::ConnectionId;
use crate::crypto::{CookieKey, TAG_LEN};
use crate::time::Millis;
use crate::token::{BattleToken, TOKEN_LEN};
use crate::wire::{Put, Reader, Short};
use std::net::{IpAddr, SocketAddr};

pub(crate) const KIND_HELLO: u8 = 1;
pub(crate) const KIND_CHALLENGE: u8 = 2;
pub(crate) const KIND_CONNECT: u8 = 3;
pub(crate) const KIND_ACCEPT: u8 = 4;
pub(crate) const KIND_DENY: u8 = 5;
pub(crate) const KIND_ABSENT: u8 = 6;
pub(crate) const KIND_RESET: u8 = 7;

const MAGIC: [u8; 3] = *b"TY1";

pub(crate) const HELLO_LEN: usize = 128;
pub(crate) const CHALLENGE_LEN: usize = 4 + 16 + 8 + 32;
/// Where the sealed client part of a CONNECT begins; what lies before is its associated data.
pub(crate) const CONNECT_SEALED_AT: usize = 4 + 16 + 8 + 32 + 32 + 8 + TOKEN_LEN;
pub(crate) const CONNECT_LEN: usize = CONNECT_SEALED_AT + parts::CLIENT_PART_LEN + TAG_LEN;
pub(crate) const ACCEPT_SEALED_AT: usize = 4 + 16 + 32;
pub(crate) const ACCEPT_LEN: usize = ACCEPT_SEALED_AT + parts::ACCEPTED_LEN + TAG_LEN;
pub(crate) const DENY_SEALED_AT: usize = 4 + 16 + 12;
pub(crate) const DENY_LEN: usize = DENY_SEALED_AT + deny::DENY_PART_LEN + TAG_LEN;
pub(crate) const ABSENT_LEN: usize = 4 + 16 + 1;

pub(crate) const RESET_LEN: usize = 4 + 8;

// Nothing that an unproven address can ask for is answered with more than it sent.
const _: () = assert!(CHALLENGE_LEN <= HELLO_LEN);
const _: () = assert!(ACCEPT_LEN <= CONNECT_LEN && DENY_LEN <= CONNECT_LEN && ABSENT_LEN <= CONNECT_LEN);

/// Length of the time bucket of a cookie; a cookie holds in its own bucket and the next.
const COOKIE_BUCKET_MS: u64 = 10_000;

pub(crate) type ClientNonce = [u8; 16];

/// A cookie as the client carries it back.
#[derive(Clone, Copy)]
pub(crate) struct Cookie {
    pub(crate) bucket: u64,
    pub(crate) tag: [u8; 32],
}

/// A CONNECT with its parts told apart; nothing in it is proven yet.
pub(crate) struct Connect {
    pub(crate) client_nonce: ClientNonce,
    pub(crate) cookie: Cookie,
    pub(crate) client_share: [u8; 32],
    pub(crate) sequence: u64,
    pub(crate) token: BattleToken,
}

impl Cookie {
    pub(crate) fn bake(key: &CookieKey, now: Millis, from: SocketAddr, nonce: &ClientNonce) -> Self {
        let bucket = now.0 / COOKIE_BUCKET_MS;
        Self { bucket, tag: key.sign(&cookie_text(from, nonce, bucket)) }
    }

    pub(crate) fn holds(&self, key: &CookieKey, now: Millis, from: SocketAddr, nonce: &ClientNonce) -> bool {
        let age = (now.0 / COOKIE_BUCKET_MS).checked_sub(self.bucket);
        age.is_some_and(|age| age <= 1) && key.holds(&cookie_text(from, nonce, self.bucket), &self.tag)
    }
}

pub(crate) fn put_start(out: &mut Vec<u8>, kind: u8, nonce: &ClientNonce) {
    out.clear();
    out.put_u8(kind);
    out.put(&MAGIC);
    out.put(nonce);
}

/// Says that a packet's connection is not here. It answers a packet, which is longer.
pub(crate) fn put_reset(out: &mut Vec<u8>, connection: ConnectionId) {
    out.clear();
    out.put_u8(KIND_RESET);
    out.put(&MAGIC);
    out.put_u64(connection.0);
}

/// The connection that a RESET is about.
pub(crate) fn parse_reset(datagram: &[u8]) -> Option<ConnectionId> {
    let id = datagram.strip_prefix(&[KIND_RESET])?.strip_prefix(&MAGIC)?;
    Some(ConnectionId(u64::from_le_bytes(id.try_into().ok()?)))
}

pub(crate) fn put_hello(out: &mut Vec<u8>, nonce: &ClientNonce) {
    put_start(out, KIND_HELLO, nonce);
    out.resize(HELLO_LEN, 0);
}

pub(crate) fn put_challenge(out: &mut Vec<u8>, nonce: &ClientNonce, cookie: &Cookie) {
    put_start(out, KIND_CHALLENGE, nonce);
    out.put_u64(cookie.bucket);
    out.put(&cookie.tag);
}

/// Writes the open part of a CONNECT; the client part is sealed behind it.
pub(crate) fn put_connect(out: &mut Vec<u8>, connect: &Connect) {
    put_start(out, KIND_CONNECT, &connect.client_nonce);
    out.put_u64(connect.cookie.bucket);
    out.put(&connect.cookie.tag);
    out.put(&connect.client_share);
    out.put_u64(connect.sequence);
    out.put(connect.token.as_bytes());
}

/// Kind and client nonce of a handshake datagram, and what follows.
pub(crate) fn parse_start(datagram: &[u8]) -> Option<(u8, ClientNonce, Reader<'_>)> {
    let mut reader = Reader(datagram);
    let kind = reader.u8().ok()?;
    if reader.array() != Ok(MAGIC) {
        return None;
    }
    let nonce = reader.array().ok()?;
    Some((kind, nonce, reader))
}

pub(crate) fn parse_cookie(reader: &mut Reader<'_>) -> Result<Cookie, Short> {
    Ok(Cookie { bucket: reader.u64()?, tag: reader.array()? })
}

/// The parts of a CONNECT of the right length.
pub(crate) fn parse_connect(client_nonce: ClientNonce, reader: &mut Reader<'_>) -> Result<Connect, Short> {
    Ok(Connect {
        client_nonce,
        cookie: parse_cookie(reader)?,
        client_share: reader.array()?,
        sequence: reader.u64()?,
        token: BattleToken::from_bytes(reader.bytes(TOKEN_LEN)?).map_err(|_| Short)?,
    })
}

fn cookie_text(from: SocketAddr, nonce: &ClientNonce, bucket: u64) -> [u8; 42] {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut text = [0; 42];
    text[..16].copy_from_slice(&ip.octets());
    text[16..18].copy_from_slice(&from.port().to_le_bytes());
    text[18..34].copy_from_slice(nonce);
    text[34..].copy_from_slice(&bucket.to_le_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bake(now: u64, from: &str) -> Cookie {
        Cookie::bake(&CookieKey::new(&[1; 32]), Millis(now), from.parse().unwrap(), &[7; 16])
    }

    fn holds(cookie: &Cookie, now: u64, from: &str, nonce: u8) -> bool {
        cookie.holds(&CookieKey::new(&[1; 32]), Millis(now), from.parse().unwrap(), &[nonce; 16])
    }

    #[test]
    fn a_cookie_is_good_for_its_address_port_and_nonce_alone() {
        let cookie = bake(5_000, "192.0.2.1:9");
        assert!(holds(&cookie, 5_000, "192.0.2.1:9", 7));
        assert!(!holds(&cookie, 5_000, "192.0.2.2:9", 7));
        assert!(!holds(&cookie, 5_000, "192.0.2.1:8", 7));
        assert!(!holds(&cookie, 5_000, "192.0.2.1:9", 6));
    }

    #[test]
    fn a_cookie_outlives_its_bucket_by_one() {
        let cookie = bake(5_000, "192.0.2.1:9");
        assert!(holds(&cookie, 19_999, "192.0.2.1:9", 7));
        assert!(!holds(&cookie, 20_000, "192.0.2.1:9", 7));
        let later = bake(25_000, "192.0.2.1:9");
        assert!(!holds(&later, 5_000, "192.0.2.1:9", 7), "a cookie from the future");
    }
}
