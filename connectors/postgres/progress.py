"""How far a target is, read again and again over one connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from connectors.errors import Unavailable
from connectors.postgres import bookkeeping
from connectors.pushing import Backlogged

CONNECT_TIMEOUT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Next offsets by topic and partition, the main lane's place, parked keys, and tables that are not in that lane."""

    offsets: Mapping[tuple[str, int], int]
    transactions_offset: int
    timeline: int
    commit_lsn: int
    parked: int
    paused: frozenset[str]
    backlog: Backlogged | None = None
    """Of a service, what it has yet to be told."""


class ProgressReader:
    """Call it for the progress of a source's changes in the target; not shared by threads."""

    def __init__(self, url: str, source: str) -> None:
        self._url = url
        self._source = source
        self._connection: psycopg.Connection[Any] | None = None

    def __call__(self) -> Progress | None:
        """None before the target's worker has ever started. Raises Unavailable when the target does not answer."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    application_name="placemat observe",
                    options="-c statement_timeout=5s -c datestyle=ISO",
                )
            return self._read(self._connection)
        except psycopg.Error as error:
            self.close()
            raise Unavailable("the target does not answer") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self, connection: psycopg.Connection[Any]) -> Progress | None:
        # One transaction, so that offsets and lane are of the same commit.
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = connection.execute("SELECT to_regclass('placemat.lanes') IS NOT NULL").fetchone()
            if row is None or not row[0]:
                return None
            lanes = bookkeeping.read_lanes(connection, self._source)
            main = next((lane for lane in lanes if lane.lane == bookkeeping.MAIN_LANE), None)
            if main is None:
                return None
            offsets = bookkeeping.read_offsets(connection, self._source)
            parked = bookkeeping.count_parked(connection, self._source)
        return Progress(
            {(offset.topic, offset.partition): offset.next_offset for offset in offsets},
            main.transactions_offset,
            main.timeline,
            main.commit_lsn,
            parked,
            frozenset(lane.lane for lane in lanes) - {bookkeeping.MAIN_LANE},
        )
