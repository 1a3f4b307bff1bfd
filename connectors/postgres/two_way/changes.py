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


class _AnswerRow(msgspec.Struct):
    row: dict[str, str | None] | None


_before = msgspec.json.Decoder(_Before).decode
_answer_row = msgspec.json.Decoder(_AnswerRow).decode


class Changes:
    """Reads them. Raises psycopg.Error where a value is none of its column's type."""

    def __init__(
        self, connection: psycopg.Connection[Any], tables: Mapping[str, Canonical], *, deleted: bool = False,
        answers: bool = True,
    ) -> None:  # fmt: skip
        """`deleted`: what deleted rows held is asked for. `answers`: notes hold rows; they tell of no field else."""
        self._connection = connection
        self._tables = tables
        self._deleted = deleted
        self._answers = answers

    def read(self, events: Sequence[Event]) -> dict[Key, list[RowChange]]:
        """Changes by key, in order."""
        rows = self._rows(events)
        found: dict[Key, list[RowChange]] = {}
        for at, event in enumerate(events):
            notice = event.change.notice
            assert notice is not None, "an event of a table that goes both ways says where it stands"
            gone = event.change.after is None and event.change.op != ANSWER
            row = rows.get(at, None if self._answers else {})
            change = RowChange(
                Position(*notice.at), event.change.op, None if gone else row, (row or {}) if gone else {},
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

    def present(self, keys: Sequence[Key], *, locked: bool) -> dict[Key, Fields]:
        """The rows that are there, by key; locked in the order of their keys."""
        by_table: defaultdict[str, list[str]] = defaultdict(list)
        for name, key in keys:
            by_table[name].append(key)
        found: dict[Key, Fields] = {}
        for name, texts in by_table.items():
            table = self._tables[name]
            records = [decode_key(table.record_key(text)) for text in texts]
            columns = tuple(records[0])
            values = [
                ArrayLiteral(literals.column(table.table.columns[column].element, [one[column] for one in records]))
                for column in columns
            ]
            for number, *row in self._connection.execute(table.read(columns, locked=locked).encode(), values):
                found[name, texts[number - 1]] = table.row(row)
        return found

    def _rows(self, events: Sequence[Event]) -> dict[int, Fields]:
        """By the event's place among them."""
        told: defaultdict[tuple[str, tuple[str, ...]], list[tuple[int, Columns]]] = defaultdict(list)
        documents: defaultdict[tuple[str, tuple[str, ...]], list[tuple[int, Columns]]] = defaultdict(list)
        for at, event in enumerate(events):
            table = self._tables[event.table]
            if event.change.op == ANSWER:
                if self._answers and (row := self._answered(table, event)):
                    documents[event.table, tuple(row)].append((at, row))
            elif columns := self._told(event):
                known = {name: raw for name, raw in columns.items() if name in table.fields}
                told[event.table, tuple(known)].append((at, known))
        return {**dict(self._canonical(told)), **dict(self._reformed(documents))}

    def _told(self, event: Event) -> Columns | None:
        if event.change.after is not None:
            return event.change.after
        return _before(event.record.value).before if self._deleted else None

    @staticmethod
    def _answered(table: Canonical, event: Event) -> Columns | None:
        notice = event.change.notice
        row = _answer_row(bytes(notice.note)).row if notice is not None and bytes(notice.note) else None
        return None if row is None else table.raws(row)

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

    def _reformed(
        self, groups: Mapping[tuple[str, tuple[str, ...]], Sequence[tuple[int, Columns]]]
    ) -> Iterator[tuple[int, Fields]]:
        for (name, columns), rows in groups.items():
            table = self._tables[name]
            documents = ArrayLiteral(literals.array(table.document(row) for _, row in rows))
            for number, *texts in self._connection.execute(table.documents(columns).encode(), [documents]):
                yield rows[number - 1][0], table.row(texts, columns)
