"""How much waits in a mirror for its service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg

from connectors.postgres.progress import Progress, ProgressReader
from connectors.pushing import Backlogged

_READY = "SELECT to_regclass('placemat.queue') IS NOT NULL"
_BACKLOG = """
SELECT count(*) FILTER (WHERE refused_at IS NULL),
    coalesce(extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE refused_at IS NULL)), 0)::float8,
    count(*) FILTER (WHERE refused_at IS NOT NULL), (SELECT count(*) FROM placemat.dirty)
FROM placemat.queue
"""


class MirrorProgress(ProgressReader):
    """Keys that the service has refused count as parked."""

    def _read(self, connection: psycopg.Connection[Any]) -> Progress | None:
        found, backlog = super()._read(connection), read_backlog(connection)
        if found is None or backlog is None:
            return found
        return replace(found, parked=found.parked + backlog.refused, backlog=backlog)


def read_backlog(connection: psycopg.Connection[Any]) -> Backlogged | None:
    """None where nothing was ever prepared."""
    if connection.execute(_READY).fetchone() != (True,):
        return None
    row = connection.execute(_BACKLOG).fetchone()
    return None if row is None else Backlogged(*row)
