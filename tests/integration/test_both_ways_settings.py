"""Databases whose owners have settings of their own: texts of values are the same on both sides all the same."""

from __future__ import annotations

import pytest

from tests.fix_linked import Linked
from tests.people import a_teller, a_workspace

HUB = {
    "bytea_output": "escape", "datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "timezone": "Pacific/Chatham",
    "extra_float_digits": "-5", "array_nulls": "off", "quote_all_identifiers": "on",
    "search_path": "nowhere",
}  # fmt: skip
SPOKE = {
    "datestyle": "German", "intervalstyle": "postgres_verbose", "timezone": "America/Caracas",
    "extra_float_digits": "0", "search_path": "elsewhere",
}  # fmt: skip
COLUMNS = {
    "raw": ("bytea", r"\x00ff5c41", r"\x0102", r"\xfe5c"),
    "moment": ("timestamptz", "2026-05-04 03:02:01.5+00", "0044-03-15 12:00:00+00 BC", "infinity"),
    "lasting": ("interval", "1 year 2 days -3 hours", "-1 day", "4 months"),
    "measured": ("double precision", "0.1", "1.2345678901234567", "1e-300"),
    "paid": ("money", "12.34", "-1.00", "5.67"),
    "words": ("text[]", '{NULL,"NULL",a}', "{NULL}", '{"NULL"}'),
    "from_to": ("tstzrange", "[2026-01-01 00:00:00+00,)", "(,2026-02-03 04:05:06+00]", "empty"),
    "days": ("date[]", "{2026-02-03,infinity}", "{2026-03-02}", "{}"),
    "secrets": ("bytea[]", r'{"\\x5c01","\\xff"}', "{}", r'{"\\x5c"}'),
    "relation": ("regclass", "public.stories", "public.projects", "public.storytellers"),
}


@pytest.fixture
def apart(linked: Linked) -> Linked:
    for connection, settings in ((linked.hub, HUB), (linked.spoke, SPOKE)):
        added = ", ".join(f"ADD COLUMN {name} {type_}" for name, (type_, *_) in COLUMNS.items())
        connection.execute(f"ALTER TABLE storytellers {added}".encode())
        for name, value in settings.items():
            database = connection.info.dbname
            connection.execute(f"ALTER DATABASE {database} SET {name} = '{value}'".encode())
    return linked


def edit(apart: Linked, site: str, key: object, at: int) -> None:
    connection = apart.hub if site == "hub" else apart.spoke
    assigned = ", ".join(f"{name} = %s::{type_}" for name, (type_, *_) in COLUMNS.items())
    values = [some[at] for _, *some in COLUMNS.values()]
    connection.execute(f"UPDATE storytellers SET {assigned} WHERE id = %s".encode(), [*values, key])


def test_values_are_one_whatever_a_database_has_set_for_texts(apart: Linked) -> None:
    apart.init()
    columns = f"id, {', '.join(f'{name}::text' for name in COLUMNS)}"
    with apart.running():
        key = a_teller(apart, apart.hub, a_workspace(apart), name="Ruth")
        apart.rest()
        edit(apart, "spoke", key, 0)
        apart.until_equal("storytellers", columns)
        apart.rest()
        with apart.held():  # at the same time: the spoke loses all of them, and is told so
            edit(apart, "hub", key, 1)
            edit(apart, "spoke", key, 2)
        apart.until_equal("storytellers", columns)
        apart.rest()
        listed = apart.hub.execute("SELECT field FROM placemat.conflict_log").fetchall()
        assert {field for (field,) in listed} == COLUMNS.keys()
        edit(apart, "spoke", key, 0)
        apart.until_equal("storytellers", columns)
        apart.rest()
        again = apart.hub.execute("SELECT field FROM placemat.conflict_log").fetchall()
        assert again == listed, "an edit that nobody else has touched"
        assert apart.hub.execute("SELECT FROM placemat.parked").fetchone() is None
