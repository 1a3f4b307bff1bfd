"""What a row is called where it is shown, and its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from schemas.resolution import Fields

HUB = "hub"
"""The side that is not a spoke."""
NAMING = ("title", "name", "full_name", "label", "subject", "slug", "number", "email")
"""Columns that name a row, in this order, where the route does not say."""
LONGEST = 80
REFUSED_PREFIX = "dlq-"
"""Before the number of `placemat dlq`: conflicts have numbers of their own."""


def title_columns(settings: Settings, hub: str) -> dict[str, str]:
    """By the hub's table, the column that a route names."""
    routes = (settings.targets[spoke].tables for spoke in settings.spokes(hub))
    return {table: route.title for some in routes for table, route in some.items() if route.title is not None}


def title(row: Fields, column: str | None) -> str | None:
    """What the row is called; None: nothing names it."""
    for name in (column,) if column is not None else NAMING:
        found = plain(row.get(name))
        if found not in (None, ""):
            return str(found)[:LONGEST]
    return None


def refused_id(number: int) -> str:
    """How what the hub refuses is called beside conflicts."""
    return f"{REFUSED_PREFIX}{number}"


def label(field: str) -> str:
    """A field's name as people read it."""
    return field.replace("_", " ").strip().capitalize()


def plain(text: str | None) -> object:
    """A stored value, which is a JSON text, as itself; numbers with all their digits."""
    from daemon.exact_json import decode

    return None if text is None else decode(text)
