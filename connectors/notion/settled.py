"""Whether a page was read when nobody could edit it any more within the minute that it tells, by Notion's own clock.

Polls tell the pages of the last busy minutes again and again, and a long one costs further requests each time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from connectors.http.outcome import Answered
from connectors.service import Remote

AFTER = timedelta(minutes=5)
"""Since the begin of the minute: a query may lag behind, and show an earlier edit of it."""


def settled(edited: str) -> str:
    """The version of a page that was read so long after that."""
    return f"{edited} settled"


def dated(remote: Remote, answer: Answered) -> Remote:
    """As an answer tells it, which says when it was given."""
    try:
        told = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return remote
    if told.tzinfo is None or told < datetime.fromisoformat(remote.version) + AFTER:
        return remote
    return replace(remote, version=settled(remote.version))
