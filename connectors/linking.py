"""What a room offers so that a system that is full already can be linked with the hub."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from connectors.errors import OperatorError
from schemas.resolution import Fields

Key = tuple[str, ...]
"""Values of a row's key in canonical form, in the order of the names of its fields."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Fields that hold the key of a row of another table, in the order of that key's fields."""

    fields: tuple[str, ...]
    table: str


@dataclass(frozen=True, slots=True)
class Linkable:
    """A table that goes both ways, by the hub's names. `fields` are all that go, those of the key among them."""

    table: str
    key: tuple[str, ...]
    fields: frozenset[str]
    references: tuple[Reference, ...] = ()


class Told(NamedTuple):
    """A row in canonical form, and when it was changed, in microseconds since 1970; None where nobody knows."""

    row: Fields
    ts_us: int | None


class Known(NamedTuple):
    """What the hub keeps of a row already, if anything (`schemas/resolution.py`), and whether it has heard of it from
    the spoke."""

    state: str | None
    linked: bool


class LinkSide(Protocol):
    """One of two systems that are linked. Tables are named as at the hub, as are fields.

    Every method but `close` raises Unavailable, TryAgain and OperatorError as `connectors.contract.Sink` does; nothing
    is half done then.
    """

    def tables(self) -> Sequence[Linkable]:
        """Tables that go both ways, parents first."""

    def rows(self, table: str) -> Iterator[Sequence[Told]]:
        """All rows, in pages, as they were at one moment."""

    def read(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Fields]:
        """Those of these rows that are there."""

    def held(self, table: str) -> Collection[Key]:
        """Rows of the other side that wait here for a person, as they were found ambiguous."""

    def hold(self, table: str, reasons: Mapping[Key, str]) -> None:
        """What comes of these rows of the other side waits here from now on."""

    def release(self, table: str, keys: Collection[Key], *, gone: bool) -> None:
        """These wait no more; what has come meanwhile is written, or forgotten where the row has `gone`."""

    def close(self) -> None:
        """Leave; safe to repeat."""


class LinkHub(LinkSide, Protocol):
    """The hub."""

    def conform(self, table: str, rows: Sequence[Fields]) -> list[Fields]:
        """Rows of another system as this one writes them; fields that are left out stay so."""

    def known(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Known]:
        """What is kept of these rows, where anything is."""


class LinkSpoke(LinkSide, Protocol):
    """The system that is linked with the hub."""

    def obstacle(self, table: str) -> OperatorError | None:
        """Why rows of a table cannot be given other keys; None: they can."""

    def rekey(self, moves: Mapping[str, Mapping[Key, Key]], by: str) -> None:
        """Give rows of these tables the keys that they have at the hub, with all that refers to them, in one
        transaction that says who has asked for it, and of each row when people have changed it. What is gone meanwhile
        is passed over."""
