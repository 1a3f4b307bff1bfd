"""From events to changes in canonical form, which the database makes: one statement for the rows of a table that tell
the same columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from connectors.postgres import literals
from connectors.postgres.rows import Columns, Event, decode_key
from connectors.postgres.steps import ArrayLiteral
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.notes import ANSWER
from schemas.position import Position
from schemas.resolution import Fields, RowChange

Key = tuple[str, str]
"""Table, and the text of the key that names the row everywhere."""
NOT_READ: Columns = {}


class _Before(msgspec.Struct):
    before: dict[str, msgspec.Raw] | None = None


_before = msgspec.json.Decoder(_Before).decode


class Changes:
    """Reads them. Raises psycopg.Error where a value is none of its column's type."""

    def __init__(
        self, connection: psycopg.Connection[Any], tables: Mapping[str, Canonical], *, deleted: bool = False
    ) -> None:
        """`deleted`: what deleted rows held is asked for."""
        self._connection = connection
        self._tables = tables
        self._deleted = deleted

    def read(self, events: Sequence[Event]) -> dict[Key, list[RowChange]]:
        """Changes by key, in order. Of what is only said of a row no field is told: that stands in its note."""
        rows = self._rows(events)
        found: dict[Key, list[RowChange]] = {}
        for at, event in enumerate(events):
            notice = event.change.notice
            assert notice is not None, "an event of a table that goes both ways says where it stands"
            gone = event.change.after is None and event.change.op != ANSWER
            row = rows.get(at, {})
            change = RowChange(
                Position(*notice.at), event.change.op, None if gone else row, row if gone else {},
                notice.ts_us, bytes(notice.origin), bytes(notice.note),
            )  # fmt: skip
            found.setdefault(self.name(event), []).append(change)
        return found

    def canonical(self, table: str, rows: Sequence[Columns]) -> list[Fields]:
        """Rows by column, in canonical form; each tells some columns."""
        groups: defaultdict[tuple[str, tuple[str, ...]], list[tuple[int, Columns]]] = defaultdict(list)
        for at, row in enumerate(rows):
            known = {name: raw for name, raw in row.items() if name in self._tables[table].fields}
            groups[table, tuple(known)].append((at, known))
        found = dict(self._canonical(groups))
        return [found[at] for at in range(len(rows))]

    def name(self, event: Event) -> Key:
        return event.table, self._tables[event.table].key_text(event.key)

    def lock(self, events: Sequence[Event]) -> None:
        """Lock the rows of all these events, parents first and in the order of their keys: what is written later waits
        for nobody then."""
        keys = sorted({self.name(event) for event in events}, key=lambda key: (self._tables[key[0]].table.rank, key))
        for name, texts in _by_table(keys).items():
            columns, values = self._keys(name, texts)
            self._connection.execute(self._tables[name].lock(columns).encode(), values)

    def present(self, keys: Sequence[Key], *, locked: bool) -> dict[Key, Fields]:
        """The rows that are there, by key; locked in the order of their keys."""
        found: dict[Key, Fields] = {}
        for name, texts in _by_table(keys).items():
            table = self._tables[name]
            columns, values = self._keys(name, texts)
            for number, *row in self._connection.execute(table.read(columns, locked=locked).encode(), values):
                found[name, texts[number - 1]] = table.row(row)
        return found

    def _keys(self, name: str, texts: Sequence[str]) -> tuple[tuple[str, ...], list[ArrayLiteral]]:
        """Key columns, and a parameter for each."""
        table = self._tables[name]
        records = [decode_key(table.record_key(text)) for text in texts]
        columns = tuple(records[0])
        return columns, [
            ArrayLiteral(literals.column(table.table.columns[column].element, [one[column] for one in records]))
            for column in columns
        ]

    def _rows(self, events: Sequence[Event]) -> dict[int, Fields]:
        """By the event's place among them."""
        told: defaultdict[tuple[str, tuple[str, ...]], list[tuple[int, Columns]]] = defaultdict(list)
        for at, event in enumerate(events):
            if event.change.op != ANSWER and (columns := self._told(event)):
                fields = self._tables[event.table].fields
                known = {name: raw for name, raw in columns.items() if name in fields}
                told[event.table, tuple(known)].append((at, known))
        return dict(self._canonical(told))

    def _told(self, event: Event) -> Columns | None:
        if event.change.after is not None:
            return event.change.after
        return _before(event.record.value).before if self._deleted else None

    def _canonical(
        self, groups: Mapping[tuple[str, tuple[str, ...]], Sequence[tuple[int, Columns]]]
    ) -> Iterator[tuple[int, Fields]]:
        for (name, columns), rows in groups.items():
            table = self._tables[name]
            values = [
                ArrayLiteral(literals.column(table.table.columns[column].element, [row[column] for _, row in rows]))
                for column in columns
            ]
            for number, *texts in self._connection.execute(table.incoming(columns).encode(), values):
                yield rows[number - 1][0], table.row(texts, columns)


def _by_table(keys: Sequence[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, key in keys:
        found.setdefault(name, []).append(key)
    return found
