"""The topics that the target's stored offsets belong to: a topic of the same name may be another one by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from connectors.contract import Destination, Pin
from connectors.errors import Unavailable
from connectors.postgres.session import CONNECT_TIMEOUT_SECONDS

_TAKEN = """
(EXISTS (SELECT FROM placemat.offsets WHERE source = %(source)s)
OR EXISTS (SELECT FROM placemat.lanes WHERE source = %(source)s AND transactions_offset > 0))
"""
_FORGET = f"DELETE FROM placemat.pins WHERE source = %(source)s AND NOT {_TAKEN}"
_PIN = """
INSERT INTO placemat.pins (source, topic, cluster_id, topic_id, partitions) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (source, topic) DO NOTHING
"""
_PREPARED = "SELECT to_regclass('placemat.pins') IS NOT NULL"
_READ = "SELECT topic, cluster_id, topic_id, partitions FROM placemat.pins WHERE source = %(source)s"


def pin(connection: psycopg.Connection[Any], source: str, found: Mapping[str, Pin]) -> dict[str, Pin]:
    """Pin topics that are not pinned, or all of them where nothing has been taken yet; all that is pinned then."""
    connection.execute(_FORGET.encode(), {"source": source})
    with connection.cursor() as cursor:
        rows = [(source, topic, one.cluster_id, one.topic_id, one.partitions) for topic, one in found.items()]
        cursor.executemany(_PIN, rows)
    return {row[0]: Pin(*row[1:]) for row in connection.execute(_READ, {"source": source})}


def pinned(destination: Destination) -> dict[str, Pin]:
    """All that is pinned, where anything has been taken. Raises Unavailable when the target does not answer."""
    try:
        with psycopg.connect(
            destination.url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="placemat observe",
            options="-c statement_timeout=5s",
        ) as connection:
            prepared = connection.execute(_PREPARED).fetchone()
            if prepared is None or not prepared[0]:
                return {}
            rows = connection.execute(f"{_READ} AND {_TAKEN}".encode(), {"source": destination.source}).fetchall()
    except psycopg.Error as error:
        raise Unavailable(f"target {destination.name} does not answer") from error
    return {row[0]: Pin(*row[1:]) for row in rows}
