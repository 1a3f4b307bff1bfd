"""Time from commit in the primary to commit in a target, by what both servers noted themselves.

Both run on this machine, by one clock, with `track_commit_timestamp`; the witness knows which change is which.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

_JOURNAL = """
SELECT "table", key, md5, extract(epoch FROM pg_xact_commit_timestamp(xid::text::xid))::float8 * 1000
FROM witness.journal WHERE seq > %s AND op IN ('I', 'U')
"""
_LOG = """
SELECT "table", key, md5, min(extract(epoch FROM pg_xact_commit_timestamp(xid::text::xid))::float8 * 1000)
FROM witness.log WHERE seq > %s AND op IN ('I', 'U') GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds. `changes` counts those that were measured: states that the target went through."""

    changes: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the witness's books stood when the measuring began."""

    journal: int
    log: int


def begin(primary_dsn: str, target_dsn: str) -> Beginning:
    return Beginning(_last(primary_dsn, "journal"), _last(target_dsn, "log"))


def measure(primary_dsn: str, target_dsn: str, since: Beginning) -> Latency | None:
    """Every state that was committed in the primary since then and came to the target; None when there is none."""
    with psycopg.connect(target_dsn) as target:
        arrived = {(table, key, md5): at for table, key, md5, at in target.execute(_LOG, [since.log])}
    with psycopg.connect(primary_dsn) as primary:
        times = sorted(
            arrived[table, key, md5] - at
            for table, key, md5, at in primary.execute(_JOURNAL, [since.journal])
            if (table, key, md5) in arrived
        )
    times = [time for time in times if time >= 0]  # a state that came back: its first arrival belongs to the first
    if not times:
        return None
    return Latency(len(times), round(times[len(times) // 2], 1), round(times[int(len(times) * 0.99)], 1))


def _last(dsn: str, book: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"SELECT coalesce(max(seq), 0) FROM witness.{book}".encode()).fetchone()
    assert row is not None
    return int(row[0])
