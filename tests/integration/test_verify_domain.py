"""`verify` on the domain's own tables, as the daemon's roles, between two versions of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from daemon.embedded.postgres import PostgresServer
from daemon.embedded.sample import copy_rows, load_sample, sample_tables
from schemas.domain import APPLY, CAPTURE, ROUTED_TABLES, install_empathy_ledger, install_primary
from tests.integration.verify_pair import Pair

SEED = 7


@pytest.fixture
def pair(own_postgres: Callable[..., PostgresServer]) -> Iterator[Pair]:
    """The primary on PostgreSQL 16, the Empathy Ledger on 18, filled with the same rows."""
    primary, ledger = own_postgres(version=16), own_postgres(version=18)
    with (
        psycopg.connect(primary.dsn(), autocommit=True) as source,
        psycopg.connect(ledger.dsn(), autocommit=True) as target,
    ):
        install_primary(source, {CAPTURE: "word"})
        install_empathy_ledger(target, {APPLY: "word"})
        load_sample(source, SEED)
        for rows in sample_tables(SEED):
            if rows.table in ROUTED_TABLES:
                copy_rows(target, rows)
        yield Pair(primary.dsn(user=CAPTURE, password="word"), ledger.dsn(user=APPLY, password="word"), source, target)


def test_the_daemons_roles_verify_every_routed_table_between_versions(pair: Pair) -> None:
    report = pair.verify(*ROUTED_TABLES, local=("updated_at",))
    assert report.clean, report.render()
    for table in report.tables:
        assert table.rows == table.rows_source == table.rows_target > 0

    pair.target.execute("UPDATE stories SET featured = true, reading_count = 7")
    assert pair.verify("stories", local=("updated_at",)).clean

    damage = sql.SQL(
        "UPDATE stories SET themes = themes || 'x'::text WHERE id = (SELECT min(id::text)::uuid FROM stories)"
    )
    pair.target.execute(damage)
    (found,) = pair.verify(*ROUTED_TABLES, local=("updated_at",)).tables[3].listed
    assert found.fields == ("themes",)
