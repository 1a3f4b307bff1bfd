"""What applications write into the log by `pg_logical_emit_message`, as records of op `m`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
import orjson

from daemon.capture.codec import Head, Record, Tail
from daemon.capture.pgoutput import Message
from daemon.capture.reader import MARK_PREFIX
from schemas.resolution import ANSWERS_PREFIX, MARKS_PREFIX, NOTES, AnswerEntry, MarkEntry
from schemas.topics import messages_topic

OURS: Final = NOTES | {MARK_PREFIX}
"""Prefixes of the daemon's own messages. Notes are passed on where tables go both ways."""
LONGEST_PREFIX: Final = 1_000
"""Characters of a prefix that are kept where a message is too large to publish."""

_answers = msgspec.json.Decoder(list[AnswerEntry]).decode
_marks = msgspec.json.Decoder(list[MarkEntry]).decode


class MessageCodec:
    """Writes the records of one source's messages."""

    def __init__(self, source: str, database: str) -> None:
        self.topic = messages_topic(source)
        self._tail = Tail(source, database, self.topic, "", "").write

    def write(
        self, head: Head, lsn: int, ordinal: int, now_ms: int, message: Message, limit: int
    ) -> tuple[Record, bool]:
        """The record of one message, and whether anything is lost: what is larger than `limit` bytes comes without its
        content, but for a note of ours. That comes without the values of rows, which can be asked for."""
        tail = self._tail(head, lsn, ordinal, now_ms, b"m")
        record = _record(message.prefix, _quoted(message.content), b"", tail)
        if (size := _size(record)) <= limit:
            return record, False
        if (without := _WITHOUT_VALUES.get(message.prefix)) is not None:
            with suppress(msgspec.DecodeError):  # somebody else's, under a name of ours
                record = _record(message.prefix, _quoted(without(message.content)), b"", tail)
            if _size(record) <= limit:
                return record, False
        return _record(message.prefix[:LONGEST_PREFIX], b"null", b',"oversize":%d' % size, tail), True


def _answers_without_rows(content: bytes) -> bytes:
    """Keys, and what was judged of each."""
    some = [msgspec.structs.replace(one, row=None, untold=one.row is not None) for one in _answers(content)]
    return msgspec.json.encode(some)


def _marks_without_values(content: bytes) -> bytes:
    """Keys, and digests of what was sent: what the spoke has made of it stands in the row's own record too."""
    return msgspec.json.encode([msgspec.structs.replace(one, made={}) for one in _marks(content)])


_WITHOUT_VALUES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    ANSWERS_PREFIX: _answers_without_rows,
    MARKS_PREFIX: _marks_without_values,
}


def _quoted(content: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(content)


def _size(record: Record) -> int:
    return len(record.key) + len(record.value)


def _record(prefix: str, content: bytes, marks: bytes, tail: bytes) -> Record:
    name = orjson.dumps(prefix)
    value = b'{"before":null,"after":null,"message":{"prefix":%b,"content":%b}%b%b' % (name, content, marks, tail)
    return Record(b'{"prefix":%b}' % name, value)
