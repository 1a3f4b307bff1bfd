"""What the state database keeps for the relay of one target: how far it is, and who it is."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import orjson
import psycopg

from connectors.contract import Partition
from daemon.audit import chain
from daemon.audit.entry import Draft, Head
from daemon.audit.telling import Key
from daemon.audit.values import Row, recalled
from daemon.errors import Fenced, Unavailable

RECALLED = 5
"""Entries of a key that are looked at for what its row was."""

_CLAIM = """
INSERT INTO placemat.audit_relays AS relay (target, epoch) VALUES (%s, 1)
ON CONFLICT (target) DO UPDATE SET epoch = relay.epoch + 1 RETURNING epoch, relayed, era
"""
_RELAYED = "UPDATE placemat.audit_relays SET relayed = %s WHERE target = %s AND epoch = %s"
_BEGIN = "UPDATE placemat.audit_relays SET era = %s WHERE target = %s"
_FORGET = "DELETE FROM placemat.audit_places WHERE target = %s"
_PLACES = 'SELECT topic, "partition", next_offset, since FROM placemat.audit_places WHERE target = %s'
_MOVE = """
INSERT INTO placemat.audit_places (target, topic, "partition", next_offset, since)
SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[])
ON CONFLICT (target, topic, "partition") DO UPDATE SET next_offset = EXCLUDED.next_offset, since = EXCLUDED.since
"""
_RECALL = """
SELECT asked.entity, asked.key, found.op, found.outcome, content
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS asked (entity, key, since)
CROSS JOIN LATERAL (
    SELECT sequence, month, op, outcome FROM placemat.audit_entries AS entry
    WHERE entry.entity = asked.entity AND entry.key = asked.key AND entry.target = %s AND kind = 'event'
      AND outcome <> 'dropped' AND sequence >= asked.since
    ORDER BY sequence DESC LIMIT %s
) AS found
LEFT JOIN placemat.audit_values AS kept ON kept.sequence = found.sequence AND kept.month = found.month
ORDER BY asked.entity, asked.key, found.sequence DESC
"""
_ERASED = """
SELECT 1 FROM placemat.audit_entries
WHERE kind = 'action' AND op = 'erase' AND outcome = 'done' AND sequence > %s LIMIT 1
"""


class Ledger:
    """One relay's, from its claim on. Every method raises psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any], target: str) -> None:
        """Fences every earlier relay of this target."""
        self._connection = connection
        self._target = target
        row = connection.execute(_CLAIM, [target]).fetchone()
        assert row is not None, "an upsert returns its row"
        self._epoch: int = row[0]
        self.relayed: list[int] = row[1]
        """Outbox rows that have their entries, and may not be deleted yet."""
        self._stored_era: int = row[2]
        self.era = self._stored_era
        """Of the rows that are entered."""
        places = connection.execute(_PLACES, [target]).fetchall()
        connection.commit()
        self.next_offsets: dict[Partition, int] = {(topic, number): at for topic, number, at, _ in places}
        self._since: dict[Partition, int] = {(topic, number): since for topic, number, _, since in places}
        self._recalled_at: int | None = None
        """Newest entry when rows were first recalled for what is entered next."""

    def begin(self, era: int) -> None:
        """Rows of another era of the source come now: in a topic that was made anew, offsets count anew."""
        self.era = era
        self.next_offsets, self._since = {}, {}

    def recall(self, keys: Mapping[Key, Partition]) -> dict[Key, Row | None]:
        """What earlier entries tell of the rows of these keys, whose events stand in these partitions."""
        found: dict[Key, list[tuple[str, str, str | None]]] = {key: [] for key in keys}
        if keys and self._recalled_at is None:
            self._recalled_at = chain.read_head(self._connection).sequence
        if keys:
            since = [self._since.get(partition, 0) for partition in keys.values()]
            asked = [[entity for entity, _ in keys], [key for _, key in keys], since]
            for entity, key, *entry in self._connection.execute(_RECALL, [*asked, self._target, RECALLED]).fetchall():
                found[entity, key].append((entry[0], entry[1], entry[2]))
            self._connection.commit()
        return {key: recalled(entries) for key, entries in found.items()}

    def append(self, drafts: Sequence[Draft], relayed: Collection[int]) -> Head:
        """Enter what these outbox rows say, in one transaction. Raises Fenced when another relay has taken over."""
        next_offsets, since = dict(self.next_offsets), dict(self._since)
        with self._connection.transaction():
            head = chain.lock_head(self._connection)
            ids = orjson.dumps(sorted(relayed)).decode()
            if self._connection.execute(_RELAYED, [ids, self._target, self._epoch]).rowcount != 1:
                raise Fenced(f"another relay of target {self._target} has taken over")
            self._check_erasures(head)
            if self.era != self._stored_era:
                self._connection.execute(_BEGIN, [self.era, self._target])
                self._connection.execute(_FORGET, [self._target])
            kept: list[Draft] = []
            for draft in drafts:
                if draft.topic is not None and draft.partition is not None and draft.offset is not None:
                    place = draft.topic, draft.partition
                    expected = next_offsets.get(place)
                    if expected is not None and draft.offset < expected:
                        continue  # it has its entry
                    if expected is None or draft.offset > expected:
                        since[place] = head.sequence + len(kept) + 1
                    next_offsets[place] = draft.offset + 1
                kept.append(draft)
            head = chain.append(self._connection, kept, head)
            moved = [key for key, at in next_offsets.items() if at != self.next_offsets.get(key)]
            rows = [(*key, next_offsets[key], since[key]) for key in moved]
            if rows:
                self._connection.execute(_MOVE, [self._target, *(list(column) for column in zip(*rows, strict=True))])
        self._stored_era = self.era
        self.next_offsets, self._since = next_offsets, since
        self.relayed = sorted(relayed)
        return head

    def _check_erasures(self, head: Head) -> None:
        """What was recalled may have been erased meanwhile: then it must not come back."""
        recalled_at, self._recalled_at = self._recalled_at, None
        if recalled_at is None or head.sequence == recalled_at:
            return
        if self._connection.execute(_ERASED, [recalled_at]).fetchone():
            raise Unavailable("values were erased while they were needed")


@contextmanager
def turn(connection: psycopg.Connection[Any], target: str) -> Iterator[bool]:
    """Whether it is this process's turn to relay a target: one session at a time has it, as long as it lives."""
    (number,) = struct.unpack("<q", sha256(f"placemat audit {target}".encode()).digest()[:8])
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
    connection.commit()
    yield bool(row and row[0])
