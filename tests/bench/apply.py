"""Apply beside PostgreSQL's own logical replication: the same backlog into two databases of one server."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from tests.bench.comparison import Comparison
from tests.bench.figures import Figure, Size, Speed
from tests.bench.rows import CREATE_TABLE, PUBLICATION, update
from tests.bench.site import APPLY, CAPTURE, Site, checkpoint, cpu_seconds, site

DATABASE = SUBSCRIPTION = "bench_native"
PER_TRANSACTION = 100

_EPOCH = "SELECT epoch FROM placemat.lanes WHERE lane = 'main'"
_WORKER = "SELECT 1 FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL"


def run(size: Size) -> list[Figure]:
    """Events a second, each from the moment its worker is there to its last row; what of a core an event takes.

    All of it waits when they start: ours in the topics, PostgreSQL's in the primary's WAL, decoded as it is read.
    """
    what = f"inserts, then updates, transactions of {PER_TRANSACTION}"
    comparison = Comparison("apply", what, "event", "logical replication", "ratio >= 1.2")
    with site() as here:
        _subscribe(here)
        return comparison.run(
            size.rounds,
            lambda: backlog(here, size.apply_events),
            lambda last: applied(here, last, size.apply_events),
            lambda last: size.apply_events / _replicated(here, last),
        )


def backlog(here: Site, events: int) -> int:
    """Half inserts, then as many updates of the same rows, all of it in the topics; the number of the row after."""
    base = here.published()
    half = events // 2
    first = here.rows + 1
    here.write(half, PER_TRANSACTION)
    update(here.primary, first, here.rows, PER_TRANSACTION)
    last = here.write_one()
    here.start(CAPTURE)
    here.when_published(base + 2 * half + 1)
    here.stop(CAPTURE)
    checkpoint(here.primary, here.ledger)
    return last


def applied(here: Site, last: int, events: int, environment: Mapping[str, str] | None = None) -> Speed:
    """How fast it is from its first look at the target to its last row. `environment`: settings for this run."""
    with psycopg.connect(here.ledger, autocommit=True) as connection:
        before = connection.execute(_EPOCH).fetchone()
        process = here.start(APPLY, environment)
        began = here.when(lambda: connection.execute(_EPOCH).fetchone() != before, "apply at work")
    used = cpu_seconds(process)
    ended = here.when_arrived(here.ledger, last)
    used = cpu_seconds(process) - used
    here.stop(APPLY)
    return Speed(events, ended - began, used)


def _replicated(here: Site, last: int) -> float:
    dsn = here.servers.ledger.dsn(DATABASE)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _alter(connection, "ENABLE")
        began = here.when(lambda: connection.execute(_WORKER, [SUBSCRIPTION]).fetchone(), "the replication worker")
        ended = here.when_arrived(dsn, last)
        _alter(connection, "DISABLE")
        here.when(lambda: not connection.execute(_WORKER, [SUBSCRIPTION]).fetchone(), "the end of replication")
    return ended - began


def _alter(connection: psycopg.Connection[tuple[object, ...]], verb: str) -> None:
    connection.execute(sql.SQL("ALTER SUBSCRIPTION {} {}").format(sql.Identifier(SUBSCRIPTION), sql.SQL(verb)))


def _subscribe(here: Site) -> None:
    """A database and a slot for PostgreSQL's own replication, from the next change on, and not yet at work."""
    with psycopg.connect(here.servers.ledger.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    statement = sql.SQL(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (create_slot, copy_data = false, enabled = false)"
    ).format(sql.Identifier(SUBSCRIPTION), sql.Literal(here.primary), sql.Identifier(PUBLICATION))
    with psycopg.connect(here.servers.ledger.dsn(DATABASE), autocommit=True) as connection:
        connection.execute(CREATE_TABLE)
        # A subscription makes its slot outside any transaction block.
        connection.execute(statement)
