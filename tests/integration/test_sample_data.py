from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from daemon.embedded.load import run_load
from daemon.embedded.sample import load_sample, sample_tables
from daemon.errors import OperatorError
from schemas.domain import OWNER, ROUTED_TABLES, install_primary

Database = psycopg.Connection[Any]


@pytest.fixture
def dsn(database_factory: Callable[[str], str]) -> str:
    return database_factory("sample")


@pytest.fixture
def primary(dsn: str) -> Iterator[Database]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        install_primary(conn)
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        yield conn


def sizes(conn: Database) -> dict[str, int]:
    counts = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {}").format(table, sql.Identifier(table)) for table in ROUTED_TABLES
    )
    return dict(conn.execute(counts).fetchall())


def test_every_table_of_the_primary_gets_rows(primary: Database) -> None:
    loaded = load_sample(primary)
    tables = primary.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert set(loaded) == {table for (table,) in tables}
    assert all(count > 0 for count in loaded.values())
    assert sizes(primary) == {table: loaded[table] for table in ROUTED_TABLES}


def test_the_same_seed_gives_the_same_rows() -> None:
    assert repr(list(sample_tables(5))) == repr(list(sample_tables(5)))
    assert repr(list(sample_tables(5))) != repr(list(sample_tables(6)))


def test_some_stories_are_stored_out_of_line(primary: Database) -> None:
    load_sample(primary)
    stored = primary.execute(
        "SELECT pg_relation_size(reltoastrelid) > 500000 FROM pg_class WHERE oid = 'stories'::regclass"
    ).fetchone()
    large = primary.execute("SELECT count(*) > 50 FROM stories WHERE length(content) > 8192").fetchone()
    assert (stored, large) == ((True,), (True,))


def test_invoices_add_up(primary: Database) -> None:
    load_sample(primary)
    wrong = primary.execute(
        "SELECT number FROM invoices JOIN invoice_lines ON invoice_id = invoices.id GROUP BY invoices.id"
        " HAVING total <> round(sum(quantity * unit_amount * (1 + tax_rate / 100)), 2)"
    ).fetchall()
    assert wrong == []


def test_a_load_counts_exactly_what_it_changed(primary: Database, dsn: str) -> None:
    load_sample(primary)
    before = sizes(primary)
    load = run_load(dsn, seed=1, changes=4_000, largest_transaction=150)
    after = sizes(primary)
    assert load.changes >= 4_000
    assert sum(after.values()) - sum(before.values()) == load.inserted - load.deleted
    assert min(load.inserted, load.updated, load.deleted) > 0


def test_a_load_keeps_its_rate_its_tables_and_its_time(primary: Database, dsn: str) -> None:
    load_sample(primary)
    stories = "SELECT md5(string_agg(present::text, '' ORDER BY id)) FROM stories AS present"
    before = primary.execute(stories).fetchone()
    load = run_load(dsn, seed=1, seconds=1.5, rate=200, tables=["story_media"])
    assert 1.4 < load.seconds < 5
    assert 0 < load.changes < 200 * load.seconds + 200
    assert primary.execute(stories).fetchone() == before


def test_a_load_on_an_empty_primary_says_what_is_missing(primary: Database, dsn: str) -> None:
    with pytest.raises(OperatorError, match="no rows for a load"):
        run_load(dsn, seed=1, changes=10)
