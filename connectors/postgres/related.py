"""Rows that conditions over parents rest on, kept in the target and written in its transactions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import msgspec
import orjson
import psycopg

from connectors.postgres.rows import decode_key
from connectors.route.kinds import Kind, kind
from connectors.route.truth import text_of

Name = tuple[str, str]
"""Table, and name of a row."""
FIRST: Name = "", ""
"""Before every name."""
PAGE_ROWS = 5_000

_LOAD = """
SELECT table_name, name, key, fields, shown, wanted FROM placemat.related
WHERE source = %s AND (table_name, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_CHILDREN = """
SELECT table_name, name, key, fields, shown, wanted FROM placemat.related
WHERE source = %s AND links && %s::text[] AND (table_name, name) > (%s, %s)
ORDER BY table_name, name LIMIT %s
"""
_ROWS = """
SELECT table_name, name, key, fields, shown, wanted FROM placemat.related
WHERE source = %s AND table_name = %s AND (table_name, name) > (%s, %s)
ORDER BY table_name, name LIMIT %s
"""
_STORE = """
INSERT INTO placemat.related AS r (source, table_name, name, key, fields, links, shown, wanted)
SELECT %s, v.table_name, v.name, v.key, v.fields::jsonb, ARRAY(SELECT jsonb_array_elements_text(v.links::jsonb)),
       v.shown, v.wanted
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[], %s::boolean[])
     AS v (table_name, name, key, fields, links, shown, wanted)
ON CONFLICT (source, table_name, name) DO UPDATE
SET fields = EXCLUDED.fields, links = EXCLUDED.links, shown = EXCLUDED.shown, wanted = EXCLUDED.wanted
"""
_FORGET = """
DELETE FROM placemat.related
WHERE source = %s AND (table_name, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_CLEAR = "DELETE FROM placemat.related WHERE source = %s AND table_name = %s"
_DOUBT = "UPDATE placemat.related SET wanted = true WHERE source = %s AND table_name = %s AND NOT wanted"
_UNLEARN = """
UPDATE placemat.related SET fields = fields - %s::text[] WHERE source = %s AND table_name = %s AND fields ?| %s::text[]
"""
_WANTED = """
SELECT table_name, name, key FROM placemat.related
WHERE source = %s AND wanted AND (table_name, name) > (%s, %s) ORDER BY table_name, name LIMIT %s
"""
_COLUMNS = "SELECT table_name, column_name, type, labels, key_column FROM placemat.source_columns WHERE source = %s"
_REMEMBER = """
INSERT INTO placemat.source_columns (source, table_name, column_name, type, labels, key_column)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (source, table_name, column_name) DO UPDATE
SET type = EXCLUDED.type, labels = EXCLUDED.labels, key_column = EXCLUDED.key_column
"""


@dataclass(slots=True)
class Row:
    """What is known of one row. `fields` are texts, None for NULL; what is not in it is not known."""

    key: str
    fields: dict[str, str | None]
    shown: bool = False
    wanted: bool = False


class SourceColumn(NamedTuple):
    """A column that conditions need: its type without length, an enum's labels, and of a reference the key's column."""

    type: str
    labels: list[str] | None
    key_column: str | None

    @property
    def kind(self) -> Kind:
        return kind(self.type, self.labels)


def install(connection: psycopg.Connection[Any]) -> None:
    """Make the tables in schema `placemat`, which is there; safe to repeat."""
    connection.execute(resources.files(__package__).joinpath("routes.sql").read_text().encode())


def remember_columns(
    connection: psycopg.Connection[Any], source: str, found: Mapping[tuple[str, str], SourceColumn]
) -> None:
    """Store what is known of a source's columns, by table and column."""
    with connection.cursor() as cursor:
        cursor.executemany(_REMEMBER, [(source, *name, *column) for name, column in found.items()])


def read_columns(connection: psycopg.Connection[Any], source: str) -> dict[tuple[str, str], SourceColumn]:
    """What `placemat init` found of the columns that conditions need, by table and column."""
    rows = connection.execute(_COLUMNS, [source]).fetchall()
    return {(table, column): SourceColumn(*rest) for table, column, *rest in rows}


def name_of(key: bytes) -> str:
    """The name of a row by its record key."""
    parts = decode_key(key)
    return key.decode() if len(parts) > 1 else text_of(bytes(next(iter(parts.values())))) or ""


class Related:
    """The rows of one source. Reads and writes within the open transaction."""

    def __init__(self, connection: psycopg.Connection[Any], source: str) -> None:
        self._connection = connection
        self._source = source

    def load(self, names: Iterable[Name]) -> dict[Name, Row]:
        """Those of the rows that are known."""
        wanted = [list(part) for part in zip(*names, strict=True)]
        return dict(self._rows(_LOAD, [self._source, *wanted])) if wanted else {}

    def children(self, names: Iterable[Name]) -> Iterator[dict[Name, Row]]:
        """The rows that refer to any of these, a bounded number at a time; they may be stored meanwhile."""
        if links := ["\t".join(name) for name in names]:
            yield from self._pages(_CHILDREN, links)

    def rows(self, table: str) -> Iterator[dict[Name, Row]]:
        """The rows of a table, a bounded number at a time; they may be stored meanwhile."""
        yield from self._pages(_ROWS, table)

    def store(self, rows: Mapping[Name, tuple[Row, Sequence[Name]]]) -> None:
        """Write rows with what they refer to."""
        values = [
            (*name, row.key, orjson.dumps(row.fields).decode(), _links(links), row.shown, row.wanted)
            for name, (row, links) in rows.items()
        ]
        if values:
            self._connection.execute(_STORE, [self._source, *(list(part) for part in zip(*values, strict=True))])

    def forget(self, names: Iterable[Name]) -> None:
        """These rows are gone."""
        gone = [list(part) for part in zip(*names, strict=True)]
        if gone:
            self._connection.execute(_FORGET, [self._source, *gone])

    def clear(self, table: str) -> None:
        """All rows of a table are gone."""
        self._connection.execute(_CLEAR, [self._source, table])

    def doubt(self, table: str) -> None:
        """Any row of a table may be gone: all are asked for."""
        self._connection.execute(_DOUBT, [self._source, table])

    def unlearn(self, table: str, columns: Collection[str]) -> None:
        """What was known of these columns says nothing any more."""
        self._connection.execute(_UNLEARN, [list(columns), self._source, table, list(columns)])

    def wanted(self, after: Name, limit: int) -> dict[Name, bytes]:
        """The next rows that are asked for, in order, with their record keys."""
        rows = self._connection.execute(_WANTED, [self._source, *after, limit]).fetchall()
        return {(table, name): key.encode() for table, name, key in rows}

    def _pages(self, query: str, value: str | list[str]) -> Iterator[dict[Name, Row]]:
        last = FIRST
        while page := dict(self._rows(query, [self._source, value, *last, PAGE_ROWS])):
            yield page
            if len(page) < PAGE_ROWS:
                return
            last = next(reversed(page))

    def _rows(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Name, Row]]:
        for table, name, key, fields, shown, wanted in self._connection.execute(query, values).fetchall():
            yield (table, name), Row(key, fields, shown, wanted)


def _links(names: Sequence[Name]) -> str:
    return msgspec.json.encode(["\t".join(name) for name in names]).decode()
