"""Which table of which source a person means."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.config.settings import Settings
from daemon.errors import OperatorError


def entities(settings: Settings, names: Sequence[str], source: str | None = None) -> tuple[str, list[str]]:
    """The one source that captures all of these tables, and their full names: `stories` is the table of that name in
    any schema, as long as there is one.

    Raises OperatorError (exit code 2) where there is none, or more than one.
    """
    if source is not None and source not in settings.sources:
        raise OperatorError(
            f"There is no source {source}.", f"Choose one of: {', '.join(settings.sources)}.", exit_code=2
        )
    asked = [source] if source is not None else list(settings.sources)
    found = {one: tables for one in asked if (tables := _tables(settings.sources[one].tables, names)) is not None}
    if not found:
        who = f"Source {source} does not capture" if source else "No source captures"
        known = ", ".join(dict.fromkeys(table for one in asked for table in settings.sources[one].tables))
        raise OperatorError(f"{who} {' and '.join(names)}.", f"Captured are: {known}.", exit_code=2)
    if len(found) > 1:
        raise OperatorError(
            f"Several sources capture {' and '.join(names)}.",
            f"Add --source with one of: {', '.join(found)}.",
            exit_code=2,
        )
    chosen, tables = next(iter(found.items()))
    return chosen, tables


def _tables(captured: Sequence[str], names: Sequence[str]) -> list[str] | None:
    tables: list[str] = []
    for name in names:
        fitting = [table for table in captured if name in (table, table.partition(".")[2])]
        if len(fitting) > 1:
            raise OperatorError(
                f"{name} is the name of several tables.",
                f"Name one with its schema: {', '.join(fitting)}.",
                exit_code=2,
            )
        if not fitting:
            return None
        tables += [one for one in fitting if one not in tables]
    return tables
