"""A service among the targets: its entities are routes to its mirror, and what comes back is captured from there."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.mirroring import Mirrored
from daemon.both_ways import Role
from daemon.config.notion import NotionTarget
from daemon.config.settings import Settings

PROJECTS, PEOPLE = "public.projects", "public.contacts"
FIELDS = {"name": {"property": "title"}, "budget": {"property": "Bud", "direction": "out"}}


def settings(entities: dict[str, Any], **more: Any) -> Settings:
    auth = {"kind": "token", "token": "t"}
    notion = {"kind": "notion", "url": "postgresql://m", "auth": auth, "entities": entities, **more.pop("notion", {})}
    values: dict[str, Any] = {
        "state": {"url": "postgresql://s"},
        "kafka": {"bootstrap_servers": "k"},
        "sources": {"primary": {"url": "postgresql://p", "tables": [PROJECTS, PEOPLE]}},
        "targets": {"notion": notion, "primary_notion": {"url": "postgresql://p", "source": "notion"}},
    }
    if not any(one.get("both_ways") for one in entities.values()):
        del values["targets"]["primary_notion"]
    return Settings(**{**values, **more})


def projects(**more: Any) -> dict[str, Any]:
    return {"table": PROJECTS, "data_source": "d", "both_ways": True, "fields": FIELDS, **more}


def test_an_entity_is_a_route_to_the_mirror_of_its_columns_alone() -> None:
    found = settings({"people": {"table": PEOPLE, "data_source": "p", "fields": {"email": {"property": "E"}}}})
    route = found.targets["notion"].tables[PEOPLE]
    assert (route.table, route.only, route.both_ways) == ("wanted.contacts", ("id", "email"), False)
    assert found.role("notion") is None
    assert "notion" not in found.sources, "nothing comes back"


def test_what_goes_both_ways_comes_back_from_what_the_service_was_seen_to_have() -> None:
    found = settings(
        {"projects": projects(rules={"name": "manual"}, updated_at="updated_at", defaults={"area": "north"})}
    )
    assert found.role("notion") == Role("spoke", "primary", "notion")
    assert found.role("primary_notion") == Role("hub", "primary", "notion")
    source = found.sources["notion"]
    assert (source.tables, source.slot, source.url.get_secret_value()) == (
        (PROJECTS,),
        "placemat_notion",
        "postgresql://m",
    )
    assert found.targets["notion"].tables[PROJECTS].outward == ("budget",)
    back = found.targets["primary_notion"].tables[PROJECTS]
    assert (back.table, back.only, back.rules, back.updated_at) == (
        None,
        ("id", "name", "budget"),
        {"name": "manual"},
        None,
    )
    assert back.constants == {"area": "north"}
    followed = found.targets["primary_observer"].tables[PROJECTS]
    assert (followed.only, followed.updated_at) == (("budget", "id", "name"), "updated_at")


def test_the_mirror_holds_what_the_service_has_fields_for() -> None:
    notion = settings({"projects": projects()}).targets["notion"]
    assert isinstance(notion, NotionTarget)
    assert notion.mirrored() == [Mirrored(PROJECTS, "id", ("name", "budget"), seen=True)]
    assert notion.mirrored()[0].wanted == "wanted.projects"


@pytest.mark.parametrize(
    ("entities", "more", "why"),
    [
        ({"p": projects(where="name = 'x'")}, {}, "targets.notion.entities.p: a table that goes both ways cannot"),
        (
            {"p": projects(both_ways=False, rule="hub")},
            {},
            "targets.notion.entities.p: rule, rules and outward are for",
        ),
        ({"p": projects(), "q": projects()}, {}, "two entities are made of public.projects"),
        ({"p": projects(fields={"lead": {"property": "L", "relation": "q"}})}, {}, "there is no entity q"),
        ({"p": projects()}, {"notion": {"tables": {PROJECTS: {}}}}, "name tables there"),
        (
            {"p": projects(defaults={"name": "x"})},
            {},
            "defaults names column name, which does not come from there alone",
        ),
        ({"p": projects(fields={})}, {}, "at least 1 item"),
        ({"p": projects(rules={"area": "hub"})}, {}, "column area is left out, and has a rule"),
        (
            {"p": projects()},
            {"notion": {"kind": "notes"}},
            "does not match any of the expected tags: 'postgres', 'notion'",
        ),
    ],
)
def test_an_entity_that_cannot_be_meant_is_refused(entities: dict[str, Any], more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(entities, **more)


def test_a_source_has_no_section_beside_its_service() -> None:
    source = {"url": "postgresql://m", "tables": [PROJECTS]}
    primary = {"url": "postgresql://p", "tables": [PROJECTS, PEOPLE]}
    with pytest.raises(ValidationError, match=r"sources.notion: this is made of targets.notion"):
        settings({"p": projects()}, sources={"primary": primary, "notion": source})
