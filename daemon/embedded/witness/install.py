"""Puts the witness into both databases: a schema of its own, and triggers on the witnessed tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, sql

from daemon.embedded.witness.tables import CANONICAL_SETTINGS, Table, canonical_connection, primary_key, qualified

# op: I, U, D and T as they are; B is a row that was there before; F says that an update which follows in this
# transaction is a foreign-key action of the target's own, not a change of the daemon's
BOOK = sql.SQL("""
CREATE TABLE {book} (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    role text NOT NULL DEFAULT session_user,
    "table" text NOT NULL,
    key text NOT NULL,
    op "char" NOT NULL,
    md5 text,
    old_key text
)
""")

RECORD_ROW = sql.SQL("""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {settings} AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {book} ("table", key, op, md5) VALUES ({name}, {new_key}, 'I', {digest});
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {book} ("table", key, op, md5, old_key)
        VALUES ({name}, {new_key}, 'U', {digest}, nullif({old_key}, {new_key}));
    ELSE
        INSERT INTO {book} ("table", key, op) VALUES ({name}, {old_key}, 'D');
    END IF;
    RETURN NULL;
END
$body$;
CREATE TRIGGER witness_row AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER witness_row
""")

RECORD_TRUNCATE = sql.SQL("""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {settings} AS $body$
BEGIN
    INSERT INTO {book} ("table", key, op) VALUES ({name}, '', 'T');
    RETURN NULL;
END
$body$;
CREATE TRIGGER witness_truncate AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER witness_truncate
""")

RECORD_FOREIGN_KEY_ACTION = sql.SQL("""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {settings} AS $body$
BEGIN
    INSERT INTO {book} ("table", key, op) VALUES ({name}, {new_key}, 'F');
    RETURN NEW;
END
$body$;
CREATE TRIGGER witness_foreign_key BEFORE UPDATE ON {table} FOR EACH ROW WHEN (pg_trigger_depth() > 0)
EXECUTE FUNCTION {function}()
""")

RECORD_PRESENT = sql.SQL("""
INSERT INTO {book} ("table", key, op, md5) SELECT {name}, {present_key}, 'B', {present_digest} FROM {table} AS present
""")


def install(primary_dsn: str, target_dsn: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Begin to witness: `tables` maps each table to the columns that must arrive as they are.

    The DSNs are of superusers, or of the tables' owners. What an earlier `install` recorded is forgotten; rows that
    are there now are noted as the state to start from. Writers wait for a moment. Raises ValueError for a table
    without a primary key, and psycopg.Error when a table or column is missing.
    """
    _install(primary_dsn, tables, "journal", (RECORD_ROW, RECORD_TRUNCATE))
    _install(target_dsn, tables, "log", (RECORD_ROW, RECORD_TRUNCATE, RECORD_FOREIGN_KEY_ACTION))


def _install(dsn: str, tables: Mapping[str, Sequence[str]], book: str, triggers: Sequence[sql.SQL]) -> None:
    with canonical_connection(dsn) as conn:
        conn.execute("SET LOCAL client_min_messages = warning")
        conn.execute("DROP SCHEMA IF EXISTS witness CASCADE")
        conn.execute("CREATE SCHEMA witness")
        conn.execute("CREATE TABLE witness.witnessed (name text PRIMARY KEY, key_columns text[], compared text[])")
        conn.execute(BOOK.format(book=sql.Identifier("witness", book)))
        for name, compared in tables.items():
            table = Table(qualified(name), primary_key(conn, qualified(name)), list(compared))
            _witness_table(conn, table, sql.Identifier("witness", book), triggers)


def _witness_table(conn: Connection[Any], table: Table, book: sql.Identifier, triggers: Sequence[sql.SQL]) -> None:
    conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table.identifier))
    for kind, trigger in enumerate(triggers):
        conn.execute(_render(trigger, table, book, f"{table.name}_{kind}"))
    conn.execute(_render(RECORD_PRESENT, table, book, ""))
    conn.execute(
        "INSERT INTO witness.witnessed VALUES (%s, %s, %s)",
        (table.name, list(table.key_columns), list(table.compared)),
    )


def _render(template: sql.SQL, table: Table, book: sql.Identifier, function: str) -> sql.Composed:
    settings = [sql.SQL("SET search_path = pg_catalog")]
    settings += [sql.SQL(f"SET {name} = '{value}'") for name, value in CANONICAL_SETTINGS.items()]
    return template.format(
        book=book,
        function=sql.Identifier("witness", function),
        name=sql.Literal(table.name),
        table=table.identifier,
        settings=sql.SQL(" ").join(settings),
        new_key=table.key("NEW"),
        old_key=table.key("OLD"),
        digest=table.digest("NEW"),
        present_key=table.key("present"),
        present_digest=table.digest("present"),
    )
