"""Rows that are too large to be published, or to be told beside their keys, where tables go both ways."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from connectors.postgres.rows import Event
from connectors.postgres.two_way.outward import SpokeRows, Work
from tests.fix_linked import Connection, Linked
from tests.people import a_teller, a_workspace, put, value
from tests.waiting import until

LIMIT = 2_000_000
FITS = 1_600_000
"""Bytes of a value whose row is published, and which is too large for an answer: that is JSON within JSON in base64."""
TOO_LARGE = 3_000_000
COLUMNS = "id, name, bio"
PARKED = "SELECT kind, sqlstate FROM placemat.parked"


@pytest.fixture
def large(linked: Linked) -> Linked:
    linked.site.set("kafka.max_record_bytes", LIMIT)
    linked.init()
    return linked


def parked(connection: Connection) -> list[tuple[str, str | None]]:
    return connection.execute(PARKED).fetchall()


def come_to_be_equal(large: Linked) -> None:
    """Both sides, with nobody waiting; all workers are needed for that."""
    large.until_equal("storytellers", COLUMNS)
    until(lambda: not parked(large.hub) and not parked(large.spoke), what="nothing is parked")
    large.rest()
    assert large.equal("storytellers", COLUMNS)


def answers_waiting(large: Linked) -> int:
    query = "SELECT count(*) FROM placemat.parked_events WHERE event::jsonb ->> 'op' = 'n'"
    (found,) = large.spoke.execute(query).fetchone() or (0,)
    return int(found)


def test_a_row_of_a_spoke_is_taken_whose_answer_is_too_large_to_be_told_with_it(large: Linked) -> None:
    with large.running():
        key = a_teller(large, large.spoke, a_workspace(large))
        put(large.spoke, "storytellers", key, bio="s" * FITS)
        come_to_be_equal(large)
        assert len(value(large.hub, "storytellers", "bio", key)) == FITS
        large.check_audited_once()


def test_a_large_row_that_stands_against_a_spokes_edit_is_asked_for(large: Linked) -> None:
    """Nothing is written at the hub, so that no event but the answer tells the spoke of it."""
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        with large.held():
            put(large.hub, "storytellers", key, bio="h" * FITS)
            put(large.spoke, "storytellers", key, bio="an edit at the same time")
        come_to_be_equal(large)
        assert value(large.spoke, "storytellers", "bio", key) == "h" * FITS
        assert large.hub.execute("SELECT field, won, theirs FROM placemat.conflict_log").fetchall() == [
            ("bio", "ours", '"an edit at the same time"')
        ]
        large.check_audited_once()


def test_a_hub_row_too_large_to_publish_holds_up_no_other_row_of_its_spokes(large: Linked) -> None:
    with large.running():
        workspace = a_workspace(large)
        key, other = (a_teller(large, large.hub, workspace) for _ in range(2))
        put(large.hub, "storytellers", key, bio="h" * TOO_LARGE)
        until(lambda: parked(large.spoke) == [("needs_full_row", "oversize")])
        put(large.spoke, "storytellers", key, bio="a later edit of the spoke")
        put(large.spoke, "storytellers", other, name="changed in the spoke")
        until(lambda: value(large.hub, "storytellers", "name", other) == "changed in the spoke")
        assert parked(large.hub) == [], "what is only to be known is not refused"
        put(large.hub, "storytellers", key, bio="it fits again")
        come_to_be_equal(large)
        large.check_audited_once()


def test_what_was_judged_of_a_row_too_large_to_publish_is_told_once_it_can_be(large: Linked) -> None:
    """The spoke's edit has lost against a value that it cannot be given: it is kept there, until the operator lets
    larger records through."""
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        with large.held():
            put(large.hub, "storytellers", key, bio="h" * TOO_LARGE)
            put(large.spoke, "storytellers", key, bio="an edit at the same time")
        until(lambda: answers_waiting(large) == 1)
        assert parked(large.spoke) == [("needs_full_row", "oversize")]
        assert value(large.spoke, "storytellers", "bio", key) == "an edit at the same time"
    large.site.set("kafka.max_record_bytes", 4 * LIMIT)
    large.init()
    with large.running():
        redriven = large.site.placemat("dlq", "redrive", "--target", large.spoke_name, "--all")
        assert redriven.code == 0, redriven.err
        come_to_be_equal(large)
        assert value(large.spoke, "storytellers", "bio", key) == "h" * TOO_LARGE
        large.check_audited_once()


def test_what_was_judged_of_a_row_too_large_to_publish_is_decided_when_it_comes_and_not_before(
    large: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all of it would be decided with each of it."""
    decided: list[Event] = []
    plan = SpokeRows.plan

    def told(rows: SpokeRows, events: Sequence[Event]) -> Work:
        decided.extend(events)
        return plan(rows, events)

    monkeypatch.setattr(SpokeRows, "plan", told)
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        put(large.hub, "storytellers", key, bio="h" * TOO_LARGE)
        until(lambda: parked(large.spoke) == [("needs_full_row", "oversize")])
        before = len(decided)
        for number in range(1, 6):
            put(large.spoke, "storytellers", key, name=f"edit {number}")
            until(lambda number=number: answers_waiting(large) == number)  # type: ignore[misc]
        assert decided[before:] == []
        put(large.hub, "storytellers", key, bio="it fits again")
        come_to_be_equal(large)
        assert value(large.hub, "storytellers", "name", key) == "edit 5"
        large.check_audited_once()


def test_what_a_spokes_trigger_makes_of_a_value_is_taken_where_it_is_too_large_for_a_mark(large: Linked) -> None:
    large.spoke.execute(
        "CREATE FUNCTION grow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.bio = 'grow' THEN NEW.bio := repeat('s', {FITS}); END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER grow BEFORE INSERT OR UPDATE ON storytellers FOR EACH ROW EXECUTE FUNCTION grow()"
    )
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        put(large.hub, "storytellers", key, bio="grow")
        come_to_be_equal(large)
        assert value(large.hub, "storytellers", "bio", key) == "s" * FITS


def test_a_spokes_row_too_large_to_publish_stays_parked_until_it_comes(large: Linked) -> None:
    """What is said of it meanwhile, without the row, does not make up for it."""
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        put(large.spoke, "storytellers", key, bio="s" * TOO_LARGE)
        until(lambda: parked(large.hub) == [("needs_full_row", "oversize")])
        with large.held():
            put(large.hub, "storytellers", key, name="two")
            put(large.hub, "storytellers", key, name="A teller")
        large.rest()
        assert parked(large.hub) == [("needs_full_row", "oversize")]
        put(large.spoke, "storytellers", key, bio="it fits again")
        come_to_be_equal(large)
        assert value(large.hub, "storytellers", "bio", key) == "it fits again"
        large.check_audited_once()


def test_what_the_hub_has_given_a_row_too_large_to_publish_is_no_edit_of_the_spoke(large: Linked) -> None:
    with large.running():
        key = a_teller(large, large.hub, a_workspace(large))
        put(large.spoke, "storytellers", key, bio="s" * TOO_LARGE)
        until(lambda: parked(large.hub) == [("needs_full_row", "oversize")])
        put(large.hub, "storytellers", key, name="two")
        large.rest()
        assert value(large.spoke, "storytellers", "name", key) == "two"
        assert parked(large.hub) == [("needs_full_row", "oversize")]
        with large.held():
            put(large.hub, "storytellers", key, name="three")
            put(large.spoke, "storytellers", key, bio="it fits again")
        come_to_be_equal(large)
        assert value(large.hub, "storytellers", "name", key) == "three"
        assert value(large.hub, "storytellers", "bio", key) == "it fits again"
        assert large.rows(large.hub, "placemat.conflict_log", "*") == []
        large.check_audited_once()


def test_what_is_said_of_many_rows_is_told_in_several_messages(linked: Linked) -> None:
    linked.init()
    statement = (
        "INSERT INTO storytellers (id, workspace_id, name, bio)"
        " SELECT gen_random_uuid(), %s, 'ä' || i, repeat('ü', 200) FROM generate_series(1, 300) i"
    )
    with linked.running():
        workspace = a_workspace(linked)
        linked.spoke.execute(statement, [workspace])
        linked.rest()
        linked.hub.execute(statement, [workspace])
        linked.hub.execute("UPDATE storytellers SET bio = 'of the hub'")
        come_to_be_equal(linked)
        assert len(linked.rows(linked.hub, "storytellers", "id")) == 600
        assert linked.rows(linked.hub, "placemat.conflict_log", "*") == []
