"""What the writer of a target sees of its tables that go both ways, whichever side it writes to."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import psycopg

from connectors.contract import BothWays, Destination, Record
from connectors.postgres.rows import Columns, Event, decode_change
from connectors.postgres.statements import Catalogue
from connectors.postgres.two_way.canonical import canonicals
from connectors.postgres.two_way.inward import Awaited, HubRows
from connectors.postgres.two_way.judgement import Judgement
from connectors.postgres.two_way.notes import ANSWER, Notes
from connectors.postgres.two_way.observing import HubObserver
from connectors.postgres.two_way.outward import SpokeRows, Work
from schemas.resolution import Origin
from schemas.topics import messages_topic

PAGE_KEYS = 1_000


class _Answer(msgspec.Struct):
    row: dict[str, msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    untold: bool = False
    """The row is there, and too large to be told."""


_answer = msgspec.json.Decoder(_Answer).decode


class TwoWay:
    """One per session. Every method needs an open transaction, and raises psycopg.Error."""

    def __init__(
        self, connection: psycopg.Connection[Any], destination: Destination, catalogue: Catalogue,
        awaited: Awaited | None = None,
    ) -> None:  # fmt: skip
        """`awaited` is handed from one session of a target to the next."""
        both = destination.both_ways
        assert both is not None, "the target has tables that go both ways"
        self.topic = messages_topic(destination.source)
        self._destination = destination
        self._tables = canonicals(connection, catalogue.tables, both.tables, at_hub=both.outward is None)
        for name, table in self._tables.items():
            catalogue.tables[name].two_way = table
        self.tables = frozenset(self._tables)
        self._notes = Notes(self._tables, both.times, marked=both.inward is not None)
        self._spoke, self._hub, self._observer = self._roles(connection, both, awaited or Awaited())

    def _roles(
        self, connection: psycopg.Connection[Any], both: BothWays, awaited: Awaited
    ) -> tuple[SpokeRows | None, HubRows | None, HubObserver | None]:
        target = self._destination
        if both.outward is not None:
            return SpokeRows(connection, target.source, self._tables, both.outward), None, None
        if both.inward is not None:
            rows = HubRows(connection, target.url, both.hub, target.source, self._tables, both.inward, awaited)
            return None, rows, None
        assert both.observing is not None, "one of the three is there"
        return None, None, HubObserver(connection, both.hub, self._tables, both.observing)

    @property
    def one_by_one(self) -> bool:
        """Whether several events of a key are decided one after the other, each with an outcome of its own."""
        return self._hub is not None

    @property
    def decides(self) -> bool:
        """Whether this is the hub, and what is followed a spoke."""
        return self._hub is not None

    @property
    def observes(self) -> bool:
        """Whether nothing is written but what is known of rows."""
        return self._observer is not None

    def origin(self) -> str:
        """What a transaction says of itself before its first row."""
        mark = secrets.token_hex(8)
        if self._hub is not None:
            self._hub.begin(mark)
        source, name, decides = self._destination.source, self._destination.name, self._hub is not None
        return msgspec.json.encode(Origin(source, name, mark if decides else "", tells=decides)).decode()

    # From records to events

    def narrow(self, tables: Collection[str]) -> None:
        """Whose notes are read from now on: others read those of tables with a lane of their own."""
        self._notes.narrow(tables)

    def read(self, table: str | None, record: Record) -> Iterator[Event]:
        """Events of a record of the messages' topic (None), or of a table that goes both ways."""
        return self._notes.message(record) if table is None else self._notes.row(table, record)

    def arrive(self, record: Record) -> Iterator[Event]:
        """Events that are due before a record of another table."""
        return self._notes.arrive(record)

    def end(self) -> Iterator[Event]:
        """Events that are due at the end."""
        return self._notes.end()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._notes.forget()
        if self._hub is not None:
            self._hub.forget()

    def committed(self) -> None:
        """The transaction was committed."""
        if self._hub is not None:
            self._hub.committed()

    def close(self) -> None:
        if self._hub is not None:
            self._hub.close()

    def emptied(self, event: Event, parked: Iterable[bytes]) -> Iterator[list[Event]]:
        """A truncate, as deletions of all rows that the emptied side is known to have had; in pages. `parked` are keys
        of the table that wait here: nothing of them may come later."""
        table, after, waiting = self._tables[event.table], "", set(parked)
        rows = self._spoke or self._hub or (self._observer.store if self._observer else None)
        assert rows is not None, "one of the three is there"
        name = event.table if self._observer is None else table.hub
        while keys := rows.alive(name, after, PAGE_KEYS):
            page = [table.record_key(key) for key in keys]
            yield [_deletion(event, key) for key in page]
            waiting.difference_update(page)
            after = keys[-1]
        yield [_deletion(event, key) for key in sorted(waiting)]

    # From events to rows

    def prepare(self, events: Sequence[Event]) -> None:
        """Before any of a batch is written: wait a little for what the hub's own stream has to have shown, and lock all
        rows of the batch."""
        writes = self._spoke or self._hub
        judged = [event for event in events if event.change.notice is not None and event.key]
        if writes is None or not judged:
            return
        if self._hub is not None:
            self._hub.await_observer(judged)
        writes.lock(judged)

    def plan(self, events: Sequence[Event]) -> Work:
        """Lock rows and decide. Raises Behind."""
        if not events:
            return Work()
        writes = self._spoke or self._hub
        assert writes is not None, "an observer plans nothing"
        return writes.plan(events)

    def foretold(self, work: Work) -> list[tuple[str, str]]:
        """Messages, by prefix and content, that are to stand before the rows of this work in the hub's stream."""
        return self._hub.foretold(work) if self._hub is not None else []

    def settle(
        self, work: Work, events: Sequence[Event], left_out: Collection[tuple[str, bytes]] = ()
    ) -> dict[tuple[str, bytes], Judgement]:
        """Once it is written: keep and tell what is known now. `left_out` were not written. What was made of each row,
        by table and record key."""
        if self._spoke is not None:
            return self._spoke.settle(work, left_out)
        return self._hub.settle(work, events, left_out) if self._hub is not None else {}

    def has_row(self, event: Event) -> bool | None:
        """Whether the hub answers that it has a row; None where it says nothing of that."""
        notice = event.change.notice
        if self._spoke is None or event.change.op != ANSWER or notice is None or not bytes(notice.note):
            return None
        answer = _answer(bytes(notice.note))
        if isinstance(answer.row, msgspec.UnsetType):
            return None
        return answer.untold or answer.row is not None

    def lacks_row(self, event: Event) -> bool:
        """Whether the hub answers of a row that is too large to be told with that: the row decides, once it comes."""
        notice = event.change.notice
        if self._spoke is None or event.change.op != ANSWER or notice is None or not bytes(notice.note):
            return False
        return _answer(bytes(notice.note)).untold

    def key(self, event: Event) -> tuple[str, bytes]:
        """The record key in the order that it has everywhere."""
        table = self._tables[event.table]
        return event.table, table.record_key(table.key_text(event.key))

    def waiting(self) -> list[Event]:
        """Rows of ours that wait for their marks."""
        return self._notes.waiting()

    def repair(self, table: str, given: Sequence[tuple[bytes, Columns | None]]) -> Work:
        """Lock rows of a spoke and tell what makes them as the hub has given them."""
        assert self._spoke is not None, "only a spoke is made what the hub has given"
        return self._spoke.repair(table, given)

    def reject(self, events: Sequence[Event]) -> None:
        """What the hub has stands, one event after the other, and the spoke is told so."""
        for event in events:
            self.keep([event])
        if self._hub is not None and events:
            self._hub.discarded(events[0])

    def keep(self, events: Sequence[Event]) -> None:
        """As `reject`, of one event of each key."""
        if self._hub is not None:
            self._hub.settle(self._hub.plan(events, rejected=True), events)

    def refused(self, event: Event, sqlstate: str, reason: str) -> None:
        """Tell those who decide that an event waits."""
        if self._hub is not None and event.change.notice is not None:
            self._hub.refused(event, sqlstate, reason)

    def observe(self, events: Sequence[Event]) -> None:
        assert self._observer is not None, "the hub's own stream is followed"
        self._observer.observe(events)

    def record_key(self, table: str, key: str) -> bytes:
        return self._tables[table].record_key(key)


def _deletion(event: Event, key: bytes) -> Event:
    notice = event.change.notice
    assert notice is not None, "an event of a table that goes both ways says where it stands"
    told: dict[str, object] = {"at": notice.at, "ts_us": notice.ts_us}
    if bytes(notice.origin):
        told["origin"] = notice.origin
    value = msgspec.json.encode({"op": "d", "before": None, "after": None, "notice": told})
    return Event(event.table, event.record._replace(key=key, value=value), decode_change(value))
