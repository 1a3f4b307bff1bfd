"""PostgreSQL is the oracle: what it writes, we encode; what a sink makes of that, it reads as the same value."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from connectors.contract import Destination, Progress, Record, Routing
from connectors.postgres import bookkeeping
from connectors.postgres.sink import PostgresSink
from daemon.capture.codec import Codec, Head
from daemon.capture.pgoutput import Column, Relation
from daemon.capture.values import SESSION, encoder
from schemas.position import Position
from schemas.topics import table_topic
from tests.fix_servers import Postgres

quick = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
few = settings(quick, max_examples=4)


class Oracle:
    """Renders a value under the session that capture reads with, and compares what came back with it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.server_version = connection.info.server_version

    def round_trip(self, type_: str, texts: Sequence[str]) -> None:
        encode = encoder(self.type_oid(type_))
        rendered = self.render(type_, texts)
        encoded = [encode(value) for value in rendered]
        again = self.render(type_, [as_input(type_, value) for value in encoded])
        assert again == rendered, [
            (before, value, after)
            for before, value, after in zip(rendered, encoded, again, strict=True)
            if before != after
        ]

    def type_oid(self, type_: str) -> int:
        [(oid,)] = self._connection.execute("SELECT %s::regtype::oid::bigint", [type_])
        return int(oid)

    def render(self, type_: str, texts: Sequence[str]) -> list[bytes]:
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


TYPES = """
CREATE TYPE public.mood AS ENUM ('so "so"', 'back\\slash', '', 'ü🎈');
CREATE DOMAIN public.digits AS numeric CHECK (VALUE IS NULL OR VALUE = VALUE);
CREATE DOMAIN public.bytes AS bytea;
CREATE DOMAIN public.document AS jsonb;
CREATE DOMAIN public.tags AS text[];
CREATE DOMAIN public.narrower AS public.digits;
CREATE TYPE public.pair AS (a int, "B, b" text, c public.mood[]);
CREATE TYPE public.spell AS RANGE (subtype = text, multirange_type_name = public.spells);
"""


@pytest.fixture(scope="module")
def url(postgres_server: Postgres) -> Iterator[str]:
    """A database of the module's own, with types of its own."""
    name = f"values_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_server.dsn(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def oracle(url: str) -> Iterator[Oracle]:
    with psycopg.connect(url, autocommit=True, options=SESSION) as connection:
        connection.execute(TYPES)
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
) | st.sampled_from(["0", "-1 mons +2 days -0.000001 sec"])


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
    "public.mood": st.sampled_from(['so "so"', "back\\slash", "", "ü🎈"]),
    "inet": st.ip_addresses().map(str),
    "point": st.builds(lambda x, y: f"({x!r},{y!r})", st.floats(), st.floats()),
    "money": st.integers(-(10**15), 10**15).map(lambda cents: f"{cents / 100:.2f}"),
    "int4range": st.sampled_from(["empty", "[1,5)", "(,3]", "(,)"]),
    "tstzrange": st.sampled_from(["empty", '["2026-01-01 00:00+10","infinity")', "(,)"]),
    "json": documents(""),
    "jsonb": documents("\0"),
    "public.digits": numeric,
    "public.narrower": numeric,
    "public.bytes": st.binary(max_size=50).map(lambda value: "\\x" + value.hex()),
    "public.document": documents("\0"),
    "public.tags": st.sampled_from(["{}", '{a,NULL,"null",""}', "[0:1]={a,b}", "{{a},{b}}"]),
    "public.pair": st.sampled_from(
        ["(,,)", '(1,"",{})', '(-1,"a ""b"", (\\\\)","{""back\\\\\\\\slash"",ü🎈}")', "(2,null,{NULL})"]
    ),
    "public.spell": st.sampled_from(["empty", '["a, ""b""",c]', "(,)", '("",ü]']),
    "public.spells": st.sampled_from(["{}", '{[a,b),["c ""d""",)}']),
    "int8multirange": st.sampled_from(["{}", "{[1,2),[5,)}", "{(,)}"]),
    "nummultirange": st.sampled_from(["{[1.10,2),[1e3,1e4]}", "{(NaN,)}"]),
    "numrange": st.sampled_from(["[1.10,2.0]", "[-Infinity,Infinity]", "empty"]),
    "tsmultirange": st.sampled_from(['{["0044-03-15 00:00:00 BC",infinity]}', "{}"]),
    "daterange": st.sampled_from(["[2024-02-29,infinity)", "(-infinity,)"]),
    "bit(5)": st.text("01", min_size=5, max_size=5),
    "bit varying": st.text("01", max_size=70),
    "macaddr": st.sampled_from(["08:00:2b:01:02:03"]),
    "macaddr8": st.sampled_from(["08:00:2b:01:02:03:04:05"]),
    "cidr": st.ip_addresses(v=6).map(lambda address: f"{address}/128") | st.just("10.0.0.0/8"),
    "line": st.sampled_from(["{1,-1.5,0}"]),
    "lseg": st.sampled_from(["[(0,1e-300),(-0,NaN)]"]),
    "box": st.sampled_from(["(1,2),(0,-0.5)"]),
    "path": st.sampled_from(["((0,0),(1,1.5))", "[(0,0),(1,Infinity)]"]),
    "polygon": st.sampled_from(["((0,0),(1,0.1),(2,1e17))"]),
    "circle": st.sampled_from(["<(0.1,0.2),0.3>"]),
    "tsvector": st.sampled_from(["", "'a b':1A,3 'ü''\\\\':2"]),
    "tsquery": st.sampled_from(["'a b':*A & !'c' | 'ü''d'"]),
    "jsonpath": st.sampled_from(['$."a b"[*]?(@.x > 1 && @.y like_regex "^\\"")', "strict $"]),
    "pg_lsn": st.sampled_from(["0/0", "FFFFFFFF/FFFFFFFF"]),
    "pg_snapshot": st.sampled_from(["10:20:10,14,15"]),
    "xid": st.sampled_from(["0", "4294967295"]),
    "xid8": st.sampled_from(["18446744073709551615"]),
    "cid": st.sampled_from(["7"]),
    "tid": st.sampled_from(["(0,1)", "(4294967295,65535)"]),
    "regclass": st.sampled_from(["pg_class", "information_schema.tables"]),
    "regtype": st.sampled_from(["integer", "public.mood", "double precision"]),
    "oidvector": st.sampled_from(["", "1 2 4294967295"]),
    "int2vector": st.sampled_from(["-1 2"]),
}
"""By type, texts that PostgreSQL takes."""
SINCE_17 = {"interval": ["infinity", "-infinity"]}
OTHER_DELIMITER = {"box"}
"""Types whose arrays do not put commas between their elements."""


def accepted(type_: str, server_version: int) -> st.SearchStrategy[str]:
    """Texts that a PostgreSQL of that version takes; `server_version` is 180004 for 18.4."""
    newer = SINCE_17.get(type_, []) if server_version >= 170_000 else []
    return SCALARS[type_] | st.sampled_from(newer) if newer else SCALARS[type_]


@pytest.mark.parametrize("type_", SCALARS)
def test_every_value_comes_back_as_postgresql_wrote_it(oracle: Oracle, type_: str) -> None:
    @quick
    @given(st.lists(accepted(type_, oracle.server_version), min_size=1, max_size=12))
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


ARRAYS = [type_ for type_ in SCALARS if type_ not in OTHER_DELIMITER]


@pytest.mark.parametrize("type_", ARRAYS)
def test_every_array_comes_back_as_postgresql_wrote_it(oracle: Oracle, type_: str) -> None:
    @quick
    @given(st.lists(arrays(accepted(type_, oracle.server_version)), min_size=1, max_size=6))
    def check(values: list[str]) -> None:
        oracle.round_trip(f"{type_}[]", values)

    check()


@quick
@given(odd_text)
@example("\u2028\u2029\x7f\x01")
def test_text_is_one_json_string_of_the_same_characters(oracle: Oracle, value: str) -> None:
    encode: Callable[[bytes], bytes] = encoder(25)
    assert json.loads(encode(value.encode())) == value


class Target:
    """Tables of one column, and a sink that writes what our codec makes of values; the server compares."""

    def __init__(self, url: str, oracle: Oracle, connection: psycopg.Connection[Any], types: Sequence[str]) -> None:
        self._oracle = oracle
        self.server_version = oracle.server_version
        self._connection = connection
        self._tables = {type_: f"public.kept{at}" for at, type_ in enumerate(types)}
        self._ordinal = 0
        for type_, table in self._tables.items():
            connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {type_})".encode())
        self._sink = PostgresSink(Destination("t", url, "s", dict.fromkeys(self._tables.values(), Routing())))
        self._sink.claim()

    def take(self, type_: str, texts: Sequence[str]) -> None:
        """Values and a NULL, through codec, envelope and sink; each has to be what it was."""
        table = self._tables[type_]
        schema, name = table.split(".")
        columns = (Column("id", 23, -1, True), Column("v", self._oracle.type_oid(type_), -1, False))
        codec = Codec("s", "db", Relation(1, schema, name, "d", columns), ["id"])
        head = Head(1, 500, 0, 9)
        first = self._ordinal + 1
        records = []
        for value in [*self._oracle.render(type_, texts), None]:
            self._ordinal += 1
            key, envelope = codec.insert(head, 1, self._ordinal, 0, [b"%d" % self._ordinal, value])
            place = Position(1, 500, self._ordinal)
            records.append(Record(table_topic("s", schema, name), 0, self._ordinal, place, key, envelope))
        self._sink.write(records)
        self._sink.commit(Progress(0, (1, 500), {}))
        assert self._differing(type_, table, [*texts, None], first) == []

    def close(self) -> None:
        self._sink.close()

    def _differing(self, type_: str, table: str, texts: Sequence[str | None], first: int) -> list[tuple[Any, ...]]:
        same = f"k.v::text IS NOT DISTINCT FROM g.t::{type_}::text"
        if self._has_equality(type_):
            same += f" AND k.v IS NOT DISTINCT FROM g.t::{type_}"
        return self._connection.execute(
            f"SELECT g.t, k.v::text FROM unnest(%s::text[]) WITH ORDINALITY AS g (t, n)"
            f" LEFT JOIN {table} k ON k.id = g.n + %s - 1 WHERE k.id IS NULL OR NOT ({same})".encode(),
            [list(texts), first],
        ).fetchall()

    def _has_equality(self, type_: str) -> bool:
        null = f"NULL::{type_}"
        if type_.endswith("[]"):
            null = f"ARRAY[NULL::{type_.removesuffix('[]')}]"
        try:
            self._connection.execute(f"SELECT {null} IS NOT DISTINCT FROM {null}".encode())
        except psycopg.errors.UndefinedFunction:
            return False
        return True


@pytest.fixture(scope="module")
def target(url: str, oracle: Oracle) -> Iterator[Target]:
    with psycopg.connect(url, autocommit=True, options=SESSION) as connection:
        bookkeeping.install(connection)
        found = Target(url, oracle, connection, [*SCALARS, *(f"{type_}[]" for type_ in ARRAYS)])
        yield found
        found.close()


@pytest.mark.parametrize("type_", SCALARS)
def test_every_value_arrives_in_the_target_as_it_was(target: Target, type_: str) -> None:
    @few
    @given(st.lists(accepted(type_, target.server_version), min_size=1, max_size=12))
    def check(values: list[str]) -> None:
        target.take(type_, values)

    check()


@pytest.mark.parametrize("type_", ARRAYS)
def test_every_array_arrives_in_the_target_as_it_was(target: Target, type_: str) -> None:
    @few
    @given(st.lists(arrays(accepted(type_, target.server_version)), min_size=1, max_size=6))
    def check(values: list[str]) -> None:
        target.take(f"{type_}[]", values)

    check()
