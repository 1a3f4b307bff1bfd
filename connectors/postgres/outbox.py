"""What a target has told of its events and nobody has written down elsewhere yet: read in order, and then deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from connectors.contract import OutboxLag, OutboxRow
from connectors.errors import Unavailable
from connectors.postgres.bookkeeping import prepared
from connectors.postgres.session import CONNECT_TIMEOUT_SECONDS

_READ = "SELECT id, lane, ends_from, at, events FROM placemat.outbox WHERE source = %s ORDER BY id LIMIT %s"
_DELETE = "DELETE FROM placemat.outbox WHERE id = ANY (%s)"
_LAG = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8
FROM placemat.outbox WHERE source = %s
"""


class PostgresOutbox:
    """See `connectors.contract.Outbox`."""

    def __init__(self, url: str, target: str, source: str) -> None:
        self._url = url
        self._target = target
        self._source = source
        self._connection: psycopg.Connection[Any] | None = None

    def read(self, limit: int) -> list[OutboxRow]:
        return [OutboxRow(*row) for row in self._execute(_READ, [self._source, limit]).fetchall()]

    def delete(self, ids: Sequence[int]) -> None:
        if ids:
            self._execute(_DELETE, [list(ids)])

    def lag(self) -> OutboxLag:
        [(rows, seconds)] = self._execute(_LAG, [self._source]).fetchall()
        return OutboxLag(rows, max(0.0, seconds))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _execute(self, query: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        try:
            with prepared(self._target):
                return self._open().execute(query.encode(), values)
        except psycopg.Error as error:
            self.close()
            raise Unavailable(f"target {self._target} does not answer") from error

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=f"placemat audit {self._target}",
                options="-c statement_timeout=30s -c timezone=UTC -c datestyle=ISO",
                keepalives_idle=10, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=20_000,
            )  # fmt: skip
        return self._connection
