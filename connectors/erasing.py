"""What a hub offers to those who erase a person's values: what is kept beside one row, told and erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Held:
    """How much of what a hub keeps of one row holds values that can be erased."""

    conflicts: int = 0
    """Conflicts that were met."""
    decisions: int = 0
    """Of people."""
    deleted_rows: int = 0
    """1: the row is gone, and what it held last is kept."""
    links: int = 0
    """What is kept of the row in spokes that are none any more: nothing moves that."""
    kept: list[str] = field(default_factory=list)
    """Spokes that have the row, as far as their streams have told: what is kept of it stays as long as they have."""
    there: bool = False
    """Whether the hub has the row."""
    waiting: int | None = None
    """The number of a conflict that waits for a person, who needs its values."""

    @property
    def count(self) -> int:
        return self.conflicts + self.decisions + self.deleted_rows + self.links


class Erasing(Protocol):
    """One hub. Nothing is erased before `commit`; every method raises Unavailable when the hub does not answer, and
    TryAgain when it is busy."""

    hub: str
    former: bool
    """It is a hub no more by the configuration: its tables still hold what they held."""

    def key_like(self, table: str) -> str | None:
        """A key of this table; None: the hub keeps nothing of it."""

    def spokes_with(self, table: str, key: str) -> list[str]:
        """Spokes that had the row, by now or once; by its record key."""

    def look(self, table: str, key: str, seconds: float) -> Held:
        """What is kept of a row, by its record key. Nobody else changes that until `commit` or `close`.

        The hub's own stream has to have told whether the row is there, and is waited for so long; else TryAgain.
        """

    def erase(self) -> None:
        """What was looked at goes, but for what waits or belongs to a row that is there."""

    def commit(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hubs:
    """All databases of the configuration. `hubs` can be asked, former ones too; `closed` may keep something and cannot:
    why not, by name; of those in `empty` it is known that they keep nothing."""

    hubs: Sequence[Erasing] = ()
    closed: Mapping[str, str] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
