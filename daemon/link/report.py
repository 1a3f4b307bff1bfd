"""What a link found and does, as JSON and as text. `daemon/cli/README.md` documents the JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.linking import Key
from daemon.link.pairs import Ambiguous
from daemon.link.plan import Difference, Differing, TablePlan

EXAMPLES = 3
"""Of each class, for a person to look at; the JSON has all."""
SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class LinkReport:
    """`written`: it was done, and not only planned."""

    target: str
    hub: str
    tables: Sequence[TablePlan]
    written: bool
    by: str
    reason: str | None = None

    @property
    def ambiguous(self) -> int:
        """Rows of both sides that wait for a person."""
        return sum(len(keys) for one in self.tables for keys in one.ambiguous)

    @property
    def nothing_to_do(self) -> bool:
        return all(one.nothing_to_do for one in self.tables)

    def counts(self) -> dict[str, int]:
        """What is done, for the audit."""
        return {
            "rekeyed": sum(len(one.rekeyed) for one in self.tables),
            "differing": sum(len(one.differing) for one in self.tables),
            "only_hub": sum(len(one.pairing.ours) for one in self.tables),
            "only_target": sum(len(one.pairing.theirs) for one in self.tables),
            "ambiguous": self.ambiguous,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "hub": self.hub,
            "dry_run": not self.written,
            "by": self.by,
            "reason": self.reason,
            "nothing_to_do": self.nothing_to_do,
            **self.counts(),
            "tables": [_table(one) for one in self.tables],
        }

    def render(self) -> str:
        lines = [line for one in self.tables for line in _lines(one, self.hub, self.target)]
        if self.nothing_to_do:
            lines.append("Nothing to do: both sides have the same rows.")
        return "\n".join(lines)


def _table(plan: TablePlan) -> dict[str, Any]:
    def name(key: Key) -> dict[str, Any]:
        return _named(plan, key)

    found = plan.pairing
    return {
        "table": plan.table.table,
        "matches": [list(one) for one in plan.matches],
        "rows_hub": plan.ours,
        "rows_target": plan.theirs,
        "pairs": len(found.pairs),
        "equal": plan.equal,
        "in_flow": plan.in_flow,
        "rekeyed": [
            {"key": name(one.ours), "key_target": name(one.theirs), "match": _match(plan, one.match)}
            for one in plan.rekeyed
        ],
        "differing": [
            {"key": name(one.pair.ours), "key_target": name(one.pair.theirs), "fields": list(map(_field, one.fields))}
            for one in plan.differing
        ],
        "only_hub": [name(key) for key in found.ours],
        "only_target": [name(key) for key in found.theirs],
        "ambiguous": [
            {
                "match": _match(plan, one.match),
                "hub": [name(key) for key in one.ours],
                "target": [name(key) for key in one.theirs],
                "spoken_for": [name(key) for key in one.spoken_for],
            }
            for one in found.ambiguous
        ],
    }


def _field(one: Difference) -> dict[str, Any]:
    won = {"ours": "hub", "theirs": "target", None: None}[one.won]
    return {
        "field": one.field, "hub": one.ours, "target": one.theirs, "rule": one.rule, "resolution": one.resolution,
        "won": won,
    }  # fmt: skip


def _match(plan: TablePlan, match: int | None) -> list[str] | None:
    return None if match is None else list(plan.matches[match])


def _named(plan: TablePlan, key: Key) -> dict[str, Any]:
    return {name: orjson.loads(text) for name, text in zip(plan.table.key, key, strict=True)}


def _lines(plan: TablePlan, hub: str, target: str) -> Iterator[str]:
    found = plan.pairing
    yield (
        f"{plan.table.table}: {plan.ours:,} rows in {hub}, {plan.theirs:,} in {target};"
        f" {len(found.pairs):,} are the same rows, {len(plan.rekeyed):,} of them under another key,"
        f" {len(plan.differing):,} with differences; {len(found.ours):,} only in {hub},"
        f" {len(found.theirs):,} only in {target}; {sum(map(len, plan.ambiguous)):,} ambiguous"
    )
    if plan.in_flow:
        yield f"  {plan.in_flow:,} differ that are on their way, or wait for a person already"
    fields = Counter((one.field, one.rule, one.won) for pair in plan.differing for one in pair.fields)
    for (field, rule, won), many in sorted(fields.items(), key=str):
        yield f"  {field} differs in {many:,} rows: by the rule {rule} {_outcome(won, rule, hub, target)}"
    for different in plan.differing[:EXAMPLES]:
        yield f"  for example {_shown(plan, different.pair.ours)}: {', '.join(_values(different))}"
    for one in plan.rekeyed[:EXAMPLES]:
        yield f"  {_shown(plan, one.theirs)} of {target} becomes {_shown(plan, one.ours)}"
    for side, keys in ((hub, found.ours), (target, found.theirs)):
        for key in keys[:EXAMPLES]:
            yield f"  only in {side}: {_shown(plan, key)}"
    for group in found.ambiguous[:EXAMPLES]:
        yield f"  ambiguous by {', '.join(plan.matches[group.match])}: {_group(plan, group, hub, target)}"


def _outcome(won: str | None, rule: str, hub: str, target: str) -> str:
    if won is None:
        return "both are merged" if rule == "merge" else "a person decides"
    return f"that of {hub if won == 'ours' else target} stands"


def _values(one: Differing) -> Iterator[str]:
    for field in one.fields:
        yield f"{field.field} {_short(field.ours)} and {_short(field.theirs)}"


def _group(plan: TablePlan, one: Ambiguous, hub: str, target: str) -> str:
    parts = [(hub, one.ours), (target, one.theirs), ("linked otherwise", one.spoken_for)]
    return "; ".join(f"{side} {', '.join(_shown(plan, key) for key in keys)}" for side, keys in parts if keys)


def _shown(plan: TablePlan, key: Key) -> str:
    return ", ".join(f"{name}={value}" for name, value in _named(plan, key).items())


def _short(text: str | None) -> str:
    shown = "NULL" if text is None else text
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}…"
