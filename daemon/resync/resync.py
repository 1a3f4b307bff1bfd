"""`placemat resync`: what is done by when, so that doing it again goes on where it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import sqlalchemy
from confluent_kafka.admin import AdminClient

from daemon import broker, seams, wiring
from daemon.capture import provision
from daemon.capture.provision import Identity, identify
from daemon.config.settings import Settings
from daemon.database import connect
from daemon.errors import OperatorError
from daemon.progress import OnProgress
from daemon.resync import faults, prepare
from daemon.resync.gone import Gone, delete_gone
from daemon.resync.report import Plan, Report
from daemon.state import gaps
from daemon.state.gaps import Gap
from daemon.state.jobs import Job

Follow = Callable[[list[int]], list[Job]]
"""Waits until these copies are at their end, and returns them."""


@dataclass(frozen=True, slots=True)
class Resync:
    """The repair of one source."""

    settings: Settings
    engine: sqlalchemy.Engine
    source: str
    say: Callable[[str], None]
    bar: Callable[[], AbstractContextManager[OnProgress | None]]
    """Shows how far the deletes are."""

    def plan(self) -> Plan:
        """What would be done; nothing is changed."""
        with self._opened() as (connection, admin, row, identity):
            found = faults.find(self.engine, connection, admin, row, self._captured, identity)
            copied, keyless = self._kinds(connection)
        gap = gaps.open_gap(self.engine, self.source)
        return Plan(
            self.source,
            goes_on=gap is not None and not found,
            gaps=found,
            slot=self.settings.sources[self.source].slot,
            tables=copied,
            without_key=keyless,
            targets=self._targets(),
        )

    def run(self, follow: Follow, by: str | None) -> Report:
        """Repair, or go on with it; the running capture copies, and the targets' workers apply.

        Raises OperatorError when the source is being captured when a repair begins, or something cannot be reached.
        """
        gap = self._begin(by)
        away = self._set_targets(gap)
        self.say("Every table is to be copied by placemat run, which may be started now.")
        copies = follow(gap.jobs)
        left = {} if any(job.error for job in copies) else self._delete_gone(gap, away)
        gap = gaps.read(self.engine, gap)
        with self._opened() as (connection, _, _, _):
            _, keyless = self._kinds(connection)
        report = Report(gap, copies, keyless, away, left)
        if report.done:
            seams.seam(seams.BEFORE_GAP_CLOSED)
            gaps.finish(self.engine, gap)
        return report

    def _begin(self, by: str | None) -> Gap:
        with self._opened() as (connection, admin, row, identity):
            found = faults.find(self.engine, connection, admin, row, self._captured, identity)
            gap = gaps.open_gap(self.engine, self.source)
            if gap is not None and not found:
                self.say("Going on with a repair that has begun.")
                return gap
            gap = prepare.prepare(self.engine, connection, admin, self.settings, row, identity, found, by)
        seams.seam(seams.AFTER_GAP_BEGUN)
        self.say(f"{gap.reason} Source {self.source} has a new slot.")
        return gap

    def _set_targets(self, gap: Gap) -> dict[str, str]:
        """Let every target go on from the ends of the topics; those that cannot be reached, with the reason."""
        away = {}
        for target in self._targets():
            try:
                if target not in gap.targets:
                    wiring.restart_target(self.settings, target, gap.era, gap.ends)
                    seams.seam(seams.AFTER_TARGET_SET)
                    gaps.target_set(self.engine, gaps.read(self.engine, gap), target)
            except OperatorError as error:
                away[target] = str(error)
                self.say(f"{error} Run this again when it is there.")
        return away

    def _delete_gone(self, gap: Gap, away: dict[str, str]) -> dict[str, list[Gone]]:
        """Tables of which rows stay in a target although the source has none, by target."""
        left: dict[str, list[Gone]] = {}
        for target in self._targets():
            if target in away:
                continue
            with self.bar() as on_progress:
                for one in delete_gone(self.settings, target, partial(self._looking, target), on_progress=on_progress):
                    seams.seam(seams.AFTER_TABLE_ASKED)
                    if one.deleted or one.settled:
                        gaps.rows_gone(self.engine, gaps.read(self.engine, gap), target, one.deleted, one.settled)
                    if one.left:
                        left.setdefault(target, []).append(one)
                    if one.to_go:
                        break
        return left

    def _looking(self, target: str, table: str) -> None:
        self.say(f"{target}: looking for rows of {table} that the source does not have")

    def _targets(self) -> list[str]:
        return [name for name, target in self.settings.targets.items() if target.source == self.source]

    @property
    def _captured(self) -> Sequence[str]:
        return self.settings.sources[self.source].tables

    def _kinds(self, connection: psycopg.Connection[Any]) -> tuple[list[str], list[str]]:
        """Tables that are copied, and those that cannot be."""
        return provision.copied(connection, self._captured), provision.without_key(connection, self._captured)

    @contextmanager
    def _opened(self) -> Iterator[tuple[psycopg.Connection[Any], AdminClient, dict[str, Any], Identity]]:
        url = self.settings.sources[self.source].url.get_secret_value()
        with connect(url, f"Source {self.source}", f"sources.{self.source}.url") as connection:
            identity = identify(url, self.source)
            row = dict(faults.known(self.engine, self.source))
            yield connection, broker.reach(self.settings.kafka), row, identity
