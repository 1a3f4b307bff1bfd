"""Erasing a person's values from the audit log. The chain still verifies, as it runs over salted hashes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from daemon.audit import chain
from daemon.audit.actions import person
from daemon.audit.entry import Draft
from daemon.config.settings import Settings
from daemon.errors import OperatorError

_SAMPLE = "SELECT key FROM placemat.audit_entries WHERE entity = %s AND key IS NOT NULL ORDER BY sequence DESC LIMIT 1"
_HELD = """
SELECT count(*) FROM placemat.audit_entries AS entry JOIN placemat.audit_values USING (sequence, month)
WHERE entry.entity = %s AND entry.key = %s
"""
_ERASE = """
DELETE FROM placemat.audit_values AS kept USING placemat.audit_entries AS entry
WHERE entry.sequence = kept.sequence AND entry.month = kept.month AND entry.entity = %s AND entry.key = %s
"""
_SEGMENTS = "SELECT file FROM placemat.audit_segments ORDER BY month"


@dataclass(frozen=True, slots=True)
class Erasure:
    """`entries` had values; `files` are sealed segments, which this does not reach."""

    entity: str
    key: str
    entries: int
    files: list[str]


def erase(settings: Settings, entity: str, key: str, reason: str, by: str | None = None, *, dry_run: bool) -> Erasure:
    """Delete values and salts of every entry of a key, and enter that. `key` is JSON, or the plain value of one column.

    Raises OperatorError when nothing is known of that key, and when the log is off or away.
    """
    if not settings.audit.enabled:
        raise OperatorError("The audit log is off.", "Set audit.enabled, and repeat this.")
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        head = chain.lock_head(connection)
        text = key_of(connection, entity, key)
        row = connection.execute(_HELD, [entity, text]).fetchone()
        held = row[0] if row else 0
        files = [file for (file,) in connection.execute(_SEGMENTS).fetchall()]
        if not held:
            raise OperatorError(
                f"The audit log holds no values of {entity} {text}.", "placemat audit show names entities and keys."
            )
        if dry_run:
            connection.rollback()
        else:
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            draft = Draft(
                "action", "erase", "done", by or person(), entity=entity, key=text, reason=reason,
                details={"entries": held},
            )  # fmt: skip
            connection.execute(_ERASE, [entity, text])
            chain.append(connection, [draft], head)
            connection.commit()
    return Erasure(entity, text, held, files)


def key_like(sample: str, given: str) -> str:
    """A key as the log writes it, like a sample, from JSON or the plain value of its one column.

    Raises OperatorError (exit code 2) when it has other columns.
    """
    columns: dict[str, Any] = orjson.loads(sample)
    try:
        value = orjson.loads(given)
    except orjson.JSONDecodeError:
        value = given
    if not isinstance(value, dict):
        value = {name: value if isinstance(like, int) else given for name, like in columns.items()}
        if len(columns) != 1:
            value = {}
    if value.keys() != columns.keys():
        raise OperatorError(
            f"{given} is no key: it has the columns {', '.join(columns)}.", f"Write it like {sample}.", exit_code=2
        )
    return json.dumps({name: value[name] for name in columns}, ensure_ascii=False, separators=(",", ":"))


def key_of(connection: psycopg.Connection[Any], entity: str, given: str) -> str:
    """A key as the log writes those of a table. Raises OperatorError (exit code 2) as `key_like` does."""
    row = connection.execute(_SAMPLE, [entity]).fetchone()
    if row is None:
        raise OperatorError(f"The audit log knows nothing of {entity}.", "Name a table as schema.table.", exit_code=2)
    return key_like(row[0], given)
