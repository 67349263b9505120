//! Keys of a handshake and of the connection that comes of it.
//!
//! ```text
//! connect prk = HKDF-Extract(salt = SHA-256("tiltyard connect v1" ‖ CONNECT[0..356]), session secret)
//!   client part key = Expand("client part"), nonce 0     deny key = Expand("deny"), random nonce
//! session prk = HKDF-Extract(salt = SHA-256("tiltyard session v1" ‖ CONNECT ‖ server share),
//!                            session secret ‖ X25519)
//!   accept key = Expand("accept"), nonce 0
//!   Expand("client to server"), Expand("server to client"): nonce = packet number
//! ```
//! Nonce, cookie, share, sequence and token all enter the salt: another CONNECT has another key, so that nonce 0
//! is used once. A repeated CONNECT has the same bytes throughout.

use ring::hkdf::Prk;

use crate::crypto::{Aead, KEY_LEN, expand, extract, sha256};
use crate::token::SessionSecret;

/// Keys that both sides know before any key exchange.
pub(crate) struct ConnectKeys(Prk);

/// Keys of one connection. They are gone with it: nobody can open old packets with the token alone.
pub(crate) struct SessionKeys {
    pub(crate) accept: Aead,
    pub(crate) client_to_server: Aead,
    pub(crate) server_to_client: Aead,
}

impl ConnectKeys {
    /// `open_part` is the CONNECT up to its sealed part.
    pub(crate) fn new(secret: &SessionSecret, open_part: &[u8]) -> Self {
        Self(extract(&sha256(&[b"tiltyard connect v1", open_part]), secret.as_bytes()))
    }

    pub(crate) fn client_part(&self) -> Aead {
        Aead::new(&expand(&self.0, &[b"client part"]))
    }

    pub(crate) fn deny(&self) -> Aead {
        Aead::new(&expand(&self.0, &[b"deny"]))
    }
}

impl SessionKeys {
    /// `connect` is the whole CONNECT as it travelled.
    pub(crate) fn new(
        secret: &SessionSecret,
        connect: &[u8],
        server_share: &[u8; 32],
        agreed: &[u8; 32],
    ) -> Self {
        let mut both = [0; KEY_LEN * 2];
        both[..KEY_LEN].copy_from_slice(secret.as_bytes());
        both[KEY_LEN..].copy_from_slice(agreed);
        let prk = extract(&sha256(&[b"tiltyard session v1", connect, server_share]), &both);
        Self {
            accept: Aead::new(&expand(&prk, &[b"accept"])),
            client_to_server: Aead::new(&expand(&prk, &[b"client to server"])),
            server_to_client: Aead::new(&expand(&prk, &[b"server to client"])),
        }
    }
}
