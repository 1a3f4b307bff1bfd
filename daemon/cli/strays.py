"""Records of a service that hold the key of another's row, as `placemat status` tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from daemon.cli.output import Json

if TYPE_CHECKING:
    from connectors.fetching import Stray

SHOWN = 5


def stray_json(one: Stray) -> dict[str, Json]:
    return {"table": one.key.table, "key": one.key.text, "record": one.remote_id, "reason": one.why}


def stray_lines(strays: Sequence[Stray]) -> list[str]:
    """What a person is to decide, a few of them by name."""
    if not strays:
        return []
    records = "1 record holds" if len(strays) == 1 else f"{len(strays):,} records hold"
    head = (
        f"{records} the key of another's row. Take what is needed from it there, then delete it, or take its key off:"
    )
    named = [f"  {one.remote_id}, of {one.key.table} {one.key.text}: {one.why}" for one in strays[:SHOWN]]
    return [head, *named, *([f"  and {len(strays) - SHOWN:,} more"] if len(strays) > SHOWN else [])]
