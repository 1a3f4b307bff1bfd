"""What a service has of the hub's tables, as its mirror is made and worked from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WANTED_SCHEMA = "wanted"


class Naming(NamedTuple):
    """A column of the hub that names rows of another table, by their key."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A table of the hub as one service has it: its key, and the columns that the service has a field for.

    `seen`: what people change there comes back, and stands in a table of the hub's own name.
    """

    table: str
    key: str
    columns: Sequence[str]
    seen: bool
    references: Mapping[str, str] = field(default_factory=dict)
    """By column, the table whose row it names, where the service shows that row's record."""
    named_by: Sequence[Naming] = ()
    """Where there are any: only rows that one of these names are at the service."""
    told: bool = True
    """False: it is no entity there, and kept for the rows that it names."""

    @property
    def wanted(self) -> str:
        return wanted_table(self.table)


def wanted_table(table: str) -> str:
    """The mirror's table that holds the rows of a hub's table as a service is to have them."""
    schema, bare = table.split(".", 1)
    return f"{WANTED_SCHEMA}.{bare if schema == 'public' else f'{schema}_{bare}'}"
