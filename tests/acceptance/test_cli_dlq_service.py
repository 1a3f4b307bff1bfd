"""`placemat dlq`, `status` and `lag`, of a service that refuses rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.notion.simulator import Fault
from tests.command import Ended
from tests.fix_office import Office
from tests.people import put
from tests.waiting import until


@pytest.fixture
def refusing(office: Office) -> Iterator[Office]:
    """At work. Notion takes no comma in the option of a select."""
    with office.mirrored.running():
        yield office


def dlq(office: Office, *arguments: str) -> Ended:
    return office.mirrored.site.placemat("dlq", *arguments, "--target", office.mirrored.name)


def parked(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dlq(office, "list", "--json").out)["parked"]
    return found


def of_target(office: Office, verb: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(office.mirrored.site.placemat(verb, "--json").out)
    target: dict[str, Any] = found["targets"][office.mirrored.name]
    return target


def refused(office: Office, name: str) -> int:
    office.project(name=name, area="North, South")
    return int(until(lambda: parked(office), 30, what="a refusal")[0]["id"])


def test_what_a_service_refuses_is_listed_with_its_own_words_and_goes_on_once_it_takes_it(refusing: Office) -> None:
    number = refused(refusing, "Garden")
    refusing.project(name="River", status="active")
    until(lambda: ("River", "active", None) in refusing.pages(), 30, what="the others to go on")
    [found] = parked(refusing)
    assert (found["kind"], found["table"], found["code"]) == ("refused", "public.projects", "validation_error")
    assert "comma" in found["reason"]
    shown = dlq(refusing, "show", str(number), "--values", "--json").json
    assert (shown["wanted"]["name"], {one["op"] for one in shown["queue"]}) == ("Garden", {None})
    for_people = dlq(refusing, "show", str(number), "--values").out
    assert '"name": "Garden"' in for_people
    assert "code: validation_error" in for_people
    again = dlq(refusing, "redrive", str(number))
    assert again.code == 1
    assert "1 of 1 were refused again" in again.err
    assert [one["id"] for one in parked(refusing)] == [number], "it keeps its number"


def test_what_is_told_again_once_the_service_takes_it_is_refused_no_more(refusing: Office) -> None:
    key = refusing.project(name="Garden")
    refusing.until_both(("Garden", "planned", None))
    refusing.notion.faults.add(Fault("refused", "update_page", times=None))
    put(refusing.mirrored.hub, "projects", key, budget=2)
    [found] = until(lambda: parked(refusing), 30, what="a refusal")
    refusing.notion.faults.clear()
    done = dlq(refusing, "redrive", str(found["id"]))
    assert (done.code, done.err) == (0, "Redriven: 1 of 1.\n")
    assert (refusing.pages(), parked(refusing)) == ([("Garden", "planned", 2)], [])


def test_what_an_operator_gives_up_is_not_told_before_it_changes_again(refusing: Office) -> None:
    number = refused(refusing, "Garden")
    done = dlq(refusing, "discard", str(number), "--reason", "not theirs")
    assert (done.code, parked(refusing), refusing.pages()) == (0, [], [])
    refusing.mirrored.hub.execute("UPDATE projects SET area = 'North'")
    refusing.until_both(("Garden", "planned", None))


def test_what_waits_for_a_service_is_told_and_counted(office: Office) -> None:
    with office.mirrored.running("capture", "apply"):
        office.project(name="Garden", status="active")
        until(lambda: of_target(office, "status")["backlog"], 30, what="the mirror to be there")
        until(lambda: of_target(office, "status")["backlog"]["keys"] == 1, 30, what="a row that waits")
        waits = of_target(office, "lag")["backlog"]
        assert (waits["keys"], waits["refused"], waits["unread"]) == (1, 0, 0)
        assert waits["seconds"] > 0
        assert f"{office.mirrored.name}: 1 rows are to be told to it" in office.mirrored.site.placemat("status").out
        assert "1 rows to be told, the oldest for" in office.mirrored.site.placemat("lag").out
    with office.mirrored.running():
        refused(office, "River")
        until(lambda: of_target(office, "status")["backlog"]["keys"] == 0, 30, what="the rest to be told")
        assert of_target(office, "status")["parked"] == of_target(office, "lag")["parked"] == 1
    assert of_target(office, "status")["backlog"]["refused"] == 1
    assert (
        json.loads(office.mirrored.site.placemat("status", "--json").out)["targets"][office.mirrored.back]["backlog"]
        is None
    )
