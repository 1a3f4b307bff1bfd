"""Times as Notion takes and shows them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import Date


def minute(at: datetime) -> datetime:
    """Notion, pages: what is shown of a page's times is rounded down."""
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def shown(at: datetime) -> str:
    return minute(at).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def exact(at: datetime) -> str:
    """As webhooks have it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def moment(text: str) -> datetime | date | None:
    """A day or a time of ISO 8601; a time without a zone is one of UTC. None where it is neither."""
    try:
        if len(text) == len("2026-01-01"):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def start_of(at: datetime | date) -> datetime:
    return at if isinstance(at, datetime) else datetime.combine(at, time(), UTC)


def read_date(given: Given) -> Date:
    """Notion, property values: `{start, end?, time_zone?}`. With a zone, both are local times without an offset."""
    fields = given.fields("start", "end", "time_zone")
    zone = _zone(fields["time_zone"])
    start = _normal(fields["start"], zone)
    end = _normal(fields["end"], zone) if fields["end"].defined and fields["end"].value is not None else None
    if end is not None:
        first, last = moment(start), moment(end)
        if first is None or last is None or (len(start) == 10) != (len(end) == 10):
            raise fields["end"].refuse("of the same precision as start")
        if start_of(last) < start_of(first):
            raise fields["end"].refuse("on or after start")
    return Date(start, end, zone.key if zone else None)


def _zone(given: Given) -> ZoneInfo | None:
    if not given.defined or given.value is None:
        return None
    try:
        return ZoneInfo(given.text())
    except (ZoneInfoNotFoundError, ValueError):
        raise given.refuse("a valid time zone") from None


def _normal(given: Given, zone: ZoneInfo | None) -> str:
    text = given.text()
    found = moment(text)
    if found is None:
        raise given.refuse("a valid ISO 8601 date string")
    if not isinstance(found, datetime):
        return text
    if zone is not None:
        local = datetime.fromisoformat(text)
        if local.tzinfo is not None:
            raise given.refuse("without a UTC offset when time_zone is given")
        found = local.replace(tzinfo=zone)
    return found.isoformat(timespec="milliseconds")
