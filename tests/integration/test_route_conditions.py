"""A row is at a target only while it passes its route's condition: over itself, and over three levels of parents."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from connectors.postgres import router
from tests.fix_servers import Kafka
from tests.integration.apply_stream import (
    Change,
    absent,
    delete,
    insert,
    move,
    oversize,
    read,
    truncate,
    update,
)
from tests.integration.route_lane import RouteLane, Routes, route_lane

DDL = """
CREATE SCHEMA hub;
CREATE TABLE hub.notes (id int PRIMARY KEY, level text, body text);
CREATE TABLE hub.tellers (id int PRIMARY KEY, name text, consent text);
CREATE TABLE hub.stories (id int PRIMARY KEY, teller_id int REFERENCES hub.tellers, level text, body text);
CREATE TABLE hub.media (id int PRIMARY KEY, story_id int REFERENCES hub.stories, url text);
CREATE TABLE hub.tree (id int PRIMARY KEY, above_id int REFERENCES hub.tree, open boolean);
CREATE TABLE notes (LIKE hub.notes INCLUDING ALL);
CREATE TABLE stories (LIKE hub.stories INCLUDING ALL);
CREATE TABLE media (LIKE hub.media INCLUDING ALL, FOREIGN KEY (story_id) REFERENCES stories);
CREATE TABLE tree (LIKE hub.tree INCLUDING ALL);
"""
NOTES, TELLERS, STORIES, MEDIA, TREE = "hub.notes", "hub.tellers", "hub.stories", "hub.media", "hub.tree"
DEEP = 2_000
ROUTES: Routes = {
    NOTES: {"table": "public.notes", "where": "level = 'public' and body is not null", "masks": {"level": "hash"}},
    STORIES: {
        "table": "public.stories",
        "where": "level = 'public' and teller.consent = 'given'",
        "parents": {"teller": TELLERS},
    },
    MEDIA: {
        "table": "public.media",
        "where": "story.level = 'public' and story.teller.consent = 'given'",
        "parents": {"story": STORIES, "story.teller": TELLERS},
    },
    TREE: {"table": "public.tree", "where": "open = true and above.open = true", "parents": {"above": TREE}},
}


@pytest.fixture
def lane(kafka_server: Kafka, database_factory: Callable[[str], str]) -> Iterator[RouteLane]:
    with route_lane(kafka_server, database_factory("routed"), DDL, ROUTES, (TELLERS,)) as found:
        yield found


def note(id_: int, level: str = "public", body: str | None = "b") -> dict[str, object]:
    return {"id": id_, "level": level, "body": body}


def teller(id_: int, consent: str = "given") -> dict[str, object]:
    return {"id": id_, "name": "T", "consent": consent}


def story(id_: int, teller_id: int | None = 1, level: str = "public") -> dict[str, object]:
    return {"id": id_, "teller_id": teller_id, "level": level, "body": "long"}


def medium(id_: int, story_id: int) -> dict[str, object]:
    return {"id": id_, "story_id": story_id, "url": "u"}


def node(id_: int, above: int, open_: bool = True) -> dict[str, object]:
    return {"id": id_, "above_id": above, "open": open_}


def without(row: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in names}


def ids(lane: RouteLane, table: str) -> list[int]:
    return [id_ for (id_,) in lane.world.rows(f"SELECT id FROM {table} ORDER BY id")]


def asked(lane: RouteLane) -> list[tuple[str, bytes]]:
    return [(one.table, one.key) for one in lane.wanted()]


def answer(lane: RouteLane, *rows: Change) -> None:
    """What capture sends for rows that were asked for: a chunk of a snapshot."""
    lane.apply(*rows)


# Over the row alone


def test_a_row_that_stops_matching_leaves_and_one_that_matches_again_arrives(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1)), insert(NOTES, note(2, "private")), read(NOTES, note(3, "private")))
    assert ids(lane, "notes") == [1]
    lane.apply(update(NOTES, note(1, "private")), update(NOTES, note(2)))
    assert ids(lane, "notes") == [2]
    lane.apply(update(NOTES, note(1)))
    assert ids(lane, "notes") == [1, 2]


def test_a_part_of_a_row_that_matches_again_is_asked_for_whole(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1, "private", body="stored")))
    lane.apply(update(NOTES, without(note(1), "body"), ["body"]))
    assert (ids(lane, "notes"), asked(lane)) == ([], [(NOTES, b'{"id":1}')])
    answer(lane, read(NOTES, note(1, body="stored")))
    assert (lane.world.rows("SELECT body FROM notes"), asked(lane)) == ([("stored",)], [])


def test_a_condition_over_a_value_that_was_not_sent_is_read_back_and_not_guessed(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1)))
    lane.apply(update(NOTES, without(note(1), "body"), ["body"]))
    assert asked(lane) == [(NOTES, b'{"id":1}')]
    answer(lane, read(NOTES, note(1, body=None)))
    assert (ids(lane, "notes"), asked(lane)) == ([], [])


def test_a_row_that_cannot_match_whatever_was_not_sent_leaves_at_once(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1)))
    lane.apply(update(NOTES, without(note(1, "private"), "body"), ["body"]))
    assert (ids(lane, "notes"), asked(lane)) == ([], [])


def test_key_changes_and_truncates_follow_the_condition(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1)), insert(NOTES, note(2)), insert(NOTES, note(3, "private")))
    lane.apply(move(NOTES, {"id": 1}, note(11, "private")), move(NOTES, {"id": 2}, note(12)))
    lane.apply(move(NOTES, {"id": 3}, note(13)))
    assert ids(lane, "notes") == [12, 13]
    lane.apply(truncate(NOTES))
    assert ids(lane, "notes") == []


def test_a_row_that_is_too_large_to_be_told_leaves_and_is_named(lane: RouteLane) -> None:
    lane.apply(insert(NOTES, note(1)))
    lane.apply(oversize(NOTES, {"id": 1}, 99_999_999))
    assert ids(lane, "notes") == []
    assert [key.key for key in lane.world.parked()] == ['{"id":1}']


def test_what_waited_refused_is_judged_again_when_it_is_written(lane: RouteLane) -> None:
    lane.world.run_sql("ALTER TABLE notes ADD CHECK (body <> 'bad')")
    lane.apply(insert(NOTES, note(1, body="bad")))
    assert [key.kind for key in lane.world.parked()] == ["refused"]
    lane.apply(update(NOTES, note(1, "private", body="bad")))
    assert (ids(lane, "notes"), lane.world.parked()) == ([], [])


def test_what_waits_without_the_value_that_is_asked_for_was_judged_when_it_came(lane: RouteLane) -> None:
    lane.world.run_sql("ALTER TABLE notes ADD CONSTRAINT known CHECK (body <> 'bad')")
    lane.apply(insert(NOTES, note(1, body="bad")), insert(NOTES, note(2, body="bad")))
    lane.apply(update(NOTES, note(2, "private", body="bad")))
    assert [(key.key, key.kind) for key in lane.world.parked()] == [('{"id":1}', "refused")]
    lane.world.run_sql("ALTER TABLE notes DROP CONSTRAINT known")
    lane.world.ask("redrive")
    lane.sink.attend()
    assert (ids(lane, "notes"), lane.world.parked()) == ([1], [])


# Over parents


def family(lane: RouteLane) -> None:
    lane.apply(insert(TELLERS, teller(1)), insert(STORIES, story(1)), insert(MEDIA, medium(1, 1)))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([1], [1], [])


def test_consent_withdrawn_takes_story_and_media_away_in_the_same_transaction(lane: RouteLane) -> None:
    family(lane)
    lane.write(update(TELLERS, teller(1, "withdrawn")))
    lane.commit()
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([], [], [])
    assert lane.world.parked() == []


def test_consent_given_again_asks_for_story_and_media_until_they_come_whole(lane: RouteLane) -> None:
    family(lane)
    lane.apply(update(TELLERS, teller(1, "withdrawn")))
    lane.apply(update(TELLERS, teller(1)))
    wanted = [(MEDIA, b'{"id":1}'), (STORIES, b'{"id":1}')]
    assert asked(lane) == wanted
    lane.sink.claim()
    assert asked(lane) == wanted, "the wish outlives the session"
    answer(lane, read(MEDIA, medium(1, 1)), read(STORIES, story(1)))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([1], [1], [])


def test_rows_that_came_before_their_parent_are_asked_for_when_it_comes(lane: RouteLane) -> None:
    lane.apply(insert(MEDIA, medium(1, 1)))
    assert (ids(lane, "media"), asked(lane)) == ([], [(STORIES, b'{"id":1}')])
    lane.apply(insert(STORIES, story(1)))
    assert (ids(lane, "stories"), asked(lane)) == ([], [(TELLERS, b'{"id":1}')])
    answer(lane, read(TELLERS, teller(1)))
    assert asked(lane) == [(MEDIA, b'{"id":1}'), (STORIES, b'{"id":1}')]
    answer(lane, read(STORIES, story(1)), read(MEDIA, medium(1, 1)))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([1], [1], [])


def test_a_condition_that_a_target_gets_later_asks_for_the_parents_that_it_has_never_seen(lane: RouteLane) -> None:
    family(lane)
    lane.world.run_sql("DELETE FROM placemat.related")
    lane.apply(update(STORIES, story(1)))
    assert asked(lane) == [(TELLERS, b'{"id":1}')]
    answer(lane, read(TELLERS, teller(1)))
    answer(lane, read(STORIES, story(1)))
    assert (ids(lane, "stories"), asked(lane)) == ([1], [])


def test_a_story_of_another_teller_passes_by_that_teller(lane: RouteLane) -> None:
    family(lane)
    lane.apply(insert(TELLERS, teller(2, "withdrawn")))
    lane.apply(update(STORIES, story(1, 2)))
    assert (ids(lane, "stories"), ids(lane, "media")) == ([], [])
    lane.apply(update(STORIES, story(1, 1)))
    assert (ids(lane, "stories"), asked(lane)) == ([1], [(MEDIA, b'{"id":1}')])


def test_within_one_transaction_each_row_is_judged_by_how_it_ends(lane: RouteLane) -> None:
    family(lane)
    lane.apply(update(TELLERS, teller(1, "withdrawn")), insert(STORIES, story(2)), update(TELLERS, teller(1)))
    assert ids(lane, "stories") == [1]
    assert asked(lane) == [(STORIES, b'{"id":2}')]
    lane.apply(insert(STORIES, story(3)), update(TELLERS, teller(1, "withdrawn")))
    assert (ids(lane, "stories"), asked(lane)) == ([], [])


def test_a_story_without_a_teller_has_none_that_gave_consent(lane: RouteLane) -> None:
    lane.apply(insert(STORIES, story(1, None)))
    assert (ids(lane, "stories"), asked(lane)) == ([], [])


def test_a_value_that_was_not_sent_is_the_one_that_is_remembered(lane: RouteLane) -> None:
    family(lane)
    lane.apply(update(STORIES, without(story(1), "level", "body"), ["level", "body"]))
    lane.apply(update(TELLERS, without(teller(1), "consent"), ["consent"]))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([1], [1], [])


def test_a_value_that_nobody_remembers_is_asked_for(lane: RouteLane) -> None:
    family(lane)
    lane.apply(update(TELLERS, without(teller(2), "consent"), ["consent"]))
    assert asked(lane) == [(TELLERS, b'{"id":2}')]
    answer(lane, read(TELLERS, teller(2)))
    assert asked(lane) == []


def test_a_wish_for_a_row_that_is_gone_ends_with_the_answer(lane: RouteLane) -> None:
    family(lane)
    lane.apply(update(TELLERS, teller(1, "withdrawn")))
    lane.apply(update(TELLERS, teller(1)))
    answer(lane, absent(MEDIA, {"id": 1}), read(STORIES, story(1)))
    assert asked(lane) == []
    lane.apply(delete(STORIES, {"id": 1}), delete(TELLERS, {"id": 1}))
    assert lane.world.rows("SELECT count(*) FROM placemat.related") == [(0,)]


def test_a_teller_with_a_new_key_keeps_what_was_told(lane: RouteLane) -> None:
    family(lane)
    lane.apply(move(TELLERS, {"id": 1}, teller(9)), update(STORIES, story(1, 9)))
    assert (ids(lane, "stories"), ids(lane, "media")) == ([1], [1])
    lane.apply(update(TELLERS, teller(9, "withdrawn")))
    assert (ids(lane, "stories"), ids(lane, "media")) == ([], [])


def test_a_new_key_of_a_row_too_large_to_publish_leaves_nothing_told_of_the_old_one(lane: RouteLane) -> None:
    family(lane)
    gone, _ = move(TELLERS, {"id": 1}, teller(9))
    lane.apply(gone, oversize(TELLERS, {"id": 9}, 99_999_999), update(STORIES, story(1, 9)))
    lane.apply(insert(STORIES, story(5, 1)))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([], [], [(TELLERS, b'{"id":1}')])


def test_rows_that_are_never_answered_take_turns_with_those_behind_them(
    lane: RouteLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.apply(*[insert(STORIES, story(at, at)) for at in (1, 2, 3)])
    one, two, three = [(TELLERS, b'{"id":%d}' % at) for at in (1, 2, 3)]
    monkeypatch.setattr(router, "MOST_WANTED", 2)
    assert [asked(lane) for _ in range(2)] == [[one, two]] * 2, "it is their turn for a while"
    monkeypatch.setattr(router, "WANTED_SECONDS", 0.0)
    assert [asked(lane) for _ in range(4)] == [[one, two], [three], [one, two], [three]]
    answer(lane, read(TELLERS, teller(3, "withdrawn")))
    assert [asked(lane) for _ in range(3)] == [[one, two]] * 3


def test_a_story_with_a_new_key_keeps_its_media(lane: RouteLane) -> None:
    family(lane)
    lane.apply(delete(MEDIA, {"id": 1}), move(STORIES, {"id": 1}, story(7)), insert(MEDIA, medium(1, 7)))
    assert (ids(lane, "stories"), ids(lane, "media"), asked(lane)) == ([7], [1], [])


def test_emptied_tables_are_forgotten(lane: RouteLane) -> None:
    family(lane)
    lane.apply(truncate(TELLERS, STORIES, MEDIA))
    assert (ids(lane, "stories"), ids(lane, "media")) == ([], [])
    assert lane.world.rows("SELECT count(*) FROM placemat.related") == [(0,)]


# Rows of one table that refer to each other


def test_rows_that_refer_to_each_other_in_a_circle_pass_by_each_other(lane: RouteLane) -> None:
    lane.apply(insert(TREE, node(1, 1)), insert(TREE, node(2, 3)), insert(TREE, node(3, 2)))
    assert (ids(lane, "tree"), asked(lane)) == ([1, 3], [(TREE, b'{"id":2}')])
    answer(lane, read(TREE, node(2, 3)))
    assert (ids(lane, "tree"), asked(lane)) == ([1, 2, 3], [])
    lane.apply(update(TREE, node(1, 1, False)), update(TREE, node(3, 2, False)))
    assert (ids(lane, "tree"), asked(lane)) == ([], [])


def test_a_chain_of_rows_is_followed_only_as_far_as_the_condition_looks(lane: RouteLane) -> None:
    lane.apply(*[insert(TREE, node(at, max(0, at - 1))) for at in range(DEEP)])
    lane.apply(update(TREE, node(0, 0, False)))
    assert (ids(lane, "tree"), asked(lane)) == (list(range(2, DEEP)), [])


@pytest.mark.parametrize("missing", [False, True], ids=["by a person", "as it is missing"])
def test_what_parents_ask_of_a_paused_table_is_done_when_it_rejoins(lane: RouteLane, *, missing: bool) -> None:
    family(lane)
    lane.apply(insert(TELLERS, teller(2, "withdrawn")), insert(STORIES, story(2, 2)))
    lane.apply(insert(TELLERS, teller(3)), insert(STORIES, story(3, 3)))
    if missing:
        lane.world.run_sql("ALTER TABLE stories RENAME TO elsewhere")
    else:
        lane.sink.pause(STORIES, "Maintenance", "Wait")
    lane.sink.claim()
    lane.apply(update(TELLERS, teller(1, "withdrawn")), update(TELLERS, teller(2)))
    lane.apply(update(TELLERS, teller(3, "withdrawn")))
    lane.apply(update(TELLERS, teller(3)))
    assert (ids(lane, "elsewhere" if missing else "stories"), ids(lane, "media")) == ([1, 3], [])
    if missing:
        lane.world.run_sql("ALTER TABLE elsewhere RENAME TO stories")
    lane.resume(STORIES)
    assert (ids(lane, "stories"), asked(lane)) == ([3], [(STORIES, b'{"id":2}')])
