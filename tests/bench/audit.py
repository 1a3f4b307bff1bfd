"""Apply with the audit log beside apply without: the same backlog twice into one target, which is set back between."""

from __future__ import annotations

import psycopg

from tests.bench.apply import PER_TRANSACTION, applied, backlog
from tests.bench.comparison import Comparison
from tests.bench.figures import Figure, Size, Speed
from tests.bench.rows import TABLE
from tests.bench.site import AUDIT, Site, checkpoint, site

SILENT = {"PLACEMAT_AUDIT__ENABLED": "false"}

_REMEMBER = """
DROP TABLE IF EXISTS bench_lanes, bench_offsets;
CREATE TABLE bench_lanes AS TABLE placemat.lanes;
CREATE TABLE bench_offsets AS TABLE placemat.offsets;
DELETE FROM placemat.outbox
"""
_SET_BACK = f"""
DELETE FROM placemat.outbox;
UPDATE placemat.lanes AS lane SET transactions_offset = kept.transactions_offset, timeline = kept.timeline,
    commit_lsn = kept.commit_lsn FROM bench_lanes AS kept WHERE kept.lane = lane.lane;
DELETE FROM placemat.offsets;
INSERT INTO placemat.offsets TABLE bench_offsets;
DELETE FROM {TABLE} WHERE n >= %s
"""


def run(size: Size) -> list[Figure]:
    """Events a second that a target takes, with an outbox row in each transaction and without; and how many a second
    the relay enters afterwards."""
    what = f"apply that tells the audit log, transactions of {PER_TRANSACTION}"
    comparison = Comparison("audit", what, "event", "without audit", "ratio >= 0.85")
    rates: list[tuple[float, float | None]] = []
    with site() as here:

        def prepare() -> int:
            last = backlog(here, size.apply_events)
            _run(here, _REMEMBER)
            return last

        def told(last: int) -> Speed:
            _set_back(here, last, size.apply_events)
            speed = applied(here, last, size.apply_events)
            rates.append((size.apply_events / _relayed(here), None))
            return speed

        def silent(last: int) -> float:
            _set_back(here, last, size.apply_events)
            return applied(here, last, size.apply_events, SILENT).rate

        figures = comparison.run(size.rounds, prepare, told, silent)
    return [*figures, Figure("audit", "entries from the outbox, afterwards", "entries/s", rates)]


def _set_back(here: Site, last: int, events: int) -> None:
    """To where the target was before the backlog that ends with this row."""
    first = last - events // 2
    for statement in _SET_BACK.replace("%s", str(first)).split(";"):
        _run(here, statement)
    _run(here, f"VACUUM {TABLE}")
    checkpoint(here.ledger)


def _relayed(here: Site) -> float:
    """Seconds from the first entry to the last."""
    with psycopg.connect(here.ledger, autocommit=True) as target:
        (before,) = target.execute("SELECT count(*) FROM placemat.outbox").fetchone() or (0,)
        here.start(AUDIT)
        began = here.when(lambda: _left(target) < before, "the relay at work")
        ended = here.when(lambda: not _left(target), "the end of the outbox")
    here.stop(AUDIT)
    return ended - began


def _left(target: psycopg.Connection[tuple[int]]) -> int:
    row = target.execute("SELECT count(*) FROM placemat.outbox").fetchone()
    return row[0] if row else 0


def _run(here: Site, statement: str) -> None:
    with psycopg.connect(here.ledger, autocommit=True) as connection:
        connection.execute(statement.encode())
