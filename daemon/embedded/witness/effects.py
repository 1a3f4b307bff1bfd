"""The target's log against the journal: both databases are read in key order, side by side, one key at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from daemon.embedded.witness.keys import Change, judge
from daemon.embedded.witness.report import Tally

FETCH = 5_000

# a key change is a delete of the old key and an insert of the new one
ENTRIES = """
SELECT "table" COLLATE "C" AS name, key COLLATE "C" AS key, seq, xid, op::text, md5 FROM witness.{book} WHERE op <> 'T'
UNION ALL
SELECT "table" COLLATE "C", old_key COLLATE "C", seq, xid, 'D', NULL FROM witness.{book} WHERE old_key IS NOT NULL
ORDER BY 1, 2, 3
"""
TRUNCATES = """SELECT "table", seq, xid FROM witness.{book} WHERE op = 'T' ORDER BY seq"""
SUMMARY = """SELECT "table" COLLATE "C" AS name, key COLLATE "C" AS key, lost, reads FROM key_summary ORDER BY 1, 2"""
CHANGES = """
SELECT count(*) FILTER (WHERE op IN ('I', 'U', 'D')) - count(*) FILTER (WHERE op = 'F')
    + count(DISTINCT ("table", xid)) FILTER (WHERE op = 'T')
FROM witness.log
"""

Book = Literal["journal", "log"]


class Entry(NamedTuple):
    """What one of the three sources says of a key."""

    place: tuple[str, str]
    """Table and key."""
    source: Literal["journal", "log", "summary"]
    change: Change
    lost: int = 0
    reads: int = 0


def compare_effects(primary: Connection[Any], target: Connection[Any], tally: Tally) -> None:
    """Count what never came to the target, came more than once, or came in another order."""
    journal_truncates, log_truncates = truncates(primary, "journal"), truncates(target, "log")
    (tally.counts["target_changes"],) = target.execute(CHANGES).fetchone() or (0,)
    streams = (entries(primary, "journal"), entries(target, "log"), summaries(primary))
    for (table, key), group in groupby(merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        said: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in group:
            said[entry.source].append(entry)
        if key == "":
            continue
        verdict = judge(
            in_order(said["journal"], journal_truncates[table]),
            in_order(said["log"], log_truncates[table]),
            sum(entry.reads for entry in said["summary"]),
        )
        if not any(entry.lost for entry in said["summary"]):
            tally.add("lost", table, key, "its last state never came to the target", int(verdict.lost))
        tally.add("duplicated", table, key, "it changed more often in the target", verdict.duplicated)
        tally.add("out_of_order", table, key, "the target went back to an earlier state", verdict.out_of_order)
    for table, truncated in log_truncates.items():
        extra = len({change.xid for change in truncated}) - len(journal_truncates[table])
        tally.add("duplicated", table, "", "it was truncated more often in the target", extra)


def in_order(said: list[Entry], truncated: list[Change]) -> list[Change]:
    changes = [entry.change for entry in said]
    return sorted(changes + truncated, key=itemgetter(0)) if truncated else changes


def entries(conn: Connection[Any], book: Book) -> Iterator[Entry]:
    with conn.cursor(name=f"witness_{book}") as cursor:
        cursor.itersize = FETCH
        for table, key, seq, xid, op, md5 in cursor.execute(ENTRIES.format(book=book)):
            yield Entry((table, key), book, Change(seq, xid, op, md5))


def summaries(conn: Connection[Any]) -> Iterator[Entry]:
    with conn.cursor(name="witness_summary") as cursor:
        cursor.itersize = FETCH
        for table, key, lost, reads in cursor.execute(SUMMARY):
            yield Entry((table, key), "summary", Change(0, 0, "", None), lost, reads)


def truncates(conn: Connection[Any], book: Book) -> defaultdict[str, list[Change]]:
    by_table: defaultdict[str, list[Change]] = defaultdict(list)
    for table, seq, xid in conn.execute(TRUNCATES.format(book=book)):
        by_table[table].append(Change(seq, xid, "T", None))
    return by_table
