"""Keys and sealing: HKDF-SHA256 and AES-256-GCM, as the page names them."""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NONCE_0 = bytes(12)
TAG = 16


def extract(salt, secret):
    return hmac.new(salt, secret, hashlib.sha256).digest()


def expand(prk, info):
    """One block, which is all that a key takes."""
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def connect_prk(session_secret, open_part):
    return extract(hashlib.sha256(b"tiltyard connect v1" + open_part).digest(), session_secret)


def session_prk(session_secret, connect, server_share, agreed):
    salt = hashlib.sha256(b"tiltyard session v1" + connect + server_share).digest()
    return extract(salt, session_secret + agreed)


def seal(key, nonce, text, associated):
    return AESGCM(key).encrypt(nonce, text, associated)


def open_sealed(key, nonce, sealed, associated):
    """Raises cryptography's InvalidTag if the bytes are not what was sealed."""
    return AESGCM(key).decrypt(nonce, sealed, associated)


class Share:
    """A key share of X25519."""

    def __init__(self):
        self.private = X25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def agree(self, other):
        return self.private.exchange(X25519PublicKey.from_public_bytes(other))
