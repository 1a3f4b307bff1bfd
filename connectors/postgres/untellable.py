"""Conditions that a new version of a source's table leaves without an answer: which rows belong to a target.

The tables whose conditions ask wait, and the changed one too: nothing new is shown by what was known before.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from connectors.contract import NewShape, Routing
from connectors.errors import TableUnfit
from connectors.postgres.plan import alike, asked, asking, referring
from connectors.postgres.related import SourceColumn

_LENGTH = re.compile(r"\(\d+(,-?\d+)?\)")


class _Fault(NamedTuple):
    """What became of the table, the settings that ask for it (routed table, name in its route), what to do first."""

    what: str
    asking: list[tuple[str, str]]
    first: str
    else_: str = ""


def check_conditions(
    target: str,
    routes: Mapping[str, Routing],
    shape: NewShape,
    known: Mapping[tuple[str, str], SourceColumn],
    paused: Collection[str],
) -> None:
    """Raises TableUnfit for the next table that has to wait, the changed one last: where conditions ask for a column
    that comes no more and did not come back, whose values compare otherwise than as `known`, by table and column, or
    for rows by a key that is another one now; and where there is no key any more.

    The table may be routed, or only needed for the conditions of others.
    """
    for what, asks, first, else_ in _faults(routes, shape, known):
        children = list(dict.fromkeys(child for child, _ in asks if child != shape.table))
        named = " and ".join(f"targets.{target}.tables.{child}.{setting}" for child, setting in asks)
        untold = f"{'asks' if len(asks) == 1 else 'ask'} for it: which rows belong to target {target} cannot be told."
        resume = " && ".join(f"placemat resume {target} {table}" for table in (shape.table, *children))
        raise TableUnfit(
            next((child for child in children if child not in paused), shape.table),
            f"{what}, and {named} {untold}" if asks else f"{what}, and target {target} cannot tell its rows apart.",
            f"{first.format(named)}; then: {resume}{else_}",
        )


def _faults(
    routes: Mapping[str, Routing], shape: NewShape, known: Mapping[tuple[str, str], SourceColumn]
) -> Iterator[_Fault]:
    table = shape.table
    for name in sorted(asked(routes).get(table, {})):
        asks = asking(routes, table, name)
        if name in shape.dropped - shape.back:
            yield _Fault(
                f"Column {name} of {table} was dropped or renamed",
                asks,
                "Correct {0}, run placemat init, and start placemat run again",
                ", and rows that are concerned are asked for. Or give the column back its name, and change a row there;"
                " then the same.",
            )
        held = known.get((table, name))
        if held is not None and name in shape.retyped and _compares_otherwise(name, shape, held) == "for good":
            yield _Fault(
                f"Column {name} of {table} is {shape.columns[name].type} now and was {held.type}",
                asks,
                "Run placemat init, which says whether {0} fits still, and start placemat run again",
                ", and rows that are concerned are asked for.",
            )
    if not shape.key_changed:
        return
    found = referring(routes, table)
    if not shape.key:
        yield _Fault(
            f"{table} has no key any more in the source",
            [(child, setting) for child, setting, _ in found],
            "Give it one in the source, and once a row was changed there",
            "; or take it out of the routes.",
        )
    for child, setting, reference in found:
        held_by = known.get(reference)
        if held_by is not None and held_by.key_column is not None and shape.key != (held_by.key_column,):
            yield _Fault(
                f"The key of {table} is ({', '.join(shape.key)}) now and was ({held_by.key_column})",
                [(child, setting)],
                "Give it back its key; or correct {0}, run placemat init, and start placemat run again",
                f"; then: placemat snapshot {table} {child}",
            )


def unread(
    routes: Mapping[str, Routing], shape: NewShape, known: Mapping[tuple[str, str], SourceColumn]
) -> frozenset[str]:
    """Columns whose values of this version say nothing to conditions: they are of another type than those that come."""
    return frozenset(
        name
        for name in asked(routes).get(shape.table, {})
        if (held := known.get((shape.table, name))) is not None
        and _compares_otherwise(name, shape, held) == "for a while"
    )


def _compares_otherwise(name: str, shape: NewShape, held: SourceColumn) -> Literal["for good", "for a while"] | None:
    """Whether the values of a column are compared in another way than as is known, which is its type before or by now.

    What is known by a name that no version has, as the type below a domain, is left as it is.
    """
    type_ = shape.columns[name].type if name in shape.columns else None
    if type_ is None or alike(held.type, _bare(type_)):
        return None
    coming = shape.coming.get(name)
    if coming is not None and alike(held.type, _bare(coming)):
        return "for a while"
    return "for good" if held.type in map(_bare, shape.retyped.get(name, ())) else None


def _bare(type_: str) -> str:
    """Without length and precision."""
    return _LENGTH.sub("", type_)
