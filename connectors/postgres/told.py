"""By what the rows of a table are told: a digest of its route, as far as it matters for what stands in the rows, and by
name what another route may leave behind. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

import orjson

from connectors.contract import Routing
from connectors.postgres import plan
from connectors.postgres.related import SourceColumn
from connectors.route.condition import columns, text
from connectors.route.masks import Constant, Drop, Hash, Mask, Truncate

ALL_OTHERS = "*"
"""Stands for every column that is not written."""


class Told(NamedTuple):
    """Of one table; `written` and `left_out` are columns of the target, by name. Where the route names all that it
    writes, they stand in `written`, and ALL_OTHERS in `left_out`."""

    digest: str | None
    """None: it has no route, and only conditions need it. "": several have told its rows, or may have."""
    there: str | None
    """The table of the target."""
    written: list[str]
    left_out: list[str]
    """Those that the target keeps for itself are among them."""
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

    def mixed(self, now: Told) -> Told:
        """Of rows some of which were told by this, and others by `now`: what holds for all of them."""
        return self._replace(
            digest=self.digest and "",
            written=sorted({*self.written, *now.written}),
            left_out=sorted({*self.left_out} & {*now.left_out}),
            remembered=sorted({*self.remembered} & {*now.remembered}),
        )


def told(routes: Mapping[str, Routing], known: Mapping[tuple[str, str], SourceColumn]) -> dict[str, Told]:
    """By table, parents that are only needed among them; `known` is by table and column."""
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
    named = () if routing.only is None else map(routing.renamed, routing.only)
    written = sorted({*routing.columns.values(), *routing.constants, *named})
    hidden = {*routing.exclude, *(name for name, mask in routing.masks.items() if isinstance(mask, Drop))}
    others = () if routing.only is None else (ALL_OTHERS,)
    left_out = sorted({*(routing.renamed(name) for name in hidden | routing.local), *others})
    there = routing.table or table
    content = {
        "there": there,
        "columns": {old: new for old, new in routing.columns.items() if old != new},
        "hidden": sorted(hidden),
        **({} if routing.only is None else {"only": sorted(routing.only)}),
        "constants": dict(routing.constants),
        "masks": {name: _mask(mask) for name, mask in routing.masks.items() if not isinstance(mask, Drop)},
        "where": text(routing.where) if routing.where else None,
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
