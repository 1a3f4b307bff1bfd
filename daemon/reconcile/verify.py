"""`placemat verify`: whether each target holds what its source holds, by table, by row and by field."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.progress import OnProgress, Tracker
from daemon.reconcile.comparison import compare
from daemon.reconcile.lane import Lane, write_mark
from daemon.reconcile.paused import PausedTable, not_compared
from daemon.reconcile.report import TargetReport, VerifyReport
from daemon.reconcile.service import ServiceTables
from daemon.reconcile.service_differences import rounds, waits_of
from daemon.reconcile.service_settle import Services
from daemon.reconcile.side import opened
from daemon.reconcile.table import TableVerification
from daemon.reconcile.waiting import conflicts_of

STALL_SECONDS = 60.0


def verify(
    settings: Settings,
    tables: Sequence[str],
    *,
    eras: Mapping[str, int],
    sample: int | None,
    on_progress: OnProgress | None = None,
    show_values: bool = False,
    stall_seconds: float = STALL_SECONDS,
    services: Services | None = None,
) -> VerifyReport:
    """Compare tables, with or without `public.`, in every target that has a route for them; all of them if none.

    `eras` are those of the sources, 0 for one that is not named. With `sample`, that many random keys of each side
    instead of every row. A row that differs counts only once the target has applied what the source had;
    `stall_seconds` without any progress there end that wait for good. Paused tables are named and not compared. Of a
    service its mirror is compared with the source, and, where `services` opens it, the service with its mirror.

    Raises OperatorError: exit code 2 for a table without a route or a URL that is none, 1 for what cannot be reached,
    read or matched.
    """
    started = time.monotonic()
    reports = []
    for name, routed in routed_tables(settings, tables).items():
        target = settings.targets[name]
        with (
            opened("source", target.source, settings.sources[target.source].url.get_secret_value()) as ours,
            opened("target", name, target.url.get_secret_value()) as theirs,
            conflicts_of(settings, name) as conflicts,
        ):
            parents = {table: {one.table for one in target.tables[table].referred().values()} for table in routed}
            waiting = not_compared(theirs, target.source, parents)
            # All of them first: what cannot be compared is said before the long work begins.
            comparisons = [compare(settings, name, ours, theirs, table) for table in routed if table not in waiting]
            era = eras.get(target.source, 0)
            through = write_mark(ours, era).commit_lsn
            tracker = Tracker(on_progress, name)
            lane = Lane(ours, theirs, era, stall_seconds, tracker.wait)
            found = tuple(
                TableVerification(
                    comparison, ours, theirs, lane, tracker, show_values=show_values, waiting=conflicts
                ).run(sample)
                for comparison in comparisons
            )
            paused = not_compared(theirs, target.source, parents)
            paused |= {
                table: PausedTable(table, "resuming", "It has caught up.", one.resume)
                for table, one in waiting.items()
                if table not in paused
            }
            kept = tuple(report for report in found if report.table not in paused)
            reports.append(TargetReport(name, target.source, through, lane.applying, kept, tuple(paused.values())))
            if services is not None and name in settings.services:
                with services(name) as side, rounds(settings, name, lane, eras, stall_seconds, tracker) as round_:
                    told = ServiceTables(
                        name, side, tracker, waits_of(comparisons, conflicts), round_, stall_seconds=stall_seconds,
                        show_values=show_values,
                    )  # fmt: skip
                    # What the mirror keeps only for the rows that it names is no record there.
                    seen = tuple(told.run(one.table, sample) for one in kept if one.table in side.tables)
                reports[-1] = replace(reports[-1], service=seen, applying=False if told.stalled else lane.applying)
    return VerifyReport(tuple(reports), sample, time.monotonic() - started)


def routed_tables(settings: Settings, names: Sequence[str]) -> dict[str, list[str]]:
    """The tables to compare, by target, each once and in the order asked for.

    Raises OperatorError, exit code 2, for a name that no target has a route for.
    """
    known = {table for target in settings.outward.values() for table in target.tables}
    wanted = list(dict.fromkeys(name if "." in name else f"public.{name}" for name in names))
    for name in wanted:
        if name not in known:
            routed = f"Routed are: {', '.join(sorted(known))}." if known else "Add a target to the configuration."
            raise OperatorError(f"No target has a route for table {name}.", routed, exit_code=2)
    routed_by_target = {
        name: [table for table in wanted or target.tables if table in target.tables]
        for name, target in settings.outward.items()
    }
    return {name: tables for name, tables in routed_by_target.items() if tables}
