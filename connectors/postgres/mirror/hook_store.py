"""Where webhooks mark what is to be read anew, in the mirror of a service (`connectors.hooks.Marks`)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from connectors.errors import Unavailable
from connectors.fetching import WHOLE_TABLE
from connectors.hooks import Delivery, Taken
from connectors.postgres.session import open_session, roll_back, translated

KEEP_DAYS = 3
"""A service sends again for a day or so. Whoever sends an older one did not get it from there just now."""
WAIT_SECONDS = 2.0
"""For others that mark at this time, and for each statement: services wait five seconds or so for an answer."""

_TAKE = """
INSERT INTO placemat.deliveries (id)
SELECT %(id)s WHERE coalesce(%(at)s::timestamptz > clock_timestamp() - make_interval(days => %(days)s), true)
ON CONFLICT (id) DO NOTHING RETURNING true
"""
_MARK = """
WITH named AS (SELECT * FROM unnest(%(tables)s::text[], %(ids)s::text[]) AS n (table_name, remote_id))
INSERT INTO placemat.dirty AS d (table_name, remote_id, told)
SELECT table_name, remote_id, true FROM (
    SELECT table_name, remote_id FROM named WHERE table_name = ANY (%(ours)s)
    UNION
    SELECT r.table_name, remote_id FROM named JOIN placemat.remotes r USING (remote_id)
    WHERE r.table_name = ANY (%(ours)s)
) found ORDER BY table_name, remote_id
ON CONFLICT (table_name, remote_id) DO UPDATE SET changes = d.changes + 1, since = EXCLUDED.since,
    due = least(d.due, EXCLUDED.due)
RETURNING true
"""
_FORGET = "DELETE FROM placemat.deliveries WHERE at < clock_timestamp() - make_interval(days => %s)"


class HookStore:
    """See `connectors.hooks.Marks`. `tables` are those of which anything is read; nothing is connected before it is
    needed."""

    def __init__(self, url: str, target: str, tables: Collection[str]) -> None:
        self._url = url
        self._target = target
        self._tables = list(tables)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def take(self, delivery: Delivery) -> Taken:
        named = [*delivery.records, *((table, WHOLE_TABLE) for table in delivery.tables)]
        values = {"tables": [one[0] for one in named], "ids": [one[1] for one in named], "ours": self._tables}
        with self._transaction() as connection:
            told = {"id": delivery.id, "at": delivery.at, "days": KEEP_DAYS}
            if connection.execute(_TAKE, told).fetchone() is None:
                return "repeated"
            if connection.execute(_MARK, values).fetchone() is None:
                return "foreign"
            connection.execute("NOTIFY placemat_dirty")
            return "taken"

    def forget_old(self) -> None:
        with self._transaction() as connection:
            connection.execute(_FORGET, [KEEP_DAYS + 1])

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Committed at its end."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Unavailable(f"target {self._target} does not answer")
        try:
            with translated(self._target, "refuses what placemat keeps there", "Run: placemat init", self._abandon):
                if self._connection is None or self._connection.closed:
                    milliseconds = f"{WAIT_SECONDS * 1000:.0f}ms"
                    self._connection = open_session(
                        self._url, f"placemat webhooks {self._target}", statement_timeout=milliseconds,
                        lock_timeout=milliseconds,
                    )  # fmt: skip
                yield self._connection
                self._connection.commit()
        finally:
            self._lock.release()

    def _abandon(self) -> None:
        roll_back(self._connection)
