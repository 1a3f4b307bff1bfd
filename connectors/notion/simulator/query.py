"""POST /data_sources/{id}/query: what passes, in order, page by page, and where it stops."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from connectors.notion.simulator.errors import Body, validation
from connectors.notion.simulator.filters import Filters
from connectors.notion.simulator.reading import Fields, Given
from connectors.notion.simulator.records import Connection, DataSource, Date, Page
from connectors.notion.simulator.showing import listing, show_page
from connectors.notion.simulator.shown_values import value_of
from connectors.notion.simulator.store import Store, plain
from connectors.notion.simulator.times import minute

CURSORS = 1000
"""Older ones are forgotten."""
Key = tuple[int, float, str]
"""Empty values last; numbers by size, all else by its text."""


class Queries:
    """Cursors stand for the rest of a result as it was when its first page was asked for; rows are read anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest: OrderedDict[str, tuple[list[str], bool]] = OrderedDict()

    def ask(self, connection: Connection, source: DataSource, body: Given, only: list[str]) -> Body:
        fields = body.fields(
            "filter", "sorts", "start_cursor", "page_size", "in_trash", "archived", "result_type", "filter_properties"
        )
        size = page_size(fields["page_size"], self._store.settings.items)
        shown = properties(source, only)
        if "start_cursor" in fields and fields["start_cursor"].value is not None:
            cursor = fields["start_cursor"].text()
            if cursor not in self._rest:
                raise validation(f"The start_cursor provided is invalid: {cursor}")
            found, cut = self._rest[cursor]
        else:
            found, cut = self._first(connection, source, fields)
        batch, rest = found[:size], found[size:]
        pages = [page for id_ in batch if (page := self._seen(id_)) is not None]
        next_cursor = self._keep(rest, cut) if rest else None
        answer = listing(
            [show_page(self._store, page, shown) for page in pages], next_cursor, "page_or_data_source",
            page_or_data_source={},
        )  # fmt: skip
        if not rest:
            answer["request_status"] = _status(cut=cut)
        return answer

    def _first(self, connection: Connection, source: DataSource, fields: Fields) -> tuple[list[str], bool]:
        """Notion, query a data source: at most 10,000 rows, with no word of it but in `request_status`."""
        store, now = self._store, self._store.clock()
        in_trash = any(fields[name].boolean() for name in ("in_trash", "archived") if name in fields)
        passes = Filters(store, source, connection.bot.id).read(fields["filter"]) if "filter" in fields else None
        seen = (page.for_queries(now) for page in store.by_source[source.id].values())
        rows = [
            page for page in seen if page is not None and page.in_trash == in_trash and (passes is None or passes(page))
        ]
        self._sort(source, rows, fields["sorts"])
        most = store.settings.query_rows
        return [page.id for page in rows[:most]], len(rows) > most

    def _seen(self, id_: str) -> Page | None:
        page = self._store.by_id.get(id_)
        return None if page is None else page.for_queries(self._store.clock())

    def _sort(self, source: DataSource, rows: list[Page], given: Given) -> None:
        """Without sorts the newest goes first. Equal rows stand by their ids: Notion promises no order."""
        if not given.defined or not given.items(100):
            rows.sort(key=lambda page: (page.created_at, page.id), reverse=True)
            return
        rows.sort(key=lambda page: page.id)
        for one in reversed(given.items(100)):
            fields = one.fields("property", "timestamp", "direction")
            down = fields["direction"].one_of("ascending", "descending") == "descending"
            key = self._key(source, fields)
            rows.sort(key=lambda page, key=key: key(page)[1:], reverse=down)  # type: ignore[misc]
            rows.sort(key=lambda page, key=key: key(page)[0])  # type: ignore[misc]

    def _key(self, source: DataSource, fields: Fields) -> Callable[[Page], Key]:
        if "timestamp" in fields:
            if fields["timestamp"].one_of("created_time", "last_edited_time") == "created_time":
                return lambda page: (0, minute(page.created_at).timestamp(), "")
            return lambda page: (0, minute(page.edited_at).timestamp(), "")
        name = fields["property"].text()
        own = source.find(name)
        if own is None:
            raise validation(f"Could not find sort property with name or id: {name}")
        found = own

        def key(page: Page) -> Key:
            value = value_of(page, found)
            if value is None or value == ():
                return (1, 0, "")
            if isinstance(value, int | float):
                return (0, value, "")
            return (0, 0, value.start if isinstance(value, Date) else str(plain(found, value)))

        return key

    def _keep(self, rest: list[str], cut: bool) -> str:
        cursor = self._store.new_id()
        self._rest[cursor] = (rest, cut)
        if len(self._rest) > CURSORS:
            self._rest.popitem(last=False)
        return cursor


def _status(*, cut: bool) -> Body:
    return {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"} if cut else {"type": "complete"}


def page_size(given: Given, most: int) -> int:
    if not given.defined:
        return most
    size = given.number()
    if not isinstance(size, int) or size < 1:
        raise given.refuse("a positive integer")
    if size > most:
        raise given.refuse(f"≤ `{most}`")
    return size


def properties(source: DataSource, only: list[str]) -> set[str]:
    """The ids of what was asked for by id or name."""
    found: set[str] = set()
    for name in only:
        own = source.find(name)
        if own is None:
            raise validation(f"Could not find property with name or id: {name}")
        found.add(own.id)
    return found
