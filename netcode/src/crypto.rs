//! The few cryptographic forms that are used, each once: HKDF-SHA256 with a domain label, AES-256-GCM, HMAC
//! cookies, X25519, and a seeded generator of unpredictable bytes.
//!
//! `ring` does the work. Its AEAD nonces have 96 bits, too few to be drawn at random under a long-lived key:
//! every key here is derived for one purpose and either used once (nonce 0), with a packet number that never
//! repeats, or (for a DENY, which may be said twice) with a random nonce under a key of one CONNECT.

use ring::{aead, agreement, digest, hkdf, hmac, rand};

/// Length of an AEAD tag, bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Length of every key and shared secret, bytes.
pub(crate) const KEY_LEN: usize = 32;

/// Bytes that did not open: altered, truncated, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// Bytes from the operating system's generator, for token ids, session secrets and endpoint seeds.
///
/// # Panics
/// When the operating system has no randomness to give; nothing secret can be made then.
pub fn system_random<const N: usize>() -> [u8; N] {
    rand::generate(&rand::SystemRandom::new()).expect("the operating system gives random bytes").expose()
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256: `secret` under `salt`, expanded for `info` (the parts are concatenated), 32 bytes.
pub(crate) fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> [u8; KEY_LEN] {
    expand(&extract(salt, secret), info)
}

pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret)
}

pub(crate) fn expand(prk: &hkdf::Prk, info: &[&[u8]]) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    prk.expand(info, Length(KEY_LEN))
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    key
}

/// SHA-256 over the parts, concatenated.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// An AES-256-GCM key.
pub(crate) struct Aead(aead::LessSafeKey);

impl Aead {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("a key of 32 bytes");
        Self(aead::LessSafeKey::new(key))
    }

    /// Seals `bytes[from..]` in place and appends the tag; `bytes[..from]` is the associated data.
    pub(crate) fn seal_tail(&self, nonce: [u8; 12], bytes: &mut Vec<u8>, from: usize) {
        let (header, body) = bytes.split_at_mut(from);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(header), body)
            .expect("a packet is far shorter than the longest AES-GCM text");
        bytes.extend_from_slice(tag.as_ref());
    }

    /// Opens `sealed` (text, then tag) in place; returns the text.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; 12],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, aead::Aad::from(associated), sealed).map_err(|_| Forged)
    }
}

/// The nonce of packet `number`: four zero bytes, then the number, big end first.
pub(crate) fn packet_nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// A keyed tag over what the server would otherwise have to remember.
pub(crate) struct CookieKey(hmac::Key);

impl CookieKey {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, bytes).as_ref());
        out
    }

    /// Compares in constant time.
    pub(crate) fn holds(&self, bytes: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, bytes, tag).is_ok()
    }
}

/// One half of an X25519 agreement. `ring` draws it from the operating system and lets nobody pass it in, so
/// two runs with one seed differ in these bytes, and in nothing that can be seen without the keys.
pub(crate) struct KeyShare {
    private: agreement::EphemeralPrivateKey,
    pub(crate) public: [u8; 32],
}

impl KeyShare {
    pub(crate) fn generate() -> Self {
        let system = rand::SystemRandom::new();
        let private = agreement::EphemeralPrivateKey::generate(&agreement::X25519, &system)
            .expect("the operating system gives random bytes");
        let mut public = [0; 32];
        public
            .copy_from_slice(private.compute_public_key().expect("an X25519 key has a public half").as_ref());
        Self { private, public }
    }

    /// The shared secret with the peer's public half.
    ///
    /// # Errors
    /// `Forged` when the peer's half is a point of small order.
    pub(crate) fn agree(self, peer: &[u8; 32]) -> Result<[u8; 32], Forged> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
        agreement::agree_ephemeral(self.private, &peer, |shared| {
            let mut out = [0; 32];
            out.copy_from_slice(shared);
            out
        })
        .map_err(|_| Forged)
    }
}

/// Unpredictable bytes from a secret seed: HMAC-SHA256 over a counter.
pub(crate) struct SecretStream {
    key: hmac::Key,
    counter: u64,
}

impl SecretStream {
    pub(crate) fn new(seed: &[u8; 32], label: &[u8]) -> Self {
        let key = derive(b"tiltyard stream v1", seed, &[label]);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), counter: 0 }
    }

    /// The next `N` bytes, at most 32.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32) };
        let block = hmac::sign(&self.key, &self.counter.to_le_bytes());
        self.counter = self.counter.checked_add(1).expect("2^64 draws outlast any process");
        let mut out = [0; N];
        out.copy_from_slice(&block.as_ref()[..N]);
        out
    }
}
