"""What a service that is polled tells of a row, from the stream to what is judged."""

from __future__ import annotations

import msgspec

from daemon.resolve.decision import Decision, Hub
from daemon.resolve.inbound import receive
from daemon.resolve.interval import Interval, at
from daemon.resolve.read import spoke_record
from daemon.resolve.rules import Rules
from daemon.resolve.state import FieldState, Link, RowState
from daemon.resolve.values import Row, digest, digests
from schemas.position import Position
from schemas.resolution import ReadEntry, RowChange

SECOND = 1_000_000
HERE, HUB = Position(1, 50, 1), Position(1, 40, 1)


def change(row: Row | None, entry: ReadEntry, op: str = "u") -> RowChange:
    texts = None if row is None else {name: str(value) for name, value in row.items()}
    return RowChange(HERE, op, texts, {}, 99 * SECOND, note=msgspec.json.encode(entry))


def entry(**values: object) -> ReadEntry:
    known = {"table": "public.projects", "key": '{"id":1}', "since": 10, "latest": 20, "read": 30}
    return msgspec.convert({**known, **values}, ReadEntry)


def test_the_time_of_an_edit_is_told_by_the_reads_and_not_by_the_commit() -> None:
    record = spoke_record(change({"name": '"a"'}, entry()))
    assert (record.row, record.mark, record.time) == ({"name": '"a"'}, None, at(20))
    assert (record.since, record.read) == (10, 30)


def test_a_report_names_what_is_held_and_a_row_that_is_gone_is_none() -> None:
    record = spoke_record(change({}, entry(report=["name"], unsure=["note"]), op="n"))
    assert (record.row, record.report, record.unsure) == ({}, frozenset({"name"}), frozenset({"note"}))
    assert spoke_record(change({}, entry(gone=True, report=[]), op="n")).row is None
    assert spoke_record(change(None, entry(gone=True))).row is None


def judged(record_since: int, link_read: int, ours_at: int) -> Decision:
    """A field that the hub has changed at `ours_at`, and the service by a read of latest 100 seconds."""
    rules = Rules(skew=2 * SECOND, polled=True)
    theirs, ours = {"name": '"theirs"'}, {"name": '"ours"'}
    state = RowState(True, HUB, at(0), {"name": FieldState(digest('"ours"'), HUB, HUB, at(ours_at * SECOND))})
    link = Link(Position(1, 30, 1), digests({"name": '"base"'}), {}, {}, HUB, read=link_read * SECOND)
    hub = Hub(ours, state, Position(1, 45, 1), Position(1, 45, 1))
    read = entry(since=record_since * SECOND, latest=100 * SECOND, read=101 * SECOND)
    found = receive("notion", spoke_record(change(theirs, read)), hub, link, rules)
    assert isinstance(found, Decision)
    return found


def test_an_edit_that_was_surely_made_after_the_hubs_wins_by_when_the_row_was_last_seen_as_before() -> None:
    assert judged(record_since=50, link_read=5, ours_at=40).values == {"name": '"theirs"'}
    assert judged(record_since=5, link_read=50, ours_at=40).values == {"name": '"theirs"'}
    tie = judged(record_since=5, link_read=5, ours_at=40)
    assert (tie.values, [one.resolution for one in tie.conflicts]) == ({}, ["keep_local"])
    assert tie.conflicts[0].theirs_time == Interval(5 * SECOND, 100 * SECOND)
