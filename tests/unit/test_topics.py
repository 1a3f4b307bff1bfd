"""Keys go to the partitions that every other Kafka client would put them into."""

from __future__ import annotations

import ctypes
import re

from confluent_kafka import cimpl
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.topics import messages_topic, partition_of, requests_topic, table_of, table_topic, transactions_topic

_partition = ctypes.CDLL(cimpl.__file__).rd_kafka_msg_partitioner_murmur2
_partition.restype = ctypes.c_int32
_partition.argtypes = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
]


@given(st.binary(max_size=300), st.integers(1, 2**31 - 1))
@example(b"", 6)
@example(b"\xff" * 7, 6)
def test_the_partition_of_a_key_is_librdkafkas(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == _partition(None, key, len(key), partitions, None, None)


def test_topics_are_named_by_source_and_table() -> None:
    assert table_topic("primary", "public", "stories") == "placemat.primary.public.stories"
    assert transactions_topic("primary") == "placemat.primary.transactions"
    assert requests_topic("primary") == "placemat.primary.requests"
    assert messages_topic("primary") == "placemat.primary.messages"


names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)


@given(names, names)
@example("a.b", "c")
@example("a", "b.c")
@example("a-2E", "-")
def test_every_name_of_a_table_has_a_topic_that_kafka_takes_and_that_names_it(schema: str, table: str) -> None:
    topic = table_topic("primary", schema, table)
    assert re.fullmatch(r"[a-zA-Z0-9._-]+", topic)
    assert table_of(topic) == (schema, table)
