"""New values for fields of the domain, each another than all before it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from daemon.embedded import sample_text as text

FIELDS = {
    "storytellers": ("name", "cultural_background", "bio", "metadata"),
    "stories": ("title", "content", "themes", "metadata"),
    "story_media": ("caption", "url", "width", "metadata"),
    "projects": ("name", "area", "lead", "budget"),
}
"""What people change, by table."""


class Values:
    """Seeded, as `rng` is."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._made = 0

    def value(self, field: str, base: Any) -> Any:
        """For a field that holds `base`."""
        self._made += 1
        match field:
            case "themes":
                return self.themes(base or ())
            case "metadata":
                return {"edited": self._made, "by": text.full_name(self._rng)}
            case "width":
                return 10_000 + self._made
            case "budget":
                return Decimal(self._made) + Decimal(self._rng.randrange(100)) / 100
            case "bio" | "content":
                return f"{text.paragraph(self._rng)} ({self._made})"
            case _:
                return f"{text.title(self._rng)} ({self._made})"

    def themes(self, base: Sequence[str]) -> list[str]:
        """One more, and one of those that are there less."""
        kept = list(base)
        if kept:
            kept.remove(self._rng.choice(kept))
        return [*kept, f'{self._rng.choice(text.THEMES)}, "{self._made}"']
