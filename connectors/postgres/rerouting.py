"""By what the rows of a target were told: a route that is another one by now has its table asked for once more.

Kept is a digest of each route, as far as it matters for what stands in the rows, and by name what a new route may leave
behind in the target. Of the columns that conditions over parents rest on, all have to be known of every row.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg import sql

from connectors.contract import Destination, Rerouted, Routing
from connectors.postgres import plan
from connectors.postgres.related import Related, SourceColumn, read_columns
from connectors.postgres.shape import read_table
from connectors.route.condition import columns
from connectors.route.masks import Constant, Drop, Hash, Mask, Truncate

_READ = "SELECT table_name, digest, there, written, left_out, remembered FROM placemat.routes WHERE source = %s"
_STORE = """
INSERT INTO placemat.routes (source, table_name, digest, there, written, left_out, remembered)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, table_name) DO UPDATE SET digest = EXCLUDED.digest, there = EXCLUDED.there,
    written = EXCLUDED.written, left_out = EXCLUDED.left_out, remembered = EXCLUDED.remembered
"""


class Told(NamedTuple):
    """By what the rows of one table are told; `written` and `left_out` are columns of the target, by name."""

    digest: str | None
    """None: it has no route, and only conditions need it."""
    there: str | None
    """The table of the target."""
    written: list[str]
    left_out: list[str]
    remembered: list[str]
    """Columns of the source, with their types, that are kept for conditions over parents."""

    def calls_for_rows(self, before: Told) -> bool:
        """Whether rows that were told by `before` are not as they are to be."""
        rerouted = self.digest is not None and self.digest != before.digest
        return rerouted or not set(self.remembered) <= set(before.remembered)

    def held_otherwise(self, column: str, type_: str) -> bool:
        """Whether texts of a column were kept of a type that compares in another way."""
        types = [one.removeprefix(f"{column} ") for one in self.remembered if one.startswith(f"{column} ")]
        return bool(types) and not any(plan.alike(one, type_) for one in types)


class Rerouting:
    """Since one claim, in the open transaction. `apart` are tables that have left the main lane.

    A table that was never told of, as in a target that was there before this was kept, is taken as it is.
    """

    def __init__(self, connection: psycopg.Connection[Any], destination: Destination, apart: Collection[str]) -> None:
        self._connection = connection
        self._target = destination.name
        self._source = destination.source
        self._before = {table: Told(*told) for table, *told in connection.execute(_READ, [self._source])}
        self._known = read_columns(connection, self._source)
        self._remembered = plan.remembered(destination.routes)
        self._now = _told(destination.routes, self._known)
        stale = [table for table, now in self._now.items() if table in self._before and self._is_stale(table, now)]
        self._waiting = set(stale) & set(apart)
        # By parents of which too little is known yet all their children would leave for a while.
        self._waiting |= {
            table
            for table in stale
            if table in destination.routes
            and any(parent.table in self._waiting for parent in destination.routes[table].parents.values())
        }
        found = [table for table in stale if table not in self._waiting]
        found.sort(key=lambda table: _levels(destination.routes.get(table)))
        self.found = [Rerouted(table, self._advice(table)) for table in found]
        """Tables to be asked for, parents first."""

    def settle(self) -> None:
        """They were asked for: by what is kept from now on. Those that wait stay as they are."""
        for table, now in self._now.items():
            before = self._before.get(table)
            if now == before or table in self._waiting:
                continue
            related = Related(self._connection, self._source)
            if before is not None and before.remembered and not now.remembered:
                related.clear(table)  # it would grow old
            elif before is not None and (others := self._of_other_types(table, before)):
                related.unlearn(table, others)
            self._connection.execute(_STORE, [self._source, table, *now])

    @property
    def due(self) -> bool:
        """Whether `settle` has anything to store."""
        return any(now != self._before.get(table) for table, now in self._now.items() if table not in self._waiting)

    def _of_other_types(self, table: str, before: Told) -> list[str]:
        return [
            name
            for name in self._remembered.get(table, ())
            if (table, name) in self._known and before.held_otherwise(name, self._known[table, name].type)
        ]

    def _is_stale(self, table: str, now: Told) -> bool:
        return now.calls_for_rows(self._before[table])

    def _advice(self, table: str) -> str:
        """What the copy leaves behind in the target, with the statement to run there."""
        return "; ".join([*self._left_behind(self._before[table], self._now[table]), f"then: placemat verify {table}"])

    def _left_behind(self, before: Told, now: Told) -> Iterator[str]:
        if before.there is not None and now.there is not None and before.there != now.there:
            rid = f"TRUNCATE {_quoted(before.there)}"
            yield f"rows stay in {before.there} of target {self._target}; to be rid of them: {rid}"
            return
        ours = read_table(self._connection, now.there) if now.there is not None else None
        names = ({*now.left_out} - {*before.left_out} | {*before.written} - {*now.written}) - {*now.written}
        if ours is not None and (kept := sorted(names & ours.columns.keys())):
            sets = ", ".join(f"{sql.Identifier(name).as_string()} = DEFAULT" for name in kept)
            yield (
                f"values stay in {', '.join(kept)} of {ours.name} in target {self._target}; to be rid of them:"
                f" UPDATE {_quoted(ours.name)} SET {sets}"
            )


def _levels(routing: Routing | None) -> int:
    """How far up the condition of a route looks."""
    return max(map(len, routing.parents), default=0) if routing is not None else 0


def _told(routes: Mapping[str, Routing], known: Mapping[tuple[str, str], SourceColumn]) -> dict[str, Told]:
    """By table, parents that are only needed among them."""
    types = {name: column.type for name, column in known.items()}
    remembered = plan.remembered(routes)
    return {
        table: _told_of(
            table,
            routes.get(table),
            sorted(f"{name} {types.get((table, name))}" for name in remembered.get(table, ())),
            types,
        )
        for table in plan.tables(routes)
    }


def _told_of(table: str, routing: Routing | None, remembered: list[str], types: Mapping[tuple[str, str], str]) -> Told:
    if routing is None:
        return Told(None, None, [], [], remembered)
    written = sorted({*routing.columns.values(), *routing.constants})
    # What the target keeps for itself was never the source's.
    hidden = {*routing.exclude, *(name for name, mask in routing.masks.items() if isinstance(mask, Drop))}
    left_out = sorted({routing.renamed(name) for name in hidden})
    there = routing.table or table
    content = {
        "there": there,
        "columns": {old: new for old, new in routing.columns.items() if old != new},
        "hidden": sorted(hidden),
        "constants": dict(routing.constants),
        "masks": {name: _mask(mask) for name, mask in routing.masks.items() if not isinstance(mask, Drop)},
        "where": repr(routing.where),
        "types": [types.get((table, one.name)) for one in columns(routing.where) if not one.path]
        if routing.where
        else [],
        "parents": {".".join(path): [parent.table, parent.column] for path, parent in routing.parents.items()},
    }
    digest = sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Told(digest, there, written, left_out, remembered)


def _mask(mask: Mask) -> list[str | int | float | bool]:
    match mask:
        case Drop():
            return ["drop"]
        case Hash(key):
            return ["hash", hmac.digest(key, b"placemat.routes", "sha256").hex()]
        case Truncate(length):
            return ["truncate", length]
        case Constant(value):
            return ["constant", value]


def _quoted(table: str) -> str:
    return sql.Identifier(*table.split(".", 1)).as_string()
