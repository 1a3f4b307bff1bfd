"""What is kept at the hub, beside its rows: read and stored within the open transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from connectors.contract import Record
from connectors.postgres.bookkeeping import MAIN_LANE
from connectors.postgres.two_way.changes import Key
from schemas.position import START, Position
from schemas.resolution import Kept, Listed

LOCK_CLASS = 0x706C6168
"""First of the two numbers of the advisory lock; the second tells hubs apart."""
LAST = 0xFFFFFFFFFF
"""Behind every place of a transaction."""

_STATES = """
SELECT table_name, key, state FROM placemat.hub_rows
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_LINKS = """
SELECT table_name, key, spoke, state FROM placemat.links
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_CONFLICTS = """
SELECT table_name, key, state FROM placemat.conflicts
WHERE (table_name, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_STORE_STATES = """
INSERT INTO placemat.hub_rows (table_name, key, state) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
ON CONFLICT (table_name, key) DO UPDATE SET state = EXCLUDED.state
"""
_STORE_LINKS = """
INSERT INTO placemat.links (table_name, key, spoke, state)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT (table_name, key, spoke) DO UPDATE SET state = EXCLUDED.state
"""
_STORE_CONFLICTS = """
INSERT INTO placemat.conflicts AS known (table_name, key, state, waits)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[])
ON CONFLICT (table_name, key) DO UPDATE SET state = EXCLUDED.state, waits = EXCLUDED.waits, changed_at = now(),
    opened_at = CASE WHEN known.waits THEN known.opened_at ELSE now() END,
    notified_at = CASE WHEN known.waits THEN known.notified_at END
"""
_LIST = """
INSERT INTO placemat.conflict_log (spoke, table_name, key, field, kind, rule, resolution, won, base, ours, theirs,
    ours_at, theirs_at, topic, partition, "offset")
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    to_timestamp(%s / 1000000.0), to_timestamp(%s / 1000000.0), %s, %s, %s) RETURNING id
"""
# The planner takes the index of what is pending only where its condition stands in the statement.
PLACE_DECISION = """
UPDATE placemat.decisions SET version = %s
WHERE version = %s AND version LIKE '"%%' AND table_name = %s AND key = %s
"""
_OBSERVED = "SELECT timeline, commit_lsn::bigint FROM placemat.lanes WHERE source = %s AND lane = %s"
_SHOWN = """
SELECT key FROM placemat.links WHERE table_name = %s AND spoke = %s AND key > %s AND state::jsonb ? 'shadow'
ORDER BY key LIMIT %s
"""
_ALIVE = """
SELECT key FROM placemat.hub_rows WHERE table_name = %s AND key > %s
  AND state LIKE '{"alive":true%%' ORDER BY key LIMIT %s
"""


@dataclass(slots=True)
class Known:
    """Of some keys: states, links by spoke, and what waits for a person, by the hub's table and key."""

    states: dict[Key, str] = field(default_factory=dict)
    links: dict[Key, dict[str, str]] = field(default_factory=dict)
    conflicts: dict[Key, str] = field(default_factory=dict)


class HubStore:
    """One per session. `hub` is the hub's name among the sources."""

    def __init__(self, connection: psycopg.Connection[Any], hub: str) -> None:
        self._connection = connection
        self._hub = hub

    def hold(self) -> None:
        """Nobody else changes what is kept until this transaction ends. Rows are locked before, never after."""
        self._connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_CLASS, self._hub])

    def observed(self) -> Position:
        """Through where the hub's own stream was observed."""
        row = self._connection.execute(_OBSERVED, [self._hub, MAIN_LANE]).fetchone()
        return START if row is None else Position(row[0], row[1], LAST)

    def read(self, keys: Collection[Key]) -> Known:
        names = [[table for table, _ in keys], [key for _, key in keys]]
        known = Known()
        for table, key, state in self._connection.execute(_STATES, names):
            known.states[table, key] = state
        for table, key, spoke, state in self._connection.execute(_LINKS, names):
            known.links.setdefault((table, key), {})[spoke] = state
        for table, key, state in self._connection.execute(_CONFLICTS, names):
            known.conflicts[table, key] = state
        return known

    def store_states(self, states: Mapping[Key, str]) -> None:
        self._store(_STORE_STATES, [(*key, state) for key, state in states.items()])

    def store_links(self, links: Mapping[Key, Mapping[str, str]]) -> None:
        self._store(
            _STORE_LINKS, [(*key, spoke, state) for key, some in links.items() for spoke, state in some.items()]
        )

    def store(self, spoke: str, kept: Mapping[Key, Kept]) -> None:
        """What was decided of one spoke's rows."""
        self.store_states({key: one.state for key, one in kept.items() if one.state is not None})
        self.store_links({key: {spoke: one.link} for key, one in kept.items() if one.link is not None})
        waiting = [(*key, one.conflict, one.waits) for key, one in kept.items() if one.conflict is not None]
        self._store(_STORE_CONFLICTS, waiting)

    def list_conflicts(self, spoke: str, key: Key, listed: Iterable[Listed], record: Record) -> list[int]:
        """The number of each."""
        numbers = []
        for one in listed:
            row = self._connection.execute(
                _LIST,
                [spoke, *key, one.field, one.kind, one.rule, one.resolution, one.won, one.base, one.ours, one.theirs,
                 one.ours_at, one.theirs_at, record.topic, record.partition, record.offset],
            ).fetchone()  # fmt: skip
            assert row is not None, "an insert returns its row"
            numbers.append(int(row[0]))
        return numbers

    def place_decision(self, key: Key, mark: str, position: Position) -> None:
        """What a person has decided stands there in the hub's stream."""
        version = f"[{position.timeline},{position.commit_lsn},{position.ordinal}]"
        self._connection.execute(PLACE_DECISION, [version, f'"{mark}"', *key])

    def alive(self, table: str, after: str, most: int) -> list[str]:
        """Keys of rows that are there, a page of them."""
        return [key for (key,) in self._connection.execute(_ALIVE, [table, after, most])]

    def shown(self, spoke: str, table: str, after: str, most: int) -> list[str]:
        """Keys of rows that a spoke has, as its stream shows it; a page of them."""
        return [key for (key,) in self._connection.execute(_SHOWN, [table, spoke, after, most])]

    def _store(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        if columns := list(map(list, zip(*rows, strict=True))):
            self._connection.execute(statement.encode(), columns)
