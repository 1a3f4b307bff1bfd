"""The daemon's own database: connecting, migrating, and checking that it fits this code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from daemon import database
from daemon.errors import OperatorError
from schemas.tables import SCHEMA

if TYPE_CHECKING:
    from alembic.config import Config

FROZEN_SECONDS = 2
"""A process that is frozen within a transaction loses its session after so long: others wait for its row locks."""
_MIGRATION_LOCK = 0x706C6163656D6174  # "placemat": one migration at a time in a database


def connect(url: str) -> sqlalchemy.Engine:
    """An engine over psycopg 3; it connects when it is first used, and checks a pooled connection before each use."""

    def open_connection() -> psycopg.Connection[Any]:
        connection = psycopg.connect(
            url,
            connect_timeout=database.CONNECT_TIMEOUT_SECONDS,
            application_name="placemat state",
            **database.LIVELY,
        )
        connection.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN_SECONDS}s'; SET datestyle = ISO")
        connection.commit()
        return connection

    return sqlalchemy.create_engine("postgresql+psycopg://", creator=open_connection, pool_pre_ping=True, pool_size=4)


@contextmanager
def opened(url: str) -> Iterator[sqlalchemy.Engine]:
    """`connect`, closed at the end."""
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def alone(engine: sqlalchemy.Engine, lock: int) -> Iterator[sqlalchemy.Connection]:
    """A transaction that no other one of this lock runs beside; other systems may be asked meanwhile, at their pace."""
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock})
        yield connection


def migrate(engine: sqlalchemy.Engine, *, beside: bool = False) -> None:
    """Create schema `placemat` and bring it to this code's revision, in one transaction; safe to repeat. `beside`: also
    where it has tables and no revision, as long as they are others.

    Raises OperatorError when the database is down, is newer than this code, has tables whose revision is gone, or the
    role may not create the schema.
    """
    from alembic import command

    if _refuse_newer(engine) is None and not beside:
        _refuse_tables(engine)
    try:
        with alone(engine, _MIGRATION_LOCK) as connection:
            if not sqlalchemy.inspect(connection).has_schema(SCHEMA):
                connection.execute(sqlalchemy.schema.CreateSchema(SCHEMA))
            command.upgrade(migration_config(connection), "head")
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.DuplicateTable):
            _refuse_tables(engine)
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        with engine.connect() as connection:
            role = connection.execute(sqlalchemy.text("SELECT current_user")).scalar()
        raise OperatorError(
            f"Role {role} may not keep its tables in schema {SCHEMA} of the state database.",
            f"As the owner of that database run: CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}",
        ) from None


def check(engine: sqlalchemy.Engine) -> None:
    """Raise OperatorError when the state database is down, not prepared, or of another version than this code."""
    found = _refuse_newer(engine)
    head = known_revisions()[-1]
    if found is None:
        raise OperatorError("The state database is not prepared.", "Run: placemat init")
    if found != head:
        raise OperatorError(
            f"The state database is at version {found}, and this placemat needs {head}.", "Run: placemat init"
        )


def prepared(engine: sqlalchemy.Engine) -> bool:
    """Whether the schema has any table, whatever its name. Raises OperatorError when the database is down."""
    return bool(_tables(engine))


def migration_config(connection: sqlalchemy.Connection) -> Config:
    """Alembic's configuration for one connection, without an ini file, also from an installed package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "schemas:migrations")
    config.attributes["connection"] = connection
    return config


def _refuse_newer(engine: sqlalchemy.Engine) -> str | None:
    found = _revision(engine)
    if found is not None and found not in known_revisions():
        raise OperatorError(
            f"The state database is at version {found}, which this placemat does not know: a newer one made it.",
            "Install that newer version of placemat-sync.",
        )
    return found


def _refuse_tables(engine: sqlalchemy.Engine) -> None:
    found = sorted(set(_tables(engine)) - {"alembic_version"})
    if found:
        named = ", ".join(found[:3]) + (" …" if len(found) > 3 else "")
        raise OperatorError(
            f"Schema {SCHEMA} of the state database has {len(found)} tables ({named}), and no alembic_version says of"
            " which version they are: it was emptied, renamed or dropped.",
            f"Find out who did that, and put it back as it was, with the version that made them; known are"
            f" {known_revisions()[0]} to {known_revisions()[-1]}. To give up what is there, rename the schema and run:"
            " placemat init --new-audit-log --reason TEXT",
        )


def _tables(engine: sqlalchemy.Engine) -> list[str]:
    try:
        with engine.connect() as connection:
            return sqlalchemy.inspect(connection).get_table_names(SCHEMA)
    except (OperationalError, psycopg.Error, DBAPIError) as error:
        raise unreachable(error) from None


def _revision(engine: sqlalchemy.Engine) -> str | None:
    try:
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version", SCHEMA):
                return None
            return connection.execute(sqlalchemy.text(f"SELECT version_num FROM {SCHEMA}.alembic_version")).scalar()
    except (OperationalError, psycopg.Error, DBAPIError) as error:
        raise unreachable(error) from None


def unreachable(error: Exception) -> OperatorError:
    """The sentence for a state database that does not answer."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    assert isinstance(cause, psycopg.Error)
    return database.unreachable(cause, "The state database", "state.url")


def known_revisions() -> list[str]:
    """Every revision that this code knows, oldest first: the file names begin with them.

    Alembic knows them too, for seven megabytes of memory in every process that only wants to check.
    """
    files = resources.files("schemas.migrations.versions").iterdir()
    return sorted(file.name.partition("_")[0] for file in files if file.name[:4].isdigit())
