"""Records of a service that hold the key of another (`connectors.fetching.Strays`)."""

from __future__ import annotations

from typing import Any

import psycopg

from connectors.fetching import Standing, Stray
from connectors.postgres.mirror.session import MirrorSession
from connectors.postgres.mirror.telling import tell_changes
from connectors.pushing import Key
from schemas.outbox import SWEPT, Change

_KEEP = """
INSERT INTO placemat.strays (table_name, key, remote_id, ours, why) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (table_name, remote_id) DO UPDATE SET key = EXCLUDED.key, ours = EXCLUDED.ours, why = EXCLUDED.why
"""
_STRAYS = "SELECT table_name, key, remote_id, ours, why, trashing FROM placemat.strays"
_DUE = f"{_STRAYS} WHERE ours AND due <= clock_timestamp() AND table_name = ANY (%s) ORDER BY due, remote_id LIMIT %s"
_LEFT = f"{_STRAYS} WHERE NOT ours ORDER BY table_name, key, remote_id"
_STANDING = """
SELECT r.remote_id, coalesce(r.alive, false),
    EXISTS (SELECT FROM placemat.intents i WHERE i.table_name = k.table_name AND i.key = k.key)
FROM (SELECT %s AS table_name, %s AS key) k LEFT JOIN placemat.remotes r USING (table_name, key)
"""
_ONE = " WHERE table_name = %s AND remote_id = %s"
READ = """
INSERT INTO placemat.dirty AS d (table_name, remote_id) VALUES (%s, %s)
ON CONFLICT (table_name, remote_id) DO UPDATE SET changes = d.changes + 1, due = least(d.due, EXCLUDED.due),
    told = false
"""


def keep(connection: psycopg.Connection[Any], stray: Stray) -> None:
    """In the open transaction. Raises psycopg.Error."""
    connection.execute(_KEEP, [*stray.key, stray.remote_id, stray.ours, stray.why])


class StrayStore:
    """See `connectors.fetching.Strays`."""

    def __init__(self, session: MirrorSession) -> None:
        self._session = session

    def due(self, most: int) -> list[Stray]:
        tables = [one.table for one in self._session.tables]
        with self._session.transaction() as connection:
            return [_stray(*row) for row in connection.execute(_DUE, [tables, most]).fetchall()]

    def left(self) -> list[Stray]:
        with self._session.transaction() as connection:
            return [_stray(*row) for row in connection.execute(_LEFT).fetchall()]

    def standing(self, key: Key) -> Standing:
        with self._session.transaction() as connection:
            row = connection.execute(_STANDING, [*key]).fetchone()
            wanted = key in self._session.rows.present([key], locked=False)
        assert row is not None
        remote_id, alive, busy = row
        return Standing(remote_id, alive, busy, wanted)

    def intend(self, stray: Stray) -> None:
        self._execute(f"UPDATE placemat.strays SET trashing = true{_ONE}", stray)

    def swept(self, stray: Stray, kept: str | None, request: str | None) -> None:
        details = {"record": stray.remote_id, "kept": kept, "request": request}
        with self._session.transaction() as connection:
            connection.execute(f"DELETE FROM placemat.strays{_ONE}".encode(), [stray.key.table, stray.remote_id])
            told = {name: value for name, value in details.items() if value is not None}
            tell_changes(connection, self._session.destination, [Change(*stray.key, SWEPT, told)])

    def leave(self, stray: Stray, why: str) -> None:
        self._execute(f"UPDATE placemat.strays SET ours = false, trashing = false, why = %s{_ONE}", stray, why)

    def forget(self, stray: Stray, *, read: bool) -> None:
        with self._session.transaction() as connection:
            connection.execute(f"DELETE FROM placemat.strays{_ONE}".encode(), [stray.key.table, stray.remote_id])
            if read:
                connection.execute(READ, [stray.key.table, stray.remote_id])

    def postpone(self, stray: Stray, seconds: float) -> None:
        later = "UPDATE placemat.strays SET due = clock_timestamp() + make_interval(secs => %s)"
        self._execute(f"{later}{_ONE}", stray, seconds)

    def _execute(self, statement: str, stray: Stray, *values: object) -> None:
        with self._session.transaction() as connection:
            connection.execute(statement.encode(), [*values, stray.key.table, stray.remote_id])


def _stray(table: str, key: str, remote_id: str, ours: bool, why: str, trashing: bool) -> Stray:
    return Stray(Key(table, key), remote_id, ours, why, trashing)
