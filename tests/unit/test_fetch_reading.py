"""What a record that was read says of its row, and when it was edited."""

from __future__ import annotations

import msgspec
import pytest

from connectors.fetching import Record
from connectors.pushing import Key
from connectors.service import Remote
from daemon.fetch.reading import When, both_ways, minted, record_key, value_of
from schemas.resolution import Fields, ReadEntry

KEY = Key("public.projects", '{"id":"k"}')
ROW: Fields = {"id": '"k"', "name": '"Garden"'}
SECOND = 1_000_000


def remote(latest: int, *, gone: bool = False) -> Remote:
    return Remote("page", "v", {}, "k", latest, gone=gone)


def entry(row: Fields, record: Record | None, when: When, one: Remote) -> ReadEntry | None:
    found = both_ways(one, row, KEY, record, when, "ada", keyed=True)
    if found.seen is None:
        return None
    assert found.seen.author == "ada"
    assert found.seen.row == (None if one.gone else row)
    assert found.seen.read is not None
    return msgspec.json.decode(found.seen.read, type=ReadEntry)


def test_a_row_that_is_as_it_was_says_nothing() -> None:
    assert entry(ROW, Record(KEY, {**ROW, "more": "1"}), When(100, 50), remote(90)) is None
    assert entry(ROW, Record(KEY, None), When(100, 50), remote(90, gone=True)) is None, "it was gone already"


def test_an_edit_was_made_after_the_last_look_and_before_what_the_service_says() -> None:
    found = entry(ROW, Record(KEY, {**ROW, "name": '"Old"'}, read_at=40), When(100, 50), remote(90))
    assert found is not None
    assert (found.since, found.latest, found.read, found.gone) == (50, 90, 100, False)
    later = entry(ROW, Record(KEY, None, read_at=70), When(100, 50), remote(150))
    assert later is not None
    assert (later.since, later.latest) == (70, 100), "nobody edits in the future"


def test_of_a_record_that_was_never_read_nobody_knows_since_when_it_is_so() -> None:
    found = entry(ROW, None, When(100, 50), remote(90))
    assert found is not None
    assert found.since == 0


def test_a_service_whose_clock_is_behind_does_not_turn_time_around() -> None:
    found = entry(ROW, Record(KEY, None, read_at=95), When(100, 50), remote(60))
    assert found is not None
    assert found.since <= found.latest <= found.read


def test_a_record_that_is_gone_deletes_its_row() -> None:
    found = entry(ROW, Record(KEY, ROW, read_at=40), When(100, 50), remote(90, gone=True))
    assert found is not None
    assert found.gone


def test_a_row_that_people_have_made_has_the_same_key_whoever_reads_it() -> None:
    one = minted("notion", "public.projects", "page")
    assert one == minted("notion", "public.projects", "page")
    assert one != minted("notion", "public.projects", "other")
    assert value_of(record_key("public.projects", "id", one)) == one.strip('"')


@pytest.mark.parametrize("value", ['"k"', "5"])
def test_the_value_of_a_key_is_what_a_record_holds(value: str) -> None:
    assert value_of(record_key("public.t", "id", value)) == value.strip('"')
