"""Both databases and the queue, held against the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from daemon.embedded.scenario.ledger import Listed, Prediction, Row
from daemon.embedded.scenario.script import RowKey

_WAITING = "SELECT table_name, key, state FROM placemat.conflicts WHERE waits"
_LISTED = "SELECT table_name, key, field, kind, rule, won FROM placemat.conflict_log WHERE id > %s"
_LAST = "SELECT coalesce(max(id), 0) FROM placemat.conflict_log"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`where` is a database, `queue` or `list`; `what` a field, or what is wrong with the row."""

    where: str
    table: str
    key: UUID
    what: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.table} {self.key}: {self.what} is {self.found!r}, and the ledger says"
            f" {self.expected!r}"
        )


Queue = Mapping[tuple[RowKey, str | None], Any]
"""What waits for a person: the spoke's value by row and field; of a deleted row, by None, None."""


def compare_rows(where: str, expected: Mapping[RowKey, Row], found: Mapping[RowKey, Row]) -> Iterator[Mismatch]:
    """Every row, those that nobody has edited too. A set is expected as a frozenset: its order is nobody's."""
    for table, key in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get((table, key)), found.get((table, key))
        if ours is None or theirs is None:
            yield Mismatch(where, table, key, "the row", _there(ours), _there(theirs))
            continue
        for field, value in ours.items():
            if not same(value, theirs.get(field)):
                yield Mismatch(where, table, key, field, value, theirs.get(field))


def same(expected: Any, found: Any) -> bool:
    if isinstance(expected, frozenset):
        return isinstance(found, list) and len(found) == len(expected) and frozenset(found) == expected
    return bool(expected == found)


def _there(row: Row | None) -> str:
    return "missing" if row is None else "there"


def expected_rows(
    base: Mapping[RowKey, Row], predictions: Mapping[RowKey, Prediction]
) -> tuple[dict[RowKey, Row], dict[RowKey, Row]]:
    """All rows of the hub, and of the spoke, as the ledger has them."""
    hub, spoke = dict(base), dict(base)
    for key, one in predictions.items():
        for rows, row in ((hub, one.hub), (spoke, one.spoke)):
            rows.pop(key, None)
            if row is not None:
                rows[key] = row
    return hub, spoke


def compare_queue(predictions: Mapping[RowKey, Prediction], found: Queue) -> Iterator[Mismatch]:
    expected = predicted_queue(predictions)
    for place in sorted(expected.keys() | found.keys(), key=lambda one: (one[0], one[1] or "")):
        (table, key), field = place
        what = f"the conflict of {field or 'the row'}"
        if place not in expected or place not in found:
            yield Mismatch("queue", table, key, what, _open(place in expected), _open(place in found))
        elif expected[place] != found[place]:
            yield Mismatch("queue", table, key, what, expected[place], found[place])


def _open(there: bool) -> str:
    return "open" if there else "none"


def predicted_queue(predictions: Mapping[RowKey, Prediction]) -> Queue:
    return {(key, one.field): one.theirs for key, of_row in predictions.items() for one in of_row.waiting}


def compare_list(
    predictions: Mapping[RowKey, Prediction], found: Iterable[tuple[RowKey, Listed]]
) -> Iterator[Mismatch]:
    """Every conflict is listed once, by the name and the rule that the design has for it, with who has won."""
    expected = Counter((key, one) for key, of_row in predictions.items() for one in of_row.listed)
    listed = Counter(found)
    for (table, key), one in sorted(expected.keys() | listed.keys(), key=repr):
        wanted, there = expected[(table, key), one], listed[(table, key), one]
        if wanted != there:
            what = f"{one.kind} of {one.field or 'the row'} by {one.rule}, won by {one.won}, listed so often"
            yield Mismatch("list", table, key, what, wanted, there)


def read_queue(hub: Connection[Any]) -> dict[tuple[RowKey, str | None], Any]:
    found: dict[tuple[RowKey, str | None], Any] = {}
    for table, key, state in hub.execute(_WAITING):
        row = _row_key(table, key)
        entry = json.loads(state)
        for candidates in entry.get("fields", {}).values():
            for field, one in candidates.items():
                text = one[0]
                found[row, field] = None if text is None else json.loads(text)
        if entry.get("deletions"):
            found[row, None] = None
    return found


def last_listed(hub: Connection[Any]) -> int:
    (last,) = hub.execute(_LAST).fetchone() or (0,)
    return int(last)


def read_list(hub: Connection[Any], after: int) -> list[tuple[RowKey, Listed]]:
    return [
        (_row_key(table, key), Listed(field, kind, rule, won))
        for table, key, field, kind, rule, won in hub.execute(_LISTED, [after])
    ]


def _row_key(table: str, key: str) -> RowKey:
    return table.removeprefix("public."), UUID(json.loads(key)["id"])
