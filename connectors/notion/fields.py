"""What a table of the hub is in Notion, as the room is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Field:
    """One column and its property, by id or name. `relation` is the table whose row the column names; `options` are the
    names of options by the column's value."""

    column: str
    property: str
    direction: Literal["both", "out", "in"] = "both"
    relation: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """One table, the data source that it is, and the property that holds the keys of its rows."""

    table: str
    data_source: str
    sync_key: str
    fields: tuple[Field, ...]
    both_ways: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    """By column, its type in PostgreSQL, without length."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """By the name in the configuration, the id of the property that had it: people rename properties."""
