"""Follows the hub's own stream, so that the hub knows who has changed what, when, and where that stands in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import psycopg

from connectors.contract import Observing
from connectors.postgres.rows import Event
from connectors.postgres.two_way.canonical import Canonical
from connectors.postgres.two_way.changes import Changes, Key
from connectors.postgres.two_way.hub import HubStore
from schemas.position import Position
from schemas.resolution import Origin, RowChange

_origin = msgspec.json.Decoder(Origin).decode


class HubObserver:
    """One per session. Every method needs an open transaction, and raises psycopg.Error."""

    def __init__(
        self, connection: psycopg.Connection[Any], hub: str, tables: Mapping[str, Canonical], observing: Observing
    ) -> None:
        self._connection = connection
        self._observing = observing
        self._changes = Changes(connection, tables, deleted=True)
        self.store = HubStore(connection, hub)

    def observe(self, events: Sequence[Event]) -> None:
        """Take in events of the hub's rows, in order, and what was said of them."""
        changes = self._read(events)
        self.store.hold()
        known = self.store.read(changes)
        states: dict[Key, str] = {}
        links: dict[Key, Mapping[str, str]] = {}
        for key, of_row in changes.items():
            self._place_decisions(key, of_row)
            before = known.links.get(key, {})
            states[key], after = self._observing.observe(of_row, known.states.get(key), before)
            if changed := {spoke: link for spoke, link in after.items() if link != before[spoke]}:
                links[key] = changed
        self.store.store_states({key: one for key, one in states.items() if one != known.states.get(key)})
        self.store.store_links(links)

    def _place_decisions(self, key: Key, changes: Sequence[RowChange]) -> None:
        """Persons' decisions among them: the first record of each has the position of what it has changed."""
        for change in changes:
            origin = _origin(change.origin) if change.origin else None
            if origin is not None and origin.mark and not (origin.origin or origin.tells):
                self.store.place_decision(key, origin.mark, change.position)

    def _read(self, events: Sequence[Event]) -> dict[Key, list[RowChange]]:
        """Of a row that was too large to publish, the row as it is now: nobody could tell else that it is known."""
        changes = self._changes.read(events)
        large: dict[Key, set[Position]] = {}
        for event in events:
            if event.change.oversize is not None and (notice := event.change.notice) is not None:
                large.setdefault(self._changes.name(event), set()).add(Position(*notice.at))
        for key, row in self._changes.present(list(large), locked=False).items():
            changes[key] = [replace(one, row=row) if one.position in large[key] else one for one in changes[key]]
        return changes
