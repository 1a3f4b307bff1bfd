"""Writes what a set of events comes to where some of its tables go both ways, and tells what was made of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from connectors.postgres.outcomes import Outcomes
from connectors.postgres.parked import Key
from connectors.postgres.rows import Event, Net, fold
from connectors.postgres.table_writes import TableWrites
from connectors.postgres.two_way.judgement import Judgement
from connectors.postgres.two_way.notes import ANSWER
from connectors.postgres.two_way.outward import Work
from connectors.postgres.two_way.session import TwoWay
from schemas.outbox import ANSWERED


class Judged:
    """See `connectors.postgres.effects.Effects`. Events of tables that go one way are folded beside the others."""

    def __init__(self, two_way: TwoWay, writes: TableWrites, outcomes: Outcomes) -> None:
        self._two_way = two_way
        self._writes = writes
        self._outcomes = outcomes

    @property
    def one_by_one(self) -> bool:
        return self._two_way.one_by_one

    def write(self, events: Sequence[Event]) -> list[Key]:
        nets, work, judged = self._planned(events)
        missing = self._writes.write_nets(nets, self._two_way.foretold(work))
        with self._writes.refusing():
            self._note(self._two_way.settle(work, judged), judged)
        return missing + self._partial(work)

    def write_screened(self, events: Sequence[Event]) -> tuple[list[Key], dict[Key, str]]:
        nets, work, judged = self._planned(events)
        missing, orphans = self._writes.write_screened(nets, self._two_way.foretold(work))
        with self._writes.refusing():
            self._note(self._two_way.settle(work, judged, orphans), judged)
        return missing + self._partial(work), orphans

    def _planned(self, events: Sequence[Event]) -> tuple[dict[str, dict[bytes, Net]], Work, list[Event]]:
        judged = [event for event in events if event.change.notice is not None]
        with self._writes.refusing():
            work = self._two_way.plan(judged)
        one_way = fold(one for one in events if one.change.notice is None)
        work.beside = bool(one_way)
        return one_way | work.nets, work, judged

    def _partial(self, work: Work) -> list[Key]:
        return [(table, self._two_way.record_key(table, key)) for table, key in work.partial]

    def _note(self, judgements: Mapping[Key, Judgement], events: Sequence[Event]) -> None:
        """What became of each event; and of rows that were written though no event of theirs came, but an answer."""
        told = {self._two_way.key(event) for event in events if event.change.op != ANSWER}
        met: Counter[Key] = Counter()
        for event in events:
            key = self._two_way.key(event)
            if (one := judgements.get(key)) is None:
                continue
            outcome, details = one.of(met[key])
            met[key] += 1
            if event.change.op != ANSWER:
                self._outcomes.note(event, outcome, **details)
        for key, one in judgements.items():
            if one.written and key not in told:
                self._outcomes.change(key[0], key[1], ANSWERED, **one.details)
