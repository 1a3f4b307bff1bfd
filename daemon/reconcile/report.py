"""What a verification found, as JSON and as text. `daemon/cli/README.md` documents the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from daemon.reconcile.paused import PausedTable
from schemas.position import Lsn, format_lsn

LISTED = 100
"""Differences of a table that are listed; the rest is counted."""
SHOWN_CHARACTERS = 60

Kind = Literal["differs", "only_in_source", "only_in_target", "twice"]
"""`twice`: several records of a service hold its key."""


class Values(NamedTuple):
    """A field's text on both sides; None is NULL."""

    source: str | None
    target: str | None


class Waits(NamedTuple):
    """A conflict that a person has yet to decide; `fields` are those that wait, none where only the row does."""

    conflict: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides. `fields` are those that differ, of a row that both have."""

    key: Mapping[str, str]
    kind: Kind
    fields: tuple[str, ...] = ()
    values: Mapping[str, Values] | None = None
    parked_id: int | None = None
    waits: Waits | None = None
    records: tuple[str, ...] = ()
    """Of a service, the ids of its records with this key."""

    @property
    def only_waits(self) -> bool:
        """Whether a person's decision is all that it lacks: no other field differs."""
        return self.waits is not None and set(self.fields) <= set(self.waits.fields)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"key": dict(self.key), "kind": self.kind, "fields": list(self.fields)}
        found["parked"] = self.parked_id
        found["waits"] = self.waits.conflict if self.waits is not None else None
        found["waiting"] = list(self.waits.fields) if self.waits is not None else []
        if self.records:
            found["records"] = list(self.records)
        if self.values is not None:
            found["values"] = {name: values._asdict() for name, values in self.values.items()}
        return found


@dataclass(slots=True)
class TableReport:
    """One table of one target. Filled while the table is compared."""

    table: str
    rows_source: int
    rows_target: int
    rows: int = 0
    """Rows compared: of either side, each key once."""
    fields: int = 0
    """Fields compared, in rows that both sides have."""
    differences: int = 0
    still_changing: int = 0
    parked: int = 0
    """Those of the differences whose key is parked in the target."""
    waits: int = 0
    """Those of the differences that lack nothing but a person's decision."""
    listed: list[Difference] = field(default_factory=list)
    changing: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def only_in_target(self) -> bool:
        """Whether such a difference is listed that nobody has to decide."""
        return any(one.kind == "only_in_target" and one.waits is None for one in self.listed)

    def add(self, difference: Difference) -> None:
        self.differences += 1
        self.parked += difference.parked_id is not None
        self.waits += difference.only_waits
        if len(self.listed) < LISTED:
            self.listed.append(difference)

    def add_changing(self, key: Mapping[str, str]) -> None:
        self.still_changing += 1
        if len(self.changing) < LISTED:
            self.changing.append(key)

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "rows": {"source": self.rows_source, "target": self.rows_target, "compared": self.rows},
            "fields": self.fields,
            "differences": self.differences,
            "still_changing": self.still_changing,
            "parked": self.parked,
            "waits": self.waits,
            "listed": [difference.to_json() for difference in self.listed],
            "changing": [dict(key) for key in self.changing],
        }


@dataclass(frozen=True, slots=True)
class TargetReport:
    """One target beside its source: every change committed up to `verified_through` is in what was compared."""

    target: str
    source: str
    verified_through: Lsn
    applying: bool | None
    """Whether changes arrive; None when nothing differed, so that nothing had to be waited for."""
    tables: tuple[TableReport, ...]
    paused: tuple[PausedTable, ...] = ()
    """Not compared: their changes wait, or come in just now."""
    service: tuple[TableReport, ...] | None = None
    """Of a service: what it has beside what the target's own database, its mirror, wants it to have."""

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "source": self.source,
            "verified_through": format_lsn(self.verified_through),
            "applying": self.applying,
            "tables": [table.to_json() for table in self.tables],
            "paused": [asdict(table) for table in self.paused],
            "service": None if self.service is None else [table.to_json() for table in self.service],
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All targets. `sample` is the number of keys asked for, None when every row was compared."""

    targets: tuple[TargetReport, ...]
    sample: int | None
    seconds: float

    @property
    def tables(self) -> list[TableReport]:
        return [table for target in self.targets for table in (*target.tables, *(target.service or ()))]

    @property
    def differences(self) -> int:
        return sum(table.differences for table in self.tables)

    @property
    def waits(self) -> int:
        return sum(table.waits for table in self.tables)

    @property
    def still_changing(self) -> int:
        return sum(table.still_changing for table in self.tables)

    @property
    def paused(self) -> list[tuple[str, PausedTable]]:
        """Tables that were not compared, each with its target."""
        return [(target.target, table) for target in self.targets for table in target.paused]

    @property
    def clean(self) -> bool:
        """Every table was compared, and none differs."""
        return self.differences == 0 and not self.paused

    def to_json(self) -> dict[str, Any]:
        """The documented contract, as values that a JSON encoder takes."""
        return {
            "clean": self.clean,
            "differences": self.differences,
            "waits": self.waits,
            "still_changing": self.still_changing,
            "paused": len(self.paused),
            "rows": sum(table.rows for table in self.tables),
            "fields": sum(table.fields for table in self.tables),
            "sample": self.sample,
            "seconds": round(self.seconds, 3),
            "targets": [target.to_json() for target in self.targets],
        }

    def render(self) -> str:
        """The report for people, several lines without a final newline."""
        lines = [line for target in self.targets for line in _render_target(target)]
        rows, fields = sum(table.rows for table in self.tables), sum(table.fields for table in self.tables)
        verdict = _count(self.differences, "difference") if self.differences else "No difference"
        changing = f", {_count(self.still_changing, 'row')} still changing" if self.still_changing else ""
        if self.paused:
            verdict = f"{_count(len(self.paused), 'table')} paused and not compared, {verdict[0].lower()}{verdict[1:]}"
        what = f"{_count(rows, 'row')} and {_count(fields, 'field')}"
        lines.append(f"{verdict}{changing} in {what} compared ({self.seconds:.1f} s).")
        if only := dict.fromkeys(one.table for target in self.targets for one in target.tables if one.only_in_target):
            lines.append(f"To delete what the source does not have: placemat snapshot {' '.join(only)} --delete-gone")
        if open_ := {one.waits.conflict for table in self.tables for one in table.listed if one.waits is not None}:
            which = f"show {open_.pop()}" if len(open_) == 1 else "list"
            lines.append(f"To see what waits for a person: placemat conflicts {which}")
        return "\n".join(lines)


def _render_target(report: TargetReport) -> list[str]:
    lines = [f"{report.target} beside {report.source}, verified through {format_lsn(report.verified_through)}"]
    if report.applying is False:
        lines.append(f"  Nothing is applying to {report.target}: changes in flight are shown as differences.")
    for paused in report.paused:
        words = "paused" if paused.state == "paused" else "paused until now, catching up"
        lines.append(f"  {paused.table}: {words}, not compared ({paused.reason})")
    for table in report.tables:
        lines += _render_table(table, report)
    if report.service is not None:
        told = replace(report, source=f"the mirror of {report.target}", target=f"the service {report.target}")
        lines.append(f"{told.target} beside its mirror")
        for table in report.service:
            lines += _render_table(table, told)
    return lines


def _render_table(table: TableReport, report: TargetReport) -> list[str]:
    verdict = _count(table.differences, "difference") if table.differences else "no difference"
    counted = (("parked", table.parked), ("waiting for a person", table.waits))
    aside = ", ".join(f"{number:,} {what}" for what, number in counted if number)
    counts = f"{_count(table.rows_source, 'row')} in {report.source}, {table.rows_target:,} in {report.target}"
    lines = [f"  {table.table}: {counts}; {table.rows:,} compared: {verdict}{f' ({aside})' if aside else ''}"]
    lines += [f"    {_render_difference(difference, report)}" for difference in table.listed]
    if table.differences > len(table.listed):
        lines.append(f"    and {table.differences - len(table.listed):,} more")
    lines += [f"    {_render_key(key)}: still changing" for key in table.changing]
    if table.still_changing > len(table.changing):
        lines.append(f"    and {table.still_changing - len(table.changing):,} more still changing")
    return lines


def _render_difference(difference: Difference, report: TargetReport) -> str:
    if difference.kind == "twice":
        what = f"several times in {report.target}"
    elif difference.kind == "differs":
        what = ", ".join(difference.fields) + (" differs" if len(difference.fields) == 1 else " differ")
    else:
        what = f"only in {report.source if difference.kind == 'only_in_source' else report.target}"
    parked = f" (parked #{difference.parked_id})" if difference.parked_id is not None else ""
    waits = _render_waits(difference) if difference.waits is not None else ""
    shown = "".join(
        f"\n      {name}: {_render_value(values.source)} in {report.source}, "
        f"{_render_value(values.target)} in {report.target}"
        for name, values in (difference.values or {}).items()
    )
    return f"{_render_key(difference.key)}: {what}{parked}{waits}{shown}"


def _render_waits(difference: Difference) -> str:
    assert difference.waits is not None
    number, fields = difference.waits
    about = "" if difference.only_waits else f" about {', '.join(fields)}"
    return f" (waits: conflict {number}{about})"


def _render_key(key: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={text}" for name, text in key.items())


def _render_value(text: str | None) -> str:
    if text is None:
        return "NULL"
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
