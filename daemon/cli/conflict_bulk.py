"""`placemat conflicts resolve --all`: one after the other; what cannot be decided keeps no other from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from daemon.cli import conflict_json, conflict_view
from daemon.cli.output import Json, say, write_json
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from connectors.conflicts import Done, Filter, Waiting
    from daemon.cli.conflicts import How
    from daemon.conflicts.desk import Desk, Shown


Outcome = tuple["Shown", "Done"] | str
"""What was decided, or why it was not."""


def resolve_all(desk: Desk, wanted: Filter, how: How, decide: Callable[[Shown], Done | None], *, sure: bool) -> None:
    """Raises OperatorError where some are left, once all are told of; exit code 2 unless it is `sure`."""
    found = desk.waitlist.waiting(wanted)
    if not sure and not how.dry_run:
        raise OperatorError(
            f"This would decide {len(found):,} conflict{'s' if len(found) != 1 else ''}{_by_table(found)}.",
            "Add --yes to do it, or --dry-run to see what each side would have.",
            exit_code=2,
        )
    decided: list[Json] = []
    left: list[tuple[int, str]] = []
    for one, outcome in _outcomes(desk, found, how, decide):
        if isinstance(outcome, str):
            left.append((one.id, outcome))
            continue
        shown, done = outcome
        decided.append({"id": one.id, **(told := conflict_json.effect_json(shown, done))})
        if how.dry_run and not how.as_json:
            typer.echo(f"Conflict {one.id}: {one.table_name}, {shown.title or one.key}")
            conflict_view.write_effect(told)
    if how.as_json:
        told_left: list[Json] = [{"id": number, "reason": reason} for number, reason in left]
        write_json({**how.to_json(), "decided": decided, "left": told_left})
    else:
        say(f"{'Would decide' if how.dry_run else 'Decided'} {len(decided):,} of {len(found):,}.")
    if left:
        raise OperatorError(
            f"{len(left):,} of {len(found):,} were not decided; conflict {left[0][0]}: {left[0][1]}",
            "placemat conflicts list shows those that wait still.",
        )


def _outcomes(
    desk: Desk, found: Sequence[Waiting], how: How, decide: Callable[[Shown], Done | None]
) -> Iterator[tuple[Waiting, Outcome]]:
    from connectors.contract import TryAgain

    away: str | None = None
    for one in found:
        outcome: Outcome
        if away is not None:
            yield one, f"{away}: it was not tried"
            continue
        try:
            shown = desk.look(one.id, how.wait)
            done = decide(shown)
            outcome = (shown, done) if done is not None else "changed"
        except (OperatorError, TryAgain) as error:
            outcome = str(error)
        except Unavailable as error:
            # Gone is gone for this connection; and nobody knows whether the last one was taken.
            away = str(error)
            outcome = f"{away}: placemat conflicts show {one.id} says whether it was decided"
        yield one, outcome


def _by_table(found: Sequence[Waiting]) -> str:
    counts = Counter(one.table_name for one in found)
    return ": " + ", ".join(f"{many:,} in {table}" for table, many in sorted(counts.items())) if counts else ""
