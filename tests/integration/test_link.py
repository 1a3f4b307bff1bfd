"""Two databases that were both full before, and go both ways from now on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.fix_linked import Linked

Connection = psycopg.Connection[Any]
EARLIER, LATER = "2026-01-01 10:00:00+00", "2026-03-01 10:00:00+00"
MATCHES = ("slug", "legacy_id", "name,workspace_id", "title,storyteller_id", "url,story_id")
WORDS = [word for match in MATCHES for word in ("--match", match)]
COLUMNS = {
    "workspaces": "id, name, slug, legacy_id",
    "projects": "id, workspace_id, name, budget, legacy_id",
    "storytellers": "id, workspace_id, name, bio, cultural_background, metadata, legacy_id",
    "stories": "id, workspace_id, storyteller_id, project_id, title, slug, content, themes, legacy_id",
    "story_media": "id, workspace_id, story_id, kind, url",
}


def make(connection: Connection, table: str, **values: object) -> uuid.UUID:
    """A row, of the same age on both sides; `updated_at` is what it says, as only updates move it."""
    row: dict[str, object] = {"id": uuid.uuid4(), "created_at": EARLIER, "updated_at": EARLIER, **values}
    columns, places = ", ".join(row), ", ".join(["%s"] * len(row))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})".encode(), list(row.values()))
    key = row["id"]
    assert isinstance(key, uuid.UUID)
    return key


def value(connection: Connection, table: str, column: str, key: uuid.UUID) -> Any:
    row = connection.execute(f"SELECT {column} FROM {table} WHERE id = %s".encode(), [key]).fetchone()
    return row[0] if row is not None else None


def everything(linked: Linked, connection: Connection) -> dict[str, list[Any]]:
    return {table: linked.rows(connection, table, columns) for table, columns in COLUMNS.items()}


def log(linked: Linked) -> set[tuple[str, str, str, str, str | None]]:
    """Table, key, field, rule, and who has won."""
    return set(linked.hub.execute("SELECT table_name, key, field, rule, won FROM placemat.conflict_log"))


def predicted(report: Any) -> set[tuple[str, str, str, str, str | None]]:
    won = {"hub": "ours", "target": "theirs", None: None}
    return {
        (table["table"], f'{{"id":"{row["key"]["id"]}"}}', one["field"], one["rule"], won[one["won"]])
        for table in report["tables"]
        for row in table["differing"]
        for one in row["fields"]
    }


def table_of(report: Any, name: str) -> Any:
    return next(one for one in report["tables"] if one["table"] == f"public.{name}")


@dataclass
class Rows:
    """What both sides hold: of pairs under two keys, the hub's key and the spoke's."""

    space: tuple[uuid.UUID, uuid.UUID]
    pairs: dict[str, tuple[uuid.UUID, uuid.UUID]] = field(default_factory=dict)
    same: dict[str, uuid.UUID] = field(default_factory=dict)
    hub: dict[str, uuid.UUID] = field(default_factory=dict)
    spoke: dict[str, uuid.UUID] = field(default_factory=dict)


def fill(linked: Linked) -> Rows:
    """Under one workspace that was entered twice: rows of every class, and rows that refer to rows of every class."""
    hub, spoke = linked.hub, linked.spoke
    space = (
        make(hub, "workspaces", name="Commons", slug="commons"),
        make(spoke, "workspaces", name="The Commons", slug="commons", updated_at=LATER),
    )
    rows = Rows(space)

    def both(table: str, ours: dict[str, object], theirs: dict[str, object]) -> tuple[uuid.UUID, uuid.UUID]:
        return make(hub, table, workspace_id=space[0], **ours), make(spoke, table, workspace_id=space[1], **theirs)

    rows.same["equal"] = uuid.uuid4()
    both("storytellers", {"id": rows.same["equal"], "name": "Equal"}, {"id": rows.same["equal"], "name": "Equal"})
    rows.same["newer here"], rows.same["newer there"] = uuid.uuid4(), uuid.uuid4()
    for name, ours, theirs in (("newer here", LATER, EARLIER), ("newer there", EARLIER, LATER)):
        both(
            "storytellers",
            {"id": rows.same[name], "name": f"{name}, ours", "bio": "ours", "updated_at": ours},
            {"id": rows.same[name], "name": f"{name}, theirs", "bio": "theirs", "updated_at": theirs},
        )
    rows.pairs["teller"] = both(
        "storytellers",
        {"name": "Twice", "legacy_id": "7", "bio": "ours", "cultural_background": "ours", "updated_at": LATER},
        {"name": "Twice, later", "legacy_id": "7", "bio": "theirs", "cultural_background": "theirs"},
    )
    rows.pairs["late teller"] = both(
        "storytellers",
        {"name": "By name", "metadata": "{}"},
        {"name": "By name", "metadata": '{"x": 1}', "updated_at": LATER},
    )
    rows.hub["teller"] = make(hub, "storytellers", workspace_id=space[0], name="Only here")
    rows.spoke["teller"] = make(spoke, "storytellers", workspace_id=space[1], name="Only there")
    rows.pairs["project"] = both("projects", {"name": "River", "budget": "10.5"}, {"name": "River", "budget": "10.50"})
    teller, there = rows.pairs["teller"]
    rows.pairs["story"] = both(
        "stories",
        {"storyteller_id": teller, "project_id": rows.pairs["project"][0], "title": "Fire", "themes": ["a", "b"]},
        {"storyteller_id": there, "project_id": rows.pairs["project"][1], "title": "Fire", "themes": ["b", "c"]},
    )
    rows.same["story"] = uuid.uuid4()
    both(
        "stories",
        {"id": rows.same["story"], "storyteller_id": teller, "title": "Same", "content": "ours", "updated_at": LATER},
        {"id": rows.same["story"], "storyteller_id": there, "title": "Same", "content": "theirs" * 2_000},
    )
    rows.spoke["story"] = make(
        spoke, "stories", workspace_id=space[1], storyteller_id=there, title="Only there", content="long " * 5_000
    )
    rows.hub["story"] = make(hub, "stories", workspace_id=space[0], storyteller_id=teller, title="Only here")
    rows.pairs["media"] = both(
        "story_media",
        {"story_id": rows.pairs["story"][0], "kind": "image", "url": "x"},
        {"story_id": rows.pairs["story"][1], "kind": "image", "url": "x"},
    )
    return rows


def route(linked: Linked) -> None:
    linked.route("storytellers", rules={"bio": "manual", "cultural_background": "target", "metadata": "hub"})
    linked.route("stories", rules={"themes": "merge"})


def run(linked: Linked, *words: str, code: int = 0) -> Any:
    done = linked.site.placemat("link", linked.spoke_name, *words, "--json")
    assert done.code == code, done.err
    return done.json


def keys(side: Sequence[dict[str, Any]]) -> set[uuid.UUID]:
    return {uuid.UUID(one["id"]) for one in side}


def test_two_full_databases_become_one_as_the_report_has_predicted(linked: Linked) -> None:
    route(linked)
    rows = fill(linked)
    linked.init()
    before = everything(linked, linked.hub), everything(linked, linked.spoke)
    foreseen = run(linked, "--dry-run", *WORDS)
    assert (everything(linked, linked.hub), everything(linked, linked.spoke)) == before
    report = run(linked, *WORDS, "--by", "ada", "--reason", "the move")
    assert {**report, "dry_run": True, "by": "", "reason": None} == {**foreseen, "by": ""}
    tellers = table_of(report, "storytellers")
    assert keys(tellers["only_hub"]) == {rows.hub["teller"]}
    assert keys(tellers["only_target"]) == {rows.spoke["teller"]}
    assert {tuple(one["match"]) for one in tellers["rekeyed"]} == {("legacy_id",), ("name", "workspace_id")}
    assert table_of(report, "projects")["equal"] == 1, "10.5 and 10.50 are the same in the hub's column"
    for ours, theirs in (rows.space, *rows.pairs.values()):
        assert not any(str(theirs) in str(found) for found in everything(linked, linked.spoke).values()), (ours, theirs)
    with linked.running():
        linked.rest(60)
    hub, spoke = everything(linked, linked.hub), everything(linked, linked.spoke)
    manual = {rows.same["newer here"], rows.same["newer there"], rows.pairs["teller"][0]}
    for key in manual:
        assert value(linked.hub, "storytellers", "bio", key) == "ours"
        assert value(linked.spoke, "storytellers", "bio", key) == "theirs"
    for table in COLUMNS:
        unequal = [(ours, theirs) for ours, theirs in zip(hub[table], spoke[table], strict=True) if ours != theirs]
        assert {ours[0] for ours, _ in unequal} == (manual if table == "storytellers" else set())
    assert len(hub["storytellers"]) == 7
    assert [len(hub[table]) for table in ("workspaces", "projects", "stories", "story_media")] == [1, 1, 4, 1]
    assert log(linked) == predicted(report)
    teller = rows.pairs["teller"][0]
    assert value(linked.hub, "workspaces", "name", rows.space[0]) == "The Commons", "it was newer there"
    assert value(linked.hub, "storytellers", "name", teller) == "Twice", "it was newer here"
    assert value(linked.hub, "storytellers", "cultural_background", teller) == "theirs"
    assert value(linked.hub, "storytellers", "name", rows.same["newer there"]) == "newer there, theirs"
    assert value(linked.hub, "stories", "content", rows.same["story"]) == "ours", "its teller's key is no edit of it"
    assert sorted(value(linked.hub, "stories", "themes", rows.pairs["story"][0])) == ["a", "b", "c"]
    assert value(linked.hub, "stories", "content", rows.spoke["story"]) == "long " * 5_000
    for connection in (linked.hub, linked.spoke):
        assert connection.execute("SELECT count(*) FROM placemat.parked").fetchone() == (0,)
