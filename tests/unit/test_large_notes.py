"""What is said of rows that go both ways comes through whatever limit Kafka's records have."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.two_way.outward import LONGEST_MESSAGE, together
from daemon.capture.codec import Head
from daemon.capture.messages import MessageCodec
from daemon.capture.pgoutput import Message
from daemon.config.kafka import Kafka
from daemon.resolve import wire
from daemon.resolve.values import Digest
from schemas.resolution import ANSWERS_PREFIX, MARKS_PREFIX, AnswerEntry, KnownEntry, MarkEntry

LONGEST_NAME = "ä" * 63
SMALLEST_LIMIT = 65_536
KNOWN = {"ledger": KnownEntry(fields={"bio": [b"12345678"]})}


def published(prefix: str, content: bytes, limit: int) -> tuple[dict[str, Any], bool]:
    codec = MessageCodec(LONGEST_NAME, LONGEST_NAME)
    head = Head(2**31, 2**63, 2**52, 2**32)
    record, lost = codec.write(head, 2**63, 2**40, 2**52, Message(True, 2**63, prefix, content), limit)
    assert len(record.key) + len(record.value) <= limit
    return json.loads(record.value)["message"], lost


def content(message: dict[str, Any]) -> bytes:
    return base64.b64decode(message["content"])


def test_the_smallest_limit_is_what_the_configuration_allows() -> None:
    (least,) = [one.ge for one in Kafka.model_fields["max_record_bytes"].metadata if hasattr(one, "ge")]
    assert least == SMALLEST_LIMIT


def test_a_message_of_many_notes_is_published_whole_at_the_smallest_limit() -> None:
    message, lost = published(ANSWERS_PREFIX, b"x" * LONGEST_MESSAGE, SMALLEST_LIMIT)
    assert (content(message), lost) == (b"x" * LONGEST_MESSAGE, False)


@given(st.lists(st.text("aü€", min_size=1, max_size=40).map(lambda text: f'"{text * 600}"')))
def test_notes_keep_their_order_over_messages_of_which_none_is_too_long_but_for_a_single_one(notes: list[str]) -> None:
    messages = together(notes)
    read = [json.loads(one) for one in messages]
    assert [json.dumps(note, ensure_ascii=False) for some in read for note in some] == notes
    assert all(len(one.encode()) <= LONGEST_MESSAGE for one, some in zip(messages, read, strict=True) if len(some) > 1)


def test_an_answer_too_large_to_publish_says_what_was_judged_and_that_its_row_is_not_told() -> None:
    answers = [
        AnswerEntry("public.stories", "1", {"bio": "x" * 100_000}, KNOWN, ["bio"], "ledger"),
        AnswerEntry("public.stories", "2", None, KNOWN),
    ]
    message, lost = published(ANSWERS_PREFIX, msgspec.json.encode(answers), SMALLEST_LIMIT)
    assert not lost
    large, gone = msgspec.json.decode(content(message), type=list[msgspec.Raw])
    answer = wire.read_answer(bytes(large))
    assert answer.row == {}, "it is there, and no field is told"
    assert (answer.renewed, answer.origin) == (frozenset({"bio"}), "ledger")
    assert answer.known["ledger"].covers("bio", Digest(b"12345678"))
    assert wire.read_answer(bytes(gone)).row is None


def test_a_mark_too_large_to_publish_says_what_was_sent() -> None:
    marks = [MarkEntry("public.stories", "1", (1, 2, 3), {"bio": b"12345678"}, made={"bio": "x" * 100_000}, row=True)]
    message, lost = published(MARKS_PREFIX, msgspec.json.encode(marks), SMALLEST_LIMIT)
    assert not lost
    assert msgspec.json.decode(content(message), type=list[MarkEntry]) == [msgspec.structs.replace(marks[0], made={})]


def test_what_cannot_be_told_without_values_comes_without_content() -> None:
    for prefix, given_content in ((ANSWERS_PREFIX, b"nobody's"), (MARKS_PREFIX, b"nobody's"), ("app", b"")):
        message, lost = published(prefix, given_content + b"x" * 100_000, SMALLEST_LIMIT)
        assert (message["content"], lost) == (None, True)
