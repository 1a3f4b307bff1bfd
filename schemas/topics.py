"""Names of topics, headers of records, and the partition of a key."""

from __future__ import annotations

import re
import struct

PREFIX = "placemat"
LONGEST_TOPIC = 249
"""Characters of a name that Kafka takes."""

SCHEMA_CHANGES_TOPIC = f"{PREFIX}.schema-changes"
"""Topic, of one partition, with every version of every captured table, of all sources."""

AUDIT_TOPIC = f"{PREFIX}.audit"
"""Topic, of one partition, with heads of the audit log, unless it is given another name."""

POSITION_HEADER = "position"
"""`Position.to_header` of the event."""
EPOCH_HEADER = "epoch"
"""Decimal number of the capture that wrote the record: it rises with each take-over."""


def table_topic(source: str, schema: str, table: str) -> str:
    """Topic of a table's changes: every name has its own, and Kafka takes it unless it is longer than `LONGEST_TOPIC`.

    Each byte of schema and table (in UTF-8) that is no ASCII letter, digit or underscore is `-` and two hexadecimal
    digits.
    """
    return f"{PREFIX}.{source}.{_escape(schema)}.{_escape(table)}"


def table_of(topic: str) -> tuple[str, str]:
    """Schema and table of what `table_topic` has named.

    Raises ValueError for another topic.
    """
    _, _, schema, table = topic.split(".")
    return _unescape(schema), _unescape(table)


def messages_topic(source: str) -> str:
    """Topic, of one partition, with what applications wrote by `pg_logical_emit_message`."""
    return f"{PREFIX}.{source}.messages"


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


def _escape(name: str) -> str:
    return _ESCAPED.sub(lambda found: "".join(f"-{byte:02X}" for byte in found[0].encode()), name)


def _unescape(part: str) -> str:
    return re.sub(r"(?:-[0-9A-F]{2})+", lambda found: bytes.fromhex(found[0].replace("-", "")).decode(), part)


_ESCAPED = re.compile(r"[^A-Za-z0-9_]")
