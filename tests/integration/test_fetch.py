"""What a service has is read into its mirror: whole at first, then what people have changed, and never an older state
after a newer one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Routing
from connectors.mirroring import Mirrored
from connectors.notion.settled import AFTER
from connectors.notion.simulator import Fault
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.fetch_store import FetchStore
from connectors.postgres.mirror.tables import install
from daemon.fetch.answers import NotAnswered
from daemon.fetch.fetcher import IN_A_ROW, Fetcher
from schemas import domain
from tests.contract.test_notion_sink import FIELDS
from tests.contract.test_notion_source import source_of
from tests.fix_notion import Simulate, Simulated
from tests.waiting import until

PROJECTS = Mirrored("public.projects", "id", ["name", "status", "area", "lead", "budget", "starts_on"], seen=True)


@dataclass
class World:
    notion: Simulated
    fetcher: Fetcher
    store: FetchStore
    connection: psycopg.Connection[Any]

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def names(self) -> list[Any]:
        return [name for (name,) in self.run("SELECT name FROM public.projects ORDER BY name")]

    def poll(self) -> None:
        """What a query tells of records that were read just now is read by itself."""
        self.fetcher.poll()
        while self.fetcher.read_dirty():
            pass

    def page(self, name: str, key: str = "", **values: object) -> str:
        return self.notion.simulator.people.create("Projects", {"Name": name, "Sync Key": key, **values}).id


@pytest.fixture
def world(notion: Simulated, database_factory: Callable[[str], str]) -> Iterator[World]:
    with made_world(notion, database_factory) as found:
        yield found


@contextmanager
def made_world(notion: Simulated, database_factory: Callable[[str], str]) -> Iterator[World]:
    url = database_factory("mirror")
    with ExitStack() as stack:
        hub = stack.enter_context(psycopg.connect(database_factory("hub"), autocommit=True))
        mirror = stack.enter_context(psycopg.connect(url, autocommit=True))
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", [PROJECTS])) == []
        routes = {PROJECTS.table: Routing(table=PROJECTS.wanted, only=frozenset(["id", *PROJECTS.columns]))}
        store = FetchStore(Destination("notion", url, "primary", routes), [PROJECTS])
        stack.callback(store.close)
        store.open()
        fields = [one for one in FIELDS[PROJECTS.table] if one.column in PROJECTS.columns]
        service = source_of(notion, stack, fields)
        yield World(notion, Fetcher(store, service, "notion", [PROJECTS]), store, mirror)


def test_what_is_there_at_first_is_read_whole_and_once(world: World) -> None:
    key = str(uuid.uuid4())
    keyed, made = world.page("keyed", key), world.page("made there")
    assert world.fetcher.look_through()
    assert world.names() == ["keyed", "made there"]
    assert world.run("SELECT remote_id FROM placemat.remotes WHERE keyed") == [(keyed,)]
    assert world.run("SELECT id::text FROM public.projects WHERE name = 'keyed'") == [(key,)]
    assert not world.fetcher.look_through()
    assert world.fetcher.claim() == 1
    [(own,)] = world.run("SELECT id::text FROM public.projects WHERE name = 'made there'")
    assert {page.id for page in world.notion.simulator.store.by_key("Projects")[own]} == {made}
    assert world.fetcher.claim() == 0


def test_edits_copies_and_the_trash_are_read(world: World) -> None:
    key = str(uuid.uuid4())
    page = world.page("Garden", key, Budget=7)
    world.fetcher.look_through()
    world.notion.simulator.people.edit(page, {"Budget": 8})
    world.page("a copy", key)
    world.poll()
    assert world.run("SELECT budget::text FROM public.projects WHERE name = 'Garden'") == [("8.00",)]
    assert world.names() == ["Garden", "a copy"], "the copy is a row of its own"
    world.notion.simulator.people.trash(page)
    world.poll()
    assert world.names() == ["a copy"]
    world.notion.simulator.people.restore(page)
    world.poll()
    assert world.run("SELECT id::text FROM public.projects WHERE name = 'Garden'") == [(key,)]


def test_a_query_that_shows_what_was_before_is_not_believed(
    contracted: Simulate, database_factory: Callable[[str], str]
) -> None:
    """And one that shows something new of what nobody has known for a while is."""
    with made_world(contracted(query_lag=20), database_factory) as world:
        page = world.page("Garden", str(uuid.uuid4()), Budget=7)
        world.notion.clock.advance(30)
        world.fetcher.look_through()
        world.notion.simulator.people.edit(page, {"Budget": 8})
        world.store.mark("public.projects", [page])
        assert world.fetcher.read_dirty() == 1
        budgets = "SELECT budget::text FROM public.projects"
        assert world.run(budgets) == [("8.00",)]
        for _ in range(3):
            world.poll()
            assert world.run(budgets) == [("8.00",)]
        world.notion.simulator.people.edit(page, {"Budget": 9})
        world.notion.clock.advance(30)
        world.run("UPDATE placemat.remotes SET read_at = read_at - interval '1 hour', written_at = NULL")
        world.fetcher.poll()
        assert world.run(budgets) == [("9.00",)]


def test_nothing_is_stored_of_a_record_that_is_being_written_to(world: World) -> None:
    key = str(uuid.uuid4())
    page = world.page("Garden", key)
    world.fetcher.look_through()
    text = f'{{"id":"{key}"}}'
    intent = "INSERT INTO placemat.intents (table_name, key, operation, changes, content, by)"
    world.run(intent + " VALUES ('public.projects', %s, 'update', 1, '{}', 1)", [text])
    world.notion.simulator.people.edit(page, {"Name": "Orchard"})
    world.store.mark("public.projects", [page])
    assert world.fetcher.read_dirty() == 1
    assert world.names() == ["Garden"]
    world.run("DELETE FROM placemat.intents")
    world.run("UPDATE placemat.dirty SET due = clock_timestamp()")
    assert world.fetcher.read_dirty() == 1
    assert world.names() == ["Orchard"]
    assert world.run("SELECT * FROM placemat.dirty") == []


def test_a_read_that_began_before_our_own_write_is_no_news(world: World) -> None:
    key = str(uuid.uuid4())
    page = world.page("Garden", key)
    world.fetcher.look_through()
    world.run("UPDATE placemat.remotes SET written_at = clock_timestamp() + interval '1 min'")
    world.run("UPDATE public.projects SET name = 'as we have written'")
    world.store.mark("public.projects", [page])
    assert world.fetcher.read_dirty() == 1
    assert world.names() == ["as we have written"]
    assert len(world.run("SELECT * FROM placemat.dirty")) == 1, "it is read again"


def test_a_record_that_was_named_is_read_whatever_it_has_become(world: World) -> None:
    key = str(uuid.uuid4())
    page = world.page("Garden", key)
    world.fetcher.look_through()
    new = world.page("made since")
    world.notion.simulator.people.delete_forever(page)
    world.store.mark("public.projects", [page, new, str(uuid.uuid4())])
    assert world.fetcher.read_dirty() == 3
    assert world.names() == ["made since"]
    assert world.fetcher.read_dirty() == 0


def test_a_value_that_the_hub_cannot_hold_is_left_out_and_the_rest_is_told(world: World) -> None:
    page = world.page("Garden", str(uuid.uuid4()), Budget=7)
    world.fetcher.look_through()
    world.notion.simulator.people.edit(page, {"Budget": 1e30, "Name": "Orchard"})
    world.poll()
    assert world.run("SELECT name, budget::text FROM public.projects") == [("Orchard", "7.00")]


def test_a_look_that_is_not_answered_is_taken_up_where_it_began(world: World) -> None:
    for at in range(150):
        world.page(str(at))
    world.notion.simulator.faults.add(Fault("failed", "query_data_source", nth=2))
    with pytest.raises(NotAnswered):
        world.fetcher.look_through()
    assert world.run("SELECT name FROM placemat.cursors") == [("polling:public.projects",)], "it was not read through"
    assert len(world.names()) == 100, "what was read stays"
    assert world.fetcher.look_through()
    assert len(world.names()) == 150
    assert world.run("SELECT name FROM placemat.cursors") == [("poll:public.projects",)]
    assert world.notion.simulator.counts()["query_data_source"] == 4, "it went on where it was; the trash comes last"


def test_a_look_whose_place_is_known_no_more_begins_anew(world: World) -> None:
    for at in range(150):
        world.page(str(at))
    world.notion.simulator.faults.add(Fault("failed", "query_data_source", nth=2))
    with pytest.raises(NotAnswered):
        world.fetcher.look_through()
    [(state,)] = world.run("SELECT state FROM placemat.cursors")
    place = json.loads(state)
    place["cursor"] = json.dumps({**json.loads(place["cursor"]), "next": str(uuid.uuid4())})
    world.run("UPDATE placemat.cursors SET state = %s", [json.dumps(place)])
    with pytest.raises(NotAnswered, match="begins anew"):
        world.fetcher.look_through()
    assert world.fetcher.look_through()
    assert len(world.names()) == 150


def test_a_record_that_cannot_be_read_holds_up_no_other(world: World) -> None:
    pages = [world.page(str(at), str(uuid.uuid4())) for at in range(3)]
    world.fetcher.look_through()
    for page in pages:
        world.notion.simulator.people.edit(page, {"Budget": 7})
    world.store.mark("public.projects", pages)
    world.notion.simulator.faults.add(Fault("failed", "get_page", times=1, status=502))
    assert world.fetcher.read_dirty() == 3
    assert world.run("SELECT remote_id, due > clock_timestamp() FROM placemat.dirty") == [(pages[0], True)]
    assert world.fetcher.read_dirty() == 0, "it is asked for again later"
    world.run("UPDATE placemat.dirty SET due = clock_timestamp()")
    assert world.fetcher.read_dirty() == 1
    assert world.run("SELECT budget::int FROM public.projects") == [(7,)] * 3


def test_where_no_record_can_be_read_it_is_the_service(world: World) -> None:
    pages = [world.page(str(at), str(uuid.uuid4())) for at in range(20)]
    world.fetcher.look_through()
    world.store.mark("public.projects", pages)
    world.notion.simulator.faults.add(Fault("failed", "get_page", times=None, status=502))
    with pytest.raises(NotAnswered):
        world.fetcher.read_dirty()
    assert world.notion.simulator.counts()["get_page"] == IN_A_ROW


def test_a_page_that_cannot_be_read_whole_is_read_by_itself_and_the_others_with_the_listing(world: World) -> None:
    pieces = [{"text": {"content": "x"}} for _ in range(30)]
    world.page("Garden", str(uuid.uuid4()))
    long = world.notion.simulator.people.create("Projects", {"Name": {"title": pieces}}).id
    world.notion.simulator.faults.add(Fault("failed", "get_property", times=1, status=502))
    world.fetcher.look_through()
    assert world.names() == ["Garden"]
    assert world.run("SELECT remote_id FROM placemat.dirty") == [(long,)]
    assert world.fetcher.read_dirty() == 1
    assert world.names() == ["Garden", 30 * "x"]


def test_a_page_that_was_not_read_is_marked_before_the_cursor_goes_beyond_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = world.notion.simulator.people.create("Projects", {"Name": {"title": [{"text": {"content": "x"}}] * 30}}).id
    world.notion.simulator.faults.add(Fault("failed", "get_property", times=1, status=502))
    store = world.store.store

    def stored_and_dead(*values: Any, **more: Any) -> None:
        store(*values, **more)
        raise InterruptedError

    monkeypatch.setattr(world.store, "store", stored_and_dead)
    with pytest.raises(InterruptedError):
        world.fetcher.look_through()
    assert world.run("SELECT remote_id FROM placemat.dirty") == [(long,)]


def test_what_was_read_when_its_minute_was_over_is_not_read_again_by_every_poll(world: World) -> None:
    pieces = [{"text": {"content": "x"}} for _ in range(30)]
    long = world.notion.simulator.people.create("Projects", {"Name": {"title": pieces}, "Sync Key": str(uuid.uuid4())})
    world.fetcher.look_through()

    def items() -> int:
        before = world.notion.simulator.counts()["get_property"]
        world.poll()
        return world.notion.simulator.counts()["get_property"] - before

    assert items() > 0, "somebody may have edited it in the same minute since"
    world.notion.clock.advance(60 + AFTER.seconds)
    assert [items() > 0 for _ in range(4)] == [True, False, False, False]
    world.notion.simulator.people.edit(long, {"Budget": 7})
    assert items() > 0
    assert world.run("SELECT budget::int FROM public.projects") == [(7,)]
    world.notion.simulator.people.trash(long)
    world.poll()
    assert world.names() == []


def test_a_key_that_cannot_be_given_is_not_tried_without_pause(world: World) -> None:
    for at in range(2):
        world.page(f"made there {at}")
    world.fetcher.look_through()
    world.notion.simulator.faults.add(Fault("refused", "update_page", times=1))
    assert world.fetcher.claim() == 1
    assert world.fetcher.claim() == 0
    assert world.notion.simulator.counts()["update_page"] == 2
    world.run("UPDATE placemat.remotes SET claim_due = clock_timestamp()")
    assert world.fetcher.claim() == 1


def test_only_one_reads(world: World) -> None:
    assert world.store.alone()
    other = FetchStore(world.store._session.destination, [PROJECTS])
    other.open()
    assert not other.alone()
    world.store.close()
    until(other.alone, what="the server to know that the other has left")
    other.close()
