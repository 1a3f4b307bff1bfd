"""The mirror of a service whose records are given the keys of the hub's rows (`connectors.fetching.Linked`)."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from connectors.errors import OperatorError
from connectors.fetching import Adopted
from connectors.postgres.mirror.fetch_store import FetchStore
from connectors.postgres.mirror.stray_store import READ
from connectors.pushing import Key, Seen

_FORGET = "DELETE FROM placemat.remotes WHERE table_name = %s AND remote_id = %s RETURNING key"
_ADOPT = """
INSERT INTO placemat.remotes AS r (table_name, key, remote_id, keyed, read_at)
VALUES (%s, %s, %s, false, to_timestamp(%s / 1000000.0))
ON CONFLICT (table_name, key) DO UPDATE SET remote_id = EXCLUDED.remote_id, version = NULL, sent = NULL, state = NULL,
    alive = true, keyed = false, read_at = EXCLUDED.read_at, claim_due = NULL
WHERE r.remote_id IS NULL
"""


class LinkStore(FetchStore):
    """See `connectors.fetching.Linked`."""

    def adopt(self, adopted: Sequence[Adopted]) -> None:
        with self._session.transaction() as connection:
            for one in adopted:
                known = connection.execute(_FORGET, [one.key.table, one.remote_id]).fetchone()
                if known is not None:
                    self._session.seen.write(Key(one.key.table, known[0]), Seen(None))
                    connection.execute(READ, [one.key.table, one.remote_id])
            for one in adopted:
                self._adopt(connection, one)

    def _adopt(self, connection: psycopg.Connection[object], one: Adopted) -> None:
        done = connection.execute(_ADOPT, [*one.key, one.remote_id, one.edited])
        if done.rowcount == 0:
            raise OperatorError(
                f"Row {one.key.text} of {one.key.table} has another record in {self._name} by now.",
                "Run placemat link again: it reads both sides anew.",
            )
