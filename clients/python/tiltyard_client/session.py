"""A session with a battle node: token file, handshake, sealed packets, both lanes. It has no socket and no clock: bytes
and milliseconds come in, datagrams come out."""

import ipaddress
import os
import struct

from cryptography.exceptions import InvalidTag

from . import crypto
from .kcp import Kcp

FEEDS = {"snapshot": 0, "frame": 1}
LANES = {"auto": 0, "kcp": 1, "datagram": 2}
DENIED = {
    1: "the token expired",
    2: "the token is not valid yet",
    3: "the battle is not here",
    4: "the protocol hash differs",
    5: "the math self-test differs",
    6: "the battle is over",
    7: "a newer connection or token holds the seat",
    8: "no free slot",
    9: "no frame feed: the battle hides something",
}
CLOSED = {
    1: "battle finished",
    2: "left",
    3: "replaced",
    4: "timed out",
    5: "slow reader",
    6: "misbehaved",
    7: "node draining",
    8: "battle aborted",
    9: "lifetime over",
    10: "removed",
    11: "unreachable",
}
LEFT, TIMED_OUT = 2, 4
RETRY_MS = (150, 200, 250, 300, 400, 500, 600, 800)
ROUNDS_MAX = 4
PING_MS = 500
TIMEOUT_MS = 10_000
WINDOW = 1024
ITEMS_MAX = 1200 - 11 - 16


class TokenFile:
    """What a client needs to enter a battle."""

    def __init__(self, text):
        self.token, self.secret, self.addresses = b"", b"", []
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines or lines[0] != "tiltyard-token 1":
            raise ValueError("this is no token file of version 1")
        for line in lines[1:]:
            word, _, value = line.partition(" ")
            if word == "token":
                self.token = bytes.fromhex(value)
            elif word == "secret":
                self.secret = bytes.fromhex(value)
            elif word == "address":
                host, _, port = value.rpartition(":")
                address = (str(ipaddress.ip_address(host.strip("[]"))), int(port))
                if not 0 < address[1] < 65536:
                    raise ValueError(f"port {port} in a token file")
                self.addresses.append(address)
            else:
                raise ValueError(f"{word} in a token file")
        if len(self.token) != 256 or len(self.secret) != 32 or not self.addresses:
            raise ValueError("a token file has a token, a secret and an address")


class Accepted:
    """What the node says when it takes the client."""

    def __init__(self, text):
        fields = struct.unpack("<QQIIHHBBBB16x", text)
        self.connection, self.battle, self.epoch, self.tick, self.rate_hz, self.seat = fields[:6]
        self.team, self.role, self.feed, self.lane = fields[6:]


def hello(nonce):
    return (b"\x01TY1" + nonce).ljust(128, b"\0")


def connect(secret, nonce, cookie, share, sequence, token, client_part):
    """The CONNECT and the key of a DENY that answers it."""
    open_part = b"\x03TY1" + nonce + cookie + share + struct.pack("<Q", sequence) + token
    prk = crypto.connect_prk(secret, open_part)
    sealed = crypto.seal(crypto.expand(prk, b"client part"), crypto.NONCE_0, client_part, open_part)
    return open_part + sealed, crypto.expand(prk, b"deny")


def client_part(protocol_hash, feed, lane, self_test, resume_tick=None):
    return struct.pack(
        "<IBBBBQ16s32x",
        resume_tick or 0,
        resume_tick is not None,
        FEEDS[feed],
        LANES[lane],
        self_test is not None,
        self_test or 0,
        protocol_hash,
    )


def full_number(low, opened_next):
    """The packet number that ends in `low` and is nearest to 1 + the highest one opened."""
    guess = (opened_next & ~0xFFFF) | low
    near = [number for number in (guess - 0x10000, guess, guess + 0x10000) if number >= 0]
    return min(near, key=lambda number: abs(number - opened_next))


def nonce_of(number):
    return bytes(4) + struct.pack(">Q", number)


class Session:
    """One session. After each call of `handle` and whenever `tick` is called, `outgoing` has datagrams to send;
    `messages` has what came in. `closed` says why it ended, once it has."""

    def __init__(self, token_file, protocol_hash, feed, lane, self_test, sequence, now):
        self.file = token_file
        self.part = client_part(protocol_hash, feed, lane, self_test if feed == "frame" else None)
        self.sequence = sequence
        self.outgoing, self.messages = [], []
        self.accepted = self.closed = None
        self.dropped = self.rounds = 0
        self._greet(now)

    def handle(self, datagram, now):
        """Takes a datagram; one that is not what it should be is dropped and counted."""
        try:
            kind = datagram[0] if datagram else 0
            if kind & 0x80:
                self._packet(datagram, now)
            elif self.accepted is None and datagram[1:20] == b"TY1" + self.nonce:
                self._answer(kind, datagram, now)
            else:
                self.dropped += 1
        except (InvalidTag, ValueError, struct.error):
            self.dropped += 1

    def tick(self, now):
        """Lets time pass: says again what was not answered, pings, ends what fell silent."""
        if self.closed is not None:
            return
        if self.accepted is None:
            if now >= self.retry_at:
                if self.tries == len(RETRY_MS):
                    self.rounds += 1
                    if self.rounds == ROUNDS_MAX:
                        self.closed = "no answer"
                        return
                    self._greet(now)
                self.outgoing.append(self.said)
                self.retry_at = now + RETRY_MS[self.tries]
                self.tries += 1
            return
        if now - self.heard_at >= TIMEOUT_MS:
            self.closed = CLOSED[TIMED_OUT]
            return
        if now >= self.ping_at:
            self.ping_at = now + PING_MS
            self.items.append(b"\x03" + struct.pack("<III", now - self.born, self.opened_next, self.opened))
        for block in self.kcp.blocks(now - self.born):
            self.items.append(b"\x01" + struct.pack("<H", len(block)) + block)
        self._flush()

    def send_datagram(self, message):
        """A message that comes once, late, or never. It leaves with the next `tick`."""
        self.items.append(b"\x02" + struct.pack("<H", len(message)) + message)

    def send_reliable(self, message):
        self.kcp.send(message)

    def leave(self):
        """Says CLOSE, as often as the page says at once: who does not hear it notices the silence."""
        if self.accepted and self.closed is None:
            self.closed = CLOSED[LEFT]
            for _ in range(4):
                self.items.append(b"\x07" + bytes([LEFT]))
                self._flush()

    def _greet(self, now):
        """Begins a handshake, each with a nonce and a sequence of its own."""
        self.nonce = os.urandom(16)
        self.said, self.tries, self.retry_at = hello(self.nonce), 0, now
        self.share = self.deny_key = None
        self.connect_bytes = b""
        self.sequence += 1

    def _answer(self, kind, datagram, now):
        if kind == 2 and len(datagram) == 60 and self.share is None:
            self.share = crypto.Share()
            self.connect_bytes, self.deny_key = connect(
                self.file.secret,
                self.nonce,
                datagram[20:60],
                self.share.public,
                self.sequence,
                self.file.token,
                self.part,
            )
            self.said, self.tries, self.retry_at = self.connect_bytes, 0, now
        elif kind == 4 and len(datagram) == 116 and self.share is not None:
            server_share = datagram[20:52]
            agreed = self.share.agree(server_share)
            prk = crypto.session_prk(self.file.secret, self.connect_bytes, server_share, agreed)
            text = crypto.open_sealed(crypto.expand(prk, b"accept"), crypto.NONCE_0, datagram[52:], datagram[:52])
            self._begin(Accepted(text), prk, now)
        elif kind == 5 and len(datagram) == 96 and self.deny_key is not None:
            text = crypto.open_sealed(self.deny_key, datagram[20:32], datagram[32:], datagram[:32])
            self.closed = "denied: " + DENIED.get(text[0], f"code {text[0]}")
        elif kind == 6 and datagram[20:] == b"\x01":
            self.closed = "denied: " + DENIED[3]
        else:
            self.dropped += 1

    def _begin(self, accepted, prk, now):
        self.accepted = accepted
        self.key_out = crypto.expand(prk, b"client to server")
        self.key_in = crypto.expand(prk, b"server to client")
        self.number = 0
        self.opened_next = self.opened = 0
        self.seen = set()
        self.kcp, self.items = Kcp(), []
        self.born = self.heard_at = self.ping_at = now

    def _packet(self, datagram, now):
        if self.accepted is None or datagram[0] != 0xC0 or len(datagram) < 3 + crypto.TAG:
            raise ValueError("no packet for this side")
        number = full_number(struct.unpack_from("<H", datagram, 1)[0], self.opened_next)
        if number in self.seen or number + WINDOW < self.opened_next:
            raise ValueError("a packet that was opened, or is too old")
        items = crypto.open_sealed(self.key_in, nonce_of(number), datagram[3:], datagram[:3])
        self.opened += 1
        self.opened_next = max(self.opened_next, number + 1)
        self.seen.add(number)
        self.seen = {seen for seen in self.seen if seen + WINDOW >= self.opened_next}
        self.heard_at = now
        self._take_items(items, now)

    def _take_items(self, items, now):
        at = 0
        while at < len(items):
            kind = items[at]
            at += 1
            if kind in (1, 2):
                (length,) = struct.unpack_from("<H", items, at)
                content = items[at + 2 : at + 2 + length]
                at += 2 + length
                if kind == 2:
                    self.messages.append(content)
                else:
                    self.messages.extend(self.kcp.receive(content))
            elif kind == 3:
                stamp = items[at : at + 4]
                at += 12
                self.items.append(b"\x04" + stamp + struct.pack("<II", self.opened_next, self.opened))
            elif kind == 4:
                at += 12
            elif kind == 5:
                self.items.append(b"\x06" + items[at : at + 8])
                at += 8
            elif kind == 7:
                self.closed = self.closed or CLOSED.get(items[at], f"reason {items[at]}")
                self.items.append(b"\x07" + items[at : at + 1])
                at += 1
            else:
                raise ValueError(f"item {kind}")
        self._flush()

    def _flush(self):
        """Seals the items that wait into as few packets as hold them."""
        items = b""
        for item in self.items + [None]:
            if item is None or len(items) + len(item) > ITEMS_MAX:
                if items:
                    self._seal(items)
                items = b""
            items += item or b""
        self.items = []

    def _seal(self, items):
        head = b"\x80" + struct.pack("<QH", self.accepted.connection, self.number & 0xFFFF)
        self.outgoing.append(head + crypto.seal(self.key_out, nonce_of(self.number), items, head))
        self.number += 1
