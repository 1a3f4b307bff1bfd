"""What is in the demo's Notion: eight databases, by table and column, and the configuration that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID

ZONE = "Australia/Brisbane"
REQUESTS_PER_MINUTE = 600
"""What Notion lets a connection of its larger plans do (180 of others): it keeps the demo short."""
POLL_SECONDS = 2.0
TARGET, BACK = "notion", "primary_notion"
MIRROR = "placemat_notion"
"""The database of the daemon's own in which it keeps what Notion is to have."""


@dataclass(frozen=True, slots=True)
class Field:
    """The property that a column is. `relation` is the entity whose row the column names."""

    property: str
    relation: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A table, the database that it is in Notion, and its properties by column. `{workspace}` in the conditions is the
    key of the workspace whose rows are shown; `condition` says as SQL, for who counts, what `where` says."""

    table: str
    database: str
    fields: Mapping[str, Field]
    both_ways: bool = False
    where: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    condition: str = "true"
    only_if_named_by: tuple[str, ...] = ()


OWN = "workspace_id = '{workspace}'"
NAMED_BY = ("public.project_contacts.contact_id", "public.interactions.contact_id")
"""Contacts are shown that have a project or an interaction."""
PEOPLE = (
    OWN + " AND (EXISTS (SELECT FROM project_contacts p WHERE p.contact_id = contacts.id)"
    " OR EXISTS (SELECT FROM interactions i WHERE i.contact_id = contacts.id))"
)


def _titled(column: str, *, options: Mapping[str, str] | None = None, **fields: str) -> dict[str, Field]:
    """Fields by column; `options` are those of Status or Stage."""
    found = {column: Field("title")}
    for name, property_ in fields.items():
        listed = options if options and property_ in ("Status", "Stage") else {}
        found[name] = Field(property_, options=listed or {})
    return found


def _options(*values: str) -> dict[str, str]:
    return {value: value.replace("_", " ").capitalize() for value in values}


ENTITIES: Mapping[str, Entity] = MappingProxyType(
    {
        "organisations": Entity(
            "organisations", "Organisations", _titled("name", kind="Kind", abn="ABN", website="Website")
        ),
        "projects": Entity(
            "projects",
            "Projects",
            _titled(
                "name",
                options=_options("planned", "active", "paused", "completed", "archived"),
                status="Status",
                lead="Lead",
                budget="Budget",
                starts_on="Starts",
                ends_on="Ends",
                description="Description",
            ),
            both_ways=True,
        ),
        "opportunities": Entity(
            "opportunities",
            "Opportunities",
            _titled(
                "name",
                options=_options("identified", "preparing", "submitted", "won", "lost", "withdrawn"),
                stage="Stage",
                amount="Amount",
                probability="Probability",
                deadline="Deadline",
            )
            | {"project_id": Field("Project", "projects"), "funder_id": Field("Funder", "organisations")},
            both_ways=True,
        ),
        "people": Entity(
            "contacts",
            "People",
            _titled("full_name", email="Email", phone="Phone", linkedin_url="LinkedIn", source="Source")
            | {
                "organisation_id": Field("Organisation", "organisations"),
                "last_contacted_at": Field("Last contacted", zone=ZONE),
                "contact_frequency_days": Field("Contact every"),
            },
            where=OWN,
            condition=PEOPLE,
            only_if_named_by=NAMED_BY,
        ),
        "places": Entity(
            "places",
            "Places",
            _titled("name", region="Region", latitude="Latitude", longitude="Longitude"),
            where=OWN,
            condition=OWN,
        ),
        "actions": Entity(
            "actions",
            "Actions",
            _titled(
                "title", options=_options("open", "in_progress", "done", "cancelled"), status="Status", due_on="Due"
            )
            | {
                "project_id": Field("Project", "projects"),
                "assignee_id": Field("Assignee", "people"),
                "done_at": Field("Done at", zone=ZONE),
            },
            where=OWN,
            condition=OWN,
        ),
        "artifacts": Entity(
            "artifacts",
            "Artifacts",
            _titled("name", kind="Kind", url="Link")
            | {"project_id": Field("Project", "projects"), "place_id": Field("Place", "places")},
            where=OWN,
            condition=OWN,
        ),
        "stories": Entity(
            "stories",
            "Stories",
            _titled("title", content="Content")
            | {"project_id": Field("Project", "projects"), "published_at": Field("Published", zone=ZONE)},
            where="privacy = 'public' and storyteller.consent_given = true and " + OWN,
            parents={"storyteller": "public.storytellers"},
            condition="privacy = 'public' AND (SELECT consent_given FROM storytellers"
            " WHERE storytellers.id = storyteller_id) AND " + OWN,
        ),
    }
)
"""Of the community's tables, by entity; rows of one workspace alone, but for those whose edits come back."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where Notion is, who is let in, and its data sources by the names of the databases."""

    url: str
    token: str
    sources: Mapping[str, str]


def sections(notion: Workspace, mirror: str, primary: str, workspace: UUID, guard: str) -> str:
    """The targets `notion` and `primary_notion` as TOML. `mirror` and `primary` are URLs, `workspace` a key of the
    primary: of whose rows are shown, and that of rows that people make in Notion."""
    entities = "\n".join(
        "\n".join(_entity(name, one, notion.sources[one.database], workspace)) for name, one in ENTITIES.items()
    )
    return f"""
[targets.{TARGET}]
kind = "notion"
url = {json.dumps(mirror)}
base_url = {json.dumps(notion.url)}
auth = {{ kind = "token", token = {json.dumps(notion.token)} }}
requests_per_minute = {REQUESTS_PER_MINUTE}
poll_seconds = {POLL_SECONDS}
{guard}
{entities}
[targets.{BACK}]
source = "{TARGET}"
url = {json.dumps(primary)}
{guard}"""


def _entity(name: str, entity: Entity, source: str, workspace: UUID) -> Iterator[str]:
    yield f"[targets.{TARGET}.entities.{name}]"
    yield f'table = "public.{entity.table}"'
    yield f"data_source = {json.dumps(source)}"
    if entity.both_ways:
        yield "both_ways = true"
        yield 'updated_at = "updated_at"'
        yield f'defaults = {{ workspace_id = "{workspace}" }}'
    if entity.where is not None:
        yield f"where = {json.dumps(entity.where.format(workspace=workspace))}"
    if entity.only_if_named_by:
        yield f"only_if_named_by = {json.dumps(entity.only_if_named_by)}"
    for path, table in entity.parents.items():
        yield f"parents.{path} = {json.dumps(table)}"
    for column, one in entity.fields.items():
        yield f"fields.{column} = {{ {', '.join(_settings(one))} }}"
    yield ""


def _settings(one: Field) -> Iterator[str]:
    yield f"property = {json.dumps(one.property)}"
    if one.relation is not None:
        yield f"relation = {json.dumps(one.relation)}"
    if one.options:
        yield f"options = {{ {', '.join(f'{value} = {json.dumps(name)}' for value, name in one.options.items())} }}"
    if one.zone is not None:
        yield f"zone = {json.dumps(one.zone)}"
