"""What waits in a mirror is told to its service once, whatever answers, is lost, or dies meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from connectors.postgres.bookkeeping import Request
from connectors.postgres.mirror.store import MirrorStore
from connectors.service import (
    Gone,
    Unknown,
    Written,
)  # fmt: skip
from daemon.push.request import Spent
from tests.integration.push_world import (
    Killed,
    World,
    killed,
    killed_after,
    lost,
    not_sent,
    on_its_way,
    refused,
    row_key,
    spent,
)
from tests.integration.push_world import world as world


def test_a_row_is_made_changed_and_taken_away(world: World) -> None:
    key = world.teller("Una")
    world.push()
    assert world.names() == ["Una"]
    world.run("UPDATE wanted.storytellers SET name = 'Una Doyle'")
    world.push()
    assert world.names() == ["Una Doyle"]
    world.run("DELETE FROM wanted.storytellers WHERE id = %s", [key])
    world.push()
    assert (world.names(), world.service.trash, world.queue()) == ([], {"r1"}, 0)
    assert [verb for verb, _ in world.service.asked] == ["create", "update", "delete"]
    assert world.outcomes() == [("applied", {"operation": "create", "request": "q"})], "of the one that had an event"


def test_many_changes_of_a_key_are_one_request(world: World) -> None:
    key = world.teller("a")
    for name in ("b", "c", "d"):
        world.run("UPDATE wanted.storytellers SET name = %s WHERE id = %s", [name, key])
    gone = world.teller("gone")
    world.run("DELETE FROM wanted.storytellers WHERE id = %s", [gone])
    world.push()
    assert (world.service.asked, world.names()) == ([("create", str(key))], ["d"])


def test_what_the_service_cannot_show_is_no_difference_at_the_next_look(world: World) -> None:
    key = world.teller("a name of more than twenty characters")
    world.push()
    world.run("UPDATE wanted.storytellers SET name = 'a name of more than twenty-one characters' WHERE id = %s", [key])
    world.push()
    assert [verb for verb, _ in world.service.asked] == ["create"], "it shows the same"
    assert world.queue() == 0


@pytest.mark.parametrize("ending", [lost, killed, killed_after], ids=["reply lost", "killed before", "killed after"])
def test_a_create_whose_answer_nobody_has_makes_no_second_record(world: World, ending: Any) -> None:
    world.teller("Una")
    world.service.script = [ending]
    with suppress(Killed):
        world.push()
    world.due_now()
    world.push()
    assert (len(world.service.records), world.names(), world.queue()) == (1, ["Una"], 0)
    assert world.run("SELECT count(*) FROM placemat.intents") == [(0,)]
    assert len(world.outcomes()) == 1


@pytest.mark.parametrize("ending", [lost, killed, killed_after], ids=["reply lost", "killed before", "killed after"])
@pytest.mark.parametrize("delete", [False, True])
def test_a_change_whose_answer_nobody_has_is_looked_at_and_done(world: World, ending: Any, delete: bool) -> None:
    key = world.teller("Una")
    world.push()
    statement = "DELETE FROM wanted.storytellers" if delete else "UPDATE wanted.storytellers SET name = 'Eva'"
    world.run(f"{statement} WHERE id = %s", [key])
    world.service.script = [ending]
    with suppress(Killed):
        world.push()
    world.due_now()
    world.push()
    assert (world.names(), world.queue()) == ([] if delete else ["Eva"], 0)


def test_a_lost_create_is_not_repeated_before_it_has_surely_landed(world: World) -> None:
    world.teller("Una")
    world.service.script = [on_its_way]
    world.push()
    world.run("UPDATE placemat.queue SET due = clock_timestamp()")
    world.push()
    assert [verb for verb, _ in world.service.asked] == ["create", "find"]
    assert world.queue() == 1
    world.due_now()
    world.push()
    assert ([verb for verb, _ in world.service.asked][2:], world.names()) == (["find", "create"], ["Una"])


def test_a_record_that_the_service_names_in_its_error_is_adopted_at_once(world: World) -> None:
    world.teller("Una")

    def named(carry_out: Callable[[], Written]) -> Written:
        carry_out()
        return Unknown("503, and yet it is saved", "r1")

    world.service.script = [named]
    world.push()
    assert ([verb for verb, _ in world.service.asked], world.queue()) == (["create", "read"], 0)


def test_what_is_refused_waits_with_the_service_s_words_and_others_go_on(world: World) -> None:
    world.teller("bad")
    world.service.script = [refused]
    world.push()
    world.teller("good")
    world.push()
    assert world.names() == ["good"]
    assert world.run("SELECT code, reason FROM placemat.queue") == [("validation_error", "name should be good")]
    assert [outcome for outcome, _ in world.outcomes()] == ["parked", "applied"]
    world.run("UPDATE wanted.storytellers SET name = 'better' WHERE name = 'bad'")
    world.push()
    assert (world.names(), world.queue()) == (["better", "good"], 0)


def test_what_an_operator_gives_up_is_not_told(world: World) -> None:
    world.teller("bad")
    world.service.script = [refused]
    world.push()
    world.ask("discard")
    world.push()
    assert (world.service.records, world.queue()) == ({}, 0)
    assert [outcome for outcome, _ in world.outcomes()] == ["parked", "discarded"]


@pytest.mark.parametrize("request_", ["redrive", "discard"])
def test_what_an_operator_asks_for_while_a_key_is_told_is_done_after_that(world: World, request_: Request) -> None:
    def meanwhile(carry_out: Callable[[], Written]) -> Written:
        world.ask(request_)
        return refused(carry_out)

    world.teller("bad")
    world.service.script = [refused, meanwhile]
    world.push()
    world.run("UPDATE wanted.storytellers SET name = 'worse'")
    world.push(turns=2)
    assert (world.names(), world.queue()) == (["worse"] if request_ == "redrive" else [], 0)


def test_what_is_asked_for_by_an_operator_waits_as_all_else_where_the_service_does_not_answer(world: World) -> None:
    world.teller("bad")
    world.service.script = [refused, not_sent]
    world.push()
    world.ask("redrive")
    world.push(turns=3)
    assert [verb for verb, _ in world.service.asked] == ["create", "create"]
    assert world.run("SELECT request, due > clock_timestamp() FROM placemat.queue") == [("redrive", True)]


def test_what_an_operator_gives_up_whose_answer_was_lost_is_looked_for_and_then_left(world: World) -> None:
    world.teller("Una")
    world.service.script = [refused, on_its_way]
    world.push()
    world.ask("redrive")
    world.push()
    world.due_now()
    world.ask("discard")
    world.push()
    assert [verb for verb, _ in world.service.asked] == ["create", "create", "find"]
    assert [outcome for outcome, _ in world.outcomes()] == ["parked", "discarded"]
    assert world.queue() == 0


def test_nothing_is_asked_of_a_service_that_lets_nothing_through(world: World) -> None:
    for name in "abcde":
        world.teller(name)
    world.service.script = [spent]
    with pytest.raises(Spent) as found:
        world.push()
    assert found.value.until == 99.0
    assert len(world.service.asked) == 3, "those of one group"
    assert world.run("SELECT count(*) FROM placemat.queue WHERE leased_by IS NOT NULL") == [(0,)]
    assert world.run("SELECT count(*) FROM placemat.intents") == [(0,)]
    world.push()
    assert world.names() == ["a", "b", "c", "d", "e"]


def test_a_request_that_was_not_made_is_made_later(world: World) -> None:
    world.teller("Una")
    world.service.script = [not_sent]
    world.push()
    assert world.run("SELECT attempts, due > clock_timestamp() FROM placemat.queue") == [(1, True)]
    assert world.run("SELECT count(*) FROM placemat.intents") == [(0,)], "there is nothing to look for"
    world.due_now()
    world.push()
    assert [verb for verb, _ in world.service.asked] == ["create", "create"]


def test_a_child_waits_for_its_parent(world: World) -> None:
    teller, story = world.teller("Una"), uuid.uuid4()
    world.run("INSERT INTO wanted.stories (id, title, storyteller_id) VALUES (%s, 'A song', %s)", [story, teller])
    world.service.script = [not_sent]
    world.push()
    assert [name for _, name in world.service.asked] == [str(teller)]
    world.due_now()
    world.push(turns=2)
    assert world.service.records["r2"] == {"key": str(story), "title": "A song", "storyteller_id": str(teller)}
    assert world.queue() == 0


def test_rows_that_name_each_other_in_a_circle_do_not_wait_for_ever(world: World) -> None:
    teller, story = world.teller("comes later"), uuid.uuid4()
    world.run("INSERT INTO wanted.stories (id, title, storyteller_id) VALUES (%s, 'A song', %s)", [story, teller])
    world.run("UPDATE placemat.queue SET due = 'infinity' WHERE table_name = 'public.storytellers'")
    world.push()
    assert world.service.asked == [], "it waits for its parent"
    world.run("UPDATE placemat.queue SET due = now(), since = now() - interval '2 min' WHERE due < 'infinity'")
    world.push()
    assert world.service.asked == [("create", str(story))]


def test_a_child_goes_without_a_parent_that_is_refused_and_is_told_again_once_that_has_come(world: World) -> None:
    teller = world.teller("refused")
    story = "INSERT INTO wanted.stories (id, title, storyteller_id) VALUES (gen_random_uuid(), 'Alone', %s)"
    world.run(story, [teller])
    world.service.script = [refused]
    world.push()
    world.due_now()
    world.service.script = [refused]
    world.push()
    assert [one for one in world.service.records.values() if "storyteller_id" in one] == []
    assert world.names() == ["Alone"]
    world.run("UPDATE wanted.storytellers SET name = 'taken'")
    world.push(turns=2)
    assert world.service.records["r1"]["storyteller_id"] == str(teller)
    assert world.queue() == 0


def test_a_record_in_the_trash_is_taken_out_of_it_for_a_row_that_is_to_be_there(world: World) -> None:
    key = world.teller("Una")
    world.push()
    world.service.trash.add("r1")
    world.run("UPDATE wanted.storytellers SET name = 'Eva' WHERE id = %s", [key])
    world.push(turns=2)
    assert (world.names(), len(world.service.records)) == (["Eva"], 1)
    del world.service.records["r1"]
    world.run("UPDATE wanted.storytellers SET name = 'Ida' WHERE id = %s", [key])
    world.push(turns=3)
    assert (world.names(), world.queue()) == (["Ida"], 0), "one that is gone for good is made anew"


def test_to_take_away_what_is_gone_is_done(world: World) -> None:
    key = world.teller("Una")
    world.push()
    world.outcomes()
    world.run("DELETE FROM wanted.storytellers")
    world.run("INSERT INTO placemat.queue_events VALUES ('t', 0, 9, %s, %s)", [*row_key("public.storytellers", key)])
    world.service.script = [lambda _: Gone()]
    world.push()
    assert ([outcome for outcome, _ in world.outcomes()], world.queue()) == (["deleted"], 0)


def test_a_record_whose_making_and_taking_away_nobody_has_seen_is_the_row_s_record_still(world: World) -> None:
    key = world.teller("Una")
    world.service.script = [killed_after]
    with suppress(Killed):
        world.push()
    world.run("DELETE FROM wanted.storytellers WHERE id = %s", [key])
    world.due_now()
    world.service.script = [killed_after]
    with suppress(Killed):
        world.push()
    assert world.service.trash == {"r1"}
    world.run("INSERT INTO wanted.storytellers (id, name) VALUES (%s, 'Eva')", [key])
    world.due_now()
    world.push()
    assert (world.names(), list(world.service.records), world.queue()) == (["Eva"], ["r1"], 0)


def test_a_record_that_was_found_again_is_known_from_then_on_whoever_dies(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.teller("Una")
    world.service.script = [killed_after]
    with suppress(Killed):
        world.push()
    world.run("UPDATE wanted.storytellers SET name = 'Eva'")
    world.due_now()

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(MirrorStore, "intend", dies)
        with suppress(Killed):
            world.push()
    world.due_now()
    world.push()
    assert (world.names(), list(world.service.records), world.queue()) == (["Eva"], ["r1"], 0)
