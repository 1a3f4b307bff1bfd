"""Gaps of sources and how they were repaired: what is not known for sure, from where to where, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, func, insert, select, update

from schemas import tables

_t = tables.gaps
Ends = dict[str, list[int]]
"""Topic to the end of each of its partitions."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`ends` are those of the topics when the era began: targets go on from there. `targets` have been set to it."""

    id: int
    source: str
    era: int
    reason: str
    kinds: list[str]
    """Every reason, as the metric `placemat_gap` has it; none when somebody asked for a repair without one."""
    from_lsn: int
    from_at: datetime
    to_lsn: int
    to_at: datetime
    ends: Ends
    jobs: list[int]
    targets: list[str]
    deleted: dict[str, int]
    """Rows found in a target and not in the source any more, by target."""
    settled: dict[str, int]
    """Parked keys that have no row in the source any more, by target."""
    done_at: datetime | None


def open_gap(engine: sqlalchemy.Engine, source: str) -> Gap | None:
    """The gap whose repair is not at its end."""
    with engine.connect() as connection:
        row = connection.execute(
            _select().where(_t.c.source == source, _t.c.done_at.is_(None)).order_by(_t.c.id.desc()).limit(1)
        ).one_or_none()
    return None if row is None else _gap(row)


def begin(connection: Connection, values: Mapping[str, Any]) -> Gap:
    """Begin a repair; one that was not at its end ends with it, and what it did not know goes on."""
    open_ = (_t.c.source == values["source"], _t.c.done_at.is_(None))
    earlier = connection.execute(_select().where(*open_).order_by(_t.c.id).limit(1)).one_or_none()
    connection.execute(update(_t).where(*open_).values(done_at=func.now()))
    since = {} if earlier is None else _goes_on(earlier, values)
    made = connection.execute(insert(_t).values({**values, **since}).returning(_t.c.id)).scalar_one()
    return _gap(connection.execute(_select().where(_t.c.id == made)).one())


def target_set(engine: sqlalchemy.Engine, gap: Gap, target: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(_t).where(_t.c.id == gap.id).values(targets=sorted({*gap.targets, target})))


def rows_gone(engine: sqlalchemy.Engine, gap: Gap, target: str, deleted: int, settled: int) -> None:
    """Rows of a table that a target had alone and has no more, and keys that are parked there no more."""
    deleted += gap.deleted.get(target, 0)
    settled += gap.settled.get(target, 0)
    values = {"deleted": {**gap.deleted, target: deleted}, "settled": {**gap.settled, target: settled}}
    with engine.begin() as connection:
        connection.execute(update(_t).where(_t.c.id == gap.id).values(values))


def finish(engine: sqlalchemy.Engine, gap: Gap) -> None:
    with engine.begin() as connection:
        connection.execute(update(_t).where(_t.c.id == gap.id).values(done_at=func.now()))


def read(engine: sqlalchemy.Engine, gap: Gap) -> Gap:
    """The same as it is now."""
    with engine.connect() as connection:
        return _gap(connection.execute(_select().where(_t.c.id == gap.id)).one())


def _goes_on(earlier: sqlalchemy.Row[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "from_lsn": earlier.from_lsn,
        "from_at": earlier.from_at,
        "reason": " ".join(dict.fromkeys((earlier.reason, values["reason"]))),
        "kinds": list(dict.fromkeys((*earlier.kinds, *values["kinds"]))),
    }


def _select() -> sqlalchemy.Select[Any]:
    return select(*(_t.c[name] for name in Gap.__slots__))


def _gap(row: sqlalchemy.Row[Any]) -> Gap:
    values = dict(row._mapping)
    return Gap(**{**values, "from_lsn": int(values["from_lsn"]), "to_lsn": int(values["to_lsn"])})
