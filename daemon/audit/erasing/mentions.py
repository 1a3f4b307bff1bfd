"""Entries that may hold a value of a row elsewhere than in its values: in what people have typed, and databases said.

Reasons belong to the chain, and stay. Conditions of `restore` and `snapshot` stand apart from it, like values of rows,
but nobody knows whose they are: a person looks, and names the entries that are to go too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import psycopg

from daemon.audit.erasing.row_names import Name

if TYPE_CHECKING:
    from daemon.config.settings import Settings

OWN = """
SELECT DISTINCT entry.sequence, entry.month
FROM unnest(%(sources)s::text[], %(entities)s::text[], %(keys)s::text[]) AS named (source, entity, key)
JOIN placemat.audit_entries AS entry ON entry.entity = named.entity AND entry.key = named.key
 AND (entry.source = named.source OR entry.source IS NULL OR named.source IS NULL)
"""
"""Entries of a row; parameters as `named` makes them."""
_REASONS = f"""
SELECT entry.sequence, entry.op FROM ({OWN}) AS own JOIN placemat.audit_entries AS entry USING (sequence, month)
WHERE entry.reason IS NOT NULL ORDER BY entry.sequence
"""
_ACTIONS = """
SELECT entry.sequence, entry.op, entry.entity, entry.source, entry.target, entry.details, entry.reason IS NOT NULL,
       kept.sequence IS NOT NULL
FROM placemat.audit_entries AS entry LEFT JOIN placemat.audit_values AS kept USING (sequence, month)
WHERE entry.kind = 'action' AND entry.key IS NULL AND (entry.entity = ANY (%(entities)s) OR entry.entity IS NULL)
  AND (entry.source IS NOT NULL OR entry.target IS NOT NULL) ORDER BY entry.sequence
"""


class Mention(NamedTuple):
    """One entry, and the action or event that it is of. `text`: what stays; `values`: what can be erased with it."""

    sequence: int
    op: str
    text: bool
    values: bool


def named(names: Sequence[Name]) -> dict[str, list[str | None]]:
    """Parameters of `OWN`."""
    return {
        "sources": [one.source for one in names],
        "entities": [one.entity for one in names],
        "keys": [one.key for one in names],
    }


def mentions(connection: psycopg.Connection[Any], settings: Settings, names: Sequence[Name]) -> list[Mention]:
    """Entries of the row with a reason, and actions on its tables that somebody has typed something for."""
    given = named(names)
    rows = connection.execute(_REASONS.encode(), given).fetchall()
    own = [Mention(sequence, op, True, False) for sequence, op in rows]
    tables = {(one.source, one.entity) for one in names}
    found: list[Mention] = []
    for sequence, op, entity, source, target, text, reason, values in connection.execute(_ACTIONS, given).fetchall():
        follows = settings.targets.get(target)
        of = source or (follows.source if follows is not None else None)
        details = _details(text)
        about = [entity] if entity is not None else details.get("tables")
        if not any(of in (None, one) and (about is None or table in about) for one, table in tables):
            continue
        typed = reason or (op == "snapshot" and details.get("where") is not None)
        if typed or values:
            found.append(Mention(sequence, op, typed, values))
    return sorted({*own, *found})


def _details(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
