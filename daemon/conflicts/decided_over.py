"""What had waited when somebody decided, and which decisions cannot be taken back, and why. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from connectors.conflicts import Decision, Waiting
from daemon.errors import OperatorError
from daemon.resolve import wire
from schemas.resolution import Fields


def decided_over(decision: Decision) -> dict[str, Fields | None]:
    """By spoke, the values that waited, by field; None: it had deleted the row."""
    conflict = wire.read_conflict(decision.over)
    return {
        spoke: None
        if spoke in conflict.deletions
        else wire.texts({name: one.value for name, one in conflict.of(spoke).items()})
        for spoke in sorted(conflict.spokes)
    }


def closed(conflict: Waiting, decisions: Sequence[Decision]) -> OperatorError:
    """A conflict does not wait any more: who has decided it since it was opened, where somebody has."""
    since = [one for one in decisions if one.at >= conflict.opened_at]
    who = f": {since[-1].decided_by} has decided it {_when(since[-1].at)}" if since else ""
    return OperatorError(
        f"Conflict {conflict.id} does not wait any more{who}.",
        f"placemat conflicts show {conflict.id} shows what was decided.",
    )


def newest_decision(conflict_id: int, decisions: Sequence[Decision]) -> Decision:
    """The newest of these, oldest first, that can be taken back.

    Raises OperatorError where there is none, with who has taken it back, and where its values were erased.
    """
    shows = f"placemat conflicts show {conflict_id} shows what was done."
    left = [one for one in decisions if one.undone_at is None]
    if not decisions:
        raise OperatorError(f"Nothing was decided by a person in conflict {conflict_id}.", shows)
    if not left:
        last = max(decisions, key=lambda one: (one.undone_at, one.id))
        when = _when(last.undone_at) if last.undone_at is not None else ""
        raise OperatorError(
            f"The decision of {last.decided_by} in conflict {conflict_id} was taken back by {last.undone_by} {when}.",
            shows,
        )
    if left[-1].erased_at is not None:
        raise OperatorError(
            f"The values of the decision in conflict {conflict_id} were erased: it cannot be taken back.",
            "Change the row on either side, as any other.",
        )
    return left[-1]


def nothing_to_undo(decision: Decision) -> OperatorError:
    """Undo goes back to what the hub had, and a decision for that has left it there: it does not wait anew, as the
    spokes have the hub's since, and an edit that nobody has any more cannot be held against one."""
    over = decided_over(decision)
    spokes, fields = ", ".join(over), ", ".join(json.loads(decision.fields))
    if not decision.keeps_row:
        stood, change = "the row stays deleted", "make the row again"
    elif None in over.values():
        stood, change = "the row stays", "delete the row"
    else:
        stood, change = f"{fields} stays as it was there", f"change {fields}"
    number = decision.conflict_id
    return OperatorError(
        f"The decision in conflict {number} was for what the hub had ({stood}): there is nothing to go back to.",
        f"For what {spokes} had, {change} on either side, as any other; it is in placemat conflicts show {number}.",
    )


def _when(at: datetime) -> str:
    """By the clock of this host."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
