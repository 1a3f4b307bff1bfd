"""Reads topics from their beginning to their end, into a temporary table: one small row per record."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from psycopg import Connection

from daemon.embedded.witness.tables import Table

# late: at a lower capture epoch than a record before it in the partition
CREATE_RECORD = """
CREATE TEMPORARY TABLE record (
    "table" text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL, position text NOT NULL,
    late boolean NOT NULL, op text NOT NULL, key text NOT NULL, xid bigint
)
"""
COPY_RECORD = 'COPY record ("table", partition, "offset", position, late, op, key, xid) FROM STDIN'

BATCH = 1_000
POLL_S = 0.1
SILENCE_S = 60.0
"""A broker that sends nothing for so long is not going to."""

RecordRow = tuple[str, int, int, str, bool, str, str, int | None]


def read_topics(
    conn: Connection[Any], bootstrap_servers: str, topics: Sequence[str], tables: Mapping[str, Table]
) -> dict[str, int]:
    """Fill the temporary table `record`; returns the number of partitions by table.

    A topic belongs to the table that its last two parts name; one that does not exist is one without records. Raises
    ValueError for a record without the headers `position` and `epoch`, TimeoutError when the broker falls silent.
    """
    conn.execute(CREATE_RECORD)
    by_topic = {topic: tables[".".join(topic.split(".")[-2:])] for topic in topics}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"witness-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 16_384,
            "queued.min.messages": 10_000,
            "fetch.queue.backoff.ms": 5,
            "fetch.max.bytes": 16_777_216,
        }
    )
    try:
        partitions = existing_partitions(consumer, topics)
        with conn.cursor() as cursor, cursor.copy(COPY_RECORD) as copy:
            for row in record_rows(messages(consumer, partitions), by_topic):
                copy.write_row(row)
    finally:
        consumer.close()
    conn.execute("ANALYZE record")
    counts = {table.name: 0 for table in tables.values()}
    for partition in partitions:
        counts[by_topic[partition.topic].name] += 1
    return counts


def existing_partitions(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    known = consumer.list_topics(timeout=30).topics
    return [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic in topics
        if topic in known
        for partition in known[topic].partitions
    ]


def messages(consumer: Consumer, partitions: Sequence[TopicPartition]) -> Iterator[Message]:
    """Every message of the partitions, until the end of each has been met once."""
    open_partitions = {(partition.topic, partition.partition) for partition in partitions}
    if open_partitions:
        consumer.assign(list(partitions))
    heard = time.monotonic()
    while open_partitions:
        batch = consumer.consume(BATCH, timeout=POLL_S)
        if batch:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_S:
            raise TimeoutError(
                f"the broker sent nothing for {SILENCE_S:.0f} s with {len(open_partitions)} partitions open"
            )
        for message in batch:
            error = message.error()
            place = (str(message.topic()), message.partition() or 0)
            if error is None:
                if place in open_partitions:
                    yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(place)
            else:
                raise KafkaException(error)


def record_rows(received: Iterator[Message], tables: Mapping[str, Table]) -> Iterator[RecordRow]:
    highest_epoch: defaultdict[tuple[str, int], int] = defaultdict(int)
    for message in received:
        topic, partition, offset = str(message.topic()), message.partition() or 0, message.offset() or 0
        position, epoch = header(message, "position"), int(header(message, "epoch"))
        late = epoch < highest_epoch[topic, partition]
        highest_epoch[topic, partition] = max(epoch, highest_epoch[topic, partition])
        event = orjson.loads(message.value() or b"{}")
        key = "" if event["op"] == "t" else tables[topic].key_of(orjson.loads(message.key() or b"{}"))
        yield tables[topic].name, partition, offset, position, late, event["op"], key, event["source"].get("txId")


def header(message: Message, name: str) -> str:
    value = dict(message.headers() or ()).get(name)
    if not isinstance(value, bytes):
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        raise ValueError(f"the record {place} has no header {name}")  # noqa: TRY004  the record is wrong, not a type
    return value.decode("ascii")
