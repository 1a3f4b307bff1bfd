"""What a mirror tells the audit log of rows without an event of their own at that moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from connectors.contract import Destination
from connectors.postgres.bookkeeping import MAIN_LANE
from schemas import outbox
from schemas.outbox import Change, Outbox

_TELL = """
INSERT INTO placemat.outbox (source, lane, ends_from, events)
SELECT %s, %s, coalesce(max(transactions_offset), 0), %s FROM placemat.lanes WHERE source = %s AND lane = %s
"""


def tell_changes(connection: psycopg.Connection[Any], destination: Destination, changes: Sequence[Change]) -> None:
    """In the open transaction, where the target is audited. Raises psycopg.Error."""
    if destination.audited:
        content = outbox.encode(Outbox([], list(changes))).decode()
        source = destination.source
        connection.execute(_TELL, [source, MAIN_LANE, content, source, MAIN_LANE])
