"""The body of a snapshot: answers to questions, range-coded, and what is expected of things that move."""

import math
import struct

from .game import GRID_MAX, State

ROWS_MAX = 65_536
STEPS_MAX = 64
FURTHER_MAX = 1 << 30
ELEMENTS_OWN = 24


class Chance:
    """How often a question was answered with yes lately, in 4,096ths."""

    def __init__(self):
        self.yes, self.pace = 2048, 1


class Answers:
    """A range-coded series of answers: 32-bit words, the highest byte first."""

    def __init__(self, data):
        if len(data) % 4:
            raise ValueError("the snapshot is not whole words")
        self.words = [word for (word,) in struct.iter_unpack(">I", data)] + [0]
        self.used, self.code, self.range = 0, 0, (1 << 64) - 1
        self.code = self.word() << 32 | self.word()

    def word(self):
        if self.used == len(self.words):
            raise ValueError("the snapshot ends too early")
        self.used += 1
        return self.words[self.used - 1]

    def widen(self):
        if self.range < 1 << 32:
            self.code = (self.code << 32 | self.word()) & ((1 << 64) - 1)
            self.range <<= 32

    def ask(self, chance):
        part = (self.range >> 12) * chance.yes
        answer = self.code < part
        if answer:
            self.range = part
            chance.yes += (4096 - chance.yes) >> chance.pace
        else:
            self.code -= part
            self.range -= part
            chance.yes -= chance.yes >> chance.pace
        chance.pace = min(chance.pace + 1, 4)
        self.widen()
        return answer

    def bits(self, count):
        if count > 32:
            high = self.bits(count - 32)
            return high << 32 | self.bits(32)
        self.range >>= count
        value = min(self.code // self.range, (1 << count) - 1)
        self.code -= value * self.range
        self.widen()
        return value

    def end(self):
        if self.used != len(self.words) or self.code >> 32:
            raise ValueError("bytes after the end of the snapshot")


class Number:
    """Questions about where the highest 1 of a number is; the bits below it follow as they are."""

    def __init__(self):
        self.nodes = {}

    def highest(self, answers, levels):
        node = 1
        for _ in range(levels):
            node = node << 1 | answers.ask(self.nodes.setdefault(node, Chance()))
        return node - (1 << levels)

    def count(self, answers):
        highest = self.highest(answers, 6)
        return (1 << highest | answers.bits(highest)) - 1

    def change(self, answers, width):
        highest = self.highest(answers, width.bit_length() - 1)
        below = answers.bits(highest + 1)
        size = 1 << highest | below >> 1
        return -size if below & 1 else size


class Element:
    def __init__(self):
        self.changed, self.negated, self.number = Chance(), Chance(), Number()

    def change(self, answers, width):
        return self.number.change(answers, width) if answers.ask(self.changed) else 0


class Rows:
    """What is asked about rows of a kind."""

    def __init__(self):
        self.row, self.turned, self.slack = Chance(), Chance(), Element()
        self.columns, self.elements = {}, [Element() for _ in range(ELEMENTS_OWN)]

    def column(self, place, moved):
        return self.columns.setdefault((place, moved), Chance())

    def element(self, number):
        return self.elements[min(number, ELEMENTS_OWN - 1)]


class Told:
    """A record of a kind in the order in which records are told: what is moved comes last."""

    def __init__(self, kind, place, element):
        self.place, self.record, self.element = place, kind.records[place], element
        self.moved_by = kind.motions.get(place)
        self.moves = place in kind.motions.values()

    @staticmethod
    def all(kind):
        told, element = [], 0
        for place, record in enumerate(kind.records):
            told.append(Told(kind, place, element))
            element += len(record.elements)
        return sorted(told, key=lambda one: one.moved_by is not None)


class Motion:
    def __init__(self, rate_hz, ticks):
        self.hz, self.ticks = rate_hz, min(max(ticks, 0), STEPS_MAX)
        self.seconds = single(1 / rate_hz)

    def advance(self, record, row, by):
        """Where a row is that goes on as it goes, tick by tick as the engine moves and stores it."""
        per_unit, moved = record.elements[0].per_unit, []
        for wire, speed in zip(row, by):
            step = single(single(speed / per_unit) * self.seconds)
            for _ in range(self.ticks):
                at = single(single(wire / per_unit) + step)
                wire = record.elements[0].whole(max(-1 << 31, min(round(at * per_unit), GRID_MAX)))
            moved.append(wire)
        return moved


def single(value):
    """The nearest float of 32 bits."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def decode(layout, rate_hz, tick, baseline, body, stale=b""):
    """The state that a snapshot's shared body tells against a baseline; `State.empty` where there is none. Rows of the
    baseline that `stale` marks, as a short snapshot has it, stay as they are."""
    if not stale:
        return read(layout, rate_hz, tick, baseline, body)
    kept, marked = part(layout, baseline, stale)
    return together(layout, read(layout, rate_hz, tick, kept, body), marked)


def part(layout, state, marks):
    """A state without the rows that are marked, and one of these alone; singletons are in the former."""
    rows = sum(len(ids) for kind, ids in zip(layout.kinds, state.ids) if not kind.singleton)
    marks, size = int.from_bytes(marks, "little"), len(marks)
    if size != (rows + 7) // 8 or marks >> rows:
        raise ValueError("marks do not fit the baseline")
    parts = [State(state.tick, state.next_actor, [], []) for _ in range(2)]
    for kind, ids, columns in zip(layout.kinds, state.ids, state.columns):
        is_marked = [False] * len(ids)
        if not kind.singleton:
            is_marked = [bool(marks >> row & 1) for row in range(len(ids))]
            marks >>= len(ids)
        for wanted, into in zip([False, True], parts):
            into.ids.append([actor for actor, mark in zip(ids, is_marked) if mark == wanted])
            into.columns.append(
                [[row for row, mark in zip(column, is_marked) if mark == wanted] for column in columns]
            )
    return parts


def together(layout, state, other):
    """The rows of two states by ascending ids; all else is the first one's."""
    both = State(state.tick, state.next_actor, [], [])
    for index in range(len(layout.kinds)):
        ids = state.ids[index] + other.ids[index]
        order = sorted(range(len(ids)), key=ids.__getitem__)
        both.ids.append([ids[row] for row in order])
        if len(set(ids)) != len(ids):
            raise ValueError("a row that is told and marked as stale")
        columns = [one + another for one, another in zip(state.columns[index], other.columns[index])]
        both.columns.append([[column[row] for row in order] for column in columns])
    return both


def read(layout, rate_hz, tick, baseline, body):
    answers, counts = Answers(body), Number()
    motion = Motion(rate_hz, tick - baseline.tick)
    state = State(tick, baseline.next_actor + counts.count(answers), [], [])
    for index, kind in enumerate(layout.kinds):
        base_ids = baseline.ids[index]
        ids = [0] if kind.singleton else take_ids(answers, counts, base_ids, baseline.next_actor)
        if any(not 0 < actor < state.next_actor for actor in ids) and not kind.singleton:
            raise ValueError("an id that there is not yet")
        state.ids.append(ids)
        state.columns.append(take_rows(answers, kind, ids, base_ids, baseline.columns[index], motion))
    answers.end()
    return state


def take_ids(answers, counts, base_ids, base_next):
    ids, base, gaps = [], iter(base_ids), Number()
    gone = counts.count(answers)
    if gone > len(base_ids):
        raise ValueError("rows do not fit the baseline")
    for _ in range(gone):
        for _ in range(gaps.count(answers)):
            ids.append(next_of(base))
        next_of(base)
    ids.extend(base)
    new, gaps = counts.count(answers), Number()
    if new > ROWS_MAX:
        raise ValueError("too many rows")
    if new:
        actor = 1 if answers.bits(1) else base_next
        for _ in range(new):
            actor += gaps.count(answers)
            ids.append(actor)
            actor += 1
        ids.sort()
        if any(one == other for one, other in zip(ids, ids[1:])):
            raise ValueError("an id comes twice")
    return ids


def next_of(base):
    for actor in base:
        return actor
    raise ValueError("rows do not fit the baseline")


def take_rows(answers, kind, ids, base_ids, base_columns, motion):
    differ = answers.bits(1)
    places = {actor: row for row, actor in enumerate(base_ids)}
    told = Told.all(kind)
    kept, new = Rows(), Rows()
    columns = [[] for _ in kind.records]
    newest = [[0] * len(record.elements) for record in kind.records]
    for actor in ids:
        if actor in places:
            before = [column[places[actor]] for column in base_columns]
            row = list(before)
            for moved, by in kind.motions.items():
                row[moved] = motion.advance(kind.records[moved], before[moved], before[by])
            if differ and answers.ask(kept.row):
                take_kept(answers, kept, told, row, before, motion)
        else:
            row = list(newest)
            for one in told:
                if answers.ask(new.column(one.place, None)):
                    row[one.place] = take_record(answers, new, one, row[one.place])
            newest = row
        for column, record in zip(columns, row):
            column.append(record)
    return columns


def take_kept(answers, models, told, row, before, motion):
    """Changes a row that is as expected into what it is."""
    changed = set()
    for one in told:
        moved = None if one.moved_by is None else one.moved_by in changed
        if not answers.ask(models.column(one.place, moved)):
            continue
        changed.add(one.place)
        if moved:
            velocities = row[one.moved_by], before[one.moved_by]
            row[one.place] = take_diverted(answers, models, one, row[one.place], velocities, motion)
        else:
            row[one.place] = take_record(answers, models, one, row[one.place])


def take_diverted(answers, models, one, expected, velocities, motion):
    """A place that did not follow from the velocity before, nor did the velocity."""
    field, place = one.record.elements[0], list(expected)
    changes = [new - old for new, old in zip(*velocities)]
    sizes = [abs(change) for change in changes]
    lead = sizes.index(max(sizes))
    guess = changes[lead] * motion.ticks // (2 * motion.hz)
    change = guess + models.element(one.element).change(answers, 32)
    place[lead] = field.whole(expected[lead] + change)
    further = place[lead] - expected[lead]
    for element in range(len(place)):
        if element != lead:
            change = along(further, changes[lead], changes[element])
            change += models.element(one.element + 1).change(answers, 32)
            place[element] = field.whole(expected[element] + change)
    return place


def along(further, lead, change):
    if lead == 0:
        return 0
    further = max(-FURTHER_MAX, min(further, FURTHER_MAX)) * (1 if lead > 0 else -1)
    return further * change // abs(lead)


def take_record(answers, models, one, old):
    fields = one.record.elements
    if one.moves and len(fields) == 2 and answers.ask(models.turned):
        first = fields[0].whole(old[0] + models.element(one.element).change(answers, 32))
        negative = answers.bits(1)
        size = math.isqrt(max(0, old[0] ** 2 + old[1] ** 2 - first**2)) + models.slack.change(answers, 32)
        return [first, fields[1].whole(-size if negative else size)]
    row = []
    for number, (field, wire) in enumerate(zip(fields, old)):
        model = models.element(one.element + number)
        if one.moves and wire:
            if answers.ask(model.changed):
                negated = answers.ask(model.negated)
                wire = field.whole(-wire if negated else wire + model.number.change(answers, field.bits))
        else:
            wire = field.whole(wire + model.change(answers, field.bits))
        row.append(wire)
    return row
