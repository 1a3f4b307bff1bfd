"""Rows that targets have and their source has no more: what `placemat snapshot --delete-gone` does about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from daemon.cli.bar import progress_bar
from daemon.cli.output import Json, say

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.errors import OperatorError
    from daemon.resync.gone import Gone, Only

Routed = Mapping[str, Sequence[str]]
"""Some tables of a source, by target that routes them."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What only the targets have. `away`: targets that could not be looked at whole, and why."""

    tables: dict[str, list[Only]] = field(default_factory=dict)
    away: dict[str, OperatorError] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        gone: list[Json] = [
            {"target": target, "table": one.table, "rows": one.rows, "parked": one.parked, "own": one.own}
            for target, found in self.tables.items()
            for one in found
        ]
        return {"gone": gone, "away": {name: str(error) for name, error in self.away.items()}}

    def render(self) -> list[str]:
        return [
            f"{target}: {one.table}: {one.rows:,} rows and {one.parked:,} parked keys that the source does not have"
            + (f"; {_own(one.own)}" if one.own else "")
            for target, found in self.tables.items()
            for one in found
        ]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What has left the targets, and what has not; `idle`: targets without a worker. `away` as in `Counted`."""

    tables: dict[str, list[Gone]] = field(default_factory=dict)
    away: dict[str, OperatorError] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Json]:
        gone: list[Json] = [
            {
                "target": target,
                "table": one.table,
                "deleted": one.deleted,
                "settled": one.settled,
                "left": one.left,
                "why": self._why(target, one),
            }
            for target, found in self.tables.items()
            for one in found
        ]
        return {"gone": gone, "away": {name: str(error) for name, error in self.away.items()}}

    def render(self) -> list[str]:
        lines = []
        for target, found in self.tables.items():
            for one in found:
                name = f"{target}: {one.table}"
                lines.append(f"{name}: {one.deleted:,} rows were gone from the source and were deleted.")
                if one.settled:
                    lines.append(f"{name}: {one.settled:,} parked keys have no row in the source and wait no longer.")
                if why := self._why(target, one):
                    lines.append(f"{name}: {one.left:,} rows or parked keys are left: {why}.")
        return lines

    def check(self, again: str) -> None:
        """Raises OperatorError (exit code 1) when something is left; its advice ends with the command `again`."""
        from daemon.errors import OperatorError

        steps = {step for target, found in self.tables.items() for one in found for step in self._steps(target, one)}
        where = [*dict.fromkeys([*(name for name, found in self.tables.items() if _left(found)), *self.away])]
        if where:
            away = [error.try_.rstrip(".") for error in self.away.values()]
            many = sum(map(_left, self.tables.values()))
            what = f"{many:,} rows or parked keys are left" if many else "Not every table was looked at"
            raise OperatorError(
                f"{what} in {', '.join(where)}.{''.join(f' {error}' for error in self.away.values())}",
                "; then: ".join([*sorted(steps), *away, again]),
            )

    def _why(self, target: str, one: Gone) -> str | None:
        reasons = [self._reason(target, one)] if one.to_go else []
        return "; ".join([*reasons, *([_own(one.own)] if one.own else [])]) or None

    def _reason(self, target: str, one: Gone) -> str:
        if one.paused:
            return f"{one.paused} catches up after a pause" if one.resuming else f"{one.paused} is paused"
        if target in self.idle:
            return "no worker of the target runs"
        if one.after:
            return f"they were only counted, since those of {one.after} do not leave"
        if one.parked:
            return "the target refuses to delete them; where rows of another table refer to them, name that table too"
        return "nothing more has left for a minute"

    def _steps(self, target: str, one: Gone) -> list[str]:
        steps = [f"placemat verify {one.table} names them; delete them at {target}"] if one.own else []
        return [*steps, *self._step(target, one)] if one.to_go else steps

    def _step(self, target: str, one: Gone) -> list[str]:
        if one.paused:
            return ["placemat status" if one.resuming else f"placemat resume {target} {one.paused}"]
        if target in self.idle:
            return [f"placemat run apply:{target}"]
        if one.after:
            return []  # that table's step is the one to take
        return [f"placemat dlq list --target {target}" if one.parked else "placemat status"]


def routed(settings: Settings, source: str, tables: Sequence[str]) -> Routed:
    """Raises OperatorError (exit code 2) when no target has a route for any of them."""
    from daemon.errors import OperatorError

    of_source = {name: target for name, target in settings.outward.items() if target.source == source}
    found = {name: [table for table in tables if table in target.tables] for name, target in of_source.items()}
    if not any(found.values()):
        raise OperatorError(
            f"No target has a route for {', '.join(tables)}: no rows are there that could be gone.",
            "Leave out --delete-gone.",
            exit_code=2,
        )
    return {name: some for name, some in found.items() if some}


def count(settings: Settings, routed: Routed) -> Counted:
    from daemon.errors import OperatorError
    from daemon.resync.gone import count_gone

    counted = Counted()
    for target, tables in routed.items():
        found = counted.tables.setdefault(target, [])
        try:
            with progress_bar() as on_progress:
                found.extend(count_gone(settings, target, tables, on_progress))
        except OperatorError as error:
            counted.away[target] = error
    return counted


def delete(settings: Settings, routed: Routed, works: Callable[[str], bool]) -> Deleted:
    """`works`: whether the target's worker does."""
    from daemon.errors import OperatorError
    from daemon.resync.gone import delete_gone

    deleted = Deleted()
    for target, tables in routed.items():
        if not works(target):
            deleted.idle.add(target)
            say(f"No worker of {target} runs, and rows leave by it only. Start one with: placemat run")
        found = deleted.tables.setdefault(target, [])
        try:
            with progress_bar() as on_progress:
                for one in delete_gone(settings, target, partial(_looking, target), tables, on_progress):
                    found.append(one)
        except OperatorError as error:
            deleted.away[target] = error
    return deleted


def _looking(target: str, table: str) -> None:
    say(f"{target}: looking for rows of {table} that the source does not have")


def _own(many: int) -> str:
    return f"rows of the target's own, whose keys the source's columns cannot hold: {many:,}"


def _left(found: Sequence[Gone]) -> int:
    return sum(one.left for one in found)
