"""What a workspace consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args
from urllib.parse import unquote

from connectors.notion.simulator.errors import Body

Kind = Literal[
    "title", "rich_text", "number", "select", "multi_select", "status", "date", "checkbox", "url", "email",
    "phone_number", "relation", "people", "files", "formula", "rollup", "unique_id", "created_time", "created_by",
    "last_edited_time", "last_edited_by",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
READ_ONLY: frozenset[Kind] = frozenset(
    ["formula", "rollup", "unique_id", "created_time", "created_by", "last_edited_time", "last_edited_by"]
)
"""Notion, property values: what no request writes."""
PAGED: frozenset[Kind] = frozenset(["title", "rich_text", "relation", "people"])
"""Notion, property items: what page objects show the first 25 of."""


@dataclass(frozen=True, slots=True)
class RichText:
    """A piece of text. `inner` is what a mention or an equation holds, as answers show it."""

    content: str
    link: str | None = None
    type: Literal["text", "mention", "equation"] = "text"
    inner: Body | None = None
    looks: frozenset[str] = frozenset()
    color: str = "default"


@dataclass(frozen=True, slots=True)
class Date:
    """As answers show it: days as they are, times with milliseconds and an offset."""

    start: str
    end: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    name: str
    url: str
    hosted: bool = False


Value = None | bool | int | float | str | Date | tuple[RichText, ...] | tuple[File, ...] | tuple[str, ...]
"""By kind: options, people and related pages by their ids; formulas and others that nobody writes as they come out."""


@dataclass(slots=True)
class Option:
    id: str
    name: str
    color: str = "default"


@dataclass(frozen=True, slots=True)
class Related:
    """Where a relation leads; `synced` is the property over there that shows the way back."""

    data_source: str
    synced: str | None = None


@dataclass(frozen=True, slots=True)
class RolledUp:
    """By the ids of a relation here and of a property over there."""

    relation: str
    property: str
    function: str


@dataclass(slots=True)
class Property:
    """`id` is stable and stands percent-encoded in answers; the name is the people's."""

    id: str
    name: str
    kind: Kind
    options: list[Option] = field(default_factory=list)
    related: Related | None = None
    rolled_up: RolledUp | None = None
    prefix: str | None = None
    format: str = "number"
    expression: str = ""


@dataclass(slots=True)
class Block:
    """A piece of a page's body: `content` is what stands under its type."""

    id: str
    type: str
    content: Body
    created_at: datetime
    created_by: str
    children: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """Times are exact here, and rounded down to the minute in what is shown."""

    id: str
    data_source: str
    created_at: datetime
    created_by: str
    edited_at: datetime
    edited_by: str
    number: int
    values: dict[str, Value] = field(default_factory=dict)
    in_trash: bool = False
    locked: bool = False
    past: list[tuple[datetime, Page | None]] = field(default_factory=list)
    """Until when queries see the page as it was: None where it was not there."""
    blocks: list[Block] = field(default_factory=list)

    def edited(self, by: str, at: datetime) -> None:
        self.edited_by, self.edited_at = by, at

    def for_queries(self, now: datetime) -> Page | None:
        """[?] The page as a query sees it."""
        while self.past and self.past[0][0] <= now:
            del self.past[0]
        return self.past[0][1] if self.past else self


@dataclass(slots=True)
class DataSource:
    id: str
    database: str
    name: str
    created_at: datetime
    edited_at: datetime
    created_by: str
    properties: dict[str, Property] = field(default_factory=dict)
    in_trash: bool = False
    pages_made: int = 0

    def find(self, given: str) -> Property | None:
        """Notion, property values: a property by its id, encoded or not, or by its name; an id goes first."""
        by_id = (one for one in self.properties.values() if given in (one.id, unquote(one.id)))
        return next(by_id, None) or next((one for one in self.properties.values() if one.name == given), None)

    def title(self) -> Property:
        return next(one for one in self.properties.values() if one.kind == "title")


@dataclass(slots=True)
class Database:
    id: str
    title: str
    created_at: datetime
    data_sources: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    type: Literal["person", "bot"] = "person"
    email: str | None = None


@dataclass(slots=True)
class Connection:
    """`shared` are the databases that it may see, None for all (Notion: authorization)."""

    bot: User
    tokens: set[str] = field(default_factory=set)
    shared: set[str] | None = None
