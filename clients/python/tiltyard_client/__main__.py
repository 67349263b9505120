"""Takes a token file, joins the battle, plays it and prints the feed.

    python3 -m tiltyard_client t.token --feed frame --seconds 20
"""

import argparse
import json
import math
import pathlib
import select
import socket
import sys
import time

from . import game, messages, snapshot
from .session import FEEDS, LANES, Session, TokenFile

LEAD_TICKS = 8
REDUNDANCY = 4
BASELINES_MAX = 32
ASK_MS = 300
LAYOUT = pathlib.Path(__file__).parent.parent / "skirmish.layout"


def now_ms():
    return time.monotonic_ns() // 1_000_000


class Player:
    """What a client makes of the feed, and what it says."""

    def __init__(self, session, layout, feed):
        self.session, self.layout, self.feed = session, layout, feed
        self.spec = self.state = self.record = self.ended = None
        self.baselines = {}
        self.shown = -1
        self.snapshots = self.short = self.frames = self.refused = self.confirmed = 0
        self.asked_at = 0

    def hear(self, data):
        try:
            name, message = messages.parse(data)
            getattr(self, "_" + name)(message)
        except ValueError as problem:
            self.refused += 1
            print(f"refused: {problem}", file=sys.stderr)

    def _start(self, message):
        self.spec = game.Spec(self.layout, message["spec"])
        seats = self.spec.seats
        print(f"start: tick {message['tick']}, {len(seats)} seats at {message['rate_hz']} Hz, seed {self.spec.seed}")
        if self.record is None and message["tick"] == 0:
            self.record = game.TickRecord(0, [bytes(self.layout.input.size)] * len(seats))
        if self.shown < 0 and message["tick"] == 0:
            self._show(0)

    def _keyframe(self, message):
        if self.spec is None or (self.record and self.record.tick >= message["tick"] > 0):
            return
        self.state, self.record = game.decode_keyframe(self.layout, message["state"], len(self.spec.seats))
        print(f"keyframe: tick {self.state.tick}, {self._count()}")
        self._show(message["tick"])

    def _frame(self, message):
        self._confirm(message["report"])
        first = message["tick"] - len(message["records"]) + 1
        for tick, record in enumerate(message["records"], first):
            if self.record is None or tick != self.record.tick + 1:
                continue
            self.record = self.record.advance(record)
            self.frames += 1
            if tick % 30 == 0 or self.record.commands:
                own = self.session.accepted.seat
                values = self.layout.input.values(self.layout.input.unpack(self.record.inputs[own]))
                words = f"own input {self.record.reasons[own]} {values}"
                print(f"frame: tick {tick}, {words}, commands {self.record.commands}")
            self._show(tick)
        if self.record is None or self.record.tick < message["tick"]:
            self._ask()

    def _snapshot(self, message):
        self._confirm(message["report"])
        if self.spec is None or message["tick"] <= self.shown:
            return
        baseline = message["baseline"]
        base = game.State.empty(self.layout) if baseline is None else self.baselines.get(baseline)
        if base is None:
            self._ask()
            raise ValueError(f"a snapshot against tick {baseline}, which is not here")
        rate_hz, tick = self.spec.rate_hz, message["tick"]
        self.state = snapshot.decode(self.layout, rate_hz, tick, base, message["shared"], message["stale"])
        self.baselines[tick] = self.state
        for old in sorted(self.baselines)[:-BASELINES_MAX]:
            del self.baselines[old]
        self.snapshots += 1
        self.short += bool(message["stale"])
        if tick % 30 == 0:
            against = "nothing" if baseline is None else f"tick {baseline}"
            words = f"{len(message['shared'])} bytes, {self._count()}"
            print(f"snapshot: tick {tick} against {against}, {words}")
        self._show(tick)

    def _end(self, message):
        self.ended = messages.outcome(message["outcome"])
        print(f"end: tick {message['tick']}, hash {message['state_hash']:016x}, {self.ended}")

    def _count(self):
        counts = zip(self.layout.kinds, self.state.ids)
        return ", ".join(f"{len(ids)} {kind.name}" for kind, ids in counts if not kind.singleton)

    def _confirm(self, report):
        if report["newest_tick"] is not None:
            self.confirmed = max(self.confirmed, report["newest_tick"])

    def _ask(self):
        """Something is missing that no later message will bring."""
        if now_ms() - self.asked_at >= ASK_MS:
            self.asked_at = now_ms()
            is_lost = self.feed == "snapshot" or self.record is None
            self.session.send_reliable(
                messages.ask_keyframe(0) if is_lost else messages.ask_frames(self.record.tick + 1)
            )

    def _show(self, tick):
        self.shown = max(self.shown, tick)
        self.say()

    def say(self):
        """Sends the inputs of the ticks to come, the last ones once more, and what is held."""
        newest = self.shown + LEAD_TICKS
        ticks = range(max(1, newest - LEAD_TICKS - REDUNDANCY + 1), newest + 1)
        held = self.record.tick if self.feed == "frame" and self.record else None
        if self.feed == "snapshot" and self.state:
            held = self.state.tick
        run = [decide(self.layout, tick) for tick in ticks]
        self.session.send_datagram(messages.inputs(self.session.accepted.seat, held, newest, run))


def decide(layout, tick):
    """Walks in circles and fires, in a game that has these; else does nothing."""
    angle = tick / 30
    wishes = {
        "move_x": int(127 * math.cos(angle)),
        "move_y": int(127 * math.sin(angle)),
        "aim": int(4096 * (angle % (2 * math.pi) - math.pi)),
        "buttons": 1,
    }
    record = layout.input
    return record.pack([wishes.get(field.name, 0) for field in record.elements])


def play(arguments, file):
    layout = game.Layout(arguments.layout.read_text())
    address = file.addresses[0]
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.connect(address)
        udp.setblocking(False)
        sequence = time.time_ns() // 1_000_000
        session = Session(
            file, layout.protocol_hash, arguments.feed, arguments.lane, layout.self_test, sequence, now_ms()
        )
        player = Player(session, layout, arguments.feed)
        until = now_ms() + arguments.seconds * 1000
        while session.closed is None:
            if now_ms() >= until:
                session.leave()
            session.tick(now_ms())
            for datagram in session.outgoing:
                try:
                    udp.send(datagram)
                except ConnectionRefusedError:
                    pass
            session.outgoing.clear()
            if select.select([udp], [], [], 0.01)[0]:
                try:
                    while True:
                        session.handle(udp.recv(2048), now_ms())
                except (BlockingIOError, ConnectionRefusedError):
                    pass
            for message in session.messages:
                player.hear(message)
            session.messages.clear()
        # What is left is the goodbye.
        for datagram in session.outgoing:
            udp.send(datagram)
    return session, player


def read_token(path):
    """The token file, or the end of the program with one line that says why not."""
    try:
        return TokenFile(path.read_text())
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"{path}: {error}")


def main():
    parser = argparse.ArgumentParser(prog="tiltyard_client", description=__doc__.splitlines()[0])
    parser.add_argument("token", type=pathlib.Path, help="a token file, as `tiltyard token issue` writes it")
    parser.add_argument("--feed", choices=FEEDS, default="snapshot")
    parser.add_argument("--lane", choices=LANES, default="auto")
    parser.add_argument("--seconds", type=float, default=10, help="leave after so long")
    parser.add_argument("--layout", type=pathlib.Path, default=LAYOUT, help="what `tiltyard layout` prints for the game")
    arguments = parser.parse_args()
    session, player = play(arguments, read_token(arguments.token))
    result = {
        "joined": session.accepted is not None,
        "closed": session.closed,
        "snapshots": player.snapshots,
        "short_snapshots": player.short,
        "frames": player.frames,
        "newest_tick": player.shown,
        "inputs_confirmed_to": player.confirmed,
        "refused": player.refused,
        "dropped": session.dropped,
        "outcome": player.ended,
    }
    print(json.dumps(result))
    fed = player.snapshots if arguments.feed == "snapshot" else player.frames
    sys.exit(0 if fed and not player.refused else 1)


if __name__ == "__main__":
    main()
