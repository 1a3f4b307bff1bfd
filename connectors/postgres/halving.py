"""Sets of rows of which a database refuses some: halved until the row at fault stands alone; the rest is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from connectors.contract import Refusal
from connectors.postgres.failures import Refused
from connectors.postgres.parked import Key
from connectors.postgres.rows import CannotFold, Net

Row = tuple[bytes, Net]


def write_by_halves(rows: Sequence[Row], write: Callable[[Sequence[Row]], Sequence[Key]]) -> Iterator[Refusal]:
    """The rows that could not be written.

    `write` is as `TableWrites.write_nets`: it writes a set whole or not at all, and returns the keys of rows of which a
    part is known and that were not there.
    """
    if not rows:
        return
    try:
        gone = write(rows)
    except (Refused, CannotFold) as error:
        if len(rows) > 1:
            half = len(rows) // 2
            yield from write_by_halves(rows[:half], write)
            yield from write_by_halves(rows[half:], write)
        else:
            yield Refusal(rows[0][0], error.reason if isinstance(error, Refused) else "it cannot be written")
    else:
        for _, key in gone:
            yield Refusal(key, "somebody else deleted the row at this moment")
