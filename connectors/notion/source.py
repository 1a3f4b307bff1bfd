"""Notion as a service that is asked what has changed (`connectors.service.Polled`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors.errors import OperatorError
from connectors.http.outcome import Answered
from connectors.notion.settled import dated, settled
from connectors.notion.sink import NotionService
from connectors.service import Exhausted, Knows, Page, Pages, Remote, Settled, Written, nothing_known

SINCE = "%Y-%m-%dT%H:%M:00.000Z"
"""Edits are told by the minute (Notion: pages): what was edited in this one may come again, and never is left out."""


MOST_UNREAD = 3
"""More pages of one answer that cannot be read whole: it is Notion, and none of them."""
EDITED, MADE = "last_edited_time", "created_time"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing goes on: first what is there, then what is in the trash. `asked` is the minute from which on
    edits are asked for, "" for all; `since` that of this query, `next` Notion's own cursor, `last` the last minute that
    it has told, of `time`. `trashed`: what is in the trash is listed too. `other`: it goes by another time than it had
    begun with, as too many have the same one of that."""

    asked: str
    since: str
    trash: bool = False
    next: str | None = None
    last: str = ""
    time: str = EDITED
    trashed: bool = True
    other: bool = False


class NotionSource(NotionService):
    """Both ways: what is told, and what is asked."""

    def changed(self, table: str, since: int, cursor: str | None, knows: Knows = nothing_known) -> Pages:
        return self._listing(table, _from(_minute(since)) if cursor is None else _cursor(cursor), knows=knows)

    def listed(self, table: str, cursor: str | None) -> Pages:
        at = _from("", trashed=False) if cursor is None else _cursor(cursor)
        return self._listing(table, at, [self._entities[table].key.id])

    def _listing(
        self, table: str, at: Cursor, properties: Sequence[str] = (), knows: Knows = nothing_known
    ) -> Pages:  # fmt: skip
        source = self._entities[table].entity.data_source
        answer = self._sent(lambda: self._client.query(source, _body(at), properties))
        if not isinstance(answer, Answered):
            return self._unlisted(table, answer)
        remotes: list[Remote] = []
        unread: list[str] = []
        known = knows([page["id"] for page in answer.body["results"]])
        for page in answer.body["results"]:
            if _is_settled(page, known.get(page["id"])):
                continue  # polls tell the last minutes' pages again and again, and long ones cost requests each time
            found = self._whole(table, page, asked=not properties)
            if isinstance(found, Remote):
                remotes.append(dated(found, answer))
            elif isinstance(found, Exhausted) or found.seconds is not None or len(unread) == MOST_UNREAD:
                return found
            else:
                unread.append(page["id"])
        following = self._following(table, at, answer.body)
        return Page(remotes, None if following is None else orjson.dumps(asdict(following)).decode(), unread)

    def claim(self, table: str, remote_id: str, key: str) -> Written:
        properties = {self._entities[table].key.id: {"rich_text": [{"text": {"content": key}}]}}
        return self._written(table, lambda: self._client.update(remote_id, {"properties": properties}), remote_id)

    def _following(self, table: str, at: Cursor, body: Mapping[str, Any]) -> Cursor | None:
        last = at.last
        if body["results"]:
            last = str(body["results"][-1][at.time])
        if body.get("has_more") and body.get("next_cursor"):
            return replace(at, next=str(body["next_cursor"]), last=last)
        if (body.get("request_status") or {}).get("type") == "incomplete":
            # It stops at 10,000 rows as if there were no more (Notion: query a data source); the rest is asked for
            # from there on.
            if not last or last == at.since:
                if not at.other:  # an import, or somebody has edited all of them; the pages' other times are apart
                    time = EDITED if at.time == MADE else MADE
                    return replace(at, since="", next=None, last="", time=time, other=True)
                raise OperatorError(
                    f"More than 10,000 pages of {table} were made, and so many edited, in Notion within one minute"
                    f" ({last}), and Notion tells no more of them.",
                    "Edit some of them there once more, so that they have another time.",
                )
            return replace(at, since=last, next=None, last="")
        return _from(at.asked, trash=True) if at.trashed and not at.trash else None


def _from(minute: str, *, trash: bool = False, trashed: bool = True) -> Cursor:
    """Where a listing of what was edited since begins. All there is goes by when it was made, which nobody moves while
    it is listed."""
    return Cursor(minute, minute, trash, time=EDITED if minute else MADE, trashed=trashed)


def _body(at: Cursor) -> dict[str, Any]:
    body: dict[str, Any] = {
        "sorts": [{"timestamp": at.time, "direction": "ascending"}],
        "in_trash": at.trash,
    }
    if at.since:
        body["filter"] = {"timestamp": at.time, at.time: {"on_or_after": at.since}}
    return body if at.next is None else {**body, "start_cursor": at.next}


def _is_settled(page: Mapping[str, Any], known: Settled | None) -> bool:
    """Whether it was read as it is."""
    if known is None or known.alive == bool(page.get("in_trash")):
        return False
    return known.version == settled(page["last_edited_time"])


def _cursor(text: str) -> Cursor:
    return Cursor(**orjson.loads(text))


def _minute(since: int) -> str:
    return datetime.fromtimestamp(since / 1_000_000, UTC).strftime(SINCE) if since > 0 else ""
