"""How many requests are let through (Notion: request limits): by connection, by workspace, by endpoint, and a block."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from datetime import datetime

from connectors.notion.simulator.errors import throttled
from connectors.notion.simulator.settings import Settings

CONNECTION = "public_api_request_rate_limit"
WORKSPACE = "public_api_space_request_rate_limit"
BLOCKED = "public_api_request_blocked"


class Rates:
    """Requests that were let through count, those that were refused do not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._passed: defaultdict[str, deque[float]] = defaultdict(deque)
        self.blocked = False
        """Whether all requests are refused until a person at Notion lifts it."""

    def clear(self) -> None:
        """As if nothing had been asked yet."""
        self._passed.clear()

    def admit(self, connection: str, route: str, now: datetime) -> None:
        """Raises ApiError 429 where a limit is reached."""
        if self.blocked:
            raise throttled(BLOCKED, None)
        settings, at = self._settings, now.timestamp()
        limits: list[tuple[str, int | None, str]] = [
            (f"connection {connection}", settings.connection_per_minute, CONNECTION),
            (f"endpoint {connection} {route}", settings.endpoint_per_minute.get(route), CONNECTION),
            ("workspace", settings.workspace_per_minute, WORKSPACE),
        ]
        for name, most, reason in limits:
            wait = 0 if most is None else self._wait(self._passed[name], most, at)
            if wait > 0:
                raise throttled(reason, math.ceil(wait))
        for name, most, _ in limits:
            if most is not None:
                self._passed[name].append(at)

    def _wait(self, passed: deque[float], most: int, at: float) -> float:
        """Seconds until one more may pass, 0 for now. The window slides, or starts anew with its first request."""
        window = self._settings.window
        if self._settings.fixed_window:
            if passed and at - passed[0] >= window:
                passed.clear()
        else:
            while passed and at - passed[0] >= window:
                passed.popleft()
        return passed[0] + window - at if len(passed) >= most else 0
