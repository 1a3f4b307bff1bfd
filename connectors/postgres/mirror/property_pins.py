"""What fields of a service were found to be, kept in its mirror: by table and the configuration's name, an id there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import psycopg

NAME = "properties"
Pins = Mapping[str, Mapping[str, str]]

_READ = "SELECT state FROM placemat.cursors WHERE name = %s"
_STORE = """
INSERT INTO placemat.cursors (name, state) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET state = EXCLUDED.state, moved_at = clock_timestamp()
"""


def read(connection: psycopg.Connection[Any]) -> Pins:
    """As they were kept. Raises psycopg.Error."""
    row = connection.execute(_READ, [NAME]).fetchone()
    return {} if row is None else dict(orjson.loads(row[0]))


def keep(connection: psycopg.Connection[Any], pins: Pins) -> None:
    """In their place. Raises psycopg.Error."""
    connection.execute(_STORE, [NAME, orjson.dumps(pins, option=orjson.OPT_SORT_KEYS).decode()])
