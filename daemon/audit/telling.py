"""From outbox rows and the records they refer to, what the entries of one target say."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from connectors.contract import OutboxRow, Partition
from daemon.actors import UNKNOWN, Actors, Commit, Named, Place, actor
from daemon.audit import values
from daemon.audit.ends import Ends
from daemon.audit.entry import Draft, clean
from daemon.audit.records import Records
from daemon.audit.values import Envelope, Hidden, Row
from daemon.config.settings import Settings
from daemon.routes import routings
from schemas.outbox import APPLIED, DROPPED, REMEMBERED, Change, Outbox, Taken
from schemas.position import START, Position, era_of
from schemas.topics import POSITION_HEADER, table_topic

LOST = "Kafka does not hold the event any more"
NO_VALUES = Hidden()

Key = tuple[str, str]
"""Entity, and record key."""


class Fate(NamedTuple):
    """One event of an outbox row: where it stands and what became of it. `event` is None where Kafka lost it."""

    position: Position
    topic: str
    partition: int
    offset: int
    outcome: str
    details: Mapping[str, Any]
    key: str
    event: Envelope | None
    size: int


@dataclass(slots=True)
class Known:
    """What is known of rows before the next event, by key; a key is in it once somebody has looked it up."""

    rows: dict[Key, Row | None]
    moved: dict[Key, Row | None]
    """By the new key, the row of before a key change."""


class Telling:
    """One target's. Raises KafkaUnavailable."""

    def __init__(self, settings: Settings, target: str, records: Records, actors: Actors) -> None:
        route = settings.targets[target]
        self._target = target
        self._source = route.source
        self._records = records
        self._actors = actors
        self._ends: dict[str, Ends] = {}
        self._tables = {table_topic(route.source, *table.split(".", 1)): table for table in route.needed}
        self._hidden = {table: Hidden.by(routing) for table, routing in routings(settings, target).items()}
        self._actor_columns = {table: one.actor for table, one in route.tables.items()}

    def fates(self, content: Outbox, next_offsets: Mapping[Partition, int]) -> Iterator[Fate]:
        """The events of a row in the order of their commits, without those that have their entry already."""
        ranges: dict[Partition, tuple[int, int]] = {}
        lists = []
        for taken in content.partitions:
            key = taken.topic, taken.partition
            found = [one for one in _outcomes(taken) if one[0] >= next_offsets.get(key, 0)]
            if found:
                ranges[key] = found[0][0], found[-1][0] + 1
                lists.append(self._read(key, found, content.era))
        self._records.seek(ranges)
        return heapq.merge(*lists, key=lambda fate: fate.position)

    def drafts(self, fates: Sequence[Fate], row: OutboxRow, known: Known) -> list[Draft]:
        """What the entries say. `known` has every key of these events, and is brought forward."""
        places: dict[Place, int] = {}
        for fate in fates:
            event = fate.event
            if event is not None and fate.outcome != DROPPED and event.op != "r":
                places[fate.position.timeline, fate.position.commit_lsn] = event.source.ts_ms
        ends = self._ends.setdefault(row.lane, Ends(self._records, self._source))
        counted = ends.messages(places, row.ends_from)
        named = self._actors.find([Commit(place, ts_ms, counted[place]) for place, ts_ms in places.items()])
        return [
            self._draft(fate, fate.event, named, known) if fate.event is not None else self._lost(fate)
            for fate in fates
        ]

    def keys(self, fates: Sequence[Fate]) -> set[Key]:
        """Keys of which it has to be known how they were before."""
        return {
            (self._entity(fate), fate.key)
            for fate in fates
            if fate.event is not None and fate.outcome != REMEMBERED and fate.event.op != "t"
        }

    def change(self, change: Change, row: OutboxRow) -> Draft:
        """What was done to a key without an event of its own."""
        details = dict(change.details)
        if change.events:
            details["events"] = change.events
        return Draft(
            "change", "d" if not change.events and change.outcome == "deleted" else "u", change.outcome, UNKNOWN,
            happened_at=row.at, source=self._source, target=self._target, entity=change.table, key=change.key,
            **_named(details),
        )  # fmt: skip

    def _read(
        self, key: Partition, found: Sequence[tuple[int, str, Mapping[str, Any]]], era: int | None
    ) -> Iterator[Fate]:
        at = found[0][0]
        last = START
        for offset, outcome, details in found:
            while at < offset:
                self._records.take(key)
                at += 1
            message = self._records.take(key)
            at += 1
            if message is not None and era is not None and era_of(_position(message).timeline) > era:
                message = None  # its topic was made anew: this is another event, of a later era
            last = max(last, _position(message)) if message is not None else last
            if message is None:
                yield Fate(last, *key, offset, outcome, details, "", None, 0)
                continue
            text = clean((message.key() or b"").decode())
            event = values.decode(message.value() or b"")
            yield Fate(_position(message), *key, offset, outcome, details, text, event, len(message))

    def _draft(self, fate: Fate, event: Envelope, named: Mapping[Place, Named], known: Known) -> Draft:
        entity, key = self._entity(fate), fate.key
        hidden = self._hidden.get(entity)
        outcome = fate.outcome if hidden is not None or fate.outcome == DROPPED else REMEMBERED
        earlier = known.rows.get((entity, key))
        if event.moved_to:
            known.moved[entity, clean(bytes(event.moved_to).decode())] = earlier
        if event.moved_from:
            earlier = known.moved.pop((entity, key), None)
        told = values.tell(event, outcome, hidden or NO_VALUES, earlier)
        if event.op == "t":
            known.rows.clear()
        else:
            known.rows[entity, key] = values.follow(event, outcome, hidden or NO_VALUES, earlier)
        place = fate.position.timeline, fate.position.commit_lsn
        return Draft(
            "event", event.op, outcome, self._who(entity, event, named.get(place, ()), fate.position.ordinal),
            happened_at=datetime.fromtimestamp(event.source.ts_ms / 1_000, UTC), source=self._source,
            target=self._target, entity=entity, key=key or None, fields=told.fields,
            masked=told.masked if hidden is not None else (), position=str(fate.position), topic=fate.topic,
            partition=fate.partition, offset=fate.offset, content=told.content,
            **_named({**fate.details, **({"oversize": event.oversize} if event.oversize is not None else {})}),
        )  # fmt: skip

    def _lost(self, fate: Fate) -> Draft:
        return Draft(
            "event", "?", fate.outcome, UNKNOWN, source=self._source, target=self._target,
            entity=self._tables.get(fate.topic), topic=fate.topic, partition=fate.partition, offset=fate.offset,
            **_named({"reason": LOST, **fate.details, "lost": True}),
        )  # fmt: skip

    def _who(self, entity: str, event: Envelope, named: Named, ordinal: int) -> str:
        column = self._actor_columns.get(entity)
        raw = (event.after or {}).get(column) if column is not None else None
        row = {column: orjson.loads(bytes(raw))} if column is not None and raw is not None else None
        return actor(named, ordinal, event.op, row, column)

    def _entity(self, fate: Fate) -> str:
        return self._tables.get(fate.topic, fate.topic)


def _outcomes(taken: Taken) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Offset, outcome and details of each event, by offset."""
    found: list[tuple[int, str, Mapping[str, Any]]] = [
        (offset, APPLIED, {}) for first, after in taken.applied for offset in range(first, after)
    ]
    for others in taken.others:
        for first, after in others.ranges:
            found += [(offset, others.outcome, others.details) for offset in range(first, after)]
    return sorted(found, key=lambda one: one[0])


def _named(details: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the details that have a column of their own, and the rest."""
    own = {name: str(details[name]) for name in ("rule", "conflict", "reason") if details.get(name) is not None}
    return {**own, "details": {name: value for name, value in details.items() if name not in own}}


def _position(message: Message) -> Position:
    found = dict(message.headers() or ()).get(POSITION_HEADER)
    assert isinstance(found, bytes), "a record that a target has taken has a position"
    return Position.from_header(found)
