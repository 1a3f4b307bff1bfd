"""What a source must be before it is captured: each fault is one sentence with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row

from daemon.config.source import Source
from daemon.errors import OperatorError
from schemas.topics import LONGEST_TOPIC, table_topic

OLDEST_SERVER = 140_000

_SERVER = """
SELECT current_setting('server_version_num')::integer AS version, current_setting('wal_level') AS wal_level,
       pg_is_in_recovery() AS standby, rolsuper OR rolreplication AS replicates, current_user AS role,
       current_setting('server_encoding') AS encoding
FROM pg_roles WHERE rolname = current_user
"""
_TABLES = """
SELECT wanted.schema, wanted.name, c.oid IS NOT NULL AS found, c.relkind, c.relpersistence, c.relreplident,
       coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), false) AS readable,
       coalesce(row_security_active(c.oid), false) AS hides_rows,
       (SELECT array_agg(attname::text ORDER BY attname) FROM pg_index JOIN pg_attribute ON attrelid = indrelid
        WHERE indrelid = c.oid AND indisprimary AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])) AS key,
       (SELECT array_agg(attname::text ORDER BY attname) FROM pg_index JOIN pg_attribute ON attrelid = indrelid
        WHERE indrelid = c.oid AND indisreplident AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])) AS identity,
       (SELECT min(attname) FROM pg_index JOIN pg_attribute ON attrelid = indrelid
        WHERE indrelid = c.oid AND indisprimary AND attnum = ANY (indkey) AND attgenerated <> '') AS generated_key,
       (SELECT min(relid::regclass::text) FROM pg_partition_tree(c.oid) JOIN pg_class leaf ON leaf.oid = relid
        WHERE isleaf AND c.relkind = 'p' AND leaf.relreplident NOT IN ('d', 'f')) AS odd_partition,
       (SELECT min(wanted) FROM unnest(%s::text[]) AS wanted JOIN pg_partition_tree(c.oid) ON level > 0
        WHERE wanted = (SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace part ON part.oid = relnamespace
                        WHERE pg_class.oid = relid)) AS partition_too
FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
LEFT JOIN pg_namespace n ON nspname = wanted.schema
LEFT JOIN pg_class c ON relnamespace = n.oid AND relname = wanted.name
"""
_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


class _Server(NamedTuple):
    version: int
    wal_level: str
    standby: bool
    replicates: bool
    role: str
    encoding: str


def check(connection: psycopg.Connection[Any], name: str, source: Source) -> Iterator[OperatorError]:
    """Every fault of the server, the role and the tables."""
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        row = cursor.execute(_SERVER).fetchone()
        assert row is not None, "the current role is in pg_roles"
        server = _Server(*row)
        yield from _server_faults(name, server)
        pairs = [table.split(".", 1) for table in source.tables]
        schemas, names = [schema for schema, _ in pairs], [table for _, table in pairs]
        cursor.execute(_TABLES, [list(source.tables), schemas, names])
        for facts in cursor.fetchall():
            fault = _table_fault(name, server.role, facts)
            if fault is not None:
                yield fault


def ensure_publication(connection: psycopg.Connection[Any], name: str, source: Source) -> Iterator[OperatorError]:
    """Make the publication, or add tables to it, where the role may; every fault that is left."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute("SELECT * FROM pg_publication WHERE pubname = %s", [source.publication]).fetchone()
    published = _published(connection, source.publication)
    partitioned = _partitioned(connection, source.tables)
    if found is None:
        options = sql.SQL(" WITH (publish_via_partition_root = true)" if partitioned else "")
        statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {}{}").format(
            sql.Identifier(source.publication), _tables(source.tables), options
        )
        yield from _run_or_explain(
            connection, f"Publication {source.publication} is missing in source {name}", statement
        )
        return
    if partitioned and not found["pubviaroot"]:
        statement = sql.SQL("ALTER PUBLICATION {} SET (publish_via_partition_root = true)").format(
            sql.Identifier(source.publication)
        )
        what = f"Publication {source.publication} of source {name} publishes partitions instead of {partitioned[0]}"
        faults = list(_run_or_explain(connection, what, statement))
        yield from faults
        if faults:
            return
        published = _published(connection, source.publication)
    by_table = {f"{row['schemaname']}.{row['tablename']}": row for row in published}
    if absent := [table for table in source.tables if table not in by_table]:
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
            sql.Identifier(source.publication), _tables(absent)
        )
        what = f"Publication {source.publication} of source {name} leaves out {', '.join(absent)}"
        yield from _run_or_explain(connection, what, statement)
    yield from _operation_faults(name, source, found)
    yield from _part_faults(connection, name, source, by_table)


def _published(connection: psycopg.Connection[Any], publication: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        query = "SELECT * FROM pg_publication_tables WHERE pubname = %s"
        return cursor.execute(query, [publication]).fetchall()


def _partitioned(connection: psycopg.Connection[Any], names: Sequence[str]) -> list[str]:
    """Those of the tables that have partitions: their changes are published as their own, not as the partitions'."""
    query = "SELECT wanted FROM unnest(%s::text[], %s::text[]) AS w (wanted, quoted) WHERE EXISTS"
    query += " (SELECT FROM pg_class WHERE oid = to_regclass(quoted) AND relkind = 'p')"
    quoted = [sql.Identifier(*name.split(".", 1)).as_string() for name in names]
    return [name for (name,) in connection.execute(query.encode(), [list(names), quoted])]


def _server_faults(name: str, server: _Server) -> Iterator[OperatorError]:
    if server.version < OLDEST_SERVER:
        yield OperatorError(
            f"Source {name} runs PostgreSQL {server.version // 10_000}, and 14 is the oldest that can be captured.",
            "Upgrade that server.",
        )
    if server.standby:
        yield OperatorError(
            f"Source {name} is a standby, and capture writes marks into the log.",
            f"Put the primary's host into sources.{name}.url.",
        )
    if server.encoding == "SQL_ASCII":
        yield OperatorError(
            f"Source {name} has encoding SQL_ASCII: which characters its bytes are, nobody can tell.",
            "Move its data into a database with ENCODING 'UTF8'.",
        )
    if server.wal_level != "logical":
        yield OperatorError(
            f"Source {name} has wal_level {server.wal_level}, and capture needs logical.",
            "As a superuser run: ALTER SYSTEM SET wal_level = logical; then restart that server.",
        )
    if not server.replicates:
        yield OperatorError(
            f"Role {server.role} of source {name} may not replicate.",
            f"As a superuser run: ALTER ROLE {_quoted(server.role)} REPLICATION",
        )


def _table_fault(name: str, role: str, facts: Any) -> OperatorError | None:
    """The first thing that is wrong with one table."""
    table = f"{facts.schema}.{facts.name}"
    quoted = sql.Identifier(facts.schema, facts.name).as_string()
    if not facts.found:
        return OperatorError(
            f"Source {name} has no table {table}.", f"Create it, or take it out of sources.{name}.tables."
        )
    if facts.relkind not in ("r", "p") or facts.relpersistence != "p":
        return OperatorError(
            f"{table} of source {name} is not an ordinary logged table, and only those can be captured.",
            f"Take it out of sources.{name}.tables.",
        )
    if facts.partition_too:
        return OperatorError(
            f"{facts.partition_too} of source {name} is a partition of {table}: its changes would come twice.",
            f"Take one of them out of sources.{name}.tables.",
        )
    if (length := len(table_topic(name, facts.schema, facts.name))) > LONGEST_TOPIC:
        return OperatorError(
            f"The topic of {table} of source {name} would have {length} characters, and Kafka takes {LONGEST_TOPIC}.",
            f"Give the table or its schema a shorter name, or take it out of sources.{name}.tables.",
        )
    if not facts.readable:
        schema = _quoted(facts.schema)
        return OperatorError(
            f"Role {role} may not read {table} of source {name}.",
            f"As its owner run: GRANT USAGE ON SCHEMA {schema} TO {_quoted(role)};"
            f" GRANT SELECT ON {quoted} TO {_quoted(role)}",
        )
    if facts.hides_rows:
        return OperatorError(
            f"Row-level security hides rows of {table} in source {name} from role {role}.",
            f"As a superuser run: ALTER ROLE {_quoted(role)} BYPASSRLS",
        )
    return _key_fault(name, table, quoted, facts)


def _key_fault(name: str, table: str, quoted: str, facts: Any) -> OperatorError | None:
    """Without a key, what is logged of a change has to be the whole row, or an insert."""
    if not facts.key and facts.relreplident == "d":
        return OperatorError(
            f"{table} of source {name} has no primary key, and its rows cannot be told apart.",
            "Give it one, over the columns that tell its rows apart; or, for a table that no target follows, run:"
            f" ALTER TABLE {quoted} REPLICA IDENTITY FULL; or take it out of sources.{name}.tables.",
        )
    if facts.generated_key:
        return OperatorError(
            f"The primary key of {table} of source {name} has the generated column {facts.generated_key},"
            " which is not logged.",
            f"Give it another key, or take it out of sources.{name}.tables.",
        )
    unlogged = facts.relreplident == "n" or (
        facts.relreplident == "i" and not set(facts.key or ()) <= set(facts.identity or ())
    )
    if facts.key and unlogged:
        return OperatorError(
            f"{table} of source {name} does not log its primary key with updates and deletes.",
            f"As its owner run: ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT",
        )
    if facts.odd_partition:
        return OperatorError(
            f"Partition {facts.odd_partition} of {table} of source {name} does not log its primary key with updates"
            " and deletes.",
            f"As its owner run: ALTER TABLE {facts.odd_partition} REPLICA IDENTITY DEFAULT",
        )
    return None


def _operation_faults(name: str, source: Source, found: dict[str, Any]) -> Iterator[OperatorError]:
    left_out = [what for what in ("insert", "update", "delete", "truncate") if not found[f"pub{what}"]]
    if left_out:
        publication = _quoted(source.publication)
        yield OperatorError(
            f"Publication {source.publication} of source {name} leaves out {', '.join(left_out)}.",
            f"As its owner run: ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')",
        )


def _part_faults(
    connection: psycopg.Connection[Any], name: str, source: Source, published: dict[str, dict[str, Any]]
) -> Iterator[OperatorError]:
    """Row filters and column lists would make rows that are neither there nor gone."""
    for table in source.tables:
        row = published.get(table, {})
        quoted = sql.Identifier(*table.split(".", 1)).as_string()
        listed = row.get("attnames") or []
        columns = [column for (column,) in connection.execute(_COLUMNS, [quoted])] if listed else []
        missing = sorted(set(columns) - set(listed))
        publication = _quoted(source.publication)
        extra = sorted(set(listed) - set(columns))
        if extra and connection.info.server_version >= 180_000:
            yield OperatorError(
                f"Publication {source.publication} of source {name} publishes {extra[0]} of {table}, a generated"
                " column, which copies of the table leave out.",
                f"As its owner run: ALTER PUBLICATION {publication} SET (publish_generated_columns = none);"
                f" ALTER PUBLICATION {publication} DROP TABLE {quoted};"
                f" ALTER PUBLICATION {publication} ADD TABLE {quoted}",
            )
        if row.get("rowfilter") or missing:
            what = f"column {missing[0]}" if missing else "rows"
            yield OperatorError(
                f"Publication {source.publication} of source {name} leaves out {what} of {table}, which is for"
                " routes to do.",
                f"As its owner run: ALTER PUBLICATION {publication} DROP TABLE {quoted};"
                f" ALTER PUBLICATION {publication} ADD TABLE {quoted}",
            )


def _run_or_explain(connection: psycopg.Connection[Any], what: str, statement: sql.Composed) -> Iterator[OperatorError]:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        yield OperatorError(
            f"{what}, and role {connection.info.user} may not change that.",
            f"As the owner of the tables run: {statement.as_string()}",
        )


def _tables(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*name.split(".", 1)) for name in names)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
