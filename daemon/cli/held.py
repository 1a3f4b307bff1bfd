"""`placemat resume TARGET --confirm-deletes` and `--reject-deletes`: the answer that held deletes wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from daemon.cli.output import Json, local, say, write_json
from daemon.errors import OperatorError
from daemon.seams import AFTER_PUT_BACK, seam
from schemas.position import format_lsn

if TYPE_CHECKING:
    from connectors.postgres.answers import Answers, HeldDeletes, Rejected
    from connectors.postgres.put_back import Back, PutBack
    from daemon.config.settings import Settings

POLL_SECONDS = 0.1
Answer = Literal["confirmed", "rejected"]
_FLAGS = {"confirmed": "confirm-deletes", "rejected": "reject-deletes"}


@dataclass(frozen=True, slots=True)
class Answering:
    """What was asked for on the command line."""

    target: str
    answer: Answer
    by: str
    reason: str
    dry_run: bool
    wait: float
    as_json: bool

    @property
    def flag(self) -> str:
        return _FLAGS[self.answer]

    @property
    def again(self) -> str:
        return f"placemat resume {self.target} --{self.flag}"


def answer(settings: Settings, asked: Answering) -> None:
    """Let the deletes that wait go through, or keep their rows and put them back."""
    from daemon import wiring

    with wiring.answers(settings, asked.target) as answers:
        held, rejected = _known(answers, asked)
        with _way_back(settings, asked) as put_back:
            lost = put_back.lost(_tables(held, rejected)) if put_back is not None else {}
            for line in _shown(asked, held, lost, settings.targets[asked.target].source):
                say(line)
            if asked.dry_run:
                _tell(asked, "held", held, [])
                return
            _enter(settings, asked, held)
            waiting = _answered(answers, asked, held)
            done = put_back.run(partial(seam, AFTER_PUT_BACK)) if put_back is not None else []
        _tell(asked, asked.answer, held, done)
        if not asked.as_json:
            _tell_of_a_hub(settings, asked, done)
        _check(asked, waiting, done)


def _enter(settings: Settings, asked: Answering, held: Sequence[HeldDeletes]) -> None:
    """Into the audit log, before it is done."""
    from daemon.audit.actions import record

    deletes = {one.table: one.deletes for each in held for one in each.excesses}
    record(
        settings, f"resume --{asked.flag}", asked.by, asked.reason or None, {"deletes": deletes}, target=asked.target
    )


def _known(answers: Answers, asked: Answering) -> tuple[list[HeldDeletes], list[Rejected]]:
    """What is to be answered, and what an earlier rejection has left to be put back."""
    held = answers.held()
    rejected = answers.rejected() if asked.answer == "rejected" else []
    if not held and not rejected:
        raise OperatorError(
            f"No deletes of target {asked.target} wait for an answer.", "placemat status shows what is."
        )
    for one in held:
        if one.answer is not None and one.answer != asked.answer:
            raise OperatorError(
                f"The deletes that wait at target {asked.target} were {one.answer} by {one.answered_by}.",
                f"Let its worker follow that first: placemat run apply:{asked.target}",
            )
    return held, rejected


@contextmanager
def _way_back(settings: Settings, asked: Answering) -> Iterator[PutBack | None]:
    from daemon import wiring

    if asked.answer == "confirmed":
        yield None
    else:
        with wiring.put_back(settings, asked.target, asked.by) as put_back:
            yield put_back


def _answered(answers: Answers, asked: Answering, held: Sequence[HeldDeletes]) -> list[HeldDeletes]:
    """Answer, and wait until the worker has followed that; what waits by then for another answer."""
    for one in held:
        if one.answer is None and not answers.answer(one, asked.answer, asked.by, asked.reason):
            raise OperatorError(
                f"Other deletes wait at target {asked.target} by now than were shown.",
                f"See what they are with placemat status, then: {asked.again}",
            )
    waiting = answers.held()
    shown = {(one.table, one.held_at) for one in held}
    deadline = time.monotonic() + asked.wait
    while shown & {(one.table, one.held_at) for one in waiting}:
        if time.monotonic() > deadline:
            raise OperatorError(
                f"The worker of target {asked.target} has not followed the answer within {asked.wait:g} seconds.",
                f"The answer stays: see with placemat status that it runs. To go on: {asked.again}",
            )
        time.sleep(POLL_SECONDS)
        waiting = answers.held()
    return waiting


def _check(asked: Answering, waiting: Sequence[HeldDeletes], done: Sequence[Back]) -> None:
    """Raises OperatorError when not everything is done."""
    if left := [f"{sum(one.left.values()):,} of {one.table} ({next(iter(one.left))})" for one in done if one.left]:
        raise OperatorError(
            f"Rows could not be put back: {', '.join(left)}.", f"Put the cause right in the source, then: {asked.again}"
        )
    for one in waiting:
        raise OperatorError(f"More deletes wait. {one.sentence(asked.target)}", one.advice(asked.target))


def _tables(held: Sequence[HeldDeletes], rejected: Sequence[Rejected]) -> list[str]:
    return [*dict.fromkeys([*(one.table for each in held for one in each.excesses), *(one.table for one in rejected)])]


def _shown(
    asked: Answering, held: Sequence[HeldDeletes], lost: dict[str, tuple[str, ...]], source: str
) -> Iterator[str]:
    would = "Would be " if asked.dry_run else "Are "
    for one in held:
        yield one.sentence(asked.target)
        through = f"through {format_lsn(one.through[1])}" if one.through is not None else "until it has caught up"
        yield f"{would}{asked.answer}: the deletes of commits from {format_lsn(one.first[1])} {through}."
    for table, columns in lost.items():
        if columns:
            yield (
                f"{table}: the route does not bring {', '.join(columns)}, which get their defaults."
                f" Their values of before: placemat restore {table} --source {source} --at TIME"
            )


def _tell(asked: Answering, state: str, held: Sequence[HeldDeletes], done: Sequence[Back]) -> None:
    if asked.as_json:
        write_json(
            {
                "request": asked.flag,
                "target": asked.target,
                "dry_run": asked.dry_run,
                "state": state,
                "held": [held_json(one) for one in held],
                "put_back": [_back_json(one) for one in done],
            }
        )
    elif not asked.dry_run:
        for one in done:
            also = f", {one.there:,} were there" if one.there else ""
            gone = f", {one.gone:,} are gone from the target too" if one.gone else ""
            say(f"{one.table}: {one.back:,} rows were put back{also}{gone}.")
        say(f"Target {asked.target}: what waited is {state}.")


def _tell_of_a_hub(settings: Settings, asked: Answering, done: Sequence[Back]) -> None:
    """Nothing is put back by hand where the hub answers: its rows go out as ever."""
    role = settings.role(asked.target)
    if asked.answer == "rejected" and role is not None and role.kind == "hub" and not done:
        say(f"The rows that {role.spoke} has deleted come back to it as {role.hub} has them, with its other changes.")


def held_json(one: HeldDeletes) -> dict[str, Json]:
    from connectors.postgres.answers import to_json

    return {
        "lane": one.table,
        "from": format_lsn(one.first[1]),
        "through": format_lsn(one.through[1]) if one.through is not None else None,
        "held_at": one.held_at.isoformat(),
        "answer": one.answer,
        "by": one.answered_by,
        "reason": one.reason,
        "tables": [to_json(each) for each in one.excesses],
    }


def held_lines(target: str, held: Sequence[HeldDeletes], rejected: Sequence[Rejected]) -> Iterator[str]:
    """For `placemat status`."""
    for one in held:
        answered = f" {one.answer} by {one.answered_by}, and not followed yet" if one.answer else ""
        keys = ", ".join(f"{each.table} {' '.join(each.sample)}" for each in one.excesses if each.sample)
        yield f"held since {local(one.held_at)}{answered}: {one.sentence(target)}{f' Such as: {keys}.' if keys else ''}"
        if one.answer is None:
            yield f"Try: {one.advice(target)}"
    for left in rejected:
        many = "all rows that are there" if left.emptied else f"{left.keys:,} rows"
        yield (
            f"{left.table}: {many}, whose delete was rejected, are to be put back;"
            f" go on with: placemat resume {target} --reject-deletes"
        )


def rejected_json(one: Rejected) -> dict[str, Json]:
    return {"table": one.table, "keys": one.keys, "emptied": one.emptied}


def _back_json(one: Back) -> dict[str, Json]:
    return {
        "table": one.table,
        "back": one.back,
        "there": one.there,
        "gone": one.gone,
        "left": sum(one.left.values()),
        "why": dict(one.left),
        "lost_columns": list(one.lost),
    }
