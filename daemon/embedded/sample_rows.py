"""A sample in the making: its random source, and the keys that later rows refer to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TypeVar
from uuid import UUID

EPOCH = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
SECONDS = 300 * 86_400

T = TypeVar("T")
Row = Mapping[str, object]
"""Column name to value; all rows of a table have the same columns."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table, at least one."""

    table: str
    rows: Sequence[Row]


@dataclass(slots=True)
class Sample:
    """Rows are built one after the other for a current workspace, so that all they refer to is in it too."""

    rng: Random
    workspaces: list[UUID] = field(default_factory=list)
    workspace: UUID = field(init=False)
    keys: defaultdict[tuple[str, UUID], list[UUID]] = field(default_factory=lambda: defaultdict(list))

    def build(self, table: str, count: int, build: Callable[[Sample, int], Row]) -> Rows:
        """Rows with a key, a workspace and times around what `build` says of the n-th."""
        return Rows(table, [self.complete(table, n, build) for n in range(count)])

    def complete(self, table: str, n: int, build: Callable[[Sample, int], Row]) -> Row:
        self.enter_workspace(n)
        key, created = self.new_key(table), self.moment()
        own = {"id": key, "workspace_id": self.workspace, "created_at": created, "updated_at": created}
        return own | dict(build(self, n))

    def enter_workspace(self, n: int) -> None:
        """Each workspace in turn first, so that none is without rows; then at random."""
        self.workspace = self.workspaces[n] if n < len(self.workspaces) else self.rng.choice(self.workspaces)

    def new_key(self, table: str) -> UUID:
        key = random_uuid(self.rng)
        self.keys[table, self.workspace].append(key)
        return key

    def pick(self, table: str) -> UUID:
        return self.rng.choice(self.keys[table, self.workspace])

    def maybe(self, value: T, chance: float = 0.7) -> T | None:
        return value if self.rng.random() < chance else None

    def moment(self) -> datetime:
        return EPOCH + timedelta(seconds=self.rng.randrange(SECONDS), microseconds=self.rng.randrange(1_000_000))

    def day(self) -> date:
        return self.moment().date()

    def dollars(self, low: int, high: int) -> Decimal:
        return Decimal(self.rng.randrange(low * 100, high * 100)) / 100


def random_uuid(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)
