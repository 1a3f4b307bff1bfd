"""Names of topics, headers of records, and the partition of a key."""

from __future__ import annotations

import struct

PREFIX = "placemat"

POSITION_HEADER = "position"
"""`Position.to_header` of the event."""
EPOCH_HEADER = "epoch"
"""Decimal number of the capture that wrote the record: it rises with each take-over."""


def table_topic(source: str, schema: str, table: str) -> str:
    """Topic of a table's changes."""
    return f"{PREFIX}.{source}.{schema}.{table}"


def transactions_topic(source: str) -> str:
    """Topic, of one partition, with the end of each transaction in commit order."""
    return f"{PREFIX}.{source}.transactions"


def requests_topic(source: str) -> str:
    """Topic, of one partition, on which targets ask for rows that they need whole."""
    return f"{PREFIX}.{source}.requests"


def murmur2(data: bytes) -> int:
    """The hash of Kafka's Java client (seed 0x9747b28c), as an unsigned 32-bit number.

    Source: org.apache.kafka.common.utils.Utils.murmur2; checked against librdkafka in the tests.
    """
    length = len(data)
    h = 0x9747B28C ^ length
    words = length >> 2
    for k in struct.unpack_from(f"<{words}I", data):
        k = (k * 0x5BD1E995) & 0xFFFFFFFF
        k = ((k ^ (k >> 24)) * 0x5BD1E995) & 0xFFFFFFFF
        h = ((h * 0x5BD1E995) & 0xFFFFFFFF) ^ k
    rest = data[words << 2 :]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * 0x5BD1E995) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 0x5BD1E995) & 0xFFFFFFFF
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
