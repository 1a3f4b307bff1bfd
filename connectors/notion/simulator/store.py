"""What is in the workspace, and what tests and the demo read of it directly, beside the API."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from connectors.notion.simulator.errors import not_found
from connectors.notion.simulator.records import (
    Connection,
    Database,
    DataSource,
    File,
    Kind,
    Page,
    Property,
    RichText,
    User,
    Value,
)
from connectors.notion.simulator.settings import Clock, Settings

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:;<=>?@[]^_`{|}~\\"


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that webhooks tell: `type` as `page.created`, `properties` the ids of what was updated."""

    type: str
    entity: str
    by: User
    at: datetime
    properties: frozenset[str] = frozenset()


@dataclass
class Store:
    """All of one workspace. Whoever reads or writes holds `lock`; the methods of this class do so themselves."""

    settings: Settings
    clock: Clock
    workspace: User = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)
    databases: dict[str, Database] = field(default_factory=dict)
    sources: dict[str, DataSource] = field(default_factory=dict)
    by_id: dict[str, Page] = field(default_factory=dict)
    by_source: dict[str, dict[str, Page]] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    """By the id of the bot."""
    listeners: list[Callable[[Happened], None]] = field(default_factory=list)
    blocks_made: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.settings.seed)
        self.workspace = User(self.new_id(), "The workspace")

    def new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def new_secret(self, prefix: str) -> str:
        return f"{prefix}{self._random.getrandbits(200):050x}"

    def new_property_id(self) -> str:
        """Notion, pages: four characters, percent-encoded where a URL needs it."""
        return quote("".join(self._random.choices(LETTERS, k=4)), safe="")

    def tell(self, happened: Happened) -> None:
        for listener in self.listeners:
            listener(happened)

    def keep(self, page: Page) -> None:
        self.by_id[page.id] = page
        self.by_source[page.data_source][page.id] = page

    def drop(self, page: Page) -> None:
        del self.by_id[page.id]
        del self.by_source[page.data_source][page.id]

    # Workspace

    def add_person(self, name: str, email: str | None = None) -> User:
        with self.lock:
            user = User(self.new_id(), name, "person", email or f"{name.split()[0].lower()}@example.org")
            self.users[user.id] = user
            return user

    def add_connection(self, name: str, token: str | None = None) -> Connection:
        """A bot with a token of its own."""
        with self.lock:
            bot = User(self.new_id(), name, "bot")
            self.users[bot.id] = bot
            found = self.connections[bot.id] = Connection(bot, {token or self.new_secret("ntn_")})
            return found

    def add_personal_token(self, person: User) -> str:
        """Notion, authorization: what a person does with it is that person's doing, and has a limit of its own."""
        with self.lock:
            token = self.new_secret("ntn_")
            self.connections.setdefault(person.id, Connection(person)).tokens.add(token)
            return token

    def add_database(self, title: str, properties: Mapping[str, Property]) -> DataSource:
        """A database with one data source; the properties' ids are given here, their names are the keys."""
        with self.lock:
            now = self.clock()
            database = Database(self.new_id(), title, now)
            source = DataSource(self.new_id(), database.id, title, now, now, self.workspace.id)
            database.data_sources.append(source.id)
            for name, given in properties.items():
                given.name = name
                self.add_property(source, given)
            self.databases[database.id] = database
            self.sources[source.id] = source
            self.by_source[source.id] = {}
            return source

    def add_property(self, source: DataSource, given: Property) -> Property:
        given.id = "title" if given.kind == "title" else self.new_property_id()
        for option in given.options:
            option.id = option.id or self.new_id()
        source.properties[given.id] = given
        return given

    # What a connection sees

    def seen(self, connection: Connection, database: str) -> bool:
        return connection.shared is None or database in connection.shared

    def database_for(self, connection: Connection, id_: str) -> Database:
        found = self.databases.get(id_)
        if found is None or not self.seen(connection, id_):
            raise not_found("database", id_)
        return found

    def source_for(self, connection: Connection, id_: str) -> DataSource:
        found = self.sources.get(id_)
        if found is None or not self.seen(connection, found.database):
            raise not_found("data_source", id_)
        return found

    def page_for(self, connection: Connection, id_: str, what: str = "page") -> Page:
        found = self.by_id.get(id_)
        if found is None or not self.seen(connection, self.sources[found.data_source].database):
            raise not_found(what, id_)
        return found

    def connection_of(self, token: str) -> Connection | None:
        return next((one for one in self.connections.values() if token in one.tokens), None)

    # For tests and the demo

    def source(self, name: str) -> DataSource:
        """A data source by its name or its id."""
        with self.lock:
            found = self.sources.get(name) or next((one for one in self.sources.values() if one.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def pages(self, name: str, *, in_trash: bool | None = False) -> list[Page]:
        """The pages of a data source, oldest first; `in_trash` None for all."""
        source = self.source(name)
        with self.lock:
            own = list(self.by_source[source.id].values())
        return [page for page in own if in_trash is None or page.in_trash == in_trash]

    def by_key(self, name: str, *, key: str = "Sync Key", in_trash: bool | None = False) -> dict[str, list[Page]]:
        """The pages of a data source by what their property `key` says, "" where it says nothing."""
        found: dict[str, list[Page]] = {}
        for page in self.pages(name, in_trash=in_trash):
            found.setdefault(str(self.shown(page, key)), []).append(page)
        return found

    def shown(self, page: Page, name: str) -> object:
        """A value as a person sees it: text, numbers, names of options, ids of people and of related pages."""
        with self.lock:
            found = self.sources[page.data_source].find(name)
            if found is None:
                raise KeyError(name)
            return plain(found, page.values.get(found.id))

    def page(self, page_id: str) -> Page:
        with self.lock:
            return self.by_id[page_id]


def plain(property_: Property, value: Value) -> object:
    """A value without Notion's shapes around it."""
    names = {option.id: option.name for option in property_.options}
    if isinstance(value, tuple):
        if all(isinstance(piece, RichText) for piece in value) and property_.kind in ("title", "rich_text"):
            return "".join(piece.content for piece in texts(value))
        return [names.get(piece, piece) if isinstance(piece, str) else _url(piece) for piece in value]
    return names.get(value, value) if isinstance(value, str) else value


def _url(piece: RichText | File) -> str:
    return piece.url if isinstance(piece, File) else piece.content


def texts(value: Value) -> Sequence[RichText]:
    return [piece for piece in value if isinstance(piece, RichText)] if isinstance(value, tuple) else []


def ids(value: Value) -> tuple[str, ...]:
    return tuple(piece for piece in value if isinstance(piece, str)) if isinstance(value, tuple) else ()


def empty(kind: Kind) -> Value:
    """Notion, pages: empty is null or an empty list."""
    if kind in ("title", "rich_text", "multi_select", "relation", "people", "files"):
        return ()
    return False if kind == "checkbox" else None
