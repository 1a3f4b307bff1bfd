"""Two databases that were both full before, and go both ways from now on."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.seams import AFTER_REKEY, VARIABLE
from daemon.state.engine import opened
from daemon.state.workers import Told, tell
from tests.fix_linked import Connection, Linked
from tests.people import made, value
from tests.waiting import until

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
    return made(connection, table, **{"created_at": EARLIER, "updated_at": EARLIER, **values})


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
    audited = linked.site.placemat("audit", "show", "--json")
    assert [one for one in audited.out.splitlines() if '"link"' in one and '"ada"' in one and "the move" in one], (
        audited
    )
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
    assert parked(linked) == ([], [])
    again = run(linked, *WORDS)
    assert again["nothing_to_do"]
    assert table_of(again, "storytellers")["in_flow"] == len(manual), "they wait for a person"
    assert (everything(linked, linked.hub), everything(linked, linked.spoke)) == (hub, spoke)


def test_rows_that_nobody_can_tell_wait_for_a_person_on_both_sides(linked: Linked) -> None:
    hub, spoke = linked.hub, linked.spoke
    space = uuid.uuid4()
    for connection in (hub, spoke):
        make(connection, "workspaces", id=space, name="Commons", slug="commons")
    anna = make(hub, "storytellers", workspace_id=space, name="Anna", bio="ours")
    annas = [make(spoke, "storytellers", workspace_id=space, name="Anna", bio=one) for one in ("first", "second")]
    bens = [make(hub, "storytellers", workspace_id=space, name="Ben") for _ in range(2)]
    ben = make(spoke, "storytellers", workspace_id=space, name="Ben")
    story = make(spoke, "stories", workspace_id=space, storyteller_id=annas[0], title="Fire")
    cyd = make(hub, "storytellers", workspace_id=space, name="Cyd")
    cyds = [make(spoke, "storytellers", workspace_id=space, name="Cyd") for _ in range(2)]
    linked.init()
    report = run(linked, *WORDS, code=3)
    tellers = table_of(report, "storytellers")
    assert [(keys(one["hub"]), keys(one["target"])) for one in tellers["ambiguous"]].count(({anna}, set(annas))) == 1
    assert report["ambiguous"] == 9
    assert run(linked, *WORDS, code=3) == report, "what waits does so once"
    with linked.running():
        linked.rest(60)
        spoke.execute("UPDATE storytellers SET bio = 'first, later' WHERE id = %s", [annas[0]])
        linked.rest()
        assert names(hub) == {anna: "Anna", **dict.fromkeys(bens, "Ben"), cyd: "Cyd"}
        assert names(spoke) == {**dict.fromkeys(annas, "Anna"), ben: "Ben", **dict.fromkeys(cyds, "Cyd")}
        assert value(hub, "stories", "title", story) is None, "its storyteller waits"
        done = linked.site.placemat("dlq", "discard", parked_id(hub, cyds[1]), "--target", linked.hub_target)
        assert done.code == 0, done.err
        until(lambda: cyds[1] not in names(spoke), what="what the hub does not want is gone")
    listed = linked.site.placemat("dlq", "list", "--target", linked.hub_target)
    assert "ambiguous: 1 rows of the hub and 2 of the other side have the same name, workspace_id" in listed.out
    waiting = linked.site.placemat("conflicts", "list", "--json").json["refused"]
    assert sorted(one["kind"] for one in waiting) == [*["ambiguous"] * 4, "fk_parent_missing"]
    spoke.execute("UPDATE storytellers SET name = 'Anna B' WHERE id = %s", [annas[1]])
    report = run(linked, *WORDS, code=3)
    assert report["ambiguous"] == 3
    assert keys([one["key"] for one in table_of(report, "storytellers")["rekeyed"]]) == {anna, cyd}
    with linked.running():
        for target in (linked.hub_target, linked.spoke_name):
            done = linked.site.placemat("dlq", "redrive", "--all", "--target", target)
            assert done.code == 0, done.err
        linked.rest(60)
    both = {anna: "Anna", annas[1]: "Anna B", ben: "Ben", **dict.fromkeys(bens, "Ben"), cyd: "Cyd"}
    assert names(hub) == names(spoke) == both, "who was told apart is one; who was let through is a row of its own"
    for connection in (hub, spoke):
        assert value(connection, "storytellers", "bio", anna) == "first, later"
        assert value(connection, "stories", "storyteller_id", story) == anna
    assert parked(linked) == ([], [])
    assert run(linked, *WORDS)["nothing_to_do"]


def names(connection: Connection) -> dict[uuid.UUID, str]:
    return dict(connection.execute("SELECT id, name FROM storytellers").fetchall())


def parked_id(connection: Connection, key: uuid.UUID) -> str:
    row = connection.execute("SELECT id FROM placemat.parked WHERE key = %s", [f'{{"id":"{key}"}}']).fetchone()
    assert row is not None
    return str(row[0])


def parked(linked: Linked) -> tuple[list[Any], list[Any]]:
    """What waits at the hub, and at the spoke."""
    query = "SELECT table_name, key, reason FROM placemat.parked"
    return linked.hub.execute(query).fetchall(), linked.spoke.execute(query).fetchall()


def test_a_run_that_was_killed_is_gone_on_with_by_the_next(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fill(linked)
    make(linked.hub, "storytellers", workspace_id=rows.space[0], name="Anna")
    for _ in range(2):
        make(linked.spoke, "storytellers", workspace_id=rows.space[1], name="Anna")
    linked.init()
    monkeypatch.setenv(VARIABLE, AFTER_REKEY)
    killed = linked.site.spawn("link", linked.spoke_name, *WORDS)
    assert killed.wait(60) == -signal.SIGKILL
    report = run(linked, *WORDS, code=3)
    assert report["rekeyed"] == 0
    assert report["ambiguous"] == 3
    assert [len(found) for found in parked(linked)] == [2, 1]
    assert {table["table"]: table["pairs"] for table in report["tables"]}["public.stories"] == 2


def test_what_is_found_is_told_in_words_with_examples(linked: Linked) -> None:
    route(linked)
    rows = fill(linked)
    linked.init()
    done = linked.site.placemat(
        "link", linked.spoke_name, "public.workspaces", "public.storytellers", "--dry-run", *WORDS[:6]
    )
    assert done.code == 0, done.err
    hub, spoke = linked.site.source, linked.spoke_name
    assert (
        f"public.storytellers: 6 rows in {hub}, 6 in {spoke}; 5 are the same rows, 2 of them under another key,"
        f" 4 with differences; 1 only in {hub}, 1 only in {spoke}; 0 ambiguous"
    ) in done.out
    assert "  bio differs in 3 rows: by the rule manual a person decides\n" in done.out
    assert f"  metadata differs in 1 rows: by the rule hub that of {hub} stands\n" in done.out
    ours, theirs = rows.space
    assert f"  id={theirs} of {spoke} becomes id={ours}\n" in done.out
    assert f"  only in {spoke}: id={rows.spoke['teller']}\n" in done.out


def test_a_link_waits_until_no_worker_could_carry_rows_over(linked: Linked) -> None:
    linked.init()
    now = datetime.now(UTC)
    with opened(linked.site.state) as engine:
        tell(engine, "elsewhere", {f"apply:{linked.hub_target}": Told("running", None, now)})
        done = linked.site.placemat("link", linked.spoke_name)
        assert done.code == 1
        assert f"Worker apply:{linked.hub_target} runs" in done.err
        assert linked.site.placemat("link", linked.spoke_name, "--dry-run").code == 0
        tell(engine, "elsewhere", {f"apply:{linked.hub_target}": Told("stopped", None, now)})
        assert linked.site.placemat("link", linked.spoke_name).code == 0


def test_a_link_says_what_it_cannot_do(linked: Linked) -> None:
    done = linked.site.placemat("link", linked.spoke_name)
    assert done.code == 1
    assert "placemat init" in done.err
    linked.init()
    for words, sentence in (
        ((linked.hub_target,), f"Target {linked.hub_target} has no tables that go both ways."),
        (("nobody",), "There is no target nobody."),
        ((linked.spoke_name, "public.events"), "public.events does not go both ways"),
        ((linked.spoke_name, "--match", "nonsense"), "No table that is linked has nonsense"),
    ):
        done = linked.site.placemat("link", *words)
        assert done.code == 2, done
        assert sentence in done.err
