"""Which rows of a snapshot may be published: pure.

A commit is in the log, and in the topics, before other sessions see it. A SELECT that does not see it yet returns the
row as it was before, and published after the change it would put the older row over the newer one. So every key that a
streamed transaction touched which the SELECT's own snapshot does not see is read again.

Source: delivery protocol, steps S1 and S3, and "Capture, per transaction" step 3.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

WHOLE_TABLE_AFTER = 10_000
"""Keys of one transaction in one table beyond which the table counts as touched whole: memory stays flat."""
MOST_TOUCHES = 20_000
"""Keys and tables, of all transactions together, beyond which only the tables that each touched are remembered: memory
stays flat through a SELECT of minutes."""

_XID_RANGE = 1 << 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one statement sees: all below `xmax` but those in progress. Numbers are 64 bits wide."""

    xmin: int
    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read `pg_current_snapshot()::text`, such as `10:20:10,14`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def sees(self, xid: int) -> bool:
        """The transaction (64 bits) had ended when the snapshot was taken."""
        return xid < self.xmax and xid not in self.in_progress

    def sees_short(self, xid: int) -> bool:
        """As `sees`, for the 32 bits of the replication stream: the nearest transaction of that number is meant."""
        near = (self.xmax & ~(_XID_RANGE - 1)) | xid
        if near - self.xmax > _XID_RANGE // 2:
            near -= _XID_RANGE
        elif self.xmax - near > _XID_RANGE // 2:
            near += _XID_RANGE
        return self.sees(near)


@dataclass(slots=True)
class _Touched:
    """What one streamed transaction touched: keys by table, and tables as a whole."""

    xid: int
    keys: dict[str, set[int]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)

    @property
    def touches(self) -> int:
        return len(self.tables) + sum(map(len, self.keys.values()))


class Visibility:
    """The streamed transactions that some snapshot may not see yet.

    `unknown` are the transactions in progress when the stream began: one of them may be committed in the log, streamed
    before this process began, and still unseen.
    """

    def __init__(self, unknown: Iterable[int]) -> None:
        self._unknown = set(unknown)
        self._streamed: list[_Touched] = []
        self._touches = 0
        self._whole: dict[str, array[int]] = {}
        """Older transactions, by the tables that they touched."""
        self._current = _Touched(0)
        self._kept_for: tuple[Snapshot, ...] = ()

    def begin(self, xid: int) -> None:
        self._current = _Touched(xid)

    def touch(self, table: str, key: Hashable) -> None:
        current = self._current
        keys = current.keys.setdefault(table, set())
        if table not in current.tables:
            keys.add(hash(key))
            if len(keys) > WHOLE_TABLE_AFTER:
                self.touch_all(table)

    def touch_all(self, table: str) -> None:
        self._current.tables.add(table)
        self._current.keys.pop(table, None)

    def commit(self) -> None:
        current = self._current
        self._unknown = {xid for xid in self._unknown if xid % _XID_RANGE != current.xid}
        if current.keys or current.tables:
            self._streamed.append(current)
            self._touches += current.touches
            if self._touches > MOST_TOUCHES:
                self._forget_keys()

    def waits_for(self, snapshot: Snapshot) -> int | None:
        """A transaction that must end before this snapshot may serve, or None when it may."""
        self._unknown = {xid for xid in self._unknown if not snapshot.sees(xid)}
        return min(self._unknown, default=None)

    def dirty(self, table: str, snapshot: Snapshot) -> Callable[[Hashable], bool]:
        """Tells of a key whether a streamed transaction that the snapshot does not see touched it."""
        unseen = [one for one in self._streamed if not snapshot.sees_short(one.xid)]
        older = reversed(self._whole.get(table, ()))  # what is not seen is most likely among the newest
        if any(table in one.tables for one in unseen) or not all(map(snapshot.sees_short, older)):
            return lambda _: True
        touched = set().union(*(one.keys.get(table, ()) for one in unseen))
        return lambda key: hash(key) in touched

    def touched(self, table: str, snapshot: Snapshot) -> bool:
        """A streamed transaction that the snapshot does not see touched any key of the table."""
        unseen = (one for one in self._streamed if not snapshot.sees_short(one.xid))
        if any(table in one.tables or table in one.keys for one in unseen):
            return True
        return not all(map(snapshot.sees_short, self._whole.get(table, ())))

    def forget(self, *snapshots: Snapshot) -> None:
        """Drop what all of these see: every snapshot in use, or when there is none, one that was taken now."""

        def needed(xid: int) -> bool:
            return not all(each.sees_short(xid) for each in snapshots)

        self._streamed = [one for one in self._streamed if needed(one.xid)]
        self._touches = sum(one.touches for one in self._streamed)
        if snapshots != self._kept_for:
            kept = {table: array("I", filter(needed, xids)) for table, xids in self._whole.items()}
            self._whole = {table: xids for table, xids in kept.items() if xids}
            self._kept_for = snapshots

    def unseen(self, snapshot: Snapshot) -> frozenset[int]:
        """Streamed transactions, of 32 bits, that the snapshot does not see yet."""
        xids = itertools.chain((one.xid for one in self._streamed), *self._whole.values())
        return frozenset(xid for xid in xids if not snapshot.sees_short(xid))

    @property
    def remembers(self) -> bool:
        """There are transactions that some snapshot may not see yet."""
        return bool(self._streamed or self._whole)

    def _forget_keys(self) -> None:
        for one in self._streamed:
            for table in one.keys.keys() | one.tables:
                self._whole.setdefault(table, array("I")).append(one.xid)
        self._streamed, self._touches = [], 0
