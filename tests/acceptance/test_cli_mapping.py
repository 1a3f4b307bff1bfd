"""`placemat mapping`: before anything is told to Notion, what differs there, and what would be told."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.command import Ended
from tests.fix_office import Office


def mapping(office: Office, *arguments: str) -> Ended:
    return office.mirrored.site.placemat("mapping", *arguments)


def told(ended: Ended) -> Any:
    return json.loads(ended.out)


def test_a_service_that_fits_is_said_to(office: Office) -> None:
    done = mapping(office, "check", office.mirrored.name)
    assert (done.code, done.err) == (0, f"{office.mirrored.name} is as the configuration takes it to be.\n")


def test_what_people_have_changed_over_there_is_named_with_what_to_do(office: Office) -> None:
    office.notion.people.change_type("Projects", "Budget", "rich_text")
    office.notion.people.remove_property("Projects", "Status")
    done = mapping(office, "check", office.mirrored.name)
    assert done.code == 3
    assert "does not fit the property Budget: it is of type rich_text, and the column of type numeric." in done.err
    assert "Column status of public.projects has no property Status in Notion. Try: Add it there" in done.err
    found = told(mapping(office, "check", office.mirrored.name, "--json"))
    assert [one["column"] for one in found["differences"]] == ["status", "budget"]


def test_what_would_be_told_is_said_before_it_is(office: Office) -> None:
    same, other, new = (str(uuid.uuid4()) for _ in range(3))
    for key, budget in ((same, 7), (other, 8), (new, 9)):
        office.mirrored.run(
            "INSERT INTO wanted.projects (id, name, status, budget) VALUES (%s, 'Garden', 'planned', %s)", [key, budget]
        )
    for key in (same, other, str(uuid.uuid4()), ""):
        values = {"Name": "Garden", "Sync Key": key, "Status": "Planned", "Budget": 7}
        office.notion.people.create("Projects", values)
    done = mapping(office, "plan", office.mirrored.name, "--json")
    assert done.code == 3
    table = told(done)["tables"]["public.projects"]
    assert {kind: table[kind] for kind in ("create", "change", "same", "twice", "only_there")} == {
        "create": 1, "change": 1, "same": 1, "twice": 0, "only_there": 2,
    }  # fmt: skip
    changes = {one["what"]: one for one in table["rows"]}
    assert (changes["change"]["key"], changes["change"]["fields"]) == (f'{{"id":"{other}"}}', ["budget"])
    assert changes["create"]["key"] == f'{{"id":"{new}"}}'
    assert office.notion.counts()["create_page"] + office.notion.counts()["update_page"] == 0


def test_a_target_that_is_no_service_is_said_to_be_none(office: Office) -> None:
    done = mapping(office, "check", office.mirrored.back)
    assert done.code == 2
    assert done.err.startswith(f"Error: There is no target {office.mirrored.back} that is a service.")
