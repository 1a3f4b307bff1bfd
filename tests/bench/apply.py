"""Apply beside PostgreSQL's own logical replication: the same backlog into two databases of one server."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql

from daemon.cli.output import say
from tests.bench.figures import Figure, Size
from tests.bench.rows import CREATE_TABLE, PUBLICATION, update
from tests.bench.site import APPLY, CAPTURE, Site, checkpoint, site

DATABASE = SUBSCRIPTION = "bench_native"
PER_TRANSACTION = 100

_EPOCH = "SELECT epoch FROM placemat.lanes WHERE lane = 'main'"
_WORKER = "SELECT 1 FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL"


def run(size: Size) -> list[Figure]:
    """Events a second, each from the moment its worker is there to the last row in its target."""
    rounds: list[tuple[float, float | None]] = []
    with site() as here:
        _subscribe(here)
        for number in range(size.rounds):
            last = _backlog(here, size.apply_events)
            checkpoint(here.primary, here.ledger)
            seconds: dict[Callable[[Site, int], float], float] = {}
            for measured in (_applied, _replicated)[:: 1 if number % 2 == 0 else -1]:
                seconds[measured] = measured(here, last)
            ours, theirs = (size.apply_events / seconds[one] for one in (_applied, _replicated))
            rounds.append((ours, theirs))
            say(f"apply, round {number + 1}: {ours:,.0f} events/s beside {theirs:,.0f}")
    what = f"backlog of inserts, then updates, transactions of {PER_TRANSACTION}"
    return [Figure("apply", what, "events/s", rounds, "logical replication", "ratio >= 1.2")]


def _backlog(here: Site, events: int) -> int:
    """Half inserts, then as many updates of the same rows, all of it in the topics; the number of the row after."""
    base = here.published()
    half = events // 2
    first = here.rows + 1
    here.write(half, PER_TRANSACTION)
    update(here.primary, first, here.rows, PER_TRANSACTION)
    last = here.write_one()
    here.start(CAPTURE)
    here.when(lambda: here.published() >= base + 2 * half + 1, "the backlog in the topics")
    here.stop(CAPTURE)
    return last


def _applied(here: Site, last: int) -> float:
    with psycopg.connect(here.ledger, autocommit=True) as connection:
        before = connection.execute(_EPOCH).fetchone()
        here.start(APPLY)
        began = here.when(lambda: connection.execute(_EPOCH).fetchone() != before, "apply at work")
    ended = here.when_arrived(here.ledger, last)
    here.stop(APPLY)
    return ended - began


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
