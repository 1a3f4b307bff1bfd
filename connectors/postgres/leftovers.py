"""What a new route leaves behind in the target, in words for an operator with the statement to run there: nothing that
is advised takes away what another route writes, or what was never the source's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from connectors.contract import Destination
from connectors.postgres.shape import read_table
from connectors.postgres.told import ALL_OTHERS, Told

_REFERRING = """
SELECT DISTINCT nspname || '.' || relname
FROM pg_constraint JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype = 'f' AND confrelid = to_regclass(%s) AND conrelid <> confrelid ORDER BY 1
"""


class Leftovers:
    """In the open transaction; `now` is by what the rows of every table are told."""

    def __init__(self, connection: psycopg.Connection[Any], destination: Destination, now: Mapping[str, Told]) -> None:
        self._connection = connection
        self._target = destination.name
        self._routes = destination.routes
        self._now = now

    def after(self, table: str, before: Told) -> Iterator[str]:
        """What stays of a table's rows that were told by `before`."""
        there = self._now[table].there
        if before.there is None or there is None:
            return
        if before.there != there:
            yield from self._rows(before.there)
        else:
            yield from self._values(table, there, before)

    def _rows(self, there: str) -> Iterator[str]:
        if read_table(self._connection, there) is None:
            return
        stay = f"rows stay in {there} of target {self._target}"
        if writer := next((table for table, told in self._now.items() if told.there == there), None):
            yield f"{stay}, which {writer} writes now; to be rid of them: placemat snapshot {writer} --delete-gone"
        elif children := [name for (name,) in self._connection.execute(_REFERRING, [_quoted(there)])]:
            refer = f"once no row of {', '.join(children)} refers to them"
            yield f"{stay}; to be rid of them, {refer}: DELETE FROM {_quoted(there)}"
        else:
            yield f"{stay}; to be rid of them: TRUNCATE {_quoted(there)}"

    def _values(self, table: str, there: str, before: Told) -> Iterator[str]:
        now, routing = self._now[table], self._routes[table]
        kept = {*now.written, *(routing.renamed(name) for name in routing.local)}
        names = {*now.left_out} - {*before.left_out} | {*before.written} - {*now.written}
        ours = read_table(self._connection, there)
        if ALL_OTHERS in names and ours is not None:
            names |= ours.columns.keys() - {*before.left_out}
        names -= kept
        held = {name: ours.columns[name] for name in sorted(names & ours.columns.keys())} if ours is not None else {}
        stubborn = [name for name, column in held.items() if column.not_null and not column.filled]
        if cleared := [name for name in held if name not in stubborn]:
            sets = ", ".join(f"{sql.Identifier(name).as_string()} = DEFAULT" for name in cleared)
            yield (
                f"values stay in {', '.join(cleared)} of {there} in target {self._target}; to be rid of them:"
                f" UPDATE {_quoted(there)} SET {sets}"
            )
        for name in stubborn:
            yield (
                f"values stay in {name} of {there} in target {self._target}; {name} is NOT NULL and has no default:"
                " write a value of yours in their place"
            )


def _quoted(table: str) -> str:
    return sql.Identifier(*table.split(".", 1)).as_string()
