"""What our own open transaction has made of a hub's row is told from what others have, by what these see of it."""

from __future__ import annotations

from daemon.resolve.decision import Hub
from daemon.resolve.interval import UNKNOWN, at
from daemon.resolve.observer import observe
from daemon.resolve.records import HUB, HubRecord
from daemon.resolve.side_effects import absorbed, unseen
from daemon.resolve.state import NO_ROW, FieldState, Link, Pending, RowState
from daemon.resolve.values import Row, digest
from schemas.position import START, Position

OURS = Pending("ours")
OBSERVED = Position(1, 1, 1)


def known(**values: str) -> RowState:
    fields = {name: FieldState(digest(value), OBSERVED, OBSERVED, at(5)) for name, value in values.items()}
    return RowState(True, OBSERVED, at(5), fields)


def told(row: Row | None, state: RowState, others: Row | None) -> RowState:
    return absorbed(Hub(row, state, OBSERVED, START), others, OURS, at(7)).state


def test_what_a_trigger_of_ours_has_changed_keeps_version_and_time() -> None:
    state = told({"name": "new", "bio": "same"}, known(name="old", bio="same"), {"name": "old", "bio": "same"})
    assert state.fields["name"] == FieldState(digest("new"), OBSERVED, OURS, at(5))
    assert state.fields["bio"] == known(bio="same").fields["bio"]


def test_what_a_trigger_of_ours_has_changed_back_is_ours_too() -> None:
    before = known(name="old")
    changed = told({"name": "new"}, before, {"name": "old"})
    assert told({"name": "old"}, changed, {"name": "old"}).fields["name"].digest == digest("old")


def test_what_others_have_changed_is_left_though_a_trigger_of_ours_has_changed_it_since() -> None:
    for row in ({"name": "theirs"}, {"name": "of the trigger"}):
        assert told(row, known(name="old"), {"name": "theirs"}) == known(name="old")


def test_a_row_that_we_have_taken_away_is_gone_since_then_with_what_others_see_of_it() -> None:
    state = told(None, known(name="old"), {"name": "old"})
    assert (state.alive, state.rver, state.time, state.values) == (False, OURS, at(7), {"name": "old"})


def test_what_we_had_changed_of_a_row_before_we_took_it_away_is_known_to_nobody() -> None:
    changed = told({"name": "new", "bio": "same"}, known(name="old", bio="same"), {"name": "old", "bio": "same"})
    assert told(None, changed, {"name": "old", "bio": "same"}).values == {"bio": "same"}


def test_what_others_have_changed_is_left_though_we_have_taken_the_row_away_since() -> None:
    assert told(None, known(name="old"), {"name": "theirs"}) == known(name="old")


def test_a_row_that_others_have_taken_away_is_left() -> None:
    assert told(None, known(name="old"), None) == known(name="old")


def test_a_row_that_we_have_made_is_as_new_as_nobody_knows() -> None:
    state = told({"name": "made"}, NO_ROW, None)
    assert (state.alive, state.rver, state.time) == (True, OURS, UNKNOWN)
    assert state.fields["name"] == FieldState(digest("made"), OURS, OURS, UNKNOWN)


def test_a_row_that_others_have_made_is_left() -> None:
    assert told({"name": "made"}, NO_ROW, {"name": "made"}) == NO_ROW


def test_a_row_that_we_have_made_and_taken_away_or_taken_away_and_made_is_ours() -> None:
    made = told({"name": "made"}, NO_ROW, None)
    assert not told(None, made, None).alive
    gone = told(None, known(name="old"), {"name": "old"})
    assert told({"name": "again"}, gone, {"name": "old"}).fields["name"].digest == digest("again")


def test_events_of_one_transaction_of_ours_are_one_version_of_the_row() -> None:
    """A row that was deleted and made again: whoever has seen the first has seen the last."""
    ours = FieldState(digest("again"), OURS, OURS, at(6))
    state = RowState(True, OURS, at(6), {"name": ours})
    for record in (
        HubRecord(Position(1, 2, 1), None, at(9), OURS, last={"name": "old"}),
        HubRecord(Position(1, 2, 3), {"name": "again"}, at(9), OURS, frozenset({"ledger"})),
    ):
        state = observe(record, state)
    assert (state.alive, state.rver, state.time, state.values) == (True, Position(1, 2, 1), at(6), {})
    assert state.fields["name"].ver == Position(1, 2, 1)
    assert state.fields["name"].time == at(6)


def test_what_a_followed_side_does_not_have_is_as_old_as_the_row_that_it_has_made() -> None:
    state = RowState(True, OURS, at(6), {"name": FieldState(digest("made"), OURS, OURS, at(6))})
    state = observe(HubRecord(OBSERVED, {"name": "made", "bio": "default"}, at(9), OURS), state)
    assert state.fields["bio"] == FieldState(digest("default"), OBSERVED, OBSERVED, at(6))


def test_what_a_trigger_makes_or_deletes_in_a_transaction_of_ours_is_a_version_that_the_spoke_has_not_seen() -> None:
    """What the spoke has made is gone by a trigger; what it has deleted is there by one."""
    made = RowState(True, OURS, at(6), {"name": FieldState(digest("made"), OURS, OURS, at(6))})
    state = observe(HubRecord(Position(1, 2, 1), {"name": "made"}, at(9), OURS, frozenset({"ledger"})), made)
    gone = observe(HubRecord(Position(1, 2, 3), None, at(9), OURS, by_trigger=True), state)
    assert (gone.alive, gone.rver) == (False, Position(1, 2, 3))
    deleted = RowState(False, OURS, at(6))
    state = observe(HubRecord(Position(1, 2, 1), None, at(9), OURS), deleted)
    again = observe(
        HubRecord(Position(1, 2, 3), {"name": "new"}, at(9), OURS, frozenset({HUB}), by_trigger=True), state
    )
    assert (again.alive, again.rver, again.fields["name"].ver) == (True, Position(1, 2, 3), Position(1, 2, 3))


def test_a_spoke_has_not_seen_that_a_trigger_has_taken_away_what_was_made_for_it_in_this_transaction() -> None:
    made = Hub({"name": "made"}, RowState(True, OURS, at(6)), OBSERVED, START)
    gone = absorbed(Hub(None, made.state, OBSERVED, START), None, OURS, at(7))
    link = Link(row_seen=OURS)
    assert unseen(link, made, gone, OURS).row_seen == START
    assert unseen(link, made, made, OURS) == link
    assert unseen(Link(row_seen=OBSERVED), made, gone, OURS).row_seen == OBSERVED


def test_a_row_that_a_spoke_deletes_keeps_what_that_spoke_does_not_have() -> None:
    state = RowState(False, OURS, at(6), values={"name": "old"})
    last: Row = {"name": "old", "note": "of the hub"}
    assert observe(HubRecord(OBSERVED, None, at(9), OURS, last=last), state).values == last


def test_a_deletion_that_is_too_large_to_be_told_keeps_what_is_known() -> None:
    state = RowState(False, OURS, at(6), values={"id": "1", "name": "newer"})
    assert observe(HubRecord(OBSERVED, None, at(9), OURS, last={"id": "1"}), state).values == state.values


def test_what_was_erased_before_our_transaction_was_observed_stays_erased() -> None:
    """Made and deleted in one, or only deleted."""
    erased = RowState(False, OURS, at(6), erased=True)
    for records in (
        [HubRecord(Position(1, 2, 1), None, at(9), OURS, last={"name": "secret"})],
        [
            HubRecord(Position(1, 2, 1), {"name": "secret"}, at(9), OURS, frozenset({"ledger"})),
            HubRecord(Position(1, 2, 3), None, at(9), OURS, last={"name": "secret"}),
        ],
    ):
        state = erased
        for record in records:
            state = observe(record, state)
        assert (state.alive, state.erased, state.fields, state.values) == (False, True, {}, {})
