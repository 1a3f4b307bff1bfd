"""What had waited when somebody decided, and why a decision for what the hub had cannot be taken back. Pure."""

from __future__ import annotations

import json

from connectors.conflicts import Decision
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
