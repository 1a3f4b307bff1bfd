"""A backlog is told with few requests: many records are looked at by one, and nobody's edit is lost by that."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Routing
from connectors.hooks import Delivery, Named
from connectors.mirroring import Mirrored
from connectors.notion.simulator import Fault
from connectors.notion.simulator.records import Page
from connectors.notion.source import NotionSource
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.fetch_store import FetchStore
from connectors.postgres.mirror.hook_store import HookStore
from connectors.postgres.mirror.store import MirrorStore
from connectors.postgres.mirror.tables import install
from connectors.service import Exhausted, NotDone
from daemon.fetch.fetcher import Fetcher
from daemon.push.looking import LOOK_SECONDS
from daemon.push.pusher import MOST_KEYS, Pusher
from daemon.resolve import outbound
from daemon.resolve.backlog import Backlog, read_backlog, write_backlog
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.records import HUB, HubRecord
from daemon.resolve.rules import Rules
from schemas import domain
from schemas.position import Position
from tests.contract.test_notion_sink import FIELDS
from tests.contract.test_notion_source import source_of
from tests.fix_notion import Simulated

PROJECTS = Mirrored("public.projects", "id", ["name", "status", "area", "budget"], seen=True)
SPOKE = "notion"


@dataclass
class World:
    """Projects that go both ways. The hub is the test: what it says stands in the mirror as the apply writes it."""

    notion: Simulated
    connection: psycopg.Connection[Any]
    fetcher: Fetcher
    fetched: FetchStore
    pusher: Pusher
    now: list[float]
    """By the pusher's clock."""
    position: int = 0
    before: Counter[str] = field(default_factory=Counter)
    acts: list[Callable[[], None]] = field(default_factory=list)

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def say(self, key: uuid.UUID, name: str | None = None, budget: int = 0) -> None:
        """The hub has this row now; none without a name."""
        row: dict[str, Any] = {} if name is None else {"name": name, "budget": budget}
        text, self.position = f'{{"id":"{key}"}}', self.position + 1
        found = self.run("SELECT state FROM placemat.sides WHERE key = %s", [text])
        told = {"id": json.dumps(str(key)), "name": json.dumps(name), "budget": f"{budget}.00"} if row else None
        made = frozenset([HUB]) if row and not self.run("SELECT 1 FROM wanted.projects WHERE id = %s", [key]) else ()
        record = HubRecord(Position(1, self.position, 1), told, UNKNOWN, created_by=frozenset(made))
        if found and (earlier := read_backlog(found[0][0], SPOKE)) is not None:
            record = outbound.fold(SPOKE, [earlier.record, record])
        if row:
            columns = {"id": key, **row}
            names = ", ".join(columns)
            values = ", ".join("%s" for _ in columns)
            changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns)
            self.run(
                f"INSERT INTO wanted.projects ({names}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {changed}",
                list(columns.values()),
            )
        else:
            self.run("DELETE FROM wanted.projects WHERE id = %s", [key])
        state = write_backlog(SPOKE, Backlog(record), alive=bool(row))
        self.run(
            "INSERT INTO placemat.sides VALUES ('primary', 'public.projects', %s, %s)"
            " ON CONFLICT (source, table_name, key) DO UPDATE SET state = EXCLUDED.state",
            [text, state],
        )

    def projects(self, count: int) -> list[uuid.UUID]:
        """So many that both sides have."""
        keys = [uuid.uuid4() for _ in range(count)]
        for at, key in enumerate(keys):
            self.say(key, name=f"project {at:04}", budget=1)
        self.push()
        self.fetcher.poll()
        assert len(self.notion.simulator.store.pages("Projects")) == count
        self.before = self.notion.simulator.counts()
        return keys

    def told(self, pages: Sequence[str]) -> None:
        """By webhooks."""
        hooks = HookStore(self.fetched._session.destination.url, "notion", [PROJECTS.table])
        for page in pages:
            named = frozenset({Named(PROJECTS.table, page)})
            assert hooks.take(Delivery(str(uuid.uuid4()), named)) == "taken"
        hooks.close()

    def push(self) -> None:
        """Until nothing is left."""
        while self.run("SELECT 1 FROM placemat.queue WHERE due <= clock_timestamp()"):
            self.pusher.turn()

    def calls(self) -> Counter[str]:
        """Since the projects were there, by route."""
        return self.notion.simulator.counts() - self.before

    def page(self, key: uuid.UUID) -> Page:
        [found] = self.notion.simulator.store.by_key("Projects")[str(key)]
        return found

    def shown(self, key: uuid.UUID) -> tuple[object, object]:
        store, page = self.notion.simulator.store, self.page(key)
        return store.shown(page, "Name"), store.shown(page, "Budget")

    def meanwhile(self, act: Callable[[], None]) -> None:
        """Once, between the first writes and the next."""
        self.acts.append(act)

    def between(self) -> None:
        while self.acts and self.calls()["update_page"]:
            self.acts.pop()()


class Watched(NotionSource):
    """Before requests are made together, `between` is called."""

    between: Callable[[], None] = staticmethod(lambda: None)

    def room(self) -> NotDone | Exhausted | None:
        self.between()
        return super().room()


@pytest.fixture
def world(notion: Simulated, database_factory: Callable[[str], str]) -> Iterator[World]:
    url = database_factory("mirror")
    with ExitStack() as stack:
        hub = stack.enter_context(psycopg.connect(database_factory("hub"), autocommit=True))
        mirror = stack.enter_context(psycopg.connect(url, autocommit=True))
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", [PROJECTS])) == []
        notion.simulator.rates.clear()
        routes = {PROJECTS.table: Routing(table=PROJECTS.wanted, only=frozenset(["id", *PROJECTS.columns]))}
        destination = Destination("notion", url, "primary", routes, mirror=True)
        fetched, told = FetchStore(destination, [PROJECTS]), MirrorStore(destination, [PROJECTS])
        for store in (fetched, told):
            stack.callback(store.close)
            store.open()
        fields = [one for one in FIELDS[PROJECTS.table] if one.column in PROJECTS.columns]
        own = source_of(notion, stack, fields)
        service = Watched(own._client, own._entities, SPOKE)
        fetcher, now = Fetcher(fetched, service, "notion", [PROJECTS]), [0.0]
        fetcher.look_through()
        pool = stack.enter_context(ThreadPoolExecutor(3))
        rules = {PROJECTS.table: Rules()}
        pusher = Pusher(told, service, SPOKE, [PROJECTS], rules, pool, 3, clock=lambda: now[0])
        found = World(notion, mirror, fetcher, fetched, pusher, now)
        service.between = found.between
        yield found


@pytest.fixture
def notion(contracted: Callable[..., Simulated]) -> Simulated:
    return contracted(connection_per_minute=60_000)


def test_a_backlog_costs_a_write_for_each_row_and_a_look_for_many(world: World) -> None:
    keys = world.projects(2 * MOST_KEYS)
    for key in keys:
        world.say(key, name="renamed", budget=1)
    world.push()
    assert world.calls() == {"update_page": len(keys), "query_data_source": 2}
    assert {world.shown(key) for key in keys} == {("renamed", 1)}


def test_many_changes_are_one_request_and_a_row_that_came_and_went_is_none(world: World) -> None:
    [key] = world.projects(1)
    for budget in range(5):
        world.say(key, name="Garden", budget=budget)
    gone = uuid.uuid4()
    world.say(gone, name="gone", budget=1)
    world.say(gone)
    world.push()
    assert world.calls() == {"get_page": 1, "update_page": 1}, "few rows are looked at one by one"
    assert world.shown(key) == ("Garden", 4)
    assert world.run("SELECT count(*) FROM placemat.queue") == [(0,)]


def test_a_record_that_people_have_edited_is_read_by_itself_and_their_edit_stays(world: World) -> None:
    keys = world.projects(10)
    world.notion.simulator.people.edit(world.page(keys[3]), {"Budget": 99})
    world.notion.simulator.people.edit(world.page(keys[7]), {"Name": "theirs"})
    for key in keys:
        world.say(key, name="renamed", budget=1)
    world.push()
    assert world.calls() == {"update_page": 9, "query_data_source": 1, "get_page": 2}
    assert (world.shown(keys[3]), world.shown(keys[7])) == (("renamed", 99), ("theirs", 1))
    assert {world.shown(key) for key in keys[4:7]} == {("renamed", 1)}


def test_a_look_that_was_long_ago_is_made_again(world: World) -> None:
    keys = sorted(world.projects(20))

    def much_later() -> None:
        world.notion.simulator.people.edit(world.page(keys[-1]), {"Name": "theirs"})
        world.now[0] += LOOK_SECONDS + 1

    world.meanwhile(much_later)
    for key in keys:
        world.say(key, name="renamed", budget=1)
    world.push()
    assert world.shown(keys[-1]) == ("theirs", 1)
    assert world.calls()["query_data_source"] == 2


def test_what_was_read_since_the_look_is_not_written_over(world: World) -> None:
    keys = sorted(world.projects(20))

    def read_meanwhile() -> None:
        world.notion.simulator.people.edit(world.page(keys[-1]), {"Name": "theirs"})
        world.fetched.mark(PROJECTS.table, [world.page(keys[-1]).id])
        assert world.fetcher.read_dirty() == 1

    world.meanwhile(read_meanwhile)
    for key in keys:
        world.say(key, name="renamed", budget=1)
    world.push()
    assert world.shown(keys[-1]) == ("theirs", 1)
    assert world.run("SELECT name FROM public.projects WHERE id = %s", [keys[-1]]) == [("theirs",)]


def test_what_we_have_written_to_is_read_together_once_queries_show_it_and_else_by_itself(world: World) -> None:
    keys = world.projects(30)
    world.notion.simulator.people.edit(world.page(keys[0]), {"Name": "theirs"})
    pages = [world.page(key).id for key in keys]
    world.notion.simulator.people.trash(world.page(keys[1]))
    world.told(pages)
    assert world.fetcher.read_dirty() == 30
    assert (world.fetcher.read_dirty(), world.calls()) == (0, {}), "a query may not show yet what was told just now"
    world.run("UPDATE placemat.dirty SET since = since - interval '1 min', due = clock_timestamp()")
    assert world.fetcher.read_dirty() == 30
    assert world.calls() == {"query_data_source": 1, "get_page": 2}
    assert world.run("SELECT name FROM public.projects WHERE id = %s", [keys[0]]) == [("theirs",)]
    assert world.run("SELECT 1 FROM public.projects WHERE id = %s", [keys[1]]) == []
    assert world.fetcher.read_dirty() == 0
    world.run("UPDATE placemat.remotes SET written_at = NULL")
    world.told(pages[5:15])
    assert world.fetcher.read_dirty() == 10
    assert world.calls() == {"query_data_source": 1, "get_page": 12}, "what is told of is somebody else's doing"


def test_what_people_do_to_records_that_we_have_just_written_is_not_put_off(world: World) -> None:
    """Webhooks have told of our own writes before, and polls name the records again and again."""
    keys = world.projects(10)
    world.told([world.page(key).id for key in keys])
    assert world.fetcher.read_dirty() == 10
    for key in keys:
        world.notion.simulator.people.edit(world.page(key), {"Budget": 7})
    for _ in range(3):
        world.fetcher.poll()
    assert world.fetcher.read_dirty() == 10
    assert world.run("SELECT DISTINCT budget::int FROM public.projects") == [(7,)]


@pytest.mark.parametrize("made", [False, True], ids=["an update", "a create"])
def test_what_the_hub_has_said_since_a_request_whose_answer_was_lost_is_told_too(world: World, made: bool) -> None:
    [key] = world.projects(0 if made else 1) or [uuid.uuid4()]
    world.notion.simulator.faults.add(Fault("cut_after", "create_page" if made else "update_page"))
    world.say(key, name="first", budget=1)
    world.push()
    assert world.shown(key)[0] == "first"
    world.say(key, name="second", budget=2)
    world.run("UPDATE placemat.queue SET due = clock_timestamp()")
    world.run("UPDATE placemat.intents SET at = at - interval '2 min'")
    world.push()
    assert world.shown(key) == ("second", 2)
    assert world.run("SELECT 1 FROM placemat.queue") == []


def test_what_people_have_made_of_a_page_whose_making_nobody_has_heard_of_is_theirs(world: World) -> None:
    key = uuid.uuid4()
    world.notion.simulator.faults.add(Fault("cut_after", "create_page"))
    world.say(key, name="ours", budget=1)
    world.push()
    world.notion.simulator.people.edit(world.page(key), {"Name": "theirs", "Budget": 7})
    world.run("UPDATE placemat.queue SET due = clock_timestamp()")
    world.run("UPDATE placemat.intents SET at = at - interval '2 min'")
    world.push()
    assert world.shown(key) == ("theirs", 7)
    assert world.run("SELECT name, budget::int FROM public.projects") == [("theirs", 7)], "the hub hears of it"
