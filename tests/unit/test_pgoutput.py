"""The decoder refuses what it does not know, and reads the frames around the messages."""

from __future__ import annotations

import struct

import pytest

from daemon.capture import pgoutput


def test_a_keepalive_tells_the_end_of_the_log_and_whether_to_answer() -> None:
    frame = b"k" + struct.pack("!QqB", 2**63, 0, 1)
    assert pgoutput.read_keepalive(frame) == (2**63, True)


def test_data_begins_after_its_header() -> None:
    frame = b"w" + struct.pack("!QQq", 7, 9, 1_000_000) + b"payload"
    assert pgoutput.read_xlog_header(frame) == (7, 9, pgoutput.EPOCH_2000_US + 1_000_000)
    assert frame[pgoutput.XLOG_HEADER_BYTES :] == b"payload"


def test_a_status_tells_flushed_as_applied_and_never_more_than_given() -> None:
    update = pgoutput.status_update(20, 10, pgoutput.EPOCH_2000_US + 5)
    assert struct.unpack("!cQQQqB", update) == (b"r", 20, 10, 10, 5, 0)


@pytest.mark.parametrize(
    ("read", "payload"),
    [
        (pgoutput.read_insert, b"I\x00\x00\x00\x01X\x00\x00"),
        (pgoutput.read_update, b"U\x00\x00\x00\x01X\x00\x00"),
        (pgoutput.read_update, b"U\x00\x00\x00\x01K\x00\x00X\x00\x00"),
        (pgoutput.read_delete, b"D\x00\x00\x00\x01N\x00\x00"),
        (pgoutput.read_insert, b"I\x00\x00\x00\x01N\x00\x01b\x00\x00\x00\x00"),
    ],
)
def test_an_unknown_tuple_is_refused_and_never_guessed(read: object, payload: bytes) -> None:
    assert callable(read)
    with pytest.raises(pgoutput.ProtocolError):
        read(payload)
