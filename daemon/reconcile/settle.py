"""Telling a difference from a change in flight.

A round reads a key in the source, writes a mark, waits until the target has applied what came before the mark, and
reads the key in the target. Equal: no difference. Otherwise the key goes into the next round, and it is a difference
once two rounds in a row have met the same version of the row on both sides: then the source stood still while the
target was read, and the target stood still past a mark that is younger than what the source showed. One round alone
would be deceived by a commit that the log, and so the target, has before the source shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daemon.reconcile.fields import differing_fields
from daemon.reconcile.lane import Lane
from daemon.reconcile.report import Difference, Values
from daemon.reconcile.rows import Key, Rows, Version
from daemon.reconcile.shape import Comparison

ROUNDS = 10
DESCRIBED_AT_ONCE = 50


class Look(NamedTuple):
    """What one round saw of a key; None where there is no row."""

    source: Version | None
    target: Version | None

    @property
    def alike(self) -> bool:
        ours, theirs = self.source, self.target
        return ours is theirs if ours is None or theirs is None else ours.digest == theirs.digest


class Settled(NamedTuple):
    """The keys that differ, and those that would not stand still."""

    differences: dict[Key, Difference]
    changing: list[Key]


class Settler:
    """Settles the keys of one table that were met with different rows."""

    def __init__(self, comparison: Comparison, source: Rows, target: Rows, lane: Lane, *, show_values: bool) -> None:
        self._key = comparison.key
        self._source = source
        self._target = target
        self._lane = lane
        self._show_values = show_values

    def settle(self, keys: Sequence[Key]) -> Settled:
        """Sort keys into differences and keys still changing; the rest is the same on both sides."""
        differences: dict[Key, Difference] = {}
        pending = list(dict.fromkeys(keys))
        before: dict[Key, Look] = {}
        for _ in range(ROUNDS):
            if not pending:
                break
            passed, looks = self._round(pending)
            steady = {key: look for key, look in looks.items() if not passed or before.get(key) == look}
            described = self._describe(steady)
            differences |= {key: found for key, found in described.items() if found}
            before = looks
            pending = [key for key in looks if key not in described]
        return Settled({key: differences[key] for key in dict.fromkeys(keys) if key in differences}, pending)

    def _round(self, keys: Sequence[Key]) -> tuple[bool, dict[Key, Look]]:
        """Whether the target passed the mark, and the keys that still differ."""
        ours = self._source.versions(keys)
        passed = self._lane.pass_mark()
        theirs = self._target.versions(keys)
        looks = {key: Look(ours.get(key), theirs.get(key)) for key in keys}
        return passed, {key: look for key, look in looks.items() if not look.alike}

    def _describe(self, looks: Mapping[Key, Look]) -> dict[Key, Difference | None]:
        """The difference of each key, None where values are equal after all; without the keys that changed again."""
        described: dict[Key, Difference | None] = {}
        both = []
        for key, look in looks.items():
            if look.source and look.target:
                both.append(key)
            else:
                described[key] = Difference(self._named(key), "only_in_source" if look.source else "only_in_target")
        for first in range(0, len(both), DESCRIBED_AT_ONCE):
            described |= self._describe_fields(both[first : first + DESCRIBED_AT_ONCE], looks)
        return described

    def _describe_fields(self, keys: Sequence[Key], looks: Mapping[Key, Look]) -> dict[Key, Difference | None]:
        ours, theirs = self._source.fields(keys), self._target.fields(keys)
        steady = [
            key
            for key in keys
            if (a := ours.get(key)) and (b := theirs.get(key)) and _xmins(looks[key]) == (a.xmin, b.xmin)
        ]
        ours = {key: ours[key] for key in steady}
        found = differing_fields(self._source.side, self._source.columns, ours, theirs)
        return {key: self._difference(key, fields) if fields else None for key, fields in found.items()}

    def _difference(self, key: Key, fields: dict[str, Values]) -> Difference:
        return Difference(self._named(key), "differs", tuple(fields), fields if self._show_values else None)

    def _named(self, key: Key) -> dict[str, str]:
        return dict(zip(self._key, key, strict=True))


def _xmins(look: Look) -> tuple[str | None, str | None]:
    return look.source and look.source.xmin, look.target and look.target.xmin
