"""Commits a script on both sides, wave by wave, and notes when each transaction was committed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg import Connection, connect, sql
from psycopg.types.json import Jsonb

from daemon.embedded.scenario.ledger import Change, Row, Side
from daemon.embedded.scenario.script import RowKey, Script, Step

ROWS_OF_A_TRANSACTION = 40
MARGIN_SECONDS = 0.1
"""Between waves, beyond the skew."""
PARENTS_FIRST = ("workspaces", "projects", "storytellers", "stories", "story_media")

_XID = "SELECT pg_current_xact_id()::text"
_COMMITTED = "SELECT floor(extract(epoch FROM pg_xact_commit_timestamp(%s::xid)) * 1000)::bigint"
_Work = list[tuple[RowKey, Step]]


def play(hub_dsn: str, spoke_dsn: str, script: Script, skew_seconds: float) -> dict[RowKey, list[Change]]:
    """The changes of each row in the order of their commits. Both servers need `track_commit_timestamp`.

    Each transaction on one side has one on the other, and they are committed back to back. Raises psycopg.Error.
    """
    changes: dict[RowKey, list[Change]] = defaultdict(list)
    with (
        connect(hub_dsn, application_name="placemat-scenario") as hub,
        connect(spoke_dsn, application_name="placemat-scenario") as spoke,
    ):
        sides: dict[Side, Connection[Any]] = {"hub": hub, "spoke": spoke}
        for wave in (0, 1, 2):
            if wave:
                time.sleep(skew_seconds + MARGIN_SECONDS)
            for number, part in enumerate(_parts(script, wave)):
                # Who is first takes turns: at once is at once either way.
                order: tuple[Side, ...] = ("hub", "spoke") if number % 2 else ("spoke", "hub")
                for side, at in _commit({side: sides[side] for side in order}, part).items():
                    for key, step in part:
                        if step.side == side:
                            changes[key].append(Change(side, at, step.op, step.values))
    return {key: sorted(of_row, key=lambda one: one.at) for key, of_row in changes.items()}


def _parts(script: Script, wave: int) -> Iterator[_Work]:
    """The wave's steps, those of one row together; new rows first, parents before their children."""
    rows = [(key, [step for step in steps if step.wave == wave]) for key, steps in script.items()]
    rows = sorted((row for row in rows if row[1]), key=lambda row: _turn(*row))
    for begin in range(0, len(rows), ROWS_OF_A_TRANSACTION):
        yield [(key, step) for key, steps in rows[begin : begin + ROWS_OF_A_TRANSACTION] for step in steps]


def _turn(key: RowKey, steps: Sequence[Step]) -> tuple[bool, int]:
    new = any(step.op == "insert" for step in steps)
    return not new, PARENTS_FIRST.index(key[0]) if new else 0


def _commit(sides: Mapping[Side, Connection[Any]], part: _Work) -> dict[Side, int]:
    """One transaction a side; when each was committed, in milliseconds."""
    xids: dict[Side, str] = {}
    for side, connection in sides.items():
        mine = [(key, step) for key, step in part if step.side == side]
        if mine:
            _write(connection, mine)
            (xids[side],) = connection.execute(_XID).fetchone() or ("",)
    for connection in sides.values():
        connection.commit()
    return {side: _committed(sides[side], xid) for side, xid in xids.items()}


def _committed(connection: Connection[Any], xid: str) -> int:
    (at,) = connection.execute(_COMMITTED, [xid]).fetchone() or (None,)
    connection.rollback()
    if at is None:
        raise ValueError("the server does not note when transactions are committed: set track_commit_timestamp")
    return int(at)


def _write(connection: Connection[Any], part: _Work) -> None:
    """Rows that are changed alike by one statement."""
    alike: defaultdict[tuple[str, str, tuple[str, ...]], list[list[Any]]] = defaultdict(list)
    for (table, key), step in part:
        values = [Jsonb(one) if isinstance(one, dict) else one for one in step.values.values()]
        alike[table, step.op, tuple(step.values)].append([*values, *([] if step.op == "insert" else [key])])
    for (table, op, fields), rows in alike.items():
        with connection.cursor() as cursor:
            cursor.executemany(_statement(table, op, fields), rows)
            assert cursor.rowcount == len(rows), f"{op} of {len(rows)} rows in {table} was of {cursor.rowcount}"


def _statement(table: str, op: str, fields: Sequence[str]) -> sql.Composed:
    names = [sql.Identifier(field) for field in fields]
    template = {
        "insert": "INSERT INTO {table} ({names}) VALUES ({places})",
        "update": "UPDATE {table} SET {assigned} WHERE id = %s",
        "delete": "DELETE FROM {table} WHERE id = %s",
    }[op]
    return sql.SQL(template).format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(names),
        places=sql.SQL(", ").join(sql.Placeholder() for _ in names),
        assigned=sql.SQL(", ").join(sql.SQL("{} = {}").format(name, sql.Placeholder()) for name in names),
    )


def read_rows(dsn: str, columns: Mapping[str, Sequence[str]]) -> dict[RowKey, Row]:
    """Every row of the tables, by table and id."""
    found: dict[RowKey, Row] = {}
    with connect(dsn, application_name="placemat-scenario") as connection:
        for table, names in columns.items():
            statement = sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table)
            )
            at = list(names).index("id")
            for values in connection.execute(statement):
                found[table, values[at]] = dict(zip(names, values, strict=True))
    return found
