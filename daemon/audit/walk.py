"""Goes along the chain, entry by entry, and names where it is not what was written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from daemon.audit.entry import Entry, Values, values_hash
from daemon.audit.findings import AuditReport

FARTHEST = 200
"""Places by which an entry may have been moved, for it to be told from one that was altered."""
MOST_SEARCHED = 100
"""Entries that are searched for elsewhere: a log that is wrong throughout need not be searched for long."""


class Erasures(NamedTuple):
    """Which values entries say were erased. `until`: the newest of these entries, by entity and key, then by source
    (None: of any). `entries` are single ones, by number."""

    until: dict[tuple[str | None, str | None], dict[str | None, int]]
    entries: frozenset[int] = frozenset()
    all: bool = False

    @classmethod
    def of_all(cls) -> Erasures:
        """Where nobody can tell what was erased."""
        return cls({}, all=True)

    def cover(self, entry: Entry) -> bool:
        if self.all or entry.sequence in self.entries:
            return True
        until = self.until.get((entry.entity, entry.key), {})
        return any(
            entry.sequence < at and (source is None or entry.source in (None, source)) for source, at in until.items()
        )


class Walk:
    """One pass. `expected` is the number of the first entry, `previous` the hash before it, if that is known."""

    def __init__(self, report: AuditReport, erasures: Erasures, expected: int, previous: bytes | None) -> None:
        self._report = report
        self._erasures = erasures
        self._shift = 0
        """By how many places the entries stand elsewhere than when they were written."""
        self._searched = 0
        self.expected = expected
        self.previous = previous
        self.last: Entry | None = None

    def along(self, entries: Iterable[tuple[Entry, Values | None]]) -> Iterator[Entry]:
        """Check the entries in their order; each is handed on."""
        pairs = iter(entries)
        pair = next(pairs, None)
        while pair is not None:
            after = next(pairs, None)
            entry, values = pair
            self._step(entry, after[0] if after is not None else None)
            self._check_values(entry, values)
            self.last = entry
            yield entry
            pair = after

    def _step(self, entry: Entry, after: Entry | None) -> None:
        report = self._report
        report.entries += 1
        report.first = entry.sequence if report.first is None else report.first
        report.last = entry.sequence
        if entry.sequence > self.expected:
            self._missing(entry)
            self.previous = None
        elif entry.sequence < self.expected:
            report.find("inserted", entry.sequence, f"{entry.title} stands there twice: one of them was inserted")
        whole = entry.digest(entry.sequence + self._shift) == bytes(entry.hash)
        if not whole:
            self._place(entry, after)
        elif self.previous is not None and bytes(entry.previous) != self.previous:
            before = self.last or entry
            report.find(
                "altered", before.sequence,
                f"{before.title} was written anew: {entry.title} follows another one",
            )  # fmt: skip
        self.expected = entry.sequence + 1
        self.previous = bytes(entry.hash)

    def _missing(self, entry: Entry) -> None:
        first, last = self.expected, entry.sequence - 1
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        since = f"between {self.last.entered_at.isoformat()} and" if self.last is not None else "before"
        self._report.find("removed", first, f"{which} missing, written {since} {entry.entered_at.isoformat()}")

    def _place(self, entry: Entry, after: Entry | None) -> None:
        """An entry is not what its hash says: it may be another one's place."""
        shift = self._search(entry)
        if shift is None:
            self._report.find("altered", entry.sequence, f"{entry.title} was altered")
            return
        if after is not None and after.digest(after.sequence + shift) == bytes(after.hash):
            by = shift - self._shift
            count = "an entry was" if abs(by) == 1 else f"{abs(by)} entries were"
            moved = f"before {entry.title}: it was number {entry.sequence + shift} when it was written"
            if by > 0:
                self._report.find("removed", entry.sequence, f"{count} removed {moved}")
            else:
                self._report.find("inserted", entry.sequence + by, f"{count} inserted {moved}")
            self._shift = shift
        else:
            self._report.find(
                "moved", entry.sequence,
                f"{entry.title} was moved: it was number {entry.sequence + shift} when it was written",
            )  # fmt: skip

    def _search(self, entry: Entry) -> int | None:
        """By how many places it was moved; None where no place would make it right."""
        self._searched += 1
        if self._searched > MOST_SEARCHED:
            return None
        for far in range(FARTHEST + 1):
            for shift in (far, -far):
                if shift != self._shift and entry.digest(entry.sequence + shift) == bytes(entry.hash):
                    return shift
        return None

    def _check_values(self, entry: Entry, values: Values | None) -> None:
        report = self._report
        if entry.values_hash is None:
            if values is not None:
                report.find("values_altered", entry.sequence, f"{entry.title} was given values that it never had")
        elif values is None:
            if self._erasures.cover(entry):
                report.erased += 1
            else:
                report.find(
                    "values_gone", entry.sequence, f"the values of {entry.title} are gone, and no entry says why"
                )
        elif values_hash(values) != bytes(entry.values_hash):
            report.find("values_altered", entry.sequence, f"the values of {entry.title} were altered")
