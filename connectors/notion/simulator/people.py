"""People in the workspace: what they do in Notion's application, at a chosen time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from connectors.notion.simulator import pages, schema
from connectors.notion.simulator.errors import validation
from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import DataSource, Kind, Option, Page, Property, User, Value
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.values import Values

UNBOUNDED = 1 << 30


class People:
    """Pages by their ids or themselves, data sources by name or id, people by None for the first one.

    Values are as requests have them (`{"number": 5}`), or as a person types them: text, numbers, names of options, ids.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._settings = replace(
            store.settings, text_length=UNBOUNDED, items=UNBOUNDED, url_length=UNBOUNDED, contact_length=UNBOUNDED
        )
        """Limits are those of requests, not of people."""
        self.first = store.add_person("Ada Person")

    def create(
        self, source: str, values: Mapping[str, object], by: User | None = None, at: datetime | None = None
    ) -> Page:
        with self._store.lock:
            found = self._store.source(source)
            read = self._read(found, values)
            return pages.make(self._store, found, read, by or self.first, at or self._store.clock())

    def edit(
        self, page: Page | str, values: Mapping[str, object], by: User | None = None, at: datetime | None = None
    ) -> None:
        with self._store.lock:
            own, source = self._own(page)
            pages.edit(self._store, own, self._read(source, values), by or self.first, at or self._store.clock())

    def compute(self, page: Page | str, name: str, value: Value, at: datetime | None = None) -> None:
        """A formula has a new result. [?] Notion, property items: that may or may not count as an edit."""
        with self._store.lock:
            own, source = self._own(page)
            found = source.find(name)
            if found is None or found.kind != "formula":
                raise validation(f"{name} is not a formula.")
            own.values[found.id] = value
            if self._store.settings.formulas_move_time:
                own.edited(own.edited_by, at or self._store.clock())

    def delete_key(self, page: Page | str, key: str = "Sync Key", at: datetime | None = None) -> None:
        self.edit(page, {key: ""}, at=at)

    def trash(self, page: Page | str, by: User | None = None, at: datetime | None = None) -> None:
        with self._store.lock:
            pages.trash(self._store, self._own(page)[0], by or self.first, at or self._store.clock())

    def restore(self, page: Page | str, by: User | None = None, at: datetime | None = None) -> None:
        with self._store.lock:
            pages.restore(self._store, self._own(page)[0], by or self.first, at or self._store.clock())

    def delete_forever(self, page: Page | str) -> None:
        with self._store.lock:
            pages.delete_forever(self._store, self._own(page)[0])

    def move(self, page: Page | str, source: str) -> None:
        """To another database: there it has what that has properties of the same name and kind for."""
        with self._store.lock:
            pages.move(self._store, self._own(page)[0], self._store.source(source), self.first, self._store.clock())

    def lock(self, page: Page | str, *, locked: bool = True, at: datetime | None = None) -> None:
        with self._store.lock:
            pages.lock(self._store, self._own(page)[0], self.first, at or self._store.clock(), locked=locked)

    def rename_property(self, source: str, old: str, new: str) -> None:
        with self._store.lock:
            found, own = self._property(source, old)
            schema.rename(self._store, found, own, new, self.first, self._store.clock())

    def change_type(self, source: str, name: str, kind: Kind, *options: str) -> None:
        with self._store.lock:
            found, own = self._property(source, name)
            schema.change_type(self._store, found, own, schema.of(kind, *options), self.first, self._store.clock())

    def remove_property(self, source: str, name: str) -> None:
        with self._store.lock:
            found, own = self._property(source, name)
            schema.remove(self._store, found, own, self.first, self._store.clock())

    def add_property(self, source: str, name: str, kind: Kind, *options: str) -> None:
        with self._store.lock:
            own = schema.of(kind, *options)
            own.name = name
            schema.add(self._store, self._store.source(source), own, self.first, self._store.clock())

    def add_option(self, source: str, name: str, option: str) -> None:
        """As only people can for a status."""
        with self._store.lock:
            self._property(source, name)[1].options.append(Option(self._store.new_id(), option))

    def _own(self, page: Page | str) -> tuple[Page, DataSource]:
        own = self._store.by_id[page.id if isinstance(page, Page) else page]
        return own, self._store.sources[own.data_source]

    def _property(self, source: str, name: str) -> tuple[DataSource, Property]:
        found = self._store.source(source)
        own = found.find(name)
        if own is None:
            raise validation(f"{name} is not a property that exists.")
        return found, own

    def _read(self, source: DataSource, values: Mapping[str, object]) -> dict[str, Value]:
        reader = Values(self._store, self._settings)
        found: dict[str, Value] = {}
        for name, value in values.items():
            own = source.find(name)
            if own is None:
                raise validation(f"{name} is not a property that exists.")
            shaped = value if isinstance(value, dict) else {own.kind: _shape(own.kind, value)}
            found[own.id] = reader.read(Given(shaped, f"people.{name}"), own)
        reader.settle()
        return found


def _shape(kind: Kind, value: object) -> object:
    """What a person types, as a request would have it."""
    several = value if isinstance(value, list | tuple) else [value]
    match kind:
        case "title" | "rich_text":
            return [{"text": {"content": value}}] if value else []
        case "select" | "status":
            return {"name": value} if value else None
        case "multi_select":
            return [{"name": one} for one in several]
        case "relation" | "people":
            return [{"id": one} for one in several]
        case "date":
            return {"start": value} if value else None
        case "url" | "email" | "phone_number":
            return value or None
        case _:
            return value
