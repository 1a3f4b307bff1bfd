"""What a capture keeps in the state. Every write is compare-and-swap on the capture's epoch, and nothing falls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection, case, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InternalError, OperationalError

from daemon.errors import Fenced, OperatorError, Unavailable
from schemas import tables
from schemas.position import Position

Slot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a capture starts from. `topics`: name to (topic id, partitions); `acked`: newest acknowledged records.

    `published` is what `record_publication` kept last.
    """

    epoch: int
    system_identifier: str
    timeline: int
    cluster_id: str
    flush_lsn: int
    topics: Mapping[str, tuple[str, int]]
    acked: Mapping[Slot, tuple[int, Position]]
    slot: str
    published: Mapping[str, Any] | None
    requests_offset: int = 0
    era: int = 0


class CaptureState:
    """The rows of one source."""

    def __init__(self, engine: sqlalchemy.Engine, source: str) -> None:
        self._engine = engine
        self._source = source
        self._epoch = 0

    def claim(self) -> Claim:
        """Raise the epoch, which fences every earlier capture, and only then read.

        Raises OperatorError when `init` has not been run for this source, and Unavailable.
        """
        found = self._read(
            update(tables.sources)
            .where(tables.sources.c.name == self._source)
            .values(epoch=tables.sources.c.epoch + 1)  # no sign of progress: `updated_at` stays
            .returning(tables.sources)
        )
        self._epoch = found.epoch
        return found

    def peek(self) -> Claim:
        """As `claim`, and nobody is fenced."""
        return self._read(select(tables.sources).where(tables.sources.c.name == self._source))

    def _read(self, statement: sqlalchemy.Executable) -> Claim:
        with self._begin() as connection:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise OperatorError(f"Source {self._source} has not been set up.", "Run: placemat init")
            topics = connection.execute(select(tables.topics).where(tables.topics.c.source == self._source)).all()
            acked = connection.execute(
                select(tables.partitions).where(tables.partitions.c.source == self._source)
            ).all()
            published = connection.execute(
                select(tables.publications.c.facts).where(tables.publications.c.source == self._source)
            ).scalar()
        return Claim(
            int(row.epoch),
            row.system_identifier,
            row.timeline,
            row.cluster_id,
            int(row.flush_lsn),
            {topic.topic: (topic.topic_id, topic.partitions) for topic in topics},
            {
                (one.topic, one.partition): (
                    one.acked_offset,
                    Position(one.timeline, int(one.commit_lsn), one.ordinal),
                )
                for one in acked
            },
            row.slot,
            published,
            int(row.requests_offset),
            int(row.era),
        )

    def store(self, flush_lsn: int, acked: Mapping[Slot, tuple[int, Position]]) -> None:
        """Remember what may be reported to the slot, and the newest acknowledged records.

        Raises Fenced when another capture has claimed the source, and Unavailable.
        """
        with self._begin() as connection:
            self._swap(connection, flush_lsn=func.greatest(tables.sources.c.flush_lsn, flush_lsn))
            if acked:
                _store_acked(connection, self._source, acked)

    def relations(self) -> list[tuple[str, int, int, dict[str, Any]]]:
        """Table, version, first commit and shape of every version, in the order of versions."""
        t = tables.relations.c
        with self._begin() as connection:
            rows = connection.execute(
                select(t.table_name, t.version, t.commit_lsn, t.shape)
                .where(t.source == self._source)
                .order_by(t.table_name, t.version)
            ).all()
        return [(name, version, int(commit_lsn), shape) for name, version, commit_lsn, shape in rows]

    def record_relation(self, table: str, version: int, commit_lsn: int, shape: Mapping[str, Any]) -> None:
        """Keep a new version of a table's columns.

        Raises Fenced when another capture has claimed the source, and Unavailable.
        """
        values = {"table_name": table, "version": version, "commit_lsn": commit_lsn, "shape": dict(shape)}
        with self.fenced() as connection:
            connection.execute(insert(tables.relations).values(source=self._source, **values))

    def record_publication(self, facts: Mapping[str, Any]) -> None:
        """Keep what the publication was found to be.

        Raises Fenced when another capture has claimed the source, and Unavailable.
        """
        new = insert(tables.publications).values(source=self._source, facts=dict(facts))
        with self._begin() as connection:
            self._swap(connection)
            connection.execute(new.on_conflict_do_update(index_elements=["source"], set_={"facts": new.excluded.facts}))

    @contextmanager
    def fenced(self) -> Iterator[Connection]:
        """A transaction of this capture. Raises Fenced when another one has claimed the source, and Unavailable."""
        with self._begin() as connection:
            self._swap(connection)
            yield connection

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that anybody may have. Raises Unavailable."""
        return self._begin()

    def _swap(self, connection: Connection, **values: Any) -> None:
        changed = connection.execute(
            update(tables.sources)
            .where(tables.sources.c.name == self._source, tables.sources.c.epoch == self._epoch)
            .values(updated_at=func.now(), **values)
        ).rowcount
        if changed != 1:
            raise Fenced(f"another capture of source {self._source} has taken over")

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise Unavailable("the state database cannot be reached") from error
        except InternalError as error:
            if not isinstance(error.orig, psycopg.errors.IdleInTransactionSessionTimeout):
                raise
            raise Unavailable("the state database has ended a transaction of a process that stood still") from error


def _store_acked(connection: Connection, source: str, acked: Mapping[Slot, tuple[int, Position]]) -> None:
    t = tables.partitions
    new = insert(t).values(
        [
            {
                "source": source,
                "topic": topic,
                "partition": partition,
                "acked_offset": offset,
                "timeline": position.timeline,
                "commit_lsn": position.commit_lsn,
                "ordinal": position.ordinal,
            }
            for (topic, partition), (offset, position) in acked.items()
        ]
    )
    later = tuple_(new.excluded.timeline, new.excluded.commit_lsn, new.excluded.ordinal) > tuple_(
        t.c.timeline, t.c.commit_lsn, t.c.ordinal
    )
    columns = ("timeline", "commit_lsn", "ordinal")
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[t.c.source, t.c.topic, t.c.partition],
            set_={
                "acked_offset": func.greatest(t.c.acked_offset, new.excluded.acked_offset),
                **{name: case((later, new.excluded[name]), else_=t.c[name]) for name in columns},
            },
        )
    )
