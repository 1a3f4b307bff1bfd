"""The parked keys of a target, for the operator's verbs."""

from __future__ import annotations

from typing import Any

import psycopg

from connectors.postgres import bookkeeping
from connectors.postgres.bookkeeping import ParkedEvent, ParkedKey, Request
from connectors.pushing import Backlogged


class DeadLetters:
    """One target's parked keys of one source, over an open connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], target: str, source: str) -> None:
        self._connection = connection
        self._target = target
        self._source = source

    def count(self) -> int:
        """How many keys are parked; 0 where nothing was ever prepared."""
        return bookkeeping.count_parked(self._connection, self._source)

    def backlog(self) -> Backlogged | None:
        """What a service has yet to be told; None: this is none, or nothing was ever prepared."""
        return None

    def parked(self) -> list[ParkedKey]:
        """Every parked key, oldest first. Raises OperatorError when the target is not prepared."""
        with bookkeeping.prepared(self._target):
            return bookkeeping.list_parked(self._connection, self._source)

    def holds(self, table: str, key: str) -> int | None:
        """The number of a parked key behind which events wait; None: none do."""
        return bookkeeping.parked_with_events(self._connection, self._source, table, key)

    def queue(self, parked_id: int) -> list[ParkedEvent]:
        """The events that wait behind one key, in order."""
        with bookkeeping.prepared(self._target):
            return bookkeeping.read_queue(self._connection, parked_id)

    def wanted(self, _parked_id: int) -> str | None:
        """Of a service's key, the row as it is to be there, as JSON; None: none, or this is no service."""
        return None

    def ask(self, ids: list[int], request: Request) -> list[int]:
        """Leave a request for the worker; returns the ids that are parked."""
        with bookkeeping.prepared(self._target):
            return bookkeeping.ask(self._connection, ids, request, self._connection.info.user)
