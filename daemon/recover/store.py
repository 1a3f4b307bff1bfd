"""What the topics say of each key, on disk: memory does not grow with the number of keys.

A temporary database that SQLite deletes as it opens it: nothing is left behind, however the process ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from connectors.contract import Expected, Refusal
from daemon.errors import OperatorError
from daemon.recover.contents import decode_head, overlay

CACHE_KIB = 8_192


class Seen(NamedTuple):
    """A record of one table as the fold needs it."""

    partition: int
    key: bytes
    value: bytes


class Entry(NamedTuple):
    """`id` is the key's place in the order in which keys were met; `later` says that newer events are left out."""

    id: int
    expected: Expected
    later: bool

    @property
    def present(self) -> bool:
        """Whether the key has a row."""
        return self.expected.content is not None


class TableStore:
    """The keys of one table."""

    def __init__(self, database: sqlite3.Connection, number: int) -> None:
        self._database = database
        self._keys, self._left = f"keys_{number}", f"left_{number}"
        self.truncated = False
        """Whether the table was emptied: then keys that were never met have no row."""
        database.execute(
            f"CREATE TABLE {self._keys} (id INTEGER PRIMARY KEY, key BLOB UNIQUE, partition INTEGER, content BLOB,"
            " later INTEGER NOT NULL DEFAULT 0)"
        )
        database.execute(f"CREATE TABLE {self._left} (key BLOB PRIMARY KEY, reason TEXT, incomplete INTEGER)")

    def fold(self, records: Iterable[Seen]) -> None:
        """Take records in, in the order of their partitions. Raises OperatorError when the disk is full."""
        pending: dict[bytes, tuple[int, bytes | None]] = {}
        for partition, key, value in records:
            head = decode_head(value)
            if head.op == "t":
                self._store(pending)
                pending = {}
                self._empty(partition)
            elif head.gone:
                pending[key] = partition, None
            elif head.unchanged:
                known = pending[key][1] if key in pending else self._content(key)
                pending[key] = partition, overlay(known, value)
            else:
                pending[key] = partition, value
        self._store(pending)

    def fold_later(self, records: Iterable[Seen]) -> None:
        """Take in that keys have newer events than those that are asked for."""
        for partition, key, value in records:
            if decode_head(value).op == "t":
                self._execute(f"UPDATE {self._keys} SET later = 1 WHERE partition = ?", [partition])
            else:
                self._execute(f"UPDATE {self._keys} SET later = 1 WHERE key = ?", [key])

    def last(self) -> int:
        """The newest key's id; 0 when there is none."""
        return self._number(f"SELECT coalesce(max(id), 0) FROM {self._keys}")

    def count(self) -> int:
        return self._number(f"SELECT count(*) FROM {self._keys}")

    def present(self, through: int, rows: int, size: int) -> Iterator[list[Entry]]:
        """Keys that have a row, in the order in which they were met: chunks of so many rows and so many bytes."""
        return self._chunks("content IS NOT NULL", through, rows, size)

    def gone(self, through: int, rows: int) -> Iterator[list[Entry]]:
        """Keys that have none."""
        return self._chunks("content IS NULL", through, rows, 0)

    def look_up(self, keys: Sequence[bytes]) -> list[Entry]:
        """What is known now of these keys."""
        found = []
        for first in range(0, len(keys), 500):
            part = keys[first : first + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, key, content, later FROM {self._keys} WHERE key IN ({marks}) ORDER BY id"
            found += [_entry(row) for row in self._execute(query, part)]
        return found

    def leave(self, refusals: Iterable[Refusal], *, incomplete: bool = False) -> None:
        """Remember keys to come back to: those that were refused, or those of which too little is known."""
        self._database.executemany(
            f"INSERT OR REPLACE INTO {self._left} VALUES (?, ?, ?)",
            [(one.key, one.reason, incomplete) for one in refusals],
        )

    def left(self, *, incomplete: bool = False) -> list[Refusal]:
        """What was left, and is forgotten here."""
        rows = self._execute(f"SELECT key, reason FROM {self._left} WHERE incomplete = ?", [incomplete]).fetchall()
        self._execute(f"DELETE FROM {self._left} WHERE incomplete = ?", [incomplete])
        return [Refusal(key, reason) for key, reason in rows]

    def _chunks(self, which: str, through: int, rows: int, size: int) -> Iterator[list[Entry]]:
        after = 0
        query = (
            f"SELECT id, key, content, later FROM {self._keys} WHERE id > ? AND id <= ? AND {which} ORDER BY id LIMIT ?"
        )
        while True:
            chunk: list[Entry] = []
            bytes_ = 0
            for row in self._execute(query, [after, through, rows]):
                chunk.append(_entry(row))
                bytes_ += len(row[2] or b"")
                if size and bytes_ >= size:
                    break
            if not chunk:
                return
            after = chunk[-1].id
            yield chunk

    def _empty(self, partition: int) -> None:
        self.truncated = True
        self._execute(f"UPDATE {self._keys} SET content = NULL WHERE partition = ?", [partition])

    def _content(self, key: bytes) -> bytes | None:
        row: tuple[bytes | None] | None = self._execute(
            f"SELECT content FROM {self._keys} WHERE key = ?", [key]
        ).fetchone()
        return row[0] if row else None

    def _store(self, pending: dict[bytes, tuple[int, bytes | None]]) -> None:
        try:
            self._database.execute("BEGIN")
            self._database.executemany(
                f"INSERT INTO {self._keys} (key, partition, content) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET content = excluded.content",
                ((key, *rest) for key, rest in pending.items()),
            )
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def _number(self, query: str) -> int:
        return int(self._execute(query).fetchone()[0])

    def _execute(self, query: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except sqlite3.OperationalError as error:
            raise _full(error) from error


class KeyStore:
    """One `TableStore` a table."""

    def __init__(self, tables: Sequence[str]) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self.tables = {table: TableStore(self._database, number) for number, table in enumerate(tables)}

    def close(self) -> None:
        self._database.close()


def _entry(row: tuple[int, bytes, bytes | None, int]) -> Entry:
    return Entry(row[0], Expected(row[1], row[2]), bool(row[3]))


def _full(error: sqlite3.OperationalError) -> OperatorError:
    return OperatorError(
        f"The temporary file of this replay cannot be written: {error}.",
        "It needs about the size of the replayed events: name a directory with room in the variable SQLITE_TMPDIR.",
    )
