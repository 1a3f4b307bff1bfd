"""Pairing: every row is in one class, a pair is certain, and neither order nor side matters."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from daemon.link.pairs import Ambiguous, Entry, Key, Pair, Pairing, pair

MATCHES = 2
keys = st.sampled_from("abcdefgh").map(lambda name: (name,))
values = st.tuples(st.sampled_from(["1", "2", "3", None])) | st.tuples(
    st.sampled_from(["1", "2", None]), st.sampled_from(["x", "y"])
)
rows = st.dictionaries(keys, st.tuples(*[values] * MATCHES), max_size=8).map(
    lambda found: [Entry(key, matches) for key, matches in found.items()]
)


def entry(key: str, *matches: str | None) -> Entry:
    return Entry((key,), tuple((one,) for one in matches))


def unordered(found: Pairing) -> tuple[set[Pair], set[Key], set[Key], set[tuple[object, ...]]]:
    groups = {(one.match, *map(frozenset, (one.ours, one.theirs, one.spoken_for))) for one in found.ambiguous}
    return set(found.pairs), set(found.ours), set(found.theirs), groups


@given(rows, rows)
def test_every_row_is_in_exactly_one_class(ours: list[Entry], theirs: list[Entry]) -> None:
    found = pair(ours, theirs, MATCHES)
    left = [one.ours for one in found.pairs] + list(found.ours) + [key for one in found.ambiguous for key in one.ours]
    right = [one.theirs for one in found.pairs] + list(found.theirs)
    right += [key for one in found.ambiguous for key in one.theirs]
    assert sorted(left) == sorted(one.key for one in ours)
    assert sorted(right) == sorted(one.key for one in theirs)


@given(rows, rows)
def test_a_pair_has_the_same_key_or_values_that_no_other_row_of_either_side_has(
    ours: list[Entry], theirs: list[Entry]
) -> None:
    matches = [{one.key: one.matches for one in side} for side in (ours, theirs)]
    for one in pair(ours, theirs, MATCHES).pairs:
        if one.match is None:
            assert one.ours == one.theirs
            continue
        shared = matches[0][one.ours][one.match]
        assert shared == matches[1][one.theirs][one.match]
        assert None not in shared
        for side in matches:
            assert Counter(known[one.match] for known in side.values())[shared] == 1


@given(rows, rows, st.randoms())
def test_the_order_of_rows_does_not_matter(ours: list[Entry], theirs: list[Entry], random: Random) -> None:
    found = unordered(pair(ours, theirs, MATCHES))
    random.shuffle(ours)
    random.shuffle(theirs)
    assert unordered(pair(ours, theirs, MATCHES)) == found


@given(rows, rows)
def test_from_the_other_side_it_looks_the_same(ours: list[Entry], theirs: list[Entry]) -> None:
    pairs, left, right, groups = unordered(pair(ours, theirs, MATCHES))
    turned = unordered(pair(theirs, ours, MATCHES))
    assert turned[0] == {Pair(one.theirs, one.ours, one.match) for one in pairs}
    assert turned[1:3] == (right, left)
    assert turned[3] == {(match, theirs, ours, spoken) for match, ours, theirs, spoken in groups}


@given(rows, rows)
def test_rows_that_were_given_the_keys_of_their_pairs_are_found_by_key(ours: list[Entry], theirs: list[Entry]) -> None:
    first = pair(ours, theirs, MATCHES)
    moved = {one.theirs: one.ours for one in first.pairs}
    again = pair(ours, [Entry(moved.get(one.key, one.key), one.matches) for one in theirs], MATCHES)
    assert {one.ours for one in again.pairs if one.match is None} == {one.ours for one in first.pairs}


def test_a_key_goes_before_what_fields_say() -> None:
    found = pair([entry("a", "1"), entry("b", "2")], [entry("a", "2"), entry("c", "1")], 1)
    assert found.pairs == (Pair(("a",), ("a",)),)
    assert found.ambiguous == (
        Ambiguous(0, (), (("c",),), (("a",),)),
        Ambiguous(0, (("b",),), (), (("a",),)),
    )


def test_null_matches_nothing_and_a_later_match_may_find_what_an_earlier_one_could_not_ask() -> None:
    found = pair([entry("a", None, "x"), entry("b", None, None)], [entry("c", None, "x"), entry("d", None, None)], 2)
    assert found == Pairing((Pair(("a",), ("c",), 1),), (("b",),), (("d",),), ())


def test_a_value_that_several_rows_of_a_side_share_is_never_guessed() -> None:
    found = pair([entry("a", "1")], [entry("c", "1"), entry("d", "1")], 1)
    assert found == Pairing((), (), (), (Ambiguous(0, (("a",),), (("c",), ("d",))),))


def test_a_second_row_of_one_side_beside_a_pair_is_a_row_of_its_own() -> None:
    found = pair([entry("a", "1")], [entry("a", "1"), entry("d", "1")], 1)
    assert found == Pairing((Pair(("a",), ("a",)),), (), (("d",),), ())
