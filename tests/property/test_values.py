"""PostgreSQL is the oracle: what it writes, we encode; what a sink makes of that, it reads as the same value."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from daemon.capture.values import SESSION, encoder
from tests.fix_servers import Postgres

quick = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Oracle:
    """Renders a value under the session that capture reads with, and compares what came back with it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def round_trip(self, type_: str, texts: Sequence[str]) -> None:
        encode = encoder(self._type_oid(type_))
        rendered = self._render(type_, texts)
        encoded = [encode(value) for value in rendered]
        again = self._render(type_, [as_input(type_, value) for value in encoded])
        assert again == rendered, [
            (before, value, after)
            for before, value, after in zip(rendered, encoded, again, strict=True)
            if before != after
        ]

    def _type_oid(self, type_: str) -> int:
        [(oid,)] = self._connection.execute("SELECT %s::regtype::oid::bigint", [type_])
        return int(oid)

    def _render(self, type_: str, texts: Sequence[str]) -> list[bytes]:
        """What the type's own output function writes, as in the stream; a cast to text may write otherwise."""
        parts = ", ".join(f"(${place + 1}::text::{type_})" for place in range(len(texts)))
        result = self._connection.pgconn.exec_params(f"SELECT {parts}".encode(), [text.encode() for text in texts])
        assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
        return [result.get_value(0, place) or b"" for place in range(len(texts))]


def as_input(type_: str, encoded: bytes) -> str:
    """PostgreSQL's input from our JSON, by somebody who knows the type of the column and JSON."""
    # Not `daemon.capture.values.as_text`: what wrote a value wrongly might read it back just as wrongly.
    value = json.loads(encoded)
    if type_ in ("json", "jsonb"):
        return encoded.decode()
    if isinstance(value, list):
        return array_literal(value, type_.removesuffix("[]"))
    return element(value, type_)


def element(value: Any, type_: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if type_ == "bytea":
        return "\\x" + base64.b64decode(value, validate=True).hex()
    return repr(value) if isinstance(value, float) else str(value)


def array_literal(value: list[Any], type_: str) -> str:
    parts = []
    for one in value:
        if one is None:
            parts.append("NULL")
        elif isinstance(one, list):
            parts.append(array_literal(one, type_))
        else:
            escaped = element(one, type_).replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{escaped}"')
    return "{" + ",".join(parts) + "}"


@pytest.fixture(scope="module")
def oracle(postgres_server: Postgres) -> Iterator[Oracle]:
    with psycopg.connect(postgres_server.dsn(), autocommit=True, options=SESSION) as connection:
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('so \"so\"', 'back\\slash')")
        yield Oracle(connection)


text = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=60)
odd_text = text | st.text(st.sampled_from(list("{}[]\",\\'N ULnull\n\t\r\v\f;:=\u2028\ufeff\U0010ffff")), max_size=20)
digits = st.integers(-(10**999), 10**999) | st.integers(-(10**20), 10**20)
numeric = st.builds(lambda number, scale: f"{number}e-{scale}", digits, st.integers(0, 200)) | st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "0", "-0", "0.000", "9" * 1000, "-" + "9" * 500 + "." + "9" * 500]
)
clock = st.builds(
    lambda hour, minute, second, micros: f"{hour:02}:{minute:02}:{second:02}.{micros:06}",
    st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999_999) | st.just(0),
)  # fmt: skip
day = st.builds(
    lambda year, month, day: f"{year:04}-{month:02}-{day:02}", st.integers(1, 294_275), st.integers(1, 12),
    st.integers(1, 28),
) | st.builds(
    lambda year, month, day: f"{year:04}-{month:02}-{day:02} BC", st.integers(1, 4712), st.integers(1, 12),
    st.integers(1, 28),
)  # fmt: skip
moment = st.builds(
    lambda date, time: f"{date[:-3]} {time} BC" if date.endswith(" BC") else f"{date} {time}", day, clock
) | st.sampled_from(["infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "epoch"])
zone = st.builds(lambda hours, minutes: f"{hours:+03}:{minutes:02}", st.integers(-15, 15), st.integers(0, 59))
span = st.builds(
    lambda years, months, days, hours, micros: f"{years} years {months} mons {days} days {hours} hours {micros} us",
    *(st.integers(-most, most) for most in (170_000_000, 11, 10_000_000, 1_000_000, 10**15)),
) | st.sampled_from(["infinity", "-infinity", "0", "-1 mons +2 days -0.000001 sec"])


def whole(bits: int) -> st.SearchStrategy[str]:
    edge = 2 ** (bits - 1)
    return (st.integers(-edge, edge - 1) | st.sampled_from([-edge, edge - 1, 0])).map(str)


def real(width: Literal[32, 64]) -> st.SearchStrategy[str]:
    name = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return st.floats(width=width).map(lambda number: name.get(repr(number), repr(number)))


def documents(characters: str) -> st.SearchStrategy[str]:
    """JSON texts with numbers that no float holds, and with white space."""
    string = st.text(st.characters(blacklist_characters=characters, blacklist_categories=["Cs"]), max_size=12)
    number = st.integers(-(10**40), 10**40).map(str) | st.builds(
        lambda whole, fraction, power: f"{whole}.{fraction}e{power}", st.integers(-(10**20), 10**20),
        st.integers(0, 10**20), st.integers(-50, 50),
    )  # fmt: skip
    leaf = st.sampled_from(["null", "true", "false", "{}", "[ ]"]) | number
    leaf |= st.builds(lambda value, ascii_: json.dumps(value, ensure_ascii=ascii_), string, st.booleans())
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda parts: "[ " + " ,\n".join(parts) + "]")
            | st.dictionaries(string, inner, max_size=4).map(
                lambda parts: "{" + ", ".join(f"{json.dumps(name)}:\t{part}" for name, part in parts.items()) + "}"
            )
        ),
        max_leaves=8,
    )


SCALARS: dict[str, st.SearchStrategy[str]] = {
    "boolean": st.sampled_from(["t", "f"]),
    "smallint": whole(16),
    "integer": whole(32),
    "bigint": whole(64),
    "oid": st.integers(0, 2**32 - 1).map(str),
    "real": real(32),
    "double precision": real(64),
    "numeric": numeric,
    "text": odd_text,
    "varchar": odd_text,
    "character(10)": st.text(st.sampled_from('ab é"\\{},'), max_size=10),
    "name": st.text(st.sampled_from('ab é"\\{},'), max_size=20),
    '"char"': st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=1),
    "bytea": st.binary(max_size=50).map(lambda value: "\\x" + value.hex()),
    "date": day | st.sampled_from(["infinity", "-infinity", "5874897-12-31", "4714-11-24 BC"]),
    "time": clock | st.just("24:00:00"),
    "timetz": st.builds(lambda time, offset: f"{time}{offset}", clock, zone),
    "timestamp": moment,
    "timestamptz": moment,
    "interval": span,
    "uuid": st.uuids().map(str),
    "pg_temp.mood": st.sampled_from(['so "so"', "back\\slash"]),
    "inet": st.ip_addresses().map(str),
    "point": st.builds(lambda x, y: f"({x!r},{y!r})", st.floats(), st.floats()),
    "money": st.integers(-(10**15), 10**15).map(lambda cents: f"{cents / 100:.2f}"),
    "int4range": st.sampled_from(["empty", "[1,5)", "(,3]", "(,)"]),
    "tstzrange": st.sampled_from(["empty", '["2026-01-01 00:00+10","infinity")', "(,)"]),
    "json": documents(""),
    "jsonb": documents("\0"),
}
"""By type, texts that PostgreSQL takes."""


@pytest.mark.parametrize("type_", SCALARS)
def test_every_value_comes_back_as_postgresql_wrote_it(oracle: Oracle, type_: str) -> None:
    @quick
    @given(st.lists(SCALARS[type_], min_size=1, max_size=12))
    def check(values: list[str]) -> None:
        oracle.round_trip(type_, values)

    check()


def quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def arrays(element_: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Empty, flat, with NULL, of two dimensions, with other lower bounds."""
    one = (element_ | st.none()).map(quoted)
    flat = st.lists(one, max_size=5).map(lambda parts: "{" + ",".join(parts) + "}")
    square = st.lists(st.tuples(one, one), min_size=1, max_size=3).map(
        lambda rows: "{" + ",".join("{" + ",".join(row) + "}" for row in rows) + "}"
    )
    shifted = st.builds(lambda start, part: f"[{start}:{start}]={{{part}}}", st.integers(-9, 9), one)
    return flat | square | shifted


@pytest.mark.parametrize("type_", SCALARS)
def test_every_array_comes_back_as_postgresql_wrote_it(oracle: Oracle, type_: str) -> None:
    @quick
    @given(st.lists(arrays(SCALARS[type_]), min_size=1, max_size=6))
    def check(values: list[str]) -> None:
        oracle.round_trip(f"{type_}[]", values)

    check()


@quick
@given(odd_text)
@example("\u2028\u2029\x7f\x01")
def test_text_is_one_json_string_of_the_same_characters(oracle: Oracle, value: str) -> None:
    encode: Callable[[bytes], bytes] = encoder(25)
    assert json.loads(encode(value.encode())) == value
