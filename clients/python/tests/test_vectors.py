"""Everything against the vectors that the repository pins: python3 -m unittest discover -s clients/python/tests -t clients/python"""

import contextlib
import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace

from tiltyard_client import crypto, game, messages, session, snapshot
from tiltyard_client.__main__ import Player
from tiltyard_client.kcp import ACK, BLOCK_MAX, HEADER, PUSH, WASK, WINS, Kcp

ROOT = pathlib.Path(__file__).resolve().parents[3]


def vectors(path):
    lines = (line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#"))
    return {name: bytes.fromhex(value) for name, value in (line.split(" = ") for line in lines)}


NET = vectors("netcode/tests/data/vectors.txt")
GAME = vectors("tests/data/skirmish.txt")
LAYOUT = game.Layout((ROOT / "clients/python/skirmish.layout").read_text())


def counting(first, count):
    return bytes((first + at) & 0xFF for at in range(count))


class Handshake(unittest.TestCase):
    nonce = counting(0xA0, 16)

    def test_hello(self):
        self.assertEqual(session.hello(self.nonce), NET["hello"])

    def test_connect_and_the_answers_to_it(self):
        part = session.client_part(counting(0x30, 16), "frame", "datagram", 0xDEADBEEF00000001, 300)
        self.assertEqual(part, NET["client_part"])
        cookie = NET["challenge"][20:60]
        secret, token = NET["session_secret"], NET["token"]
        connect, deny_key = session.connect(secret, self.nonce, cookie, counting(0xC0, 32), 9, token, part)
        self.assertEqual(connect, NET["connect"])

        deny = NET["deny_expired_17_ms"]
        text = crypto.open_sealed(deny_key, deny[20:32], deny[32:], deny[:32])
        self.assertEqual((text[0], struct.unpack_from("<Q", text, 1)[0]), (1, 17))

        accept = NET["accept"]
        prk = crypto.session_prk(secret, connect, accept[20:52], NET["x25519_result"])
        text = crypto.open_sealed(crypto.expand(prk, b"accept"), crypto.NONCE_0, accept[52:], accept[:52])
        accepted = session.Accepted(text)
        self.assertEqual((accepted.connection, accepted.tick, accepted.seat), (0x030000002A000001, 310, 5))

        head, number = NET["packet_to_client_3"][:3], 3
        key = crypto.expand(prk, b"server to client")
        items = crypto.open_sealed(key, session.nonce_of(number), NET["packet_to_client_3"][3:], head)
        self.assertEqual(items, b"\x05" + counting(0xE0, 8) + b"\x07\x01")
        items = b"\x03" + struct.pack("<III", 1500, 40, 39) + b"\x02" + struct.pack("<H", 6) + b"inputs"
        head = b"\x80" + struct.pack("<QH", accepted.connection, 0x2345)
        sealed = crypto.seal(crypto.expand(prk, b"client to server"), session.nonce_of(0x12345), items, head)
        self.assertEqual(head + sealed, NET["packet_to_server_0x12345"])

    def test_numbers_are_completed_around_what_was_opened(self):
        for low, opened_next, number in [
            (0, 0, 0),
            (5, 3, 5),
            (0xFFFF, 0x10000, 0xFFFF),
            (2, 0xFFFE, 0x10002),
            (0xFFFE, 0x20001, 0x1FFFE),
        ]:
            self.assertEqual(session.full_number(low, opened_next), number)

    def test_token_files(self):
        text = f"tiltyard-token 1\n# mine\ntoken {NET['token'].hex()}\nsecret {bytes(32).hex()}\naddress [::1]:7\n"
        file = session.TokenFile(text)
        self.assertEqual((file.token, file.addresses), (NET["token"], [("::1", 7)]))
        for broken in ["", "tiltyard-token 2\n", text.replace("secret", "sekret"), text[:100]] + [
            text.replace(":7", port) for port in [":0", ":65536", ":x", "x:7"]
        ]:
            with self.assertRaises(ValueError):
                session.TokenFile(broken)

    def test_a_token_file_that_is_none_ends_the_program_with_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "t.token"
            for content in [None, b"no token", b"\xff\xfe", b"tiltyard-token 1\ntoken xx\n"]:
                if content is not None:
                    path.write_bytes(content)
                command = [sys.executable, "-m", "tiltyard_client", str(path)]
                run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "clients/python")
                self.assertEqual((run.returncode, run.stdout), (1, ""))
                self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
                self.assertTrue(run.stderr.startswith(f"{path}: "), run.stderr)


class Messages(unittest.TestCase):
    def test_to_the_node(self):
        run = [b"\x01\x02\x03", b"\x04\x05\x06"]
        self.assertEqual(messages.inputs(5, 308, 312, run), NET["inputs"])
        self.assertEqual(messages.ask_frames(305), NET["ask_frames"])
        self.assertEqual(messages.desync(306, 0x0807060504030201), NET["desync"])

    def test_from_the_node(self):
        name, frame = messages.parse(NET["frame"])
        self.assertEqual((name, frame["epoch"], frame["tick"], frame["state_hash"]), ("frame", 2, 310, 0x0102))
        self.assertEqual(frame["report"], {"newest_tick": 312, "lead_ms": -4})
        self.assertEqual(frame["records"], [b"\x01\x02\x03", b"\x04\x05\x06"])
        name, snapshot = messages.parse(NET["snapshot"])
        self.assertEqual((name, snapshot["baseline"], snapshot["view"]), ("snapshot", 306, 1))
        self.assertEqual((snapshot["shared"], snapshot["private"]), (b"shared", b"private"))
        self.assertEqual(snapshot["stale"], b"")
        name, short = messages.parse(NET["snapshot_short"])
        self.assertEqual((name, short), ("snapshot", snapshot | {"stale": b"marks"}))
        self.assertEqual(messages.parse(NET["start"])[1]["spec"], b"spec")
        keyframe = messages.parse(NET["keyframe"])[1]
        self.assertEqual((keyframe["inputs"], keyframe["state"]), (b"inputs", b"state"))
        self.assertEqual(messages.parse(NET["end"])[1]["outcome"], b"outcome")
        at = NET["snapshot_short"].index(b"marks")
        without_marks = NET["snapshot_short"][: at - 4] + bytes(4) + NET["snapshot_short"][at + 5 :]
        without_baseline = NET["snapshot_short"][:9] + bytes(5) + NET["snapshot_short"][14:]
        for torn in [without_marks, without_baseline]:
            with self.assertRaises(ValueError):
                messages.parse(torn)
        for torn in [b"", b"\x10", NET["frame"][:-1], NET["frame"] + b"\0", b"\x55" + bytes(8)]:
            with self.assertRaises(ValueError):
                messages.parse(torn)


class Game(unittest.TestCase):
    def test_the_input(self):
        record = LAYOUT.input
        row = [127, -64, 6144, 1]
        self.assertEqual(record.pack(row), GAME["input_right_half_down_aim_1.5_fire"])
        self.assertEqual(record.unpack(record.pack(row)), row)

    def test_the_specification(self):
        start = messages.parse(GAME["start_message"])[1]
        self.assertEqual(start["spec"], GAME["spec"])
        spec = game.Spec(LAYOUT, start["spec"])
        self.assertEqual((spec.seed, spec.rate_hz, spec.ticks_max), (7, 30, 3000))
        self.assertEqual([seat["bot"] for seat in spec.seats[:3]], [False, False, True])
        self.assertGreater(spec.setup["arena_half"], 0)

    def test_a_keyframe_and_the_frames_after_it_lead_to_the_inputs_of_all_frames(self):
        seats = len(game.Spec(LAYOUT, GAME["spec"]).seats)
        keyframe = messages.parse(GAME["keyframe_message"])[1]
        state, late = game.decode_keyframe(LAYOUT, keyframe["state"], seats)
        self.assertEqual((state.tick, late.tick), (36, 36))
        self.assertEqual(state.pack(LAYOUT), GAME["keyframe_columns"])
        early = game.TickRecord(0, [bytes(LAYOUT.input.size)] * seats)
        for record in messages.parse(GAME["frame_message_from_1"])[1]["records"]:
            early = early.advance(record)
            if early.tick == 2:
                self.assertEqual(early.commands, [("joined", 0, 0), ("act", 1, 77)])
        for record in messages.parse(GAME["frame_message_after_keyframe"])[1]["records"]:
            late = late.advance(record)
        self.assertEqual((early.tick, late.tick), (40, 40))
        self.assertEqual(b"".join(early.inputs), GAME["inputs_of_the_last_tick"])
        self.assertEqual(early.inputs, late.inputs)
        self.assertEqual(early.reasons, ["bot"] * seats)

    def test_snapshots_lead_to_the_state(self):
        seats = len(game.Spec(LAYOUT, GAME["spec"]).seats)
        base, _ = game.decode_keyframe(LAYOUT, messages.parse(GAME["keyframe_message"])[1]["state"], seats)
        for name, baseline in [("snapshot_message_whole", None), ("snapshot_message", 36)]:
            message = messages.parse(GAME[name])[1]
            self.assertEqual((message["baseline"], message["private"]), (baseline, b""))
            against = game.State.empty(LAYOUT) if baseline is None else base
            tick, body = message["tick"], message["shared"]
            state = snapshot.decode(LAYOUT, 30, tick, against, body)
            self.assertEqual(state.pack(LAYOUT), GAME["snapshot_columns"])
            for torn in [body[:-1], body[:8], body + b"\0", body + bytes(4)]:
                with self.assertRaises(ValueError):
                    snapshot.decode(LAYOUT, 30, tick, against, torn)
        self.assertEqual(len(list(state.rows(LAYOUT, "Puppet"))), seats)

    def test_a_short_snapshot_leaves_the_rows_that_it_marks_as_they_were(self):
        seats = len(game.Spec(LAYOUT, GAME["spec"]).seats)
        base, _ = game.decode_keyframe(LAYOUT, messages.parse(GAME["keyframe_message"])[1]["state"], seats)
        message = messages.parse(GAME["snapshot_message_short"])[1]
        tick, body, marks = message["tick"], message["shared"], message["stale"]
        state = snapshot.decode(LAYOUT, 30, tick, base, body, marks)
        self.assertEqual(state.pack(LAYOUT), GAME["snapshot_columns_short"])
        self.assertNotEqual(GAME["snapshot_columns_short"], GAME["snapshot_columns"])
        _, stale = snapshot.part(LAYOUT, base, marks)
        self.assertGreater(sum(map(len, stale.ids)), 0)
        spare = marks[:-1] + bytes([marks[-1] | 0x80])
        for torn in [marks[1:], marks + b"\0", spare, bytes(len(marks))]:
            with self.assertRaises(ValueError):
                snapshot.decode(LAYOUT, 30, tick, base, body, torn)
        # A row that is told cannot be one that stays.
        whole = messages.parse(GAME["snapshot_message_whole"])[1]["shared"]
        now = snapshot.decode(LAYOUT, 30, tick, game.State.empty(LAYOUT), whole)
        with self.assertRaises(ValueError):
            snapshot.together(LAYOUT, now, stale)

    def test_what_a_short_snapshot_leads_to_is_acknowledged_and_a_baseline(self):
        said, reliable = [], []
        link = SimpleNamespace(
            accepted=SimpleNamespace(seat=0), send_datagram=said.append, send_reliable=reliable.append
        )
        player = Player(link, LAYOUT, "snapshot")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            player.hear(GAME["start_message"])
            player.hear(GAME["snapshot_message_short"])
            self.assertEqual((player.refused, reliable), (1, [messages.ask_keyframe(0)]))
            keyframe = messages.parse(GAME["keyframe_message"])[1]
            player.baselines[36], _ = game.decode_keyframe(LAYOUT, keyframe["state"], len(player.spec.seats))
            player.hear(GAME["snapshot_message_short"])
        self.assertEqual((player.refused, player.snapshots, player.short), (1, 1, 1))
        self.assertEqual(player.baselines[40].pack(LAYOUT), GAME["snapshot_columns_short"])
        self.assertEqual(said[-1][:8], struct.pack("<BHBI", 1, 0, 1, 40))

    def test_the_end(self):
        end = messages.parse(GAME["end_message_team_1_won_5_to_3"])[1]
        self.assertEqual(messages.outcome(end["outcome"]), {"winner": 1, "scores": [3, 5] + [0] * 14})
        self.assertIsNone(messages.outcome(b""))


class ReliableLane(unittest.TestCase):
    def test_messages_survive_a_lane_that_loses_and_turns_around(self):
        here, there = Kcp(), Kcp()
        sent = [bytes([number]) * (number * 97) for number in range(60)]
        for message in sent:
            here.send(message)
        heard = []
        for now in range(0, 60_000, 10):
            blocks = list(here.blocks(now))
            self.assertTrue(all(len(block) <= BLOCK_MAX for block in blocks))
            for index, block in reversed(list(enumerate(blocks))):
                if (now // 10 + index) % 4:
                    heard += there.receive(block)
            for index, block in enumerate(there.blocks(now)):
                if (now // 10 + index) % 3:
                    here.receive(block)
        self.assertEqual(heard, sent)
        self.assertFalse(here.flying)

    def test_probes_are_answered_and_strangers_refused(self):
        lane = Kcp()
        lane.receive(HEADER.pack(0x31535954, WASK, 0, 128, 0, 0, 0, 0))
        lane.receive(HEADER.pack(0x31535954, PUSH, 0, 128, 77, 0, 0, 0))
        (block,) = lane.blocks(5)
        self.assertEqual([block[4], block[28]], [ACK, WINS])
        self.assertEqual(HEADER.unpack_from(block)[4:6], (77, 0))
        for bad in [HEADER.pack(9, PUSH, 0, 1, 0, 0, 0, 0), HEADER.pack(0x31535954, PUSH, 0, 1, 0, 0, 0, 9)]:
            with self.assertRaises(ValueError):
                lane.receive(bad)


if __name__ == "__main__":
    unittest.main()
