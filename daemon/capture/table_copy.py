"""The two kinds of copies: a table from key to key, and single rows that targets ask for.

Each has at most one chunk between its SELECT and its mark. `read` runs in a thread of the reader's, everything else
in the capture's; while `read` runs nothing else is called.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import psycopg
import structlog

from daemon import seams
from daemon.capture.catalog import Table
from daemon.capture.reader import Reader, Rows
from daemon.capture.values import as_text
from daemon.errors import OperatorError
from daemon.state.jobs import CopyJobs, Job
from schemas.envelope import Row

MOST_KEYS = 1_000
MOST_REQUESTS = 100
"""Rows of one table that are read together."""

Texts = dict[bytes, list[str]]
"""Record key to the texts of its columns."""

log = structlog.get_logger(__name__)


class Copy(Protocol):
    """What is read chunk by chunk. `not_before` is on the monotonic clock."""

    not_before: float

    def begin(self) -> None:
        """A chunk is about to be read."""

    def read(self, reader: Reader, most_bytes: int) -> Rows:
        """Raises psycopg.Error and OperatorError."""

    def names(self, rows: Rows, at: int, key: bytes) -> Collection[bytes]:
        """How the record key of a row is called among the keys that were asked for: each one that the row answers."""

    def missing(self, found: set[bytes], /) -> Texts:
        """Keys that have to be answered although they have no row."""

    def settled(self, rows: Rows, clean: set[bytes], dirty: Texts) -> Callable[[], None] | None:
        """What was read is published, but for `dirty`; what to do once Kafka has it."""


@dataclass(slots=True, eq=False)
class TableCopy:
    """One job. `left` are keys of the present chunk that are still to be read again."""

    job: Job
    jobs: CopyJobs
    limit: int
    not_before: float = 0.0
    started: bool = False
    blockers: frozenset[int] | None = None
    """Transactions that the first SELECT has to see, for a condition that looks at other tables."""
    waiting_since: float | None = None
    refusals: int = 0
    """Reads in a row that the table did not let happen."""
    refused_as: str | None = None
    """The sentence on the last of them."""
    left: Texts = field(default_factory=dict)
    finished: bool = False
    """Read to the end."""
    _after: list[str] | None = None
    _key: list[str] | None = None
    """The columns that `_after` and `left` are of."""
    _inclusive: bool = False
    _estimate: int | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        self._after, self._key = self.job.last_key, self.job.key_columns
        if self._after is None and self.job.from_key is not None:
            self._after, self._inclusive = self.job.from_key, True

    def begin(self) -> None:
        if not self.started:
            self.jobs.started(self.job.id)
            self.started = True

    def read(self, reader: Reader, most_bytes: int) -> Rows:
        table = reader.table(self.job.table)
        self._meet(table)
        if self.left:
            return reader.keys(table, list(self.left.values())[:MOST_KEYS], most_bytes=most_bytes)
        if self.job.estimate is None and self._estimate is None:
            self._estimate = reader.expected(table, self.job.from_key, self.job.condition)
        return reader.chunk(
            table,
            self._after,
            self.limit,
            most_bytes=most_bytes,
            condition=self.job.condition,
            inclusive=self._inclusive,
        )

    def _meet(self, table: Table) -> None:
        """Begin anew where the table's key is another one by now: how far the old one came says nothing in its order.

        Raises OperatorError where a person has named a key to begin with.
        """
        known, self._key = self._key, table.key_columns
        if known is None or known == self._key:
            return
        if self.job.from_key is not None:
            raise OperatorError(
                f"The key of {self.job.table} was ({', '.join(known)}) when its copy was asked for,"
                f" and is ({', '.join(self._key)}) now.",
                "Ask again, from a key of these columns.",
            )
        log.info("copy begins anew: the table has another key", source=self.job.source, table=self.job.table)
        self._after, self.left = None, {}

    def names(self, _rows: Rows, _at: int, key: bytes) -> Collection[bytes]:
        return (key,)

    def missing(self, _found: set[bytes]) -> Texts:
        """A row that is gone has its delete in the stream."""
        return {}

    def settled(self, rows: Rows, clean: set[bytes], dirty: Texts) -> Callable[[], None] | None:
        if self.left:
            asked = list(self.left)[:MOST_KEYS]
            # Of a read that was cut short, what is not there may only not have come.
            answered = clean if rows.cut else {key for key in asked if key not in dirty}
            self.left = {key: texts for key, texts in self.left.items() if key not in answered}
        else:
            self._count = len(rows.rows)
            self.finished = self._count < self.limit and not rows.cut
            if rows.rows:
                self._after, self._inclusive = rows.key_of(rows.rows[-1]), False
            self.left = dirty
        return None if self.left else self._progress()

    def _progress(self) -> Callable[[], None]:
        last = None if self._inclusive else self._after
        count, estimate, done = self._count, self._estimate, self.finished
        key = self._key or []

        def store() -> None:
            seams.seam(seams.BEFORE_PROGRESS)
            self.jobs.chunk_done(self.job.id, last, key, count, estimate, done=done)
            seams.seam(seams.AFTER_PROGRESS)
            if done:
                log.info("table copied", source=self.job.source, table=self.job.table, kind=self.job.kind)

        return store


class AskedRows:
    """Single rows that targets ask for: each is answered, also when it is not there."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.table = ""
        self._asked: dict[str, dict[bytes, Row]] = {}
        self._together = MOST_REQUESTS
        self._taken: dict[bytes, Row] = {}
        self._texts: Texts = {}
        self._names: dict[bytes, bytes] = {}
        """From a key in the order of the table's key to how it was asked for."""
        self._refused: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._asked)

    def ask(self, table: str, key: Row) -> None:
        """Asking twice is asking once; also while `read` runs."""
        self._asked.setdefault(table, {})[_name(key)] = key

    def begin(self) -> None:
        self.table, keys = next(iter(self._asked.items()))
        self._taken = dict(itertools.islice(keys.items(), self._together))

    def read(self, reader: Reader, most_bytes: int) -> Rows:
        table = reader.table(self.table)
        self._name_keys(table)
        try:
            rows = reader.keys(table, list(self._texts.values()), most_bytes=most_bytes)
        except psycopg.DataError:
            if self._together == 1:
                self._refused |= self._taken.keys()
            self._together = 1  # one of them is no key: find it
            self._texts = {}
            return reader.keys(table, [])
        if self._refused:
            self._together = MOST_REQUESTS
        return rows

    def names(self, rows: Rows, at: int, _key: bytes) -> Collection[bytes]:
        names = list(self._texts)
        return [names[place] for place in rows.places[at]]

    def missing(self, found: set[bytes]) -> Texts:
        return {name: texts for name, texts in self._texts.items() if name not in found}

    def settled(self, rows: Rows, clean: set[bytes], dirty: Texts) -> None:
        seams.seam(seams.BEFORE_ANSWER)
        answered = clean & self._texts.keys() if rows.cut else self._texts.keys() - dirty.keys()
        for _ in self._refused:
            log.warning("request for what is no key of its table", table=self.table)
        keys = self._asked.get(self.table, {})
        for name in {self._names[name] for name in answered} | self._refused:
            keys.pop(name, None)
        if keys:
            self.put_off()
        else:
            self.give_up()

    def put_off(self) -> None:
        """The other tables first."""
        if self.table in self._asked:
            self._asked[self.table] = self._asked.pop(self.table)

    def give_up(self) -> None:
        """Let go of what was asked of the present table: targets ask again."""
        self._asked.pop(self.table, None)
        self._together = MOST_REQUESTS

    def _name_keys(self, table: Table) -> None:
        """Find the texts of those keys that have the table's key columns and values of their types."""
        types = {column.name: column.type_oid for column in table.relation.columns}
        self._texts, self._names, self._refused = {}, {}, set()
        for asked, key in self._taken.items():
            try:
                ordered = {column: key[column] for column in table.key}
                texts = [as_text(types[column], value) for column, value in ordered.items()]
            except (KeyError, ValueError):
                self._refused.add(asked)
            else:
                self._texts[_name(ordered)] = texts
                self._names[_name(ordered)] = asked


def _name(key: Row) -> bytes:
    """A record key's bytes."""
    return json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()
