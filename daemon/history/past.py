"""The rows of one table at a moment, as the topic tells them; on disk, so that memory does not grow with their number.

A temporary database that SQLite deletes as it opens it, as a replay's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from daemon.errors import OperatorError
from daemon.history.events import JSON_NULL, Envelope, Seen, Values, decode
from daemon.recover.contents import overlay, partial
from schemas.position import Position, era_of

CACHE_KIB = 8_192
_KEYS = """
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, key BLOB UNIQUE, partition INTEGER,
    told INTEGER NOT NULL,  -- whether an event of before the moment's end tells of it
    content BLOB, base BLOB, ts_ms INTEGER, lsn INTEGER,
    next_op TEXT, next BLOB, next_ts INTEGER,  -- the first event that is later
    moved BLOB,  -- the key that the row of the moment was given later
    inside INTEGER NOT NULL DEFAULT 0, beyond INTEGER NOT NULL DEFAULT 0,
    came INTEGER NOT NULL DEFAULT 0  -- whether the key was given to a row later
)
"""
_MOVES = "CREATE TABLE moves (place BLOB PRIMARY KEY, content BLOB, base BLOB)"
_TOLD = """
INSERT INTO keys (key, partition, told, content, base, ts_ms, lsn) VALUES (?, ?, 1, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET content = excluded.content, base = excluded.base, ts_ms = excluded.ts_ms,
    lsn = excluded.lsn
"""
_LATER = """
INSERT INTO keys (key, partition, told, next_op, next, next_ts, inside, beyond, came)
VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET inside = max(inside, excluded.inside), beyond = max(beyond, excluded.beyond),
    came = max(came, excluded.came),
    next_op = coalesce(next_op, excluded.next_op), next_ts = coalesce(next_ts, excluded.next_ts)
"""
_COLUMNS = """
SELECT id, key, partition, told, content, ts_ms, lsn, next_op, next, next_ts, moved, came, inside, beyond FROM keys
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A row of the moment: what is told of its values. `unknown` are columns whose value is not; `large` is the size of
    one that was too large to publish; of those in `json_text` the value is JSON within a string. `lsn` is the commit of
    its last change, 0 where that is not told.

    With `since_ms` nothing is told of the row before that time (milliseconds since 1970), when it was there: what is
    known of it is what its next event tells of the old row, in which a NULL of a column of JSON may be JSON's null, and
    columns may be missing that are not named.
    """

    key: bytes
    values: Values
    unknown: tuple[str, ...] = ()
    ts_ms: int | None = None
    lsn: int = 0
    json_text: tuple[str, ...] = ()
    large: int | None = None
    since_ms: int | None = None


class Absent(NamedTuple):
    """The key had no row then."""

    key: bytes


class Untold(NamedTuple):
    """Nothing is told of the key before this time (milliseconds since 1970)."""

    key: bytes
    since_ms: int


State = Known | Absent | Untold


class Entry(NamedTuple):
    """A key. `inside`: it was changed after the moment and within the window that was asked for; `beyond`: later than
    that. `moved` is the key that its row was given after the moment; `came`: the key was given to a row then."""

    id: int
    state: State
    moved: bytes | None
    came: bool
    inside: bool
    beyond: bool


class Past:
    """The keys of one table. Every method raises OperatorError when the disk is full.

    `covered` are partitions that hold every change since the moment: what a copy read there later, in the same `era`,
    and nothing had changed, is what there was.
    """

    def __init__(self, table: str, era: int, covered: Collection[int] = ()) -> None:
        self._era = era
        self._covered = frozenset(covered)
        self.newest_ms: int | None = None
        """When the newest event that counts was committed."""
        self._table = table
        self._database = sqlite3.connect("", isolation_level=None)
        for statement in (f"PRAGMA cache_size = -{CACHE_KIB}", "PRAGMA synchronous = OFF", "PRAGMA journal_mode = OFF"):
            self._database.execute(statement)
        self._database.execute(_KEYS)
        self._database.execute(_MOVES)

    def close(self) -> None:
        self._database.close()

    def take(self, events: Iterable[Seen]) -> None:
        """Take in events of before the moment's end, in the order of their partitions.

        Raises OperatorError where they have no key.
        """
        pending: dict[bytes, _Pending] = {}
        for event in events:
            envelope = self._decode(event)
            self.newest_ms = max(self.newest_ms or 0, envelope.source.ts_ms)
            if envelope.op == "t":
                self._store(pending)
                pending = {}
                self._execute("UPDATE keys SET content = NULL, base = NULL WHERE partition = ?", [event.partition])
                continue
            known = pending.get(event.key)
            if known is None and (envelope.unchanged or envelope.moved_to):
                known = self._stored(event.key)
            if envelope.moved_to:
                content, base = (known.content, known.base) if known else (None, None)
                self._execute("INSERT OR REPLACE INTO moves VALUES (?, ?, ?)", [_at(event.position), content, base])
            pending[event.key] = _folded(known, event, envelope)
        self._store(pending)

    def take_later(self, events: Iterable[Seen], *, beyond: bool = False) -> None:
        """Take in events of after the moment; `beyond`, of after the window that was asked for."""
        self._execute("BEGIN")
        for event in events:
            envelope = self._decode(event)
            if envelope.op == "t":
                column = "beyond" if beyond else "inside"
                self._execute(f"UPDATE keys SET {column} = 1 WHERE partition = ?", [event.partition])
                continue
            copied = envelope.op == "r"
            old = event.value if copied and envelope.after is not None else None
            if envelope.op in ("u", "d"):
                old = _old_row(event.key, envelope)
            changed = (not beyond, beyond) if not copied else (False, False)
            came = bool(envelope.moved_from)
            op = "gap" if copied and era_of(event.position.timeline) != self._era else envelope.op
            values = [event.key, event.partition, op, old, envelope.source.ts_ms, *changed, came]
            self._execute(_LATER, values)
            if envelope.moved_to:
                moved = bytes(envelope.moved_to)
                self._execute("UPDATE keys SET moved = ? WHERE key = ? AND moved IS NULL", [moved, event.key])
        self._execute("COMMIT")

    def settle(self, made_lsn: int = 0) -> None:
        """When all is taken in: lay parts of rows over what the rows were under the keys that they had before.

        Rows whose last change is before `made_lsn` were those of another table of the name.
        """
        self._execute("UPDATE keys SET content = NULL, base = NULL WHERE lsn < ?", [made_lsn])
        last = 0
        while rows := self._execute(
            "SELECT id, content, base FROM keys WHERE base IS NOT NULL AND id > ? ORDER BY id LIMIT 500", [last]
        ).fetchall():
            for id_, content, base in rows:
                self._execute("UPDATE keys SET content = ?, base = NULL WHERE id = ?", [self._laid(content, base), id_])
            last = rows[-1][0]

    def columns(self) -> list[str]:
        """Every column that a row of the moment has, as far as they are told, in the order in which they were met."""
        names: dict[str, None] = {}
        for chunk in self.chunks():
            for entry in chunk:
                if isinstance(entry.state, Known):
                    names |= dict.fromkeys((*entry.state.values, *entry.state.unknown))
        return list(names)

    def chunks(self, rows: int = 500, size: int = 4 * 1024 * 1024) -> Iterator[list[Entry]]:
        """All keys in the order in which they were met: so many at a time, and so many bytes."""
        after = 0
        while True:
            chunk: list[Entry] = []
            bytes_ = 0
            for row in self._execute(f"{_COLUMNS} WHERE id > ? ORDER BY id LIMIT ?", [after, rows]):
                chunk.append(_entry(row, self._covered))
                bytes_ += len(row[4] or row[8] or b"")
                if bytes_ >= size:
                    break
            if not chunk:
                return
            after = chunk[-1].id
            yield chunk

    def look_up(self, keys: Sequence[bytes]) -> list[Entry]:
        """What is known of some keys."""
        found = []
        for first in range(0, len(keys), 500):
            part = keys[first : first + 500]
            query = f"{_COLUMNS} WHERE key IN ({','.join('?' * len(part))}) ORDER BY id"
            found += [_entry(row, self._covered) for row in self._execute(query, part)]
        return found

    def count(self) -> int:
        return int(self._execute("SELECT count(*) FROM keys").fetchone()[0])

    def _decode(self, event: Seen) -> Envelope:
        envelope = decode(event.value)
        if not event.key and envelope.op != "t":
            raise OperatorError(
                f"Table {self._table} has no primary key: its rows cannot be told apart.",
                "Read its events with placemat tail.",
            )
        return envelope

    def _laid(self, content: bytes, base: bytes | None) -> bytes:
        while base is not None and partial(content):
            row = self._execute("SELECT content, base FROM moves WHERE place = ?", [base]).fetchone()
            if row is None or row[0] is None:
                break
            content, base = overlay(row[0], content), row[1]
        return content

    def _stored(self, key: bytes) -> _Pending | None:
        row = self._execute("SELECT partition, content, base, ts_ms, lsn FROM keys WHERE key = ?", [key]).fetchone()
        return _Pending(*row) if row else None

    def _store(self, pending: Mapping[bytes, _Pending]) -> None:
        self._execute("BEGIN")
        for key, one in pending.items():
            self._execute(_TOLD, [key, *one])
        self._execute("COMMIT")

    def _execute(self, query: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except sqlite3.OperationalError as error:
            raise OperatorError(
                f"The temporary file of folded events cannot be written: {error}.",
                "It needs about the size of the events: name a directory with room in the variable SQLITE_TMPDIR.",
            ) from error


class _Pending(NamedTuple):
    partition: int
    content: bytes | None
    base: bytes | None
    ts_ms: int
    lsn: int


def _folded(known: _Pending | None, event: Seen, envelope: Envelope) -> _Pending:
    content: bytes | None = event.value
    base: bytes | None = None
    if envelope.after is None:
        content = None
    elif envelope.unchanged and envelope.moved_from:
        timeline, commit_lsn, ordinal = event.position
        base = _at(Position(timeline, commit_lsn, ordinal - 1))
    elif envelope.unchanged and known is not None:
        content = overlay(known.content, event.value)
        base = known.base if known.content is not None and partial(content) else None
    return _Pending(event.partition, content, base, envelope.source.ts_ms, event.position.commit_lsn)


def _old_row(key: bytes, envelope: Envelope) -> bytes:
    """What a later event tells of the row before it: all of it under REPLICA IDENTITY FULL, else its key."""
    before = {**_decode_key(key), **(envelope.before or {})}
    names = {*(envelope.after or {}), *(envelope.unchanged or ())} - before.keys()
    return msgspec.json.encode({"op": "u", "after": before, "unchanged": sorted(names)})


def _entry(row: Sequence[Any], covered: Collection[int]) -> Entry:
    id_, key, partition, told, content, ts_ms, lsn, next_op, next_, next_ts, moved, came, inside, beyond = row
    state: State
    if told:
        state = Absent(key) if content is None else _known(key, content, ts_ms, lsn)
    elif next_op == "c":
        state = Absent(key)
    elif next_op == "gap" or (next_op == "r" and partition not in covered):
        state = Untold(key, next_ts)
    elif next_op == "r":
        state = Absent(key) if next_ is None else _known(key, next_, None, 0)
    else:
        state = replace(_known(key, next_, None, 0), since_ms=next_ts)
    return Entry(id_, state, moved, bool(came), bool(inside), bool(beyond))


class _Content(msgspec.Struct):
    after: dict[str, msgspec.Raw]
    unchanged: list[str] | None = None
    json_null: list[str] | None = None
    json_text: list[str] | None = None
    oversize: int | None = None


_decode_key = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_content = msgspec.json.Decoder(_Content).decode


def _known(key: bytes, content: bytes, ts_ms: int | None, lsn: int) -> Known:
    read = _decode_content(content)
    values = {**read.after, **dict.fromkeys(read.json_null or (), JSON_NULL)}
    unknown, texts = tuple(read.unchanged or ()), tuple(read.json_text or ())
    return Known(key, values, unknown, ts_ms, lsn, texts, read.oversize)


def _at(position: Position) -> bytes:
    return position.to_header()
