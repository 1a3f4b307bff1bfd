"""Reading a table's rows from one side: by chunks in key order, by given keys, or at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from daemon.reconcile.shape import Column, Field, View, quoted
from daemon.reconcile.side import Side

CHUNK_ROWS = 2_000

Key = tuple[str, ...]
"""The texts of the key columns, in key order."""


class Version(NamedTuple):
    """One version of a row: the transaction that wrote it on this side, and a hash over the compared columns."""

    xmin: str
    digest: bytes


class Fields(NamedTuple):
    """One version of a row, with the texts of the compared columns; None is NULL."""

    xmin: str
    texts: tuple[str | None, ...]


class Rows:
    """The rows of one table on one side. Rows are hashed by the server; values travel only where asked for."""

    def __init__(self, side: Side, view: View) -> None:
        self.side = side
        self.columns = [field.column for field in view.fields]
        asked = [sql.Identifier(f"k{at}") for at in range(len(view.key))]
        passes = sql.SQL("TRUE") if view.condition is None else sql.SQL("({}) IS TRUE").format(view.condition)
        self._width = len(view.key)
        self._parts: dict[str, sql.Composable] = {
            "table": quoted(view.schema, view.table),
            "key": _list(_qualified(column) for column in view.key),
            "key_texts": _list(sql.SQL("{}::text").format(_qualified(column)) for column in view.key),
            "last": _list(column.cast(sql.SQL("%s")) for column in view.key),
            "digest": sql.SQL("sha256(convert_to(ROW({})::text, 'UTF8'))").format(_list(map(_canonical, view.fields))),
            "texts": _list(map(_text, view.fields)),
            "passes": passes,
            "asked": _list([sql.SQL("%s::text[]")] * len(view.key)),
            "asked_names": _list(asked),
            "held": _list(
                sql.SQL("count({})").format(column.cast(sql.SQL("asked.{}").format(name)))
                for column, name in zip(view.key, asked, strict=True)
            ),
            "match": sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(_qualified(column), column.cast(sql.SQL("asked.{}").format(name)))
                for column, name in zip(view.key, asked, strict=True)
            ),
        }

    def count(self) -> int:
        (row,) = self.side.rows(self._sql("SELECT count(*) FROM {table} t WHERE {passes}"))
        return int(row[0])

    def chunks(self) -> Iterator[dict[Key, Version]]:
        """Every row in key order, a bounded number at a time, each chunk as it is when it is read."""
        for rows in self._pages("SELECT {key_texts}, t.xmin::text, {digest} FROM {table} t"):
            yield {row[:-2]: Version(*row[-2:]) for row in rows}

    def key_chunks(self) -> Iterator[list[Key]]:
        """Every key in key order, a bounded number at a time."""
        return self._pages("SELECT {key_texts} FROM {table} t")

    def sample(self, size: int) -> list[Key]:
        """Random keys; every key when there are no more than `size`."""
        return self.side.rows(
            self._sql("SELECT {key_texts} FROM {table} t WHERE {passes} ORDER BY random() LIMIT %s"), [size]
        )

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that have a row."""
        return {key for (key,) in self._asked("asked.place", keys)}

    def versions(self, keys: Sequence[Key]) -> dict[Key, Version]:
        """The version of each key's row, for those that have one."""
        found = self._asked("asked.place, t.xmin::text, {digest}", keys)
        return {key: Version(*version) for key, *version in found}

    def fields(self, keys: Sequence[Key]) -> dict[Key, Fields]:
        """The compared columns of each key's row, for those that have one."""
        found = self._asked("asked.place, t.xmin::text, {texts}", keys)
        return {key: Fields(xmin, tuple(texts)) for key, xmin, *texts in found}

    def held(self, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys that the key columns of this side can hold, in their order."""
        if not keys:
            return []
        try:
            self.side.rows(self._sql("SELECT {held} FROM unnest({asked}) AS asked ({asked_names})"), _by_column(keys))
        except psycopg.DataError:
            if len(keys) == 1:
                return []
            half = len(keys) // 2
            return self.held(keys[:half]) + self.held(keys[half:])
        return list(keys)

    def _pages(self, select: str) -> Iterator[list[tuple[Any, ...]]]:
        last: Key | None = None
        while True:
            after = " AND ({key}) > ({last})" if last else ""
            query = self._sql(select + " WHERE {passes}" + after + " ORDER BY {key} LIMIT %s")
            page = self.side.rows(query, [*(last or ()), CHUNK_ROWS])
            if page:
                yield page
            if len(page) < CHUNK_ROWS:
                return
            last = page[-1][: self._width]

    def _asked(self, select: str, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        """The key of each row in the place of `asked.place`. A key that this side's columns cannot hold has no row."""
        if not keys:
            return []
        query = self._sql(
            "SELECT " + select + " FROM unnest({asked}) WITH ORDINALITY AS asked ({asked_names}, place)"
            " JOIN {table} t ON {match} WHERE {passes}"
        )
        try:
            found = self.side.rows(query, _by_column(keys))
        except psycopg.DataError:
            held = self.held(keys)
            if len(held) == len(keys):
                raise
            return self._asked(select, held)
        return [(keys[place - 1], *rest) for place, *rest in found]

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(**self._parts)


def _by_column(keys: Sequence[Key]) -> list[list[str]]:
    return [list(texts) for texts in zip(*keys, strict=True)]


def _list(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _qualified(column: Column) -> sql.Composed:
    # With the table's alias: a bare name in ORDER BY would mean the text of the same name in the SELECT list.
    return sql.SQL("t.{}").format(column.quoted)


def _text(field: Field) -> sql.Composed:
    return sql.SQL("{}::text").format(field.expression)


def _canonical(field: Field) -> sql.Composed:
    """A text that equal values share where that costs nothing; the rest is settled field by field."""
    if field.column.numeric:
        return sql.SQL("trim_scale({})::text").format(field.expression)
    return _text(field)
