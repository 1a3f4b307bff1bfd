"""What a PostgreSQL target did with events, as far as its own bookkeeping tells: taken, parked, or still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from connectors.event_outcomes import EventPlace, Outcome
from connectors.postgres import bookkeeping
from connectors.postgres.pauses import read_pauses

_PARKED = """
SELECT e.topic, e.partition, e."offset", p.id, p.reason FROM placemat.parked p
JOIN placemat.parked_events e ON e.parked_id = p.id WHERE p.source = %s AND p.table_name = %s
"""


class BookkeptOutcomes:
    """See `connectors.event_outcomes.OutcomesOf`: `parked`, `paused` (its table is), `waiting`, or `taken`.

    What is taken was applied, or passed over as the route has it; which of the two nobody has written down here.
    """

    def __init__(self, connection: psycopg.Connection[Any], target: str, source: str) -> None:
        """The connection is in autocommit mode."""
        self._connection = connection
        self._target = target
        self._source = source

    def of(self, table: str, events: Sequence[EventPlace]) -> Mapping[EventPlace, Outcome]:
        connection, source = self._connection, self._source
        with bookkeeping.prepared(self._target), connection.transaction():
            offsets = bookkeeping.read_offsets(connection, source)
            paused = {one.table: one.reason for one in read_pauses(connection, source)}
            rows = connection.execute(_PARKED, [source, table]).fetchall()
        taken = {(one.topic, one.partition): one.next_offset for one in offsets}
        parked = {EventPlace(*place): f"placemat dlq show {id_}: {reason}" for *place, id_, reason in rows}
        return {place: _outcome(place, parked, taken, paused.get(table)) for place in events}


def _outcome(
    place: EventPlace, parked: Mapping[EventPlace, str], taken: Mapping[tuple[str, int], int], paused: str | None
) -> Outcome:
    if place in parked:
        return Outcome("parked", parked[place])
    if place.offset < taken.get(place[:2], 0):
        return Outcome("taken")
    return Outcome("waiting") if paused is None else Outcome("paused", paused)
