"""Notion as a service that is told rows (`connectors.service.Service`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from connectors.errors import OperatorError, Unavailable
from connectors.http.client import TOO_LATE
from connectors.http.outcome import (
    Answered,
    Conflict,
    Exhausted,
    Forbidden,
    Gone,
    NotSent,
    Outcome,
    Rejected,
    Saved,
    Throttled,
    Unanswered,
    Unauthorized,
    Unknown,
)
from connectors.http.pacing import Interrupted, QuotaExhausted
from connectors.notion.client import PAGE_SIZE, NotionClient, item_values, schema
from connectors.notion.dialect import ARCHIVED
from connectors.notion.differing import changed, mismatch, shows_all
from connectors.notion.mapping import EntityMapping, bare
from connectors.notion.settled import dated
from connectors.notion.values import TEXTS, CannotHold
from connectors.service import Done, Found, InTheTrash, NotDone, Read, Refused, Remote, Rows, Search, Written
from connectors.service import Exhausted as Spent
from connectors.service import Gone as RecordGone
from connectors.service import Unknown as NobodyKnows
from schemas.resolution import Fields

SHOWN_ITEMS = 25
"""More of a property's items may not stand in a page (Notion: property items)."""
CANNOT_HOLD = "cannot_hold"
"""Our code for a value that no request was made for."""

INVALID = "validation_error"

log = structlog.get_logger(__name__)


class NotionService:
    """See `connectors.service.Service`. `entities` are by table; `bot` is the id of who we are there."""

    def __init__(
        self, client: NotionClient, entities: Mapping[str, EntityMapping], target: str, bot: str | None = None
    ) -> None:
        self._client = client
        self._entities = entities
        self._target = target
        self._bot = bot

    def room(self) -> NotDone | Spent | None:
        try:
            self._client.await_room()
        except QuotaExhausted as error:
            return Spent(str(error), error.until.timestamp())
        except Interrupted:
            return NotDone("the worker ends", paced=True)
        except Unavailable as error:
            return NotDone(str(error))
        return None

    def references(self, table: str, rows: Iterable[Fields]) -> set[tuple[str, str]]:
        return set(self._entities[table].references(rows))

    def shown(self, table: str, row: Fields, rows: Rows) -> Mapping[str, Any]:
        return self._entities[table].shown(row, rows)

    def read(self, table: str, remote_id: str) -> Read:
        found = self._sent(lambda: self._client.page(remote_id))
        if isinstance(found, Answered):
            moved = not self._entities[table].holds(found.body)
            return Done(None, found.ids.theirs) if moved else self._remote(table, found)
        if isinstance(found, Gone):
            return self._hidden(table) or Done(None, found.ids.theirs)
        return self._unread(found)

    def several(self, table: str, records: Mapping[str, str]) -> Search:
        entity = self._entities[table]
        keys = sorted(set(records.values()))
        remotes: list[Remote] = []
        for first in range(0, len(keys), PAGE_SIZE):
            wanted = [
                {"property": entity.key.id, "rich_text": {"equals": key}} for key in keys[first : first + PAGE_SIZE]
            ]
            body = {"filter": {"or": wanted}}
            answer = self._sent(lambda body=body: self._client.query(entity.entity.data_source, body))  # type: ignore[misc]
            if not isinstance(answer, Answered):
                return self._unlisted(table, answer)
            for page in answer.body["results"]:
                if page["id"] in records:
                    found = self._whole(table, page)
                    if isinstance(found, Spent):
                        return found
                    if isinstance(found, Remote):
                        remotes.append(found)
        return Found(remotes)

    def find(self, table: str, key: str) -> Search:
        entity = self._entities[table]
        wanted = {"property": entity.key.id, "rich_text": {"equals": key}}
        sorts = [{"timestamp": "created_time", "direction": "ascending"}]
        for trash in (False, True):
            body = {"filter": wanted, "sorts": sorts, "in_trash": trash}
            found = self._sent(lambda body=body: self._client.query(entity.entity.data_source, body))  # type: ignore[misc]
            if not isinstance(found, Answered):
                return self._look_again(table, found) or self._unlisted(table, found)
            if pages := found.body["results"]:
                remotes = [self._whole(table, page) for page in pages]
                if (failed := next((one for one in remotes if not isinstance(one, Remote)), None)) is not None:
                    return failed
                return Found(sorted((one for one in remotes if isinstance(one, Remote)), key=lambda one: one.created))
        return Found([])

    def create(self, table: str, key: str, row: Fields, rows: Rows, latest: float) -> Written:
        entity = self._entities[table]
        try:
            properties = entity.properties(row, rows)
        except CannotHold as error:
            return Refused(CANNOT_HOLD, str(error))
        properties[entity.key.id] = {"rich_text": [{"text": {"content": key}}]}
        return self._written(table, lambda: self._client.create(entity.entity.data_source, properties, latest))

    def update(
        self, table: str, remote_id: str, row: Fields, rows: Rows, _version: str | None, latest: float
    ) -> Written:
        try:
            properties = self._entities[table].properties(row, rows)
        except CannotHold as error:
            return Refused(CANNOT_HOLD, str(error))
        found = self._written(
            table, lambda: self._client.update(remote_id, {"properties": properties}, latest), remote_id
        )
        if isinstance(found, Refused) and self._left(table, remote_id):
            return RecordGone()
        return found

    def delete(self, table: str, remote_id: str, _version: str | None, latest: float) -> Written:
        """Notion puts a page into the trash wherever people have moved it: one that is not looked at before is now."""
        if not self._entities[table].entity.both_ways and self._left(table, remote_id):
            return RecordGone()
        return self._written(
            table, lambda: self._client.update(remote_id, {"in_trash": True}, latest, deletes=True), remote_id
        )

    def restore(self, table: str, remote_id: str, latest: float) -> Written:
        return self._written(table, lambda: self._client.update(remote_id, {"in_trash": False}, latest), remote_id)

    def _left(self, table: str, remote_id: str) -> bool:
        """Whether the page is in another data source by now, or nowhere; False where nobody can tell."""
        found = self.read(table, remote_id)
        return isinstance(found, Done) and found.remote is None

    # From outcomes

    def _sent(self, send: Callable[[], Outcome]) -> Outcome:
        """What has come of a request; what was not made at all is one that has come to nothing."""
        try:
            return send()
        except QuotaExhausted as error:
            return Exhausted(error.until)
        except Interrupted:
            return NotSent("the worker ends")
        except Unavailable as error:
            return NotSent(str(error))

    def _written(self, table: str, send: Callable[[], Outcome], remote_id: str = "") -> Written:
        found = self._sent(send)
        theirs = found.ids.theirs
        match found:
            case Answered() if not self._entities[table].holds(found.body):
                return RecordGone()
            case Answered():
                read = self._remote(table, found)
                return (
                    read
                    if isinstance(read, Done)
                    else NobodyKnows("it was done, and could not be read", found.body["id"])
                )
            case Unknown(reason=reason):
                return NobodyKnows(reason)
            case Saved(saved=saved):
                return NobodyKnows("Notion has saved it, and answered with an error", saved[0])
            case Rejected(code=code, message=message):
                return self._look_again(table, found) or Refused(code, message, theirs)
            case Gone(code=code) if code == ARCHIVED:
                return self._hidden(table) or InTheTrash()
            case Gone(code=code, message=message, missing=missing) if {*map(bare, missing)} - {bare(remote_id)}:
                # Another page that the request names; of a page that is to be made it may be the data source.
                return self._hidden(table) or Refused(code, message, theirs)
            case Gone():
                return self._hidden(table) or RecordGone()
            case _:
                return self._unread(found)

    def _look_again(self, table: str, found: Outcome) -> NotDone | Spent | None:
        """What Notion does not take may be so because people have changed the data source: no row can help that.

        Raises OperatorError, which names every difference.
        """
        if not (isinstance(found, Rejected) and found.code == INVALID):
            return None
        return self._check(table)

    def _check(self, table: str) -> NotDone | Spent | None:
        """None: the data source is what it was. Raises as `_look_again` does."""
        mapping = self._entities[table]
        answer = self._sent(lambda: self._client.data_source(mapping.entity.data_source))
        if not isinstance(answer, Answered):
            return self._unread(answer)
        sources = {name: one.entity.data_source for name, one in self._entities.items()}
        if wrong := changed(mapping, schema(answer), sources):
            raise mismatch(wrong, self._target)
        return None

    def _hidden(self, table: str) -> NotDone | Spent | None:
        """A page was not found: is it that page alone? None: its data source is there.

        Raises OperatorError when that is not, so that nobody takes what is not shared any more for deleted.
        """
        entity = self._entities[table].entity
        found = self._sent(lambda: self._client.data_source(entity.data_source))
        if isinstance(found, Answered) and not found.body.get("in_trash"):
            return None
        return self._unlisted(table, Gone("trashed", "") if isinstance(found, Answered) else found)

    def _unlisted(self, table: str, found: Outcome) -> NotDone | Spent:
        """As `_unread`, of a request for the data source itself."""
        if not isinstance(found, Gone):
            return self._unread(found)
        raise OperatorError(
            f"Notion shows target {self._target} nothing of {table} any more: its data source"
            f" {self._entities[table].entity.data_source} is not shared with the connection, or in the trash."
            " Nothing was taken for deleted.",
            "Share the database with the connection again, or take it out of the trash, and start the workers again;"
            " else take the entity out of the configuration.",
        )

    def _unread(self, found: Outcome) -> NotDone | Spent:
        """Nothing was carried out. Raises OperatorError where a person has to act over there."""
        match found:
            case NotSent(reason=reason):
                return NotDone(reason, paced=reason == TOO_LATE.reason)
            case Unanswered(reason=reason, wait=wait):
                return NotDone(reason, wait)
            case Throttled(wait=wait):
                return NotDone("too many requests", wait, paced=True)
            case Exhausted(until=until, message=message):
                return Spent(message or "the quota is used up", None if until is None else until.timestamp())
            case Conflict(code=code):
                return NotDone(f"Notion was busy with that page ({code})")
            case Unauthorized(code=code):
                raise OperatorError(
                    f"Notion does not take the token of target {self._target} ({code or 'unauthorized'}).",
                    f"Give it a valid one: targets.{self._target}.auth, or placemat auth login {self._target}.",
                )
            case Forbidden(code=code, message=message):
                raise OperatorError(
                    f"Notion does not let target {self._target} do that ({code}): {message}",
                    "Share the database with the connection in Notion, and give it the capabilities to read and write.",
                )
            case _:
                raise OperatorError(
                    f"Notion refused a read of target {self._target} ({type(found).__name__}).",
                    "See the log for the request, and that targets' data sources and the API's version are right.",
                )

    # From pages

    def _remote(self, table: str, answer: Answered) -> Read:
        found = self._whole(table, answer.body)
        return Done(dated(found, answer), answer.ids.theirs) if isinstance(found, Remote) else found

    def _whole(self, table: str, page: Mapping[str, Any], *, asked: bool = True) -> Remote | NotDone | Spent:
        """A page with all items of those properties that it shows in part; `asked`: all properties were asked for."""
        entity = self._entities[table]
        if asked and not shows_all(entity, page) and (failed := self._check(table)) is not None:
            return failed
        by_id = {one["id"]: one for one in page["properties"].values()}
        full: dict[str, Sequence[Any]] = {}
        for one in entity.bound if entity.entity.both_ways else ():
            shown = by_id.get(one.there.id)
            if (
                shown is None
                or shown["type"] not in (*TEXTS, "relation", "people")
                or len(shown[shown["type"]]) < SHOWN_ITEMS
            ):
                continue
            items = self._items(page["id"], one.there.id, shown["type"])
            if not isinstance(items, list):
                return items
            full[one.there.id] = items
        return entity.remote(page, full, self._bot)

    def _items(self, page: str, property_id: str, type_: str) -> list[Any] | NotDone | Spent:
        found: list[Any] = []
        cursor: str | None = None
        while True:
            answer = self._sent(lambda cursor=cursor: self._client.items(page, property_id, cursor))  # type: ignore[misc]
            if isinstance(answer, Gone | Rejected):
                return NotDone("the page has changed while it was read")
            if not isinstance(answer, Answered):
                return self._unread(answer)
            found += item_values(answer, type_)
            cursor = answer.body.get("next_cursor")
            if not answer.body.get("has_more") or cursor is None:
                return found
