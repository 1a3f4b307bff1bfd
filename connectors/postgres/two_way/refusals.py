"""What the hub's own constraints keep out of its spokes' changes, for people: parked keys, named as at the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from connectors.conflicts import Filter, Refusal
from connectors.contract import Routing
from connectors.postgres.literals import JSON_NULL
from connectors.postgres.rows import Change, decode_change
from connectors.postgres.two_way.canonical import key_text
from schemas.resolution import Fields

_WAYS = """
FROM unnest(%(spokes)s::text[], %(tables)s::text[]) AS way (source, table_name)
JOIN placemat.parked AS p USING (source, table_name)
"""
_REFUSED = f"""
SELECT p.id, p.listed, l.kind, p.source, p.table_name, p.key, p.sqlstate, p.reason, p.parked_at, p.attempts, p.request,
       (SELECT count(*) FROM placemat.parked_events WHERE parked_id = p.id), p.notified_at, newest.op,
       CASE WHEN %(whole)s THEN newest.event END
{_WAYS}
LEFT JOIN placemat.conflict_log AS l ON l.id = p.listed AND l.theirs = p.reason
LEFT JOIN LATERAL (
    SELECT event::json ->> 'op' AS op, event FROM placemat.parked_events
    WHERE parked_id = p.id AND event::json ->> 'op' IN ('c', 'u', 'r', 'd') ORDER BY place DESC LIMIT 1
) AS newest ON true
WHERE p.kind = 'refused' AND
"""
_ORDER = "ORDER BY p.parked_at, p.id LIMIT %(most)s"
_UNTOLD = """
(p.notified_at IS NULL OR p.notified_at <= %(at)s) AND p.parked_at <= now() - make_interval(secs => %(settled)s)
"""
# One that is locked is being tried again at this moment: it is told of once more if it stays.
_NOTIFIED = """
UPDATE placemat.parked SET notified_at = %s
WHERE id IN (SELECT id FROM placemat.parked WHERE id = ANY (%s) FOR UPDATE SKIP LOCKED)
"""
_LISTED = "UPDATE placemat.parked SET listed = %s WHERE source = %s AND table_name = %s AND key = %s"
_DISCARDED = """
UPDATE placemat.conflict_log AS l SET resolution = 'discarded', won = 'ours'
FROM placemat.parked AS p WHERE l.id = p.listed AND p.source = %s AND p.table_name = %s AND p.key = %s
"""
_KINDS = {"23503": "fk_parent_missing", "ambiguous": "ambiguous"}


def kind_of(sqlstate: str | None, op: str) -> str:
    """The kind of conflict that it is when the hub refuses an event, as PostgreSQL and Spock name them."""
    if op == "d":
        return "delete_origin_differs"
    if sqlstate == "23505":
        return "insert_exists" if op == "c" else "update_exists"
    return _KINDS.get(sqlstate or "", "refused")


def note_listed(connection: psycopg.Connection[Any], number: int, spoke: str, table: str, key: bytes) -> None:
    """A parked key is told of by this entry of `placemat.conflict_log`."""
    connection.execute(_LISTED, [number, spoke, table, key.decode()])


def note_discarded(connection: psycopg.Connection[Any], spoke: str, table: str, key: bytes) -> None:
    """What is listed of a key that is parked still says that it does not come in any more."""
    connection.execute(_DISCARDED, [spoke, table, key.decode()])


@dataclass(frozen=True, slots=True)
class Way:
    """By which target a spoke's changes come to the hub; `routes` are of tables that go both ways, as the spoke names
    them."""

    target: str
    spoke: str
    routes: Mapping[str, Routing]


class HubRefusals:
    """See `connectors.conflicts.Refusals`; over a connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], ways: Iterable[Way]) -> None:
        self._connection = connection
        self._ways = {way.spoke: way for way in ways}

    def find(self, number: int) -> Refusal | None:
        found = self._read("p.id = %(id)s", Filter(), {"id": number})
        return found[0] if found else None

    def waiting(self, which: Filter, most: int | None = None) -> list[Refusal]:
        return self._read("true", which, {"most": most})

    def count(self, which: Filter) -> int:
        query = f"SELECT count(*) {_WAYS} WHERE p.kind = 'refused'"
        row = self._connection.execute(query.encode(), self._meant(which)).fetchone()
        return row[0] if row else 0

    def untold(self, told_before: datetime, settled_seconds: float) -> list[Refusal]:
        return self._read(_UNTOLD, Filter(), {"at": told_before, "settled": settled_seconds, "whole": False})

    def told(self, some: Sequence[Refusal], at: datetime) -> None:
        self._connection.execute(_NOTIFIED, [at, [one.number for one in some]])

    def _read(self, condition: str, which: Filter, parameters: Mapping[str, object]) -> list[Refusal]:
        query = f"{_REFUSED} {condition} {_ORDER}"
        given = {"most": None, "whole": True, **self._meant(which), **parameters}
        rows = self._connection.execute(query.encode(), given).fetchall()
        return [self._refusal(*row) for row in rows]

    def _meant(self, which: Filter) -> dict[str, list[str]]:
        """The tables that a filter means, by the names that they have where they come from."""
        meant = [
            (way.spoke, table)
            for way in self._ways.values()
            for table, routing in way.routes.items()
            if which.field is None
            and which.spoke in (None, way.spoke)
            and which.table in (None, routing.table or table)
        ]
        return {"spokes": [spoke for spoke, _ in meant], "tables": [table for _, table in meant]}

    def _refusal(
        self, number: int, listed: int | None, kind: str | None, spoke: str, table: str, key: str,
        sqlstate: str | None, reason: str, parked_at: datetime, attempts: int, request: str | None, events: int,
        notified_at: datetime | None, op: str | None, newest: str | None,
    ) -> Refusal:  # fmt: skip
        way = self._ways[spoke]
        routing = way.routes[table]
        name = key_text(key.encode(), routing.columns)
        # What it was listed as, unless it is refused for something else by now.
        what = kind or kind_of(sqlstate, op or "")
        row = _row(decode_change(newest.encode()), routing) if newest is not None else None
        return Refusal(
            number, listed, way.target, spoke, routing.table or table, name, what, sqlstate, reason, parked_at,
            attempts, request, events, notified_at, op, row,
        )  # fmt: skip


def _row(change: Change, routing: Routing) -> Fields | None:
    """By the hub's names, what may be shown there: an event that was parked by an older route may hold more."""
    if change.after is None:
        return None
    hidden = {*routing.masks, *(change.withheld or ())}
    return {
        routing.renamed(name): _text(raw)
        for name, raw in change.after.items()
        if not routing.leaves_out(name) and name not in hidden
    }


def _text(raw: msgspec.Raw) -> str | None:
    if raw is JSON_NULL:
        return "null"
    text = bytes(raw).decode()
    return None if text == "null" else text
