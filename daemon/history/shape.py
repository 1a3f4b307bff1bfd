"""Which columns a table had at a moment, and what rows have in those that were added after their last change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from daemon.capture.values import JSON_TYPES, encoder
from daemon.history.events import JSON_NULL, NULL, same
from daemon.history.states import Known
from schemas.envelope import SchemaChange, SchemaColumn


@dataclass(frozen=True, slots=True)
class Shape:
    """`added` are columns that came later than the table: the commit LSN from which on events have them, and the value
    of rows that were there before, None where it is not told. `json` are columns of JSON."""

    columns: tuple[str, ...]
    added: Mapping[str, tuple[int, msgspec.Raw | None]] = field(default_factory=dict)
    made_lsn: int = 0
    """Rows whose last change is before this commit were those of another table of the name."""
    json: frozenset[str] = frozenset()

    def complete(self, row: Known) -> Known:
        """The row with these columns and no others; those whose value is not told are all named."""
        values: dict[str, msgspec.Raw] = {}
        unknown = []
        for name in self.columns:
            lsn, before = self.added.get(name, (0, None))
            if lsn > row.lsn > 0 or (name not in row.values and name not in row.unknown):
                value = before if row.since_ms is None and row.large is None else None
            else:
                value = row.values.get(name)
            doubtful = row.since_ms is not None and name in self.json and same(value, NULL)
            if value is None or doubtful:
                unknown.append(name)
            else:
                values[name] = value
        return replace(row, values=values, unknown=tuple(unknown))


def shape_of(changes: Iterable[SchemaChange], before_lsn: int | None) -> Shape | None:
    """A table by its announced versions, in their order, as of the newest commit before an LSN; None when none was
    announced by then."""
    ordered = list({change.version: change for change in changes}.values())
    reached = [at for at, change in enumerate(ordered) if before_lsn is None or change.commit_lsn < before_lsn]
    if not reached:
        return None
    known = ordered[: reached[-1] + 1]
    names = tuple(column.name for column in known[-1].columns)
    added = {
        column.name: (change.commit_lsn, _existing(column))
        for change in known
        for column in change.columns
        if column.name in change.added and column.name in names
    }
    made_lsn = max((change.commit_lsn for change in known if change.made_anew), default=0)
    json = frozenset(column.name for column in known[-1].columns if column.type_oid in JSON_TYPES)
    return Shape(names, added, made_lsn, json)


def shape_as_met(columns: Sequence[str]) -> Shape:
    """Where no version was announced: the columns that any row has."""
    return Shape(tuple(columns))


def content(row: Known) -> bytes:
    """An envelope of the row as far as it is told."""
    nulls = [name for name, raw in row.values.items() if same(raw, JSON_NULL)]
    after = {**row.values, **dict.fromkeys(nulls, NULL)}
    texts = [name for name in row.json_text if name in after]
    marks = {"unchanged": list(row.unknown), "json_null": nulls, "json_text": texts}
    return msgspec.json.encode({"op": "u", "after": after, **{name: one for name, one in marks.items() if one}})


def _existing(column: SchemaColumn) -> msgspec.Raw | None:
    if column.existing is not None:
        if column.type_oid in JSON_TYPES and column.existing == "null":
            return JSON_NULL
        return msgspec.Raw(encoder(column.type_oid)(column.existing.encode()))
    return NULL if column.type is not None and column.default is None else None
