"""`[targets.NAME]`: a database that changes are applied to, and what guards it from deletes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from connectors.contract import DeleteLimit
from connectors.route.masks import Scalar
from daemon.config.route import Route
from daemon.config.section import InstanceName, Section, TableName


class DeleteGuard(Section):
    """How much of a table may be deleted at a target before an operator is asked."""

    enabled: bool = Field(True, description="false: whatever is deleted at the source is deleted here.")
    share: float = Field(0.1, gt=0, le=1, description="Most of a table's rows that go unasked; 1 is all of them.")
    least: int = Field(100, ge=1, description="Fewer rows than this are never asked about.")
    hours: float = Field(1, gt=0, le=168, description="Deletes of so many hours count together.")

    @property
    def limit(self) -> DeleteLimit | None:
        return DeleteLimit(self.share, self.least, self.hours) if self.enabled else None


class Target(Section):
    """A PostgreSQL database that changes are applied to."""

    kind: str = Field("postgres", pattern="^postgres$", description="What the target is.")
    url: SecretStr = Field(description="PostgreSQL URL of the target.")
    source: InstanceName = Field("primary", description="The source whose changes come here.")
    tables: dict[TableName, Route] = Field(
        default_factory=dict,
        description="Routed tables; the order does not matter. Those that come back both ways need not be named.",
    )
    skew_seconds: float = Field(2, ge=0, description="Edits nearer in time than this are a tie, which the hub wins.")
    session_timeout_seconds: float = Field(6, ge=1, description="After this silence another worker takes over.")
    check_interval_seconds: float = Field(10, gt=0, description="Between two looks for gaps while it applies.")
    auto_ddl: Literal["off", "additive"] = Field(
        "off", description="additive: columns that are added at the source are added here too; off: the table pauses."
    )
    delete_guard: DeleteGuard = DeleteGuard()
    batch_rows: int = Field(500, ge=1, description="Most rows of one write; transactions are never split by it.")
    buffer_bytes: int = Field(4 * 1024 * 1024, ge=1_048_576, description="Most bytes read ahead of the merge.")

    def comes_back_from(self, table: str) -> str:
        """Of a routed table that goes both ways, the table here that is captured."""
        return self.tables[table].table or table

    def tells_time(self, route: Route) -> str | None:
        """The column here that says when a row was changed."""
        return None if route.updated_at is None else route.columns.get(route.updated_at, route.updated_at)

    def given_to(self, _table: str) -> Mapping[str, Scalar]:
        """Values that rows which were made here are given at the hub, beside what comes from here."""
        return {}

    @property
    def needed(self) -> list[str]:
        """Every table whose changes are read: those that are routed, and those that their conditions name."""
        named = (parent.table for route in self.tables.values() for parent in route.referred().values())
        return list(dict.fromkeys((*self.tables, *named)))
