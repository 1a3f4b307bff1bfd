"""What a writer tells the guard of the rows that leave, and which of them are spared.

Of tables that go both ways, what was judged decides whether a row leaves: a delete may be kept out, and an answer of
the hub may delete what the delete itself has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from connectors.postgres.holds import Holds
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.parked import Key
from connectors.postgres.rows import Event
from connectors.postgres.table_writes import TableWrites
from connectors.postgres.two_way.notes import ANSWER
from connectors.postgres.two_way.session import TwoWay
from schemas.outbox import KEPT


class Leaving:
    """One per writer; without holds nothing is counted, and nothing spared."""

    def __init__(self, holds: Holds | None, two_way: TwoWay | None, outcomes: Outcomes) -> None:
        self._holds = holds
        self._counted = holds if holds is not None and holds.counts else None
        self._two_way = two_way
        self._outcomes = outcomes

    def spared(self, events: Sequence[Event]) -> Sequence[Event]:
        """Without the deletes that an operator has rejected: their rows stay, and are remembered.

        Those of a spoke remain among its events at the hub, as they are answered in their turn: see `rejects`.
        """
        holds = self._holds
        if holds is None or (holds.guard.rejecting is None and self._two_way is None):
            return events
        answers = [event for event in events if self._answers_gone(event)]
        waiting = holds.rejected(map(self._key, answers)) if answers else set()
        if not waiting and holds.guard.rejecting is None:
            return events
        kept: list[Event] = []
        rejected: list[Event] = []
        for event in events:
            if self._is_left_out(event, holds):
                rejected.append(event)
            elif not (waiting and self._answers_gone(event) and self._key(event) in waiting):
                kept.append(event)
        if rejected:
            holds.reject(dict.fromkeys(map(self._key, rejected)))
        for event in rejected:
            self._outcomes.note(event, KEPT)
        return kept

    def rejects(self, event: Event) -> bool:
        """Whether this is a delete by people of a spoke, and an operator has rejected it: the hub's row stands, and the
        spoke is answered so, which brings the row back there."""
        notice = event.change.notice
        decides = self._two_way is not None and self._two_way.decides and notice is not None
        if not decides or self._holds is None or not _deletes(event) or event.change.op == "t":
            return False
        return not (notice and bytes(notice.origin)) and self._holds.guard.rejected(event.record.position)

    def count(self, writes: TableWrites, events: Sequence[Event]) -> None:
        """These events were written together."""
        if not writes.deleted or self._counted is None:
            return
        gone = self._gone(events)
        for name, rows in writes.deleted.items():
            if name in self._counted.named.apart:
                continue
            leaving = writes.leaving[name]
            found = [(key, one.record.position) for (table, key), one in gone if table == name and key in leaving]
            self._counted.guard.count(name, rows, found, self._counted.begun)

    def ends(self, event: Event) -> bool:
        """Whether it says of its row that there is none any more."""
        return event.change.op == "d" or self._answers_gone(event)

    def refused(self, event: Event) -> None:
        """What the target does not take now goes unasked later, if it is a delete: so it counts already."""
        if self._counted is None or event.table in self._counted.named.apart:
            return
        if _deletes(event) or self._answers_gone(event):
            self._counted.guard.count(event.table, 1, [(event.key, event.record.position)], self._counted.begun)

    def emptied(self, tables: Iterable[str], event: Event, count: Callable[[str], int]) -> None:
        """Tables are to be emptied."""
        if self._counted is not None:
            for name in [one for one in tables if one not in self._counted.named.apart]:
                self._counted.guard.count_all(name, count(name), event.record.position)

    def forget(self) -> None:
        """The transaction was rolled back."""
        if self._holds is not None:
            self._holds.forget()

    def _gone(self, events: Sequence[Event]) -> list[tuple[Key, Event]]:
        """Rows that are gone behind these events, each with the event that was the first to say so."""
        found: dict[Key, Event | None] = {}
        for event in events:
            key = self._key(event)
            if _deletes(event) or self._answers_gone(event):
                found.setdefault(key, event)
            elif event.change.moved_to:
                found[key] = None
            elif event.change.op != ANSWER or (self._two_way is not None and self._two_way.has_row(event)):
                found.pop(key, None)
        return [(key, event) for key, event in found.items() if event is not None]

    def _is_left_out(self, event: Event, holds: Holds) -> bool:
        if event.table in holds.named.untold:
            return False  # no row of the target: what it names is asked about
        both_ways = event.change.notice is not None
        if both_ways and (event.change.op == "t" or (self._two_way is not None and self._two_way.decides)):
            return False  # row by row, and answered
        return (_deletes(event) or self._answers_gone(event)) and holds.guard.rejected(event.record.position)

    def _answers_gone(self, event: Event) -> bool:
        """Whether the hub says of a row that it has none."""
        return event.change.op == ANSWER and self._two_way is not None and self._two_way.has_row(event) is False

    def _key(self, event: Event) -> Key:
        """As the row is named where it is written."""
        if self._two_way is None or event.change.notice is None or event.change.op == "t":
            return event.table, event.key
        return self._two_way.key(event)


def _deletes(event: Event) -> bool:
    """Whether a row is to go because it was deleted, emptied away, or passes no more; not one that somebody asked for
    and that is gone, nor the half of a changed key."""
    change = event.change
    return change.op == "t" or (change.op == "d" and not change.moved_to)
