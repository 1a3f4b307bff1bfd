"""Routes on the real pipeline: a consent that is withdrawn and given again, over three levels; and clear values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import table_topic
from tests.fix_site import Site
from tests.waiting import until

TELLERS, STORIES, MEDIA = "public.storytellers", "public.stories", "public.story_media"
CONSENT = "storyteller.consent_given = true"
LONG = "'a story of many words ' || string_agg(md5(n::text), '') FROM generate_series(1, 3000) n"
SECRET = "told in confidence"
SLOW = 60


@dataclass
class Scene:
    """One teller with consent, one public story whose content is stored out of line, one picture."""

    site: Site
    primary: psycopg.Connection[Any]
    ledger: psycopg.Connection[Any]

    def shown(self) -> tuple[int, int]:
        """Stories and media in Empathy Ledger, as one look sees them."""
        query = "SELECT (SELECT count(*) FROM stories), (SELECT count(*) FROM story_media)"
        row = self.ledger.execute(query.encode()).fetchone()
        assert row is not None
        return row[0], row[1]

    def consent(self, given: bool) -> None:
        self.primary.execute("UPDATE storytellers SET consent_given = %s", [given])

    def verified(self) -> None:
        done = self.site.placemat("verify", "--json")
        assert done.code == 0, done.out + done.err


@pytest.fixture
def scene(site: Site) -> Iterator[Scene]:
    target = site.values["targets"]["empathy_ledger"]
    target["tables"][TELLERS] |= {"exclude": ["consent_given_at"], "masks": {"cultural_background": "drop"}}
    target["tables"][STORIES] |= {"where": f"privacy = 'public' and {CONSENT}", "parents": {"storyteller": TELLERS}}
    target["tables"][MEDIA] |= {
        "where": f"story.privacy = 'public' and story.{CONSENT}",
        "parents": {"story": STORIES, "story.storyteller": TELLERS},
    }
    site.values["sources"][site.source]["masks"] = {TELLERS: {"bio": "hash", "legacy_id": "drop"}}
    site.values["masking"] = {"key": "a key that only tests have"}
    site.write()
    with (
        psycopg.connect(site.primary, autocommit=True) as primary,
        psycopg.connect(site.ledger, autocommit=True) as ledger,
    ):
        primary.execute(
            "INSERT INTO workspaces (slug, name) VALUES ('w', 'W');"
            f"INSERT INTO storytellers (workspace_id, name, bio, consent_given) SELECT id, 'T', '{SECRET}', true"
            " FROM workspaces;"
            "INSERT INTO stories (workspace_id, storyteller_id, title, privacy) SELECT workspace_id, id, 'S', 'public'"
            f" FROM storytellers; UPDATE stories SET content = (SELECT {LONG});"
            "INSERT INTO story_media (workspace_id, story_id, kind, url) SELECT workspace_id, id, 'image', 'u'"
            " FROM stories".encode()
        )
        yield Scene(site, primary, ledger)


def test_a_consent_withdrawn_takes_story_and_media_away_and_given_again_brings_them_whole(scene: Scene) -> None:
    assert scene.site.placemat("init").code == 0
    scene.site.spawn("run")
    until(lambda: scene.shown() == (1, 1), SLOW, what="the initial copy")
    scene.verified()

    scene.consent(given=False)
    until(lambda: scene.shown() == (0, 0), what="story and media to leave")
    scene.verified()

    scene.consent(given=True)
    until(lambda: scene.shown() == (1, 1), what="story and media to come back")
    scene.verified()
    [[size]] = scene.ledger.execute("SELECT length(content) FROM stories").fetchall()
    assert size > 90_000, "the content, which no event of the story has held since the copy"

    scene.primary.execute("UPDATE stories SET privacy = 'private'")
    until(lambda: scene.shown() == (0, 0), what="a private story and its media to leave")
    scene.primary.execute("UPDATE stories SET privacy = 'public'")
    until(lambda: scene.shown() == (1, 1), what="a public story and its media to come back")
    scene.verified()


def test_no_look_at_the_target_sees_media_of_a_story_that_has_left(scene: Scene) -> None:
    assert scene.site.placemat("init").code == 0
    scene.site.spawn("run")
    until(lambda: scene.shown() == (1, 1), SLOW, what="the initial copy")
    scene.consent(given=False)
    seen = set()

    def gone() -> bool:
        seen.add(scene.shown())
        return scene.shown() == (0, 0)

    until(gone, what="story and media to leave")
    assert seen <= {(1, 1), (0, 0)}


def test_what_is_masked_at_the_source_never_reaches_kafka(scene: Scene) -> None:
    scene.primary.execute("ALTER TABLE storytellers REPLICA IDENTITY FULL")
    assert scene.site.placemat("init").code == 0
    scene.site.spawn("run")
    until(lambda: scene.shown() == (1, 1), SLOW, what="the initial copy")
    scene.primary.execute(
        f"UPDATE storytellers SET name = 'Renamed', bio = '{SECRET}', legacy_id = '{SECRET}'".encode()
    )
    scene.primary.execute("DELETE FROM storytellers")
    until(lambda: scene.shown() == (0, 0), what="the delete")
    values = topic(scene.site, TELLERS)
    assert len(values) == 3
    assert [value for value in values if SECRET.encode() in value or b"legacy_id" in value] == []
    assert all(b'"bio":"' in value for value in values)


def test_a_mask_that_does_not_fit_is_told_by_init(scene: Scene) -> None:
    scene.site.values["sources"][scene.site.source]["masks"] = {
        TELLERS: {"id": "hash", "metadata": "hash", "no": "drop"}
    }
    scene.site.values["targets"]["empathy_ledger"]["tables"][STORIES]["where"] = "privacy = 'secret' and title > 5"
    scene.site.values["targets"]["empathy_ledger"]["tables"][STORIES].pop("parents")
    scene.site.write()
    told = scene.site.placemat("init")
    assert told.code == 2
    for part in (
        "Column id of public.storytellers is in its primary key",
        "a value of type jsonb is not hashed",
        "no names a column that is not there",
        "'secret' is none of the values of public.privacy_level",
    ):
        assert part in told.err, part


def topic(site: Site, table: str) -> list[bytes]:
    """Every value of a table's topic."""
    name = table_topic(site.source, *table.split("."))
    consumer = Consumer(
        {
            "bootstrap.servers": site.values["kafka"]["bootstrap_servers"],
            "group.id": "tests",
            "enable.auto.commit": False,
        }
    )
    try:
        parts = list(consumer.list_topics(name, 10).topics[name].partitions)
        ends = {part: consumer.get_watermark_offsets(TopicPartition(name, part), 10)[1] for part in parts}
        consumer.assign([TopicPartition(name, part, 0) for part in parts])
        found = consumer.consume(sum(ends.values()), 20)
        return [message.value() or b"" for message in found]
    finally:
        consumer.close()
