"""What the audit log tells of events at a target; what it has no entry of, the target's own bookkeeping tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg

from connectors.event_outcomes import EventPlace, Outcome, OutcomesOf

_EVENTS = """
SELECT entry.sequence, entry.topic, entry.partition, entry."offset", entry.key, entry.outcome, entry.rule, entry.reason
FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS asked (topic, partition, "offset")
JOIN placemat.audit_entries AS entry USING (topic, partition, "offset")
WHERE entry.target = %s ORDER BY entry.sequence
"""
_CHANGES = """
SELECT sequence, outcome, rule, reason, details FROM placemat.audit_entries
WHERE kind = 'change' AND entity = %s AND target = %s AND key = ANY (%s) ORDER BY sequence
"""


class AuditedOutcomes:
    """See `connectors.event_outcomes.OutcomesOf`. The words are those of `schemas.outbox`.

    What became later of an event that was parked goes before what was told of it first. Where a
    topic was made anew, the newest entry of a place is that of the event which is there now.
    """

    def __init__(self, connection: psycopg.Connection[Any], target: str, otherwise: OutcomesOf) -> None:
        """`connection` is that of the state database."""
        self._connection = connection
        self._target = target
        self._otherwise = otherwise

    def of(self, table: str, events: Sequence[EventPlace]) -> Mapping[EventPlace, Outcome]:
        found = dict(self._otherwise.of(table, events))
        if not events:
            return found
        asked = [list(part) for part in zip(*events, strict=True)]
        with self._connection.transaction():
            entries = self._rows(_EVENTS, [*asked, self._target])
            keys = {key for _, _, _, _, key, *_ in entries if key is not None}
            changes = self._rows(_CHANGES, [table, self._target, sorted(keys)])
        entered: dict[EventPlace, int] = {}
        for sequence, topic, partition, offset, _, outcome, rule, reason in entries:
            place = EventPlace(topic, partition, offset)
            entered[place] = sequence
            found[place] = Outcome(outcome, _detail(rule, reason))
        for sequence, outcome, rule, reason, details in changes:
            for place in (EventPlace(*one) for one in orjson.loads(details).get("events", ())):
                if place in found and sequence > entered.get(place, 0):
                    found[place] = Outcome(outcome, _detail(rule, reason))
        return found

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values).fetchall()


def _detail(rule: str | None, reason: str | None) -> str | None:
    return "; ".join(one for one in (f"rule {rule}" if rule else None, reason) if one) or None
