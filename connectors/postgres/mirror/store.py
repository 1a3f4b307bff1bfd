"""The mirror of a service, as those work with it who tell the service (`connectors.pushing.Mirror`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
from psycopg import sql

from connectors.contract import Destination
from connectors.mirroring import Mirrored
from connectors.postgres.mirror.leases import Leases
from connectors.postgres.mirror.naming import Named, condition
from connectors.postgres.mirror.session import MirrorSession
from connectors.postgres.mirror.telling import tell_changes
from connectors.pushing import NOT_LINKED, Due, Intent, Key, Lease, Linked, Over, Overtaken, Seen, Told
from schemas.outbox import COLLAPSED, PARKED, Change, Place
from schemas.resolution import Fields

_LINKS = """
SELECT table_name, key, (extract(epoch FROM read_at) * 1000000)::bigint, remote_id, version, sent, state, alive
FROM placemat.remotes
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_LINK = """
INSERT INTO placemat.remotes (table_name, key, remote_id, version, sent, state, alive, written_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (table_name, key) DO UPDATE SET remote_id = EXCLUDED.remote_id, version = EXCLUDED.version,
    sent = EXCLUDED.sent, state = EXCLUDED.state, alive = EXCLUDED.alive, written_at = EXCLUDED.written_at
"""
_SIDES = """
SELECT table_name, key, state FROM placemat.sides
WHERE source = %s AND (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_SETTLE = "UPDATE placemat.sides SET state = %s WHERE source = %s AND table_name = %s AND key = %s AND state = %s"
_EVENTS = """
SELECT table_name, key, topic, partition, "offset" FROM placemat.queue_events
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY topic, partition, "offset"
"""
_FORGET_EVENTS = """
DELETE FROM placemat.queue_events USING unnest(%s::text[], %s::int[], %s::bigint[]) AS e (topic, partition, "offset")
WHERE queue_events.topic = e.topic AND queue_events.partition = e.partition AND queue_events."offset" = e."offset"
  AND table_name = %s AND key = %s
"""
_INTENTS = """
SELECT table_name, key, operation, remote_id, content, extract(epoch FROM clock_timestamp() - at)::float8, changes
FROM placemat.intents WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_INTEND = """
INSERT INTO placemat.intents (table_name, key, operation, remote_id, content, changes, by)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_LOOKED = "UPDATE placemat.remotes SET written_at = clock_timestamp() WHERE table_name = %s AND key = %s"
_WITHDRAW = "DELETE FROM placemat.intents WHERE table_name = %s AND key = %s"
_IDS = "SELECT key, remote_id FROM placemat.remotes WHERE table_name = %s AND key = ANY (%s) AND alive"
_PAGE = sql.SQL("""
SELECT text FROM (SELECT '{{' || %(name)s || ':' || to_json(r.{key})::text || '}}' COLLATE "C" AS text FROM {table} r
                   WHERE {condition}) k
WHERE text > %(after)s ORDER BY text LIMIT %(most)s
""")
PAGE_ROWS = 500
_SAMPLE = sql.SQL("""
(SELECT '{{' || %(name)s || ':' || to_json(r.{key})::text || '}}' FROM {table} r ORDER BY random() LIMIT %(most)s)
UNION (SELECT key FROM placemat.remotes WHERE table_name = %(of)s AND alive ORDER BY random() LIMIT %(most)s)
""")
_QUEUED = """
SELECT table_name, key, CASE WHEN refused_at IS NOT NULL THEN number END FROM placemat.queue
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_CALL = sql.SQL("""
WITH children AS (
    SELECT '{{' || %(name)s || ':' || to_json(r.{key})::text || '}}' AS key FROM {table} r
    WHERE r.{column}::text = %(key)s
), unnamed AS (
    UPDATE placemat.remotes SET sent = (sent::jsonb - %(column)s::text)::text
    WHERE table_name = %(table)s AND key IN (SELECT key FROM children) AND sent::jsonb ? %(column)s
)
INSERT INTO placemat.queue AS q (table_name, key) SELECT %(table)s, key FROM children
ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1,
    due = CASE WHEN q.refused_at IS NULL AND q.attempts > 0 THEN q.due ELSE clock_timestamp() END
""")


class MirrorStore:
    """See `connectors.pushing.Mirror`."""

    def __init__(self, destination: Destination, tables: Sequence[Mirrored]) -> None:
        self._session = MirrorSession(destination, tables, "placemat push", "placemat_queue")
        self._destination = destination
        self._mirrored = tables

    def open(self) -> None:
        self._connection = self._session.open()
        with self._session.transaction() as connection:
            self._leases = Leases(connection)

    def lease(self, tables: Sequence[str], most: int, seconds: float) -> list[Lease]:
        with self._session.transaction():
            return self._leases.take(tables, most, seconds)

    def load(self, leases: Sequence[Lease]) -> list[Due]:
        with self._session.transaction() as connection:
            # All of it as of one moment: what is queued later raises `changes`, and is told later.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            names = [[one.key.table for one in leases], [one.key.text for one in leases]]
            rows = self._session.rows.present(sorted({one.key for one in leases}), locked=False)
            present = Named(connection, self._mirrored).only(rows)
            links: dict[tuple[str, str], Linked] = {}
            read_at: dict[tuple[str, str], int] = {}
            for table, key, at, *rest in connection.execute(_LINKS, names):
                links[table, key], read_at[table, key] = _linked(*rest), at or 0
            sides = {
                (table, key): state
                for table, key, state in connection.execute(_SIDES, [self._destination.source, *names])
            }
            intents = {(table, key): Intent(*rest) for table, key, *rest in connection.execute(_INTENTS, names)}
            events: dict[tuple[str, str], list[Place]] = {}
            for table, key, *place in connection.execute(_EVENTS, names):
                events.setdefault((table, key), []).append((place[0], place[1], place[2]))
            return [
                Due(
                    one,
                    present.get(one.key),
                    sides.get(one.key),
                    links.get(one.key, NOT_LINKED),
                    self._session.seen.present(one.key) if one.key.table in self._session.seen else None,
                    events.get(one.key, []),
                    intents.get(one.key),
                    read_at.get(one.key, 0),
                )
                for one in leases
            ]

    def wanted(self, table: str) -> Iterator[tuple[Key, Fields]]:
        after = ""
        while keys := self._keys_after(table, after):
            with self._session.transaction():
                rows = self._session.rows.present(keys, locked=False)
            yield from ((key, rows[key]) for key in keys if key in rows)
            after = keys[-1].text

    def _keys_after(self, table: str, after: str) -> list[Key]:
        one = next(one for one in self._mirrored if one.table == table)
        statement = _PAGE.format(
            table=sql.Identifier(*one.wanted.split(".", 1)), key=sql.Identifier(one.key), condition=condition(one)
        )
        name = orjson.dumps(one.key).decode()
        with self._session.transaction() as connection:
            found = connection.execute(statement, {"name": name, "after": after, "most": PAGE_ROWS})
            return [Key(table, text) for (text,) in found]

    def queued(self, keys: Sequence[Key]) -> dict[Key, int | None]:
        with self._session.transaction() as connection:
            names = [[key.table for key in keys], [key.text for key in keys]]
            return {Key(table, key): number for table, key, number in connection.execute(_QUEUED, names)}

    def sample(self, table: str, most: int) -> list[Key]:
        one = next(one for one in self._mirrored if one.table == table)
        statement = _SAMPLE.format(table=sql.Identifier(*one.wanted.split(".", 1)), key=sql.Identifier(one.key))
        values = {"name": orjson.dumps(one.key).decode(), "most": most, "of": table}
        with self._session.transaction() as connection:
            return [Key(table, text) for (text,) in connection.execute(statement, values)]

    def remote_ids(self, table: str, keys: Collection[str]) -> dict[str, str]:
        with self._session.transaction() as connection:
            return dict(connection.execute(_IDS, [table, list(keys)]).fetchall())

    def keys_of(self, table: str, remote_ids: Collection[str]) -> dict[str, str]:
        return self._session.keys_of(table, remote_ids)

    def hurry(self, key: Key) -> bool:
        with self._session.transaction():
            return self._leases.hurry(key)

    def canonical(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[Fields]:
        return [fields for fields, _ in self._session.canonical(rows, table)]

    def intend(self, lease: Lease, intent: Intent) -> None:
        with self._session.transaction() as connection:
            self._leases.hold(lease)
            values = [*lease.key, intent.operation, intent.remote_id, intent.content, lease.changes, self._leases.by]
            connection.execute(_INTEND, values)

    def withdraw(self, lease: Lease, linked: Linked | None = None) -> None:
        with self._session.transaction() as connection:
            self._leases.hold(lease)
            if linked is not None:
                self._link(lease.key, linked)
                if linked.alive:
                    self._call_children(lease.key)
            connection.execute(_WITHDRAW, [*lease.key])

    def record(self, told: Told) -> None:
        lease, due = told.due.lease, told.due
        with self._session.transaction() as connection:
            # In the order in which they are locked by who writes what the hub says: sides, then the queue.
            if due.backlog is not None and told.backlog is not None:
                connection.execute(_SETTLE, [told.backlog, self._destination.source, *lease.key, due.backlog])
            self._leases.hold(lease)
            if told.seen is not None:
                if told.over is not None:
                    self._not_overtaken(lease.key, told.over)
                self._session.seen.write(lease.key, told.seen)
            if due.intent is not None or told.linked != due.linked:  # else others may know more by now
                self._link(lease.key, told.linked)
            connection.execute(_WITHDRAW, [*lease.key])
            self._leases.finish(lease)
            if told.linked.alive and not due.linked.alive:
                self._call_children(lease.key)
            self._answer(due, told.outcome, told.details)

    def saw(self, lease: Lease, seen: Seen, over: Over) -> None:
        with self._session.transaction():
            self._leases.hold(lease)
            self._not_overtaken(lease.key, over)
            self._session.seen.write(lease.key, seen)

    def _not_overtaken(self, key: Key, over: Over) -> None:
        """Whoever has begun to read it before this is told so, as by a write of ours. Raises Overtaken."""
        self._connection.execute(_LOOKED, [*key])
        now, before = self._session.seen.present(key), over.row
        if (now is None) != (before is None) or any(
            (now or {}).get(name) != value for name, value in (before or {}).items()
        ):
            raise Overtaken

    def postpone(self, leases: Sequence[Lease], seconds: float, *, tried: bool) -> None:
        with self._session.transaction():
            self._leases.postpone(leases, seconds, tried=tried)

    def refuse(self, due: Due, code: str, reason: str, details: Mapping[str, Any], *, linked: Linked) -> None:
        with self._session.transaction() as connection:
            self._leases.hold(due.lease)
            self._link(due.lease.key, linked)
            connection.execute(_WITHDRAW, [*due.lease.key])
            self._leases.refuse(due.lease, code, reason)
            # The service's words may quote a value: they are kept with the key, and not in the audit log.
            told = {**details, "kind": "refused", "code": code}
            self._tell([Change(*due.lease.key, PARKED, told, list(due.events))])

    def wait(self, seconds: float) -> None:
        with self._session.transaction():
            until = min(seconds, self._leases.next_due([one.table for one in self._mirrored]))
        self._session.wait(until)

    def close(self) -> None:
        self._session.close()

    def _link(self, key: Key, linked: Linked) -> None:
        sent = orjson.dumps(dict(linked.sent), option=orjson.OPT_SORT_KEYS).decode()
        values = [linked.remote_id, linked.version, sent, linked.side, linked.alive]
        self._connection.execute(_LINK, [*key, *values])

    def _call_children(self, key: Key) -> None:
        """Rows that name one whose record has come are told once more, with that, which may be another than before."""
        (value,) = orjson.loads(key.text).values()
        for one in self._mirrored:
            for column, table in one.references.items():
                if table == key.table:
                    statement = _CALL.format(
                        table=sql.Identifier(*one.wanted.split(".", 1)), column=sql.Identifier(column),
                        key=sql.Identifier(one.key),
                    )  # fmt: skip
                    values = {"table": one.table, "name": orjson.dumps(one.key).decode(), "key": str(value)}
                    self._connection.execute(statement, {**values, "column": column})

    def _answer(self, due: Due, outcome: str, details: Mapping[str, Any]) -> None:
        """Of the events that have led to it, the last one was told, and the others in it."""
        if not due.events:
            return
        topics, partitions, offsets = zip(*due.events, strict=True)
        values = [list(topics), list(partitions), list(offsets), *due.lease.key]
        self._connection.execute(_FORGET_EVENTS, values)
        *earlier, last = due.events
        changes = [Change(*due.lease.key, COLLAPSED, {"into": list(last)}, earlier)] if earlier else []
        self._tell([*changes, Change(*due.lease.key, outcome, dict(details), [last])])

    def _tell(self, changes: list[Change]) -> None:
        tell_changes(self._connection, self._destination, changes)


def _linked(remote_id: str | None, version: str | None, sent: str | None, side: str | None, alive: bool) -> Linked:
    return Linked(remote_id, version, orjson.loads(sent) if sent else {}, side, alive)
