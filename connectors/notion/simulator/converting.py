"""What becomes of values when a person changes a property's type."""

from __future__ import annotations

from connectors.notion.simulator.records import Date, Kind, Option, Property, Value
from connectors.notion.simulator.store import Store, empty, plain
from connectors.notion.simulator.texts import plain_text
from connectors.notion.simulator.times import moment


def convert(store: Store, old: Property, new: Property, value: Value) -> Value:
    """The value as the new kind has it, empty where it says nothing there."""
    text = _text(plain(old, value))
    if not text:
        return empty(new.kind)
    return _from_text(store, new, text)


def _text(shown: object) -> str:
    if isinstance(shown, list):
        return ", ".join(str(one) for one in shown)
    if isinstance(shown, Date):
        return shown.start if shown.end is None else f"{shown.start} → {shown.end}"
    return "" if shown is None or shown is False else str(shown)


def _from_text(store: Store, new: Property, text: str) -> Value:
    kind: Kind = new.kind
    if kind in ("rich_text", "title"):
        return plain_text(text)
    if kind in ("url", "email", "phone_number"):
        return text
    if kind == "number":
        return _number(text)
    if kind == "checkbox":
        return text == "True"
    if kind == "date":
        return Date(text) if moment(text) is not None else None
    if kind in ("select", "status"):
        return _option(store, new, text, add=kind == "select")
    if kind == "multi_select":
        names = [name.strip() for name in text.split(",")]
        return tuple(option for name in names if (option := _option(store, new, name, add=True)))
    return empty(kind)


def _number(text: str) -> float | int | None:
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        return None
    return int(found) if found.is_integer() else found


def _option(store: Store, new: Property, name: str, *, add: bool) -> str | None:
    found = next((option for option in new.options if option.name == name), None)
    if found is None and add and name:
        found = Option(store.new_id(), name)
        new.options.append(found)
    return found.id if found else None
