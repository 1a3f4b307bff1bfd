"""The mirror of a service, as those work with it who read the service (`connectors.fetching.Fetched`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg

from connectors.contract import Destination
from connectors.fetching import Compared, Dirty, Reading, Record, Stray
from connectors.mirroring import Mirrored
from connectors.postgres.mirror import comparing, stray_store
from connectors.postgres.mirror.session import MirrorSession
from connectors.postgres.mirror.stray_store import StrayStore
from connectors.postgres.mirror.telling import tell_changes
from connectors.pushing import Key
from connectors.service import Settled
from schemas.outbox import VANISHED, Change
from schemas.resolution import Fields

LOCK_CLASS = 0x706C6665
"""First of the two numbers of the advisory lock; the second tells targets apart."""
AGAIN_SECONDS = 2.0
"""A record that we are writing to is read again after this."""
LISTED_SECONDS = 240.0
"""What a listing shows otherwise than it was known so long before may be older than that."""

_ALONE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_CURSOR = "SELECT state FROM placemat.cursors WHERE name = %s"
_RECORDS = """
SELECT remote_id, key, coalesce((extract(epoch FROM read_at) * 1000000)::bigint, 0),
    coalesce((extract(epoch FROM written_at) * 1000000)::bigint, 0)
FROM placemat.remotes WHERE table_name = %s AND remote_id = ANY (%s)
"""
_SETTLED = """
SELECT remote_id, version, alive FROM placemat.remotes r
WHERE table_name = %s AND remote_id = ANY (%s) AND read_at > coalesce(written_at, '-infinity') AND keyed
  AND NOT EXISTS (SELECT FROM placemat.dirty d WHERE d.table_name = r.table_name AND d.remote_id = r.remote_id)
"""
_OWNERS = """
SELECT key, remote_id FROM placemat.remotes WHERE table_name = %s AND key = ANY (%s) AND remote_id IS NOT NULL
"""
_BUSY = """
SELECT EXISTS (SELECT FROM placemat.intents WHERE table_name = %(table)s AND key = %(key)s)
    OR coalesce((SELECT written_at > to_timestamp(%(began)s / 1000000.0) FROM placemat.remotes
                 WHERE table_name = %(table)s AND key = %(key)s), false)
"""
_DOUBTED = """
SELECT greatest(written_at, read_at) > to_timestamp(%s / 1000000.0) - make_interval(secs => %s)
FROM placemat.remotes WHERE table_name = %s AND key = %s
"""
_LOCK = """
INSERT INTO placemat.remotes (table_name, key, alive, keyed) VALUES (%s, %s, false, %s)
ON CONFLICT (table_name, key) DO UPDATE SET key = EXCLUDED.key RETURNING alive, xmax <> 0
"""
_READ = """
UPDATE placemat.remotes SET remote_id = %(remote_id)s, version = %(version)s, alive = %(alive)s, keyed = %(keyed)s,
    read_at = greatest(read_at, to_timestamp(%(read_at)s / 1000000.0))
WHERE table_name = %(table)s AND key = %(key)s
"""
_LOCK_QUEUED = "SELECT FROM placemat.queue WHERE table_name = %s AND key = %s FOR UPDATE"
_PUT_BACK = """
INSERT INTO placemat.queue AS q (table_name, key) VALUES (%s, %s)
ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1,
    due = CASE WHEN q.refused_at IS NULL THEN q.due ELSE clock_timestamp() END
"""
_NO_STRAY = "DELETE FROM placemat.strays WHERE table_name = %s AND remote_id = %s"
_IDLE = """
SELECT NOT EXISTS (SELECT FROM placemat.queue
                   WHERE due <= clock_timestamp() AND refused_at IS NULL AND table_name = ANY (%s))
"""
_MOVE_CURSOR = """
INSERT INTO placemat.cursors (name, state) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET state = EXCLUDED.state, moved_at = clock_timestamp()
"""
_DIRTY = """
SELECT table_name, remote_id, changes, (extract(epoch FROM since) * 1000000)::bigint, told FROM placemat.dirty
WHERE due <= clock_timestamp() ORDER BY due, remote_id LIMIT %s
"""
_MARK = """
INSERT INTO placemat.dirty AS d (table_name, remote_id, due)
SELECT %s, *, clock_timestamp() + make_interval(secs => %s) FROM unnest(%s::text[])
ON CONFLICT (table_name, remote_id) DO UPDATE SET changes = d.changes + 1, since = EXCLUDED.since,
    due = least(d.due, EXCLUDED.due), told = false
"""
_LATER = """
UPDATE placemat.dirty d SET due = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS t (table_name, remote_id, changes)
WHERE d.table_name = t.table_name AND d.remote_id = t.remote_id AND d.changes = t.changes
"""
_CLEAN = """
DELETE FROM placemat.dirty d USING unnest(%s::text[], %s::text[], %s::bigint[]) AS t (table_name, remote_id, changes)
WHERE d.table_name = t.table_name AND d.remote_id = t.remote_id AND d.changes = t.changes
"""
_WAITING = """
SELECT count(*)
FROM (SELECT FROM placemat.queue WHERE due <= clock_timestamp() AND table_name = ANY (%s) LIMIT %s) q
"""
_NEXT = "SELECT extract(epoch FROM min(due) - clock_timestamp())::float8 FROM placemat.dirty"
_UNKEYED = """
SELECT table_name, key, remote_id FROM placemat.remotes
WHERE NOT keyed AND alive AND table_name = ANY (%s) AND coalesce(claim_due <= clock_timestamp(), true)
ORDER BY key LIMIT %s
"""
_KEYLESS = """
UPDATE placemat.remotes SET claim_due = clock_timestamp() + make_interval(secs => %s) WHERE table_name = %s AND key = %s
"""
_KEYED = "UPDATE placemat.remotes SET keyed = true WHERE table_name = %s AND key = %s"


class FetchStore:
    """See `connectors.fetching.Fetched`."""

    def __init__(self, destination: Destination, tables: Sequence[Mirrored]) -> None:
        self._session = MirrorSession(destination, tables, "placemat fetch", "placemat_dirty")
        self._name = destination.name
        self._tables = [one.table for one in tables]
        self._strays = StrayStore(self._session)

    @property
    def strays(self) -> StrayStore:
        return self._strays

    def open(self) -> None:
        self._session.open()

    def alone(self) -> bool:
        with self._session.transaction() as connection:
            row = connection.execute(_ALONE, [LOCK_CLASS, self._name]).fetchone()
        return row is not None and bool(row[0])

    def now(self) -> int:
        with self._session.transaction() as connection:
            row = connection.execute(_NOW).fetchone()
        assert row is not None
        return int(row[0])

    def cursor(self, name: str) -> str | None:
        with self._session.transaction() as connection:
            row = connection.execute(_CURSOR, [name]).fetchone()
        return None if row is None else str(row[0])

    def records(self, table: str, remote_ids: Collection[str]) -> dict[str, Record]:
        with self._session.transaction() as connection:
            found = {}
            for remote_id, text, *times in connection.execute(_RECORDS, [table, list(remote_ids)]).fetchall():
                key = Key(table, text)
                seen = self._session.seen.present(key) if table in self._session.seen else None
                found[remote_id] = Record(key, seen, *times)
            return found

    def settled(self, table: str, remote_ids: Collection[str]) -> dict[str, Settled]:
        with self._session.transaction() as connection:
            rows = connection.execute(_SETTLED, [table, list(remote_ids)]).fetchall()
        return {remote_id: Settled(*rest) for remote_id, *rest in rows}

    def owners(self, table: str, keys: Collection[str]) -> dict[str, str]:
        with self._session.transaction() as connection:
            return dict(connection.execute(_OWNERS, [table, list(keys)]).fetchall())

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        return self._session.keys_of(table, remote_ids)

    def canonical(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Fields, Mapping[str, str]]]:
        return self._session.canonical(rows, table)

    def store(
        self, readings: Sequence[Reading], cursors: Mapping[str, str | None], done: Sequence[Dirty] = (),
        strays: Sequence[Stray] = (),
    ) -> list[Reading]:  # fmt: skip
        with self._session.transaction() as connection:
            ordered = sorted(readings, key=lambda reading: reading.key)
            again = {one.remote_id: wait for one in ordered if (wait := self._take(connection, one)) is not None}
            for name, state in cursors.items():
                if state is None:
                    connection.execute("DELETE FROM placemat.cursors WHERE name = %s", [name])
                else:
                    connection.execute(_MOVE_CURSOR, [name, state])
            if done:
                connection.execute(_CLEAN, _named(done))
            unread = [one for one in ordered if one.remote_id in again]
            for one in unread:
                connection.execute(_MARK, [one.table, again[one.remote_id], [one.remote_id]])
            for stray in strays:
                stray_store.keep(connection, stray)
        return unread

    def compare(
        self, table: str, listed: Collection[str], keyed: Collection[str], began: int, cursors: Mapping[str, str]
    ) -> Compared:
        with self._session.transaction() as connection:
            seen = table in self._session.seen
            found = comparing.compare(connection, table, listed, keyed, began, seen=seen)
            for name, state in cursors.items():
                connection.execute(_MOVE_CURSOR, [name, state])
        return found

    def idle(self) -> bool:
        with self._session.transaction() as connection:
            row = connection.execute(_IDLE, [self._tables]).fetchone()
        return row is not None and bool(row[0])

    def dirty(self, most: int) -> list[Dirty]:
        with self._session.transaction() as connection:
            return [Dirty(*one) for one in connection.execute(_DIRTY, [most]).fetchall()]

    def postpone(self, dirty: Sequence[Dirty], seconds: float) -> None:
        if dirty:
            with self._session.transaction() as connection:
                connection.execute(_LATER, [seconds, *_named(dirty)])

    def mark(self, table: str, remote_ids: Collection[str]) -> None:
        with self._session.transaction() as connection:
            connection.execute(_MARK, [table, 0.0, list(remote_ids)])
            connection.execute("NOTIFY placemat_dirty")

    def unkeyed(self, most: int) -> list[tuple[Key, str]]:
        with self._session.transaction() as connection:
            rows = connection.execute(_UNKEYED, [self._tables, most]).fetchall()
        return [(Key(table, key), remote_id) for table, key, remote_id in rows]

    def keyed(self, key: Key) -> None:
        with self._session.transaction() as connection:
            connection.execute(_KEYED, [*key])

    def keyless(self, key: Key, seconds: float) -> None:
        with self._session.transaction() as connection:
            connection.execute(_KEYLESS, [seconds, *key])

    def waiting(self, most: int) -> int:
        with self._session.transaction() as connection:
            row = connection.execute(_WAITING, [self._tables, most]).fetchone()
        assert row is not None
        return int(row[0])

    def notify_queue(self) -> None:
        with self._session.transaction() as connection:
            connection.execute("NOTIFY placemat_queue")

    def wait(self, seconds: float) -> None:
        with self._session.transaction() as connection:
            row = connection.execute(_NEXT).fetchone()
        due = seconds if row is None or row[0] is None else float(row[0])
        self._session.wait(max(0.0, min(seconds, due)))

    def close(self) -> None:
        self._session.close()

    def _take(self, connection: psycopg.Connection[Any], one: Reading) -> float | None:
        """Store it. Else the seconds after which it is to be read again: we have written to it since it was read, or
        are about to, or it was known not long ago and a listing shows something else; nobody can tell what was first.
        """
        outward = one.table not in self._session.seen
        if outward:
            connection.execute(_LOCK_QUEUED, [*one.key])  # in the order in which they are locked who tell the service
        row = connection.execute(_LOCK, [*one.key, one.keyed]).fetchone()
        values = {"table": one.table, "key": one.key.text, "began": one.began}
        assert row is not None
        if connection.execute(_BUSY, values).fetchone() == (True,):
            return AGAIN_SECONDS
        if one.listed and (one.seen is not None or row[0] == one.gone):
            known = connection.execute(_DOUBTED, [one.began, LISTED_SECONDS, *one.key]).fetchone()
            if known == (True,):
                return 0.0
        read = {"remote_id": one.remote_id, "version": one.version, "alive": not one.gone, "keyed": one.keyed}
        connection.execute(_READ, {**values, **read, "read_at": one.read_at})
        connection.execute(_NO_STRAY, [one.table, one.remote_id])
        if one.seen is not None:
            self._session.seen.write(one.key, one.seen)
        was_there, was_known = row
        if outward and one.gone and was_there:
            self._put_back(connection, one)
        elif outward and was_known and not one.gone and not was_there:
            connection.execute(_PUT_BACK, [*one.key])  # the row may not be for the service any more
            connection.execute("NOTIFY placemat_queue")
        return None

    def _put_back(self, connection: psycopg.Connection[Any], one: Reading) -> None:
        """Of a table that goes one way, whoever took the record away is not asked: the hub's row is told again."""
        if one.key in self._session.rows.present([one.key], locked=False):
            connection.execute(_PUT_BACK, [*one.key])
            connection.execute("NOTIFY placemat_queue")
            change = Change(*one.key, VANISHED, {"record": one.remote_id})
            tell_changes(connection, self._session.destination, [change])


def _named(dirty: Sequence[Dirty]) -> list[list[Any]]:
    """Tables, records, and how often each was said to be read."""
    tables, remote_ids, changes, *_ = zip(*dirty, strict=True)
    return [list(tables), list(remote_ids), list(changes)]
