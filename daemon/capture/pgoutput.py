"""The replication stream, protocol version 1: bytes in, values out. Nothing here waits or talks.

Source: PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

EPOCH_2000_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000; we count from 1970."""

_U16 = struct.Struct("!H").unpack_from
_I32 = struct.Struct("!i").unpack_from
_U32 = struct.Struct("!I").unpack_from
_XLOG = struct.Struct("!QQq").unpack_from
_KEEPALIVE = struct.Struct("!QqB").unpack_from
_BEGIN = struct.Struct("!QqI").unpack_from
_COMMIT = struct.Struct("!BQQq").unpack_from
_STATUS = struct.Struct("!cQQQqB").pack

XLOG_DATA: Final = ord("w")
KEEPALIVE: Final = ord("k")
XLOG_HEADER_BYTES: Final = 25


class Unchanged(Enum):
    """The mark for a stored value that was not touched and therefore not sent."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Cell = bytes | None | Literal[Unchanged.UNCHANGED]
"""A column's value as PostgreSQL writes it in text, NULL, or not sent."""


class ProtocolError(Exception):
    """The stream holds what this decoder does not know: never skipped, never guessed."""


class Keepalive(NamedTuple):
    wal_end: int
    reply_requested: bool


class Begin(NamedTuple):
    commit_lsn: int
    ts_us: int
    xid: int


class Commit(NamedTuple):
    commit_lsn: int
    end_lsn: int
    ts_us: int


class Truncate(NamedTuple):
    cascade: bool
    restart_identity: bool
    oids: tuple[int, ...]


class Message(NamedTuple):
    transactional: bool
    lsn: int
    prefix: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Column:
    """`key` says that the column belongs to the replica identity."""

    name: str
    type_oid: int
    typmod: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the stream describes it. `identity` is `d`efault, `n`othing, `f`ull or `i`ndex."""

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


def read_xlog_header(frame: bytes) -> tuple[int, int, int]:
    """Start LSN of the data, end of WAL on the server, and send time in microseconds since 1970."""
    start, end, sent = _XLOG(frame, 1)
    return start, end, sent + EPOCH_2000_US


def read_keepalive(frame: bytes) -> Keepalive:
    wal_end, _, reply = _KEEPALIVE(frame, 1)
    return Keepalive(wal_end, bool(reply))


def status_update(received: int, flushed: int, now_us: int, *, ask: bool = False) -> bytes:
    """A standby status update: written, flushed and applied positions, client time in microseconds since 1970.

    `ask` has the server answer at once with a keepalive.
    """
    return _STATUS(b"r", received, flushed, flushed, now_us - EPOCH_2000_US, ask)


def read_begin(payload: bytes) -> Begin:
    lsn, ts, xid = _BEGIN(payload, 1)
    return Begin(lsn, ts + EPOCH_2000_US, xid)


def read_commit(payload: bytes) -> Commit:
    _, lsn, end, ts = _COMMIT(payload, 1)
    return Commit(lsn, end, ts + EPOCH_2000_US)


def read_origin(payload: bytes) -> str:
    """Name of the replication origin."""
    return _text(payload, 9)[0]


def read_relation(payload: bytes) -> Relation:
    (oid,) = _U32(payload, 1)
    schema, at = _text(payload, 5)
    table, at = _text(payload, at)
    identity = chr(payload[at])
    (count,) = _U16(payload, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        key = payload[at] == 1
        name, at = _text(payload, at + 1)
        (type_oid,) = _U32(payload, at)
        (typmod,) = _I32(payload, at + 4)
        at += 8
        columns.append(Column(name, type_oid, typmod, key))
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns))


def read_oid(payload: bytes) -> int:
    """The relation that an insert, update or delete is about."""
    oid: int = _U32(payload, 1)[0]
    return oid


def read_insert(payload: bytes) -> list[Cell]:
    if payload[5] != 78:  # N
        raise ProtocolError(f"an insert with tuple kind {payload[5]}")
    return read_tuple(payload, 6)[0]


def read_update(payload: bytes) -> tuple[str, list[Cell], list[Cell]]:
    """Kind of the old tuple (`K` key, `O` whole row, or empty), old tuple, new tuple."""
    kind, at, old = "", 5, list[Cell]()
    if payload[5] != 78:
        kind = chr(payload[5])
        if kind not in "KO":
            raise ProtocolError(f"an update with tuple kind {payload[5]}")
        old, at = read_tuple(payload, 6)
    if payload[at] != 78:
        raise ProtocolError(f"an update whose new tuple has kind {payload[at]}")
    return kind, old, read_tuple(payload, at + 1)[0]


def read_delete(payload: bytes) -> tuple[str, list[Cell]]:
    """Kind of the old tuple (`K` or `O`), old tuple."""
    kind = chr(payload[5])
    if kind not in "KO":
        raise ProtocolError(f"a delete with tuple kind {payload[5]}")
    return kind, read_tuple(payload, 6)[0]


def read_truncate(payload: bytes) -> Truncate:
    (count,) = _U32(payload, 1)
    options = payload[5]
    return Truncate(bool(options & 1), bool(options & 2), struct.unpack_from(f"!{count}I", payload, 6))


def read_message(payload: bytes) -> Message:
    transactional = bool(payload[1] & 1)
    (lsn,) = struct.unpack_from("!Q", payload, 2)
    prefix, at = _text(payload, 10)
    (length,) = _U32(payload, at)
    return Message(transactional, lsn, prefix, payload[at + 4 : at + 4 + length])


def read_tuple(payload: bytes, at: int) -> tuple[list[Cell], int]:
    """The cells of one row, and where the next thing begins.

    Raises ProtocolError for a kind of cell that was not asked for (binary).
    """
    (count,) = _U16(payload, at)
    at += 2
    cells: list[Cell] = []
    for _ in range(count):
        kind = payload[at]
        at += 1
        if kind == 116:  # t: text
            (length,) = _I32(payload, at)
            at += 4
            cells.append(payload[at : at + length])
            at += length
        elif kind == 110:  # n: NULL, or not sent in an old key
            cells.append(None)
        elif kind == 117:  # u: unchanged
            cells.append(UNCHANGED)
        else:
            raise ProtocolError(f"a cell of kind {kind}")
    return cells, at


def _text(payload: bytes, at: int) -> tuple[str, int]:
    end = payload.index(0, at)
    return payload[at:end].decode(), end + 1
