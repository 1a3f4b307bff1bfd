"""People's mistakes on the real pipeline: told by `history`, undone by `rebuild` and `restore`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from daemon.cli import restore as restore_verb
from tests.fix_site import Site
from tests.waiting import until

STORIES = 160
SLOW = 60


class Scene:
    """A workspace, a teller with stories and media, and both workers at work."""

    def __init__(self, site: Site, primary: psycopg.Connection[Any], ledger: psycopg.Connection[Any]) -> None:
        self.site, self.primary, self.ledger = site, primary, ledger

    def both(self, query: str) -> list[list[tuple[Any, ...]]]:
        return [side.execute(query.encode()).fetchall() for side in (self.primary, self.ledger)]

    def settled(self, query: str = "SELECT id, title, content FROM stories ORDER BY id") -> None:
        """Wait until both sides answer alike."""

        def alike() -> bool:
            ours, theirs = self.both(query)
            return ours == theirs

        until(alike, SLOW, what="the Empathy Ledger as the primary is")

    def now(self) -> str:
        ((at,),) = self.primary.execute("SELECT clock_timestamp()").fetchall()
        return str(at.isoformat())

    def placemat(self, *arguments: str) -> tuple[int, list[Any]]:
        """Exit status, and one JSON object a line."""
        ended = self.site.placemat(*arguments, "--json")
        assert ended.out, ended.err
        return ended.code, [json.loads(line) for line in ended.out.splitlines()]

    def as_person(self, name: str, statement: str) -> None:
        with self.primary.transaction():
            self.primary.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', %s)", [name])
            self.primary.execute(statement.encode())

    def verified(self) -> None:
        done = self.site.placemat("verify", "--json")
        assert done.code == 0, done.out + done.err


@pytest.fixture
def scene(site: Site) -> Iterator[Scene]:
    site.set(f"sources.{site.source}.restore_url", site.primary)
    site.set("targets.empathy_ledger.delete_guard", {"enabled": False})
    with (
        psycopg.connect(site.primary, autocommit=True) as primary,
        psycopg.connect(site.ledger, autocommit=True) as ledger,
    ):
        primary.execute("INSERT INTO workspaces (slug, name) VALUES ('w', 'W')")
        primary.execute("INSERT INTO storytellers (workspace_id, name) SELECT id, 'T' FROM workspaces")
        primary.execute(
            "INSERT INTO stories (workspace_id, storyteller_id, title, content)"
            " SELECT workspace_id, id, 'Story ' || n, repeat(md5(n::text), 200)"
            f" FROM storytellers, generate_series(1, {STORIES}) n"
        )
        primary.execute(
            "INSERT INTO story_media (workspace_id, story_id, kind, url)"
            " SELECT workspace_id, id, 'image', 'u' FROM stories"
        )
        assert site.placemat("init").code == 0
        process = site.spawn("run")
        found = Scene(site, primary, ledger)
        found.settled("SELECT id, story_id FROM story_media ORDER BY id")
        yield found
        process.terminate()
        process.communicate(timeout=30)


def test_a_wrong_update_that_is_everywhere_is_taken_back_and_newer_edits_stay(scene: Scene) -> None:
    right = scene.both("SELECT id, title FROM stories ORDER BY id")[0]
    hundred, others = right[:100], right[100:]
    at = scene.now()
    scene.as_person("ben", f"UPDATE stories SET title = 'Untitled', content = NULL WHERE id <= '{hundred[-1][0]}'")
    end = scene.now()
    scene.as_person("cay", f"UPDATE stories SET title = 'A newer title' WHERE id = '{others[0][0]}'")
    scene.settled()

    wanted = ("restore", "stories", "--at", at, "--until", end)
    status, [*rows, whole] = scene.placemat(*wanted, "--dry-run")
    assert (status, whole["changes"], whole["complete"]) == (3, 100, True)
    assert {row["key"]["id"] for row in rows} == {str(id_) for id_, _ in hundred}
    assert rows[0]["fields"]["title"]["now"] == "Untitled"
    assert {frozenset(row["fields"]) for row in rows} == {frozenset({"title", "content"})}
    status, [*_, whole] = scene.placemat(*wanted, "--by", "ann", "--reason", "Titles were lost")
    assert (status, whole["changes"], whole["left"]) == (0, 100, 0)
    scene.settled()
    newer = [(others[0][0], "A newer title"), *others[1:]]
    assert scene.both("SELECT id, title FROM stories ORDER BY id") == [[*hundred, *newer]] * 2
    assert scene.both("SELECT count(*) FROM stories WHERE content IS NULL") == [[(0,)]] * 2
    assert scene.placemat(*wanted, "--dry-run")[0] == 0

    status, [history] = scene.placemat("history", "stories", str(hundred[0][0]), "--field", "title")
    assert [(one["op"], one["who"]) for one in history["versions"]] == [("r", "unknown"), ("u", "ben"), ("u", "ann")]
    assert [one["fields"] for one in history["versions"][1:]] == [
        [{"field": "title", "before": hundred[0][1], "after": "Untitled"}],
        [{"field": "title", "before": "Untitled", "after": hundred[0][1]}],
    ]

    def outcomes() -> set[str]:
        _, [found] = scene.placemat("history", "stories", str(hundred[0][0]))
        return {one["targets"]["empathy_ledger"]["outcome"] for one in found["versions"]}

    until(lambda: outcomes() == {"applied"}, what="the audit log as far as the target")
    _, lines = scene.placemat("audit", "show", "--action", "restore")
    assert "Titles were lost" in str(lines)
    scene.verified()


def test_rows_that_were_deleted_by_mistake_come_back_with_their_children(scene: Scene) -> None:
    tables = ("storytellers", "stories", "story_media")
    counts = f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in tables)}"
    texts = [f"SELECT t::text FROM {table} t ORDER BY id" for table in tables]
    then = [scene.both(query)[0] for query in texts]
    at = scene.now()
    scene.as_person("ben", "DELETE FROM storytellers")
    scene.settled(counts)
    assert scene.both(counts) == [[(0, 0, 0)]] * 2
    status, rows = scene.placemat("rebuild", "stories", "--at", at)
    assert (status, len(rows) - 1, rows[-1]["complete"]) == (0, STORIES, True)
    ended = scene.site.placemat("restore", *tables, "--at", at, "--by", "ann")
    assert ended.code == 0, ended.err
    assert f"public.stories: {STORIES} made again" in ended.out
    assert [scene.both(query)[0] for query in texts] == then
    scene.settled(counts)
    scene.verified()


REFUSED = [
    ("rebuild stories --at 2026-03-01T09:00", "in which time zone"),
    ("rebuild stories --at offset:0:0", "is no moment"),
    ("rebuild stories --at 0/0 --format xml", "no format xml"),
    ("rebuild nobody --at 0/0", "No source captures nobody"),
    ("restore stories --at yesterday", "is not understood"),
    ("restore stories --at 0/0 --where title", "--where title is not understood"),
    ("restore stories --at 0/0 --where media.a=b", "is not understood"),
    ("restore stories projects --at 0/0 --key 1 --dry-run", "exactly one table"),
    ("restore stories --at 0/0 --delete-newer --column title", "goes without --column"),
    ("restore stories --at 0/0", "No role is configured"),
    ("history stories 1 --source nowhere", "no source nowhere"),
]


def test_what_cannot_be_asked_for_is_said_in_a_sentence(site: Site) -> None:
    assert site.placemat("init").code == 0
    for words, said in REFUSED:
        ended = site.placemat(*words.split())
        assert (ended.code, ended.out, said in ended.err) == (2, "", True), (words, ended.err)


def test_where_is_read_by_table() -> None:
    tables = ["public.a", "other.b"]
    assert restore_verb._where(["x=1", "a.y=2=3", "other.b.z="], tables) == {
        "public.a": [("x", "1"), ("y", "2=3")], "other.b": [("x", "1"), ("z", "")],
    }  # fmt: skip
