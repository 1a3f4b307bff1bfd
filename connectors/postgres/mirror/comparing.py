"""What a service was listed to have, beside what its mirror knows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg

from connectors.fetching import Compared

_VANISHED = """
INSERT INTO placemat.dirty AS d (table_name, remote_id)
SELECT table_name, remote_id FROM placemat.remotes
WHERE table_name = %s AND alive AND remote_id IS NOT NULL AND remote_id <> ALL (%s)
  AND coalesce(greatest(written_at, read_at) < to_timestamp(%s / 1000000.0), true)
ON CONFLICT (table_name, remote_id) DO UPDATE SET changes = d.changes + 1, due = least(d.due, EXCLUDED.due)
"""
_UNKNOWN = """
INSERT INTO placemat.dirty AS d (table_name, remote_id)
SELECT %(table)s, l.id FROM unnest(%(listed)s::text[]) l (id)
    LEFT JOIN placemat.remotes r ON r.table_name = %(table)s AND r.remote_id = l.id
WHERE CASE WHEN r.remote_id IS NULL THEN %(seen)s OR l.id = ANY (%(keyed)s)
           ELSE NOT r.alive OR (r.keyed AND l.id <> ALL (%(keyed)s)) END
ON CONFLICT (table_name, remote_id) DO UPDATE SET changes = d.changes + 1, due = least(d.due, EXCLUDED.due)
"""
_FORGET = "DELETE FROM placemat.strays WHERE table_name = %s AND remote_id <> ALL (%s) AND NOT trashing"


def compare(
    connection: psycopg.Connection[Any], table: str, listed: Collection[str], keyed: Collection[str], began: int,
    *, seen: bool,
) -> Compared:  # fmt: skip
    """See `connectors.fetching.Fetched.compare`; in the open transaction. Raises psycopg.Error."""
    vanished = connection.execute(_VANISHED, [table, list(listed), began]).rowcount
    values = {"table": table, "listed": list(listed), "keyed": list(keyed), "seen": seen}
    unknown = connection.execute(_UNKNOWN, values).rowcount
    connection.execute(_FORGET, [table, list(keyed)])
    return Compared(vanished, unknown)
