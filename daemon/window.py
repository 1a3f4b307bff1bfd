"""A window of the day, such as `22:00-05:00 Australia/Brisbane`: by the wall clock of its zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) (\S+)")


@dataclass(frozen=True, slots=True)
class Window:
    """From `opens` until before `closes`; it wraps around midnight when it closes earlier than it opens."""

    opens: time
    closes: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when the text is no window."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a window such as 22:00-05:00 Australia/Brisbane")
        *numbers, zone = found.groups()
        opens_hour, opens_minute, closes_hour, closes_minute = map(int, numbers)
        opens, closes = time(opens_hour, opens_minute), time(closes_hour, closes_minute)
        if opens == closes:
            raise ValueError(f"{text!r} opens when it closes")
        try:
            return cls(opens, closes, ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{text!r}: there is no time zone {zone}") from None

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at an aware time."""
        wall = at.astimezone(self.zone).time()
        if self.opens < self.closes:
            return self.opens <= wall < self.closes
        return wall >= self.opens or wall < self.closes

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M} {self.zone.key}"
