"""Rows whose delete was rejected go back to their source, from what the target holds of them.

They are written as anybody would write them, so that they come through the stream and reach whoever has lost them. The
source commits a batch before the target forgets it: killed in between, it is written again, and finds its rows there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from connectors.contract import Routing
from connectors.errors import OperatorError
from connectors.postgres import comparing
from connectors.postgres.failures import Refused, translate
from connectors.postgres.put_back_route import Way, ways
from connectors.postgres.rows import decode_key
from connectors.postgres.steps import GONE, ArrayLiteral, ArrayLiteralDumper, key_step

BATCH_ROWS = 500
_REJECTED = "SELECT DISTINCT table_name FROM placemat.rejected WHERE source = %s"
_EMPTIED = "SELECT EXISTS (SELECT FROM placemat.rejected WHERE source = %s AND table_name = %s AND key = '')"
_KEYS = """
SELECT key FROM placemat.rejected WHERE source = %s AND table_name = %s AND key > %s ORDER BY key LIMIT %s
"""
_FORGET = "DELETE FROM placemat.rejected WHERE source = %s AND table_name = %s AND key = ANY (%s)"
_FORGET_ALL = "DELETE FROM placemat.rejected WHERE source = %s AND table_name = %s"
_ACTOR = "SELECT pg_logical_emit_message(true, 'placemat.actor', %s)"
_NOW = "SET CONSTRAINTS ALL IMMEDIATE"
"""What is checked at COMMIT is told of no row."""

Row = Sequence[str | None]


@dataclass(slots=True)
class Back:
    """One table: rows that were put back; `there`: that the source has, made again or never gone; `gone`: that the
    target does not hold either; `left` by the reason for it. `lost` are columns that the route does not bring."""

    table: str
    lost: tuple[str, ...]
    back: int = 0
    there: int = 0
    gone: int = 0
    left: Counter[str] = field(default_factory=Counter)


class PutBack:
    """From one target into its source, over a session of each; raises OperatorError, TryAgain and Unavailable."""

    def __init__(
        self, target: psycopg.Connection[Any], source: psycopg.Connection[Any], name: str, source_name: str,
        routes: Mapping[str, Routing], by: str,
    ) -> None:  # fmt: skip
        for connection in (target, source):
            connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
        self._target = target
        self._source = source
        self._name = source_name
        self._by = by
        self._ways = ways(target, source, name, routes)

    def lost(self, tables: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """By table, the columns of the source that cannot come back; raises OperatorError where nobody may write."""
        for table in tables:
            if table in self._ways:
                self._ways[table].check(self._source, self._name)
        return {table: self._ways[table].lost for table in tables if table in self._ways}

    def run(self, between: Callable[[], None]) -> list[Back]:
        """Put back what waits for it, parents first, as often as something moves; `between` is called where the source
        has committed a batch and the target has not forgotten it yet."""
        found: dict[str, Back] = {}
        while True:
            moved = False
            for table in self._tables():
                one = found.setdefault(table, Back(table, self._ways[table].lost))
                before, one.left = one.back, Counter()
                self._table(one, self._ways[table], between)
                moved |= one.back > before
            if not moved or not any(one.left for one in found.values()):
                return list(found.values())

    def _tables(self) -> list[str]:
        names = {name for (name,) in self._target.execute(_REJECTED, [self._name])}
        self._target.commit()
        for unknown in sorted(names - self._ways.keys()):
            raise OperatorError(
                f"Rows of {unknown} are to be put back, and the target has no route for it any more.",
                "Route it again, then run the same command.",
            )
        return sorted(names, key=lambda name: self._ways[name].rank)

    def _table(self, one: Back, way: Way, between: Callable[[], None]) -> None:
        emptied = self._target.execute(_EMPTIED, [self._name, one.table]).fetchone()
        self._target.commit()
        if emptied and emptied[0]:
            one.there = -one.back  # those that came back in an earlier round are met again
            for rows in self._every(way):
                self._write(one, way, way.key, rows)
                between()
            if not one.left:
                self._target.execute(_FORGET_ALL, [self._name, one.table])
                self._target.commit()
            return
        for keys in self._keys(one.table):
            found = self._read(way, keys)
            one.gone += len(keys) - len(found)
            kept = self._write(one, way, tuple(decode_key(keys[0].encode())), [row for _, row in found])
            between()
            waiting = {keys[number - 1] for number, row in found if tuple(row) in kept}
            self._target.execute(_FORGET, [self._name, one.table, [key for key in keys if key not in waiting]])
            self._target.commit()

    def _keys(self, table: str) -> Iterator[list[str]]:
        after = ""
        while keys := [
            key for (key,) in self._target.execute(_KEYS, [self._name, table, after, BATCH_ROWS]).fetchall()
        ]:
            self._target.commit()
            yield keys
            after = keys[-1]
        self._target.commit()

    def _read(self, way: Way, keys: Sequence[str]) -> list[tuple[int, Row]]:
        """Rows that the target holds, with the number of their key, from 1."""
        step = key_step("present", way.target, [(key.encode(), GONE) for key in keys])
        query = comparing.texts(way.target, tuple(decode_key(keys[0].encode())), way.columns)
        rows = self._target.execute(query.encode(), step.values).fetchall()
        self._target.commit()
        return [(number, row) for number, *row in rows]

    def _every(self, way: Way) -> Iterator[list[Row]]:
        with self._target.cursor("put_back") as cursor:
            cursor.execute(way.select.encode(), [])
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield rows
        self._target.commit()

    def _write(self, one: Back, way: Way, key: Sequence[str], rows: Sequence[Row]) -> set[tuple[str | None, ...]]:
        """Write rows in one transaction of the source; those that it does not take are returned."""
        refused: set[tuple[str | None, ...]] = set()
        if rows:
            self._source.execute(_ACTOR, [self._by])
            self._source.execute(_NOW)
            self._halve(one, way, key, rows, refused)
            self._source.commit()
        return refused

    def _halve(
        self, one: Back, way: Way, key: Sequence[str], rows: Sequence[Row], refused: set[tuple[str | None, ...]]
    ) -> None:
        try:
            with self._source.transaction():
                back = self._insert(way, key, rows)
        except psycopg.Error as error:
            found = _translated(error, self._name, one.table)
            if not isinstance(found, Refused):
                raise found from error
            if len(rows) > 1:
                self._halve(one, way, key, rows[: len(rows) // 2], refused)
                self._halve(one, way, key, rows[len(rows) // 2 :], refused)
            else:
                one.left[found.reason] += 1
                refused.add(tuple(rows[0]))
        else:
            one.back += back
            one.there += len(rows) - back

    def _insert(self, way: Way, key: Sequence[str], rows: Sequence[Row]) -> int:
        """How many of them the source did not have."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        return self._source.execute(way.insert(key).encode(), columns).rowcount


def _translated(error: psycopg.Error, source: str, table: str) -> Exception:
    if error.sqlstate == "42501":
        return OperatorError(
            f"The role that puts rows back may not write {table} in source {source}.",
            f"Set sources.{source}.restore_url to a role that may, then run the same command.",
        )
    return translate(error, source)
