"""The reliable lane: KCP in stream mode with length-prefixed messages, as much of it as a client needs."""

import struct

CONVERSATION = 0x31535954
PUSH, ACK, WASK, WINS = 81, 82, 83, 84
HEADER = struct.Struct("<IBBHIIII")
BLOCK_MAX = 1170
SEGMENT_MAX = BLOCK_MAX - HEADER.size
WINDOW = 256
MESSAGE_MAX = 4 * 1024 * 1024
RESEND_MS = 200


class Kcp:
    """Both directions of the lane. Times are milliseconds since the connection's beginning."""

    def __init__(self):
        self.next_in = 0
        self.waiting = {}
        self.stream = bytearray()
        self.acks = []
        self.tell_window = False
        self.next_out = 0
        self.queue = bytearray()
        # number -> [bytes, when it goes again, pause]
        self.flying = {}

    def send(self, message):
        self.queue += struct.pack("<I", len(message)) + message

    def receive(self, block):
        """Takes a block of segments; gives the messages that are whole now."""
        at = 0
        while at < len(block):
            conversation, command, _, _, stamp, number, una, length = HEADER.unpack_from(block, at)
            at += HEADER.size
            data = block[at : at + length]
            at += length
            if conversation != CONVERSATION or len(data) != length:
                raise ValueError("a KCP segment that is none")
            for sent in [sent for sent in self.flying if sent < una]:
                del self.flying[sent]
            if command == ACK:
                self.flying.pop(number, None)
            elif command == WASK:
                self.tell_window = True
            elif command == PUSH and number < self.next_in + WINDOW:
                self.acks.append((number, stamp))
                if number >= self.next_in:
                    self.waiting[number] = data
        while self.next_in in self.waiting:
            self.stream += self.waiting.pop(self.next_in)
            self.next_in += 1
        return list(self._messages())

    def blocks(self, now):
        """What is to be sent now, in blocks that fit an item."""
        segments = [self._segment(ACK, stamp, number, b"") for number, stamp in self.acks]
        self.acks.clear()
        if self.tell_window:
            segments.append(self._segment(WINS, now, 0, b""))
            self.tell_window = False
        while self.queue and len(self.flying) < 32:
            data = bytes(self.queue[:SEGMENT_MAX])
            del self.queue[:SEGMENT_MAX]
            self.flying[self.next_out] = [data, now, RESEND_MS]
            self.next_out += 1
        for number, flight in self.flying.items():
            data, due, pause = flight
            if due <= now:
                segments.append(self._segment(PUSH, now, number, data))
                flight[1:] = [now + pause, min(pause * 3 // 2, 5000)]
        block = b""
        for segment in segments:
            if len(block) + len(segment) > BLOCK_MAX:
                yield block
                block = b""
            block += segment
        if block:
            yield block

    def _segment(self, command, stamp, number, data):
        window = max(WINDOW - len(self.waiting), 0)
        return HEADER.pack(CONVERSATION, command, 0, window, stamp, number, self.next_in, len(data)) + data

    def _messages(self):
        while len(self.stream) >= 4:
            (length,) = struct.unpack_from("<I", self.stream)
            if length > MESSAGE_MAX:
                raise ValueError(f"a message of {length} bytes")
            if len(self.stream) < 4 + length:
                return
            yield bytes(self.stream[4 : 4 + length])
            del self.stream[: 4 + length]
