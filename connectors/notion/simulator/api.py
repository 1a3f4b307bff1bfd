"""The endpoints, one method each; all of them run with the store's lock held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.notion.simulator import pages
from connectors.notion.simulator.blocks import find, insert, read_blocks
from connectors.notion.simulator.errors import Body, full, not_found, trashed, validation
from connectors.notion.simulator.properties import property_item
from connectors.notion.simulator.query import Queries, page_size, properties
from connectors.notion.simulator.reading import MISSING, Fields, Given, uuid_of
from connectors.notion.simulator.records import Block, Connection, DataSource, Page, Value
from connectors.notion.simulator.schema import show_source
from connectors.notion.simulator.schema_requests import update
from connectors.notion.simulator.showing import listing, show_block, show_database, show_me, show_page, show_user
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.values import Values

PAGE_FIELDS = (
    "properties", "in_trash", "archived", "is_archived", "is_locked", "erase_content", "icon", "cover", "template",
    "filter_properties",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose route, token and version are good. `ids` are the parts of its path by name."""

    connection: Connection
    version: str
    ids: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Given

    def id(self, name: str) -> str:
        found = uuid_of(self.ids[name])
        if found is None:
            raise Given(self.ids[name], f"path.{name}").refuse("a valid uuid")
        return found

    def only(self) -> list[str]:
        return [*self.query.get("filter_properties", ()), *self.query.get("filter_properties[]", ())]

    def paging(self, most: int) -> tuple[int, str | None]:
        """Size and cursor of a GET."""
        size = self.query.get("page_size", [""])[0]
        given = Given(int(size) if size.isdecimal() else size, "query.page_size") if size else Given(MISSING, "query")
        return page_size(given, most), self.query.get("start_cursor", [None])[0]


class Api:
    def __init__(self, store: Store) -> None:
        self.store = store
        self._queries = Queries(store)
        self.endpoints: Mapping[str, Callable[[Call], Body]] = {
            "get_me": lambda call: show_me(call.connection, store.workspace),
            "get_user": self._get_user,
            "get_database": lambda call: show_database(store, store.database_for(call.connection, call.id("id"))),
            "get_data_source": lambda call: show_source(store, self._source(call)),
            "update_data_source": self._update_data_source,
            "query_data_source": lambda call: self._queries.ask(
                call.connection, self._source(call), call.body, call.only()
            ),
            "create_page": self._create_page,
            "get_page": self._get_page,
            "update_page": self._update_page,
            "get_property": self._get_property,
            "get_children": self._get_children,
            "append_children": self._append_children,
        }

    def _source(self, call: Call) -> DataSource:
        return self.store.source_for(call.connection, call.id("id"))

    def _get_user(self, call: Call) -> Body:
        user = self.store.users.get(call.id("id"))
        if user is None:
            raise not_found("user", call.ids["id"])
        return show_user(user, self.store.workspace)

    def _update_data_source(self, call: Call) -> Body:
        source = self._source(call)
        update(self.store, source, call.body, call.connection.bot, self.store.clock())
        return show_source(self.store, source)

    def _get_page(self, call: Call) -> Body:
        page = self.store.page_for(call.connection, call.id("id"))
        return show_page(self.store, page, properties(self.store.sources[page.data_source], call.only()))

    def _create_page(self, call: Call) -> Body:
        """Notion, pages: under a data source, or under a database that has only one."""
        store = self.store
        fields = call.body.fields("parent", "properties", "children", "icon", "cover", "filter_properties", "content")
        source = self._parent(call, fields["parent"])
        limit = store.settings.block_limit
        if limit is not None and store.blocks_made >= limit:
            raise full(limit)
        values, settle = self._values(source, fields)
        given = fields["children"] if "children" in fields else fields["content"]
        bot, now = call.connection.bot, store.clock()
        blocks = read_blocks(store, given, bot.id, now) if given.defined else []
        settle()
        page = pages.make(store, source, values, bot, now)
        page.blocks = blocks
        return show_page(store, page)

    def _parent(self, call: Call, given: Given) -> DataSource:
        parent = given.fields("type", "data_source_id", "database_id", "page_id", "workspace")
        if "data_source_id" in parent:
            return self.store.source_for(call.connection, parent["data_source_id"].id())
        if "database_id" in parent:
            database = self.store.database_for(call.connection, parent["database_id"].id())
            if len(database.data_sources) != 1:
                raise validation("Databases with multiple data sources are not supported in this API version.")
            return self.store.sources[database.data_sources[0]]
        if "page_id" in parent:
            raise not_found("page", parent["page_id"].id())
        raise parent["data_source_id"].refuse("defined")

    def _values(self, source: DataSource, fields: Fields) -> tuple[dict[str, Value], Callable[[], None]]:
        """By the ids of properties; the second is to be called once the whole request is good."""
        reader = Values(self.store, self.store.settings)
        found: dict[str, Value] = {}
        given = fields["properties"].members() if "properties" in fields else {}
        for name, value in given.items():
            own = source.find(name)
            if own is None:
                raise validation(f"{name} is not a property that exists.")
            found[own.id] = reader.read(value, own)
        return found, reader.settle

    def _update_page(self, call: Call) -> Body:
        """Notion, pages: `in_trash` trashes and restores; a page in the trash takes no other edit."""
        store = self.store
        page = store.page_for(call.connection, call.id("id"))
        fields = call.body.fields(*PAGE_FIELDS)
        bot, now = call.connection.bot, store.clock()
        trash = _flag(fields, call.version)
        edits = fields.given - {"in_trash", "archived", "filter_properties"}
        leaves = page.in_trash and trash is False
        if page.in_trash and edits and not (leaves and store.settings.restore_with_edits):
            raise trashed()
        values, settle = self._values(store.sources[page.data_source], fields)
        flags = {name: fields[name].boolean() for name in ("is_locked", "erase_content") if name in fields}
        settle()
        if leaves:
            pages.restore(store, page, bot, now)
        pages.edit(store, page, values, bot, now)
        if "is_locked" in flags:
            pages.lock(store, page, bot, now, locked=flags["is_locked"])
        if flags.get("erase_content"):
            page.blocks.clear()
            pages.edit_body(store, page, bot, now)
        if trash:
            pages.trash(store, page, bot, now)
        return show_page(store, page)

    def _get_property(self, call: Call) -> Body:
        page = self.store.page_for(call.connection, call.id("id"))
        size, cursor = call.paging(self.store.settings.items)
        return property_item(self.store, page, call.ids["property"], size, cursor)

    def _get_children(self, call: Call) -> Body:
        page, own = self._body_of(call)
        size, cursor = call.paging(self.store.settings.items)
        at = next((at for at, block in enumerate(own) if block.id == cursor), 0 if cursor is None else None)
        if at is None:
            raise validation(f"The start_cursor provided is invalid: {cursor}")
        rest = own[at + size :]
        shown = [show_block(block, page) for block in own[at : at + size]]
        return listing(shown, rest[0].id if rest else None, "block", block={})

    def _append_children(self, call: Call) -> Body:
        """Notion, versioning: `after` until 2025-09-03, `position` since."""
        page, own = self._body_of(call)
        if page.in_trash:
            raise trashed()
        fields = call.body.fields("children", "after", "position")
        bot, now = call.connection.bot, self.store.clock()
        new = read_blocks(self.store, fields["children"], bot.id, now)
        after = fields["after"].id() if "after" in fields else None
        if "position" in fields:
            position = fields["position"].fields("type", "after_block")
            if "after_block" in position:
                after = position["after_block"].fields("id")["id"].id()
        insert(own, new, after)
        pages.edit_body(self.store, page, bot, now)
        return listing([show_block(block, page) for block in new], None, "block", block={})

    def _body_of(self, call: Call) -> tuple[Page, list[Block]]:
        """The page whose id or whose block's id stands in the path, and the blocks under that."""
        id_ = call.id("id")
        for page in self.store.by_id.values():
            block = find(page.blocks, id_) if page.id != id_ else None
            if block is not None:
                return self.store.page_for(call.connection, page.id, "block"), block.children
        page = self.store.page_for(call.connection, id_, "block")
        return page, page.blocks


def _flag(fields: Fields, version: str) -> bool | None:
    """Notion, versioning: 2026-03-11 knows `in_trash` in the place of `archived`."""
    if "archived" in fields and version >= "2026-03-11":
        raise fields["archived"].refuse("not present")
    name = "in_trash" if "in_trash" in fields else "archived"
    return fields[name].boolean() if name in fields else None
