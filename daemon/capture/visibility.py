"""Which rows of a snapshot may be published: pure.

A commit is in the log, and in the topics, before other sessions see it. A SELECT that does not see it yet returns the
row as it was before, and published after the change it would put the older row over the newer one. So every key that a
streamed transaction touched which the SELECT's own snapshot does not see is read again.

Source: delivery protocol, steps S1 and S3, and "Capture, per transaction" step 3.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

WHOLE_TABLE_AFTER = 10_000
"""Keys of one transaction in one table beyond which the table counts as touched whole: memory stays flat."""

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


class Visibility:
    """The streamed transactions that some snapshot may not see yet.

    `unknown` are the transactions in progress when the stream began: one of them may be committed in the log, streamed
    before this process began, and still unseen.
    """

    def __init__(self, unknown: Iterable[int]) -> None:
        self._unknown = set(unknown)
        self._streamed: list[_Touched] = []
        self._current = _Touched(0)

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

    def waits_for(self, snapshot: Snapshot) -> int | None:
        """A transaction that must end before this snapshot may serve, or None when it may."""
        self._unknown = {xid for xid in self._unknown if not snapshot.sees(xid)}
        return min(self._unknown, default=None)

    def dirty(self, table: str, key: Hashable, snapshot: Snapshot) -> bool:
        """A streamed transaction that the snapshot does not see touched this key."""
        digest = hash(key)
        return any(
            (table in one.tables or digest in one.keys.get(table, ())) and not snapshot.sees_short(one.xid)
            for one in self._streamed
        )

    def forget(self, *snapshots: Snapshot) -> None:
        """Drop what all of these see: every snapshot in use, or when there is none, one that was taken now."""
        self._streamed = [one for one in self._streamed if not all(each.sees_short(one.xid) for each in snapshots)]

    def unseen(self, snapshot: Snapshot) -> frozenset[int]:
        """Streamed transactions, of 32 bits, that the snapshot does not see yet."""
        return frozenset(one.xid for one in self._streamed if not snapshot.sees_short(one.xid))

    @property
    def remembered(self) -> int:
        """Transactions that some snapshot may not see yet."""
        return len(self._streamed)
