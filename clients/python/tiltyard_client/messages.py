"""The messages between client and node."""

import struct

from .game import Reader


def inputs(seat, acknowledged, newest_tick, run):
    """Inputs for consecutive ticks, the last for `newest_tick`, and what the client holds."""
    head = struct.pack(
        "<BHBIIB", 1, seat, acknowledged is not None, acknowledged or 0, newest_tick, len(run)
    )
    return head + b"".join(bytes([len(each)]) + each for each in run)


def ask_keyframe(from_tick):
    return struct.pack("<BBI", 2, 1, from_tick)


def ask_frames(from_tick):
    return struct.pack("<BBI", 2, 2, from_tick)


def desync(tick, state_hash):
    return struct.pack("<BIQ", 3, tick, state_hash)


def parse(data):
    """A message of the node: its name and its fields."""
    reader = Reader(data)
    kind = reader.number(1)
    message = {"epoch": reader.number(4), "tick": reader.number(4)}
    if kind == 0x10:
        message["state_hash"] = reader.number(8)
        message["report"] = report(reader)
        message["records"] = [reader.take(reader.number(2)) for _ in range(reader.number(1))]
        reader.end()
        return "frame", message
    if kind in (0x11, 0x15):
        has_baseline, baseline = reader.number(1), reader.number(4)
        message["baseline"] = baseline if has_baseline else None
        message["view"], message["view_hash"] = reader.number(4), reader.number(8)
        message["report"] = report(reader)
        message["stale"] = reader.take(reader.number(4)) if kind == 0x15 else b""
        if kind == 0x15 and not (message["stale"] and has_baseline):
            raise ValueError("a short snapshot that marks nothing, or has no baseline")
        message["shared"] = reader.take(reader.number(4))
        message["private"] = rest(reader)
        return "snapshot", message
    if kind == 0x12:
        message["rate_hz"] = reader.number(2)
        message["spec"] = rest(reader)
        return "start", message
    if kind == 0x13:
        message["state_hash"] = reader.number(8)
        message["inputs"] = reader.take(reader.number(4))
        message["state"] = rest(reader)
        return "keyframe", message
    if kind == 0x14:
        message["state_hash"] = reader.number(8)
        message["outcome"] = rest(reader)
        return "end", message
    raise ValueError(f"message {kind:#04x}")


def report(reader):
    has_tick, tick = reader.number(1), reader.number(4)
    (lead_ms,) = struct.unpack("<h", reader.take(2))
    return {"newest_tick": tick if has_tick else None, "lead_ms": lead_ms}


def rest(reader):
    return reader.take(len(reader.data) - reader.at)


def outcome(data):
    """Who won and each team's score; nothing for a battle that was not played to its end."""
    if not data:
        return None
    winner, *scores = struct.unpack(f"<B{(len(data) - 1) // 4}i", data)
    return {"winner": None if winner == 255 else winner, "scores": scores}
