"""What applications write into the log by `pg_logical_emit_message`, as records of op `m`."""

from __future__ import annotations

import base64
from typing import Final

import orjson

from daemon.capture.codec import Head, Record, Tail
from daemon.capture.pgoutput import Message
from daemon.capture.reader import MARK_PREFIX
from schemas.resolution import NOTES
from schemas.topics import messages_topic

OURS: Final = NOTES | {MARK_PREFIX}
"""Prefixes of the daemon's own messages. Notes are passed on where tables go both ways."""
LONGEST_PREFIX: Final = 1_000
"""Characters of a prefix that are kept where a message is too large to publish."""


class MessageCodec:
    """Writes the records of one source's messages."""

    def __init__(self, source: str, database: str) -> None:
        self.topic = messages_topic(source)
        self._tail = Tail(source, database, self.topic, "", "").write

    def write(self, head: Head, lsn: int, ordinal: int, now_ms: int, message: Message, limit: int) -> Record:
        """The record of one message; one that is larger than `limit` bytes comes without its content."""
        tail = self._tail(head, lsn, ordinal, now_ms, b"m")
        content = base64.b64encode(message.content)
        record = _record(message.prefix, b'"%b"' % content, b"", tail)
        if (size := len(record.key) + len(record.value)) <= limit:
            return record
        return _record(message.prefix[:LONGEST_PREFIX], b"null", b',"oversize":%d' % size, tail)


def _record(prefix: str, content: bytes, marks: bytes, tail: bytes) -> Record:
    name = orjson.dumps(prefix)
    value = b'{"before":null,"after":null,"message":{"prefix":%b,"content":%b}%b%b' % (name, content, marks, tail)
    return Record(b'{"prefix":%b}' % name, value)
