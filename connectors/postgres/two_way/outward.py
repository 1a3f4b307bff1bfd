"""Into a spoke: what the hub says is held against the rows as they are, so that no edit made here is lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg

from connectors.contract import Outward, Planned
from connectors.postgres.rows import Columns, Event, Net
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes, Key
from connectors.postgres.two_way.judgement import Judgement
from connectors.postgres.two_way.notes import ANSWER
from schemas.resolution import MARKS_PREFIX, Fields, RowChange

LONGEST_MESSAGE = 45_000
"""Bytes of a message of several notes: it is published whole whatever `kafka.max_record_bytes` is, which is 65,536 or
more. Of a single note that is longer capture leaves out values, if it has to."""
_SIDES = """
SELECT table_name, key, state FROM placemat.sides
WHERE source = %s AND (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_STORE = """
INSERT INTO placemat.sides (source, table_name, key, state)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[])
ON CONFLICT (source, table_name, key) DO UPDATE SET state = EXCLUDED.state
"""
_ALIVE = """
SELECT key FROM placemat.sides WHERE source = %s AND table_name = %s AND key > %s
  AND state LIKE '{"alive":true%%' ORDER BY key LIMIT %s
"""


class _AnswerHead(msgspec.Struct):
    untold: bool = False


_answer_head = msgspec.json.Decoder(_AnswerHead).decode


@dataclass(slots=True)
class Work:
    """What was decided of a set of events, until it is written: effects by table and record key, and by key what was
    decided; keys of which only a part is known."""

    nets: dict[str, dict[bytes, Net]] = field(default_factory=dict)
    planned: dict[Key, Planned] = field(default_factory=dict)
    partial: list[Key] = field(default_factory=list)
    rows: dict[Key, Fields | None] = field(default_factory=dict)
    """As they were when it was decided."""
    beside: bool = False
    """Whether rows of tables that go one way are written with them, and triggers may do more."""
    each: dict[Key, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """At the hub, by key and event: see `connectors.contract.PlannedOfSpoke`."""


class SpokeRows:
    """One per session. Every method needs an open transaction, and raises psycopg.Error."""

    def __init__(
        self, connection: psycopg.Connection[Any], source: str, tables: Mapping[str, Canonical], outward: Outward
    ) -> None:
        self._connection = connection
        self._source = source
        self._tables = tables
        self._outward = outward
        self._changes = Changes(connection, tables)

    def lock(self, events: Sequence[Event]) -> None:
        """Lock all rows of a batch, before any of them is written."""
        self._changes.lock(events)

    def plan(self, events: Sequence[Event]) -> Work:
        """Lock the rows and decide. Several events of a key come to one effect."""
        changes = self._changes.read(events)
        current = self._changes.present(sorted(changes), locked=True)
        sides = self._sides(changes)
        work = Work()
        for (name, text), of_row in changes.items():
            table, key = self._tables[name], (name, text)
            row = current.get(key)
            planned = self._outward.plan(table.hub, of_row, sides.get(key), row)
            untold = any(_untold(one) for one in of_row)
            if (untold or planned.action == "create") and not _whole(of_row, table):
                work.partial.append(key)
                continue
            work.planned[key] = planned
            work.rows[key] = row
            if (net := net_of(table, planned)) is not None:
                record_key = table.record_key(text)
                work.nets.setdefault(name, {})[record_key] = net
        return work

    def repair(self, table: str, given: Sequence[tuple[bytes, Columns | None]]) -> Work:
        """Lock rows and tell what makes them as the hub has given them: by record key, columns as they come; None: the
        hub has no row."""
        there = iter(self._changes.canonical(table, [columns for _, columns in given if columns is not None]))
        name = self._tables[table].key_text
        return self._repair({(table, name(key)): None if row is None else next(there) for key, row in given})

    def _repair(self, rows: Mapping[Key, Fields | None]) -> Work:
        current = self._changes.present(sorted(rows), locked=True)
        sides = self._sides(rows)
        work = Work()
        for key, row in rows.items():
            planned = self._outward.repair(row, sides.get(key), current.get(key))
            work.planned[key], work.rows[key] = planned, current.get(key)
            table = self._tables[key[0]]
            if (net := net_of(table, planned)) is not None:
                work.nets.setdefault(key[0], {})[table.record_key(key[1])] = net
        return work

    def settle(self, work: Work, left_out: Collection[tuple[str, bytes]] = ()) -> dict[tuple[str, bytes], Judgement]:
        """Store what is known of the rows now, and tell it; `left_out` were not written, by table and record key."""
        planned = {
            key: one
            for key, one in work.planned.items()
            if not left_out or (key[0], self._tables[key[0]].record_key(key[1])) not in left_out
        }
        written = [key for key, one in planned.items() if one.action in ("create", "update")]
        stored = {key: None if one.action == "delete" else work.rows[key] for key, one in planned.items()}
        stored |= self._changes.present(written, locked=False)
        sides: list[tuple[str, str, str]] = []
        marks: list[str] = []
        for (name, text), one in planned.items():
            hub = self._tables[name].hub
            side, mark = self._outward.settle(hub, text, one, stored[name, text])
            if side is not None:
                sides.append((name, text, side))
            if mark is not None:
                marks.append(mark)
        if sides:
            self._connection.execute(_STORE, [self._source, *map(list, zip(*sides, strict=True))])
        tell(self._connection, MARKS_PREFIX, marks)
        return {
            (name, self._tables[name].record_key(text)): Judgement(one.outcome, one.action != "none")
            for (name, text), one in planned.items()
        }

    def alive(self, table: str, after: str, most: int) -> list[str]:
        """Keys of rows that the hub has given or agreed to, a page of them."""
        return [key for (key,) in self._connection.execute(_ALIVE, [self._source, table, after, most])]

    def _sides(self, keys: Collection[Key]) -> dict[Key, str]:
        tables, texts = [name for name, _ in keys], [text for _, text in keys]
        rows = self._connection.execute(_SIDES, [self._source, tables, texts])
        return {(table, key): state for table, key, state in rows}


def net_of(table: Canonical, planned: Planned) -> Net | None:
    match planned.action:
        case "create":
            return Net("add", table.made(planned.values))
        case "update":
            return Net("change", table.raws(planned.values))
        case "delete":
            return Net("remove", {})
        case "none":
            return None


def _whole(changes: Sequence[RowChange], table: Canonical) -> bool:
    """Whether the last row is told whole."""
    told: set[str] = set()
    for one in changes:
        if one.row is None:
            told = set()
        elif one.op in ("c", "r") or (one.op == ANSWER and not _untold(one)):
            return True
        else:
            told |= one.row.keys()
    return told >= set(table.fields.values())


def _untold(change: RowChange) -> bool:
    """Whether it is an answer whose row was too large to be told with it."""
    return change.op == ANSWER and _answer_head(change.note).untold


def tell(connection: psycopg.Connection[Any], prefix: str, notes: Sequence[str]) -> None:
    """Messages of ours behind the rows of the transaction."""
    if notes:
        messages = [(prefix, one) for one in together(notes)]
        connection.cursor().executemany("SELECT pg_logical_emit_message(true, %s, %s)", messages)


def together(notes: Sequence[str]) -> list[str]:
    """As few messages as may be, none of them too long, unless a single note is."""
    groups: list[list[str]] = []
    length = LONGEST_MESSAGE
    for note in notes:
        size = len(note.encode()) + len(",")
        if length + size > LONGEST_MESSAGE:
            groups.append([])
            length = len("[]")
        groups[-1].append(note)
        length += size
    return [f"[{','.join(group)}]" for group in groups]
