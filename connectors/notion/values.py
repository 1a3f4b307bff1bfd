"""Values of properties, both ways. Pure.

`written` makes of a column's JSON value what is sent; `shown` what the column holds once it was sent; `told` what a
property's value is for the column. For every value, `told` of what Notion answers to `written` is `shown`: what Notion
cannot hold (microseconds, a NULL that is not false) is no difference. Numbers that it would round are not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from connectors.notion.fields import Field

TEXT_UNITS = 2_000
"""Longest text of one item, in UTF-16 code units as JavaScript counts them (Notion: request limits)."""
MOST_ITEMS = 100
_TEXT_COLUMNS = frozenset({"text", "character varying", "character", "name"})
TEXTS = ("title", "rich_text")
PLAIN = ("url", "email", "phone_number")
OPTIONS = ("select", "status")
LISTS = ("people", "files")
WRITABLE = (*TEXTS, *PLAIN, *OPTIONS, *LISTS, "number", "multi_select", "date", "checkbox", "relation")
READABLE = (
    "formula", "rollup", "unique_id", "created_time", "last_edited_time", "created_by", "last_edited_by",
)  # fmt: skip
"""Those that Notion makes itself."""
LONGEST = {"url": 2_000, "email": 200, "phone_number": 200}
NAME_UNITS = 100


class CannotHold(Exception):
    """No value of the property, or of the column, says this; the text says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one column reaches one property: the property's type, the column's type, and what the field says."""

    property: str
    column: str
    field: Field

    def written(self, value: Any) -> Any:
        """Raises CannotHold."""
        match self.property:
            case "title" | "rich_text":
                return [{"text": {"content": part}} for part in split("" if value is None else _text(value))]
            case "url" | "email" | "phone_number":
                return None if value in (None, "") else _short(_text(value), LONGEST[self.property])
            case "select" | "status":
                return None if value in (None, "") else {"name": self._option(_text(value))}
            case "multi_select":
                return [{"name": self._option(_text(one))} for one in _few(_list(value))]
            case "people":
                return [{"id": self._person(one)} for one in _few(self._several(value))]
            case "files":
                return [_file(one) for one in _few(self._several(value))]
            case "number":
                return None if value is None else _number(value)
            case "checkbox":
                return bool(value)
            case "date":
                return None if value is None else self._date(_text(value))
        raise CannotHold(f"a property of type {self.property} cannot be written")

    def shown(self, value: Any) -> Any:
        """Raises CannotHold."""
        match self.property:
            case "number":
                return None if value is None else _digits(_number(value))
            case "checkbox":
                return bool(value)
            case "multi_select":
                return list(dict.fromkeys(_text(one) for one in _list(value)))
            case "people" | "files":
                several = self._several(value)
                return self._one_or_all(list(dict.fromkeys(several)) if self.property == "people" else several)
            case "date":
                return None if value is None else self._told_date({**self._date(_text(value))})
            case "title" | "rich_text":
                return None if value in (None, "") else "".join(split(_text(value)))
            case _:
                return None if value in (None, "") else _text(value)

    def told(self, value: Any) -> Any:
        """Of a property's value in an answer. Raises CannotHold."""
        match self.property:
            case "title" | "rich_text":
                return "".join(str(item["plain_text"]) for item in value) or None
            case "select" | "status":
                return None if value is None else self._value(str(value["name"]))
            case "multi_select":
                return [self._value(str(one["name"])) for one in value]
            case "number":
                return None if value is None else _digits(value)
            case "date":
                return None if value is None else self._told_date(value)
            case "checkbox":
                return bool(value)
            case "people":
                return self._one_or_all([self._value_of_person(one) for one in value])
            case "files":
                return self._one_or_all([_address(one) for one in value])
            case _ if self.property in READABLE:
                return self._made_there(value)
            case _:
                return value or None

    def _made_there(self, value: Any) -> Any:
        match self.property:
            case "created_by" | "last_edited_by":
                return None if value is None else self._value_of_person(value)
            case "created_time" | "last_edited_time":
                return self._told_date({"start": value})
            case "unique_id":
                return self._number_of(value)
        return self._result(value)

    def _option(self, value: str) -> str:
        """Notion makes an option of any name that it is given: where the field names its options, only those are."""
        if self.field.options and value not in self.field.options:
            raise CannotHold(f"the field's options do not say what {value} is there")
        return self.field.options.get(value, value)

    def _person(self, value: str) -> str:
        """Who is not known is nobody: nobody else is guessed."""
        found = self.field.options.get(value, value)
        try:
            return str(UUID(found))
        except ValueError:
            raise CannotHold(
                f"{value} is no id of a person in Notion, and the field's options do not say whose it is"
            ) from None

    def _value_of_person(self, person: Mapping[str, Any]) -> str:
        found = str(person["id"])
        if not self.field.options:
            return found
        values = {UUID(id_): value for value, id_ in self.field.options.items()}
        try:
            return values[UUID(found)]
        except KeyError:
            raise CannotHold(f"the field's options do not name the person {found}") from None

    def _several(self, value: Any) -> list[str]:
        """Of a column that holds one, or a list of them."""
        if self.column.endswith("[]"):
            return [_text(one) for one in _list(value)]
        return [] if value in (None, "") else [_text(value)]

    def _one_or_all(self, found: list[str]) -> Any:
        if self.column.endswith("[]"):
            return found
        if len(found) > 1:
            raise CannotHold(f"there are {len(found)}, and the column holds one")
        return found[0] if found else None

    def _number_of(self, value: Mapping[str, Any]) -> Any:
        if value["number"] is None or self.column not in _TEXT_COLUMNS:
            return value["number"]
        return f"{value['prefix']}-{value['number']}" if value.get("prefix") else str(value["number"])

    def _result(self, value: Mapping[str, Any]) -> Any:
        """Of a formula or rollup."""
        type_ = str(value["type"])
        found = value.get(type_)
        match type_:
            case "number" if found is not None:
                return _digits(found)
            case "date" if found is not None:
                return self._told_date(found)
            case "number" | "date" | "string" | "boolean":
                return None if found == "" else found
        raise CannotHold(f"the {self.property} has a result of type {type_}, which is no single value")

    def _value(self, name: str) -> str:
        """The column's value for an option. One that no value has the name of is one that people have added."""
        values = {option: value for value, option in self.field.options.items()}
        return values.get(name, name)

    def _date(self, value: str) -> dict[str, Any]:
        if self.column == "date":
            return {"start": _day(value)}
        moment = _moment(value)
        if self.field.zone is None:
            return {"start": moment.isoformat(timespec="milliseconds")}
        zone = ZoneInfo(self.field.zone)
        local = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        if local.replace(tzinfo=zone).astimezone(UTC) != moment:
            # The hour that comes twice as clocks are put back: its second time is told by its distance from UTC.
            return {"start": moment.isoformat(timespec="milliseconds")}
        return {"start": local.isoformat(timespec="milliseconds"), "time_zone": self.field.zone}

    def _told_date(self, value: Mapping[str, Any]) -> str:
        """A day, or a moment in UTC. A day where a moment is asked for is its beginning in the field's zone, as people
        mean it who see that zone; of a moment where a day is asked for, the day where it was written."""
        start, zone = str(value["start"]), value.get("time_zone")
        if self.column == "date":
            return start[:10]
        found = datetime.fromisoformat(start)
        if found.tzinfo is None:
            found = found.replace(tzinfo=ZoneInfo(str(zone or self.field.zone or "UTC")))
        return found.astimezone(UTC).isoformat()


def split(text: str) -> list[str]:
    """A text in items, none longer than one may be, and no character cut. Raises CannotHold where it is too long."""
    parts: list[str] = []
    begin, units = 0, 0
    for at, character in enumerate(text):
        size = 2 if ord(character) > 0xFFFF else 1
        if units + size > TEXT_UNITS:
            parts.append(text[begin:at])
            begin, units = at, 0
        units += size
    if begin < len(text):
        parts.append(text[begin:])
    if len(parts) > MOST_ITEMS:
        raise CannotHold(
            f"a text of {len(text):,} characters is longer than Notion takes ({MOST_ITEMS * TEXT_UNITS:,})"
        )
    return parts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | Decimal | float):
        return str(value)
    raise CannotHold("a value of several parts is no text")


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or any(one is None for one in value):
        raise CannotHold("this is no list of texts")
    return value


def _few(values: Sequence[Any]) -> Sequence[Any]:
    if len(values) > MOST_ITEMS:
        raise CannotHold(f"these are {len(values)} values, and Notion takes {MOST_ITEMS}")
    return values


def _units(text: str) -> int:
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


def _short(text: str, most: int) -> str:
    if _units(text) > most:
        raise CannotHold(f"a text of {len(text):,} characters is longer than Notion takes there ({most:,})")
    return text


def _file(url: str) -> dict[str, Any]:
    """By its address, which stays ours; the last part of that is its name."""
    if not url.startswith(("http://", "https://")):
        raise CannotHold("a file is told to Notion by its address on the web, and this is none")
    name = url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    return {"name": name[: NAME_UNITS // 2] or "file", "external": {"url": _short(url, LONGEST["url"])}}


def _address(file: Mapping[str, Any]) -> str:
    if "external" not in file:
        raise CannotHold("a file was put into Notion itself, and its address there ends within the hour")
    return str(file["external"]["url"])


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        raise CannotHold("this is no number")
    try:
        kept = Decimal(repr(float(value)))
    except OverflowError:
        kept = None
    if kept != Decimal(str(value)):
        raise CannotHold("a number has more digits than Notion keeps, and would be rounded there")
    return value


def _digits(value: Any) -> str:
    """A number as a double has it, without an exponent: Notion answers 12 to 12.0."""
    found = Decimal(repr(float(value)))
    return format(found.to_integral_value() if found == found.to_integral_value() else found, "f")


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise CannotHold("Notion has no days before the year 1, or without end") from None


def _moment(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise CannotHold("Notion has no moments before the year 1, or without end") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
