"""Whether what differs at a service is still on its way: once round, from there to the hub and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from connectors.pushing import Key
from daemon.config.settings import Settings
from daemon.progress import Tracker
from daemon.reconcile.comparison import compare
from daemon.reconcile.lane import Lane
from daemon.reconcile.report import Difference, Waits
from daemon.reconcile.service import ServiceTables
from daemon.reconcile.service_settle import Round, Services, WaitsOf
from daemon.reconcile.shape import Comparison
from daemon.reconcile.side import Side, opened
from daemon.reconcile.waiting import Waiting, conflicts_of


def service_differences(
    settings: Settings, name: str, table: str, keys: Sequence[Key] | None, *, eras: Mapping[str, int],
    services: Services, stall_seconds: float, tracker: Tracker,
) -> dict[Key, Difference]:  # fmt: skip
    """Every row of a table, or one of these, of which a service has another record than its mirror wants it to have.

    Raises as `verify` does.
    """
    target = settings.targets[name]
    found: dict[Key, Difference] = {}
    with (
        opened("source", target.source, settings.sources[target.source].url.get_secret_value()) as ours,
        opened("target", name, target.url.get_secret_value()) as theirs,
        conflicts_of(settings, name) as conflicts,
        services(name) as side,
    ):
        if table not in side.tables:
            return {}  # the mirror keeps it only for the rows that it names: it is no record there
        waits = waits_of([compare(settings, name, ours, theirs, table)], conflicts)
        lane = Lane(ours, theirs, eras.get(target.source, 0), stall_seconds, tracker.wait)
        with rounds(settings, name, lane, eras, stall_seconds, tracker) as round_:
            tables = ServiceTables(
                name, side, tracker, waits, round_, stall_seconds=stall_seconds, show_values=False,
                on_difference=found.__setitem__,
            )  # fmt: skip
            if keys is None:
                tables.run(table, None)
            elif keys:
                tables.look_at(keys)
    return found


def waits_of(comparisons: Iterable[Comparison], conflicts: Waiting | None) -> WaitsOf:
    """What a person has yet to decide, of rows that are known by one column."""
    keys = {one.table: one.source.key for one in comparisons}

    def of(table: str, value: str) -> Waits | None:
        return None if conflicts is None else conflicts.of(table, keys[table], [(value,)]).get((value,))

    return of


@contextmanager
def rounds(
    settings: Settings, name: str, lane: Lane, eras: Mapping[str, int], stall_seconds: float, tracker: Tracker
) -> Iterator[Round]:
    """Of a service from which nothing comes back, only what its mirror has yet to apply is waited for."""
    role = settings.role(name)
    if role is None:
        yield lane.pass_mark
        return
    brings = settings.brings_back(name)
    mirror = Side("source", role.spoke, lane.target.connection)
    with opened("target", brings, settings.targets[brings].url.get_secret_value()) as hub:
        back = Lane(mirror, hub, eras.get(role.spoke, 0), stall_seconds, tracker.wait)
        yield lambda: back.pass_mark() and lane.pass_mark()
