"""What happens to pages, whoever does it: the API and people go the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from connectors.notion.simulator.records import DataSource, Page, Property, User, Value
from connectors.notion.simulator.store import Happened, Store, empty, ids


def make(store: Store, source: DataSource, values: Mapping[str, Value], by: User, at: datetime) -> Page:
    """A page with these values by the ids of properties, the others empty."""
    source.pages_made += 1
    page = Page(store.new_id(), source.id, at, by.id, at, by.id, source.pages_made)
    page.values = {own.id: values.get(own.id, _initial(store, own)) for own in source.properties.values()}
    if store.settings.query_lag:
        page.past.append((store.clock() + timedelta(seconds=store.settings.query_lag), None))
    store.keep(page)
    store.blocks_made += 1
    for id_, value in values.items():
        _lead_back(store, page, source.properties[id_], (), ids(value), by, at)
    store.tell(Happened("page.created", page.id, by, at))
    return page


def _initial(store: Store, own: Property) -> Value:
    if own.kind == "status" and store.settings.status_default and own.options:
        return own.options[0].id
    return empty(own.kind)


def _before(store: Store, page: Page) -> None:
    """What queries go on seeing for a while."""
    if store.settings.query_lag:
        until = store.clock() + timedelta(seconds=store.settings.query_lag)
        page.past.append((until, replace(page, values=dict(page.values), past=[])))


def edit(store: Store, page: Page, values: Mapping[str, Value], by: User, at: datetime) -> None:
    """Properties that are not named stay as they are (Notion: pages)."""
    source = store.sources[page.data_source]
    before = {id_: page.values.get(id_) for id_ in values}
    changed = frozenset(id_ for id_, value in values.items() if before[id_] != value)
    if not changed and not (values and store.settings.equal_write_moves_time):
        return
    _before(store, page)
    page.values.update(values)
    page.edited(by.id, at)
    for id_ in changed:
        _lead_back(store, page, source.properties[id_], ids(before[id_]), ids(values[id_]), by, at)
    if store.settings.title_is_content and "title" in changed:
        changed -= {"title"}
        store.tell(Happened("page.content_updated", page.id, by, at))
    if changed:
        store.tell(Happened("page.properties_updated", page.id, by, at, changed))


def edit_body(store: Store, page: Page, by: User, at: datetime) -> None:
    """Its blocks are not what they were."""
    _before(store, page)
    page.edited(by.id, at)
    store.tell(Happened("page.content_updated", page.id, by, at))


def _lead_back(
    store: Store, page: Page, own: Property, before: tuple[str, ...], after: tuple[str, ...], by: User, at: datetime
) -> None:
    """The other side of a relation with two: the page over there shows it too, and counts as edited."""
    if own.related is None or own.related.synced is None or own.kind != "relation":
        return
    back = own.related.synced
    for id_ in {*before} ^ {*after}:
        other = store.by_id.get(id_)
        if other is None:
            continue
        _before(store, other)
        theirs = ids(other.values.get(back))
        other.values[back] = (*theirs, page.id) if id_ in after else tuple(one for one in theirs if one != page.id)
        other.edited(by.id, at)
        store.tell(Happened("page.properties_updated", other.id, by, at, frozenset([back])))


def trash(store: Store, page: Page, by: User, at: datetime) -> None:
    if not page.in_trash:
        _before(store, page)
        page.in_trash = True
        page.edited(by.id, at)
        store.tell(Happened("page.deleted", page.id, by, at))


def restore(store: Store, page: Page, by: User, at: datetime) -> None:
    if page.in_trash:
        _before(store, page)
        page.in_trash = False
        page.edited(by.id, at)
        store.tell(Happened("page.undeleted", page.id, by, at))


def lock(store: Store, page: Page, by: User, at: datetime, *, locked: bool) -> None:
    """Locked against people in the application; requests still edit it."""
    if page.locked != locked:
        _before(store, page)
        page.locked = locked
        page.edited(by.id, at)
        store.tell(Happened("page.locked" if locked else "page.unlocked", page.id, by, at))


def move(store: Store, page: Page, to: DataSource, by: User, at: datetime) -> None:
    """[?] Notion, webhooks, page.moved: whether that counts as an edit."""
    known = {
        (own.name, own.kind): page.values.get(own.id) for own in store.sources[page.data_source].properties.values()
    }
    store.drop(page)
    page.data_source = to.id
    page.values = {own.id: known.get((own.name, own.kind)) or empty(own.kind) for own in to.properties.values()}
    page.past.clear()
    store.keep(page)
    if store.settings.move_is_edit:
        page.edited(by.id, at)
    store.tell(Happened("page.moved", page.id, by, at))


def delete_forever(store: Store, page: Page) -> None:
    """Emptied from the trash: from now on it is not found."""
    store.drop(page)
    for other in store.by_id.values():
        for own in store.sources[other.data_source].properties.values():
            if own.kind == "relation" and page.id in ids(other.values.get(own.id)):
                other.values[own.id] = tuple(one for one in ids(other.values[own.id]) if one != page.id)
