"""Which tables are captured, and from which commit to which: what a transaction's records are must not depend on when
it is sent.

A change of the configuration holds from the first commit that no earlier capture can have read; all before is numbered
and counted as it was, however often it is sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from daemon.state import jobs
from daemon.state.capture import CaptureState
from schemas import tables
from schemas.topics import messages_topic, table_of

Place = tuple[int, int]
"""Timeline and commit LSN."""
NEVER: Place = (2**63, 0)


@dataclass(frozen=True, slots=True)
class Span:
    """The commits from `since` on and before `until` are captured into the topic; None while there is no end."""

    topic: str
    since: Place
    until: Place | None = None


class Spans:
    """All spans of one source. Pure."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = tuple(spans)

    def captured(self, place: Place) -> frozenset[str]:
        """The topics that the commit at this place goes to."""
        return frozenset(
            one.topic for one in self._spans if one.since <= place and (one.until is None or place < one.until)
        )

    def holds_until(self, place: Place) -> Place:
        """The first place behind this one at which other topics may be captured; `NEVER` when there is none."""
        turns = (turn for one in self._spans for turn in (one.since, one.until) if turn is not None and turn > place)
        return min(turns, default=NEVER)

    def topics(self, flush_lsn: int) -> frozenset[str]:
        """The topics that a commit above `flush_lsn` may go to."""
        return frozenset(one.topic for one in self._spans if one.until is None or one.until[1] > flush_lsn)


def begin(connection: Connection, source: str, topics: Iterable[str]) -> None:
    """Let every commit of a new source go to these topics."""
    rows = [{"source": source, "topic": topic, "since_timeline": 0, "since_lsn": 0} for topic in topics]
    connection.execute(insert(tables.spans), rows)


def follow(state: CaptureState, source: str, wanted: Collection[str], place: Place) -> Spans:
    """Let the commits from `place` on go to these topics and to no others; all spans, the earlier ones included.

    `place` has to lie behind all that any earlier capture can have read. A table that is captured once more is copied
    once more. Raises Fenced when another capture has claimed the source, and Unavailable.
    """
    t = tables.spans.c
    with state.fenced() as connection:
        known = {one.topic for one in _read(connection, source)}
        ended = [t.source == source, t.until_lsn.is_(None), t.topic.not_in(wanted)]
        # What no commit has gone to need not be remembered.
        connection.execute(delete(tables.spans).where(*ended, tuple_(t.since_timeline, t.since_lsn) >= place))
        connection.execute(update(tables.spans).where(*ended).values(until_timeline=place[0], until_lsn=place[1]))
        followed = {one.topic for one in _read(connection, source) if one.until is None}
        for topic in sorted(set(wanted) - followed):
            row = {"source": source, "topic": topic, "since_timeline": place[0], "since_lsn": place[1]}
            connection.execute(insert(tables.spans).values(row))
            if topic in known and topic != messages_topic(source):
                table = ".".join(table_of(topic))
                jobs.add(connection, source, "needed", [jobs.Order(table)], "its return to the configuration")
        return Spans(_read(connection, source))


def _read(connection: Connection, source: str) -> list[Span]:
    t = tables.spans.c
    rows = connection.execute(select(tables.spans).where(t.source == source).order_by(t.since_timeline, t.since_lsn))
    return [
        Span(
            row.topic,
            (row.since_timeline, int(row.since_lsn)),
            None if row.until_lsn is None else (row.until_timeline, int(row.until_lsn)),
        )
        for row in rows
    ]
