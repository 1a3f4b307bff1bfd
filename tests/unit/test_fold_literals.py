"""Columns as array literals: what PostgreSQL would read is what the JSON says."""

from __future__ import annotations

import re

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres import literals

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"{}]+)', re.DOTALL)


def read(literal: bytes) -> list[str | None]:
    """An array of one dimension as PostgreSQL reads it (manual, 8.15.6)."""
    found: list[str | None] = []
    for quoted, bare in _TOKEN.findall(literal.decode()[1:-1]):
        if bare:
            found.append(None if bare.upper() == "NULL" else bare)
        else:
            found.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
    return found


def raws(values: list[object]) -> list[msgspec.Raw]:
    return msgspec.json.decode(orjson.dumps(values), type=list[msgspec.Raw])


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(st.none() | TEXT | st.sampled_from(["null", "NULL", "{", "[", ',{"', '\\"', "\\n", "\n"])))
def test_texts_are_read_as_they_are(values: list[object]) -> None:
    assert read(literals.column(literals.plain, raws(values))) == values


@given(st.lists(st.lists(st.none() | TEXT)))
def test_arrays_in_arrays_are_read_as_they_are(values: list[list[object]]) -> None:
    outer = read(literals.column(literals.array_of(literals.plain), raws([*values])))
    assert [read((inner or "").encode()) for inner in outer] == values


@given(st.lists(st.none() | st.binary()))
def test_bytes_become_hex(values: list[bytes | None]) -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(values), type=list[msgspec.Raw])
    expected = [None if value is None else "\\x" + value.hex() for value in values]
    assert read(literals.column(literals.bytea, encoded)) == expected


def test_json_keeps_its_text() -> None:
    cells = msgspec.json.decode(b'[{"a":  1.10,"a":"q\\"\\\\"},null,"x"]', type=list[msgspec.Raw])
    assert read(literals.column(literals.json, cells)) == ['{"a":  1.10,"a":"q\\"\\\\"}', None, '"x"']
