"""Where the mirrors of services are made."""

from __future__ import annotations

from daemon.config.settings import Settings
from daemon.database import connect
from daemon.errors import OperatorError


def prepare_mirror(settings: Settings, name: str) -> list[OperatorError]:
    """Make the mirror of a service: its database, its bookkeeping, its tables by those of the hub; every fault found.

    Raises OperatorError when the hub or the mirror cannot be reached, or may not be made.
    """
    from connectors.postgres import bookkeeping
    from connectors.postgres.mirror import database, tables

    target = settings.services[name]
    url, hub = target.url.get_secret_value(), target.source
    database.ensure_database(url, name)
    with (
        connect(url, f"The mirror of target {name}", f"targets.{name}.url") as ours,
        connect(settings.sources[hub].url.get_secret_value(), f"Source {hub}", f"sources.{hub}.url") as theirs,
        ours.transaction(),
    ):
        bookkeeping.install(ours)
        return list(tables.install(ours, theirs, name, target.kept()))
