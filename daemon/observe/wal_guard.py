"""How long a slot lasts: what may still be written before the server drops its log, at the rate of now.

Source: PostgreSQL documentation, `pg_replication_slots.safe_wal_size` and `max_slot_wal_keep_size`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

WINDOW_SECONDS = 60.0
SETTLED_SECONDS = 10.0
"""A rate of less time than this says nothing: one burst would look like a slot about to be lost."""


class Level(IntEnum):
    """How urgent it is."""

    FINE = 0
    WARNING = 1
    ALERT = 2


@dataclass(frozen=True, slots=True)
class Keep:
    """What a server keeps for a slot, in bytes; `limit_bytes` and `safe_bytes` are None where nothing limits it."""

    limit_bytes: int | None
    safe_bytes: int | None
    wal_status: str | None

    def __str__(self) -> str:
        if self.wal_status == "lost":
            return "the slot is lost"
        if self.limit_bytes is None:
            return "the server keeps WAL without a limit (max_slot_wal_keep_size = -1): its disk can fill"
        safe = "" if self.safe_bytes is None else f", {in_units(max(0, self.safe_bytes))} of it left"
        return f"the server keeps {in_units(self.limit_bytes)} of WAL for the slot (max_slot_wal_keep_size){safe}"


class Rate:
    """Bytes of WAL a second, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def feed(self, now: float, lsn: int) -> float | None:
        """Note where the log ends now, in seconds of any clock; the rate, once it has settled."""
        self._seen.append((now, lsn))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()
        since, first = self._seen[0]
        return (lsn - first) / (now - since) if now > since and now - since >= SETTLED_SECONDS else None


def seconds_left(safe_bytes: int | None, rate: float | None) -> float | None:
    """None where nothing limits the slot, or nothing is written."""
    if safe_bytes is None or not rate:
        return None
    return max(0.0, safe_bytes / rate)


def level(keep: Keep, seconds: float | None, warning_minutes: float, alert_minutes: float) -> Level:
    """`unreserved` means that the next checkpoint may lose the slot."""
    if keep.wal_status in ("unreserved", "lost") or (seconds is not None and seconds < alert_minutes * 60):
        return Level.ALERT
    if seconds is not None and seconds < warning_minutes * 60:
        return Level.WARNING
    return Level.FINE


def in_units(size: int) -> str:
    """`1.5 GB`, as PostgreSQL's settings count."""
    value, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or value == int(value) else f"{value:.1f} {units[0]}"
