"""What waits for a person at the hub, what rules and people have decided, and who was told; read and marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from connectors.conflicts import Decision, Filter, Logged, Waiting
from connectors.postgres.two_way.refusals import HubRefusals, Way

LOCK_CLASS = 0x706C616E
"""First of the two numbers of the advisory lock; the second tells what is done apart."""
_ALONE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_WAITING = "SELECT id, table_name, key, state, waits, opened_at, changed_at, notified_at FROM placemat.conflicts"
_MATCHING = """
    (%(table)s::text IS NULL OR table_name = %(table)s)
AND (%(spoke)s::text IS NULL OR state::jsonb -> 'fields' ? %(spoke)s OR state::jsonb -> 'deletions' ? %(spoke)s)
AND (%(field)s::text IS NULL OR EXISTS (
        SELECT FROM jsonb_each(coalesce(state::jsonb -> 'fields', '{}')) AS own (spoke, fields)
        WHERE own.fields ? %(field)s AND (%(spoke)s::text IS NULL OR own.spoke = %(spoke)s)))
"""
_LOGGED = "SELECT * FROM placemat.conflict_log"
_BY_RULE = """
WHERE resolution <> 'manual' AND (%(table)s::text IS NULL OR table_name = %(table)s)
  AND (%(spoke)s::text IS NULL OR spoke = %(spoke)s) AND (%(field)s::text IS NULL OR field = %(field)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(most)s
"""
_NOTIFIED = """
UPDATE placemat.conflicts AS c SET notified_at = %s
FROM unnest(%s::bigint[], %s::timestamptz[]) AS told (id, opened_at)
WHERE c.id = told.id AND c.opened_at = told.opened_at
"""


class HubWaitlist:
    """See `connectors.conflicts.Waitlist`; over a connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], ways: Iterable[Way] = ()) -> None:
        """`ways` are those of its spokes."""
        self._connection = connection
        self.refusals = HubRefusals(connection, ways)

    def find(self, conflict_id: int) -> Waiting | None:
        found = self._waiting(f"{_WAITING} WHERE id = %(id)s", {"id": conflict_id})
        return found[0] if found else None

    def waiting(self, which: Filter, most: int | None = None) -> list[Waiting]:
        query = f"{_WAITING} WHERE waits AND {_MATCHING} ORDER BY opened_at, id LIMIT %(most)s"
        return self._waiting(query, {**_named(which), "most": most})

    def count(self, which: Filter) -> int:
        query = f"SELECT count(*) FROM placemat.conflicts WHERE waits AND {_MATCHING}"
        row = self._connection.execute(query.encode(), _named(which)).fetchone()
        return row[0] if row else 0

    def decided_by_rule(self, which: Filter, most: int, before: int | None = None) -> list[Logged]:
        return self._logged(_LOGGED + _BY_RULE, {**_named(which), "most": most, "before": before})

    def history(self, table: str, key: str) -> list[Logged]:
        query = f"{_LOGGED} WHERE table_name = %(table)s AND key = %(key)s ORDER BY id"
        return self._logged(query, {"table": table, "key": key})

    def decisions(self, conflict_id: int) -> list[Decision]:
        with self._connection.cursor(row_factory=class_row(Decision)) as cursor:
            query = "SELECT * FROM placemat.decisions WHERE conflict_id = %s ORDER BY id"
            return cursor.execute(query, [conflict_id]).fetchall()

    def untold(self, told_before: datetime) -> list[Waiting]:
        query = f"{_WAITING} WHERE waits AND (notified_at IS NULL OR notified_at <= %(at)s) ORDER BY opened_at, id"
        return self._waiting(query, {"at": told_before})

    def told(self, some: Sequence[Waiting], at: datetime) -> None:
        self._connection.execute(_NOTIFIED, [at, [one.id for one in some], [one.opened_at for one in some]])

    def alone(self, what: str) -> bool:
        row = self._connection.execute(_ALONE, [LOCK_CLASS, what]).fetchone()
        return bool(row and row[0])

    def _waiting(self, query: str, parameters: Mapping[str, object]) -> list[Waiting]:
        with self._connection.cursor(row_factory=class_row(Waiting)) as cursor:
            return cursor.execute(query.encode(), parameters).fetchall()

    def _logged(self, query: str, parameters: Mapping[str, object]) -> list[Logged]:
        with self._connection.cursor(row_factory=class_row(Logged)) as cursor:
            return cursor.execute(query.encode(), parameters).fetchall()


def _named(which: Filter) -> dict[str, str | None]:
    return {"spoke": which.spoke, "table": which.table, "field": which.field}
