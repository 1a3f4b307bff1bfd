"""A service as `placemat replay` writes it: its mirror, and what it has itself otherwise than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from connectors.contract import Expected, Finding, FindingKind, Partition, Refusal, RetellTarget
from connectors.pushing import Key
from daemon.reconcile.report import Difference

FEW_ROWS = 20
"""So many are looked at one by one; more, and all that the service has of the table is read."""
_KINDS: Mapping[str, FindingKind] = {"only_in_source": "missing", "differs": "differs", "only_in_target": "extra"}

Differences = Callable[[str, Sequence[Key] | None], Mapping[Key, Difference]]
"""Of a table, or of these keys of it, what a service has otherwise than its mirror."""


class ServiceReplay:
    """See `connectors.contract.ReplayTarget`. What the service has is read before any transaction."""

    def __init__(self, mirror: RetellTarget, differences: Differences) -> None:
        self._mirror = mirror
        self._differences = differences
        self._found: dict[str, dict[bytes, Difference]] = {}
        self._whole: set[str] = set()
        """Tables of which all was read."""
        self._seen: set[tuple[str, bytes]] = set()
        self._retold: list[tuple[str, bytes]] = []

    def open(self) -> list[str]:
        return self._mirror.open()

    def taken(self) -> dict[Partition, int]:
        return self._mirror.taken()

    def begin(self) -> dict[Partition, int]:
        return self._mirror.begin()

    def compare(self, table: str, rows: Sequence[Expected]) -> list[Finding]:
        findings = self._mirror.compare(table, rows)
        self._look(table, [row.key for row in rows])
        there = {one.key for one in findings}
        differ = self._found[table]
        wrong = [row.key for row in rows if row.key in differ and row.key not in there]
        return [*findings, *(Finding(key, _KINDS[differ[key].kind], differ[key].fields) for key in wrong)]

    def _look(self, table: str, keys: Sequence[bytes]) -> None:
        unseen = [key for key in keys if (table, key) not in self._seen]
        if not unseen or table in self._whole:
            return
        few = [Key(table, key.decode()) for key in unseen] if len(unseen) <= FEW_ROWS else None
        if few is None:
            self._whole.add(table)
        self._seen |= {(table, key) for key in unseen}
        self._found.setdefault(table, {}).update(
            (key.text.encode(), one)
            for key, one in self._differences(table, few).items()
            if one.kind in _KINDS and one.parked_id is None and one.waits is None
        )

    def write(self, table: str, rows: Sequence[Expected]) -> list[Refusal]:
        refused = self._mirror.write(table, rows)
        back = {one.key for one in refused}
        asked = [row.key for row in rows if row.key in self._found.get(table, {}) and row.key not in back]
        if asked:
            self._mirror.retell(table, {key: next(iter(self._found[table][key].records), None) for key in asked})
            self._retold += [(table, key) for key in asked]
        return refused

    def commit(self) -> None:
        self._mirror.commit()
        for table, key in self._retold:
            self._found[table].pop(key, None)
        self._retold = []

    def rollback(self) -> None:
        self._mirror.rollback()
        self._retold = []

    def close(self) -> None:
        self._mirror.close()
