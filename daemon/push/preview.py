"""What telling a service would come to, before it is told: wanted rows beside the records that hold their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from connectors.pushing import Key
from connectors.service import Page, Polled, Remote
from daemon.errors import Unavailable
from daemon.push.forms import Forms
from schemas.resolution import Fields

What = Literal["create", "change", "same", "twice", "only_there"]


@dataclass(frozen=True, slots=True)
class Preview:
    """Of one row, or of records that are none: `fields` differ, of which `what` says what would be done.

    `twice`: several records hold its key; `only_there`: a record whose key no row has, or that has none.
    """

    what: What
    key: str
    fields: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


def preview(
    forms: Forms, table: str, wanted: Iterable[tuple[Key, Fields]], records: Mapping[str, list[Remote]],
    keyless: Iterable[Remote],
) -> Iterator[Preview]:  # fmt: skip
    """`records` are by record key. Fields that the service cannot be given now are not compared."""
    left = dict(records)
    for key, row in wanted:
        found = left.pop(key.text, [])
        shown = forms.shown(key, row, forms.rows(table, [row]))
        if not found:
            yield Preview("create", key.text, tuple(sorted(shown)))
        elif len(found) > 1:
            yield Preview("twice", key.text, records=tuple(one.id for one in found))
        else:
            current = forms.current(key, found[0])
            differ = tuple(sorted(name for name, value in shown.items() if current.get(name) != value))
            yield Preview("change" if differ else "same", key.text, differ, (found[0].id,))
    for text, several in left.items():
        yield Preview("only_there", text, records=tuple(one.id for one in several))
    for one in keyless:
        yield Preview("only_there", "", records=(one.id,))


def records(service: Polled, forms: Forms, table: str) -> tuple[dict[str, list[Remote]], list[Remote]]:
    """All that a service has of a table, by record key, and what holds none. Raises Unavailable."""
    found: dict[str, list[Remote]] = {}
    keyless: list[Remote] = []
    cursor: str | None = None
    while True:
        page = service.changed(table, 0, cursor)
        if not isinstance(page, Page):
            raise Unavailable(f"The service does not answer: {page.why}")
        for one in page.remotes:
            if one.gone:
                continue
            key = None if one.key is None else forms.key_of(table, one.key)
            if key is None:
                keyless.append(one)
            else:
                found.setdefault(key.text, []).append(one)
        cursor = page.cursor
        if cursor is None:
            return found, keyless
