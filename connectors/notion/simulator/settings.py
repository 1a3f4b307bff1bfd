"""What the simulator keeps to, and the switches for what Notion's documentation leaves open (marked [?])."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

Clock = Callable[[], datetime]
"""The time now, with its zone."""


def machine_clock() -> datetime:
    return datetime.now(UTC)


class ManualClock:
    """A clock that stands until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are in seconds, sizes in bytes. The first part is documented, the second is open and runs both ways."""

    seed: int = 1
    versions: tuple[str, ...] = ("2025-09-03", "2026-03-11")
    """Notion, versioning: those that know data sources."""
    connection_per_minute: int = 180
    """Notion, request limits; 600 on larger plans."""
    workspace_per_minute: int | None = None
    """Notion, request limits: shared by all connections; how many is not told."""
    endpoint_per_minute: Mapping[str, int] = field(default_factory=dict)
    """Notion, request limits: some endpoints have their own, by the route's name (`create_page`)."""
    window: float = 60
    query_rows: int = 10_000
    """Notion, query a data source: a query ends there, and only `request_status` tells."""
    block_limit: int | None = None
    """Notion, request limits: 1,000 blocks for ever on a free workspace with several members."""
    body_bytes: int = 500_000
    text_length: int = 2000
    items: int = 100
    url_length: int = 2000
    contact_length: int = 200
    blocks: int = 1000
    references: int = 25
    """Notion, property items: longer values are cut off in page objects."""
    webhook_delay: float = 30
    """Notion, webhooks: under a minute as a rule, five at most."""
    webhook_retries: tuple[float, ...] = (60, 300, 1800, 3600, 10_800, 21_600, 43_200)
    """Waits before the attempts 2 to 8, a day in all."""

    query_lag: float = 0
    """[?] How long queries see pages as they were before a write, and new ones not at all."""
    formulas_move_time: bool = False
    """[?] Notion, property items: whether a formula's new result is an edit."""
    fixed_window: bool = False
    """[?] whether the minute starts anew as a whole, or slides."""
    equal_write_moves_time: bool = True
    """[?] whether writing what is there already is an edit."""
    restore_with_edits: bool = False
    """[?] whether one request may restore a page and edit it."""
    utf16_lengths: bool = True
    """[?] whether 2,000 characters are UTF-16 code units."""
    merges_text: bool = False
    """[?] whether neighbouring pieces of text with one look come back as one."""
    cuts_text: Literal["items", "mentions"] = "items"
    """[?] what the 25 of a text count: its pieces, or only the pages and people mentioned in it."""
    relation_tells_more: bool = False
    """[?] whether a page object has `has_more` beside a relation; the vendor's types do not."""
    missing_relation: Literal[400, 404] = 404
    """[?] what a relation to a page that is not there is answered."""
    status_default: bool = False
    """[?] whether a page that is made without a status gets the first one."""
    old_refresh_token_works: bool = False
    """[?] whether a refresh token works on after its rotation."""
    move_is_edit: bool = False
    """[?] whether a page that is moved to another database counts as edited."""
    title_is_content: bool = False
    """[?] whether an edit of the title is told as one of the content."""
    sends_no_events_of_own: bool = False
    """[?] whether a connection's own writes send it no webhooks."""
