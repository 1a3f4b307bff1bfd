"""A mirror as those work with it who tell the service: leases, intents, and what has come of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from connectors.contract import Destination, Routing
from connectors.mirroring import Mirrored
from connectors.postgres import bookkeeping
from connectors.postgres.mirror.store import MirrorStore
from connectors.postgres.mirror.tables import install
from connectors.pushing import NOT_LINKED, Due, Intent, Key, LeaseLost, Linked, Over, Overtaken, Seen, Told
from schemas import domain, outbox

PROJECTS = Mirrored("public.projects", "id", ["name", "budget"], seen=True)
STORIES = Mirrored("public.stories", "id", ["title"], seen=False)
TABLES = [PROJECTS.table, STORIES.table]
LONG = 600.0


@dataclass
class World:
    url: str
    connection: psycopg.Connection[Any]
    stores: list[MirrorStore] = field(default_factory=list)

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def store(self) -> MirrorStore:
        routes = {
            one.table: Routing(table=one.wanted, only=frozenset(["id", *one.columns])) for one in (PROJECTS, STORIES)
        }
        made = MirrorStore(Destination("notion", self.url, "primary", routes, audited=True), [PROJECTS, STORIES])
        made.open()
        self.stores.append(made)
        return made

    def project(self, name: str, *, bulk: bool = False, events: int = 1) -> Key:
        """A row that is wanted, with events that have led to it."""
        key = uuid.uuid4()
        self.run("INSERT INTO wanted.projects (id, name, budget) VALUES (%s, %s, 12.5)", [key, name])
        found = Key("public.projects", f'{{"id":"{key}"}}')
        for at in range(events):
            self.run(
                "INSERT INTO placemat.queue_events VALUES ('t', 0, %s, %s, %s)", [hash(key) % 1000 * 10 + at, *found]
            )
        self.run("UPDATE placemat.queue SET bulk = %s WHERE key = %s", [bulk, found.text])
        return found

    def outbox(self) -> list[outbox.Change]:
        found = [outbox.decode(events) for (events,) in self.run("SELECT events FROM placemat.outbox ORDER BY id")]
        self.run("DELETE FROM placemat.outbox")
        return [change for one in found for change in one.changes]

    def end_leases(self) -> None:
        self.run("UPDATE placemat.queue SET leased_until = clock_timestamp() - interval '1 s'")


@pytest.fixture
def world(database_factory: Callable[[str], str]) -> Iterator[World]:
    url = database_factory("mirror")
    with (
        psycopg.connect(database_factory("hub"), autocommit=True) as hub,
        psycopg.connect(url, autocommit=True) as mirror,
    ):
        domain.install_primary(hub)
        with mirror.transaction():
            bookkeeping.install(mirror)
            assert list(install(mirror, hub, "notion", [PROJECTS, STORIES])) == []
            mirror.execute(
                "INSERT INTO placemat.cursors (name, state) SELECT 'poll:' || t, '{}' FROM unnest(%s::text[]) t",
                [[one.table for one in (PROJECTS, STORIES)]],
            )
        found = World(url, mirror)
        yield found
        for store in found.stores:
            store.close()


def only(store: MirrorStore) -> Due:
    [due] = store.load(store.lease(TABLES, 1, LONG))
    return due


def test_a_key_is_one_worker_s_until_it_is_told_or_the_lease_ends(world: World) -> None:
    one, other = world.store(), world.store()
    key = world.project("Garden")
    assert [lease.key for lease in one.lease(TABLES, 9, LONG)] == [key]
    assert other.lease(TABLES, 9, LONG) == []
    world.end_leases()
    assert [lease.key for lease in other.lease(TABLES, 9, LONG)] == [key]
    other.close()
    assert [lease.key for lease in world.store().lease(TABLES, 9, LONG)] == [key], "whoever dies gives it back"


def test_changes_of_people_go_before_copies_and_tables_in_their_order(world: World) -> None:
    copy, later = world.project("a", bulk=True), world.project("b")
    world.run("INSERT INTO wanted.stories (id, title) VALUES (gen_random_uuid(), 'c')")
    world.run("UPDATE placemat.queue SET bulk = false, since = 'epoch' WHERE table_name = 'public.stories'")
    leased = [lease.key for lease in world.store().lease(TABLES, 9, LONG)]
    assert (leased[0], leased[1].table, leased[2]) == (later, "public.stories", copy)


def test_what_is_known_of_a_key_is_told_in_the_form_of_the_stream(world: World) -> None:
    store = world.store()
    key = world.project("Garden", events=2)
    due = only(store)
    assert (due.lease.key, due.lease.changes, due.lease.attempts, due.lease.request) == (key, 1, 0, None)
    assert due.wanted is not None
    assert (due.wanted["name"], due.wanted["budget"]) == ('"Garden"', "12.50")
    assert (due.backlog, due.linked, due.seen, due.intent, len(due.events)) == (None, NOT_LINKED, None, None, 2)
    [made] = store.canonical("public.projects", [{"name": "Garden", "budget": 12.5}])
    assert made == {"name": '"Garden"', "budget": "12.50"}, "as it is once it is stored"


def test_what_was_told_leaves_the_queue_with_its_events_and_says_what_became_of_each(world: World) -> None:
    store = world.store()
    key = world.project("Garden", events=3)
    due = only(store)
    store.intend(due.lease, Intent("create", None, "{}"))
    linked = Linked("page", "v1", {"name": "d"}, None, alive=True)
    store.record(Told(due, linked, "applied", {"request": "r1"}))
    first, second, third = due.events
    assert [(one.outcome, one.events, one.details) for one in world.outbox()] == [
        ("collapsed", [first, second], {"into": list(third)}),
        ("applied", [third], {"request": "r1"}),
    ]
    for table in ("queue", "queue_events", "intents"):
        assert world.run(f"SELECT * FROM placemat.{table}") == []
    assert store.remote_ids("public.projects", [key.text]) == {key.text: "page"}


def test_what_changes_while_it_is_told_is_told_again(world: World) -> None:
    store = world.store()
    key = world.project("Garden")
    due = only(store)
    world.run("UPDATE wanted.projects SET name = 'Orchard'")
    store.record(Told(due, Linked("page", alive=True), "applied"))
    again = only(store)
    assert (again.lease.key, again.lease.attempts) == (key, 0)
    assert again.wanted is not None
    assert (again.wanted["name"], again.linked.remote_id, again.events) == ('"Orchard"', "page", [])


def test_an_open_intent_is_found_by_whoever_has_the_key_next(world: World) -> None:
    one, other = world.store(), world.store()
    world.project("Garden")
    due = only(one)
    one.intend(due.lease, Intent("create", None, '{"name":"x"}'))
    world.end_leases()
    found = only(other)
    assert found.intent is not None
    assert (found.intent.operation, found.intent.content) == ("create", '{"name":"x"}')
    assert 0 <= found.intent.age < LONG
    with pytest.raises(LeaseLost):
        one.record(Told(due, Linked("page"), "applied"))
    with pytest.raises(LeaseLost):
        one.withdraw(due.lease)
    with pytest.raises(LeaseLost):
        one.refuse(due, "c", "r", {}, linked=NOT_LINKED)
    with pytest.raises(LeaseLost):
        one.saw(due.lease, Seen({"name": '"x"'}), Over(None))
    assert world.run("SELECT count(*) FROM placemat.remotes") == [(0,)], "nothing of it is stored"
    other.withdraw(found.lease)
    assert world.run("SELECT count(*) FROM placemat.intents") == [(0,)]


def test_two_rows_are_never_one_record(world: World) -> None:
    store = world.store()
    world.project("a")
    store.record(Told(only(store), Linked("page", alive=True), "applied"))
    world.project("b")
    with pytest.raises(Exception, match="refuses what placemat keeps there"):
        store.record(Told(only(store), Linked("page", alive=True), "applied"))


def test_a_refused_key_waits_for_its_next_change_and_its_events_are_told_as_parked(world: World) -> None:
    store = world.store()
    key = world.project("Garden")
    due = only(store)
    store.refuse(due, "validation_error", "title is too long", {"request": "r"}, linked=NOT_LINKED)
    assert store.lease(TABLES, 9, LONG) == []
    assert not store.hurry(key), "nobody waits for it"
    [change] = world.outbox()
    assert (change.outcome, change.events, change.details["code"]) == ("parked", list(due.events), "validation_error")
    world.run("UPDATE wanted.projects SET name = 'short'")
    again = only(store)
    store.record(Told(again, Linked("page", alive=True), "applied"))
    assert [(one.outcome, one.events) for one in world.outbox()] == [("applied", list(due.events))]


def test_a_key_that_is_given_back_is_due_later(world: World) -> None:
    store = world.store()
    world.project("Garden")
    leases = store.lease(TABLES, 9, LONG)
    store.postpone(leases, LONG, tried=True)
    assert store.lease(TABLES, 9, LONG) == []
    world.run("UPDATE placemat.queue SET due = clock_timestamp()")
    assert only(store).lease.attempts == 1


def test_what_a_service_was_seen_to_have_stands_in_its_table_behind_what_is_said_of_it(world: World) -> None:
    store = world.store()
    key = world.project("Garden")
    due = only(store)
    store.saw(due.lease, Seen({"id": f'"{key.text[7:43]}"', "name": '"Read"'}, read="{}", author="ada"), Over(None))
    store.record(
        Told(due, Linked("page", alive=True), "applied", seen=Seen({"name": '"Garden"', "budget": "12.5"}, mark="{}"))
    )
    assert world.run("SELECT name, budget FROM public.projects") == [("Garden", 12.5)]
    assert only_gone(store, world, key)


def test_a_look_that_somebody_has_overtaken_is_not_stored(world: World) -> None:
    store = world.store()
    key = world.project("Garden")
    due = only(store)
    look = Seen({"id": f'"{key.text[7:43]}"', "name": '"an older state"'}, read="{}")
    store.saw(due.lease, look, Over(due.seen))
    newer = "UPDATE public.projects SET name = 'a newer state'"
    world.run(newer)
    with pytest.raises(Overtaken):
        store.saw(due.lease, look, Over(look.row))
    with pytest.raises(Overtaken):
        store.record(Told(due, Linked("page", alive=True), "agreed", seen=look, over=Over(look.row)))
    assert world.run("SELECT name FROM public.projects") == [("a newer state",)]
    assert world.run("SELECT count(*) FROM placemat.queue") == [(1,)]
    store.record(Told(due, Linked("page", alive=True), "applied", seen=look))
    assert world.run("SELECT name FROM public.projects") == [("an older state",)], "an answer to a write is the latest"


def only_gone(store: MirrorStore, world: World, key: Key) -> bool:
    """A record that is gone is a row that is deleted."""
    world.run("UPDATE wanted.projects SET name = 'again'")
    due = only(store)
    assert due.seen is not None
    store.record(Told(due, replace(due.linked, alive=False), "applied", seen=Seen(None, mark="{}")))
    return world.run("SELECT * FROM public.projects") == [] and store.remote_ids(key.table, [key.text]) == {}


def test_whoever_waits_is_woken_by_what_is_queued(world: World) -> None:
    store = world.store()
    with closing(psycopg.connect(world.url, autocommit=True)) as person:
        person.execute("INSERT INTO wanted.projects (id, name) VALUES (gen_random_uuid(), 'a')")
    began = time.monotonic()
    store.wait(LONG)
    assert time.monotonic() - began < LONG / 10
    assert len(store.lease(TABLES, 9, LONG)) == 1
