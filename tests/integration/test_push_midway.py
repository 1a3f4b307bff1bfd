"""What is told of a row in several requests, and goes wrong between them: nothing is there twice, and nothing stays."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from connectors.contract import Destination
from connectors.fetching import Reading
from connectors.mirroring import Mirrored
from connectors.postgres.mirror.fetch_store import FetchStore
from connectors.postgres.mirror.store import MirrorStore
from connectors.pushing import Intent, Lease, Told
from connectors.service import Done, Gone, InTheTrash, NotDone, Service, Written
from connectors.service import Unknown as NobodyKnows
from daemon.push.worker import PushWorker
from tests.integration.push_world import (
    STORIES,
    STORYTELLERS,
    Killed,
    World,
    killed,
    lost,
    not_sent,
    on_its_way,
    refused,
    row_key,
)
from tests.integration.push_world import world as world
from tests.waiting import until

TABLE = STORYTELLERS.table
Script = list[Callable[[Callable[[], Written]], Written]]


def destination(world: World) -> Destination:
    """The mirror."""
    mirror: Any = world.pusher()._mirror
    found: Destination = mirror._destination
    return found


def done(carry_out: Callable[[], Written]) -> Written:
    return carry_out()


def gone(_: Callable[[], Written]) -> Written:
    return Gone()


def stays_in_the_trash(_: Callable[[], Written]) -> Written:
    return InTheTrash()


def withdrawn(world: World) -> uuid.UUID:
    """A row that was told, and has left since; its record is in the trash."""
    key = world.teller("Una")
    world.push()
    world.run("DELETE FROM wanted.storytellers")
    world.push()
    assert world.service.trash == {"r1"}
    return key


def wanted(world: World, key: uuid.UUID, name: str = "Una") -> None:
    world.run("INSERT INTO wanted.storytellers (id, name) VALUES (%s, %s)", [key, name])


def later(world: World, turns: int = 3) -> None:
    for _ in range(turns):
        world.due_now()
        with suppress(Killed):
            world.push()


def test_a_row_whose_record_is_gone_for_good_gets_one_other_also_where_the_answer_is_lost(world: World) -> None:
    key = withdrawn(world)
    wanted(world, key)
    world.service.records["r1"]["key"] = "nobody's"
    world.service.script = [gone, lost]
    later(world)
    assert [one for one in world.service.records.values() if one["key"] == str(key)] == [
        {"key": str(key), "name": "Una"}
    ]
    assert world.queue() == 0


@pytest.mark.parametrize("answer", [not_sent, on_its_way, killed, refused])
def test_what_was_taken_out_of_the_trash_goes_back_there_when_its_row_has_left(
    world: World, answer: Callable[[Callable[[], Written]], Written]
) -> None:
    key = withdrawn(world)
    wanted(world, key, "again")
    world.service.script = [done, answer]
    with suppress(Killed):
        world.push()
    world.run("DELETE FROM wanted.storytellers")
    later(world)
    assert (world.names(), world.queue()) == ([], 0)


def test_what_was_taken_out_of_the_trash_is_not_taken_for_written(world: World) -> None:
    """Who has died over it may have sent more, which is still on its way."""
    key = withdrawn(world)
    wanted(world, key, "first")
    on_the_way: list[Callable[[], Written]] = []

    def dies(carry_out: Callable[[], Written]) -> Written:
        on_the_way.append(carry_out)
        raise Killed

    world.service.script = [done, dies]
    with suppress(Killed):
        world.push()
    world.run("UPDATE wanted.storytellers SET name = 'second'")
    world.run("UPDATE placemat.queue SET due = clock_timestamp(), leased_until = NULL")
    world.push()
    on_the_way[0]()
    later(world)
    assert (world.names(), world.queue()) == (["second"], 0)


def test_a_record_that_does_not_come_out_of_the_trash_waits_for_people(world: World) -> None:
    """As where what it is in is in the trash."""
    world.teller("Una")
    world.push()
    world.run("UPDATE wanted.storytellers SET name = 'Eva'")
    world.service.script = [stays_in_the_trash] * 50
    world.push(turns=4)
    assert len(world.service.asked) == 3, "made, changed, taken out"
    assert world.run("SELECT code FROM placemat.queue WHERE refused_at IS NOT NULL") == [("in_trash",)]


def test_what_a_service_has_saved_and_does_not_show_yet_is_not_taken_for_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.teller("Una")

    def saved(carry_out: Callable[[], Written]) -> Written:
        carry_out()
        return NobodyKnows("503, and yet it is saved", "r1")

    world.service.script = [saved]
    with monkeypatch.context() as hidden:
        hidden.setattr(world.service, "read", lambda *_: Done(None))
        world.push()
    later(world)
    assert (world.names(), world.queue()) == (["Una"], 0)
    assert world.run("SELECT alive FROM placemat.remotes") == [(True,)]
    assert [outcome for outcome, _ in world.outcomes()] != ["deleted"]


def test_a_record_of_another_row_is_not_taken_for_this_one_s(world: World) -> None:
    """People can give a record any key."""
    world.teller("one")
    world.push()
    second = world.teller("two")
    world.service.script = [on_its_way]
    world.push()
    world.service.records["r1"]["key"] = str(second)
    later(world)
    assert (world.names(), world.queue()) == (["one", "two"], 0)


def test_what_others_have_found_since_a_row_was_loaded_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = row_key(TABLE, world.teller("Una"))
    world.push()
    world.run("INSERT INTO placemat.queue (table_name, key) VALUES (%s, %s)", [*key])
    pusher = world.pusher()
    record = pusher._mirror.record

    def meanwhile(told: Told) -> None:
        world.run("UPDATE placemat.remotes SET alive = false")
        record(told)

    monkeypatch.setattr(pusher._mirror, "record", meanwhile)
    pusher.turn()
    assert world.run("SELECT alive FROM placemat.remotes") == [(False,)]


def test_rows_that_name_one_whose_record_is_another_now_are_told_its_name(world: World) -> None:
    teller, story = world.teller("Una"), uuid.uuid4()
    world.push()
    world.run("INSERT INTO wanted.stories (id, title, storyteller_id) VALUES (%s, 'A song', %s)", [story, teller])
    world.push(turns=2)
    world.service.records["r1"]["key"] = "nobody's"
    world.run("UPDATE placemat.remotes SET alive = false, remote_id = NULL WHERE table_name = %s", [TABLE])
    world.run("UPDATE wanted.storytellers SET name = 'Una D.'")
    world.service.asked.clear()
    later(world)
    assert ("update", "r2") in world.service.asked
    assert world.queue() == 0


class Spinning:
    """A worker at work for a while, and how often it looks for work."""

    def __init__(self, world: World) -> None:
        self.looks = 0
        own = destination(world)

        def mirror() -> MirrorStore:
            store = MirrorStore(own, [STORYTELLERS, STORIES])
            lease = store.lease

            def counted(*values: Any) -> list[Lease]:
                self.looks += 1
                return lease(*values)

            setattr(store, "lease", counted)  # noqa: B010 it is counted, and all else as it is
            return store

        @contextmanager
        def opening(_: threading.Event) -> Iterator[Service]:
            yield world.service

        tables: list[Mirrored] = [STORYTELLERS, STORIES]
        self._worker = PushWorker("notion", mirror, opening, tables, {}, 3)

    def run(self, seconds: float) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=self._worker.run, args=(stop, lambda *_: None))
        thread.start()
        until(lambda: self.looks, 15, what="the worker at work")
        stop.wait(seconds)
        stop.set()
        thread.join()


@pytest.mark.parametrize("case", ["not looked through", "no entity any more", "no state database"])
def test_what_cannot_be_told_now_is_not_asked_for_without_pause(
    world: World, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "no entity any more":
        world.run("INSERT INTO placemat.queue (table_name, key) VALUES ('public.removed', '{}')")
    else:
        world.teller("Una")
    if case == "not looked through":
        world.run("DELETE FROM placemat.cursors")
    if case == "no state database":
        monkeypatch.setattr(world.service, "room", lambda: NotDone("the state database does not answer"))
    spinning = Spinning(world)
    spinning.run(2)
    assert spinning.looks < 10


def test_a_record_that_is_there_again_though_its_row_has_left_is_taken_away(world: World) -> None:
    """Whoever has taken it out of the trash: it was to leave."""
    key = row_key(TABLE, withdrawn(world))
    world.service.trash.clear()
    store = FetchStore(world.pusher()._mirror._destination, [STORYTELLERS, STORIES])  # type: ignore[attr-defined]
    store.open()
    now = store.now()
    store.store([Reading(TABLE, "r1", key, "1", False, now, now, None)], {})
    store.close()
    world.push()
    assert (world.names(), world.service.trash) == ([], {"r1"})


def test_the_clock_of_a_request_runs_from_before_its_intent_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stands still while it is stored must not send when it goes on."""
    world.teller("Una")
    pusher, clock, given = world.pusher(), [1000.0], []
    intend = pusher._mirror.intend

    def slow(lease: Lease, intent: Intent) -> None:
        intend(lease, intent)
        clock[0] += 600

    def create(*values: Any) -> Written:
        given.append(values[-1])
        return NotDone("too late")

    monkeypatch.setattr("daemon.push.request.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(pusher._mirror, "intend", slow)
    monkeypatch.setattr(world.service, "create", create)
    pusher.turn()
    assert [latest < clock[0] for latest in given] == [True], "it begins no more"
