"""A write to a service that has no transactions: what was intended, what is told of it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daemon.resolve.outbound import Plan
from daemon.resolve.values import Row, digest


@dataclass(frozen=True, slots=True)
class Intent:
    """Stored before the request: the plan, and the row that it was made for (None: there was none)."""

    plan: Plan
    before: Row | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a read after a crash says. `done`: record and publish the write as if it had just answered with `response`;
    `undone`: plan again; `unsure`: publish the row as a report, with these fields, and plan again.
    """

    kind: Literal["done", "undone", "unsure"]
    response: Row | None = None
    unsure: frozenset[str] = frozenset()


def told(intent: Intent, response: Row | None) -> Row | None:
    """Step "API": the row of the marked record. Written fields: the response's value; compared ones: what was compared.

    What else the response holds may be a person's, and is left to the next read.
    """
    if response is None:
        return None
    before = intent.before or {}
    written = {name: response[name] for name in intent.plan.values if name in response}
    return {name: before[name] for name in intent.plan.agreed} | written


def recover(intent: Intent, current: Row | None) -> Recovery:
    """Step "recovery": whether the request was carried out before the crash, told by the row as it is read now."""
    plan, before = intent.plan, intent.before
    if plan.action == "delete":
        return Recovery("done") if current is None else Recovery("undone")
    if current is None:
        return Recovery("undone")
    now = {name: digest(current.get(name)) for name in plan.values}
    wanted = {name: digest(value) for name, value in plan.values.items()}
    # What a new row has not been given is no proof: every new row is without it.
    old = {name: digest(None if before is None else before.get(name)) for name in plan.values}
    if any(now[name] == wanted[name] != old[name] for name in now):
        return Recovery("done", current, frozenset(name for name in now if now[name] != wanted[name]))
    if before is None:
        return Recovery("undone")
    others = frozenset(name for name in now if now[name] != old[name])
    return Recovery("unsure", current, others) if others else Recovery("undone")
