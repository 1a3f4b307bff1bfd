"""Setting a target to the beginning of a new era of its source, whatever it had not taken of the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from connectors.postgres import bookkeeping

_LANES = """
UPDATE placemat.lanes SET epoch = epoch + (lane = 'main')::int, transactions_offset = %s, timeline = %s, commit_lsn = 0
WHERE source = %s AND timeline < %s
"""
_MAIN = """
INSERT INTO placemat.lanes (source, lane, transactions_offset, timeline) VALUES (%s, %s, %s, %s)
ON CONFLICT (source, lane) DO NOTHING RETURNING true
"""
_OFFSETS = "INSERT INTO placemat.offsets (source, topic, partition, next_offset, timeline) VALUES (%s, %s, %s, %s, %s)"


def restart(
    connection: psycopg.Connection[Any],
    source: str,
    timeline: int,
    transactions: str,
    ends: Mapping[str, list[int]],
) -> bool:
    """Go on from these ends of the topics, with what lies in positions before `timeline` known as taken.

    Fences the worker that runs. False when the target is in that era already: then nothing is changed.
    """
    bookkeeping.install(connection)
    [offset] = ends[transactions]
    with connection.transaction():
        changed = connection.execute(_LANES, [offset, timeline, source, timeline]).rowcount
        made = connection.execute(_MAIN, [source, bookkeeping.MAIN_LANE, offset, timeline]).fetchone()
        if not changed and made is None:
            return False
        connection.execute("DELETE FROM placemat.offsets WHERE source = %s", [source])
        connection.execute("DELETE FROM placemat.pins WHERE source = %s", [source])
        rows = [
            (source, topic, number, end, timeline)
            for topic, each in ends.items()
            if topic != transactions
            for number, end in enumerate(each)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(_OFFSETS, rows)
    return True
