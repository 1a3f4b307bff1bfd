"""What a source's database offers to whoever puts its own rows back to what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from connectors.contract import Expected, Refusal


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a table may be put back: `columns` (None: all), without those that are `kept` where a row is there, and
    without those that are `masked`: what is told of them is not their value. `where` is what a row then had to have.
    With `partial` a row is made again also where values are not told: those columns have their defaults then."""

    columns: frozenset[str] | None = None
    kept: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    where: Sequence[tuple[str, str]] = ()
    partial: bool = False


class Texts(NamedTuple):
    """A value as it is now and as it was, in PostgreSQL's text; None is NULL."""

    now: str | None
    then: str | None


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row that is not as it was: what is to be done about it, and the fields that differ.

    `untold` are columns whose value of then is not told: those of a row that is there stay as they are.
    """

    key: bytes
    kind: Literal["insert", "update", "delete"]
    fields: Mapping[str, Texts]
    untold: tuple[str, ...] = ()


def against(wrong: Wrong, scope: Scope) -> str | None:
    """Why a row may not be put back, if so."""
    if wrong.kind == "insert" and scope.columns is not None:
        return "there is no such row any more, and only columns of rows that are there are put back"
    if wrong.kind == "insert" and wrong.untold and not scope.partial:
        return f"the topics do not tell all of it ({', '.join(wrong.untold)})"
    return None


class Passing(NamedTuple):
    """Keys of the rows that a condition is true of, and of those where what it asks for is not told."""

    keys: set[bytes]
    untold: set[bytes]


@dataclass(slots=True)
class Written:
    """What came of writing rows. `kept` are fields that the database has made other values of, by key."""

    done: list[Wrong] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    kept: dict[bytes, tuple[str, ...]] = field(default_factory=dict)


class RestoreTarget(Protocol):
    """A source's own database. All calls come from one thread.

    Every method but `close` raises Unavailable, TryAgain and OperatorError as a `Sink` does, and nothing is half done.
    """

    def open(self) -> list[str]:
        """Connect, and see that rows may be written; the tables, parents first."""

    def passing(self, table: str, rows: Sequence[Expected]) -> Passing:
        """Which rows the scope's `where` is true of: as they were, or as they are where there was none."""

    def compare(self, table: str, rows: Sequence[Expected]) -> list[Wrong]:
        """Those of the rows that are not as they were, within the scope; an envelope of None: there was none."""

    def write(self, table: str, rows: Sequence[Expected], actor: str) -> Written:
        """Put rows back in one transaction, which tells who does it. They are locked and compared again in it: whatever
        they have become by then gives way."""

    def close(self) -> None:
        """Leave; safe to repeat."""
