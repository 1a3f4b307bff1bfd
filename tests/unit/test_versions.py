"""The versions of one row, from events made by hand."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec

from daemon.history.events import Seen
from daemon.history.versions import Version, others, versions
from schemas.position import Position
from schemas.topics import partition_of


class Topic:
    """Events in the order in which they are made, one transaction each; a moved key makes two in one."""

    def __init__(self) -> None:
        self.events: list[Seen] = []
        self._lsn = 1_000

    def add(self, op: str, key: int, after: dict[str, Any] | None, ordinal: int = 1, **more: Any) -> None:
        self._lsn += 100 if ordinal == 1 else 0
        name = b'{"id":%d}' % key
        value = json.dumps({"op": op, "source": {"ts_ms": self._lsn}, "before": None, "after": after, **more}).encode()
        partition = partition_of(name, 3)
        self.events.append(Seen(partition, len(self.events), Position(1, self._lsn, ordinal), name, value))

    def move(self, old: int, new: int, after: dict[str, Any], **more: Any) -> None:
        self.add("d", old, None, moved_to={"id": new}, before={"id": old})
        self.events[-1] = self.events[-1]._replace(value=self.events[-1].value.replace(b'{"id": ', b'{"id":'))
        self.add("c", new, {"id": new, **after}, 2, moved_from={"id": old}, **more)
        self.events[-1] = self.events[-1]._replace(value=self.events[-1].value.replace(b'{"id": ', b'{"id":'))

    def truncate(self) -> None:
        self._lsn += 100
        for partition in range(3):
            value = json.dumps({"op": "t", "source": {"ts_ms": self._lsn}, "before": None, "after": None}).encode()
            self.events.append(Seen(partition, len(self.events), Position(1, self._lsn, partition + 1), b"", value))

    def of(self, key: int) -> list[Version]:
        shuffled = [*self.events, *self.events[:3]]
        random.Random(7).shuffle(shuffled)
        return versions(shuffled, b'{"id":%d}' % key)


def changes(version: Version) -> dict[str, tuple[Any, Any]]:
    def value(raw: msgspec.Raw | None) -> Any:
        return "untold" if raw is None else msgspec.json.decode(raw)

    return {one.name: (value(one.before), value(one.after)) for one in version.fields}


def test_a_version_names_what_it_changed_from_the_version_before_and_repeats_are_left_out() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": "x", "b": None})
    topic.add("u", 1, {"id": 1, "a": "y", "b": None})
    topic.add("c", 2, {"id": 2, "a": "another row", "b": None})
    topic.add("d", 1, None, before={"id": 1})
    created, updated, deleted = topic.of(1)
    assert changes(created) == {"id": ("untold", 1), "a": ("untold", "x"), "b": ("untold", None)}
    assert changes(updated) == {"a": ("x", "y")}
    assert changes(deleted) == {"id": (1, "untold"), "a": ("y", "untold"), "b": (None, "untold")}


def test_the_old_row_of_the_event_goes_before_the_version_before() -> None:
    topic = Topic()
    topic.add("u", 1, {"id": 1, "a": 2, "b": 5}, before={"id": 1, "a": 1, "b": 5})
    topic.add("u", 1, {"id": 1, "a": 4, "b": 5}, before={"id": 1, "a": 3, "b": 5})  # one between was lost
    first, second = topic.of(1)
    assert (changes(first), first.since) == ({"a": (1, 2)}, True)
    assert (changes(second), second.since) == ({"a": (3, 4)}, False)


def test_a_stored_value_that_was_not_sent_is_unchanged_and_never_null() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": 1, "long": "stored"})
    topic.add("u", 1, {"id": 1, "a": 2}, unchanged=["long"])
    topic.add("u", 1, {"id": 1, "a": 2, "long": "other"})
    _, partial, whole = topic.of(1)
    assert (changes(partial), partial.unchanged, partial.unknown) == ({"a": (1, 2)}, ("long",), ())
    assert changes(whole) == {"long": ("stored", "other")}


def test_what_no_version_tells_is_unknown() -> None:
    topic = Topic()
    topic.add("u", 1, {"id": 1, "a": 2}, unchanged=["long"])
    topic.add("u", 1, {"id": 1, "a": 3, "long": "now"})
    first, second = topic.of(1)
    assert (first.since, first.unknown, changes(first)["a"]) == (True, ("long",), ("untold", 2))
    assert changes(second) == {"a": (2, 3), "long": ("untold", "now")}


def test_json_null_and_null_are_two_values() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "doc": None})
    topic.add("u", 1, {"id": 1, "doc": None}, json_null=["doc"])
    topic.add("u", 1, {"id": 1, "doc": None}, json_null=["doc"], before={"id": 1, "doc": None})
    _, second, third = topic.of(1)
    assert [one.name for one in second.fields] == ["doc"]
    assert third.fields == ()


def test_a_changed_key_is_followed_in_both_directions() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": "first", "long": "stored"})
    topic.move(1, 2, {"a": "second"}, unchanged=["long"])
    topic.move(2, 3, {"a": "second"}, unchanged=["long"])
    topic.add("u", 3, {"id": 3, "a": "third", "long": "new"})
    assert others(topic.events) == {b'{"id":1}', b'{"id":2}', b'{"id":3}'}
    found = topic.of(1)
    assert [one.op for one in found] == ["c", "d", "c", "d", "c", "u"]
    assert found == topic.of(2) == topic.of(3)
    assert (found[1].moved_to, found[1].fields) == (b'{"id":2}', ())
    assert (found[2].moved_from, changes(found[2])) == (b'{"id":1}', {"id": (1, 2), "a": ("first", "second")})
    assert changes(found[5]) == {"a": ("second", "third"), "long": ("stored", "new")}


def test_another_row_that_had_a_key_later_is_no_version_of_the_one_that_was_moved_away() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": "moved"})
    topic.move(1, 2, {"a": "moved"})
    topic.add("c", 1, {"id": 1, "a": "newcomer"})
    topic.add("u", 1, {"id": 1, "a": "newcomer still"})
    assert [one.op for one in topic.of(2)] == ["c", "d", "c"]
    assert [one.op for one in topic.of(1)] == ["c", "d", "c", "c", "u"], "a key's history is that of all its rows"
    assert changes(topic.of(1)[-1]) == {"a": ("newcomer", "newcomer still")}


def test_a_truncate_ends_the_rows_of_its_partition_and_none_that_came_later() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": 1})
    topic.truncate()
    topic.truncate()
    topic.add("c", 1, {"id": 1, "a": 2})
    found = topic.of(1)
    assert [one.op for one in found] == ["c", "t", "c"]
    assert changes(found[1])["a"] == (1, "untold")
    assert changes(found[2])["a"] == ("untold", 2)


def test_a_row_too_large_to_publish_is_a_version_of_which_no_value_is_told() -> None:
    topic = Topic()
    topic.add("c", 1, {"id": 1, "a": 1})
    topic.add("u", 1, {"id": 1}, oversize=99_000_000)
    topic.add("u", 1, {"id": 1, "a": 3})
    _, large, after = topic.of(1)
    assert (large.oversize, large.fields) == (99_000_000, ())
    assert changes(after)["a"] == ("untold", 3)


def test_an_answer_that_there_is_no_row_is_no_version_of_a_row_that_there_was_not() -> None:
    topic = Topic()
    topic.add("r", 1, None)
    topic.add("r", 1, {"id": 1, "a": 1})
    topic.add("r", 1, None)
    assert [(one.op, one.since) for one in topic.of(1)] == [("r", False), ("r", False)]
