"""From what a person asks for to what shall stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.conflicts.titles import HUB
from daemon.errors import OperatorError
from daemon.resolve.override import Choice
from daemon.resolve.ruling import Case
from schemas.resolution import Fields


@dataclass(frozen=True, slots=True)
class Wish:
    """`side`: all as one side has it; `sides`: that by field; `values`: other values; `row`: whether the row stays."""

    side: str | None = None
    sides: Mapping[str, str] = field(default_factory=dict)
    values: Fields = field(default_factory=dict)
    row: bool | None = None


def choose(case: Case, wish: Wish) -> Choice:
    """Raises OperatorError (exit code 2) where something is not decided, or cannot be."""
    for side in (wish.side, *wish.sides.values()):
        if side not in (None, HUB, *case.conflict.spokes):
            known = ", ".join([HUB, *sorted(case.conflict.spokes)])
            raise OperatorError(f"{side} has nothing in this conflict.", f"Take one of: {known}.", exit_code=2)
    if not _keeps_row(case, wish):
        if wish.sides or wish.values:
            raise OperatorError(
                "The row is to go, and a value is given for a field of it.", "Say one of the two.", exit_code=2
            )
        return Choice({}, row=False)
    waiting = case.fields
    for name in wish.sides:
        if name not in waiting:
            raise OperatorError(
                f"Field {name} does not wait in this conflict.", f"Waiting are: {', '.join(waiting) or 'none'}.",
                exit_code=2,
            )  # fmt: skip
    side = wish.side or _only_side(case)
    chosen: dict[str, str | None] = {}
    for name in waiting:
        if name in wish.values:
            continue
        of = wish.sides.get(name, side)
        if of is None:
            raise OperatorError(
                f"Field {name} is not decided.",
                f"Add --take {name}=SIDE or --set {name}=VALUE, or take one side for all that is left: --take SIDE",
                exit_code=2,
            )
        chosen[name] = case.value(of, name)
    return Choice({**chosen, **wish.values})


def _keeps_row(case: Case, wish: Wish) -> bool:
    if wish.row is not None:
        return wish.row
    if wish.side is not None:
        return case.has_row(wish.side)
    if (case.conflict.deletions or case.row is None) and not (wish.sides or wish.values):
        raise OperatorError(
            "This conflict is about the row: one side has deleted it.",
            "Say --keep or --delete, or whose side stands: --take SIDE",
            exit_code=2,
        )
    return True


def _only_side(case: Case) -> str | None:
    """Who has the values of a row that the hub has deleted, where it is one spoke."""
    return next(iter(case.conflict.fields)) if case.row is None and len(case.conflict.fields) == 1 else None
