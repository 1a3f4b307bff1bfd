"""The rules of a route, by field, and what each makes of two values that were changed apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from daemon.resolve.interval import Interval
from daemon.resolve.merge import merged
from daemon.resolve.values import Value

Rule = Literal["latest", "hub", "target", "manual", "merge"]
Winner = Literal["ours", "theirs"]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """`outward`: only the hub's value counts, and an edit in the spoke is put back."""

    rule: Rule = "latest"
    outward: bool = False


_PLAIN: Mapping[Rule, FieldRule] = {rule: FieldRule(rule) for rule in get_args(Rule)}


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one entity on one route. `skew` in microseconds: the greatest of the route's and the systems' resolution."""

    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    skew: int = 2_000_000
    polled: bool = False
    """The spoke is a service that is read, and has no stream that tells each change."""
    merge: Callable[[Value, Value, Value], Value] = merged
    """Base, ours, theirs; raises CannotMerge."""
    rule: Rule = "latest"
    """Of fields without one of their own."""

    def of(self, name: str) -> FieldRule:
        return self.fields.get(name) or _PLAIN[self.rule]

    def keeps(self, name: str) -> bool:
        """Whether the base of the field is kept as a value."""
        return self.of(name).rule in ("merge", "manual")


def later(ours: Interval, theirs: Interval, skew: int) -> Winner:
    """Step "inbound 5", `latest`: theirs only when it is surely later; a tie goes to the hub."""
    return "theirs" if theirs.after(ours, skew) else "ours"
