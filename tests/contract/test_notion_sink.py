"""Rows as Notion takes and shows them, and what is made of every way in which it answers, on the simulator."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.errors import OperatorError
from connectors.http.auth.bearer import StaticToken
from connectors.http.client import Bounds, HttpClient
from connectors.http.outcome import Answered
from connectors.notion.client import PAGE_SIZE, VERSION, NotionClient, schema
from connectors.notion.dialect import NotionDialect
from connectors.notion.fields import Entity, Field
from connectors.notion.mapping import bind
from connectors.notion.simulator import Fault
from connectors.notion.sink import NotionService
from connectors.service import (
    Done,
    Exhausted,
    Found,
    Gone,
    InTheTrash,
    NotDone,
    Reference,
    Refused,
    Remote,
    Unknown,
    Written,
)  # fmt: skip
from tests.fix_notion import Simulate, Simulated

NEVER = float("inf")
PROJECTS, OPPORTUNITIES = "public.projects", "public.opportunities"
TYPES = {"budget": "numeric", "starts_on": "date", "amount": "numeric", "project_id": "uuid", "tags": "text[]"}
FIELDS = {
    PROJECTS: (
        Field("name", "title"), Field("status", "Status", options={"active": "Active", "planned": "Planned"}),
        Field("area", "Area"), Field("lead", "Lead"), Field("budget", "Budget"), Field("starts_on", "Starts"),
        Field("description", "Description"), Field("tags", "Tags"),
    ),
    OPPORTUNITIES: (
        Field("name", "title"), Field("amount", "Amount"), Field("project_id", "Project", relation=PROJECTS),
    ),
}  # fmt: skip


@dataclass
class World:
    notion: Simulated
    service: NotionService

    def made(self, table: str, rows: Mapping[tuple[str, str], str] | None = None, **values: Any) -> Remote:
        answer = self.service.create(table, uuid.uuid4().hex, row(**values), rows or {}, NEVER)
        assert isinstance(answer, Done)
        assert answer.remote is not None
        return answer.remote


def row(**values: Any) -> dict[str, str | None]:
    """In canonical form."""
    return {name: None if value is None else json.dumps(value) for name, value in values.items()}


def service(
    notion: Simulated, stack: ExitStack, fields: Mapping[str, Sequence[Field]] = FIELDS, read_seconds: float = 30
) -> NotionService:
    http = HttpClient(
        notion.simulator.url, NotionDialect(), connection="notion", auth=StaticToken(notion.simulator.token),
        headers={"Notion-Version": VERSION}, bounds=Bounds(read_seconds=read_seconds),
    )  # fmt: skip
    stack.callback(http.close)
    client = NotionClient(http)
    sources = {PROJECTS: notion.source("Projects"), OPPORTUNITIES: notion.source("Opportunities")}
    entities = {}
    for table, some in fields.items():
        answer = client.data_source(sources[table])
        assert isinstance(answer, Answered)
        entity = Entity(table, sources[table], "Sync Key", tuple(some), both_ways=True, types=TYPES)
        found, wrong = bind(entity, schema(answer), sources)
        assert wrong == []
        assert found is not None
        entities[table] = found
    return NotionService(client, entities, "notion")


@pytest.fixture
def world(notion: Simulated) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(notion, service(notion, stack))


WHOLE: dict[str, Any] = {
    "name": "Garden", "status": "active", "area": "Community", "lead": "Una", "budget": 1250.5,
    "starts_on": "2026-11-22", "description": "x" * 4_500, "tags": ["a", "b"],
}  # fmt: skip


def test_a_page_shows_what_was_expected_of_a_row(world: World) -> None:
    for values in (WHOLE, dict.fromkeys(WHOLE), {**WHOLE, "description": "y" * 60_000, "budget": None}):
        made = world.made(PROJECTS, **values)
        assert made.untold == {}
        assert made.fields == world.service.shown(PROJECTS, row(**values), {})
        again = world.service.read(PROJECTS, made.id)
        assert isinstance(again, Done)
        assert again.remote is not None
        assert again.remote.fields == made.fields


def test_a_row_that_names_another_is_a_relation_once_that_has_a_page(world: World) -> None:
    key = json.dumps(str(uuid.uuid4()))
    values = {"name": "Grant", "project_id": json.loads(key)}
    assert world.service.references(OPPORTUNITIES, [row(**values)]) == {(PROJECTS, key)}
    assert world.service.shown(OPPORTUNITIES, row(**values), {}) == {"name": "Grant"}
    alone = world.made(OPPORTUNITIES, **values)
    assert alone.fields["project_id"] is None
    project = world.made(PROJECTS, name="Garden")
    related = world.made(OPPORTUNITIES, {(PROJECTS, key): project.id}, **values)
    assert related.fields["project_id"] == Reference(PROJECTS, project.id)
    world.notion.simulator.people.edit(related.id, {"Project": [project.id, world.made(PROJECTS, name="x").id]})
    found = world.service.read(OPPORTUNITIES, related.id)
    assert isinstance(found, Done)
    assert found.remote is not None
    assert "names 2 pages" in found.remote.untold["project_id"]


def test_an_update_changes_the_named_fields_alone(world: World) -> None:
    made = world.made(PROJECTS, **WHOLE)
    answer = world.service.update(PROJECTS, made.id, row(name="Orchard", lead=None), {}, made.version, NEVER)
    assert isinstance(answer, Done)
    assert answer.remote is not None
    assert answer.remote.fields == {**made.fields, "name": "Orchard", "lead": None}
    assert answer.request is not None


def test_a_page_is_found_by_its_key_and_in_the_trash_too(world: World) -> None:
    key = uuid.uuid4().hex
    assert world.service.find(PROJECTS, key) == Found([])
    first = world.service.create(PROJECTS, key, row(name="a"), {}, NEVER)
    second = world.service.create(PROJECTS, key, row(name="b"), {}, NEVER)
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    found = world.service.find(PROJECTS, key)
    assert isinstance(found, Found)
    assert {one.id for one in found.remotes} == {one.remote.id for one in (first, second) if one.remote is not None}
    assert [one.key for one in found.remotes] == [key, key]
    for one in found.remotes:
        assert isinstance(world.service.delete(PROJECTS, one.id, None, NEVER), Done)
    trash = world.service.find(PROJECTS, key)
    assert isinstance(trash, Found)
    assert [one.gone for one in trash.remotes] == [True, True]


def test_a_page_in_the_trash_is_restored_before_it_is_changed(world: World) -> None:
    made = world.made(PROJECTS, name="a")
    world.notion.simulator.people.trash(made.id)
    assert world.service.update(PROJECTS, made.id, row(name="b"), {}, None, NEVER) == InTheTrash()
    assert isinstance(world.service.restore(PROJECTS, made.id, NEVER), Done)
    assert isinstance(world.service.update(PROJECTS, made.id, row(name="b"), {}, None, NEVER), Done)
    world.notion.simulator.people.delete_forever(made.id)
    assert world.service.update(PROJECTS, made.id, row(name="c"), {}, None, NEVER) == Gone()
    assert world.service.read(PROJECTS, made.id).remote is None  # type: ignore[union-attr]


def test_a_page_that_names_one_that_is_gone_is_refused_and_not_gone_itself(world: World) -> None:
    parent, key = world.made(PROJECTS, name="a"), str(uuid.uuid4())
    rows = {(PROJECTS, json.dumps(key)): parent.id}
    child = world.made(OPPORTUNITIES, name="b")
    world.notion.simulator.people.delete_forever(parent.id)
    naming = row(project_id=key)
    for answer in (
        world.service.update(OPPORTUNITIES, child.id, naming, rows, None, NEVER),
        world.service.create(OPPORTUNITIES, uuid.uuid4().hex, naming, rows, NEVER),
    ):
        assert isinstance(answer, Refused)
        assert parent.id in answer.reason


UNKNOWN, NOT_DONE = "unknown", "not done"


@pytest.mark.parametrize(
    ("fault", "expected", "pages"),
    [
        (Fault("cut_before", "create_page"), Unknown, 0),
        (Fault("cut_after", "create_page"), Unknown, 1),
        (Fault("cut_within", "create_page"), Unknown, 1),
        (Fault("saved_503", "create_page"), Unknown, 1),
        (Fault("saved_503_silent", "create_page"), Unknown, 1),
        (Fault("failed", "create_page"), Unknown, 0),
        (Fault("failed_after", "create_page", status=502), Unknown, 1),
        (Fault("slow_after", "create_page", seconds=2), Unknown, 1),
        (Fault("throttled", "create_page", retry_after=7), NotDone, 0),
        (Fault("overloaded", "create_page", retry_after=7), NotDone, 0),
        (Fault("conflict", "create_page"), NotDone, 0),
        (Fault("blocked", "create_page"), Exhausted, 0),
        (Fault("block_limit", "create_page"), Exhausted, 0),
    ],
    ids=lambda one: one.kind if isinstance(one, Fault) else None,
)
def test_what_goes_wrong_is_never_taken_for_what_it_is_not(
    world: World, fault: Fault, expected: type[Written], pages: int
) -> None:
    with ExitStack() as stack:
        own = service(world.notion, stack, read_seconds=0.5 if fault.kind == "slow_after" else 30)
        world.notion.simulator.faults.add(fault)
        answer = own.create(PROJECTS, "k", row(name="Garden"), {}, NEVER)
    assert isinstance(answer, expected)
    assert len(world.notion.simulator.store.pages("Projects")) == pages
    if isinstance(answer, NotDone) and fault.kind in ("throttled", "overloaded"):
        assert answer.seconds == 7
    if isinstance(answer, Unknown):
        kept = [one.id for one in world.notion.simulator.store.pages("Projects")]
        assert answer.remote_id == (kept[0] if fault.kind == "saved_503" else None)
    assert world.notion.simulator.counts()["create_page"] == 1, "nothing is sent again by itself"


def test_what_notion_refuses_comes_with_its_own_words(world: World) -> None:
    made = world.made(PROJECTS, name="a")
    answer = world.service.update(PROJECTS, made.id, row(area="un,heard of"), {}, None, NEVER)
    assert isinstance(answer, Refused)
    assert answer.code == "validation_error"
    assert "un,heard of" in answer.reason
    assert answer.request is not None


def test_a_value_that_options_do_not_name_is_refused_before_notion_makes_an_option_of_it(world: World) -> None:
    made = world.made(PROJECTS, name="a")
    answer = world.service.update(PROJECTS, made.id, row(status="unheard of"), {}, None, NEVER)
    assert answer == Refused("cannot_hold", "status: the field's options do not say what unheard of is there")


def test_a_text_that_notion_cannot_take_is_refused_before_it_is_sent(world: World) -> None:
    answer = world.service.create(PROJECTS, "k", row(name="a", description="x" * 200_001), {}, NEVER)
    assert isinstance(answer, Refused)
    assert answer.reason.startswith("description: a text of 200,001 characters is longer")
    assert world.notion.simulator.counts()["create_page"] == 0


def test_what_is_too_late_is_not_sent_any_more(world: World) -> None:
    answer = world.service.create(PROJECTS, "k", row(name="Garden"), {}, time.monotonic() - 0.01)
    assert isinstance(answer, NotDone)
    assert answer.paced
    assert world.notion.simulator.counts()["create_page"] == 0


def test_a_token_that_is_not_taken_stops_the_target_with_what_to_do(world: World) -> None:
    world.notion.simulator.faults.add(Fault("expired", times=None))
    with pytest.raises(OperatorError, match="Notion does not take the token of target notion"):
        world.service.read(PROJECTS, "x")


@pytest.mark.parametrize("switch", ["merges_text", "fixed_window", "restore_with_edits"])
def test_what_is_open_in_the_documentation_makes_no_difference(simulate: Simulate, switch: str) -> None:
    notion = simulate(**{switch: True})
    with ExitStack() as stack:
        world = World(notion, service(notion, stack))
        values = {**WHOLE, "description": "z" * 60_000}
        assert world.made(PROJECTS, **values).fields == world.service.shown(PROJECTS, row(**values), {})


def test_many_pages_are_read_by_one_request_without_those_in_the_trash_and_copies(world: World) -> None:
    made = {world.made(PROJECTS, name=str(at)).id: "" for at in range(120)}
    store, people = world.notion.simulator.store, world.notion.simulator.people
    keys = {page.id: key for key, [page] in store.by_key("Projects").items() if page.id in made}
    trashed, *_, copied = sorted(keys, key=keys.__getitem__)
    people.create("Projects", {"Name": "a copy", "Sync Key": keys[copied]})
    people.trash(trashed)
    asked = len(world.notion.simulator.log)
    found = world.service.several(PROJECTS, keys)
    assert len(world.notion.simulator.log) == asked + 2
    assert isinstance(found, Found)
    assert {one.id for one in found.remotes} == keys.keys() - {trashed}
    read = world.service.read(PROJECTS, copied)
    assert isinstance(read, Done)
    assert read.remote in found.remotes


def test_pages_that_copies_crowd_out_of_an_answer_are_left_to_be_read_one_by_one(world: World) -> None:
    made = {world.made(PROJECTS, name=str(at)).id: "" for at in range(PAGE_SIZE)}
    store, people = world.notion.simulator.store, world.notion.simulator.people
    keys = {page.id: key for key, [page] in store.by_key("Projects").items() if page.id in made}
    people.create("Projects", {"Name": "a copy", "Sync Key": next(iter(keys.values()))})
    found = world.service.several(PROJECTS, keys)
    assert isinstance(found, Found)
    told = [one.id for one in found.remotes]
    assert len(told) == PAGE_SIZE - 1, "the copy takes the place of one"
    assert set(told) < keys.keys()


def test_a_property_that_people_take_away_ends_it_with_its_name_and_refuses_no_row(world: World) -> None:
    made = world.made(PROJECTS, name="Garden", budget=5)
    people = world.notion.simulator.people
    people.rename_property("Projects", "Budget", "Money")
    assert isinstance(world.service.update(PROJECTS, made.id, row(budget=6), {}, None, NEVER), Done)
    people.remove_property("Projects", "Money")
    with pytest.raises(OperatorError, match=r"Column budget of public\.projects has no property Budget in Notion"):
        world.service.update(PROJECTS, made.id, row(budget=7), {}, None, NEVER)
    with pytest.raises(OperatorError, match=r"Column budget of public\.projects has no property Budget in Notion"):
        world.service.read(PROJECTS, made.id)
    other = world.service.create(OPPORTUNITIES, "k", row(name="Grant"), {}, NEVER)
    assert isinstance(other, Done), "other databases are as they were"


def test_a_property_of_another_type_ends_it_with_both_types(world: World) -> None:
    made = world.made(PROJECTS, name="Garden", area="North")
    world.notion.simulator.people.change_type("Projects", "Area", "number")
    with pytest.raises(OperatorError, match="it is of type number, and the column of type text"):
        world.service.update(PROJECTS, made.id, row(area="South"), {}, None, NEVER)
    with pytest.raises(OperatorError, match="it is of type number, and the column of type text"):
        world.service.create(PROJECTS, "k", row(area="South"), {}, NEVER)


def test_a_property_that_was_made_anew_under_its_name_ends_it(world: World) -> None:
    made = world.made(PROJECTS, name="Garden", budget=5)
    simulator = world.notion.simulator
    simulator.people.remove_property("Projects", "Budget")
    simulator.people.add_property("Projects", "Budget", "number")
    with pytest.raises(OperatorError, match=r"The property Budget of public\.projects is another one than it was"):
        world.service.update(PROJECTS, made.id, row(budget=7), {}, None, NEVER)


def test_without_the_property_of_the_keys_nothing_is_looked_for(world: World) -> None:
    world.notion.simulator.people.remove_property("Projects", "Sync Key")
    with pytest.raises(OperatorError, match=r"The property Sync Key is to hold the key .*: there is none"):
        world.service.find(PROJECTS, "k")


def test_a_row_that_is_refused_for_its_own_sake_ends_nothing(world: World) -> None:
    refused = world.service.create(PROJECTS, "k", row(name="Garden", area="a,b"), {}, NEVER)
    assert isinstance(refused, Refused), "a comma in a select's option"
    assert world.notion.simulator.counts()["get_data_source"] == 3, "two at the start, and this one"


def test_a_schema_that_cannot_be_read_refuses_nothing(world: World) -> None:
    world.notion.simulator.faults.add(Fault("overloaded", "get_data_source", retry_after=7))
    answer = world.service.create(PROJECTS, "k", row(name="Garden", area="a,b"), {}, NEVER)
    assert isinstance(answer, NotDone)
