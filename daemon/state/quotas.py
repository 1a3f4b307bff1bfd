"""What the connections to services have used of their quotas, for all processes together, by the database's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import sqlalchemy

from connectors.http.quota import Window
from daemon.state.connection_row import locked
from daemon.state.engine import FROZEN_SECONDS
from schemas import tables

T = TypeVar("T")


class Quotas:
    """A `QuotaStore` (`connectors/http/pacing.py`): one row for each connection."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine

    def change(self, connection: str, change: Callable[[Window, float], T]) -> T:
        with locked(self._engine, tables.quotas, connection, FROZEN_SECONDS) as row:
            window = msgspec.convert(row.found.used, Window, strict=False)
            found = change(window, row.clock)
            row.write(used=msgspec.to_builtins(window, str_keys=True))
            return found
