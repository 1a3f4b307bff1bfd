"""The topics that the target's stored offsets belong to: a topic of the same name may be another one by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from connectors.contract import Pin

_FORGET = """
DELETE FROM placemat.pins WHERE source = %(source)s
AND NOT EXISTS (SELECT FROM placemat.offsets WHERE source = %(source)s)
AND NOT EXISTS (SELECT FROM placemat.lanes WHERE source = %(source)s AND transactions_offset > 0)
"""
_PIN = """
INSERT INTO placemat.pins (source, topic, cluster_id, topic_id, partitions) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (source, topic) DO NOTHING
"""
_READ = "SELECT topic, cluster_id, topic_id, partitions FROM placemat.pins WHERE source = %s"


def pin(connection: psycopg.Connection[Any], source: str, found: Mapping[str, Pin]) -> dict[str, Pin]:
    """Pin topics that are not pinned, or all of them where nothing has been taken yet; all that is pinned then."""
    connection.execute(_FORGET, {"source": source})
    with connection.cursor() as cursor:
        rows = [(source, topic, one.cluster_id, one.topic_id, one.partitions) for topic, one in found.items()]
        cursor.executemany(_PIN, rows)
    return {row[0]: Pin(*row[1:]) for row in connection.execute(_READ, [source])}
