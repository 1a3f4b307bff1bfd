"""Whether a data source is as the configuration takes it to be: each difference is named, with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.notion.fields import Entity, Field
from connectors.notion.mapping import Property, bind

T, OTHER = "public.projects", "public.people"
SCHEMA = (
    Property("title", "Name", "title"),
    Property("k1", "Sync Key", "rich_text"),
    Property("b1", "Budget", "number"),
    Property("s1", "Status", "status", ("Active", "Planned")),
    Property("f1", "Total", "formula"),
    Property("u1", "Number", "unique_id"),
    Property("g1", "Go", "button"),
    Property("p1", "Owner", "people"),
    Property("r1", "Lead", "relation", relation="aaaa-bbbb"),
)
ENTITY = Entity(T, "d", "Sync Key", (), types={"budget": "numeric", "name": "text"})


def bound(*fields: Field, schema: tuple[Property, ...] = SCHEMA, **more: Any) -> tuple[dict[str, str], list[str]]:
    """Ids of properties by column, and what is wrong."""
    found, wrong = bind(replace(ENTITY, fields=fields, **more), schema, {T: "d", OTHER: "aaaabbbb"})
    return {} if found is None else {one.column: one.there.id for one in found.bound}, [one.sentence for one in wrong]


def test_properties_are_found_by_id_and_by_name() -> None:
    assert bound(Field("name", "title"), Field("budget", "Budget")) == ({"name": "title", "budget": "b1"}, [])
    assert bound(Field("name", "Name"), Field("budget", "b1")) == ({"name": "title", "budget": "b1"}, [])


def test_a_property_that_was_renamed_is_followed_by_its_id() -> None:
    renamed = tuple(replace(one, name="Money") if one.id == "b1" else one for one in SCHEMA)
    assert bound(Field("budget", "Budget"), schema=renamed)[1] == [
        "Column budget of public.projects has no property Budget in Notion."
    ]
    pinned = {"Budget": "b1", "Sync Key": "k1"}
    assert bound(Field("budget", "Budget"), schema=renamed, pinned=pinned) == ({"budget": "b1"}, [])
    taken = (*renamed, Property("b2", "Budget", "number"))
    assert bound(Field("budget", "Budget"), schema=taken, pinned=pinned) == ({"budget": "b1"}, [])
    gone = tuple(one for one in taken if one.id != "b1")
    assert bound(Field("budget", "Budget"), schema=gone, pinned=pinned) == ({"budget": "b2"}, [])


def test_what_was_found_is_what_is_kept() -> None:
    found, _ = bind(replace(ENTITY, fields=(Field("budget", "Budget"),)), SCHEMA, {})
    assert found is not None
    assert found.pins == {"Sync Key": "k1", "Budget": "b1"}


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (Field("budget", "Status"), "it is of type status, and the column of type numeric"),
        (Field("name", "Status"), None),
        (Field("name", "Budget"), "it is of type number, and the column of type text"),
        (Field("name", "Total"), "a formula cannot be written"),
        (Field("lead", "Lead"), "it is a relation, and the field does not say of which entity"),
        (Field("lead", "Lead", relation=T), "it names pages of another data source than that of public.projects"),
        (Field("lead", "Lead", relation=OTHER), None),
        (Field("lead", "Budget", relation=OTHER), "it is of type number, and the field names a relation"),
        (Field("name", "Total", "in"), None),
        (Field("name", "Number", "in"), None),
        (Field("name", "Number"), "a unique_id cannot be written"),
        (Field("name", "Go", "in"), "a button cannot be written"),
        (Field("name", "Owner"), None),
        (Field("budget", "Owner"), "it is of type people, and the column of type numeric"),
    ],
)
def test_a_property_that_cannot_hold_a_column_is_named_with_why(field: Field, why: str | None) -> None:
    found, wrong = bound(field)
    if why is None:
        assert (list(found), wrong) == ([field.column], [])
    else:
        assert len(wrong) == 1
        assert wrong[0].endswith(f": {why}.")


def test_an_option_that_is_not_there_is_named() -> None:
    options = {"active": "Active", "paused": "On hold"}
    assert bound(Field("name", "Status", options=options))[1] == [
        "The property Status has no option On hold, which paused stands for."
    ]


def test_an_option_stands_for_one_value_and_a_person_has_an_id() -> None:
    assert bound(Field("name", "Status", options={"a": "Active", "b": "Active"}))[1] == [
        "Options of column name of public.projects say Active of both a and b."
    ]
    assert bound(Field("name", "Owner", options={"ada@example.org": "Ada"}))[1] == [
        "Options of column name of public.projects: Ada, for ada@example.org, is no id of a person."
    ]


def test_two_columns_are_no_one_property() -> None:
    assert bound(Field("name", "Name"), Field("area", "title"))[1] == [
        "Columns name and area of public.projects are the same property Name."
    ]


def test_without_a_property_for_the_key_nothing_can_be_done() -> None:
    assert bound(Field("name", "Name"), sync_key="Key") == (
        {}, ["The property Key is to hold the key of public.projects's rows, as text: there is none."],
    )  # fmt: skip
    assert bound(Field("name", "Name"), sync_key="Budget")[1] == [
        "The property Budget is to hold the key of public.projects's rows, as text: it is of type number."
    ]
