"""Who caused a transaction, as the source's own stream tells it: PostgreSQL publishes no user.

An application says so by `pg_logical_emit_message(true, 'placemat.actor', NAME)` within the transaction. Where it does
not, a column of the row may (a route's `actor`); else nobody knows, and that is what is said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from schemas.position import Position
from schemas.topics import POSITION_HEADER, messages_topic

PREFIX: Final = "placemat.actor"
UNKNOWN: Final = "unknown"
LONGEST_NAME = 200
CLOCKS_MS = 300_000
"""How far the clocks of the source and of the capture may differ."""
REQUEST_SECONDS = 5.0
READ_SECONDS = 5.0
_BEFORE_ALL = -1, -1

Place = tuple[int, int]
"""Timeline and commit LSN of a position."""
Named = Sequence[tuple[int, str]]
"""Ordinal and name of each of a transaction's actor messages, in order."""


class Commit(NamedTuple):
    """A transaction that is asked about: its place, its time (milliseconds since 1970), and how many messages it has as
    its end counts them. None: nobody has looked; then what is not there yet is not waited for."""

    place: Place
    ts_ms: int
    messages: int | None = None


def actor(
    named: Named, ordinal: int, op: str = "", row: Mapping[str, Any] | None = None, column: str | None = None
) -> str:
    """Who caused the event with this ordinal: the newest message before it, else the first of its transaction, else
    what `column` of the new row says, else `unknown`.

    A deleted row tells who changed it last, and not who deleted it.
    """
    if named:
        return next((name for at, name in reversed(named) if at < ordinal), named[0][1])
    value = row.get(column) if row is not None and column is not None and op != "d" else None
    return (name_of(str(value)) if value is not None else None) or UNKNOWN


def name_of(content: str) -> str | None:
    """The name in a message: the text itself, or `actor` of a JSON object; None where there is none."""
    text = content.strip()
    if text.startswith("{"):
        try:
            told = orjson.loads(text).get("actor")
        except orjson.JSONDecodeError:
            told = text
        text = told.strip() if isinstance(told, str) else ""
    return "".join(one if one.isprintable() else " " for one in text[:LONGEST_NAME]).strip() or None


class Actors:
    """Reads one source's messages, outside any consumer group; for one thread.

    Asked in the order of commits it reads on from where it is, else it finds the place by time.
    """

    def __init__(self, kafka: Kafka, source: str) -> None:
        self._source = source
        self._partition = messages_topic(source), 0
        self._retention_ms = kafka.retention_hours * 3_600_000
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.actors",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 4_096,
                "fetch.message.max.bytes": 1_048_576,
                **broker.fetch_sizes(kafka, 1_048_576),
            },
            logger=broker.SILENT,
        )
        self._ahead: deque[Message] = deque()
        self._next: int | None = None
        """Offset of the first message that was not taken; None before the first."""
        self._passed: Place = _BEFORE_ALL
        """The greatest place among those that were taken."""

    def close(self) -> None:
        self._consumer.close()

    def find(self, commits: Iterable[Commit]) -> dict[Place, Named]:
        """The actor messages of those transactions that have any.

        Raises KafkaUnavailable when Kafka does not answer, and while messages that a transaction has are not there yet.
        """
        wanted = {one.place: one for one in commits if one.messages != 0}
        if not wanted:
            return {}
        try:
            return self._find(wanted)
        except KafkaException as error:
            self._next = None
            raise KafkaUnavailable(f"kafka does not answer: {broker.reason(error)}") from error

    def _find(self, wanted: Mapping[Place, Commit]) -> dict[Place, Named]:
        begin, end = self._consumer.get_watermark_offsets(TopicPartition(*self._partition), timeout=REQUEST_SECONDS)
        self._start(min(wanted.values(), key=lambda one: one.place), begin)
        last = max(wanted)
        found: dict[Place, dict[int, str | None]] = {}
        deadline = time.monotonic() + READ_SECONDS
        while (message := self._take(end, deadline, waiting=self._lacks(wanted, found))) is not None:
            position = _position(message)
            place = position.timeline, position.commit_lsn
            if place > last:
                break
            self._ahead.popleft()
            self._next = (message.offset() or 0) + 1
            self._passed = max(self._passed, place)
            if place in wanted and (content := _decode(message.value() or b"")).transaction is not None:
                found.setdefault(place, {})[position.ordinal] = content.actor
        return {
            place: named
            for place, by_ordinal in found.items()
            if (named := [(at, name) for at, name in sorted(by_ordinal.items()) if name is not None])
        }

    def _start(self, first: Commit, begin: int) -> None:
        """Go to where no message of this commit, or of a later one, has been passed over."""
        if self._next is not None and self._next >= begin and self._passed < first.place:
            return
        asked = TopicPartition(*self._partition, max(0, first.ts_ms - CLOCKS_MS))
        (at,) = self._consumer.offsets_for_times([asked], timeout=REQUEST_SECONDS)
        offset = at.offset
        if offset < 0:
            _, offset = self._consumer.get_watermark_offsets(TopicPartition(*self._partition), timeout=REQUEST_SECONDS)
        self._ahead.clear()
        self._next, self._passed = offset, _BEFORE_ALL
        broker.meet_topics(self._consumer)
        self._consumer.assign([TopicPartition(*self._partition, offset)])

    def _take(self, end: int, deadline: float, *, waiting: bool) -> Message | None:
        """The next message, not yet taken from those ahead; None at the end, when nothing is waited for."""
        while not self._ahead:
            if self._next is not None and self._next >= end and not waiting:
                return None
            if time.monotonic() > deadline:
                raise KafkaUnavailable(f"messages of source {self._source} have not come yet")
            for message in self._consumer.consume(500, timeout=0.1):
                fault = message.error()
                if fault is None:
                    self._ahead.append(message)
                elif fault.fatal() or not fault.retriable():
                    raise KafkaException(fault)
        return self._ahead[0]

    def _lacks(self, wanted: Mapping[Place, Commit], found: Mapping[Place, Mapping[int, str | None]]) -> bool:
        """Whether messages are still to come. Those of before the topic's retention do not."""
        oldest = time.time() * 1_000 - self._retention_ms
        return any(
            one.messages is not None and len(found.get(one.place, ())) < one.messages and one.ts_ms > oldest
            for one in wanted.values()
        )


class _Message(msgspec.Struct):
    prefix: str
    content: bytes | None


class _Transaction(msgspec.Struct):
    id: str


class _Content(msgspec.Struct):
    transaction: _Transaction | None
    message: _Message

    @property
    def actor(self) -> str | None:
        if self.message.prefix != PREFIX or self.message.content is None:
            return None
        try:
            return name_of(self.message.content.decode())
        except UnicodeDecodeError:
            return None


_decode = msgspec.json.Decoder(_Content).decode


def _position(message: Message) -> Position:
    headers = dict(message.headers() or ())
    position = headers.get(POSITION_HEADER)
    assert isinstance(position, bytes), "a record of a source's topic has a position"
    return Position.from_header(position)
