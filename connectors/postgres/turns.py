"""Who writes now: the live worker's transactions share a lock of the target, which a replay's takes for itself.

Both take it first of all, so neither ever waits for the other with a row in hand.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg

from connectors.contract import Destination

ORIGIN_PREFIX = "placemat.origin"
LOCK_CLASS = 0x706C6163
"""First of the two numbers of the advisory lock; the second tells sources apart."""

_BEGIN = f"SELECT %s({LOCK_CLASS}, hashtext(%%s)), pg_logical_emit_message(true, %%s, %%s)"
_LIVE = (_BEGIN % "pg_advisory_xact_lock_shared").encode()
_ALONE = (_BEGIN % "pg_advisory_xact_lock").encode()


def origin(destination: Destination) -> str:
    """What the mark of a transaction says."""
    return json.dumps({"origin": destination.source, "target": destination.name})


def begin_live(connection: psycopg.Connection[Any], source: str, mark: str) -> None:
    """First statement of a live transaction: wait for a replay that is writing, and mark what follows as ours."""
    connection.execute(_LIVE, [source, ORIGIN_PREFIX, mark])


def begin_alone(connection: psycopg.Connection[Any], source: str, mark: str) -> None:
    """First statement of a replay's transaction: the live worker has none from now on until this one ends."""
    connection.execute(_ALONE, [source, ORIGIN_PREFIX, mark])
