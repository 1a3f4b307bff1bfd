"""Reads records of a source's topics as events, each with the key by which its row is found here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connectors.contract import Record
from connectors.postgres.keyless import keyed, rekeyed
from connectors.postgres.rows import Event, decode_change, decode_key
from connectors.postgres.two_way.session import TwoWay


class Reading:
    """One per session. `topics` name the table of each topic."""

    def __init__(self, topics: Mapping[str, str], two_way: TwoWay | None) -> None:
        self._topics = topics
        self._two_way = two_way
        self.keys: dict[str, Sequence[str]] = {}
        """Of tables that had none for a while: what to tell those rows apart by."""
        self.rekeyed: dict[str, Sequence[str]] = {}
        """Of tables that had another one for a while: the key by which conditions find their rows."""

    def events(self, records: Sequence[Record]) -> list[Event]:
        events = self._read(records) if self._two_way is None else list(self._noted(records, self._two_way))
        if self.keys or any(self.rekeyed.values()):
            return [one for event in events for one in self._keyed(event)]
        return events

    def _read(self, records: Sequence[Record]) -> list[Event]:
        return [Event(self._topics[one.topic], one, decode_change(one.value)) for one in records]

    def _noted(self, records: Sequence[Record], two_way: TwoWay) -> Iterator[Event]:
        """Events with what transactions of ours say of them."""
        for one in records:
            table = self._topics.get(one.topic)
            if table is None or table in two_way.tables:
                yield from two_way.read(table, one)
            else:
                yield from two_way.arrive(one)
                yield Event(table, one, decode_change(one.value))

    def _keyed(self, event: Event) -> list[Event]:
        if event.change.op == "t":
            return [event]
        if not event.key:
            return keyed(event, self.keys.get(event.table, ()))
        key = self.rekeyed.get(event.table)
        if not key or decode_key(event.key).keys() == set(key):
            return [event]
        return rekeyed(event, key)
