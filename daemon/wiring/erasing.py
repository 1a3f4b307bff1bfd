"""Whom those ask who erase values: hubs, databases that have been one, and targets where events wait."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from daemon.config.settings import Settings
from daemon.database import connect
from daemon.errors import OperatorError
from daemon.former_hubs import FormerHubs, Seen, former_hubs
from daemon.routes import routings
from daemon.wiring import dead_letters

if TYPE_CHECKING:
    from connectors.contract import Destination
    from connectors.erasing import Erasing, Hubs
    from daemon.audit.erasing.row_names import Name


@contextmanager
def hubs(settings: Settings) -> Iterator[Hubs]:
    """Every hub, for those who erase values; and every database that has been one. Raises OperatorError when a hub
    cannot be reached."""
    from connectors.contract import Destination
    from connectors.erasing import Hubs
    from connectors.postgres.session import translated
    from connectors.postgres.two_way.erasing import HubErasure
    from connectors.postgres.two_way.former import kept

    with ExitStack() as stack:
        found: list[Erasing] = []

        def take(destination: Destination, *, former: bool) -> None:
            hub = destination.source
            with translated(destination.name, "refuses what placemat keeps there", "Run: placemat init", lambda: None):
                spokes = () if former else settings.spokes(hub)
                found.append(stack.enter_context(closing(HubErasure(destination, hub, spokes, former=former))))

        known: set[str] = set()
        for hub, name in settings.hubs.items():
            url = settings.targets[name].url.get_secret_value()
            with connect(url, f"Hub {hub}", f"targets.{settings.brings(hub)}.url") as connection:
                known.add(kept(connection).database)
            take(Destination(name, url, hub, routings(settings, name)), former=False)
        former = _former(settings, known)
        for hub, url in former.urls.items():
            take(Destination(hub, url, hub, {}), former=True)
        yield Hubs(found, former.closed, former.empty)


def _former(settings: Settings, known: Container[str]) -> FormerHubs:
    """Of all databases but those of hubs, which are `known`."""
    from connectors.postgres.two_way.former import kept

    seen: list[Seen] = []
    away: dict[str, str] = {}
    ways = [(name, f"targets.{name}.url", one.url) for name, one in settings.targets.items()]
    ways += [(name, f"sources.{name}.url", one.url) for name, one in settings.sources.items()]
    for name, setting, secret in ways:
        url = secret.get_secret_value()
        try:
            with connect(url, name, setting) as connection:
                one, role = kept(connection), connection.info.user
        except OperatorError as error:
            away[name] = str(error).removesuffix(".")
            continue
        except psycopg.Error as error:
            away[name] = f"it does not answer: {type(error).__name__}"
            continue
        if one.database not in known:
            refused = None
            if one.something and not one.allowed:
                refused = f"role {role} of {setting} may not read and write schema placemat there"
            seen.append(Seen(name, url, one.database, one.something, refused))
    found = former_hubs(seen, settings.sources)
    reached = {one.name for one in seen} | set(settings.hubs)
    closed = {name: why for name, why in away.items() if name not in reached}
    return replace(found, closed={**closed, **found.closed})


def parked(settings: Settings, names: Sequence[Name]) -> dict[str, int]:
    """By target that has such a row, by any of these names, the number of its key where events of it wait.

    Raises OperatorError when one of the targets cannot be reached.
    """
    found: dict[str, int] = {}
    for name, target in settings.targets.items():
        keys = [one for one in names if one.source in (None, target.source) and one.entity in target.needed]
        if not keys:
            continue
        with dead_letters(settings, name) as letters:
            for one in keys:
                if (number := letters.holds(one.entity, one.key)) is not None:
                    found[name] = number
    return found
