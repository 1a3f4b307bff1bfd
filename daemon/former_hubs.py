"""Which databases of the configuration have been a hub and are none any more, from what was seen in each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Seen(NamedTuple):
    """A database as one source or target reaches it; `database` is the same for all that reach the same one.

    `something` may be kept there; `refused`: why that cannot be read and written.
    """

    name: str
    url: str
    database: str
    something: bool
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class FormerHubs:
    """`urls` of those that can be asked, and why others cannot, by name; names of those that keep nothing."""

    urls: dict[str, str] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()


def former_hubs(seen: Iterable[Seen], sources: Collection[str]) -> FormerHubs:
    """Each database once, by the name that a source has for it, as its records do; else by that of a target."""
    databases: dict[str, list[Seen]] = {}
    for one in seen:
        databases.setdefault(one.database, []).append(one)
    urls: dict[str, str] = {}
    closed: dict[str, str] = {}
    empty: set[str] = set()
    for ways in databases.values():
        name = next((one.name for one in ways if one.name in sources), ways[0].name)
        open_to = next((one for one in ways if one.refused is None), None)
        if open_to is None:
            closed[name] = str(ways[0].refused)
        elif open_to.something:
            urls[name] = open_to.url
        else:
            empty |= {one.name for one in ways}
    return FormerHubs(urls, closed, frozenset(empty))
