"""Two records of one row come to be one, and what nobody told of is found; people's work is never destroyed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Routing
from connectors.errors import OperatorError
from connectors.fetching import Stray
from connectors.mirroring import Mirrored
from connectors.notion.simulator import Fault
from connectors.notion.source import NotionSource
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.fetch_store import FetchStore
from connectors.postgres.mirror.store import MirrorStore
from connectors.postgres.mirror.tables import install
from connectors.service import Done
from daemon.fetch.answers import NotAnswered
from daemon.fetch.fetcher import Fetcher
from daemon.fetch.listing import Listings
from daemon.fetch.strays import COPIED, EDITED, Sweeper
from daemon.push.pusher import Pusher
from schemas import domain, outbox
from tests.contract.test_notion_sink import FIELDS, NEVER, row, service
from tests.fix_notion import Simulate, Simulated

PROJECTS = Mirrored("public.projects", "id", ["name", "budget"], seen=True)
OPPORTUNITIES = Mirrored("public.opportunities", "id", ["name", "amount"], seen=False)
BOTH = [PROJECTS, OPPORTUNITIES]


@dataclass
class World:
    """Projects go both ways, opportunities outward."""

    notion: Simulated
    source: NotionSource
    store: FetchStore
    fetcher: Fetcher
    sweeper: Sweeper
    connection: psycopg.Connection[Any]
    pusher: Pusher

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def page(self, source: str, name: str, key: str = "", **values: object) -> str:
        """As people make it."""
        return self.notion.simulator.people.create(source, {"Name": name, "Sync Key": key, **values}).id

    def made(self, table: str, key: str, name: str) -> str:
        """As we make it."""
        answer = self.source.create(table, key, row(name=name), {}, NEVER)
        assert isinstance(answer, Done)
        assert answer.remote is not None
        return answer.remote.id

    def names(self, source: str = "Projects", *, in_trash: bool = False) -> list[str]:
        store = self.notion.simulator.store
        return sorted(str(store.shown(page, "Name")) for page in store.pages(source, in_trash=in_trash))

    def in_trash(self, page: str) -> bool:
        return self.notion.simulator.store.page(page).in_trash

    def list_all(self, seconds: float = 0.0) -> None:
        """Every table whole; and what differs is read."""
        for table in BOTH:
            listings = Listings(self.store, self.source, "notion", [table.table], seconds)
            assert listings.step(may_wait=False)
            while not listings.closed():
                assert listings.step(may_wait=False)
        self.read()

    def read(self) -> None:
        self.run("UPDATE placemat.dirty SET due = clock_timestamp()")
        while self.fetcher.read_dirty():
            pass

    def push(self) -> None:
        """Time passes, and what waits is told."""
        self.run("UPDATE placemat.queue SET due = clock_timestamp(), leased_until = NULL")
        self.run("UPDATE placemat.intents SET at = at - interval '2 min'")
        self.pusher.turn()

    def strays(self) -> list[tuple[str, str]]:
        return [(stray.remote_id, stray.why) for stray in self.store.strays.left()]

    def changes(self) -> list[tuple[str, dict[str, Any]]]:
        found = [outbox.decode(events) for (events,) in self.run("SELECT events FROM placemat.outbox ORDER BY id")]
        return [(change.outcome, change.details) for one in found for change in one.changes]


@contextmanager
def made_world(notion: Simulated, database_factory: Callable[[str], str]) -> Iterator[World]:
    url = database_factory("mirror")
    with ExitStack() as stack:
        hub = stack.enter_context(psycopg.connect(database_factory("hub"), autocommit=True))
        mirror = stack.enter_context(psycopg.connect(url, autocommit=True))
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", BOTH)) == []
        routes = {one.table: Routing(table=one.wanted, only=frozenset(["id", *one.columns])) for one in BOTH}
        destination = Destination("notion", url, "primary", routes, audited=True)
        store, told = FetchStore(destination, BOTH), MirrorStore(destination, BOTH)
        for one in (store, told):
            stack.callback(one.close)
            one.open()
        fields = {one.table: [field for field in FIELDS[one.table] if field.column in one.columns] for one in BOTH}
        own = service(notion, stack, fields)
        [bot] = notion.simulator.store.connections
        source = NotionSource(own._client, own._entities, "notion", bot)
        fetcher = Fetcher(store, source, "notion", BOTH)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        pusher = Pusher(told, source, "notion", BOTH, {}, pool, 1)
        yield World(notion, source, store, fetcher, Sweeper(store, source, "notion", fetcher.told), mirror, pusher)


@pytest.fixture
def world(notion: Simulated, database_factory: Callable[[str], str]) -> Iterator[World]:
    with made_world(notion, database_factory) as found:
        found.fetcher.look_through()
        yield found


@pytest.fixture
def lagging(contracted: Simulate, database_factory: Callable[[str], str]) -> Iterator[World]:
    """Notion's search sees nothing that is younger than ten minutes."""
    with made_world(contracted(query_lag=600), database_factory) as found:
        found.fetcher.look_through()
        yield found


@dataclass
class Twice:
    """A row of projects that has its page, and a second page with its key that we have made and nobody has touched."""

    key: str
    first: str
    second: str


@pytest.fixture
def twice(world: World) -> Twice:
    key = str(uuid.uuid4())
    first = world.made("public.projects", key, "Garden")
    world.fetcher.poll()
    second = world.made("public.projects", key, "Garden")
    world.fetcher.poll()
    return Twice(key, first, second)


# Duplicates


def test_a_reply_that_is_lost_while_the_search_lags_leaves_one_page_at_last(lagging: World) -> None:
    lagging.notion.simulator.faults.add(Fault("cut_after", "create_page"))
    lagging.run("INSERT INTO wanted.opportunities (id, name) VALUES (gen_random_uuid(), 'Grant')")
    lagging.push()
    lagging.push()
    assert lagging.names("Opportunities") == ["Grant", "Grant"], "the search did not show the first"
    assert lagging.run("SELECT count(*) FROM placemat.queue") == [(0,)]
    lagging.notion.clock.advance(601)
    lagging.list_all()
    assert lagging.sweeper.sweep() == 1
    [(kept,)] = lagging.run("SELECT remote_id FROM placemat.remotes")
    [page] = lagging.notion.simulator.store.pages("Opportunities")
    assert page.id == kept, "the row's own stays"
    [gone] = lagging.notion.simulator.store.pages("Opportunities", in_trash=True)
    [(outcome, details)] = lagging.changes()
    assert (outcome, details["record"], details["kept"]) == ("swept", gone.id, kept)
    assert details["request"]
    lagging.list_all()
    assert lagging.sweeper.sweep() == 0
    assert lagging.names("Opportunities") == ["Grant"]


def test_a_second_page_of_ours_goes_and_makes_no_row(world: World, twice: Twice) -> None:
    assert world.sweeper.sweep() == 1
    assert (world.in_trash(twice.first), world.in_trash(twice.second)) == (False, True)
    world.fetcher.poll()
    assert world.run("SELECT id::text, name FROM public.projects") == [(twice.key, "Garden")]
    assert world.fetcher.claim() == 0


def test_the_older_of_two_is_the_row_where_nobody_has_said_so(
    notion: Simulated, database_factory: Callable[[str], str]
) -> None:
    with made_world(notion, database_factory) as world:
        key = str(uuid.uuid4())
        first = world.made("public.projects", key, "Garden")
        world.notion.clock.advance(60)
        second = world.made("public.projects", key, "Garden")
        world.notion.clock.advance(60)
        world.notion.simulator.people.edit(first, {"Budget": 7})
        world.fetcher.look_through()
        assert world.run("SELECT remote_id FROM placemat.remotes") == [(first,)]
        assert world.sweeper.sweep() == 1
        assert world.in_trash(second)


def test_a_second_page_that_people_have_edited_is_left_to_them(world: World, twice: Twice) -> None:
    world.notion.simulator.people.edit(twice.second, {"Budget": 7})
    assert world.sweeper.sweep() == 1
    world.fetcher.poll()
    assert world.sweeper.sweep() == 0
    assert world.strays() == [(twice.second, EDITED)]
    assert not world.in_trash(twice.second)
    assert world.run("SELECT count(*) FROM public.projects") == [(1,)]
    world.notion.simulator.people.delete_key(twice.second)
    world.fetcher.poll()
    assert world.strays() == [], "it is a row of its own, as they have said"
    assert world.run("SELECT count(*) FROM public.projects") == [(2,)]


def test_what_people_did_before_a_second_page_was_seen_counts_too(world: World) -> None:
    key = str(uuid.uuid4())
    world.made("public.projects", key, "Garden")
    world.fetcher.poll()
    second = world.made("public.projects", key, "Garden")
    world.notion.simulator.people.edit(second, {"Budget": 7})
    world.fetcher.poll()
    assert world.sweeper.sweep() == 0
    assert world.strays() == [(second, EDITED)]


def test_a_copy_where_people_make_no_rows_is_listed_until_they_have_taken_it_away(world: World) -> None:
    key = str(uuid.uuid4())
    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (%s, 'Grant')", [key])
    world.push()
    copy = world.page("Opportunities", "a copy", key)
    mine = world.page("Opportunities", "of mine")
    world.list_all()
    assert world.sweeper.sweep() == 0
    assert world.strays() == [(copy, COPIED)]
    assert world.names("Opportunities") == ["Grant", "a copy", "of mine"]
    asked = [entry.path for entry in world.notion.simulator.log if entry.route == "get_page"]
    assert not any(mine in path for path in asked), "what is none of ours is not read"
    world.notion.simulator.people.trash(copy)
    world.list_all()
    assert world.strays() == []


def test_nothing_goes_while_a_request_of_its_row_is_open(world: World, twice: Twice) -> None:
    insert = "INSERT INTO placemat.intents (table_name, key, operation, changes, content, by)"
    world.run(f"{insert} VALUES ('public.projects', %s, 'create', 1, '{{}}', 1)", [f'{{"id":"{twice.key}"}}'])
    assert world.sweeper.sweep() == 1
    assert not world.in_trash(twice.second), "it may be what that request has made"
    world.run("DELETE FROM placemat.intents")
    world.run("UPDATE placemat.strays SET due = clock_timestamp()")
    assert world.sweeper.sweep() == 1
    assert world.in_trash(twice.second)


@pytest.mark.parametrize("how", ["trash", "delete_forever"])
def test_the_last_page_of_a_row_never_goes(world: World, twice: Twice, how: str) -> None:
    getattr(world.notion.simulator.people, how)(twice.first)
    world.run("INSERT INTO wanted.projects (id, name) VALUES (%s, 'Garden')", [twice.key])
    assert world.sweeper.sweep() == 1
    assert not world.in_trash(twice.second)
    world.read()
    world.run("UPDATE placemat.strays SET due = clock_timestamp()")
    assert world.sweeper.sweep() == 1
    assert not world.in_trash(twice.second), "the row is wanted, and has no other"


def test_who_dies_after_the_request_leaves_one_that_the_next_one_records(world: World, twice: Twice) -> None:
    [stray] = world.store.strays.due(9)
    world.store.strays.intend(stray)
    world.source.delete("public.projects", twice.second, None, NEVER)
    before = world.notion.simulator.counts()["update_page"]
    assert world.sweeper.sweep() == 1
    assert world.changes() == [("swept", {"record": twice.second, "kept": twice.first})]
    assert world.notion.simulator.counts()["update_page"] == before, "it was done"
    assert world.sweeper.sweep() == 0


def test_a_reply_that_is_lost_is_looked_for_and_not_repeated(world: World, twice: Twice) -> None:
    world.notion.simulator.faults.add(Fault("cut_after", "update_page"))
    with pytest.raises(NotAnswered):
        world.sweeper.sweep()
    assert world.sweeper.sweep() == 1
    assert [outcome for outcome, _ in world.changes()] == ["swept"]
    assert world.notion.simulator.counts()["update_page"] == 1


def test_what_people_have_taken_away_themselves_is_not_told_as_ours(world: World, twice: Twice) -> None:
    world.notion.simulator.people.trash(twice.second)
    assert world.sweeper.sweep() == 1
    assert world.changes() == []
    assert world.run("SELECT * FROM placemat.strays") == []


# What nobody has told of


def test_nothing_is_told_of_a_table_before_it_was_looked_through(
    notion: Simulated, database_factory: Callable[[str], str]
) -> None:
    with made_world(notion, database_factory) as world:
        key = str(uuid.uuid4())
        world.page("Opportunities", "Grant as it was", key)
        world.run("INSERT INTO wanted.opportunities (id, name) VALUES (%s, 'Grant')", [key])
        world.push()
        assert world.names("Opportunities") == ["Grant as it was"]
        world.fetcher.look_through()
        world.push()
        assert world.names("Opportunities") == ["Grant"], "it is the page that was there"


def test_what_has_gone_or_come_unseen_is_found(world: World) -> None:
    keys = [str(uuid.uuid4()) for _ in range(3)]
    stays, gone, moved = (world.page("Projects", name, key) for name, key in zip("abc", keys, strict=True))
    brought = world.page("Opportunities", "brought here", Amount=7)
    world.fetcher.poll()
    world.notion.clock.advance(3_600)
    world.page("Projects", "later")
    world.fetcher.poll()
    world.notion.simulator.people.delete_forever(gone)
    world.notion.simulator.people.move(moved, "Opportunities")
    world.notion.simulator.people.move(brought, "Projects")
    world.fetcher.poll()
    names = "SELECT name FROM public.projects ORDER BY name"
    assert world.run(names) == [("a",), ("b",), ("c",), ("later",)], "no poll tells of it"
    world.list_all()
    assert world.run(names) == [("a",), ("brought here",), ("later",)]
    assert stays in {page.id for page in world.notion.simulator.store.pages("Projects")}
    assert world.run("SELECT * FROM placemat.dirty") == []
    before = world.notion.simulator.counts()["get_page"]
    world.list_all()
    assert world.notion.simulator.counts()["get_page"] == before, "nothing is left to be read"


def test_what_is_not_shared_any_more_is_not_deleted(world: World) -> None:
    pages = [world.page("Projects", str(at), str(uuid.uuid4())) for at in range(3)]
    world.fetcher.poll()
    [connection] = world.notion.simulator.store.connections.values()
    connection.shared = {world.notion.simulator.sources["Opportunities"].database}
    world.store.mark("public.projects", pages)
    for read in (world.fetcher.poll, world.fetcher.read_dirty, world.list_all):
        with pytest.raises(OperatorError, match=r"nothing of public\.projects any more"):
            read()
    with pytest.raises(OperatorError, match=r"nothing of public\.projects any more"):
        world.source.update("public.projects", pages[0], row(name="x"), {}, None, NEVER)
    assert world.run("SELECT count(*) FROM public.projects") == [(3,)]
    assert world.run("SELECT count(*) FROM placemat.remotes WHERE alive") == [(3,)]
    connection.shared = None
    world.list_all()
    assert world.run("SELECT count(*) FROM public.projects") == [(3,)]


@pytest.mark.parametrize("how", ["trash", "delete_forever"])
def test_what_people_take_away_where_they_have_no_say_is_put_back(world: World, how: str) -> None:
    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (gen_random_uuid(), 'Grant')")
    world.push()
    [page] = world.notion.simulator.store.pages("Opportunities")
    getattr(world.notion.simulator.people, how)(page)
    world.list_all()
    assert world.changes()[-1:] == [("vanished", {"record": page.id})]
    for _ in range(2):  # where it is gone for good, that is found out first
        world.push()
    assert world.names("Opportunities") == ["Grant"]
    again = world.notion.simulator.store.pages("Opportunities")[0].id
    assert (again == page.id) is (how == "trash"), "the same page where there is one"
    world.list_all()
    assert world.run("SELECT count(*) FROM placemat.queue") == [(0,)]


def test_what_the_hub_has_taken_away_itself_is_not_put_back(world: World) -> None:
    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (gen_random_uuid(), 'Grant')")
    world.push()
    world.run("DELETE FROM wanted.opportunities")
    world.push()
    world.list_all()
    world.push()
    assert world.names("Opportunities") == []
    assert world.names("Opportunities", in_trash=True) == ["Grant"]
    assert "vanished" not in [outcome for outcome, _ in world.changes()]


def test_a_key_that_people_have_taken_off_is_given_back(world: World) -> None:
    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (gen_random_uuid(), 'Grant')")
    world.push()
    [page] = world.notion.simulator.store.pages("Opportunities")
    key = world.notion.simulator.store.shown(page, "Sync Key")
    world.notion.simulator.people.delete_key(page)
    world.list_all()
    assert world.fetcher.claim() == 1
    assert world.notion.simulator.store.shown(page, "Sync Key") == key


def test_a_listing_ends_at_no_limit(contracted: Simulate, database_factory: Callable[[str], str]) -> None:
    with made_world(contracted(query_rows=120), database_factory) as world:
        people, start = world.notion.simulator.people, world.notion.clock.now
        for at in range(20):  # imported within a minute, and edited since
            people.create("Projects", {"Name": f"i{at}"}, at=start)
        for at in range(230):
            people.create("Projects", {"Name": str(at)})
            world.notion.clock.advance(20)
        world.fetcher.look_through()
        rows = "SELECT count(*) FROM public.projects"
        assert world.run(rows) == [(250,)]
        people.delete_forever(world.notion.simulator.store.pages("Projects")[-1])
        before = world.notion.simulator.counts()["get_page"]
        world.list_all()
        assert world.run(rows) == [(249,)]
        assert world.notion.simulator.counts()["get_page"] == before + 1, "no other was missed"


def test_more_than_a_listing_holds_made_within_a_minute_is_listed_by_its_edits(
    contracted: Simulate, database_factory: Callable[[str], str]
) -> None:
    with made_world(contracted(query_rows=120), database_factory) as world:
        people = world.notion.simulator.people
        pages = [people.create("Projects", {"Name": str(at)}) for at in range(130)]
        for page in pages[:50]:
            world.notion.clock.advance(20)
            people.edit(page, {"Budget": 1})
        world.fetcher.look_through()
        people.delete_forever(pages[0])
        world.list_all()
        assert world.run("SELECT count(*) FROM public.projects") == [(129,)]


def test_what_waits_to_be_told_goes_before_a_listing_unless_that_is_long_overdue(world: World) -> None:
    listings = Listings(world.store, world.source, "notion", ["public.projects"], 3_600)
    assert not listings.step(may_wait=False), "it was only just looked through"
    past = "UPDATE placemat.cursors SET state = %s WHERE name = 'listed:public.projects'"
    now = world.store.now()

    def since(seconds: int) -> Listings:
        world.run(past, [json.dumps({"at": now - seconds * 1_000_000})])
        return Listings(world.store, world.source, "notion", ["public.projects"], 3_600)

    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (gen_random_uuid(), 'Grant')")
    assert not since(3_700).step(may_wait=False)
    assert not since(7_300).step(may_wait=True)
    assert since(7_300).step(may_wait=False)
    world.push()
    assert since(3_700).step(may_wait=True)
    assert not Listings(world.store, world.source, "notion", ["public.projects"], 3_600).step(may_wait=True)


def test_a_listing_that_is_not_answered_goes_on_where_it_was(world: World) -> None:
    for at in range(150):
        world.page("Projects", str(at))
    world.fetcher.poll()
    listings = Listings(world.store, world.source, "notion", ["public.projects"], 0)
    assert listings.step(may_wait=False)
    world.notion.simulator.faults.add(Fault("failed", "query_data_source"))
    with pytest.raises(NotAnswered):
        listings.step(may_wait=False)
    assert not listings.closed()
    assert listings.step(may_wait=False)
    assert listings.closed()
    assert world.run("SELECT * FROM placemat.dirty") == []


def test_what_is_left_to_people_names_its_row(world: World) -> None:
    key = str(uuid.uuid4())
    world.run("INSERT INTO wanted.opportunities (id, name) VALUES (%s, 'Grant')", [key])
    world.push()
    world.page("Opportunities", "a copy", key)
    world.list_all()
    [stray] = world.store.strays.left()
    assert isinstance(stray, Stray)
    assert stray.key.text == f'{{"id":"{key}"}}'
