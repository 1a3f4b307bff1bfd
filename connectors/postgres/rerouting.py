"""A route that is another one by now has its table asked for once more: so that it holds for rows that were there.

By what the rows of each table were told is kept in the target (`connectors.postgres.told`). Of the columns that
conditions over parents rest on, all have to be known of every row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import psycopg

from connectors.contract import Destination, Rerouted, Routing
from connectors.postgres import plan
from connectors.postgres.leftovers import Leftovers
from connectors.postgres.related import Related, read_columns
from connectors.postgres.told import Told, told

_READ = "SELECT table_name, digest, there, written, left_out, remembered FROM placemat.routes WHERE source = %s"
_STORE = """
INSERT INTO placemat.routes (source, table_name, digest, there, written, left_out, remembered)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, table_name) DO UPDATE SET digest = EXCLUDED.digest, there = EXCLUDED.there,
    written = EXCLUDED.written, left_out = EXCLUDED.left_out, remembered = EXCLUDED.remembered
"""


class Rerouting:
    """Since one claim, in the open transaction. `apart` are tables that have left the main lane.

    A table that was never told of, as in a target that was there before this was kept, is taken as it is.
    """

    def __init__(self, connection: psycopg.Connection[Any], destination: Destination, apart: Collection[str]) -> None:
        self._connection = connection
        self._source = destination.source
        self._before = {table: Told(*kept) for table, *kept in connection.execute(_READ, [self._source])}
        self._known = read_columns(connection, self._source)
        self._remembered = plan.remembered(destination.routes)
        self._now = told(destination.routes, self._known)
        stale = {
            table
            for table, now in self._now.items()
            if table in self._before and now.calls_for_rows(self._before[table])
        }
        self._waiting = _waiting(stale, apart, destination.routes)
        left = Leftovers(connection, destination, self._now)
        self.found = [
            Rerouted(table, "; ".join([*left.after(table, self._before[table]), f"then: placemat verify {table}"]))
            for table in _parents_first(destination.routes, self._now)
            if table in stale - self._waiting
        ]
        """Tables to be asked for, parents first."""

    def settle(self) -> None:
        """They were asked for: by what is kept from now on. Those that wait are told by the present route too, should
        another one come before they are asked for."""
        for table, kept in self._kept():
            before, related = self._before.get(table), Related(self._connection, self._source)
            if before is not None and before.remembered and not self._now[table].remembered:
                related.clear(table)  # it would grow old
            elif before is not None and (others := self._of_other_types(table, before)):
                related.unlearn(table, others)
            self._connection.execute(_STORE, [self._source, table, *kept])

    @property
    def due(self) -> bool:
        """Whether `settle` has anything to store."""
        return any(self._kept())

    def _of_other_types(self, table: str, before: Told) -> list[str]:
        return [
            name
            for name in self._remembered.get(table, ())
            if (table, name) in self._known and before.held_otherwise(name, self._known[table, name].type)
        ]

    def _kept(self) -> Iterator[tuple[str, Told]]:
        for table, now in self._now.items():
            before = self._before.get(table)
            kept = before.mixed(now) if before is not None and table in self._waiting else now
            if kept != before:
                yield table, kept


def _waiting(stale: Set[str], apart: Collection[str], routes: Mapping[str, Routing]) -> set[str]:
    """Tables that left the main lane, and all below them: by parents of which too little is known yet, their rows would
    leave for a while."""
    found = stale & {*apart}
    while more := {table for table in stale - found if not found.isdisjoint(_parents(routes, table))}:
        found |= more
    return {*found}


def _parents_first(routes: Mapping[str, Routing], tables: Collection[str]) -> list[str]:
    """In a circle, where no order is right, any."""
    order: dict[str, None] = {}
    seen: set[str] = set()

    def add(table: str) -> None:
        if table not in seen:
            seen.add(table)
            for parent in _parents(routes, table):
                add(parent)
            order[table] = None

    for table in tables:
        add(table)
    return list(order)


def _parents(routes: Mapping[str, Routing], table: str) -> list[str]:
    """What the condition of a table's route looks at beside its own rows."""
    return [parent.table for parent in routes[table].parents.values()] if table in routes else []
