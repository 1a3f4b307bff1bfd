"""`[audit]`: the record, its signature and its sealed months."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from daemon.config.section import Section
from schemas.topics import AUDIT_TOPIC


class Audit(Section):
    """The record of what became of every change, and of what operators did."""

    enabled: bool = Field(True, description="Off: nothing is recorded, neither here nor in the targets.")
    signing_key: Path | None = Field(
        None, description="File with the key that signs the chain, made by placemat audit key; kept off the database."
    )
    public_key: str | None = Field(
        None, description="Public half of that key, for verify where the private one is not at hand."
    )
    topic: str = Field(
        AUDIT_TOPIC, pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Kafka's copy of the heads; one for each daemon."
    )
    publish_seconds: float = Field(
        10, gt=0, le=3_600, description="A head of the log goes to Kafka so often, while entries come."
    )
    checkpoint_entries: int = Field(1_000, ge=1, description="Most entries from one checkpoint to the next.")
    checkpoint_seconds: float = Field(60, gt=0, description="Longest time before new entries get a checkpoint.")
    segments: Path | None = Field(None, description="Directory for the files of sealed months.")
    retention_months: int | None = Field(None, ge=1, description="Seal months that are older; none are when not set.")
