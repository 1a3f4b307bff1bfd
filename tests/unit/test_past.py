"""What is told of keys at a moment, and of columns that came later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from connectors.postgres.rows import decode_change
from daemon.config.kafka import Kafka
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.errors import OperatorError
from daemon.history.entity import entities
from daemon.history.events import Seen
from daemon.history.past import Past
from daemon.history.reading import Question
from daemon.history.restore import Task, scopes
from daemon.history.shape import Shape, content, shape_of
from daemon.history.states import Absent, Entry, Known, Untold
from daemon.recover.window import Commit
from schemas.envelope import SchemaChange
from schemas.position import Position, in_era

KEY = b'{"id":1}'


@pytest.fixture
def past() -> Iterator[Past]:
    found = Past("public.t", 0, covered=[0])
    yield found
    found.close()


def event(
    lsn: int, op: str, after: dict[str, Any] | None = None, *, partition: int = 0, timeline: int = 1, **more: Any
) -> Seen:
    value = {"op": op, "before": None, "after": after, "source": {"ts_ms": lsn}, **more}
    key = b"" if op == "t" else KEY
    encoded = json.dumps(value, separators=(",", ":")).encode()
    return Seen(partition, lsn, Position(timeline, lsn, 1), key, encoded)


def only(past: Past) -> Entry:
    past.settle()
    [[entry]] = past.chunks()
    return entry


def values(state: object) -> dict[str, Any]:
    assert isinstance(state, Known)
    return {name: msgspec.json.decode(raw) for name, raw in state.values.items()}


def test_what_a_copy_reads_later_is_the_row_of_then_where_nothing_can_have_changed_it(past: Past) -> None:
    past.take_later([event(5, "r", {"id": 1, "a": 2}), event(6, "u", {"id": 1, "a": 3})])
    assert values(only(past).state) == {"id": 1, "a": 2}


def test_it_is_not_where_changes_may_be_missing() -> None:
    uncovered = Past("public.t", 0, covered=[])
    uncovered.take_later([event(5, "r", {"id": 1, "a": 2})])
    assert only(uncovered).state == Untold(KEY, 5)


def test_it_is_not_in_a_table_that_was_emptied_before(past: Past) -> None:
    past.take_later([event(4, "t"), event(5, "r", {"id": 1, "a": 2})])
    assert only(past).state == Untold(KEY, 5)


def test_it_is_not_after_a_gap(past: Past) -> None:
    past.take_later([event(5, "r", {"id": 1, "a": 2}, timeline=in_era(1, 1))])
    assert only(past).state == Untold(KEY, 5)


def test_a_key_that_is_created_later_had_no_row(past: Past) -> None:
    past.take_later([event(5, "c", {"id": 1}), event(6, "d")])
    assert only(past)[1:] == (Absent(KEY), None, False, True, False)


def test_changes_within_the_window_are_told_from_later_ones_and_copies_are_no_changes(past: Past) -> None:
    past.take([event(1, "c", {"id": 1})])
    past.take_later([event(2, "r", {"id": 1})])
    assert (only(past).inside, only(past).beyond) == (False, False)
    past.take_later([event(3, "u", {"id": 1})])
    past.take_later([event(4, "u", {"id": 1})], beyond=True)
    assert (only(past).inside, only(past).beyond) == (True, True)


def test_where_a_row_went_later_is_told(past: Past) -> None:
    past.take([event(1, "c", {"id": 1})])
    past.take_later([event(2, "d", moved_to={"id": 2})])
    assert only(past).moved == b'{"id":2}'


def test_rows_of_a_table_that_was_dropped_since_are_gone(past: Past) -> None:
    past.take([event(1, "c", {"id": 1})])
    past.settle(made_lsn=2)
    assert only(past).state == Absent(KEY)


def test_a_table_without_a_key_is_refused(past: Past) -> None:
    with pytest.raises(OperatorError, match=r"public\.t has no primary key"):
        past.take([event(1, "c", {"id": 1})._replace(key=b"")])


def change(version: int, lsn: int, *columns: str, added: tuple[str, ...] = (), **more: Any) -> SchemaChange:
    """Columns as `name`, or `name=text` with the value of rows that were there before."""
    listed = []
    for column in columns:
        name, filled, text = column.partition("=")
        detail = {"type": "text", "type_oid": 25, "typmod": -1, "key": False, "not_null": False}
        listed.append({**detail, "name": name, "default": "now()" if filled else None, "existing": text or None})
    place = {"source": "s", "schema": "public", "table": "t", "version": version, "commit_lsn": lsn, "gone": False}
    rest = {"captured": True, "identity": "default", "key": ["id"], "dropped": [], "retyped": [], "key_changed": False}
    return SchemaChange.model_validate({**place, **rest, "columns": listed, "added": list(added), **more})


def row(lsn: int, unknown: tuple[str, ...] = (), **told: str | None) -> Known:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in told.items()}
    return Known(KEY, raw, unknown, lsn, lsn)


VERSIONS = [
    change(1, 10, "id", "a"),
    change(2, 20, "id", "a", "b=red", "c", "d=", added=("b", "c", "d")),
    change(3, 30, "id", "b=red", "c", "d="),
]


@pytest.mark.parametrize(
    ("before", "columns"),
    [(10, None), (11, ("id", "a")), (20, ("id", "a")), (21, ("id", "a", "b", "c", "d")), (None, ("id", "b", "c", "d"))],
)
def test_a_table_has_the_columns_of_the_newest_version_by_then(before: int | None, columns: tuple[str, ...]) -> None:
    shape = shape_of(VERSIONS, before)
    assert (shape and shape.columns) == columns


def test_a_row_has_the_value_of_then_in_columns_that_came_after_its_last_change() -> None:
    shape = shape_of(VERSIONS, None)
    assert shape is not None
    completed = shape.complete(row(15, id="1", a="gone since"))
    assert (values(completed), completed.unknown) == ({"id": "1", "b": "red", "c": None}, ("d",))
    completed = shape.complete(row(25, id="1", b="blue", c="x", d="y"))
    assert (values(completed), completed.unknown) == ({"id": "1", "b": "blue", "c": "x", "d": "y"}, ())


def test_a_table_that_was_made_anew_begins_then() -> None:
    shape = shape_of([VERSIONS[0], change(2, 20, "id", made_anew=True)], None)
    assert (shape and shape.made_lsn) == 20


def test_an_envelope_of_a_row_says_what_is_not_told_and_what_is_null() -> None:
    state = Shape(("id", "doc", "long")).complete(row(1, ("long",), id="1"))
    known = Known(KEY, {**state.values, "doc": msgspec.Raw(b"null ")}, ("long",))
    read = decode_change(content(known))
    assert (read.unchanged, bytes((read.after or {})["doc"])) == (["long"], b"json null")


def settings(**sources: list[str]) -> Settings:
    urls = {"url": "postgresql://"}
    found = {name: Source.model_validate({**urls, "tables": tables}) for name, tables in sources.items()}
    state = State.model_validate(urls)
    return Settings(state=state, kafka=Kafka(bootstrap_servers="k"), sources=found)


def test_a_table_is_meant_by_its_name_where_that_is_one() -> None:
    known = settings(hub=["public.a", "public.b", "other.b"], spoke=["public.a"])
    assert entities(known, ["other.b"]) == ("hub", ["other.b"])
    assert entities(known, ["a"], "spoke") == ("spoke", ["public.a"])
    for names, said in ((["a"], "Several sources"), (["b"], "several tables"), (["c"], "No source captures c")):
        with pytest.raises(OperatorError, match=said) as refused:
            entities(known, names)
        assert refused.value.exit_code == 2
    with pytest.raises(OperatorError, match="does not capture"):
        entities(known, ["b"], "spoke")


def test_what_triggers_keep_is_told_by_routes_from_a_source_and_into_it() -> None:
    tables = {"public.a": {"local": ["touched"]}, "public.b": {"local": ["of_b"], "table": "public.c"}}
    urls = {"url": "postgresql://"}
    targets = {"spoke": Target.model_validate({**urls, "source": "hub", "tables": tables})}
    known = settings(hub=["public.a", "public.b"], spoke=["public.a", "public.c"]).model_copy(
        update={"targets": targets}
    )
    for source, table, kept in (
        ("hub", "public.b", {"of_b"}), ("spoke", "public.c", {"of_b"}), ("spoke", "public.a", {"touched"}),
    ):  # fmt: skip
        task = Task(Question(source, [table], Commit(1)), "then", "ann")
        assert scopes(known, task)[table].kept == kept
