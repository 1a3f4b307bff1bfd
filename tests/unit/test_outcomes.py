"""What a target's transaction tells of its events, however it came about."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Progress, Record, Taken
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.rows import Change, Event
from schemas.outbox import APPLIED, DROPPED, FILTERED, PARKED, QUEUED, REDRIVEN, Outbox
from schemas.position import START, Position, in_era

TOPIC, NOTES = "placemat.p.public.t", "placemat.p.messages"


def record(offset: int, partition: int = 0) -> Record:
    return Record(TOPIC, partition, offset, START, b'{"id":%d}' % offset, b"{}")


def event(offset: int, partition: int = 0) -> Event:
    return Event("public.t", record(offset, partition), Change("c"))


def outcomes(found: Outbox) -> dict[tuple[int, int], str]:
    """By partition and offset; every event is told once."""
    told: dict[tuple[int, int], str] = {}
    for one in found.partitions:
        for outcome, ranges in [(APPLIED, one.applied), *((other.outcome, other.ranges) for other in one.others)]:
            for first, after in ranges:
                for offset in range(first, after):
                    assert (one.partition, offset) not in told
                    told[one.partition, offset] = outcome
    return told


def through(offset: int) -> Progress:
    return Progress(partitions={(TOPIC, 0): Taken(offset)})


def test_the_last_note_of_an_event_counts_and_the_rest_was_applied() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 0})
    kept.take([record(at) for at in range(6)])
    kept.note(event(1), PARKED, reason="x")
    kept.note(event(2), PARKED)
    kept.note(event(2), FILTERED)
    kept.note(record(3), QUEUED)
    kept.note(event(4), FILTERED)
    kept.note(event(4), APPLIED)
    found = outcomes(kept.rest(through(6)))
    assert [found[0, at] for at in range(6)] == [APPLIED, PARKED, FILTERED, QUEUED, APPLIED, APPLIED]


def test_a_row_tells_the_newest_era_that_was_met() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 0}, in_era(1, 7))
    kept.take([record(0)])
    assert kept.rest(through(1)).era == 1
    kept.take([record(1)._replace(position=Position(in_era(2, 7), 9, 1))])
    assert kept.part().era == 2
    assert kept.rest(Progress(place=(in_era(3, 7), 9))).era == 3


def test_what_was_passed_over_was_dropped() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 3})
    kept.take([record(5), record(6), record(9)])
    found = outcomes(kept.rest(through(12)))
    assert {at: one for (_, at), one in found.items()} == {
        3: DROPPED, 4: DROPPED, 5: APPLIED, 6: APPLIED, 7: DROPPED, 8: DROPPED, 9: APPLIED, 10: DROPPED, 11: DROPPED,
    }  # fmt: skip


def test_a_transaction_that_was_rolled_back_leaves_nothing() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 0})
    kept.take([record(0), record(1)])
    kept.note(event(1), PARKED)
    kept.forget()
    kept.take([record(0), record(1)])
    assert outcomes(kept.rest(through(2))) == {(0, 0): APPLIED, (0, 1): APPLIED}
    kept.stored(through(2))
    assert kept.rest(None) == Outbox([], era=0)


def test_what_waited_within_its_own_transaction_was_applied_as_it_was_judged_and_else_it_is_a_change() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 2})
    kept.take([record(2), record(3)])
    kept.note(event(2), PARKED)
    kept.note(event(3), FILTERED)
    kept.note(event(3), PARKED)
    kept.redriven("public.t", b"k", [event(1), event(2), event(3)], REDRIVEN)
    found = kept.rest(through(4))
    assert outcomes(found) == {(0, 2): APPLIED, (0, 3): FILTERED}
    (change,) = found.changes
    assert (change.outcome, change.events) == (REDRIVEN, [(TOPIC, 0, 1)])


def test_of_what_waited_since_an_earlier_transaction_the_redrive_tells_what_it_was_judged_to_be() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 2})
    kept.take([record(2)])
    kept.note(event(2), QUEUED)
    for at in (1, 2):
        kept.note(event(at), "conflict", conflict=7, rule="hub")
    kept.redriven("public.t", b"k", [event(1), event(2)], REDRIVEN)
    found = kept.rest(through(3))
    assert outcomes(found) == {(0, 2): "conflict"}
    (change,) = found.changes
    assert (change.outcome, change.events) == (REDRIVEN, [(TOPIC, 0, 1)])
    assert change.details == {"judged": "conflict", "conflict": 7, "rule": "hub"}


def test_each_event_that_has_waited_is_told_with_what_it_was_judged_to_be_itself() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 4})
    kept.note(event(1), "applied")
    kept.note(event(2), "conflict", conflict=7)
    kept.note(event(3), "applied")
    kept.redriven("public.t", b"k", [event(1), event(2), event(3)], REDRIVEN)
    assert [(one.details, [at for _, _, at in one.events]) for one in kept.rest(None).changes] == [
        ({"judged": "applied"}, [1, 3]), ({"judged": "conflict", "conflict": 7}, [2]),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_only_speaks_of_an_event_that_has_waited_has_no_word_of_its_own(order: tuple[int, int]) -> None:
    kept = Outcomes("p", {(TOPIC, 0): 2, (NOTES, 0): 2}, silent=NOTES)
    kept.note(event(0), "conflict", conflict=7)
    waited = [event(0), event(1)._replace(record=record(1)._replace(topic=NOTES))]
    kept.redriven("public.t", b'{"id":0}', [waited[at] for at in order], REDRIVEN)
    (change,) = kept.rest(None).changes
    assert (change.events, change.details) == ([(TOPIC, 0, 0)], {"judged": "conflict", "conflict": 7})


def test_a_redrive_of_what_only_speaks_of_events_is_told() -> None:
    kept = Outcomes("p", {(NOTES, 0): 2}, silent=NOTES)
    kept.redriven("public.t", b'{"id":0}', [event(1)._replace(record=record(1)._replace(topic=NOTES))], REDRIVEN)
    (change,) = kept.rest(None).changes
    assert (change.outcome, change.events) == (REDRIVEN, [])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_event_that_was_not_judged_is_told_beside_one_that_was(order: tuple[int, int]) -> None:
    kept = Outcomes("p", {(TOPIC, 0): 2})
    kept.note(event(0), "conflict", conflict=7)
    kept.redriven("public.t", b'{"id":0}', [event(at) for at in order], REDRIVEN)
    assert {at for one in kept.rest(None).changes for _, _, at in one.events} == {0, 1}


def test_what_was_told_to_wait_in_an_earlier_part_of_its_transaction_is_redriven_too() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 0})
    kept.take([record(0)])
    kept.note(event(0), PARKED)
    assert outcomes(kept.part()) == {(0, 0): PARKED}
    kept.note(event(0), "kept")
    kept.redriven("public.t", b'{"id":0}', [event(0)], REDRIVEN)
    (change,) = kept.rest(through(1)).changes
    assert (change.outcome, change.events, change.details) == (REDRIVEN, [(TOPIC, 0, 0)], {"judged": "kept"})


def test_what_waits_on_is_no_change_whatever_was_made_of_it_in_vain() -> None:
    kept = Outcomes("p", {(TOPIC, 0): 1})
    kept.note(event(0), FILTERED)
    assert kept.rest(None).changes == []


def test_a_change_that_a_condition_makes_has_no_place_of_its_own() -> None:
    kept = Outcomes("p", {})
    kept.note(event(-1), FILTERED)
    (change,) = kept.rest(None).changes
    assert (change.table, change.outcome, change.events) == ("public.t", FILTERED, [])


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    kept = Outcomes("p", {}, wanted=False)
    kept.take([record(0)])
    kept.note(event(0), PARKED)
    assert kept.rest(None) == Outbox([], era=0)


@given(st.data())
def test_a_transaction_that_is_told_in_parts_tells_every_event_once_and_in_order(data: st.DataObject) -> None:
    """Whatever is noted, held back and dropped between the parts."""
    kept = Outcomes("p", {(TOPIC, 0): 0})
    expected: dict[tuple[int, int], str] = {}
    at, parts, coin = 0, [], st.booleans()
    for _ in range(data.draw(st.integers(1, 5))):
        held: list[Event] = []
        for _ in range(data.draw(st.integers(0, 8))):
            if data.draw(coin):
                kept.take([record(at)])
                expected[0, at] = APPLIED
                if outcome := data.draw(st.sampled_from(["", PARKED, FILTERED])):
                    kept.note(event(at), outcome)
                    expected[0, at] = outcome
                if len(held) > 0 or data.draw(st.integers(0, 1)):
                    held.append(event(at))
            else:
                expected[0, at] = DROPPED
            at += 1
        parts.append(kept.part(held))
    parts.append(kept.rest(through(at)))
    told = [outcomes(part) for part in parts]
    assert {key: one for part in told for key, one in part.items()} == expected
    assert sum(map(len, told)) == len(expected)
    edges = [(min(part)[1], max(part)[1]) for part in told if part]
    assert edges == sorted(edges)
    assert all(before[1] < after[0] for before, after in pairwise(edges))
