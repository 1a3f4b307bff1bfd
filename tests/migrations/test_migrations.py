"""Migrations and the tables in `schemas.tables` say the same, and each revision goes up and down."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from daemon.errors import OperatorError
from daemon.state import engine as state
from schemas.tables import SCHEMA, metadata

CATALOGUE = """
SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text,
       pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'placemat'::regnamespace AND relkind = 'r' AND attnum > 0 AND relname <> 'alembic_version'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), null, null, null
FROM pg_constraint
WHERE connamespace = 'placemat'::regnamespace AND contype <> 'n' AND conrelid <> 'placemat.alembic_version'::regclass
UNION ALL
SELECT 'index', tablename, indexname, indexdef, null, null, null
FROM pg_indexes WHERE schemaname = 'placemat' AND tablename <> 'alembic_version'
UNION ALL
SELECT 'comment', oid::regclass::text, obj_description(oid, 'pg_class'), null, null, null, null
FROM pg_class WHERE relnamespace = 'placemat'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
ORDER BY 1, 2, 3
"""


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def catalogue(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOGUE).fetchall()


@pytest.fixture
def connect() -> Iterator[Callable[[str], sqlalchemy.Engine]]:
    """`state.connect`, with an end to what it opens."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(state.opened(url))


@pytest.fixture
def engine(connect: Callable[[str], sqlalchemy.Engine], database_factory: Callable[[str], str]) -> sqlalchemy.Engine:
    return connect(database_factory("state"))


def test_the_migrated_database_equals_the_metadata(engine: sqlalchemy.Engine) -> None:
    state.migrate(engine)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "compare_server_default": True,
            "include_name": lambda name, type_, _parents: type_ != "schema" or name == SCHEMA,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_constraints_defaults_and_comments_are_the_same_however_the_tables_are_made(
    connect: Callable[[str], sqlalchemy.Engine],
    database_factory: Callable[[str], str],
) -> None:
    migrated, created = database_factory("state"), database_factory("state")
    state.migrate(connect(migrated))
    with connect(created).begin() as connection:
        connection.execute(sqlalchemy.schema.CreateSchema(SCHEMA))
        connection.execute(sqlalchemy.text("CREATE TABLE placemat.alembic_version ()"))
        metadata.create_all(connection)
    assert catalogue(migrated) == catalogue(created)


def test_each_revision_goes_up_and_down_and_up_again(engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.schema.CreateSchema(SCHEMA))
        config = state.migration_config(connection)
        for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
            command.upgrade(config, script.revision)
            command.downgrade(config, "-1")
            command.upgrade(config, script.revision)
        command.downgrade(config, "base")
        assert sqlalchemy.inspect(connection).get_table_names(SCHEMA) == ["alembic_version"]


def test_the_file_names_tell_the_revisions_in_their_order(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(state.migration_config(connection)).walk_revisions()
        assert [script.revision for script in scripts][::-1] == state.known_revisions()


def test_migrating_again_changes_nothing(engine: sqlalchemy.Engine) -> None:
    state.migrate(engine)
    state.migrate(engine)
    state.check(engine)


def test_a_database_that_was_never_prepared_is_refused(engine: sqlalchemy.Engine) -> None:
    with pytest.raises(OperatorError, match="is not prepared") as refused:
        state.check(engine)
    assert refused.value.try_ == "Run: placemat init"


def test_a_database_made_by_a_newer_version_is_refused(engine: sqlalchemy.Engine) -> None:
    state.migrate(engine)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE placemat.alembic_version SET version_num = '9999'"))
    for action in (state.check, state.migrate):
        with pytest.raises(OperatorError, match="a newer one made it"):
            action(engine)


def test_tables_whose_version_is_gone_are_not_migrated_over(engine: sqlalchemy.Engine) -> None:
    state.migrate(engine)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE placemat.alembic_version"))
    assert state.prepared(engine)
    for beside in (False, True):
        with pytest.raises(OperatorError, match="no alembic_version says"):
            state.migrate(engine, beside=beside)


def test_other_tables_of_the_schema_are_migrated_beside_when_that_is_asked_for(engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE SCHEMA placemat; CREATE TABLE placemat.other ()"))
    with pytest.raises(OperatorError, match=r"1 tables \(other\)"):
        state.migrate(engine)
    state.migrate(engine, beside=True)
    state.check(engine)


def test_a_role_that_may_not_create_the_schema_is_told_what_to_run(
    connect: Callable[[str], sqlalchemy.Engine], database_factory: Callable[[str], str]
) -> None:
    url = database_factory("state")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS placemat_weak")
        connection.execute("CREATE ROLE placemat_weak LOGIN PASSWORD 'weak'")
    weak = sqlalchemy.make_url(url).set(username="placemat_weak", password="weak")
    with pytest.raises(OperatorError, match="Role placemat_weak may not keep its tables") as refused:
        state.migrate(connect(weak.render_as_string(hide_password=False)))
    assert "CREATE SCHEMA placemat AUTHORIZATION placemat_weak" in refused.value.try_


def test_a_database_that_is_down_is_named(connect: Callable[[str], sqlalchemy.Engine], closed_port: int) -> None:
    with pytest.raises(OperatorError, match="The state database cannot be reached"):
        state.check(connect(f"postgresql://nobody@127.0.0.1:{closed_port}/none"))
