"""The rows of one table at a moment, as the topic tells them; on disk, so that memory does not grow with their number.

A temporary database that SQLite deletes as it opens it, as a replay's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from daemon.errors import OperatorError
from daemon.history.events import Envelope, Seen, decode
from daemon.history.states import Entry, Known, entry_of, row_before
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


class Past:
    """The keys of one table. Every method raises OperatorError when the disk is full.

    `covered` are partitions that hold every change since the moment: what a copy read there later, in the same `era`,
    and nothing had changed, is what there was.
    """

    def __init__(self, table: str, era: int, covered: Collection[int] = ()) -> None:
        self._era = era
        self._covered = frozenset(covered)
        self._emptied: set[int] = set()
        """Partitions that were emptied after the moment: what a copy read there later was made since."""
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
        rows: list[Sequence[object]] = []
        moves: list[tuple[bytes, bytes]] = []
        for event in events:
            envelope = self._decode(event)
            if envelope.op == "t":
                self._store_later(rows, moves)
                rows, moves = [], []
                column = "beyond" if beyond else "inside"
                self._execute(f"UPDATE keys SET {column} = 1 WHERE partition = ?", [event.partition])
                self._emptied.add(event.partition)
                continue
            rows.append(self._later(event, envelope, beyond=beyond))
            if envelope.moved_to:
                moves.append((bytes(envelope.moved_to), event.key))
        self._store_later(rows, moves)

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
                chunk.append(entry_of(row, self._covered))
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
            found += [entry_of(row, self._covered) for row in self._execute(query, part)]
        return found

    def count(self) -> int:
        return int(self._execute("SELECT count(*) FROM keys").fetchone()[0])

    def _later(self, event: Seen, envelope: Envelope, *, beyond: bool) -> Sequence[object]:
        """A row for `_LATER`."""
        op, old, changed = envelope.op, None, True
        if op == "r":
            in_gap = era_of(event.position.timeline) != self._era
            op = "gap" if in_gap or event.partition in self._emptied else "r"
            old, changed = event.value if envelope.after is not None else None, in_gap
        elif op != "c":
            old = row_before(event.key, envelope)
        inside, came = changed and not beyond, bool(envelope.moved_from)
        return (event.key, event.partition, op, old, envelope.source.ts_ms, inside, changed and beyond, came)

    def _store_later(self, rows: Sequence[Sequence[object]], moves: Sequence[Sequence[object]]) -> None:
        self._execute("BEGIN")
        self._execute_many(_LATER, rows)
        self._execute_many("UPDATE keys SET moved = ? WHERE key = ? AND moved IS NULL", moves)
        self._execute("COMMIT")

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
        self._execute_many(_TOLD, ((key, *one) for key, one in pending.items()))
        self._execute("COMMIT")

    def _execute(self, query: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def _execute_many(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        try:
            self._database.executemany(query, rows)
        except sqlite3.OperationalError as error:
            raise _full(error) from error


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


def _full(error: sqlite3.OperationalError) -> OperatorError:
    return OperatorError(
        f"The temporary file of folded events cannot be written: {error}.",
        "It needs about the size of the events: name a directory with room in the variable SQLITE_TMPDIR.",
    )


def _at(position: Position) -> bytes:
    return position.to_header()
