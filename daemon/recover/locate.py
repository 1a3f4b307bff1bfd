"""Where in the topics a replay begins, where it ends, and whether the topics reach back so far.

A record is appended after its commit, so the first record as young as a commit (less what clocks may differ) is no
later than that commit's records. Kafka's own index finds it, whatever late records stand between.

In a new era of the source every row is copied, and its log may be at an earlier place: no replay reaches behind that.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.contract import Partition
from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError, Unavailable
from daemon.keys import key_like
from daemon.recover.reader import position_of
from daemon.recover.window import Beginning, Commit, End, Moment, OneKey, Record, Start
from schemas.position import era_of
from schemas.topics import partition_of

CLOCKS_US = 300_000_000
"""How far the clocks of the source and of the capture may differ."""
BLOCK = 20_000
READ_SECONDS = 30.0
REQUEST_SECONDS = 10.0

Place = tuple[int, int]
"""Era and LSN of a commit. Within an era a later timeline goes on where the log of an earlier one ended."""


def place_of(timeline: int, commit_lsn: int) -> Place:
    """The place of a commit, from the timeline of its position."""
    return era_of(timeline), commit_lsn


class _End(msgspec.Struct):
    timeline: int
    commit_lsn: int
    ts_us: int

    @property
    def place(self) -> Place:
        return place_of(self.timeline, self.commit_lsn)


_decode_end = msgspec.json.Decoder(_End).decode


@dataclass(frozen=True, slots=True)
class Window:
    """Commits from `first` on and before `before` (None: all), of these partitions from these offsets on.

    `lost` are the partitions whose retention has, or may have, passed over a part of it. `key` is that of the only
    record key asked for.
    """

    first: Place
    before: Place | None
    starts: Mapping[Partition, int]
    lost: Mapping[Partition, int]
    key: bytes | None = None


class Locator:
    """Reads single records. Every method raises Unavailable when Kafka does not answer."""

    def __init__(self, kafka: Kafka, spine: str, era: int) -> None:
        """`era` is the source's: an LSN is one of its log. Raises OperatorError when Kafka cannot be reached."""
        self._admin = broker.reach(kafka)
        self._spine = spine
        self._era = era
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.replay",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 8_192,
                "fetch.message.max.bytes": 1_048_576,
            },
            logger=broker.SILENT,
        )

    def close(self) -> None:
        self._consumer.close()

    def window(self, topics: Collection[str], start: Start, until: End | None) -> Window:
        """Raises OperatorError (exit code 2) when a record or key is asked for, and several tables are."""
        partitions = self._partitions(topics)
        begins = self._offsets(partitions, "earliest")
        if isinstance(start, Record | OneKey) and len(topics) != 1:
            option = "--key" if isinstance(start, OneKey) else "--from offset:…"
            raise OperatorError(f"{option} goes with exactly one table.", "Name it with --table.", exit_code=2)
        key: bytes | None = None
        first = oldest = (self._era, 0)
        if isinstance(start, OneKey):
            key = self._key(partitions, start.text)
            partitions = [partitions[partition_of(key, len(partitions))]]
        elif isinstance(start, Record):
            partition = self._named(partitions, start)
            if start.offset >= begins[partition]:
                first = max(oldest, self._commit_of(partition, start.offset))
            partitions = [partition]
        elif not isinstance(start, Beginning):
            first = max(oldest, self._first_commit(start))
        before = None if until is None else self._first_after(partitions, until)
        begins = {one: begins[one] for one in partitions}
        starts = dict(begins) if first == oldest else self._offsets_at(partitions, begins, first)
        lost = {one: begin for one, begin in begins.items() if begin and starts[one] == begin}
        lost = {one: begin for one, begin in lost.items() if self._commit_of(one, begin, missing=first) >= first}
        return Window(first, before, starts, lost, key)

    def _first_commit(self, start: Moment | Commit) -> Place:
        """Place from which on commits are asked for."""
        if isinstance(start, Commit):
            return self._era, start.lsn
        for end in self._ends(self._offset_at(start.ts_us)):
            if end.ts_us >= start.ts_us:
                # What is older than the oldest that is known may have been asked for too.
                return (self._era, 0) if self._is_oldest(end) else end.place
        raise OperatorError("Nothing was committed since then.", "Name an earlier time.")

    def _first_after(self, partitions: Collection[Partition], until: End) -> Place | None:
        match until:
            case Commit(lsn):
                return self._era, lsn + 1
            case Record():
                if len({topic for topic, _ in partitions}) != 1:
                    raise OperatorError("--until offset:… goes with exactly one table.", "Name it.", exit_code=2)
                era, lsn = self._commit_of((next(iter(partitions))[0], until.partition), until.offset)
                return era, lsn + 1
            case Moment(ts_us):
                return next((end.place for end in self._ends(self._offset_at(ts_us)) if end.ts_us > ts_us), None)

    def _offsets_at(
        self, partitions: Collection[Partition], begins: Mapping[Partition, int], first: Place
    ) -> dict[Partition, int]:
        """Offsets at or before the first record of that commit."""
        ts_us = self._time_of(first)
        return {one: max(begins[one], self._offset_at(ts_us, one)) for one in partitions}

    def _time_of(self, first: Place) -> int:
        """Commit time of the first transaction from there on, met on the way back from the newest one."""
        spine = (self._spine, 0)
        begin, stop = self._offsets([spine], "earliest")[spine], self._offsets([spine], "latest")[spine]
        found: int | None = None
        while stop > begin:  # late records may stand anywhere, but they do not fill a block
            start = max(begin, stop - BLOCK)
            ends = [_decode_end(message.value() or b"") for message in self._read(spine, start, stop)]
            found = next((end.ts_us for end in ends if end.place >= first), found)
            if ends and max(end.place for end in ends) < first:
                break
            stop = start
        if found is None:
            raise OperatorError(
                "Nothing was committed since then.",
                "Name an earlier place; an LSN is one of the log that the source has had since its last resync.",
            )
        return found

    def _ends(self, start: int) -> Iterator[_End]:
        spine = (self._spine, 0)
        for message in self._read(spine, start, self._offsets([spine], "latest")[spine]):
            yield _decode_end(message.value() or b"")

    def _is_oldest(self, end: _End) -> bool:
        spine = (self._spine, 0)
        begin = self._offsets([spine], "earliest")[spine]
        return any(_decode_end(one.value() or b"") == end for one in self._read(spine, begin, begin + 1))

    def _offset_at(self, ts_us: int, partition: Partition | None = None) -> int:
        topic, number = partition or (self._spine, 0)
        asked = TopicPartition(topic, number, max(0, ts_us - CLOCKS_US) // 1_000)
        try:
            (found,) = self._consumer.offsets_for_times([asked], timeout=REQUEST_SECONDS)
        except KafkaException as error:
            raise _unavailable(error) from error
        if found.offset >= 0:
            return int(found.offset)
        return self._offsets([(topic, number)], "latest")[topic, number]

    def _commit_of(self, partition: Partition, offset: int, missing: Place | None = None) -> Place:
        """Place of one record's commit; `missing` where there is none yet."""
        for message in self._read(partition, offset, offset + 1):
            position = position_of(message)
            return place_of(position.timeline, position.commit_lsn)
        if missing is not None:
            return missing
        raise OperatorError(
            f"Partition {partition[1]} of topic {partition[0]} has no record {offset}.",
            "placemat tail --from-beginning --json shows the offsets that there are.",
        )

    def _named(self, partitions: Collection[Partition], record: Record) -> Partition:
        found = next((one for one in partitions if one[1] == record.partition), None)
        if found is None:
            raise OperatorError(
                f"There is no partition {record.partition}: the topic has {len(partitions)}, from 0.",
                "placemat tail --json shows partitions and offsets.",
                exit_code=2,
            )
        return found

    def _key(self, partitions: Collection[Partition], text: str) -> bytes:
        """The record key that a person means, in the form that the topic's keys have."""
        for one, begin in self._offsets(partitions, "earliest").items():
            for message in self._read(one, begin, min(begin + 100, self._offsets([one], "latest")[one])):
                if message.key():
                    return orjson.dumps(key_like(message.key() or b"", text))
        raise OperatorError("The topic holds no event of any key.", "Take the row from the source: see placemat -h.")

    def _partitions(self, topics: Collection[str]) -> list[Partition]:
        try:
            found = broker.describe(self._admin, topics)
        except KafkaException as error:
            raise _unavailable(error) from error
        for topic in topics:
            if topic not in found:
                raise OperatorError(f"Kafka has no topic {topic}.", "Run: placemat init")
        return [(topic, number) for topic in topics for number in range(found[topic].partitions)]

    def _offsets(self, partitions: Collection[Partition], where: str) -> dict[Partition, int]:
        try:
            return broker.offsets(self._admin, partitions, "earliest" if where == "earliest" else "latest")
        except KafkaException as error:
            raise _unavailable(error) from error

    def _read(self, partition: Partition, start: int, stop: int) -> Iterator[Message]:
        """Records from `start` up to `stop`, as far as there are any."""
        stop = min(stop, self._offsets([partition], "latest")[partition])
        deadline = time.monotonic() + READ_SECONDS
        at = start
        if at >= stop:
            return
        self._consumer.assign([TopicPartition(*partition, start)])
        try:
            while at < stop:
                if time.monotonic() > deadline:
                    raise Unavailable("kafka does not answer")
                for message in self._consumer.consume(min(1_000, stop - at), timeout=0.2):
                    if (fault := message.error()) is not None:
                        raise _unavailable(KafkaException(fault))
                    at = (message.offset() or 0) + 1
                    deadline = time.monotonic() + READ_SECONDS
                    if at > stop:
                        return
                    yield message
        except KafkaException as error:
            raise _unavailable(error) from error
        finally:
            self._consumer.unassign()


def _unavailable(error: KafkaException) -> Unavailable:
    return Unavailable(f"kafka does not answer: {broker.reason(error)}")
