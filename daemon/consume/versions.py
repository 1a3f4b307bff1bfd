"""Versions of a source's tables, as they were announced: read from the topic when one is met that is not known yet."""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import Message

from connectors.contract import NewShape
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from daemon.consume.consumer import REQUEST_SECONDS, PartitionReader
from schemas.envelope import SchemaChange
from schemas.topics import SCHEMA_CHANGES_TOPIC

PLACE = SCHEMA_CHANGES_TOPIC, 0
BUFFER_BYTES = 1_048_576
READ_SECONDS = 0.1
RECORDS = 1_000


class Versions:
    """Those of one source. Every method raises KafkaUnavailable, and OperatorError when there is no such topic."""

    def __init__(self, kafka: Kafka, target: str, source: str) -> None:
        self._kafka = kafka
        self._target = target
        self._source = source
        self._reader: PartitionReader | None = None
        self._next = 0
        self._known: dict[str, dict[int, SchemaChange]] = {}

    def upto(self, table: str, version: int) -> NewShape | None:
        """What a table has come to be by a version; None where that was never announced, or is there no more.

        A version is announced before its first record: whoever has met one finds it in the topic.
        """
        if version not in self._known.get(table, {}):
            self._catch_up()
        known = self._known.get(table, {})
        if version not in known:
            return None
        if any(_took_away(known[number]) for number in known if number <= version):
            self._catch_up()  # what went may have come back since
        later = [known[number] for number in sorted(known) if number > version]
        return _folded([known[number] for number in sorted(known) if number <= version], later)

    def gone(self) -> dict[str, int]:
        """Tables that the source has no more, each with the commit LSN behind its last record."""
        self._catch_up()
        newest = (known[max(known)] for known in self._known.values())
        return {change.name: change.commit_lsn for change in newest if change.gone}

    def close(self) -> None:
        """Let go of the connection; what is known stays known."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _catch_up(self) -> None:
        """Read to the present end."""
        try:
            if self._reader is None:
                reader = self._reader = PartitionReader(self._kafka, self._target, BUFFER_BYTES)
                reader.partitions([SCHEMA_CHANGES_TOPIC])
                self._next, _ = reader.bounds([PLACE])[PLACE]
                reader.start({PLACE: self._next})
            self._read(self._reader)
        except BaseException:  # raised again: the next one begins with a connection of its own
            self.close()
            raise

    def _read(self, reader: PartitionReader) -> None:
        _, end = reader.bounds([PLACE])[PLACE]
        until = time.monotonic() + REQUEST_SECONDS
        while self._next < end:
            if time.monotonic() > until:
                raise KafkaUnavailable("kafka does not answer")
            for message in reader.poll(RECORDS, READ_SECONDS):
                self._take(message)

    def _take(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None, "a record that was read has an offset"
        self._next = offset + 1
        change = SchemaChange.model_validate_json(message.value() or b"")
        if change.source == self._source:
            self._known.setdefault(change.name, {})[change.version] = change


def _folded(changes: Sequence[SchemaChange], later: Sequence[SchemaChange]) -> NewShape:
    """The newest of them, with what any of them changed: a target may have seen none of it. `later` are those that
    came since."""
    newest = changes[-1]
    columns = {column.name: column for column in newest.columns}
    dropped = frozenset(name for change in changes for name in change.dropped) - columns.keys()
    coming = {column.name: column.compared for column in (later or changes)[-1].columns}
    retyped = _retyped(changes)
    key = newest.key or next((change.key for change in reversed(later) if change.key), [])
    added = {name: change for change in changes for name in change.added if name in columns}
    return NewShape(
        newest.name,
        columns,
        tuple(key) if set(key) <= columns.keys() else (),
        added=tuple(name for name in columns if name in added),
        renamed=frozenset(name for name, change in added.items() if change.dropped),
        dropped=dropped,
        back=dropped & coming.keys()
        | {name for name, types in retyped.items() if columns[name].compared != coming.get(name) in types},
        retyped=retyped,
        key_changed=any(change.key_changed for change in changes),
        keyless=not newest.key,
        key_back=_key_back(changes, (later or changes)[-1].key),
        coming={name: type_ for name, type_ in coming.items() if type_ is not None},
    )


def _key_back(changes: Sequence[SchemaChange], coming: Sequence[str]) -> tuple[str, ...]:
    newest = changes[-1]
    back = newest.key and coming not in ([], newest.key) and any(change.key == coming for change in changes)
    return tuple(coming) if back and set(coming) <= {column.name for column in newest.columns} else ()


def _took_away(change: SchemaChange) -> bool:
    return bool(change.dropped or change.retyped or change.key_changed or not change.key)


def _retyped(changes: Sequence[SchemaChange]) -> dict[str, frozenset[str]]:
    """The types by which columns of the newest one compared before, as far as they are known: also of one that was
    dropped and came again of another type."""
    newest = {column.name: column.compared for column in changes[-1].columns}
    named = {name for change in changes for name in change.retyped}
    found: dict[str, set[str]] = {name: set() for name in newest}
    for change in changes[:-1]:
        for column in change.columns:
            if column.name in found and column.compared is not None:
                found[column.name].add(column.compared)
    return {
        name: frozenset(types)
        for name, types in found.items()
        if name in named or (newest[name] is not None and types - {newest[name]})
    }
