"""PostgreSQL is the oracle: a condition as SQL and our own reading of it come to the same truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq, sql

from connectors.route import condition as language
from connectors.route.condition import Column, Condition, Value, columns, parse, text
from connectors.route.kinds import Kind, kind
from connectors.route.rendering import render
from connectors.route.truth import FALSE, MISSING, NULL, TRUE, Text, bind, text_of
from daemon.capture.values import SESSION, encoder
from tests.fix_servers import Postgres

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LABELS = ["given", "withdrawn", "never asked"]
_NUMBERS = st.sampled_from(["0", "-1", "7", "1.5", "1.50", "-0.001", "100000", "2e3", "12345678901234567890.5"])
_TEXTS = st.one_of(
    st.sampled_from(["", "a", "A", "ä", "b ", "b", "it's", "\\", "%s", "ab", "ａ", "😀"]), st.text("abZ %'é")
)
_DATES = st.one_of(
    st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"]),
    st.dates().map(lambda day: day.isoformat()),
)
_STAMPS = st.one_of(
    st.sampled_from(["infinity", "-infinity", "0044-03-15 10:00:00 BC", "20000-01-01 00:00:00", "2026-01-01 00:00:00"]),
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
)
_FLOATS = st.sampled_from(["0.1", "-0", "NaN", "Infinity", "-Infinity", "3e10", "1e-30", "0.30000001"])
TYPES: dict[str, tuple[str, st.SearchStrategy[str]]] = {
    "words": ("text", _TEXTS),
    "short": ("character varying", _TEXTS),
    "padded": ("character(8)", _TEXTS.filter(lambda text: len(text) <= 8)),
    "small": ("smallint", st.integers(-5, 5).map(str)),
    "whole": ("bigint", st.integers(-(2**63), 2**63 - 1).map(str)),
    "exact": ("numeric", st.one_of(_NUMBERS, st.sampled_from(["NaN", "Infinity", "-Infinity"]))),
    "single": ("real", _FLOATS),
    "double": ("double precision", _FLOATS),
    "flag": ("boolean", st.sampled_from(["true", "false"])),
    "id": ("uuid", st.uuids().map(str)),
    "day": ("date", _DATES),
    "at": ("timestamp with time zone", _STAMPS),
    "local": ("timestamp without time zone", _STAMPS),
    "consent": ("pg_temp.consent", st.sampled_from(LABELS)),
    "other": ("jsonb", st.sampled_from(["{}", "null", "1"])),
}
_QUOTED = {"infinity", "-infinity", "NaN", "Infinity", "-Infinity"}


def kind_of(name: str) -> Kind:
    type_ = TYPES[name][0].partition("(")[0]
    return kind(type_, LABELS if name == "consent" else None)


def as_value(name: str, text: str) -> Value:
    if name == "flag":
        return Value("boolean", text)
    numeric = name in ("small", "whole", "exact", "single", "double") and text not in _QUOTED
    return Value("number" if numeric else "text", text)


def _fits(name: str) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            kind_of(name).write(as_value(name, text))
        except language.ConditionError:
            return False
        return True

    return fits


@st.composite
def comparisons(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(TYPES)))
    column = Column((), name)
    known = kind_of(name)
    forms = ["null"] + (["compare", "in"] if known.compares else [])
    form = draw(st.sampled_from(forms))
    if form == "null":
        return language.IsNull(column)
    values = TYPES[name][1].filter(_fits(name)).map(lambda text: as_value(name, text))
    if form == "in":
        return language.In(column, tuple(draw(st.lists(values, min_size=1, max_size=3))))
    signs: list[language.Operator] = ["=", "<>"]
    if known.ordered:
        signs += ["<", "<=", ">", ">="]
    return language.Compare(column, draw(st.sampled_from(signs)), draw(values))


conditions: st.SearchStrategy[Condition] = st.recursive(
    comparisons(),
    lambda part: st.one_of(
        part.map(language.Not),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: language.All(tuple(parts))),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: language.Any(tuple(parts))),
    ),
    max_leaves=6,
)
rows = st.fixed_dictionaries({name: st.one_of(st.none(), values) for name, (_, values) in TYPES.items()})


@pytest.fixture(scope="module")
def server(postgres_server: Postgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.dsn(), options=SESSION) as connection:
        labels = ", ".join(f"'{label}'" for label in LABELS)
        connection.execute(f"CREATE TYPE pg_temp.consent AS ENUM ({labels})".encode())
        yield connection


def place(column: Column) -> tuple[sql.Composable, Kind]:
    return sql.SQL("r.{}").format(sql.Identifier(column.name)), kind_of(column.name)


def ask(
    server: psycopg.Connection[Any], row: dict[str, str | None], condition: Condition
) -> tuple[int, dict[Column, Text]]:
    """The server's truth, and the row as events tell it: what the type's output function writes, in our JSON."""
    cells = sql.SQL(", ").join(
        sql.SQL("{}::{} AS {}").format(sql.Literal(row[name]), sql.SQL(type_), sql.Identifier(name))
        for name, (type_, _) in TYPES.items()
    )
    query = sql.SQL("SELECT r.*, {} FROM (SELECT {}) r").format(render(condition, place), cells)
    result = server.pgconn.exec_(query.as_string(server).encode())
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    known: dict[Column, Text] = {}
    for at, name in enumerate(TYPES):
        cell = result.get_value(0, at)
        # JSON's own null is told beside the row, under `json_null`.
        told = None if cell is None else text_of(encoder(result.ftype(at))(cell))
        known[Column((), name)] = "null" if cell is not None and told is None else told
    return {b"t": TRUE, b"f": FALSE, None: NULL}[result.get_value(0, len(TYPES))], known


@many
@given(condition=conditions, row=rows)
def test_a_condition_has_the_truth_that_postgresql_finds(
    server: psycopg.Connection[Any], condition: Condition, row: dict[str, str | None]
) -> None:
    told, known = ask(server, row, condition)
    test = bind(condition, {column: kind_of(column.name) for column in columns(condition)})
    assert test(known.__getitem__) == told


@many
@given(condition=conditions, row=rows, hidden=st.sets(st.sampled_from(sorted(TYPES))))
def test_what_is_not_known_leaves_the_true_answer_possible(
    server: psycopg.Connection[Any], condition: Condition, row: dict[str, str | None], hidden: set[str]
) -> None:
    told, known = ask(server, row, condition)
    test = bind(condition, {column: kind_of(column.name) for column in columns(condition)})
    assert test(lambda column: MISSING if column.name in hidden else known[column]) & told


@given(condition=conditions)
def test_what_is_written_is_read_as_the_same_condition(condition: Condition) -> None:
    assert parse(written(condition)) == condition


def written(condition: Condition) -> str:
    match condition:
        case language.Not(part):
            return f"not ({written(part)})"
        case language.All(parts):
            return " and ".join(f"({written(part)})" for part in parts)
        case language.Any(parts):
            return " OR ".join(f"({written(part)})" for part in parts)
        case language.IsNull(column):
            return f"{column} is null"
        case language.In(column, values):
            return f'"{column}" IN ({", ".join(map(_literal, values))})'
        case language.Compare(column, sign, value):
            return f"{column} {sign} {_literal(value)}"


def _literal(value: Value) -> str:
    escaped = value.text.replace("'", "''")
    return f"'{escaped}'" if value.kind == "text" else value.text


_names = st.one_of(st.sampled_from(["n", "N", "and", "it's", 'a"b', "a.b", "é"]), st.text("aB \"'.%", min_size=1))
_values = st.one_of(
    _TEXTS.map(lambda held: Value("text", held)),
    _NUMBERS.map(lambda held: Value("number", held)),
    st.sampled_from(["true", "false"]).map(lambda held: Value("boolean", held)),
)
_columns = st.builds(Column, st.lists(_names, max_size=2).map(tuple), _names)
_signs: st.SearchStrategy[language.Operator] = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
trees: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.builds(language.Compare, _columns, _signs, _values),
        st.builds(language.In, _columns, st.lists(_values, min_size=1, max_size=3).map(tuple)),
        st.builds(language.IsNull, _columns),
    ),
    lambda part: st.one_of(
        part.map(language.Not),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: language.All(tuple(parts))),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: language.Any(tuple(parts))),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(condition=trees)
def test_a_condition_is_read_back_from_its_text_as_it_was(condition: Condition) -> None:
    assert parse(text(condition)) == condition
