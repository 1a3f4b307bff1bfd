"""Keys of the queue, each one worker's for a while."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import psycopg

from connectors.pushing import Key, Lease, LeaseLost

LOCK_CLASS = 0x706C7073
"""First of the two numbers of the advisory lock that each worker holds; the second is its own."""

READ_THROUGH = "EXISTS (SELECT FROM placemat.cursors WHERE name = 'poll:' || queue.table_name)"
_LEASE = f"""
UPDATE placemat.queue q SET leased_by = %(by)s, leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM (
    SELECT table_name, key, row_number() OVER () AS place FROM (
        SELECT table_name, key FROM placemat.queue
        WHERE due <= clock_timestamp() AND table_name = ANY (%(tables)s)
          AND (leased_until IS NULL OR leased_until < clock_timestamp() OR leased_by NOT IN (
               SELECT objid::bigint FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
               WHERE locktype = 'advisory' AND classid = %(class)s AND granted AND datname = current_database()))
          AND {READ_THROUGH}
        ORDER BY bulk, array_position(%(tables)s, table_name), since, key LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ) found
) taken
WHERE q.table_name = taken.table_name AND q.key = taken.key
RETURNING taken.place, q.table_name, q.key, q.changes, q.attempts, q.request,
    extract(epoch FROM clock_timestamp() - q.since)::float8
"""
_HOLD = """
SELECT changes FROM placemat.queue WHERE table_name = %s AND key = %s AND leased_by = %s AND leased_until > now()
FOR UPDATE
"""
_FINISH = """
WITH gone AS (DELETE FROM placemat.queue WHERE table_name = %(table)s AND key = %(key)s AND changes = %(changes)s)
UPDATE placemat.queue SET leased_by = NULL, leased_until = NULL, due = clock_timestamp(), since = clock_timestamp(),
    attempts = 0, refused_at = NULL, code = NULL, reason = NULL, request = NULL, requested_by = NULL, number = NULL
WHERE table_name = %(table)s AND key = %(key)s AND changes <> %(changes)s
"""
_POSTPONE = """
UPDATE placemat.queue q SET leased_by = NULL, leased_until = NULL, attempts = attempts + %s,
    due = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::text[]) AS k (table_name, key)
WHERE q.table_name = k.table_name AND q.key = k.key AND q.leased_by = %s
"""
_REFUSE = """
WITH answered AS (SELECT request IS NULL OR request = %(request)s AS whole FROM placemat.queue
                  WHERE table_name = %(table)s AND key = %(key)s)
UPDATE placemat.queue SET leased_by = NULL, leased_until = NULL, attempts = attempts + 1,
    request = CASE WHEN whole THEN NULL ELSE request END,
    requested_by = CASE WHEN whole THEN NULL ELSE requested_by END,
    refused_at = coalesce(refused_at, clock_timestamp()), code = %(code)s, reason = %(reason)s,
    number = coalesce(number, nextval(pg_get_serial_sequence('placemat.parked', 'id'))),
    due = CASE WHEN whole AND changes = %(changes)s THEN 'infinity' ELSE clock_timestamp() END
FROM answered WHERE table_name = %(table)s AND key = %(key)s
"""
"""What an operator has asked for since the key was taken is still to be done."""
_HURRY = """
UPDATE placemat.queue SET bulk = false WHERE table_name = %s AND key = %s AND refused_at IS NULL RETURNING true
"""
_NEXT = f"""
SELECT extract(epoch FROM least(min(greatest(due, leased_until)), now() + interval '1 hour') - clock_timestamp())
FROM placemat.queue WHERE table_name = ANY (%s) AND {READ_THROUGH}
"""


class Leases:
    """Of one worker, in the open transaction of its connection. Raises psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.by = secrets.randbelow(2**31 - 1) + 1
        """This worker, as long as its session lasts."""
        connection.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, self.by])

    def take(self, tables: Sequence[str], most: int, seconds: float) -> list[Lease]:
        values = {"by": self.by, "seconds": seconds, "tables": list(tables), "most": most, "class": LOCK_CLASS}
        rows = sorted(self._connection.execute(_LEASE, values).fetchall())
        return [Lease(Key(table, key), *rest) for _, table, key, *rest in rows]

    def hold(self, lease: Lease) -> None:
        """Keep the key ours until the transaction ends. Raises LeaseLost."""
        if self._connection.execute(_HOLD, [*lease.key, self.by]).fetchone() is None:
            raise LeaseLost

    def finish(self, lease: Lease) -> None:
        """It leaves the queue, unless it was queued again meanwhile."""
        values = {"table": lease.key.table, "key": lease.key.text, "changes": lease.changes}
        self._connection.execute(_FINISH, values)

    def postpone(self, leases: Sequence[Lease], seconds: float, *, tried: bool) -> None:
        tables, keys = [one.key.table for one in leases], [one.key.text for one in leases]
        self._connection.execute(_POSTPONE, [int(tried), seconds, tables, keys, self.by])

    def refuse(self, lease: Lease, code: str, reason: str) -> None:
        values = {"table": lease.key.table, "key": lease.key.text, "changes": lease.changes, "request": lease.request}
        self._connection.execute(_REFUSE, {**values, "code": code, "reason": reason})

    def hurry(self, key: Key) -> bool:
        return self._connection.execute(_HURRY, [*key]).fetchone() is not None

    def next_due(self, tables: Sequence[str]) -> float:
        """Seconds until the next key of these may be due, an hour at most."""
        row = self._connection.execute(_NEXT, [list(tables)]).fetchone()
        return 3600.0 if row is None or row[0] is None else max(0.0, float(row[0]))
