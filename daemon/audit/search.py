"""Entries of the audit log by who, what, when and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from daemon.audit import chain
from daemon.audit.entry import Entry, Values, month_of
from daemon.exact_json import decode

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for; None: whatever it is. `start` and `end` are times of entry, `before` is a number."""

    who: str | None = None
    entity: str | None = None
    keys: Sequence[str] | None = None
    """A key as each source may write it."""
    outcome: str | None = None
    target: str | None = None
    action: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    before: int | None = None


def find(
    connection: psycopg.Connection[Any], search: Search, limit: int | None = None, *, newest_first: bool = True
) -> Iterator[tuple[Entry, Values | None]]:
    """Entries with their values, in the order of their numbers; streamed, within the open transaction."""
    where, values = _conditions(search)
    query = (
        f"{chain.ENTRIES.replace('FROM', ', kept.salt, kept.content FROM')}"
        " LEFT JOIN placemat.audit_values AS kept USING (sequence, month)"
        f" WHERE {' AND '.join(where) or 'true'} ORDER BY sequence {'DESC' if newest_first else ''} LIMIT %s"
    )
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    with connection.cursor("search") as cursor:
        cursor.itersize = PAGE
        for *columns, salt, content in cursor.execute(query.encode(), [*values, limit]):
            yield Entry(*columns), Values(salt, content) if salt is not None else None


def to_json(entry: Entry, values: Values | None) -> dict[str, Any]:
    """An entry as verbs print it. `before` and `after` are null where there are no values, or not any more."""
    content = decode(values.content) if values is not None else {}
    return {
        "sequence": entry.sequence,
        "entered_at": entry.entered_at.astimezone(UTC).isoformat(),
        "happened_at": entry.happened_at.astimezone(UTC).isoformat() if entry.happened_at is not None else None,
        "kind": entry.kind,
        "who": entry.who,
        "source": entry.source,
        "target": entry.target,
        "entity": entry.entity,
        "key": _key(entry.key),
        "op": entry.op,
        "fields": decode(entry.fields),
        "masked": decode(entry.masked),
        "before": content.get("before"),
        "after": content.get("after"),
        "erased": entry.values_hash is not None and values is None,
        "position": entry.position,
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "outcome": entry.outcome,
        "rule": entry.rule,
        "conflict": entry.conflict,
        "reason": entry.reason,
        "details": decode(entry.details),
        "hash": bytes(entry.hash).hex(),
    }


def _key(text: str | None) -> Any:
    return decode(text) if text else None


def _conditions(search: Search) -> tuple[list[str], list[Any]]:
    given = {
        "who = %s": search.who,
        "entity = %s": search.entity,
        "key = ANY (%s)": search.keys,
        "outcome = %s": search.outcome,
        "target = %s": search.target,
        "kind = 'action' AND op = %s": search.action,
        "entered_at >= %s": search.start,
        "entered_at < %s": search.end,
        "sequence < %s": search.before,
        "month >= %s": month_of(search.start) if search.start is not None else None,
        "month <= %s": month_of(search.end) if search.end is not None else None,
    }
    kept = {condition: value for condition, value in given.items() if value is not None}
    return list(kept), list(kept.values())
