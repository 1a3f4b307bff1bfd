"""The scenario from its first edit to its last decision, and what it has shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from psycopg import connect

from daemon.embedded.scenario.compare import (
    Mismatch,
    compare_list,
    compare_queue,
    compare_rows,
    expected_rows,
    last_listed,
    predicted_queue,
    read_list,
    read_queue,
)
from daemon.embedded.scenario.ledger import Change, Prediction, Row, Side, decide, predict
from daemon.embedded.scenario.play import play, read_rows
from daemon.embedded.scenario.script import RowKey, Rules, Script, draw


@dataclass(frozen=True, slots=True)
class Stage:
    """Two databases whose tables go both ways by these rules, and nothing on its way between them.

    `columns` are those that are on both sides, by table. In the block of `held` nothing is taken over; `rest` waits
    until all is.
    """

    hub_dsn: str
    spoke_dsn: str
    columns: Mapping[str, Sequence[str]]
    rules: Rules
    skew_seconds: float
    held: Callable[[], AbstractContextManager[None]]
    rest: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a script. Counts are of rows, but for those of `conflicts`, which are by rule and of fields."""

    plots: Mapping[str, int]
    edited: int
    edited_on_both: int
    same_field: int
    conflicts: Mapping[str, int]
    queue_predicted: int
    queue_found: int
    mismatches: tuple[Mismatch, ...]
    queue_decided: int = 0
    queue_left: int | None = None
    """What waits once the queue was worked off; None before that."""

    @property
    def ok(self) -> bool:
        return not self.mismatches and not self.queue_left

    def to_json(self) -> dict[str, Any]:
        """`daemon/cli/README.md` documents it."""
        return {
            "rows_edited": self.edited,
            "rows_edited_on_both_sides": self.edited_on_both,
            "rows_with_the_same_field": self.same_field,
            "conflicts": dict(self.conflicts),
            "queue_predicted": self.queue_predicted,
            "queue_found": self.queue_found,
            "queue_decided": self.queue_decided,
            "queue_left": self.queue_left,
            "mismatches": len(self.mismatches),
        }


@dataclass(frozen=True, slots=True)
class Played:
    """A script that was played and has come to rest: what was there before, what must be there, and what is found."""

    report: Report
    base: Mapping[RowKey, Row]
    predictions: Mapping[RowKey, Prediction]


def perform(stage: Stage, seed: int, count: int) -> Played:
    """Play a script for about `count` rows, or two thirds where there are not as many, and hold everything against the
    ledger.

    Raises psycopg.Error, and ValueError where there are too few rows.
    """
    base = read_rows(stage.hub_dsn, stage.columns)
    count = min(count, len(base) * 2 // 3)
    script, plots = draw(Random(f"scenario {seed}"), base, stage.rules, count)
    with connect(stage.hub_dsn) as hub:
        listed = last_listed(hub)
    with stage.held():
        changes = play(stage.hub_dsn, stage.spoke_dsn, script, stage.skew_seconds)
    stage.rest()
    predictions = predicted(stage, base, changes)
    mismatches = compare(stage, base, predictions, listed)
    with connect(stage.hub_dsn) as hub:
        found = len(read_queue(hub))
    return Played(_report(script, plots, predictions, found, mismatches), base, predictions)


def predicted(
    stage: Stage, base: Mapping[RowKey, Row], changes: Mapping[RowKey, Sequence[Change]]
) -> dict[RowKey, Prediction]:
    """What the ledger says of each row that was changed."""
    skew = round(stage.skew_seconds * 1_000)
    return {key: predict(base.get(key), some, stage.rules.get(key[0], {}), skew) for key, some in changes.items()}


def compare(
    stage: Stage, base: Mapping[RowKey, Row], predictions: Mapping[RowKey, Prediction], listed: int
) -> tuple[Mismatch, ...]:
    """Every row of both databases, the queue, and what was listed after `listed`."""
    with connect(stage.hub_dsn) as hub:
        said = [*compare_queue(predictions, read_queue(hub)), *compare_list(predictions, read_list(hub, listed))]
    return (*_compare_rows(stage, *expected_rows(base, predictions)), *said)


def work_off(
    stage: Stage, played: Played, choices: Mapping[RowKey, Side | Row], decide_all: Callable[[], None]
) -> Played:
    """Once everything that waits was decided by `decide_all`, as `choices` say: no difference, and nothing waits."""
    decide_all()
    stage.rest()
    rows = {
        key: decide(one, choices.get(key, "hub")) if one.waiting else one.hub for key, one in played.predictions.items()
    }
    predictions = {key: Prediction(row, row) for key, row in rows.items()}
    mismatches = _compare_rows(stage, *expected_rows(played.base, predictions))
    with connect(stage.hub_dsn) as hub:
        left = len(read_queue(hub))
    report = replace(
        played.report,
        mismatches=(*played.report.mismatches, *mismatches),
        queue_decided=played.report.queue_found - left,
        queue_left=left,
    )
    return Played(report, played.base, predictions)


def _compare_rows(stage: Stage, hub: Mapping[RowKey, Row], spoke: Mapping[RowKey, Row]) -> tuple[Mismatch, ...]:
    return (
        *compare_rows("primary", hub, read_rows(stage.hub_dsn, stage.columns)),
        *compare_rows("empathy_ledger", spoke, read_rows(stage.spoke_dsn, stage.columns)),
    )


def _report(
    script: Script, plots: Mapping[str, int], predictions: Mapping[RowKey, Prediction], queue: int,
    mismatches: tuple[Mismatch, ...],
) -> Report:  # fmt: skip
    both = [key for key, steps in script.items() if len({one.side for one in steps}) == 2]
    return Report(
        plots,
        len(script),
        len(both),
        sum(number for name, number in plots.items() if name.startswith("same field")),
        dict(sorted(Counter(one.rule for of_row in predictions.values() for one in of_row.listed).items())),
        len(predicted_queue(predictions)),
        queue,
        mismatches,
    )
