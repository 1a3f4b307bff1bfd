"""Which targets take part where tables go both ways, told from what the configuration says of the way out.

A hub is a source; a spoke is a target of it that has the name of a source of its own, by which its changes come back to
a target of the hub. That has the inverse of the way out; and what the hub needs to know of its own rows is followed by
a target that nobody has to name.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from daemon.config.route import Route
    from daemon.config.target import Target

OBSERVER = "{hub}_observer"


@dataclass(frozen=True, slots=True)
class Role:
    """`spoke`: the target is that spoke; `hub`: it brings the spoke's changes to the hub; `observer`: it follows the
    hub's own changes (`spoke` is empty)."""

    kind: Literal["spoke", "hub", "observer"]
    hub: str
    spoke: str = ""


def complete(targets: MutableMapping[str, Target]) -> dict[str, Role]:
    """Give targets of a hub their tables, and each hub its observer; who takes part, by target.

    Raises ValueError where something is missing, or stands twice.
    """
    spokes = {name: target for name, target in targets.items() if any(one.both_ways for one in target.tables.values())}
    roles: dict[str, Role] = {}
    for name, spoke in spokes.items():
        roles[name] = Role("spoke", spoke.source, name)
        back = [one for one, target in targets.items() if target.source == name]
        if len(back) != 1:
            raise ValueError(
                f"targets.{name} has tables that go both ways: one target with source {name!r} has to bring them back"
                f" to {spoke.source}, and there {'is none' if not back else f'are {len(back)}'}"
            )
        (hub,) = back
        roles[hub] = Role("hub", spoke.source, name)
        targets[hub] = _with_tables(hub, targets[hub], dict(_inverse(spoke)))
    for hub in {one.hub for one in roles.values()}:
        brings = next(name for name, role in roles.items() if role.kind == "hub" and role.hub == hub)
        observer = OBSERVER.format(hub=hub)
        if observer in targets:
            raise ValueError(f"targets.{observer}: this name is the daemon's own, as {hub} is a hub")
        followed = dict(_followed([spoke for spoke in spokes.values() if spoke.source == hub]))
        targets[observer] = targets[brings].model_copy(update={"source": hub, "tables": followed})
        roles[observer] = Role("observer", hub)
    return roles


def _with_tables(name: str, target: Target, tables: dict[str, Route]) -> Target:
    for table in target.tables.keys() & tables.keys():
        raise ValueError(f"targets.{name}.tables.{table}: this goes both ways, and has its route there")
    return target.model_copy(update={"tables": {**target.tables, **tables}})


def _inverse(spoke: Target) -> Iterator[tuple[str, Route]]:
    """By the spoke's table, the way back."""
    for table, route in spoke.tables.items():
        if not route.both_ways:
            continue
        there = spoke.comes_back_from(table)
        renamed = route.columns
        yield (
            there,
            type(route)(
                both_ways=True,
                rule=route.rule,
                rules=route.rules,
                outward=route.outward,
                table=None if there == table else table,
                columns={new: old for old, new in renamed.items()},
                local=tuple(renamed.get(name, name) for name in route.local),
                exclude=tuple(route.constants) if route.only is None else (),
                constants=spoke.given_to(table),
                only=None if route.only is None else tuple(renamed.get(name, name) for name in route.only),
                truncate=route.truncate,
                updated_at=spoke.tells_time(route),
            ),
        )


def _followed(spokes: list[Target]) -> Iterator[tuple[str, Route]]:
    """The hub's own tables: what no spoke has is left out."""
    routes: dict[str, list[Route]] = {}
    for spoke in spokes:
        for table, route in spoke.tables.items():
            if route.both_ways:
                routes.setdefault(table, []).append(route)
    for table, several in routes.items():
        named = {name for one in several for name in (*one.local, *one.exclude)}
        hidden = frozenset(name for name in named if all(one.leaves_out(name) for one in several))
        whole = any(one.only is None for one in several)
        only = None if whole else tuple(sorted({name for one in several for name in one.only or ()}))
        times = {one.updated_at for one in several if one.updated_at is not None}
        yield (
            table,
            type(several[0])(
                both_ways=True,
                only=only,
                local=tuple(sorted(hidden if only is None else hidden & set(only))),
                updated_at=times.pop() if len(times) == 1 else None,
            ),
        )
