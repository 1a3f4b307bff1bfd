"""What is stored and published of rows that go both ways is read as it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.resolve import wire
from daemon.resolve.conflict import Candidate, Deletion, OpenConflict
from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.merge import CannotMerge, merged_texts
from daemon.resolve.records import Answer, Known, Mark
from daemon.resolve.state import FieldState, Link, Pending, RowState, Settled, Side
from daemon.resolve.values import Digest
from schemas.position import START, Position

names = st.sampled_from(("name", "note", "tags", 'ünïcode "quoted"'))
values = st.none() | st.text('aä"\\ \n', max_size=8)
digests = st.binary(min_size=8, max_size=8).map(Digest)
positions = st.just(START) | st.builds(
    Position, st.integers(1, 2**31), st.integers(0, 2**63 - 1), st.integers(0, 2**40 - 1)
)
versions = positions | st.text("0123456789abcdef", min_size=16, max_size=16).map(Pending)
times = st.just(UNKNOWN) | st.builds(Interval, st.integers(0, 2**52), st.integers(0, 2**52))
rows = st.dictionaries(names, values)
fields = st.dictionaries(names, digests)
states = st.builds(
    RowState, st.booleans(), versions, times,
    st.dictionaries(names, st.builds(FieldState, digests, versions, versions, times, st.integers(0, 3))), rows,
    st.booleans(),
)  # fmt: skip
links = st.builds(
    Link, positions, st.none() | fields, rows, st.dictionaries(names, versions), versions, st.integers(0, 9),
    st.integers(0, 2**52),
)  # fmt: skip
sides = st.builds(Side, st.booleans(), positions, st.dictionaries(names, st.builds(Settled, digests, positions)))
candidates = st.dictionaries(names, st.builds(Candidate, values, times, values), min_size=1)
conflicts = st.builds(
    OpenConflict, st.integers(0, 9), st.dictionaries(st.sampled_from(("ledger", "archive")), candidates),
    st.dictionaries(st.sampled_from(("ledger", "archive")), st.builds(Deletion, times)),
)  # fmt: skip
knowns = st.builds(Known, st.booleans(), st.dictionaries(names, st.frozensets(digests, min_size=1, max_size=3)))
marks = st.builds(Mark, positions, fields, fields, rows, st.booleans())
answers = st.builds(
    Answer, st.none() | rows, st.dictionaries(st.sampled_from(("ledger", "archive")), knowns), st.frozensets(names),
    st.sampled_from(("", "ledger")),
)  # fmt: skip


@given(states)
def test_a_hub_row_is_read_as_it_was_written(state: RowState) -> None:
    assert wire.read_state(wire.write_state(state)) == state


@given(links)
def test_a_link_is_read_as_it_was_written(link: Link) -> None:
    assert wire.read_link(wire.write_link(link)) == link


@given(sides)
def test_a_side_is_read_as_it_was_written(side: Side) -> None:
    assert wire.read_side(wire.write_side(side)) == side


@given(conflicts)
def test_a_conflict_is_read_as_it_was_written(conflict: OpenConflict) -> None:
    assert wire.read_conflict(wire.write_conflict(conflict)) == conflict


@given(marks)
def test_a_mark_is_read_as_it_was_told(mark: Mark) -> None:
    text = wire.write_mark("public.stories", '{"id":"1"}', mark, ["name"])
    assert wire.read_mark(text.encode()) == (mark, frozenset({"name"}))


@given(answers)
def test_an_answer_is_read_as_it_was_told(answer: Answer) -> None:
    assert wire.read_answer(wire.write_answer("public.stories", '{"id":"1"}', answer).encode()) == answer


def test_a_row_costs_few_bytes_where_its_fields_were_written_together() -> None:
    settled = {f"field_{at}": Settled(Digest(bytes(8)), Position(1, 10**12, 7)) for at in range(10)}
    whole = len(wire.write_side(Side(True, Position(1, 10**12, 7), settled)))
    assert whole < 10 * 30 + 100


def test_sets_keep_the_texts_of_their_elements_and_text_is_appended() -> None:
    assert merged_texts('["a", 1.10]', '["a", 1.10, {"b": 2}]', '[1.10, "\\u00e4"]') == '[1.10, {"b": 2}, "\\u00e4"]'
    assert merged_texts('"one"', '"one, two"', '"one\\n"') == '"one, two\\n"'
    assert merged_texts(None, '["a"]', '["b"]') == '["a", "b"]'


@given(st.sampled_from(('{"a": 1}', "1", "true")))
def test_what_is_no_set_and_no_text_cannot_be_merged(text: str) -> None:
    try:
        merged_texts(text, text, '"x"')
    except CannotMerge:
        return
    raise AssertionError("it was merged")
