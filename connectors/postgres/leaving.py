"""What a writer tells the guard of the rows that leave, and which of them are spared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from connectors.postgres.holds import Holds
from connectors.postgres.rows import Event


class Leaving:
    """One per writer; without holds nothing is counted, and nothing spared."""

    def __init__(self, holds: Holds | None) -> None:
        self._holds = holds
        self._counted = holds if holds is not None and holds.counts else None

    def spared(self, events: Sequence[Event]) -> Sequence[Event]:
        """Without the deletes that an operator has rejected: their rows stay, and are remembered."""
        holds = self._holds
        if holds is None or holds.guard.rejecting is None:
            return events
        kept: list[Event] = []
        rejected: list[Event] = []
        for event in events:
            is_rejected = _deletes(event) and holds.guard.rejected(event.record.position)
            (rejected if is_rejected else kept).append(event)
        if rejected:
            holds.reject((one.table, one.key) for one in rejected)
        return kept

    def count(self, deleted: Mapping[str, int], events: Sequence[Event]) -> None:
        """Rows were deleted, by table, when these events were written together."""
        if not deleted or self._counted is None:
            return
        last = {(event.table, event.key): event for event in events}
        for name, rows in deleted.items():
            gone = [(key, one.record.position) for (table, key), one in last.items() if table == name and _deletes(one)]
            self._counted.guard.count(name, rows, gone, self._counted.begun)

    def refused(self, event: Event) -> None:
        """What the target does not take now goes unasked later, if it is a delete: so it counts already."""
        if self._counted is not None and _deletes(event):
            self._counted.guard.count(event.table, 1, [(event.key, event.record.position)], self._counted.begun)

    def emptied(self, tables: Iterable[str], event: Event, count: Callable[[str], int]) -> None:
        """Tables are to be emptied."""
        if self._counted is not None:
            for name in tables:
                self._counted.guard.count_all(name, count(name), event.record.position)

    def forget(self) -> None:
        """The transaction was rolled back."""
        if self._holds is not None:
            self._holds.forget()


def _deletes(event: Event) -> bool:
    """Whether a row is to go because it was deleted, emptied away, or passes no more; not one that somebody asked for
    and that is gone, nor the half of a changed key."""
    change = event.change
    return change.op == "t" or (change.op == "d" and not change.moved_to)
