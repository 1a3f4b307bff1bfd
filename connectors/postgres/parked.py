"""The parked keys of one source, kept in the target and, for quick look-ups, in memory. Used within a transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psycopg

from connectors.contract import Record, Routing
from connectors.postgres.bookkeeping import Request
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.router import Router
from connectors.postgres.rows import Event, decode_change
from connectors.postgres.withheld import withhold, withholds
from schemas.outbox import PARKED, QUEUED
from schemas.position import START
from schemas.topics import messages_topic, table_topic

Kind = Literal["refused", "needs_full_row"]
OVERSIZE = "oversize"
"""Stands where an SQLSTATE would: the row is never asked for by itself, as it would be too large again."""
AMBIGUOUS = "ambiguous"
"""Stands there too: nobody can tell which row of the other side it is. It waits for a person, whatever comes."""
FOREIGN_KEY = "23503"
SHORT = 16
"""Behind a refused key: up to so many events, each may be the correction, and is tried at once."""
EVENTS_PER_SECOND = 128
"""A longer queue rests for a second per so many events: it is judged as a whole, and holds up all others meanwhile."""

_PARK = """
INSERT INTO placemat.parked (source, table_name, key, kind, sqlstate, reason) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (source, table_name, key) DO UPDATE
SET kind = EXCLUDED.kind, sqlstate = EXCLUDED.sqlstate, reason = EXCLUDED.reason, request = NULL, tried = 0
RETURNING id
"""
_QUEUE = """
INSERT INTO placemat.parked_events (parked_id, place, topic, partition, "offset", event)
SELECT %(id)s, coalesce(max(place), 0) + 1, %(topic)s, %(partition)s, %(offset)s, %(event)s
FROM placemat.parked_events WHERE parked_id = %(id)s RETURNING place
"""
_FORGET_ROWS = "DELETE FROM placemat.parked_events WHERE parked_id = %s AND topic <> %s"
_LOAD = """
SELECT table_name, key, id, kind, sqlstate, tried,
       coalesce((SELECT max(place) FROM placemat.parked_events WHERE parked_id = placemat.parked.id), 0)
FROM placemat.parked WHERE source = %s ORDER BY id
"""
_EVENTS = """
SELECT parked_id, topic, partition, "offset", event FROM placemat.parked_events
WHERE parked_id = ANY (%s) ORDER BY parked_id, place
"""
_ASKED = """
SELECT table_name, key, request FROM placemat.parked WHERE source = %s AND request IS NOT NULL ORDER BY id FOR UPDATE
"""
_REPLACE = """
WITH gone AS (DELETE FROM placemat.parked_events WHERE parked_id = %(id)s)
UPDATE placemat.parked SET tried = 0 WHERE id = %(id)s AND tried <> 0
"""
_FAILED = """
UPDATE placemat.parked AS one
SET attempts = attempts + 1, request = CASE WHEN %s THEN request END, sqlstate = %s, reason = now.reason,
    tried = now.tried
FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS now (id, reason, tried) WHERE one.id = now.id
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One parked key, with the places of the last event of its queue that was tried again, and of the last one."""

    id: int
    kind: Kind
    sqlstate: str | None
    tried: int = 0
    last: int = 0

    @property
    def is_long(self) -> bool:
        return self.kind == "refused" and self.sqlstate != AMBIGUOUS and self.last > SHORT

    @property
    def grown(self) -> bool:
        """Whether so much has come that all is tried again at once."""
        return self.last <= SHORT or self.last >= 2 * self.tried

    @property
    def rest_seconds(self) -> float:
        """After which all is tried again, if anything has come since it was tried."""
        return self.last / EVENTS_PER_SECOND

    @property
    def asks(self) -> bool:
        """Whether its row is to be asked for."""
        return self.kind == "needs_full_row" and self.sqlstate != OVERSIZE


Key = tuple[str, bytes]
"""Table, and record key."""


@dataclass(slots=True)
class Rests:
    """Since when keys with long queues are left alone, in seconds of the monotonic clock. It outlives sessions, which
    may end more often than such a queue rests."""

    began: float = field(default_factory=time.monotonic)
    tried_at: dict[Key, float] = field(default_factory=dict)
    """Of those that were tried since then."""

    def since(self, key: Key) -> float:
        return self.tried_at.get(key, self.began)


class Parked:
    """What stands in `placemat.parked` for one source; `load` again after a transaction was rolled back."""

    def __init__(
        self, connection: psycopg.Connection[Any], source: str, router: Router | None = None,
        routes: Mapping[str, Routing] | None = None, outcomes: Outcomes | None = None, rests: Rests | None = None,
    ) -> None:  # fmt: skip
        """`rests` is handed from one session of a target to the next."""
        self._connection = connection
        self.rests = rests or Rests()
        self._outcomes = outcomes or Outcomes(source, {}, wanted=False)
        self._source = source
        self._router = router
        self._private = {
            table_topic(source, *table.split(".", 1)): routing
            for table, routing in (routes or {}).items()
            if withholds(routing)
        }
        self.entries: dict[Key, Entry] = {}
        self.long: set[Key] = set()
        """Keys with long queues."""
        self.unparked: set[str] = set()
        """Tables of which a key was unparked since this was last emptied: their children may be welcome now."""

    def load(self) -> None:
        rows = self._connection.execute(_LOAD, [self._source])
        self.entries = {(table, key.encode()): Entry(*rest) for table, key, *rest in rows}
        self.long = {key for key, entry in self.entries.items() if entry.is_long}
        self.unparked = set()

    def refuse(self, event: Event, sqlstate: str, reason: str) -> None:
        """Park a key with the event that was refused; what was queued before is replaced, but for answers."""
        self._park((event.table, event.key), "refused", sqlstate, reason)
        self.queue((event.table, event.key), event.record)
        self._outcomes.note(event, PARKED, kind="refused", sqlstate=sqlstate, reason=reason)

    def need(self, key: Key, reason: str, sqlstate: str | None = None) -> None:
        """Park a key until its row comes whole; nothing stays queued but answers, which a row does not make up for."""
        self._park(key, "needs_full_row", sqlstate, reason)

    def queue(self, key: Key, record: Record) -> None:
        """Let an event wait behind its key."""
        routing = self._private.get(record.topic)
        value = record.value if routing is None else withhold(record.value, routing)
        self._outcomes.note(record, QUEUED)
        entry = self.entries[key]
        values = {"id": entry.id, "event": value.decode(), "topic": record.topic}
        given = {**values, "partition": record.partition, "offset": record.offset}
        row = self._connection.execute(_QUEUE, given).fetchone()
        assert row is not None, "an insert returns its row"
        self._set(key, replace(entry, last=row[0]))

    def replace(self, key: Key, record: Record) -> None:
        """Let an event wait behind its key, and nothing before it: it says all that there is to say of the row."""
        entry = self.entries[key]
        self._connection.execute(_REPLACE, {"id": entry.id})
        self._set(key, replace(entry, tried=0))
        self.queue(key, record)

    def unpark(self, *keys: Key) -> None:
        """These keys wait no more; their queues go with them."""
        ids = [self.entries.pop(key).id for key in keys]
        self._connection.execute("DELETE FROM placemat.parked WHERE id = ANY (%s)", [ids])
        self.long.difference_update(keys)
        self.unparked.update(table for table, _ in keys)

    def clear(self, tables: Iterable[str]) -> None:
        """No key of these tables waits any more: they are empty."""
        names = set(tables)
        if gone := [key for key in self.entries if key[0] in names]:
            self.unpark(*gone)

    def events(self, *keys: Key) -> list[Event]:
        """What waits behind each of the keys, in order."""
        by_id = {self.entries[key].id: key for key in keys}
        found = []
        for id_, topic, partition, offset, text in self._connection.execute(_EVENTS, [list(by_id)]).fetchall():
            (table, key), value = by_id[id_], text.encode()
            event = Event(table, Record(topic, partition, offset, START, key, value), decode_change(value))
            found.append(event if self._router is None else self._router.again(event))
        return found

    def failed(self, sqlstate: str, reasons: Mapping[Key, str], *, asked: bool = False) -> None:
        """Another try of these keys was refused; `asked`: that is what an operator gets to their request."""
        entries = {key: self.entries[key] for key in reasons}
        ids, places = [one.id for one in entries.values()], [one.last for one in entries.values()]
        self._connection.execute(_FAILED, [not asked, sqlstate, ids, list(reasons.values()), places])
        for key, entry in entries.items():
            self._set(key, replace(entry, sqlstate=sqlstate, tried=entry.last))

    def ask_again(self, key: Key) -> None:
        """An operator wants the row to be asked for, now."""
        entry = self.entries[key]
        self._connection.execute(
            "UPDATE placemat.parked SET attempts = attempts + 1, request = NULL, sqlstate = NULL WHERE id = %s",
            [entry.id],
        )
        self._set(key, replace(entry, sqlstate=None))

    def asked(self) -> list[tuple[Key, Request]]:
        """What operators have asked for."""
        rows = self._connection.execute(_ASKED, [self._source]).fetchall()
        asked = [((table, key.encode()), request) for table, key, request in rows]
        return [(key, request) for key, request in asked if key in self.entries]

    def _park(self, key: Key, kind: Kind, sqlstate: str | None, reason: str) -> None:
        values = [self._source, key[0], key[1].decode(), kind, sqlstate, reason]
        row = self._connection.execute(_PARK, values).fetchone()
        assert row is not None, "an upsert returns its row"
        before = self.entries.get(key)
        if before is not None:
            self._connection.execute(_FORGET_ROWS, [row[0], messages_topic(self._source)])
        self._set(key, Entry(row[0], kind, sqlstate, last=0 if before is None else before.last))

    def _set(self, key: Key, entry: Entry) -> None:
        self.entries[key] = entry
        if entry.is_long:
            self.long.add(key)
        else:
            self.long.discard(key)
