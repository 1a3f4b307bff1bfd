"""Draws who changes which rows, how and in which order. Pure: the same seed and rows give the same script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal
from uuid import UUID

from daemon.embedded.sample_rows import random_uuid
from daemon.embedded.scenario.ledger import Row, Rule, Side
from daemon.embedded.scenario.values import FIELDS, Values

Wave = Literal[0, 1, 2]
"""Waves are further apart than the skew: what is in a later one is surely later."""
RowKey = tuple[str, UUID]
"""Table and id."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one side does to one row in one wave."""

    side: Side
    wave: Wave
    op: Literal["insert", "update", "delete"]
    values: Row


Rules = Mapping[str, Mapping[str, Rule]]
"""By table and field."""
Rows = Mapping[RowKey, Row]
Script = dict[RowKey, list[Step]]
Build = Callable[["_Draw", RowKey], list[Step]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A kind of encounter, for a share of the rows, in thousandths; at least one. `rule`: of a field with that rule.

    `fresh`: the row is new, and like the one that is drawn.
    """

    name: str
    share: int
    build: Build
    rule: Rule | None = None
    tables: Sequence[str] = tuple(FIELDS)
    fresh: bool = False


def draw(rng: Random, rows: Rows, rules: Rules, count: int) -> tuple[Script, dict[str, int]]:
    """A script for about `count` of the rows and some new ones, and how many rows have which plot.

    Raises ValueError where there are too few rows.
    """
    drawn = _Draw(rng, rows, rules)
    script: Script = {}
    counts: dict[str, int] = {}
    for plot in PLOTS:
        counts[plot.name] = max(1, round(count * plot.share / 1_000))
        for _ in range(counts[plot.name]):
            key = drawn.fresh(plot.tables) if plot.fresh else drawn.take(plot.tables, plot.rule)
            script[key] = plot.build(drawn, key)
    return script, counts


class _Draw:
    """Takes rows, each once."""

    def __init__(self, rng: Random, rows: Rows, rules: Rules) -> None:
        self.rng = rng
        self.rows = dict(rows)
        self.rules = rules
        self.values = Values(rng)
        self._left: dict[str, list[RowKey]] = {table: [] for table in FIELDS}
        for key in sorted(rows):
            if key[0] in self._left:
                self._left[key[0]].append(key)
        for keys in self._left.values():
            rng.shuffle(keys)
        self._templates = {table: list(keys) for table, keys in self._left.items()}

    def take(self, tables: Sequence[str], rule: Rule | None) -> RowKey:
        wanted = [table for table in tables if rule is None or rule in self.rules.get(table, {}).values()]
        weights = [len(self._left[table]) for table in wanted]
        if not any(weights):
            raise ValueError(f"there are too few rows in {', '.join(wanted)}")
        return self._left[self.rng.choices(wanted, weights)[0]].pop()

    def fresh(self, tables: Sequence[str]) -> RowKey:
        """A new row, like one that is there."""
        table = self.rng.choice(tables)
        key = table, random_uuid(self.rng)
        like = dict(self.rows[self.rng.choice(self._templates[table])])
        like |= {"id": key[1], "legacy_id": None, **({"slug": str(key[1])} if "slug" in like else {})}
        self.rows[key] = like
        return key

    def field(self, key: RowKey, rule: Rule | None = None) -> str:
        """One of the row's fields that has this rule; `latest` are those without one."""
        rules = self.rules.get(key[0], {})
        return self.rng.choice([one for one in FIELDS[key[0]] if rule is None or rules.get(one, "latest") == rule])

    def new(self, key: RowKey, field: str) -> Row:
        return {field: self.values.value(field, self.rows[key].get(field))}

    def waves(self) -> tuple[Wave, Wave]:
        """An earlier and a later one."""
        earlier, later = sorted(self.rng.sample((0, 1, 2), 2))
        return earlier, later  # type: ignore[return-value]


def _alone(side: Side) -> Build:
    """One side only, now and then twice; whatever the rule of the field is."""

    def build(draw: _Draw, key: RowKey) -> list[Step]:
        fields = draw.rng.sample(FIELDS[key[0]], draw.rng.choice((1, 1, 2)))
        values = {name: value for field in fields for name, value in draw.new(key, field).items()}
        first, second = draw.waves()
        steps = [Step(side, first, "update", values)]
        if draw.rng.random() < 0.1:
            steps.append(Step(side, second, "update", draw.new(key, fields[0])))
        return steps

    return build


def _apart(draw: _Draw, key: RowKey) -> list[Step]:
    """Both sides, in different fields."""
    ours, theirs = draw.rng.sample(FIELDS[key[0]], 2)
    return [Step("hub", 1, "update", draw.new(key, ours)), Step("spoke", 1, "update", draw.new(key, theirs))]


def _alike(draw: _Draw, key: RowKey) -> list[Step]:
    """Both sides, the same field and the same value."""
    values = draw.new(key, draw.field(key))
    return [Step("hub", 1, "update", values), Step("spoke", 1, "update", values)]


def _against(rule: Rule, first: Side | None) -> Build:
    """Both sides, the same field; one is surely earlier, or both are at the same time (None)."""

    def build(draw: _Draw, key: RowKey) -> list[Step]:
        field = draw.field(key, rule)
        earlier, later = draw.waves()
        hub, spoke = (1, 1) if first is None else (earlier, later) if first == "hub" else (later, earlier)
        steps = [
            Step("hub", hub, "update", draw.new(key, field)),  # type: ignore[arg-type]
            Step("spoke", spoke, "update", draw.new(key, field)),  # type: ignore[arg-type]
        ]
        return sorted(steps, key=lambda one: one.wave)

    return build


def _deleted(side: Side, other: Wave | None) -> Build:
    """One side deletes the row in the middle wave; the other changes it in `other`, or not at all (None)."""

    def build(draw: _Draw, key: RowKey) -> list[Step]:
        steps = [Step(side, 1, "delete", {})]
        if other is not None:
            editor: Side = "spoke" if side == "hub" else "hub"
            steps.append(Step(editor, other, "update", draw.new(key, draw.field(key, "latest"))))
        return sorted(steps, key=lambda one: one.wave)

    return build


def _born(*sides: Side) -> Build:
    """A new row, on one side or with the same key on both, where they differ in one field."""

    def build(draw: _Draw, key: RowKey) -> list[Step]:
        row, field = draw.rows.pop(key), draw.field(key)
        return [Step(side, 1, "insert", {**row, field: draw.values.value(field, row.get(field))}) for side in sides]

    return build


LEAVES = ("story_media",)
"""Tables to whose rows none refer."""
PLOTS = (
    Plot("same field, manual", 12, _against("manual", "hub"), "manual"),
    Plot("same field, manual, at once", 4, _against("manual", None), "manual"),
    Plot("same field, target", 10, _against("target", "spoke"), "target"),
    Plot("same field, hub", 12, _against("hub", "hub"), "hub"),
    Plot("same field, merge", 14, _against("merge", "spoke"), "merge"),
    Plot("same field, at once", 16, _against("latest", None)),
    Plot("same field, spoke later", 10, _against("latest", "hub")),
    Plot("same field, hub later", 10, _against("latest", "spoke")),
    Plot("same field, same value", 12, _alike),
    Plot("deleted in the hub", 8, _deleted("hub", None), tables=LEAVES),
    Plot("deleted in the spoke", 8, _deleted("spoke", None), tables=LEAVES),
    Plot("deleted in the hub, edited earlier", 3, _deleted("hub", 0), tables=LEAVES),
    Plot("deleted in the hub, edited at once", 3, _deleted("hub", 1), tables=LEAVES),
    Plot("deleted in the hub, edited later", 3, _deleted("hub", 2), tables=LEAVES),
    Plot("deleted in the spoke, edited earlier", 3, _deleted("spoke", 0), tables=LEAVES),
    Plot("deleted in the spoke, edited at once", 3, _deleted("spoke", 1), tables=LEAVES),
    Plot("deleted in the spoke, edited later", 3, _deleted("spoke", 2), tables=LEAVES),
    Plot("different fields", 140, _apart),
    Plot("only the hub", 360, _alone("hub")),
    Plot("only the spoke", 340, _alone("spoke")),
    Plot("new in the hub", 12, _born("hub"), fresh=True),
    Plot("new in the spoke", 12, _born("spoke"), fresh=True),
    Plot("new on both sides", 4, _born("hub", "spoke"), fresh=True),
)
"""Rare ones first, as they need rows with certain fields."""
