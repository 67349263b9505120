"""The bytes of a game: its layout, inputs, tick records, specification, keyframes and snapshots."""

import re
import struct

FORMATS = {
    "U8": "B",
    "U16": "H",
    "U32": "I",
    "U64": "Q",
    "I8": "b",
    "I16": "h",
    "I32": "i",
    "I64": "q",
    "F32": "I",
    "Grid": "f",
}
FIELD = re.compile(r"(\w+):(\w+)(?: \{ per_unit: (\d+) \})?x(\d+)@(\d+)")
REASONS = ("arrived", "repeated", "neutral", "bot")
COMMANDS = ("joined", "left", "replaced", "act", "chance")
GRID_MAX = (1 << 31) - 1


class Field:
    def __init__(self, name, kind, per_unit, count):
        self.name, self.kind, self.count = name, kind, int(count)
        self.per_unit = int(per_unit or 1)
        self.format = "<" + FORMATS[kind]
        self.bits = struct.calcsize(self.format) * 8

    def whole(self, wire):
        """The value that is left of a number when it is stored in the field."""
        if self.kind == "Grid":
            wire = signed(wire, 32)
            return min(int(struct.unpack("<f", struct.pack("<f", wire))[0]), GRID_MAX)
        return signed(wire, self.bits) if self.kind[0] == "I" else wire & ((1 << self.bits) - 1)

    def pack(self, wire):
        if self.kind == "Grid":
            return struct.pack("<f", wire / self.per_unit)
        return struct.pack(self.format, wire)

    def unpack(self, data, at):
        (value,) = struct.unpack_from(self.format, data, at)
        return min(int(value * self.per_unit), GRID_MAX) if self.kind == "Grid" else value

    def value(self, wire):
        """As a person reads it."""
        if self.kind == "Grid":
            return wire / self.per_unit
        return struct.unpack("<f", struct.pack("<I", wire))[0] if self.kind == "F32" else wire


class Record:
    """A flat struct; a row of it is a list of whole numbers, one for each element."""

    def __init__(self, name, text):
        self.name = name
        self.fields = [Field(*match[:3], match[3]) for match in FIELD.findall(text)]
        self.elements = [field for field in self.fields for _ in range(field.count)]
        self.size = sum(field.bits // 8 for field in self.elements)

    def pack(self, row):
        return b"".join(field.pack(wire) for field, wire in zip(self.elements, row))

    def unpack(self, data, at=0):
        row = []
        for field in self.elements:
            row.append(field.unpack(data, at))
            at += field.bits // 8
        return row

    def values(self, row):
        """The row as people read it: a value for each field, or a tuple."""
        named, at = {}, 0
        for field in self.fields:
            elements = tuple(field.value(wire) for wire in row[at : at + field.count])
            named[field.name] = elements if field.count > 1 else elements[0]
            at += field.count
        return named


class Kind:
    def __init__(self, name, singleton):
        self.name, self.singleton, self.records = name, singleton, []
        self.motions = {}  # the place of a moved record: that of the one that it is moved by


class Layout:
    """What `tiltyard layout` prints: the records that a game's state, inputs and setup are made of."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line]
        head = re.fullmatch(r"# protocol hash ([0-9a-f]{32})", lines[0])
        if not head or lines[1] != "tiltyard protocol 1":
            raise ValueError("this is no layout of a game")
        self.protocol_hash = bytes.fromhex(head[1])
        self.game = lines[2]
        self.self_test = int(lines[3].removeprefix("math "), 16)
        self.kinds = []
        for line in lines[4:]:
            word, _, rest = line.partition(" ")
            if word in ("kind", "singleton"):
                self.kinds.append(Kind(rest, word == "singleton"))
            elif word == "moves":
                names = [record.name for record in self.kinds[-1].records]
                moved, by = rest.split()
                self.kinds[-1].motions[names.index(moved)] = names.index(by)
            elif word in ("input", "event", "setup"):
                setattr(self, word, Record(word, rest))
            elif word not in ("ActorId", "audience", "chance"):
                self.kinds[-1].records.append(Record(word, rest))


class State:
    """A state: for each kind its ids, and a list of rows for each of its records."""

    def __init__(self, tick, next_actor, ids, columns):
        self.tick, self.next_actor, self.ids, self.columns = tick, next_actor, ids, columns

    @staticmethod
    def empty(layout):
        return State(0, 1, [[] for _ in layout.kinds], [[[] for _ in kind.records] for kind in layout.kinds])

    def pack(self, layout):
        """All columns one behind the other, as they lie in a keyframe."""
        parts = []
        for kind, ids, columns in zip(layout.kinds, self.ids, self.columns):
            parts.append(struct.pack(f"<{len(ids)}I", *ids))
            for record, rows in zip(kind.records, columns):
                parts.extend(record.pack(row) for row in rows)
        return b"".join(parts)

    @staticmethod
    def unpack(layout, tick, next_actor, counts, data):
        state, at = State(tick, next_actor, [], []), 0
        for kind, count in zip(layout.kinds, counts, strict=True):
            state.ids.append(list(struct.unpack_from(f"<{count}I", data, at)))
            at += 4 * count
            columns = []
            for record in kind.records:
                columns.append([record.unpack(data, at + row * record.size) for row in range(count)])
                at += count * record.size
            state.columns.append(columns)
        if at != len(data):
            raise ValueError("columns of another length than their rows ask for")
        return state

    def rows(self, layout, kind_name):
        """Each actor of a kind: its id and the values of its records by name."""
        index = [kind.name for kind in layout.kinds].index(kind_name)
        kind, columns = layout.kinds[index], self.columns[index]
        for row, actor in enumerate(self.ids[index]):
            yield actor, {
                record.name: record.values(column[row]) for record, column in zip(kind.records, columns)
            }


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ValueError("the bytes end too early")
        self.at += count
        return part

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self):
        value = 0
        for shift in range(0, 35, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number that does not end")

    def end(self):
        if self.at != len(self.data):
            raise ValueError(f"{len(self.data) - self.at} bytes left over")


class TickRecord:
    """What reached the state in a tick: for each seat its input's bytes and why it was this one, and commands."""

    def __init__(self, tick, inputs):
        self.tick, self.inputs = tick, inputs
        self.reasons = ["neutral"] * len(inputs)
        self.commands = []

    def advance(self, data):
        """The record that follows on this one."""
        reader = Reader(data)
        record = TickRecord(reader.number(4), list(self.inputs))
        if record.tick != self.tick + 1:
            raise ValueError(f"a record of tick {record.tick} where {self.tick + 1} follows")
        seats = len(self.inputs)
        record.reasons = []
        while len(record.reasons) < seats:
            run = reader.varint()
            record.reasons += [REASONS[reader.number(1)]] * run
            if run == 0 or len(record.reasons) > seats:
                raise ValueError("the reasons do not fit the seats")
        changed = reader.number((seats + 7) // 8)
        for seat in range(seats):
            if changed >> seat & 1:
                value = bytearray(self.inputs[seat])
                mask = reader.number((len(value) + 7) // 8)
                for place in range(len(value)):
                    if mask >> place & 1:
                        value[place] = reader.number(1)
                record.inputs[seat] = bytes(value)
        for _ in range(reader.varint()):
            code, seat, value = reader.number(1), reader.number(2), reader.number(4)
            record.commands.append((COMMANDS[code], seat, value))
        reader.end()
        return record


class Spec:
    """What a battle starts from."""

    def __init__(self, layout, data):
        reader = Reader(data)
        if reader.number(1) != 1:
            raise ValueError("a specification of another version")
        self.seed, self.rate_hz, self.ticks_max = reader.number(8), reader.number(2), reader.number(4)
        self.setup = layout.setup.values(layout.setup.unpack(reader.take(reader.number(4))))
        self.seats = []
        for _ in range(reader.number(2)):
            player, team, role, loadout = (reader.number(size) for size in (8, 1, 1, 4))
            self.seats.append({"player": player, "team": team, "bot": role == 1, "loadout": loadout})
        reader.end()


def decode_keyframe(layout, data, seats):
    """The state in a keyframe, and the tick record that the next one is told against."""
    root = len(data) - 36
    version, tick, next_actor = struct.unpack_from("<III", data, root)
    if root < 0 or version != 1:
        raise ValueError("a keyframe of another version")

    def part(place, size):
        at = root + place
        offset, count = struct.unpack_from("<iI", data, at)
        start = at + offset
        if start < 0 or start + count * size > root:
            raise ValueError("the keyframe points outside of itself")
        return data[start : start + count * size]

    counts, columns, inputs = part(12, 4), part(20, 1), part(28, 1)
    counts = struct.unpack(f"<{len(counts) // 4}I", counts)
    state = State.unpack(layout, tick, next_actor, counts, columns)
    size = layout.input.size
    if len(inputs) != seats * size:
        raise ValueError("the keyframe's inputs do not fit the seats")
    return state, TickRecord(tick, [inputs[seat * size : (seat + 1) * size] for seat in range(seats)])
