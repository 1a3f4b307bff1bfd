"""Rows that are at a service only while others name them: which they are, and that they leave as deleted rows do.

The mirror has the key and the naming columns of every table that names any. Whatever changes there queues the keys that
are named by it now and were not before, or the other way round; who tells the service looks then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import psycopg
from psycopg import sql

from connectors.contract import Place
from connectors.mirroring import Mirrored, Naming, wanted_table
from connectors.postgres.guard import Guard
from connectors.postgres.mirror.watching import EVENTS, unwatch, watch
from schemas.position import START
from schemas.resolution import Fields

_CURSOR = "SELECT state FROM placemat.cursors WHERE name = %s"
_REMEMBER = """
INSERT INTO placemat.cursors (name, state) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET state = EXCLUDED.state, moved_at = clock_timestamp()
"""
_KEEP_THOSE_THERE = """
INSERT INTO placemat.kept (table_name, key) SELECT table_name, key FROM placemat.remotes
WHERE table_name = %s AND alive ON CONFLICT DO NOTHING
"""
_QUEUE_THE_OTHERS = sql.SQL("""
INSERT INTO placemat.queue AS q (table_name, key)
SELECT {table}, k.key FROM (SELECT {key} AS key FROM {rows} r) k
WHERE NOT EXISTS (SELECT FROM placemat.remotes m WHERE m.table_name = {table} AND m.key = k.key AND m.alive)
ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1
""")
_UNNAMED = sql.SQL("""
SELECT k.key FROM unnest(%s::text[]) AS k (key), LATERAL jsonb_populate_record(NULL::{rows}, k.key::jsonb) r
WHERE NOT {condition}
""")
_TAKE = """
DELETE FROM placemat.leaving RETURNING table_name, key, what, xid = pg_current_xact_id()
"""
_STATE = sql.SQL("""
SELECT k.key, EXISTS (SELECT FROM {rows} o WHERE o.{key} = r.{key}), {condition}
FROM unnest(%s::text[]) AS k (key), LATERAL jsonb_populate_record(NULL::{rows}, k.key::jsonb) r
""")
_KEEP = "INSERT INTO placemat.kept (table_name, key) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING"


def key_text(one: Mirrored) -> sql.Composable:
    """The record key of a row r, as the source has it."""
    name = orjson.dumps(one.key).decode()
    return sql.SQL("'{{' || {} || ':' || to_json(r.{})::text || '}}'").format(
        sql.Literal(name), sql.Identifier(one.key)
    )


def condition(one: Mirrored) -> sql.Composable:
    """Whether a row r is named, or stays although it is not; true where nobody has to name it."""
    if not one.named_by:
        return sql.SQL("true")
    kept = sql.SQL("EXISTS (SELECT FROM placemat.kept p WHERE p.table_name = {} AND p.key = {})").format(
        sql.Literal(one.table), key_text(one)
    )
    return sql.SQL("({})").format(sql.SQL(" OR ").join([*(_names(one, by) for by in one.named_by), kept]))


def _names(one: Mirrored, by: Naming) -> sql.Composable:
    return sql.SQL("EXISTS (SELECT FROM {} n WHERE n.{} = r.{})").format(
        _identifier(wanted_table(by.table)), sql.Identifier(by.column), sql.Identifier(one.key)
    )


def watch_names(mirror: psycopg.Connection[Any], tables: Sequence[Mirrored]) -> None:
    """Have triggers tell whatever changes who is named, in the open transaction; the tables are there.

    Where the setting is new, rows that the service has already stay until somebody names them: the tables that name
    them may not have come yet.
    """
    for one in tables:
        named = f"named:{one.table}"
        wanted = orjson.dumps([list(by) for by in one.named_by]).decode()
        row = mirror.execute(_CURSOR, [named]).fetchone()
        if not one.told or wanted == ("[]" if row is None else row[0]):
            continue
        unwatch(mirror, rf"placemat\_names\_%\_{_short(one.table)}\_%")
        mirror.execute(_REMEMBER, [named, wanted])
        if one.named_by:
            mirror.execute(_KEEP_THOSE_THERE, [one.table])
            for event in ("DELETE", "TRUNCATE"):
                watch(mirror, one.wanted, event, _trigger(event, one, ""), "note_leaving", [one.table, one.key])
            for by in one.named_by:
                for event in EVENTS:
                    arguments = [one.table, one.key, by.column]
                    name = _trigger(event, one, by.column)
                    watch(mirror, wanted_table(by.table), event, name, "enqueue_named", arguments)
        else:
            mirror.execute("DELETE FROM placemat.kept WHERE table_name = %s", [one.table])
        mirror.execute(
            _QUEUE_THE_OTHERS.format(table=sql.Literal(one.table), key=key_text(one), rows=_identifier(one.wanted))
        )


def _trigger(event: str, one: Mirrored, column: str) -> str:
    return f"placemat_names_{event.lower()}_{_short(one.table)}_{_short(column)}"


def _short(name: str) -> str:
    """A name of a trigger has 63 characters at most."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


class Named:
    """In the open transaction of a connection. Raises psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any], tables: Sequence[Mirrored]) -> None:
        self._connection = connection
        self._tables = {one.table: one for one in tables if one.named_by}
        self.apart = frozenset({*self._tables, *(one.table for one in tables if not one.told)})
        """Tables whose deletes are none at the service, or not for that reason alone."""
        self.untold = frozenset(one.table for one in tables if not one.told)

    def only(self, rows: Mapping[tuple[str, str], Fields]) -> dict[tuple[str, str], Fields]:
        """Those of the rows that are to be at the service, by table and record key."""
        unnamed: set[tuple[str, str]] = set()
        for table, one in self._tables.items():
            if keys := [key for name, key in rows if name == table]:
                query = _UNNAMED.format(rows=_identifier(one.wanted), condition=condition(one))
                unnamed |= {(table, key) for (key,) in self._connection.execute(query, [keys])}
        return {key: row for key, row in rows.items() if key not in unnamed}

    def counting(self, table: str) -> sql.Composable | None:
        """The rows of a table that are at the service; None: all."""
        one = self._tables.get(table)
        return None if one is None else sql.SQL("{} r WHERE {}").format(_identifier(one.wanted), condition(one))

    def count(self, guard: Guard, begun: Place, through: Place) -> None:
        """Tell the guard which rows leave with the open transaction, of the commits from `begun` through `through`;
        while deletes are rejected, they stay."""
        if not self._tables:
            return
        found: dict[str, dict[str, set[str]]] = {}
        for table, key, what, ours in self._connection.execute(_TAKE).fetchall():
            if ours and table in self._tables:
                found.setdefault(table, {}).setdefault(key, set()).add(what)
        for table, keys in found.items():
            one = self._tables[table]
            query = _STATE.format(rows=_identifier(one.wanted), key=sql.Identifier(one.key), condition=condition(one))
            states = self._connection.execute(query, [list(keys)]).fetchall()
            if guard.rejecting is not None:
                self._keep(table, [key for key, there, named in states if there and not named])
                continue
            gone = [
                key
                for key, there, named in states
                if (there or "row" in keys[key]) and (named or "name" in keys[key]) and not (there and named)
            ]
            guard.count(table, len(gone), [(key.encode(), START) for key in gone], begun)
            if gone:
                guard.reach(table, through)

    def _keep(self, table: str, keys: Collection[str]) -> None:
        if keys:
            self._connection.execute(_KEEP, [table, list(keys)])


def _identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split(".", 1))
