"""Requests are read value by value; what is not as it should be is refused with the path and the value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from connectors.notion.simulator.errors import ApiError, validation

MISSING = object()


def uuid_of(text: str) -> str | None:
    """An id with dashes, from one with or without them; None where it is none. Notion: pages."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return str(found) if text.lower() in (str(found), found.hex) else None


@dataclass(frozen=True, slots=True)
class Given:
    """One value of a request, and where it stands: `body.properties.Name.title[0]`."""

    value: object
    path: str

    def refuse(self, should: str) -> ApiError:
        instead = "undefined" if self.value is MISSING else json.dumps(self.value, ensure_ascii=False)
        return validation(
            f"{self.path.split('.')[0]} failed validation: {self.path} should be {should}, instead was `{instead}`."
        )

    @property
    def defined(self) -> bool:
        return self.value is not MISSING

    def members(self) -> Mapping[str, Given]:
        if self.value is MISSING:
            raise self.refuse("defined")
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        return {name: Given(value, f"{self.path}.{name}") for name, value in self.value.items()}

    def fields(self, *allowed: str) -> Fields:
        """The members of an object that may have no other names than these."""
        found = self.members()
        for name, value in found.items():
            if name not in allowed:
                raise value.refuse("not present")
        return Fields(found, self.path)

    def items(self, most: int | None) -> list[Given]:
        if not isinstance(self.value, list):
            raise self.refuse("an array" if self.defined else "defined")
        if most is not None and len(self.value) > most:
            raise Given(len(self.value), f"{self.path}.length").refuse(f"≤ `{most}`")
        return [Given(value, f"{self.path}[{at}]") for at, value in enumerate(self.value)]

    def text(self, most: int | None = None, *, utf16: bool = False) -> str:
        if not isinstance(self.value, str):
            raise self.refuse("a string" if self.defined else "defined")
        length = len(self.value.encode("utf-16-le", "surrogatepass")) // 2 if utf16 else len(self.value)
        if most is not None and length > most:
            raise Given(length, f"{self.path}.length").refuse(f"≤ `{most}`")
        return self.value

    def number(self) -> float | int:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refuse("a number" if self.defined else "defined")
        return self.value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.refuse("a boolean" if self.defined else "defined")
        return self.value

    def id(self) -> str:
        found = uuid_of(self.text())
        if found is None:
            raise self.refuse("a valid uuid")
        return found

    def one_of(self, *words: str) -> str:
        if self.value not in words:
            raise self.refuse(" or ".join(f'`"{word}"`' for word in words))
        return str(self.value)


class Fields:
    """The members of an object; one that is not there is MISSING."""

    def __init__(self, members: Mapping[str, Given], path: str) -> None:
        self._members = members
        self.path = path

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> Given:
        return self._members.get(name, Given(MISSING, f"{self.path}.{name}"))

    @property
    def given(self) -> frozenset[str]:
        return frozenset(self._members)
