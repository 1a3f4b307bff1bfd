"""`[sources.NAME]`: a database whose changes are captured, and how its tables are copied."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from daemon.config.masking import Mask
from daemon.config.section import Section, TableName
from daemon.window import Window


def _window(text: str) -> str:
    Window.parse(text)
    return text


class Snapshot(Section):
    """Copies of tables, beside the stream."""

    chunk_rows: int = Field(1_000, ge=1, le=100_000, description="Most rows read by one SELECT.")
    chunk_bytes: int = Field(
        8 * 1024 * 1024, ge=65_536, description="Most bytes read by one SELECT, but for its last row."
    )
    tables: int = Field(2, ge=1, le=16, description="Tables copied at the same time; a connection each, and one more.")
    rows_per_second: int | None = Field(None, ge=1, description="Most rows copied in a second, all tables together.")
    window: Annotated[str, AfterValidator(_window)] | None = Field(
        None, description="Copy only then, such as 22:00-05:00 Australia/Brisbane. What targets wait for is not held."
    )


class Source(Section):
    """A PostgreSQL database whose changes are captured."""

    url: SecretStr = Field(description="PostgreSQL URL of the direct host; poolers cannot replicate.")
    restore_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of a role that may write rows back; else that of the target of the same name."
    )
    slot: str = Field("placemat", pattern=r"^[a-z0-9_]{1,63}$", description="Replication slot.")
    publication: str = Field("placemat", min_length=1, max_length=63)
    tables: tuple[TableName, ...] = Field(min_length=1, description="Tables to capture, as schema.table.")
    snapshot: Snapshot = Snapshot()
    masks: dict[TableName, dict[str, Mask]] = Field(
        default_factory=dict, description="By table, columns whose clear values never reach Kafka."
    )
    flush_interval_seconds: float = Field(0.5, gt=0, description="Longest time before progress is stored and told.")
    idle_flush_interval_seconds: float = Field(
        10, gt=0, description="The same where nothing is captured: storing may itself write to the captured server."
    )
    queue_bytes: int = Field(16 * 1024 * 1024, ge=1_048_576, description="Most bytes on their way to Kafka.")
    check_interval_seconds: float = Field(10, gt=0, description="Between two looks for gaps while capture runs.")
    session_timeout_seconds: float = Field(3, ge=0.5, description="After this silence another capture takes over.")
    wal_warning_minutes: float = Field(60, ge=0, description="Warn when the slot is lost in less than this.")
    wal_alert_minutes: float = Field(15, ge=0, description="Call it an error when the slot is lost in less than this.")
