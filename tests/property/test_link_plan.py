"""What a link foretells of a pair is what the resolver does when both initial copies have come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.linking import Linkable, Reference
from daemon.link.plan import Moves, decide, differ, row_of, translate
from daemon.resolve.decision import Decision, Hub
from daemon.resolve.inbound import receive
from daemon.resolve.interval import UNKNOWN, at
from daemon.resolve.merge import merged_texts
from daemon.resolve.observer import observe
from daemon.resolve.records import HubRecord, SpokeRecord
from daemon.resolve.rules import FieldRule, Rules
from daemon.resolve.state import NO_LINK, NO_ROW
from schemas.position import Position
from schemas.resolution import Fields

FIELDS = ("bio", "name", "tags")
TABLE = Linkable("public.tellers", ("id",), frozenset({"id", *FIELDS}), (Reference(("name",), "public.names"),))
SECOND = 1_000_000
rows = st.fixed_dictionaries(
    {
        "id": st.just('"1"'),
        "bio": st.sampled_from(['"a"', '"b"', None]),
        "name": st.sampled_from(['"x"', '"y"']),
        "tags": st.sampled_from(['["a"]', '["a", "b"]', "[]", "7", None]),
    }
)
times = st.sampled_from([None, 0, SECOND, 5 * SECOND])
field_rules = st.sampled_from(
    [FieldRule("latest"), FieldRule("hub"), FieldRule("target"), FieldRule("manual"), FieldRule("merge")]
) | st.just(FieldRule(outward=True))
rules = st.tuples(*[field_rules] * len(FIELDS)).map(
    lambda found: Rules(dict(zip(FIELDS, found, strict=True)), 2 * SECOND, merge=merged_texts)
)


@given(rows, rows, times, times, rules)
def test_what_is_foretold_is_what_the_resolver_lists(
    ours: Fields, theirs: Fields, ours_at: int | None, theirs_at: int | None, route: Rules
) -> None:
    foretold = decide(TABLE, ours, theirs, NO_ROW, (ours_at, theirs_at), route)
    place = Position(1, 100, 1)
    ours_time, theirs_time = (UNKNOWN if one is None else at(one) for one in (ours_at, theirs_at))
    state = observe(HubRecord(place, ours, ours_time), NO_ROW)
    found = receive(
        "s", SpokeRecord(Position(1, 7, 1), theirs, theirs_time), Hub(ours, state, place, place), NO_LINK, route
    )
    assert isinstance(found, Decision)
    listed = {(one.field, one.rule, one.resolution, one.won) for one in found.conflicts}
    assert {(one.field, one.rule, one.resolution, one.won) for one in foretold if one.rule != "outward"} == listed
    assert {one.field for one in foretold} == {name for name in FIELDS if ours[name] != theirs[name]}


@given(rows, rows, st.booleans())
def test_rows_differ_where_a_field_does_once_what_they_refer_to_has_moved(
    ours: Fields, theirs: Fields, moved: bool
) -> None:
    moves: Moves = {"public.names": {('"y"',): ('"x"',)}} if moved else {}
    for late in ((), ("name",)):
        early: Moves = {} if late else moves
        left, right = (row_of(TABLE, row, ('"1"',), None, [], late) for row in (ours, translate(TABLE, theirs, early)))
        told = dict(translate(TABLE, theirs, moves))
        assert differ(TABLE, left, right, late, moves) == (dict(ours) != told)
