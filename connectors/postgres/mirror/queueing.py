"""Which events have led to what waits in the queue of a mirror: the service's answer is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import psycopg

from connectors.contract import Partition, Record
from schemas.outbox import DELETED, REDRIVEN, REMEMBERED, TAKEN, Others, Outbox, Range, Taken

_QUEUE = """
WITH events AS (
    SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::boolean[])
             AS e (topic, partition, "offset", table_name, key, live)
), kept AS (
    INSERT INTO placemat.queue_events (topic, partition, "offset", table_name, key)
    SELECT topic, partition, "offset", table_name, key FROM events ON CONFLICT DO NOTHING
)
INSERT INTO placemat.queue AS q (table_name, key, bulk)
SELECT table_name, key, NOT bool_or(live) FROM events GROUP BY table_name, key
ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1, bulk = q.bulk AND EXCLUDED.bulk
"""


class _Head(msgspec.Struct):
    op: str


_head = msgspec.json.Decoder(_Head).decode
Told = tuple[str, int, int, str, str, bool]
"""Topic, partition, offset, table, key, and whether it is a change, and no copy."""


class Queueing:
    """Since the begin of a transaction. `tables` are those that are routed, by topic."""

    def __init__(self, tables: Mapping[str, str]) -> None:
        self._tables = tables
        self.forget()

    def forget(self) -> None:
        """The transaction was rolled back, or has ended."""
        self._taken: dict[Partition, dict[int, tuple[str, bool]]] = {}
        """By partition and offset: the key, and whether it is a change."""

    def take(self, record: Record) -> None:
        """This record is written now."""
        if record.topic in self._tables:
            told = record.key.decode(), _head(record.value).op != "r"
            self._taken.setdefault((record.topic, record.partition), {})[record.offset] = told

    def store(self, connection: psycopg.Connection[Any], content: Outbox) -> Outbox:
        """Queue what has changed the mirror, and say that it has done no more than that."""
        found: list[Told] = []
        partitions = []
        for one in content.partitions:
            changed = [*one.applied, *(way for other in one.others if other.outcome == DELETED for way in other.ranges)]
            found += self._told((one.topic, one.partition), changed)
            partitions.append(_no_more_than(TAKEN if one.topic in self._tables else REMEMBERED, one))
        for change in content.changes:
            if change.outcome == REDRIVEN:
                found += [(*place, change.table, change.key, True) for place in change.events]
        if found:
            connection.execute(_QUEUE, list(map(list, zip(*found, strict=True))))
        return msgspec.structs.replace(content, partitions=partitions)

    def _told(self, partition: Partition, ranges: Iterable[Range]) -> list[Told]:
        topic, number = partition
        taken = self._taken.get(partition, {})
        offsets = [offset for first, after in ranges for offset in range(first, after) if offset in taken]
        return [(topic, number, offset, self._tables[topic], *taken.pop(offset)) for offset in offsets]


def _no_more_than(outcome: str, one: Taken) -> Taken:
    if not one.applied:
        return one
    return msgspec.structs.replace(one, applied=[], others=[Others(outcome, one.applied), *one.others])
