"""What a service was seen to have, written so that the capture of the mirror tells it: people's edits as such, our own
writes by their marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from connectors.postgres import turns
from connectors.postgres.rows import Net
from connectors.postgres.statements import Catalogue
from connectors.postgres.steps import step_of
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes
from connectors.postgres.two_way.outward import tell
from connectors.pushing import Key, Seen
from schemas.resolution import MARKS_PREFIX, READS_PREFIX, Fields

ACTOR_PREFIX = "placemat.actor"
_SAY = "SELECT pg_logical_emit_message(true, %s, %s)"


class SeenRows:
    """In the open transaction. Raises psycopg.Error. `origin` is what a transaction of ours says of itself."""

    def __init__(
        self, connection: psycopg.Connection[Any], catalogue: Catalogue, tables: Mapping[str, Canonical], origin: str
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._tables = tables
        self._changes = Changes(connection, tables)
        self._origin = origin

    def __contains__(self, table: str) -> bool:
        return table in self._tables

    def present(self, key: Key) -> Fields | None:
        """The row as it was seen last."""
        return self._changes.present([(key.table, key.text)], locked=False).get((key.table, key.text))

    def write(self, key: Key, seen: Seen) -> None:
        """Store it, and say whose it is: one row by transaction, whose first statement this is to be."""
        if seen.mark is not None:
            self._connection.execute(_SAY, [turns.ORIGIN_PREFIX, self._origin])
        if seen.author is not None:
            self._connection.execute(_SAY, [ACTOR_PREFIX, seen.author])
        if seen.read is not None:
            tell(self._connection, READS_PREFIX, [seen.read])
        self._store(key, seen.row)
        if seen.mark is not None:
            tell(self._connection, MARKS_PREFIX, [seen.mark])

    def _store(self, key: Key, row: Fields | None) -> None:
        before = self._changes.present([(key.table, key.text)], locked=True).get((key.table, key.text))
        table = self._tables[key.table]
        record_key = table.record_key(key.text)
        if row is None:
            if before is not None:
                self._execute(key.table, record_key, Net("remove", {}))
            return
        if before is None:
            self._execute(key.table, record_key, Net("add", table.raws(row)))
        elif changed := {name: value for name, value in row.items() if before.get(name) != value}:
            self._execute(key.table, record_key, Net("change", table.raws(changed)))

    def _execute(self, table: str, record_key: bytes, net: Net) -> None:
        step = step_of(self._catalogue.tables[table], net.kind, tuple(net.columns), [(record_key, net)])
        self._connection.execute(step.statement.text.encode(), step.values)
