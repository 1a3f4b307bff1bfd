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
    faults = list(_faults(routes, shape, known))
    children = list(dict.fromkeys(child for fault in faults for child, _ in fault.asking if child != shape.table))
    waiting = next((child for child in children if child not in paused), shape.table)
    for what, asks, first, else_ in faults:
        if waiting != shape.table and waiting not in (child for child, _ in asks):
            continue
        resume = _resume(target, shape.table, *children)
        raise TableUnfit(
            waiting,
            f"{what}, and {_untold(target, asks)}"
            if asks
            else f"{what}, and target {target} cannot tell its rows apart.",
            f"{first.format(_named(target, asks))}; then: {resume}{else_}",
        )


def unfit_as_gone(target: str, routes: Mapping[str, Routing], table: str, paused: Collection[str]) -> TableUnfit:
    """For the next table that has to wait as the source has `table` no more: those whose conditions name it first."""
    asks = [(child, setting) for child, setting, _ in referring(routes, table) if child != table]
    children = list(dict.fromkeys(child for child, _ in asks))
    what = f"{table} is gone from the source: it was dropped, or has another name now"
    again = f"once the source has it again and changes it: {_resume(target, table, *children)}"
    if not asks:
        left = f"Its rows in target {target} stay as they are."
        return TableUnfit(table, f"{what}. {left}", f"Take it out of targets.{target}.tables; or, {again}")
    correct = f"Correct {_named(target, asks)}"
    if table in routes:
        correct += f", take {table} out of targets.{target}.tables"
    return TableUnfit(
        next((child for child in children if child not in paused), table),
        f"{what}, and {_untold(target, asks)}",
        f"{correct}, run placemat init, and start placemat run again; then: {_resume(target, *children)}. Or, {again}",
    )


def _named(target: str, asks: Collection[tuple[str, str]]) -> str:
    return " and ".join(f"targets.{target}.tables.{child}.{setting}" for child, setting in asks)


def _untold(target: str, asks: Collection[tuple[str, str]]) -> str:
    ask = "asks" if len(asks) == 1 else "ask"
    return f"{_named(target, asks)} {ask} for it: which rows belong to target {target} cannot be told."


def _resume(target: str, *tables: str) -> str:
    return " && ".join(f"placemat resume {target} {table}" for table in tables)


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
        if held_by is None or held_by.key_column is None:
            continue
        if (held_by.key_column,) not in (shape.key, shape.key_back):
            yield _Fault(
                f"The key of {table} is ({', '.join(shape.key)}) now and was ({held_by.key_column})",
                [(child, setting)],
                "Give it back its key, and change a row there; or correct {0}, run placemat init, and start placemat"
                " run again",
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

    What is known by a name that no version has is left as it is.
    """
    type_ = shape.columns[name].compared if name in shape.columns else None
    if type_ is None or alike(held.type, _bare(type_)):
        return None
    coming = shape.coming.get(name)
    if coming is not None and alike(held.type, _bare(coming)):
        return "for a while"
    return "for good" if held.type in map(_bare, shape.retyped.get(name, ())) else None


def _bare(type_: str) -> str:
    """Without length and precision."""
    return _LENGTH.sub("", type_)
